"""The pump around the hub's long messages: fragments to and from the dongle, one EZSP command each.

A dongle carries single fragments and repeats them; cutting, reassembling and acknowledging are its host's
work. What is decided stands in `han.fragments`. bellows cuts nothing, and what it does about incoming
fragments is not enough for Smart Energy: see `han.stack`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import bellows.types as ezsp
from bellows.ash import NcpFailure
from bellows.exception import EzspError
from zigpy.exceptions import ControllerException, DeliveryError

from han.fragments import (
    Acknowledge,
    Block,
    Dropped,
    Ended,
    FragmentSettings,
    Origin,
    Outgoing,
    Reassembly,
    Transmit,
    Whole,
)
from han.radio_errors import BUSY

REPORT_WITHIN = 45.0
"""Seconds until a dongle has reported the fate of a fragment: four attempts of 1.6 s, each 7.7 s longer if
the device sleeps."""
BUSY_PAUSE = 0.1
BUSY_ATTEMPTS = 5
"""A dongle without room for another message has room again after a message or two, some 20 ms each."""

_FRAGMENT = ezsp.EmberApsOption.APS_OPTION_FRAGMENT
_ENCRYPTION = ezsp.EmberApsOption.APS_OPTION_ENCRYPTION
_FIELDS_SINCE_14 = 10
"""Of an incomingMessageHandler. The sender is the third of them; before EZSP 14 it was the fifth of eight."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where a long message goes, and how."""

    nwk: int
    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    aps_secured: bool


class LongMessages:
    """The long messages of one dongle.

    Args:
        settings: how they travel.
        dongle: gives bellows' EZSP, or None while there is none.
        next_tag: a number for a message that no other under way has.
        on_message: told the fields of bellows' incomingMessageHandler, with a whole message in them.
        on_dropped: told from which short address something was dropped, and why.
    """

    def __init__(
        self,
        settings: FragmentSettings,
        *,
        dongle: Callable[[], Any],
        next_tag: Callable[[], int],
        on_message: Callable[[list[Any]], None],
        on_dropped: Callable[[int, str], None],
    ) -> None:
        self._settings = settings
        self._dongle = dongle
        self._next_tag = next_tag
        self._on_message = on_message
        self._on_dropped = on_dropped
        self._reassembly = Reassembly(settings)
        self._expiry: asyncio.TimerHandle | None = None
        self._sent: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self._turns: dict[int, asyncio.Lock] = {}
        self._acknowledging: dict[asyncio.Task[None], None] = {}  # in order, as a set would not be

    def stop(self) -> None:
        """The dongle is gone: whatever is under way has failed."""
        for future in self._sent.values():
            if not future.done():
                future.set_result(None)
        for task in self._acknowledging:
            task.cancel()
        self._reassembly.forget()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    # Sending

    async def send(self, to: Envelope, message: bytes, block_size: int) -> None:
        """Send a message in blocks of this size; returns once the last of them was acknowledged.

        One message at a time goes to a device: small devices have room for no more.

        Raises:
            DeliveryError: a block was refused by the dongle (the status says why), or never acknowledged.
            TimeoutError: the dongle did not say in time how a block went.
            EzspError, NcpFailure, ControllerException: there is no working dongle.
        """
        async with self._turns.setdefault(to.nwk, asyncio.Lock()):
            await self._send(to, message, block_size)

    async def _send(self, to: Envelope, message: bytes, block_size: int) -> None:
        now = asyncio.get_running_loop().time
        settings = replace(self._settings, retries=self._settings.host_retries)
        machine = Outgoing(message, block_size, settings, now())
        sequence = 0
        while True:
            for item in machine.drain():
                match item:
                    case Transmit(index=index):
                        sequence, status = await self._send_block(
                            to, machine.name(index), sequence, machine.octets(index)
                        )
                        if status == ezsp.sl_Status.OK:
                            machine.arrived(index, now())
                        else:
                            machine.missed(index, now())
                    case Ended(delivered=True):
                        return
                    case Ended():
                        raise DeliveryError(
                            f"one of its {machine.count} fragments was not acknowledged",
                            ezsp.sl_Status.ZIGBEE_DELIVERY_FAILED,
                        )
            due = machine.timer()
            if due is not None:
                await asyncio.sleep(max(0.0, due - now()))
                machine.tick(now())

    async def _send_block(self, to: Envelope, block: Block, sequence: int, octets: bytes) -> tuple[int, Any]:
        """The APS counter under which the dongle sends the message, and how the block went."""
        options = (
            _FRAGMENT
            | ezsp.EmberApsOption.APS_OPTION_RETRY
            | ezsp.EmberApsOption.APS_OPTION_ENABLE_ROUTE_DISCOVERY
        )
        frame = ezsp.EmberApsFrame(
            profileId=to.profile,
            clusterId=to.cluster,
            sourceEndpoint=to.source_endpoint,
            destinationEndpoint=to.destination_endpoint,
            options=options | _ENCRYPTION if to.aps_secured else options,
            groupId=block.index | (block.count or 0) << 8,
            sequence=sequence,
        )
        for attempt in range(1, BUSY_ATTEMPTS + 1):
            tag = self._next_tag()
            reported = self._sent[to.nwk, tag] = asyncio.get_running_loop().create_future()
            try:
                answer, number = await self._working().send_unicast(to.nwk, frame, tag, octets)
                status = ezsp.sl_Status.from_ember_status(answer)
                if status == ezsp.sl_Status.OK:
                    async with asyncio.timeout(REPORT_WITHIN):
                        fate = await reported
                    if fate is None:
                        raise ControllerException("the dongle went away under way")
                    return int(number) if block.index == 0 else sequence, fate
            finally:
                del self._sent[to.nwk, tag]
            if status not in BUSY or attempt == BUSY_ATTEMPTS:
                break
            await asyncio.sleep(attempt * BUSY_PAUSE)
        raise DeliveryError(f"the dongle refused fragment {block.index}: {status!r}", status)

    def _working(self) -> Any:  # noqa: ANN401 - bellows' EZSP, untyped
        dongle = self._dongle()
        if dongle is None:
            raise ControllerException("the dongle is gone")
        return dongle

    def was_sent(self, fields: list[Any]) -> bool:
        """Take the fields of a messageSentHandler; False if it is not about a fragment."""
        if isinstance(fields[2], ezsp.EmberApsFrame):  # up to EZSP 13
            _, nwk, frame, tag, status, _ = fields
        else:
            status, _, nwk, frame, tag, _ = fields
        if not frame.options & _FRAGMENT:
            return False
        reported = self._sent.get((int(nwk), int(tag)))
        if reported is not None and not reported.done():
            reported.set_result(ezsp.sl_Status.from_ember_status(status))
        return True

    # Receiving

    def receive(self, fields: list[Any]) -> bool:
        """Take the fields of an incomingMessageHandler; False if it brings no fragment."""
        frame = fields[1]
        if not frame.options & _FRAGMENT:
            return False
        origin = Origin(
            int(fields[2] if len(fields) == _FIELDS_SINCE_14 else fields[4]),
            int(frame.sequence),
            int(frame.profileId),
            int(frame.clusterId),
            int(frame.sourceEndpoint),
            int(frame.destinationEndpoint),
            bool(frame.options & _ENCRYPTION),
        )
        index, count = frame.groupId & 0xFF, frame.groupId >> 8
        block = Block(index, None if index else count)
        now = asyncio.get_running_loop().time()
        self._reassembly.receive(origin, block, bytes(fields[-1]), now)
        self._tell(fields)
        return True

    def _tell(self, fields: list[Any]) -> None:
        for item in self._reassembly.drain():
            match item:
                case Acknowledge():
                    task = asyncio.get_running_loop().create_task(self._acknowledge(item))
                    self._acknowledging[task] = None
                    task.add_done_callback(self._acknowledging.pop)
                case Dropped(origin=origin, why=why):
                    self._on_dropped(origin.sender, why)
                case Whole(message=message):
                    self._on_message([*fields[:-1], message])
        due = self._reassembly.timer()
        if due is not None and self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_at(due, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._reassembly.tick(asyncio.get_running_loop().time())
        self._tell([])

    async def _acknowledge(self, item: Acknowledge) -> None:
        """Acknowledge some blocks. If that fails, they come again."""
        origin = item.origin
        options = _FRAGMENT | ezsp.EmberApsOption.APS_OPTION_RETRY
        frame = ezsp.EmberApsFrame(
            profileId=origin.profile,
            clusterId=origin.cluster,
            sourceEndpoint=origin.destination_endpoint,
            destinationEndpoint=origin.source_endpoint,
            options=options | _ENCRYPTION if origin.aps_secured else options,
            groupId=item.first | item.bits << 8,
            sequence=origin.counter,
        )
        try:
            (answer,) = await self._working().sendReply(origin.sender, frame, b"")
        except (EzspError, NcpFailure, ControllerException, TimeoutError) as error:
            self._on_dropped(origin.sender, f"the acknowledgement of a fragment could not be sent: {error}")
            return
        status = ezsp.sl_Status.from_ember_status(answer)
        if status != ezsp.sl_Status.OK:
            self._on_dropped(origin.sender, f"the dongle refused to acknowledge a fragment: {status!r}")
