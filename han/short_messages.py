"""The pump around the hub's short messages: those of one frame, of which a download has thousands.

zigpy and bellows would carry each in a task and a dozen objects of their own, with a priority queue around
it. What these protect stands in here too, without them:

- A dongle has room for so many messages under way, and a device for some of these; the others wait their
  turn, each device's in order. One that is switched off does not hold up the house.
- A message is over when the dongle reports its fate under the message's tag, when the dongle refuses it, or
  when it has not reported in time. Two under way to one device never share a tag.
- The next message does not wait for any of that. It waits for the answer to the last command, as EZSP has one
  command at a time: bellows sees to that, to repetitions on the serial line, and to commands without answer.

Frames go through bellows' own door, whose table of layouts takes ours in place of three of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import bellows.types as ezsp
from bellows.zigbee.application import MESSAGE_SEND_TIMEOUT_BATTERY
from zigpy.exceptions import ControllerException, DeliveryError

from han.unicast_frames import (
    FRAGMENT,
    STATUS_FIRST_SINCE,
    Incoming,
    IncomingReader,
    Sent,
    SentReader,
    write_unicast,
)

INCOMING: Final = "incomingMessageHandler in octets"
SENT: Final = "messageSentHandler in octets"
"""What bellows calls the two callbacks once their layout is ours. It takes no notice of either."""

REPORT_WITHIN: Final = float(MESSAGE_SEND_TIMEOUT_BATTERY)
"""Seconds until a dongle has reported the fate of a message. Three APS attempts take 4.8."""
PER_DEVICE: Final = 4
"""Messages under way to one device: enough for blocks back to back, and half of what any dongle holds."""

_GIVES_UP_WITHIN = 0.1

Then = Callable[[Exception | None], None]
"""Called with None when a message was delivered, else with what bellows and zigpy would raise."""


@dataclass(slots=True, eq=False)
class ShortMessage:
    """A message on its way. Made by `ShortMessages.post`."""

    nwk: int
    profile: int
    cluster: int
    endpoints: tuple[int, int]
    options: int
    payload: bytes
    then: Then | None
    tag: int = -1
    deadline: float = 0.0

    def cancel(self) -> None:
        """Tell nobody of it, and do not send it if it still waits."""
        self.then = None


class ShortMessages:
    """The short messages of one dongle.

    Args:
        dongle: gives bellows' EZSP, or None while there is none.
        next_tag: a number for a message, 0 to 255.
        room: gives how many messages may be under way.
    """

    def __init__(
        self, *, dongle: Callable[[], Any], next_tag: Callable[[], int], room: Callable[[], int]
    ) -> None:
        self._dongle = dongle
        self._next_tag = next_tag
        self._room = room
        self._ready: deque[ShortMessage] = deque()
        self._waiting: dict[int, deque[ShortMessage]] = {}  # of devices that have enough under way
        self._shares: dict[int, int] = {}  # ready or under way, for each device
        self._under_way: dict[tuple[int, int], ShortMessage] = {}
        self._deadlines: deque[ShortMessage] = deque()  # in order, as all have the same time
        self._alarm: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._is_stopped = False
        self._layouts: dict[str, Any] = {}

    def take_over(self, protocol: Any) -> None:  # noqa: ANN401 - bellows' ProtocolHandler, untyped
        """Put our layouts in the table of this handler, and send again. Each reset brings a new handler."""
        self._is_stopped = False
        version = protocol.VERSION
        for name, ours, reader in (
            ("incomingMessageHandler", INCOMING, IncomingReader(version)),
            ("messageSentHandler", SENT, SentReader(version)),
        ):
            frame_id, request, layout = protocol.COMMANDS[name]
            self._layouts[ours] = layout
            protocol.COMMANDS_BY_ID[frame_id] = (ours, request, reader)
        frame_id, request, layout = protocol.COMMANDS["sendUnicast"]
        protocol.COMMANDS = {**protocol.COMMANDS, "sendUnicast": (frame_id, _either(request), layout)}

    def fields(self, name: str, frame: Incoming | Sent) -> list[Any]:
        """The same frame as bellows would have read it, for those of its parts that want it so."""
        values, _ = ezsp.deserialize_dict(frame.octets, self._layouts[name])
        return list(values.values())

    # Sending

    def post(  # noqa: PLR0917 - the fields of one message
        self,
        nwk: int,
        profile: int,
        cluster: int,
        endpoints: tuple[int, int],
        options: int,
        payload: bytes,
        then: Then,
    ) -> ShortMessage:
        """Send a message and go on; ``then`` is called later, never from in here.

        ``endpoints``: source, destination. ``options``: see `han.unicast_frames`.
        """
        message = ShortMessage(nwk, profile, cluster, endpoints, options, payload, then)
        loop = asyncio.get_running_loop()
        if self._is_stopped:
            loop.call_soon(_tell, message, ControllerException("the dongle is gone"))
            return message
        share = self._shares.get(nwk, 0)
        if share >= PER_DEVICE:
            self._waiting.setdefault(nwk, deque()).append(message)
            return message
        self._shares[nwk] = share + 1
        self._ready.append(message)
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send_on(), name="short messages")
        self._wake()
        return message

    def stop(self) -> None:
        """The dongle is gone: whatever is under way has failed, and whatever comes will."""
        self._is_stopped = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(
                None
            )  # bellows ends a command that is under way, and does not like it cancelled
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        left = [*self._under_way.values(), *self._ready]
        left += [message for waiting in self._waiting.values() for message in waiting]
        for state in (self._under_way, self._ready, self._waiting, self._shares, self._deadlines):
            state.clear()
        for message in left:
            loop.call_soon(_tell, message, ControllerException("the dongle went away under way"))

    async def ended(self) -> None:
        """Return when nothing of ours runs any more; for after `stop`, when the line is closed."""
        if self._sender is not None:
            # bellows gives up what it was sending; an answer that it waits for would never come.
            await asyncio.wait([self._sender], timeout=_GIVES_UP_WITHIN)
            self._sender.cancel()

    def was_sent(self, report: Sent) -> bool:
        """Take a report; False if it is about none of ours."""
        if report.options & FRAGMENT:
            return False
        message = self._under_way.get((report.nwk, report.tag))
        if message is None:
            return False
        self._end(message, None if report.status == 0 else self._undelivered(report))
        return True

    def _undelivered(self, report: Sent) -> DeliveryError:
        is_new = self._dongle().ezsp_version >= STATUS_FIRST_SINCE
        status = _sl_status(ezsp.sl_Status(report.status) if is_new else ezsp.EmberStatus(report.status))
        return DeliveryError(f"Failed to deliver message: {status!r}", status)

    async def _send_on(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_stopped:
            if not self._ready or len(self._under_way) >= self._room():
                self._idle = loop.create_future()
                await self._idle
                continue
            message = self._ready.popleft()
            if message.then is None:
                self._release(message.nwk)
                continue
            try:
                await self._hand_over(message)
            except Exception as error:  # noqa: BLE001 - whoever sent the message is told, whatever it is
                self._end(message, error)

    async def _hand_over(self, message: ShortMessage) -> None:
        """Give a message to the dongle; it is under way even before the dongle answers."""
        nwk = message.nwk
        tag = self._next_tag()
        while (nwk, tag) in self._under_way:
            tag = self._next_tag()
        message.tag = tag
        self._under_way[nwk, tag] = message
        self._expect(message)
        dongle = self._dongle()
        if dongle is None:
            raise ControllerException("the dongle is gone")
        frame = write_unicast(
            dongle.ezsp_version,
            nwk,
            message.profile,
            message.cluster,
            message.endpoints,
            message.options,
            tag,
            message.payload,
        )
        answer, _ = await dongle._command("sendUnicast", _Octets(frame))  # noqa: SLF001 - a quicker __getattr__
        if answer != 0:
            status = _sl_status(answer)
            raise DeliveryError(f"Failed to enqueue message: {status!r}", status)

    def _end(self, message: ShortMessage, error: Exception | None) -> None:
        """A message is over: there is room for another."""
        if self._under_way.pop((message.nwk, message.tag), None) is not message:
            return  # it was over before, such as reported before the dongle answered the command
        self._release(message.nwk)
        _tell(message, error)

    def _release(self, nwk: int) -> None:
        waiting = self._waiting.get(nwk)
        if waiting:
            self._ready.append(waiting.popleft())
        elif self._shares[nwk] == 1:
            del self._shares[nwk]
        else:
            self._shares[nwk] -= 1
        self._wake()

    def _wake(self) -> None:
        idle = self._idle
        if idle is not None and not idle.done() and self._ready and len(self._under_way) < self._room():
            idle.set_result(None)

    def _expect(self, message: ShortMessage) -> None:
        """Give the dongle time to report."""
        loop = asyncio.get_running_loop()
        message.deadline = loop.time() + REPORT_WITHIN
        self._forget_ended()
        self._deadlines.append(message)
        if self._alarm is None:
            self._alarm = loop.call_at(message.deadline, self._overdue)

    def _forget_ended(self) -> None:
        deadlines = self._deadlines
        while deadlines and not self._is_under_way(deadlines[0]):
            deadlines.popleft()

    def _is_under_way(self, message: ShortMessage) -> bool:
        return self._under_way.get((message.nwk, message.tag)) is message

    def _overdue(self) -> None:
        self._alarm = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._forget_ended()
        while self._deadlines and self._deadlines[0].deadline <= now:
            self._end(self._deadlines.popleft(), TimeoutError())
            self._forget_ended()
        if self._deadlines and self._alarm is None:
            self._alarm = loop.call_at(self._deadlines[0].deadline, self._overdue)


class _Octets(bytes):
    """A frame that is written already."""

    __slots__ = ()

    def serialize(self) -> bytes:
        """Itself; bellows asks."""
        return self


def _either(layout: dict[str, Any]) -> Callable[..., _Octets]:
    """A layout for bellows' table: it takes what is written already, and writes what bellows itself sends."""

    def write(*values: Any, **named: Any) -> _Octets:  # noqa: ANN401 - of bellows, untyped
        if values and isinstance(values[0], _Octets):
            return values[0]
        return _Octets(ezsp.serialize_dict(values, named, layout))

    return write


def _sl_status(status: Any) -> Any:  # noqa: ANN401 - of bellows, untyped
    return ezsp.sl_Status.from_ember_status(status)


def _tell(message: ShortMessage, error: Exception | None) -> None:
    then, message.then = message.then, None
    if then is not None:
        then(error)
