"""A disk that loses power after any step, and with it whatever was not synchronised."""

import random


class PowerCutError(Exception):
    """The lights went out."""


class FaultyDisk:
    """In memory; what is volatile may or may not survive a cut, as the dice say.

    ``steps_left`` counts down with every step that changes something; at zero the power goes.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._files: dict[str, bytes] = {}
        self._safe: dict[str, bytes] = {}
        self._unsafe_names: list[tuple[str, str | None]] = []
        self.steps_left: int | None = None
        self.on_cut = lambda: None
        self.steps = 0

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._files[name] = data
        self._step()

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        old = self._files.get(name, b"")
        self._files[name] = old[:offset].ljust(offset, b"\0") + data
        self._step()

    def sync(self, name: str) -> None:
        self._safe[name] = self._files[name]
        self._step()

    def rename(self, old: str, new: str) -> None:
        self._files[new] = self._files.pop(old)
        self._unsafe_names.append((old, new))
        self._step()

    def remove(self, name: str) -> None:
        self._files.pop(name, None)
        self._unsafe_names.append((name, None))
        self._step()

    def sync_names(self) -> None:
        while self._unsafe_names:
            self._apply(*self._unsafe_names.pop(0))
        self._step()

    def power_back(self) -> None:
        """What a restart finds: safe octets, some renames in order, torn pieces of unsynchronised writes."""
        for _ in range(self._dice.randint(0, len(self._unsafe_names))):
            self._apply(*self._unsafe_names.pop(0))
        self._unsafe_names.clear()
        found = dict(self._safe)
        for name, data in self._files.items():
            if (name in found and found[name] != data) or name.endswith(".part"):
                kept = found.get(name, b"")
                torn = data[: self._dice.randint(min(len(kept), len(data)), len(data))]
                found[name] = torn if torn.startswith(kept) else kept
        self._files, self._safe = dict(found), dict(found)
        self.steps_left = None

    def _apply(self, old: str, new: str | None) -> None:
        data = self._safe.pop(old, None)
        if new is not None and data is not None:
            self._safe[new] = data

    def _step(self) -> None:
        self.steps += 1
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.on_cut()
                raise PowerCutError
