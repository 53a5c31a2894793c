"""A disk that loses power at any operation, and with it whatever was not synchronised; or that refuses.

A file is what its name leads to: a new name, a renamed or a removed one is safe only after ``sync_names``,
and octets are safe only after ``sync``. Of the rest, what a power cut leaves is chosen, not hoped for.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class PowerCutError(Exception):
    """The lights went out."""


class Place(StrEnum):
    """Where in an operation the power goes."""

    BEFORE = "before"
    AMID_NOTHING = "amid, nothing done"
    AMID_ONE = "amid, one octet or name done"
    AMID_HALF = "amid, half done"
    AMID_ALL_BUT_ONE = "amid, all but one octet or name done"
    AFTER = "after"

    def share(self, whole: int) -> int:
        """How much of so many octets, or names, is done; for the places amid an operation."""
        done = {
            Place.AMID_NOTHING: 0,
            Place.AMID_ONE: 1,
            Place.AMID_HALF: whole // 2,
            Place.AMID_ALL_BUT_ONE: whole - 1,
        }[self]
        return max(0, min(done, whole))


AMID = (Place.AMID_NOTHING, Place.AMID_ONE, Place.AMID_HALF, Place.AMID_ALL_BUT_ONE)


class Survives(StrEnum):
    """What of the unsynchronised is there after the cut."""

    ALL = "all"
    NOTHING = "nothing"
    NAMES = "names without octets"
    OCTETS = "octets without names"
    LAST_NAME = "the last name alone"
    DICE = "as the dice say"


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes at the n-th operation from now on, or from the last time that it came back."""

    operation: int
    place: Place = Place.AFTER
    survives: Survives = Survives.DICE

    def __str__(self) -> str:
        """For people."""
        return f"{self.place} operation {self.operation}; survives: {self.survives}"


@dataclass(slots=True)
class _File:
    octets: bytes = b""
    safe: bytes = b""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the disk."""

    kind: str
    name: str = ""

    @property
    def can_tear(self) -> bool:
        """Whether it has an inside: a rename or a removal happens or does not."""
        return self.kind in {"write", "write_at", "sync", "sync_names"}


def _alike(one: bytes, other: bytes) -> int:
    """How many octets both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


class FaultyDisk:
    """In memory. The power goes as `cut` says, or with the step at which ``steps_left`` comes to zero.

    While it is full it refuses whatever writes or renames. ``steps`` counts what changes something,
    ``operations`` lists everything.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._files: dict[str, _File] = {}
        self._safe_files: dict[str, _File] = {}
        self._unsafe_names: list[dict[str, _File | None]] = []
        self._cuts: list[Cut] = []
        self._since = 0
        self._survives = Survives.DICE
        self.steps_left: int | None = None
        self.on_cut: Callable[[], None] = lambda: None
        self._full_from: int | None = None
        self.is_full = False
        self.restarts_when_full = 0
        """How often the hub is started before there is space again; for whoever starts it."""
        self.steps = 0
        self.operations: list[Operation] = []

    # --- what the flash does ---------------------------------------------------------------------------

    def names(self) -> list[str]:
        self._begin(Operation("names"))
        return sorted(self._files)

    def read(self, name: str) -> bytes | None:
        self._begin(Operation("read", name))
        file = self._files.get(name)
        return None if file is None else file.octets

    def write(self, name: str, data: bytes) -> None:
        cut = self._begin(Operation("write", name))
        self._named(name).octets = self._torn(data, cut)
        self._end(cut)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        cut = self._begin(Operation("write_at", name))
        file = self._named(name)
        file.octets = file.octets[:offset].ljust(offset, b"\0") + self._torn(data, cut)
        self._end(cut)

    def sync(self, name: str) -> None:
        cut = self._begin(Operation("sync", name))
        file = self._files[name]
        if cut is None or cut.place not in AMID:
            file.safe = file.octets
        else:
            done = cut.place.share(len(file.octets))
            file.safe = file.octets[:done] + file.safe[done:]
        self._end(cut)

    def rename(self, old: str, new: str) -> None:
        cut = self._begin(Operation("rename", f"{old} {new}"))
        if old not in self._files:
            raise FileNotFoundError(2, os.strerror(2), old)
        self._files[new] = self._files.pop(old)
        self._unsafe_names.append({old: None, new: self._files[new]})
        self._end(cut)

    def remove(self, name: str) -> None:
        cut = self._begin(Operation("remove", name))
        if self._files.pop(name, None) is not None:
            self._unsafe_names.append({name: None})
        self._end(cut)

    def sync_names(self) -> None:
        cut = self._begin(Operation("sync_names"))
        many = len(self._unsafe_names)
        if cut is not None and cut.place in AMID:
            many = cut.place.share(many)
        for change in self._unsafe_names[:many]:
            self._make_safe(change)
        del self._unsafe_names[:many]
        self._end(cut)

    def free(self) -> int:
        # No operation: it is asked when a state is told, and changes nothing.
        return 1_000_000 - sum(len(file.octets) for file in self._files.values())

    # --- what the power does ---------------------------------------------------------------------------

    def cut(self, *cuts: Cut) -> None:
        """Let the power go so; each further cut counts from the time that the power came back."""
        self._cuts = list(cuts)
        self._since = len(self.operations)

    def fill_up(self, operation: int) -> None:
        """Have no space from the n-th operation on, until ``is_full`` is unset."""
        self._full_from, self.restarts_when_full = operation, 1
        self._since = len(self.operations)

    def _write_a_part(self, operation: Operation) -> None:
        """What a write leaves that runs out of space: the file is there, and what fitted in it."""
        if operation.kind == "write":
            self._named(operation.name).octets = b'{"sha256'

    def content(self) -> dict[str, bytes]:
        """What the files hold now, for whoever judges; counts as no operation."""
        return {name: file.octets for name, file in self._files.items()}

    @property
    def awaits_cuts(self) -> bool:
        """Whether a cut has not come yet."""
        return bool(self._cuts)

    def power_back(self) -> None:
        """What a restart finds: the safe octets and names, and of the others what the cut lets survive."""
        survives = self._survives
        for file in [*self._safe_files.values(), *self._files.values()]:
            if survives in {Survives.ALL, Survives.OCTETS}:
                file.safe = file.octets
            elif survives is Survives.DICE:
                alike = _alike(file.safe, file.octets)
                if file.safe != file.octets and self._dice.random() < 0.7:
                    file.safe = file.octets[: self._dice.randint(alike, len(file.octets))]
        for change in self._surviving_names(survives):
            self._make_safe(change)
        self._files = {name: _File(file.safe, file.safe) for name, file in self._safe_files.items()}
        self._safe_files = dict(self._files)
        self._unsafe_names.clear()
        self.steps_left = None
        self._since = len(self.operations)

    def _surviving_names(self, survives: Survives) -> list[dict[str, _File | None]]:
        match survives:
            case Survives.ALL | Survives.NAMES:
                return list(self._unsafe_names)
            case Survives.LAST_NAME:
                return self._unsafe_names[-1:]
            case Survives.DICE:
                return [change for change in self._unsafe_names if self._dice.random() < 0.5]
            case _:
                return []

    def _make_safe(self, change: dict[str, _File | None]) -> None:
        for name, file in change.items():
            if file is None:
                self._safe_files.pop(name, None)
            else:
                self._safe_files[name] = file

    def _named(self, name: str) -> _File:
        if name not in self._files:
            self._files[name] = _File()
            self._unsafe_names.append({name: self._files[name]})
        return self._files[name]

    @staticmethod
    def _torn(data: bytes, cut: Cut | None) -> bytes:
        return data if cut is None or cut.place not in AMID else data[: cut.place.share(len(data))]

    def _begin(self, operation: Operation) -> Cut | None:
        """Gives the cut if it comes amid this operation or after it."""
        self.operations.append(operation)
        number = len(self.operations) - self._since
        if number == self._full_from:
            self.is_full, self._full_from = True, None
        if self.is_full and operation.kind not in {"names", "read", "remove"}:
            self._write_a_part(operation)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), operation.name)
        if not self._cuts or self._cuts[0].operation != number:
            return None
        cut = self._cuts.pop(0)
        self._survives = cut.survives
        if cut.place is Place.BEFORE or operation.kind in {"names", "read"}:
            self._go_dark()
        return cut

    def _end(self, cut: Cut | None) -> None:
        self.steps += 1
        if cut is not None:
            self._go_dark()
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self._survives = Survives.DICE
                self._go_dark()

    def _go_dark(self) -> None:
        self.on_cut()
        raise PowerCutError
