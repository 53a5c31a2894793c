"""A node's application support layer: messages to endpoints, acknowledged end to end, heard once.

A message that asks for an acknowledgement is repeated after 1.6 s, three times at most. A repetition under
a link key is sealed anew, because its old frame counter would be refused as a replay; the APS counter
stays, and the receiver knows it by that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from han.sim.air.timeline import Handle
from han.sim.node.nwk import MAX_PAYLOAD, Nwk
from han.sim.node.service import (
    AddressUnknown,
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
    FrameType,
    open_frame,
    seal,
)
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import BROADCAST_LOWEST, NwkFrame
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

ACK_WAIT: Final = 1.6
MAX_RETRIES: Final = 3
REMEMBERED: Final = 32
"""How many messages of one sender are remembered, so that a repetition is not heard twice. At fifty a second
the 8-bit counter comes round in five seconds: to remember by time alone would refuse new messages."""
MEMORY: Final = 8.0
ZDO_PROFILE: Final = 0x0000

OnSent = Callable[[SendStatus], object]
OnCommand = Callable[[ApsFrame, NwkFrame, Eui64 | None, bytes], object]
"""Called with a command frame (still sealed if secured), the network frame it came in, who sealed that, and
its octets."""


def largest_payload(*, aps_security: bool, group: bool = False) -> int:
    """The most payload octets of a message in one frame: 82, with APS security 73; to a group one less."""
    return MAX_PAYLOAD - (9 if group else 8) - (OVERHEAD if aps_security else 0)


class _Pending:
    """A message that waits for its acknowledgement."""

    __slots__ = ("frame", "on_sent", "request", "retries", "timer")

    def __init__(self, request: SendRequest, frame: ApsFrame, on_sent: OnSent) -> None:
        self.request = request
        self.frame = frame
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
    ) -> None:
        self._station = station
        self._timeline = station.timeline
        self._counters = station.counters
        self._nwk = nwk
        self._accepts = accepts
        self._on_message = on_message
        self._on_command = on_command
        self._counter = station.dice.randrange(256)
        self._pending: dict[tuple[int, int], _Pending] = {}
        self._heard: dict[int, dict[int, float]] = {}
        self._life = 0
        self.groups: set[int] = set()
        """The groups whose messages we hear."""

    def stop(self) -> None:
        """Forget every message under way, without a word."""
        for pending in self._pending.values():
            if pending.timer is not None:
                pending.timer.cancel()
        self._pending.clear()
        self._heard.clear()
        self._life += 1

    def abandon(self) -> None:
        """The network went away: tell everyone who waits."""
        waiting = list(self._pending.values())
        self.stop()
        for pending in waiting:
            self._soon(pending.on_sent, SendStatus.NETWORK_DOWN)

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
        if len(payload) > limit:
            raise PayloadTooLong(len(payload), limit)
        if secured:
            self._link_key(destination)
        counter = self._next_counter(destination)
        delivery = Delivery.UNICAST
        if broadcast:
            delivery = Delivery.BROADCAST if request.group is None else Delivery.GROUP
        frame = ApsFrame(
            FrameType.DATA,
            counter,
            request.destination_endpoint,
            request.cluster,
            request.profile,
            request.source_endpoint,
            payload,
            delivery,
            request.group,
            secured,
            request.aps_ack and not broadcast,
        )
        if destination == self._nwk.address:
            self._loop_back(frame, request, on_sent)
            return counter
        pending = _Pending(request, frame, on_sent)
        if frame.ack_request:
            self._pending[destination, counter] = pending
        if broadcast:
            self._counters.aps_data_tx_broadcast += 1
        self._transmit(pending)
        return counter

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
            if (destination, counter) not in self._pending:
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
        frame, destination = pending.frame, pending.request.destination
        if frame.ack_request:
            if self._pending.get((destination, frame.counter)) is pending:
                # A sleeping child has the message, but may answer only when it asks again.
                wait = ACK_WAIT + (self._nwk.seconds_asleep(destination) if ok else 0.0)
                pending.timer = self._timeline.after(wait, self._not_acknowledged, pending)
            return
        pending.on_sent(SendStatus.OK if ok else SendStatus.DELIVERY_FAILED)

    def _not_acknowledged(self, pending: _Pending) -> None:
        key = (pending.request.destination, pending.frame.counter)
        if pending.retries >= MAX_RETRIES:
            del self._pending[key]
            self._counters.aps_data_tx_unicast_failed += 1
            self._station.facts.say(
                self._station.name, "aps.failed", destination=key[0], counter=key[1], why="no acknowledgement"
            )
            pending.on_sent(SendStatus.DELIVERY_FAILED)
            return
        pending.retries += 1
        self._counters.aps_data_tx_unicast_retry += 1
        self._station.facts.say(
            self._station.name, "aps.retry", destination=key[0], counter=key[1], attempt=pending.retries
        )
        try:
            self._transmit(pending)
        except (AddressUnknown, NoLinkKey) as error:
            del self._pending[key]
            self._station.facts.say(
                self._station.name, "aps.failed", destination=key[0], counter=key[1], why=str(error)
            )
            pending.on_sent(SendStatus.DELIVERY_FAILED)

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
            if frame.type is FrameType.COMMAND:
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
        if frame.type is FrameType.ACK:
            self._hear_acknowledgement(source, frame)
        elif frame.type is FrameType.DATA:
            self._hear(frame, nwk_frame, lqi, rssi)

    def _open(self, octets: bytes, frame: ApsFrame, source: int) -> ApsFrame | None:
        auxiliary = ApsAuxiliary.parse(frame.payload)
        if auxiliary.key_identifier is not KeyIdentifier.DATA:
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
            opened, _ = open_frame(octets, entry.key, eui64, frame)
        except WireError:
            self._counters.aps_decryption_failure += 1
            raise
        entry.heard = auxiliary.counter + 1
        return opened

    def _hear_acknowledgement(self, source: int, frame: ApsFrame) -> None:
        pending = self._pending.get((source, frame.counter))
        if pending is None:
            return
        sent = pending.frame
        if frame.cluster != sent.cluster or frame.profile != sent.profile or frame.security != sent.security:
            self._station.drop("aps", "an acknowledgement of something else", source=source)
            return
        del self._pending[source, frame.counter]
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
            self._station.drop("aps", "a fragment: fragmentation is not modelled", source=source)
            return
        if frame.ack_request and not broadcast:
            self._acknowledge(frame, source)
        if not broadcast and self._heard_before(source, frame.counter):
            return
        if broadcast:
            self._counters.aps_data_rx_broadcast += 1
        else:
            self._counters.aps_data_rx_unicast += 1
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
                broadcast,
                lqi,
                rssi,
                frame.counter,
                frame.ack_request,
                frame.group,
                nwk_frame.sequence,
                nwk_frame.destination,
                nwk_frame.source_ieee is not None,
            )
        )

    def _acknowledge(self, frame: ApsFrame, source: int) -> None:
        ack = ApsFrame(
            FrameType.ACK,
            frame.counter,
            frame.source_endpoint,
            frame.cluster,
            frame.profile,
            frame.destination_endpoint,
            security=frame.security,
        )
        octets = self._sealed(ack, source) if frame.security else ack.to_bytes()
        self._nwk.send(source, octets, _ignore)

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


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """An acknowledgement that is lost is sent again when the message is repeated."""
