"""An end device's questions to its parent whether anything waits for it.

A device whose radio is off while idle hears only what it asks for. It asks seldom while nothing is going on,
and often for a while after it has said or heard something, because an answer may follow. Its questions are
also what keeps it in its parent's memory, so an end device whose radio is always on asks as well, seldom.

A parent that leaves many questions in a row unacknowledged is lost: the device has to look for another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from han.sim.air.timeline import Handle
from han.sim.node.mac import Mac
from han.sim.node.station import Station
from han.sim.wire.mac import DataRequest, FrameType, MacFrame
from han.sim.wire.nwk_commands import LONGEST_TIMEOUT, timeout_seconds

_DATA_REQUEST = DataRequest().to_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSettings:
    """How often an end device asks; times are seconds. The defaults are those of a widespread stack."""

    long: float = 300.0
    """Between two questions while nothing is going on."""
    short: float = 0.25
    """The same while an answer may be on its way."""
    attentive: float = 5.0
    """How long after the last message the device asks often. Longer than three APS attempts take."""
    misses_allowed: int = 10
    """So many unacknowledged questions in a row, and the parent is lost."""

    @property
    def timeout(self) -> int:
        """The end device timeout to ask the parent for: three questions may get lost (Zigbee 3.4.11)."""
        fitting = (number for number in range(LONGEST_TIMEOUT) if timeout_seconds(number) > 3 * self.long)
        return next(fitting, LONGEST_TIMEOUT)


class Poller:
    """One end device's questions. ``on_lost`` is called when the parent does not answer any more."""

    def __init__(
        self, station: Station, mac: Mac, settings: PollSettings, on_lost: Callable[[], object]
    ) -> None:
        self.settings = settings
        self._station = station
        self._timeline = station.timeline
        self._mac = mac
        self._on_lost = on_lost
        self._parent: int | None = None
        self._misses = 0
        self._attentive_until = 0.0
        self._due: Handle | None = None
        self._due_at = 0.0
        self._run = 0

    def start(self, parent: int) -> None:
        """Ask this parent from now on, often at first. A router has nobody to ask: nothing happens."""
        if self._station.is_router:
            return
        self.stop()
        self._parent = parent
        self._ask_in(self.settings.long)
        self.attend()

    def follow(self, parent: int) -> None:
        """The parent goes by this short address now."""
        if self._parent is not None:
            self._parent = parent

    def stop(self) -> None:
        """Ask nobody."""
        self._parent = None
        self._misses = 0
        self._run += 1
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def attend(self) -> None:
        """Something was said or heard: more may follow."""
        if self._parent is None or self._station.hears_when_idle:
            return
        now = self._timeline.now
        self._attentive_until = now + self.settings.attentive
        if self._due is not None and self._due_at > now + self.settings.short:
            self._ask_in(self.settings.short)

    def heard(self, frame: MacFrame) -> None:
        """A frame came; if its sender has more for us, ask at once."""
        if frame.frame_pending and frame.source == self._parent:
            self._ask_in(0.0)

    def _ask_in(self, seconds: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due_at = self._timeline.now + seconds
        self._due = self._timeline.at(self._due_at, self._ask)

    def _ask(self) -> None:
        self._due = None
        mac, run = self._mac, self._run
        frame = MacFrame(
            FrameType.COMMAND, 0, mac.pan_id, self._parent, mac.short, _DATA_REQUEST, ack_request=True
        )
        mac.send(frame, lambda ok: self._asked(run, ok=ok))

    def _asked(self, run: int, *, ok: bool) -> None:
        if run != self._run:
            return
        self._misses = 0 if ok else self._misses + 1
        if self._misses > self.settings.misses_allowed:
            self._station.facts.say(
                self._station.name, "node.parent_lost", parent=self._parent, misses=self._misses
            )
            self.stop()
            self._on_lost()
            return
        is_attentive = self._misses or self._timeline.now < self._attentive_until
        if self._due is None:
            self._ask_in(self.settings.short if is_attentive else self.settings.long)
