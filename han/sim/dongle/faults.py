"""What is wrong with one dongle just now: the faults of `han.sim.fault`, waiting for their opportunities."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.fault import Fault, Kind

ON_THE_LINE: Final = (Kind.DROPPED_OCTETS, Kind.CHANGED_OCTETS, Kind.REPEATED_OCTETS)
OF_THE_PROCESSOR: Final = (Kind.REBOOT, Kind.ASSERT, Kind.STALL)


class _Armed:
    """A fault that waits for its opportunities."""

    def __init__(self, fault: Fault, since: float, dice: random.Random) -> None:
        self.fault = fault
        self._from = since + fault.after
        self._until = None if fault.lasts is None else self._from + fault.lasts
        self._dice = dice
        self._skip = fault.skip
        self._left = fault.times

    def strikes(self, now: float, command: str) -> bool:
        """Whether it strikes at this opportunity; uses it up if so."""
        fault = self.fault
        if self._left == 0 or now < self._from or (self._until is not None and now >= self._until):
            return False
        if fault.command and fault.command != command:
            return False
        if self._skip:
            self._skip -= 1
            return False
        if fault.share < 1.0 and self._dice.random() >= fault.share:
            return False
        if self._left is not None:
            self._left -= 1
        return True


class Faults:
    """What is wrong with one dongle. ``suffer`` is called when something happens to its processor."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        name: str,
        suffer: Callable[[Fault], None],
    ) -> None:
        self._timeline = timeline
        self.dice = dice
        self._facts = facts
        self._name = name
        self._suffer = suffer
        self._armed: dict[Kind, list[_Armed]] = {}

    def add(self, *faults: Fault) -> None:
        """Let these go wrong as well, their times counted from now."""
        for fault in faults:
            dice = random.Random(self.dice.getrandbits(64))
            armed = _Armed(fault, self._timeline.now, dice)
            self._armed.setdefault(fault.kind, []).append(armed)
            if fault.kind in OF_THE_PROCESSOR and not fault.command:
                self._timeline.after(fault.after, self._by_the_clock, armed)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._armed.clear()

    @property
    def is_well(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self._armed

    def has(self, kind: Kind) -> bool:
        """Whether there is any fault of this kind."""
        return kind in self._armed

    def strikes(self, kind: Kind, command: str = "") -> Fault | None:
        """The fault of this kind that strikes at this opportunity, if one does."""
        # Asked a hundred times for each block of an image; hashing a Kind is a call of its own.
        if not self._armed or kind not in self._armed:
            return None
        for armed in self._armed[kind]:
            if armed.strikes(self._timeline.now, command):
                return self._told(armed.fault, command)
        return None

    def command(self, name: str) -> None:
        """A command is carried out: whatever of the processor's faults waited for it happens now."""
        for kind in OF_THE_PROCESSOR if self._armed else ():
            for armed in self._armed.get(kind, ()):
                if armed.fault.command and armed.strikes(self._timeline.now, name):
                    self._suffer(self._told(armed.fault, name))

    def _by_the_clock(self, armed: _Armed) -> None:
        fault = armed.fault
        if armed not in self._armed.get(fault.kind, ()):
            return
        if armed.strikes(self._timeline.now, ""):
            self._suffer(self._told(fault, ""))
        if fault.every is not None:
            self._timeline.after(fault.every, self._by_the_clock, armed)

    def _told(self, fault: Fault, command: str) -> Fault:
        self._facts.say(self._name, "dongle.fault", why="on demand", kind=fault.kind.value, command=command)
        return fault


def damaged(octets: bytes, faults: Faults) -> bytes:
    """What arrives of a write on the serial line."""
    if faults.is_well:
        return octets
    for fault in _struck(faults, ON_THE_LINE):
        if not octets:
            break
        at = faults.dice.randrange(len(octets))
        hit, rest = octets[at : at + fault.octets], octets[at + fault.octets :]
        match fault.kind:
            case Kind.DROPPED_OCTETS:
                octets = octets[:at] + rest
            case Kind.REPEATED_OCTETS:
                octets = octets[:at] + hit + hit + rest
            case _:
                turned = bytes(octet ^ 1 << faults.dice.randrange(8) for octet in hit)
                octets = octets[:at] + turned + rest
    return octets


def _struck(faults: Faults, kinds: Iterable[Kind]) -> Iterable[Fault]:
    for kind in kinds:
        fault = faults.strikes(kind)
        if fault is not None:
            yield fault
