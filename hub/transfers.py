"""The transfers that are under way, as people see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from han.facts import Facts
from hub.custody import Custody
from hub.messages import Envelopes, Progress, TransferEntry
from hub.progress import Meters, Reading, State
from hub.slot import Assignment, Fate, Held
from ota.eui64 import Eui64

_STATES = {Fate.WAITING: State.WAITING, Fate.FINISHED: State.COMPLETE, Fate.FAILED: State.FAILED}


class Transfers:
    """Measures each download, and tells of it at a bounded rate.

    Args:
        every: seconds between two reports on one device.
        custody: knows whose image it is.
        facts: where "ota.progress" is said.
        envelopes: for the reports.
        report: takes each report for the head end.
    """

    def __init__(
        self,
        every: float,
        custody: Custody,
        *,
        facts: Facts,
        envelopes: Envelopes,
        report: Callable[[Progress], None],
    ) -> None:
        self._custody = custody
        self._facts = facts
        self._envelopes = envelopes
        self._report = report
        self._meters = Meters(every)
        self._requests: dict[Eui64, str] = {}
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None

    def offered(self, held: Held, to: Iterable[Assignment]) -> None:
        """These are the targets of a stored image, from now on or since before a restart."""
        for each in to:
            state = State.PAUSED if each.is_paused else _STATES[each.fate]
            self._meters.offered(each.device, held.image_id, held.size, state)
            self._requests[each.device] = each.request_id

    def served(self, device: Eui64, image_id: str, offset: int, size: int) -> None:
        """A block of so many octets went out."""
        self._meters.moved(device, image_id, offset, size, self._loop.time())
        self._settle()

    def began(self, device: Eui64, image_id: str, offset: int) -> None:
        """The device asks from this offset on."""
        self._meters.began(device, image_id, offset, self._loop.time())
        self._settle()

    def became(self, device: Eui64, image_id: str, state: State) -> None:
        """A transfer is held up, or has ended."""
        self._meters.held(device, image_id, state, self._loop.time())
        self._settle()

    def let_go(self, held: Held) -> None:
        """An image has left its slot: whoever had not got it will not."""
        for each in held.unfinished:
            self._meters.held(each.device, held.image_id, State.DISCARDED, self._loop.time())
        self._settle()

    def removed(self, device: Eui64) -> None:
        """The device is in this HAN no more."""
        self._meters.forget(device)
        self._requests.pop(device, None)
        self._settle()

    def entry(self, device: Eui64) -> TransferEntry | None:
        """How the device stands with the image that is meant for it; None if no slot holds one."""
        meant = self._custody.held_for(device)
        if meant is None:
            return None
        held, assignment = meant
        reading = self._meters.reading(device, held.image_id, self._loop.time())
        if reading is None:  # the image is still on its way into the slot
            return None
        return TransferEntry(
            image_id=reading.image_id,
            request_id=assignment.request_id,
            state=reading.state.value,
            offset=reading.offset,
            size=reading.size,
            percent=reading.percent,
            octets_per_second=reading.octets_per_second,
            seconds_left=reading.seconds_left,
        )

    def stop(self) -> None:
        """Set no more timers."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _settle(self) -> None:
        due = self._meters.timer()
        if due == self._armed_for:
            return  # as with almost every block
        if due is not None and due <= self._loop.time():
            self._meters.tick(self._loop.time())
            due = self._meters.timer()
        for reading in self._meters.drain():
            self._tell(reading)
        self.stop()
        self._armed_for = due
        self._alarm = None if due is None else self._loop.call_at(due, self._due)

    def _due(self) -> None:
        self._armed_for = None
        self._settle()

    def _tell(self, reading: Reading) -> None:
        self._facts.say(
            "hub",
            "ota.progress",
            device=str(reading.device),
            image=reading.image_id,
            state=reading.state.value,
            percent=reading.percent,
            offset=reading.offset,
            octets_per_second=reading.octets_per_second,
            seconds_left=reading.seconds_left,
        )
        self._report(
            Progress(
                device=str(reading.device),
                image_id=reading.image_id,
                request_id=self._requests.get(reading.device, ""),
                state=reading.state.value,
                offset=reading.offset,
                size=reading.size,
                percent=reading.percent,
                octets_per_second=reading.octets_per_second,
                seconds_left=reading.seconds_left,
                **self._envelopes.stamp(),
            )
        )
