"""The pump around a node's long messages: blocks out, acknowledgements in, and the other way round.

What is decided stands in `han.fragments`; here are the timers, and the frames that the decisions become.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

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
from han.sim.air.timeline import Handle
from han.sim.node.service import NodeError, SendRequest, SendStatus
from han.sim.node.station import Station
from han.sim.wire.aps import ApsFrame, Fragment, FragmentKind
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import NwkFrame

OnSent = Callable[[SendStatus], object]


class Hop(NamedTuple):
    """A block's frames, and how well they were heard."""

    frame: ApsFrame
    nwk_frame: NwkFrame
    lqi: int
    rssi: int


class Frames(Protocol):
    """What the application support layer does for long messages."""

    def transmit_block(
        self,
        request: SendRequest,
        counter: int,
        block: Block,
        octets: bytes,
        on_left: Callable[[float], None],
    ) -> None:
        """Send one block, sealed anew each time. Raises NodeError.

        ``on_left`` hears that it has gone, and how much longer a receiver that sleeps may take to answer.
        """

    def silence(self, destination: int, *, given_up: bool) -> None:
        """A block was not acknowledged, again; with ``given_up``, the message has failed of it."""

    def acknowledge_blocks(self, origin: Origin, fragment: Fragment) -> None:
        """Send an acknowledgement, sealed as the blocks were."""

    def hear_message(self, hop: Hop, payload: bytes) -> None:
        """A message is complete; ``hop`` brought its last block."""


def block_of(fragment: Fragment) -> Block:
    """Which block a fragment's header means.

    Raises:
        WireError: if it says that it is a later one and gives the number of the first.
    """
    if fragment.kind is FragmentKind.FIRST:
        return Block(0, fragment.block)
    if fragment.block == 0:
        raise WireError("a later fragment with the number of the first")
    return Block(fragment.block)


def fragment_of(block: Block) -> Fragment:
    """The header of a block."""
    if block.index == 0:
        return Fragment(FragmentKind.FIRST, block.count or 0)
    return Fragment(FragmentKind.LATER, block.index)


def acknowledgement(first: int, bits: int) -> Fragment:
    """The header of an acknowledgement: bit n for block ``first + n``."""
    return Fragment(FragmentKind.LATER if first else FragmentKind.FIRST, first, bits)


class _Sending:
    """A long message on its way."""

    __slots__ = ("machine", "on_sent", "request", "timer")

    def __init__(self, machine: Outgoing, request: SendRequest, on_sent: OnSent) -> None:
        self.machine = machine
        self.request = request
        self.on_sent = on_sent
        self.timer: Handle | None = None


class Fragmentation:
    """The long messages of one node, both ways."""

    def __init__(self, station: Station, settings: FragmentSettings, frames: Frames) -> None:
        self._station = station
        self._timeline = station.timeline
        self._settings = settings
        self._frames = frames
        self._sending: dict[tuple[int, int], _Sending] = {}
        self._reassembly = Reassembly(settings)
        self._expiry: Handle | None = None

    # Sending

    def is_sending(self, destination: int, counter: int) -> bool:
        """Whether a long message is on its way under this counter."""
        return (destination, counter) in self._sending

    def send(self, request: SendRequest, counter: int, block_size: int, on_sent: OnSent) -> None:
        """Send a message in blocks of this size. Raises NodeError if not even the first can be sent."""
        machine = Outgoing(request.payload, block_size, self._settings, self._timeline.now)
        sending = _Sending(machine, request, on_sent)
        key = (request.destination, counter)
        self._sending[key] = sending
        self._station.facts.say(
            self._station.name,
            "aps.fragmented",
            destination=request.destination,
            counter=counter,
            size=len(request.payload),
            fragments=machine.count,
        )
        try:
            self._settle(key, sending)
        except NodeError:
            del self._sending[key]
            raise

    def hear_acknowledgement(self, source: int, frame: ApsFrame, fragment: Fragment) -> None:
        """Some blocks of ours were acknowledged."""
        key = (source, frame.counter)
        sending = self._sending.get(key)
        if sending is None:
            return
        request = sending.request
        if (frame.cluster, frame.profile, frame.security) != (
            request.cluster,
            request.profile,
            request.aps_security,
        ):
            self._station.drop("aps", "an acknowledgement of something else", source=source)
            return
        sending.machine.acknowledged(fragment.block, fragment.ack_bits or 0, self._timeline.now)
        self._go_on(key, sending)

    def _settle(self, key: tuple[int, int], sending: _Sending) -> None:
        machine = sending.machine
        for item in machine.drain():
            match item:
                case Transmit(index=index, attempt=attempt):
                    if attempt > 1:
                        self._say_again(key, index, attempt - 1)
                    self._frames.transmit_block(
                        sending.request,
                        key[1],
                        machine.name(index),
                        machine.octets(index),
                        partial(self._left, key, sending, index),
                    )
                case Ended(delivered=delivered):
                    self._end(key, sending, None if delivered else "no acknowledgement")
                    if not delivered:
                        self._frames.silence(key[0], given_up=True)
                    return
        if sending.timer is not None:
            sending.timer.cancel()
        due = machine.timer()
        sending.timer = None if due is None else self._timeline.at(due, self._woken, key, sending)

    def _say_again(self, key: tuple[int, int], index: int, repetition: int) -> None:
        self._station.counters.aps_data_tx_unicast_retry += 1
        self._station.facts.say(
            self._station.name,
            "aps.retry",
            destination=key[0],
            counter=key[1],
            fragment=index,
            attempt=repetition,
        )
        if repetition > 1:
            self._frames.silence(key[0], given_up=False)

    def _go_on(self, key: tuple[int, int], sending: _Sending) -> None:
        try:
            self._settle(key, sending)
        except NodeError as error:
            self._end(key, sending, str(error))

    def _woken(self, key: tuple[int, int], sending: _Sending) -> None:
        sending.timer = None
        sending.machine.tick(self._timeline.now)
        self._go_on(key, sending)

    def _left(self, key: tuple[int, int], sending: _Sending, index: int, asleep: float) -> None:
        if self._sending.get(key) is sending:
            sending.machine.left(index, self._timeline.now, asleep)
            self._go_on(key, sending)

    def _end(self, key: tuple[int, int], sending: _Sending, why: str | None) -> None:
        del self._sending[key]
        if sending.timer is not None:
            sending.timer.cancel()
        if why is None:
            self._station.counters.aps_data_tx_unicast_success += 1
        else:
            self._station.counters.aps_data_tx_unicast_failed += 1
            self._station.facts.say(
                self._station.name, "aps.failed", destination=key[0], counter=key[1], why=why
            )
        sending.on_sent(SendStatus.OK if why is None else SendStatus.DELIVERY_FAILED)

    # Receiving

    def hear(self, hop: Hop, block: Block) -> None:
        """A block of somebody's message arrived."""
        frame = hop.frame
        origin = Origin(
            hop.nwk_frame.source,
            frame.counter,
            frame.profile,
            frame.cluster,
            frame.source_endpoint,
            frame.destination_endpoint,
            frame.security,
        )
        self._reassembly.receive(origin, block, frame.payload, self._timeline.now)
        self._tell(hop)

    def _tell(self, hop: Hop | None) -> None:
        for item in self._reassembly.drain():
            match item:
                case Acknowledge():
                    self._acknowledge(item)
                case Dropped(origin=origin, why=why):
                    self._station.drop("aps", why, source=origin.sender, counter=origin.counter)
                case Whole(origin=origin, message=message):
                    assert hop is not None, "a message is complete when a block arrives"
                    self._station.facts.say(
                        self._station.name,
                        "aps.reassembled",
                        source=origin.sender,
                        counter=origin.counter,
                        size=len(message),
                    )
                    self._frames.hear_message(hop, message)
        due = self._reassembly.timer()
        if due is not None and self._expiry is None:
            self._expiry = self._timeline.at(due, self._expire)

    def _acknowledge(self, item: Acknowledge) -> None:
        try:
            self._frames.acknowledge_blocks(item.origin, acknowledgement(item.first, item.bits))
        except NodeError as error:
            self._station.drop(
                "aps", f"its acknowledgement could not be sent: {error}", source=item.origin.sender
            )

    def _expire(self) -> None:
        self._expiry = None
        self._reassembly.tick(self._timeline.now)
        self._tell(None)

    # The end

    def stop(self) -> list[OnSent]:
        """Forget every message under way; give those who wait for one of them."""
        waiting = [sending.on_sent for sending in self._sending.values()]
        for sending in self._sending.values():
            if sending.timer is not None:
                sending.timer.cancel()
        self._sending.clear()
        self._reassembly.forget()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        return waiting
