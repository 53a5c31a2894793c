"""A node's application support layer: messages to endpoints, acknowledged end to end, heard once.

A message that asks for an acknowledgement is repeated after 1.6 s, three times at most. A repetition under
a link key is sealed anew, because its old frame counter would be refused as a replay; the APS counter
stays, and the receiver knows it by that.

A message too long for one frame travels in fragments: see `han.fragments`, and ``fragmentation`` for its
pump.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from han.fragments import ACK_BITS, EXTENDED_HEADER, Block, FragmentSettings, Origin
from han.sim.air.timeline import Handle
from han.sim.node.fragmentation import Fragmentation, Hop, block_of, fragment_of
from han.sim.node.nwk import Nwk
from han.sim.node.service import (
    AddressUnknown,
    NodeError,
    NoLinkKey,
    PayloadTooLong,
    Received,
    SendRequest,
    SendStatus,
)
from han.sim.node.station import Station
from han.sim.node.store import COUNTER_END, LinkKey
from han.sim.wire.aps import (
    BROADCAST_ENDPOINT,
    OVERHEAD,
    ApsAuxiliary,
    ApsFrame,
    Delivery,
    Fragment,
    FrameType,
    open_frame,
    seal,
)
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import BROADCAST_LOWEST, MAX_PAYLOAD, NwkFrame
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

ACK_WAIT: Final = 1.6
MAX_RETRIES: Final = 3
REMEMBERED: Final = 32
"""How many messages of one sender are remembered, so that a repetition is not heard twice. At fifty a second
the 8-bit counter comes round in five seconds: to remember by time alone would refuse new messages."""
MEMORY: Final = 8.0
DEVICE_OBJECTS: Final = 0
"""The endpoint whose messages the node itself reads, fragments or not."""

# As in the frames' own room: names for what each frame is compared with.
_DATA, _COMMAND, _ACK = FrameType.DATA, FrameType.COMMAND, FrameType.ACK
_TO_ONE, _LINK_KEY = Delivery.UNICAST, KeyIdentifier.DATA

OnSent = Callable[[SendStatus], object]
OnCommand = Callable[[ApsFrame, NwkFrame, Eui64 | None, bytes], object]
"""Called with a command frame (still sealed if secured), the network frame it came in, who sealed that, and
its octets."""


_Key = tuple[int, int, int | None]
"""Destination, counter, and which fragment it is if it is one."""


def largest_payload(*, aps_security: bool, group: bool = False) -> int:
    """The most payload octets of a message in one frame: 82, with APS security 73; to a group one less."""
    return MAX_PAYLOAD - (9 if group else 8) - (OVERHEAD if aps_security else 0)


class _Pending:
    """A message, or a host's fragment of one, that waits for its acknowledgement."""

    __slots__ = ("frame", "key", "on_sent", "request", "retries", "timer")

    def __init__(self, request: SendRequest, frame: ApsFrame, on_sent: OnSent) -> None:
        self.request = request
        self.frame = frame
        self.key: _Key = (
            request.destination,
            frame.counter,
            None if request.block is None else request.block.index,
        )
        self.on_sent = on_sent
        self.retries = 0
        self.timer: Handle | None = None


class Aps:
    """The application support layer of one node.

    ``accepts(endpoint)`` says whether an endpoint is there: what is sent to another one is neither
    acknowledged nor heard.
    """

    def __init__(
        self,
        station: Station,
        nwk: Nwk,
        accepts: Callable[[int], bool],
        on_message: Callable[[Received], object],
        on_command: OnCommand,
        *,
        fragments: FragmentSettings,
    ) -> None:
        self._station = station
        self._timeline = station.timeline
        self._counters = station.counters
        self._nwk = nwk
        self._accepts = accepts
        self._on_message = on_message
        self._on_command = on_command
        self._counter = station.dice.randrange(256)
        self._pending: dict[_Key, _Pending] = {}
        self._fragment_settings = fragments
        self._fragmentation = Fragmentation(station, fragments, self)
        self._heard: dict[int, dict[int, float]] = {}
        self._life = 0
        self.on_silence: Callable[[int], object] = _ignore_silence
        """Called with the short address of who left a message unacknowledged, however often it was sent."""
        self.groups: set[int] = set()
        """The groups whose messages we hear."""
        self.host_fragments = False
        """Whether a host cuts and reassembles long messages: then fragments are taken and handed up one by
        one, and acknowledged only when the host says so."""

    def stop(self) -> None:
        """Forget every message under way, without a word."""
        for pending in self._pending.values():
            if pending.timer is not None:
                pending.timer.cancel()
        self._pending.clear()
        self._fragmentation.stop()
        self._heard.clear()
        self._life += 1

    def abandon(self) -> None:
        """The network went away: tell everyone who waits."""
        waiting = [pending.on_sent for pending in self._pending.values()] + self._fragmentation.stop()
        self.stop()
        for on_sent in waiting:
            self._soon(on_sent, SendStatus.NETWORK_DOWN)

    def _soon(self, call: Callable[[Any], object], argument: object) -> None:
        """Call at this instant, but not from within; not at all if power is lost first."""
        self._timeline.after(0.0, self._call, self._life, call, argument)

    def _call(self, life: int, call: Callable[[Any], object], argument: object) -> None:
        if life == self._life:
            call(argument)

    # Sending

    def send(self, request: SendRequest, on_sent: OnSent) -> int:
        """Send a message; see ``Node.send``."""
        payload, secured, destination = request.payload, request.aps_security, request.destination
        broadcast = destination >= BROADCAST_LOWEST
        limit = largest_payload(aps_security=secured, group=request.group is not None)
        limit -= self._nwk.mesh.overhead(destination)
        if request.block is not None:
            limit -= EXTENDED_HEADER
        is_long = len(payload) > limit
        if is_long:
            self._must_be_cut(request, limit)
        if secured:
            self._link_key(destination)
        counter = self._next_counter(destination) if request.counter is None else request.counter
        frame = _data_frame(request, counter)
        if destination == self._nwk.address:
            self._loop_back(frame, request, on_sent)
        elif is_long:
            self._cut(request, counter, on_sent)
        else:
            if broadcast:
                self._counters.aps_data_tx_broadcast += 1
            self._send_in_one(_Pending(request, frame, on_sent))
        return counter

    def _send_in_one(self, pending: _Pending) -> None:
        if pending.frame.ack_request:
            replaced = self._pending.get(pending.key)
            if replaced is not None:
                self._give_up(replaced)
            self._pending[pending.key] = pending
        try:
            self._transmit(pending)
        except PayloadTooLong as error:  # the way there takes more room than was known
            self._pending.pop(pending.key, None)
            self._must_be_cut(pending.request, error.limit)
            self._cut(pending.request, pending.frame.counter, pending.on_sent)

    def _must_be_cut(self, request: SendRequest, limit: int) -> None:
        """Raises PayloadTooLong, unless the message may travel in fragments."""
        if (
            self.host_fragments
            or request.block is not None
            or not request.aps_ack
            or request.destination >= BROADCAST_LOWEST
        ):
            raise PayloadTooLong(len(request.payload), limit)
        if len(request.payload) > self._fragment_settings.longest:
            raise PayloadTooLong(len(request.payload), self._fragment_settings.longest)

    def _cut(self, request: SendRequest, counter: int, on_sent: OnSent) -> None:
        room = largest_payload(aps_security=request.aps_security)
        size = self._fragment_settings.block_size(room, self._nwk.mesh.overhead(request.destination))
        self._fragmentation.send(request, counter, size, on_sent)

    def send_command(
        self, destination: int, octets: bytes, on_done: Callable[[bool], object], *, secured: bool
    ) -> None:
        """Send an APS command frame, given as octets; ``secured``: the network key seals it on its way."""
        self._nwk.send(destination, octets, on_done, secured=secured)

    def next_counter(self) -> int:
        """A fresh APS counter, for a command frame."""
        self._counter = counter = (self._counter + 1) & 0xFF
        return counter

    def _next_counter(self, destination: int) -> int:
        for _ in range(256):
            counter = self.next_counter()
            if (destination, counter, None) not in self._pending and not self._fragmentation.is_sending(
                destination, counter
            ):
                break
        return counter

    def _transmit(self, pending: _Pending) -> None:
        frame, destination = pending.frame, pending.request.destination
        octets = self._sealed(frame, destination) if frame.security else frame.to_bytes()
        self._nwk.send(
            destination, octets, lambda ok: self._left(pending, ok=ok), radius=pending.request.radius
        )

    def _sealed(self, frame: ApsFrame, destination: int) -> bytes:
        key = self._link_key(destination).key
        return seal(frame, key, self._station.store.link_counter.take(), self._station.eui64)

    def _link_key(self, nwk: int) -> LinkKey:
        eui64 = self._nwk.eui64_of(nwk)
        if eui64 is None:
            raise AddressUnknown(
                f"whose short address 0x{nwk:04x} is, is not known, so no link key can be chosen"
            )
        entry = self._station.store.link_keys.get(eui64)
        if entry is None:
            raise NoLinkKey(f"no link key is shared with {eui64}: let it join, or add its key")
        return entry

    def _left(self, pending: _Pending, *, ok: bool) -> None:
        """The frame has gone, or the next hop did not take it."""
        if pending.frame.ack_request:
            if self._pending.get(pending.key) is pending:
                # A sleeping child has the message, but may answer only when it asks again.
                wait = ACK_WAIT + (self._nwk.seconds_asleep(pending.request.destination) if ok else 0.0)
                pending.timer = self._timeline.after(wait, self._not_acknowledged, pending)
            return
        pending.on_sent(SendStatus.OK if ok else SendStatus.DELIVERY_FAILED)

    def _not_acknowledged(self, pending: _Pending) -> None:
        key = pending.key
        if pending.retries >= MAX_RETRIES:
            del self._pending[key]
            self._counters.aps_data_tx_unicast_failed += 1
            self._station.facts.say(
                self._station.name, "aps.failed", destination=key[0], counter=key[1], why="no acknowledgement"
            )
            pending.on_sent(SendStatus.DELIVERY_FAILED)
            self.silence(key[0], given_up=True)
            return
        if pending.retries:
            # The first silence may be a lost frame; the second is a reason to look for another way.
            self.silence(key[0], given_up=False)
        pending.retries += 1
        self._counters.aps_data_tx_unicast_retry += 1
        self._station.facts.say(
            self._station.name, "aps.retry", destination=key[0], counter=key[1], attempt=pending.retries
        )
        try:
            self._transmit(pending)
        except (AddressUnknown, NoLinkKey, PayloadTooLong) as error:
            del self._pending[key]
            self._station.facts.say(
                self._station.name, "aps.failed", destination=key[0], counter=key[1], why=str(error)
            )
            pending.on_sent(SendStatus.DELIVERY_FAILED)

    def _give_up(self, pending: _Pending) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        self._soon(pending.on_sent, SendStatus.DELIVERY_FAILED)

    def _loop_back(self, frame: ApsFrame, request: SendRequest, on_sent: OnSent) -> None:
        address = self._nwk.address
        assert address is not None
        message = Received(
            source=address,
            source_eui64=self._station.eui64,
            profile=frame.profile,
            cluster=frame.cluster,
            source_endpoint=frame.source_endpoint,
            destination_endpoint=frame.destination_endpoint,
            payload=request.payload,
            aps_secured=request.aps_security,
            broadcast=False,
            lqi=255,
            rssi=0,
            aps_counter=frame.counter,
            ack_requested=request.aps_ack,
            destination=address,
        )
        heard = self._accepts(frame.destination_endpoint)
        if heard:
            self._soon(self._on_message, message)
        self._soon(on_sent, SendStatus.OK if heard else SendStatus.DELIVERY_FAILED)

    # Receiving

    def receive(self, nwk_frame: NwkFrame, sealer: Eui64 | None, lqi: int, rssi: int) -> None:
        """A network data frame arrived, in plain."""
        octets, source = nwk_frame.payload, nwk_frame.source
        try:
            frame = ApsFrame.parse(octets)
            if frame.type is _COMMAND:
                self._on_command(frame, nwk_frame, sealer, octets)
                return
            if sealer is None:
                self._station.drop("aps", "data outside network security", source=source)
                return
            if frame.security:
                opened = self._open(octets, frame, source)
                if opened is None:
                    return
                frame = opened
        except WireError as error:
            self._station.drop("aps", str(error), source=source)
            return
        if frame.type is _ACK:
            self._hear_acknowledgement(source, frame)
        elif frame.type is _DATA:
            self._hear(frame, nwk_frame, lqi, rssi)

    def _open(self, octets: bytes, frame: ApsFrame, source: int) -> ApsFrame | None:
        auxiliary = ApsAuxiliary.parse(frame.payload)
        if auxiliary.key_identifier is not _LINK_KEY:
            self._station.drop("aps", "application data under a key that is not for it", source=source)
            return None
        eui64 = auxiliary.source or self._nwk.eui64_of(source)
        entry = None if eui64 is None else self._station.store.link_keys.get(eui64)
        if entry is None:
            self._counters.aps_decryption_failure += 1
            self._station.drop("aps", "no link key for its sender", source=source)
            return None
        if auxiliary.counter < entry.heard or auxiliary.counter == COUNTER_END:
            self._counters.aps_frame_counter_failure += 1
            self._station.drop(
                "aps", "replayed counter", source=source, device=str(eui64), counter=auxiliary.counter
            )
            return None
        try:
            opened, _ = open_frame(octets, entry.key, eui64, frame, auxiliary)
        except WireError:
            self._counters.aps_decryption_failure += 1
            raise
        entry.heard = auxiliary.counter + 1
        return opened

    def _hear_acknowledgement(self, source: int, frame: ApsFrame) -> None:
        fragment = frame.fragment
        if fragment is None:
            self._hear_acknowledged((source, frame.counter, None), frame)
        elif self.host_fragments:
            for bit in range(ACK_BITS):
                if (fragment.ack_bits or 0) >> bit & 1:
                    self._hear_acknowledged((source, frame.counter, fragment.block + bit), frame)
        else:
            self._fragmentation.hear_acknowledgement(source, frame, fragment)

    def _hear_acknowledged(self, key: _Key, frame: ApsFrame) -> None:
        source = key[0]
        pending = self._pending.get(key)
        if pending is None:
            return
        sent = pending.frame
        if frame.cluster != sent.cluster or frame.profile != sent.profile or frame.security != sent.security:
            self._station.drop("aps", "an acknowledgement of something else", source=source)
            return
        del self._pending[key]
        if pending.timer is not None:
            pending.timer.cancel()
        self._counters.aps_data_tx_unicast_success += 1
        pending.on_sent(SendStatus.OK)

    def _hear(self, frame: ApsFrame, nwk_frame: NwkFrame, lqi: int, rssi: int) -> None:
        source = nwk_frame.source
        broadcast = nwk_frame.destination >= BROADCAST_LOWEST
        if frame.group is not None:
            if frame.group not in self.groups:
                return
        elif not self._accepts(frame.destination_endpoint):
            self._station.drop(
                "aps",
                "no such endpoint",
                source=source,
                endpoint=frame.destination_endpoint,
                cluster=frame.cluster,
            )
            return
        if frame.fragment is not None:
            self._hear_fragment(Hop(frame, nwk_frame, lqi, rssi), frame.fragment)
            return
        if frame.ack_request and not broadcast:
            self._acknowledge(frame, source)
        if not broadcast and self._heard_before(source, frame.counter):
            return
        if broadcast:
            self._counters.aps_data_rx_broadcast += 1
        else:
            self._counters.aps_data_rx_unicast += 1
        self._hand_up(frame, nwk_frame, lqi, rssi)

    def _hand_up(
        self, frame: ApsFrame, nwk_frame: NwkFrame, lqi: int, rssi: int, block: Block | None = None
    ) -> None:
        source = nwk_frame.source
        self._on_message(
            Received(
                source,
                nwk_frame.source_ieee or self._nwk.eui64_of(source),
                frame.profile,
                frame.cluster,
                frame.source_endpoint,
                frame.destination_endpoint if frame.group is None else BROADCAST_ENDPOINT,
                frame.payload,
                frame.security,
                nwk_frame.destination >= BROADCAST_LOWEST,
                lqi,
                rssi,
                frame.counter,
                frame.ack_request,
                frame.group,
                nwk_frame.sequence,
                nwk_frame.destination,
                nwk_frame.source_ieee is not None,
                block,
            )
        )

    def _hear_fragment(self, hop: Hop, fragment: Fragment) -> None:
        frame, nwk_frame = hop.frame, hop.nwk_frame
        if nwk_frame.destination >= BROADCAST_LOWEST or not frame.ack_request:
            self._station.drop("aps", "a fragment that asks for no acknowledgement", source=nwk_frame.source)
            return
        try:
            block = block_of(fragment)
        except WireError as error:
            self._station.drop("aps", str(error), source=nwk_frame.source)
            return
        if self.host_fragments and frame.destination_endpoint != DEVICE_OBJECTS:
            self._counters.aps_data_rx_unicast += 1
            self._hand_up(frame, nwk_frame, hop.lqi, hop.rssi, block)
        else:
            self._fragmentation.hear(hop, block)

    # What the pump of long messages asks for. See ``fragmentation.Frames``.

    def transmit_block(
        self,
        request: SendRequest,
        counter: int,
        block: Block,
        octets: bytes,
        on_left: Callable[[float], None],
    ) -> None:
        """Send one block of a long message. See ``Frames``."""
        frame = _data_frame(request, counter)._replace(payload=octets, fragment=fragment_of(block))
        destination = request.destination
        sealed = self._sealed(frame, destination) if frame.security else frame.to_bytes()
        self._nwk.send(
            destination,
            sealed,
            lambda ok: on_left(self._nwk.seconds_asleep(destination) if ok else 0.0),
            radius=request.radius,
        )

    def silence(self, destination: int, *, given_up: bool) -> None:
        """Something was not acknowledged, again, or was given up."""
        if given_up:
            self._nwk.mesh.undelivered()
            self.on_silence(destination)
        else:
            self._nwk.mesh.doubt(destination)

    def acknowledge_blocks(self, origin: Origin, fragment: Fragment) -> None:
        """Send the acknowledgement of some blocks. See ``Frames``. Raises NodeError."""
        ack = ApsFrame(
            FrameType.ACK,
            origin.counter,
            origin.source_endpoint,
            origin.cluster,
            origin.profile,
            origin.destination_endpoint,
            security=origin.aps_secured,
            fragment=fragment,
        )
        self._send_acknowledgement(ack, origin.sender)

    def hear_message(self, hop: Hop, payload: bytes) -> None:
        """A long message is complete."""
        self._counters.aps_data_rx_unicast += 1
        self._hand_up(hop.frame._replace(payload=payload), hop.nwk_frame, hop.lqi, hop.rssi)

    def _acknowledge(self, frame: ApsFrame, source: int) -> None:
        ack = ApsFrame(
            _ACK,
            frame.counter,
            frame.source_endpoint,
            frame.cluster,
            frame.profile,
            frame.destination_endpoint,
            security=frame.security,
        )
        try:
            self._send_acknowledgement(ack, source)
        except NodeError as error:
            self._station.drop("aps", f"its acknowledgement could not be sent: {error}", source=source)

    def _send_acknowledgement(self, ack: ApsFrame, to: int) -> None:
        octets = self._sealed(ack, to) if ack.security else ack.to_bytes()
        self._nwk.send(to, octets, _ignore)

    def _heard_before(self, source: int, counter: int) -> bool:
        now = self._timeline.now
        heard = self._heard.get(source)
        if heard is None:
            heard = self._heard[source] = {}
        at = heard.pop(counter, None)
        heard[counter] = now
        if len(heard) > REMEMBERED:
            del heard[next(iter(heard))]
        return at is not None and now - at < MEMORY


def _data_frame(request: SendRequest, counter: int) -> ApsFrame:
    broadcast = request.destination >= BROADCAST_LOWEST
    delivery = _TO_ONE
    if broadcast:
        delivery = Delivery.BROADCAST if request.group is None else Delivery.GROUP
    return ApsFrame(
        _DATA,
        counter,
        request.destination_endpoint,
        request.cluster,
        request.profile,
        request.source_endpoint,
        request.payload,
        delivery,
        request.group,
        request.aps_security,
        request.aps_ack and not broadcast,
        fragment=None if request.block is None else fragment_of(request.block),
    )


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """An acknowledgement that is lost is sent again when the message is repeated."""


def _ignore_silence(_: int) -> None:
    """Nobody minds."""
