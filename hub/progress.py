"""How far each device has come with its image, how fast, and how long it will still take. Pure.

A meter tells the speed of the last half minute, and at least of the last few blocks, as some devices ask once
an hour. It begins a new window whenever the download was held up: paused, stalled, interrupted, or plainly
silent for much longer than usual. So the speed is right a moment after a resume, and no pause lies in it.

Telling is bounded: at most one reading for each device in each period, however many blocks go by, and the
latest is always told in the end. Only how a transfer ended is told at once.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

from ota.eui64 import Eui64

WINDOW: Final = 30.0
"""Seconds over which the speed is taken: long enough to be steady in page mode, short enough to follow."""
FEWEST_MARKS: Final = 4
"""So many marks are kept, however old: a device may ask for one block in an hour."""
MARK_EVERY: Final = 1.0
"""Seconds between two marks. A mark for each block would be dear, and the speed no truer."""
SHORTEST_RUN: Final = 0.5
"""Seconds from which a speed is told: a page's blocks may leave all at once."""
USUAL_GAPS: Final = 8
SHORTEST_SILENCE: Final = 5.0
"""A client that is silent for eight times its usual gap, and for five seconds at least, downloads no more."""
FIRST_AFTER: Final = 1.0
"""Seconds from the beginning of a run to its first reading, which would know no speed before."""
LARGEST_PAGE: Final = 0xFFFF
"""Octets. A client in page mode goes back so far for blocks that it missed, and has not lost the others."""


class State(enum.StrEnum):
    """How a transfer stands, as people are told."""

    WAITING = "waiting"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    STALLED = "stalled"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    FAILED = "failed"
    DISCARDED = "discarded"

    @property
    def is_final(self) -> bool:
        """Whether nothing more comes of it."""
        return self in (State.COMPLETE, State.FAILED, State.DISCARDED)


@dataclass(frozen=True, slots=True)
class Reading:
    """How one device stands with one image.

    ``octets_per_second`` is None while it cannot be known, 0 while nothing moves; ``seconds_left`` is None
    while it cannot be foretold.
    """

    device: Eui64
    image_id: str
    state: State
    offset: int
    size: int
    octets_per_second: float | None = None
    seconds_left: float | None = None

    @property
    def percent(self) -> int:
        """How much of the image the device has, rounded down: 100 is all of it."""
        return 100 * self.offset // self.size


class Meter:
    """Measures one device's download of one image.

    Args:
        size: of the image, in octets.
    """

    __slots__ = ("_blocks", "_last", "_last_offset", "_marks", "_octets", "_usual", "offset", "size", "state")

    def __init__(self, size: int) -> None:
        self.size = size
        self.offset = 0
        self.state = State.WAITING
        self._octets = 0  # carried since the window began
        self._blocks = 0
        self._last = 0.0
        self._last_offset = -1
        self._usual = 0.0  # gap between two blocks
        self._marks: deque[tuple[float, int, int]] = deque()  # when, octets and blocks until then

    def moved(self, offset: int, octets: int, now: float) -> bool:
        """A block went out; tells whether it is the first after the download was held up, or at all.

        The same block again (its acknowledgement was lost) is no progress.
        """
        if offset == self._last_offset:
            return False
        self._last_offset = offset
        end = offset + octets
        if offset == 0 or end > self.offset or self.offset - end > LARGEST_PAGE:
            self.offset = end
        marks = self._marks
        if self.state is not State.DOWNLOADING:
            self.state = State.DOWNLOADING
            self.rest()
        elif marks and now - self._last > self._silence:
            self._usual = now - self._last  # or so it is, if the next gap is as long
            self.rest()
        self._last = now
        if not marks:
            marks.append((now, 0, 0))  # how long the first block was under way, nobody knows
            return True
        self._octets += octets
        self._blocks += 1
        if now - marks[-1][0] >= MARK_EVERY:
            marks.append((now, self._octets, self._blocks))
            while len(marks) > FEWEST_MARKS and marks[1][0] <= now - WINDOW:
                marks.popleft()
        return False

    def begin(self, offset: int) -> None:
        """It asks from this offset on, whatever it had before."""
        self.state, self.offset, self._last_offset = State.DOWNLOADING, offset, -1
        self.rest()

    def hold(self, state: State) -> None:
        """Nothing moves, or nothing more will."""
        self.state = state
        if state is State.COMPLETE:
            self.offset = self.size
        self.rest()

    def rest(self) -> None:
        """Begin a new window."""
        self._marks.clear()
        self._octets = self._blocks = 0

    def speed(self, now: float) -> float | None:
        """Octets in a second; None while it cannot be known, 0 while nothing moves."""
        if self.state is not State.DOWNLOADING:
            return 0.0
        if not self._marks:
            return None
        if now - self._last > self._silence:
            return 0.0
        since, before, _ = self._marks[0]
        elapsed = self._last - since
        return (self._octets - before) / elapsed if elapsed >= SHORTEST_RUN else None

    def seconds_left(self, now: float) -> float | None:
        """Until the device has the whole image, at this speed; None if that cannot be foretold."""
        if self.state is State.COMPLETE:
            return 0.0
        speed = self.speed(now)
        return (self.size - self.offset) / speed if speed else None

    @property
    def _silence(self) -> float:
        """How long a silence must be to be more than the usual gap between two blocks."""
        since, _, before = self._marks[0]
        if self._blocks > before:
            self._usual = (self._last - since) / (self._blocks - before)
        return max(SHORTEST_SILENCE, USUAL_GAPS * self._usual)


@dataclass(slots=True, eq=False)
class _Told:
    """A meter, and when its reading was told."""

    image_id: str
    meter: Meter
    told: float = -inf
    due: float | None = None


class Meters:
    """A meter for each device, and what of it is to be told when.

    Args:
        every: seconds between two readings of one device.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._devices: dict[Eui64, _Told] = {}
        self._due = inf
        self._out: list[Reading] = []

    def offered(self, device: Eui64, image_id: str, size: int, state: State = State.WAITING) -> None:
        """From now on this device's business is this image of so many octets."""
        meter = Meter(size)
        if state is not State.WAITING:
            meter.hold(state)
        before = self._devices.get(device)
        # The period goes on: a device that is given one image after another makes no flood either.
        self._devices[device] = _Told(image_id, meter, -inf if before is None else before.told)

    def moved(self, device: Eui64, image_id: str, offset: int, octets: int, now: float) -> None:
        """A block of its image went out to the device."""
        told = self._devices.get(device)
        if told is None or told.image_id != image_id:
            return
        is_first = told.meter.moved(offset, octets, now)
        if told.due is None:
            self._owe(told, max(now + FIRST_AFTER if is_first else now, told.told + self._every))

    def began(self, device: Eui64, image_id: str, offset: int, now: float) -> None:
        """The device asks from this offset on: anew, or where it stood before a restart."""
        told = self._devices.get(device)
        if told is not None and told.image_id == image_id:
            told.meter.begin(offset)
            self._owe(told, max(now + FIRST_AFTER, told.told + self._every))

    def held(self, device: Eui64, image_id: str, state: State, now: float) -> None:
        """The transfer is held up, or has ended; an end is told at once."""
        told = self._devices.get(device)
        if told is not None and told.image_id == image_id:
            told.meter.hold(state)
            self._owe(told, now if state.is_final else max(now, told.told + self._every))

    def forget(self, device: Eui64) -> None:
        """Nothing of this device is of interest any more."""
        self._devices.pop(device, None)

    def reading(self, device: Eui64, image_id: str, now: float) -> Reading | None:
        """How the device stands with this image; None if that was not offered to it."""
        told = self._devices.get(device)
        return None if told is None or told.image_id != image_id else _reading(device, told, now)

    def tick(self, now: float) -> None:
        """Tell what is due."""
        for device, told in self._devices.items():
            if told.due is not None and told.due <= now:
                told.told, told.due = now, None
                self._out.append(_reading(device, told, now))
        self._due = min((told.due for told in self._devices.values() if told.due is not None), default=inf)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return None if self._due == inf else self._due

    def drain(self) -> list[Reading]:
        """What is to be told, in order."""
        out, self._out = self._out, []
        return out

    def _owe(self, told: _Told, due: float) -> None:
        told.due = due if told.due is None else min(told.due, due)
        self._due = min(self._due, told.due)


def speed_in_words(octets_per_second: float | None) -> str:
    """``2830 B/s``; a dash where it is not known."""
    return "-" if octets_per_second is None else f"{octets_per_second:.0f} B/s"


def time_in_words(seconds: float | None) -> str:
    """``4:10``, ``1:02:07``; a dash where it cannot be foretold."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def in_words(state: str, percent: int, octets_per_second: float | None, seconds_left: float | None) -> str:
    """How a transfer stands, for a line or a table: ``downloading, 37 %, 2830 B/s, 4:10 left``."""
    if state == State.COMPLETE or (state == State.WAITING and percent == 0):
        return state
    words = [state, f"{percent} %"]
    if octets_per_second:
        words.append(speed_in_words(octets_per_second))
    if seconds_left is not None:
        words.append(f"{time_in_words(seconds_left)} left")
    return ", ".join(words)


def _reading(device: Eui64, told: _Told, now: float) -> Reading:
    meter = told.meter
    speed, left = meter.speed(now), meter.seconds_left(now)
    return Reading(
        device,
        told.image_id,
        meter.state,
        meter.offset,
        meter.size,
        None if speed is None else round(speed, 1),
        None if left is None else round(left, 1),
    )
