"""A node's network layer: addresses, the network key, frame counters that grow, broadcasts heard once.

One hop for now: a frame's next hop is its destination, and nobody relays. As nobody relays a broadcast, its
sender hears no passive acknowledgement and repeats it, as the standard asks of it then (Zigbee 3.6.5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from han.sim.node.mac import Mac, OnDone
from han.sim.node.service import PayloadTooLong
from han.sim.node.station import Station
from han.sim.node.store import COUNTER_END
from han.sim.wire.errors import ForgedError, FrameTooLongError, WireError
from han.sim.wire.mac import BROADCAST, MacFrame
from han.sim.wire.nwk import (
    BROADCAST_ALL,
    BROADCAST_LOWEST,
    BROADCAST_ROUTERS,
    BROADCAST_RX_ON,
    FrameType,
    NwkAuxiliary,
    NwkFrame,
    open_frame,
    seal,
)
from han.sim.wire.nwk_commands import RejoinRequest
from ota.eui64 import Eui64

DEFAULT_RADIUS: Final = 30
BROADCAST_REPEATS: Final = 2
BROADCAST_REPEAT_AFTER: Final = 0.5
BROADCAST_JITTER: Final = 0.064
BROADCAST_MEMORY: Final = 9.0
"""How long a broadcast is remembered, so that it is heard once (nwkNetworkBroadcastDeliveryTime)."""
MAX_FRAME: Final = 127 - 9 - 2
"""The most octets of a network frame in a MAC frame with short addresses."""
SEAL: Final = 18
"""What security adds to a network frame: auxiliary header and integrity code."""
MAX_PAYLOAD: Final = MAX_FRAME - 8 - SEAL
"""The most octets an APS frame may have in one secured network frame without optional fields."""
_ROUTE_DISCOVERY: Final = 1
_REJOIN_REQUEST: Final = bytes((RejoinRequest.COMMAND_ID,))

OnNwkFrame = Callable[[NwkFrame, Eui64 | None, int, int], object]
"""Called with a frame in plain, who sealed it (None if nobody did), LQI and RSSI."""


class Nwk:
    """The network layer of one node. ``on_data`` and ``on_command`` get what is meant for us, in plain.

    Without a network key (while joining) unsecured frames are taken, with one they are dropped.
    """

    def __init__(self, station: Station, mac: Mac, on_data: OnNwkFrame, on_command: OnNwkFrame) -> None:
        self._station = station
        self._store = station.store
        self._timeline = station.timeline
        self._mac = mac
        self._on_data = on_data
        self._on_command = on_command
        self._sequence = station.dice.randrange(256)
        self._keys: dict[int, bytes] = {}
        self._key = b""
        self._key_sequence = 0
        self._names: dict[int, Eui64] = {}
        self._broadcasts: dict[tuple[int, int], float] = {}
        self.address: int | None = None
        """Our short address; None outside a network."""
        self._life = 0

    @property
    def authorised(self) -> bool:
        """Whether we hold the network key."""
        return bool(self._key)

    def start(self, address: int, *, with_keys: bool = True) -> None:
        """Be in a network under this address, with the keys of the store (none, while joining).

        Without them we rejoin as somebody who does not know the network key of today.
        """
        self.address = address
        self._names = {nwk: eui64 for eui64, nwk in self._store.addresses.items()}
        if with_keys:
            self.take_keys()
        else:
            self._keys, self._key = {}, b""

    def take_keys(self) -> None:
        """Use the network keys that the store holds now."""
        network = self._store.network
        if network is None:
            self._keys, self._key = {}, b""
            return
        self._key, self._key_sequence = network.network_key, network.key_sequence
        self._keys = {**self._store.alternate_keys, network.key_sequence: network.network_key}

    def stop(self) -> None:
        """Be in no network."""
        self.address = None
        self._keys, self._key = {}, b""
        self._broadcasts.clear()
        self._life += 1

    def learn(self, eui64: Eui64, nwk: int) -> None:
        """Remember under which short address a device is to be found now."""
        if self._names.get(nwk) == eui64 and self._store.addresses.get(eui64) == nwk:
            return
        old = self._store.addresses.get(eui64)
        if old is not None and self._names.get(old) == eui64:
            del self._names[old]
        stale = self._names.get(nwk)
        if stale is not None:
            self._store.addresses.pop(stale, None)
        self._store.addresses[eui64] = nwk
        self._names[nwk] = eui64
        self._store.on_change()

    def forget(self, eui64: Eui64) -> None:
        """Forget where a device was."""
        nwk = self._store.addresses.pop(eui64, None)
        if nwk is not None:
            self._names.pop(nwk, None)
            self._store.on_change()

    def forget_all(self) -> None:
        """Forget where everyone was."""
        self._store.addresses.clear()
        self._names.clear()

    def eui64_of(self, nwk: int) -> Eui64 | None:
        """Whose short address this is, as far as known."""
        return self._names.get(nwk)

    def seconds_asleep(self, destination: int) -> float:
        """How long a message may wait until its destination asks for it; 0 if it always listens."""
        return self._mac.indirect.persistence if destination in self._mac.sleepers else 0.0

    def send(
        self,
        destination: int,
        payload: bytes,
        on_done: OnDone,
        *,
        radius: int = 0,
        frame_type: FrameType = FrameType.DATA,
        secured: bool = True,
        named: bool = False,
        destination_ieee: Eui64 | None = None,
    ) -> None:
        """Send a frame to a short address; ``on_done(ok)`` when the next hop has it, or once it is broadcast.

        ``named`` puts our EUI-64 into the header.

        Raises:
            PayloadTooLong: if it does not fit one frame.
        """
        address = self.address
        if address is None:
            raise RuntimeError("the network layer is in no network")
        self._sequence = sequence = (self._sequence + 1) & 0xFF
        broadcast = destination >= BROADCAST_LOWEST
        frame = NwkFrame(
            frame_type,
            destination,
            address,
            radius or DEFAULT_RADIUS,
            sequence,
            payload,
            secured,
            _ROUTE_DISCOVERY if frame_type is FrameType.DATA and not broadcast and secured else 0,
            destination_ieee=destination_ieee,
            source_ieee=self._station.eui64 if named else None,
        )
        if broadcast:
            if destination == BROADCAST_ALL:
                self._keep_for_sleepers(frame)
            self._broadcast(frame, on_done, BROADCAST_REPEATS)
        else:
            self._transmit(frame, destination, on_done)

    def _transmit(self, frame: NwkFrame, next_hop: int, on_done: OnDone) -> None:
        if next_hop in self._mac.sleepers:
            self._keep(frame, next_hop, on_done)
            return
        try:
            self._mac.send_data(next_hop, self._octets(frame), on_done)
        except FrameTooLongError as error:
            raise PayloadTooLong(
                len(frame.payload), len(frame.payload) - (error.size - error.limit)
            ) from error

    def _octets(self, frame: NwkFrame) -> bytes:
        if not frame.security:
            return frame.to_bytes()
        return seal(
            frame, self._key, self._key_sequence, self._store.network_counter.take(), self._station.eui64
        )

    def _keep(self, frame: NwkFrame, child: int, on_done: OnDone) -> None:
        """Let a frame wait for a sleeping child. It is sealed when it goes: counters must grow on the air."""
        excess = len(frame.to_bytes()) + (SEAL if frame.security else 0) - MAX_FRAME
        if excess > 0:
            raise PayloadTooLong(len(frame.payload), len(frame.payload) - excess)
        self._mac.hold_data(child, partial(self._octets, frame), on_done)

    def _keep_for_sleepers(self, frame: NwkFrame) -> None:
        """What is meant for really everyone waits for each sleeping child (Zigbee 3.6.5)."""
        for child in sorted(self._mac.sleepers):
            self._keep(frame, child, _ignore)

    def _broadcast(self, frame: NwkFrame, on_done: OnDone, repeats: int) -> None:
        self._transmit(frame, BROADCAST, on_done)
        if repeats:
            delay = BROADCAST_REPEAT_AFTER + self._station.dice.random() * BROADCAST_JITTER
            self._timeline.after(delay, self._repeat, frame, repeats - 1, self._life)

    def _repeat(self, frame: NwkFrame, repeats: int, life: int) -> None:
        if life == self._life and self.address == frame.source and (self._key or not frame.security):
            self._broadcast(frame, _ignore, repeats)

    def receive(self, mac_frame: MacFrame, lqi: int, rssi: int) -> None:
        """A MAC data frame arrived."""
        octets = mac_frame.payload
        try:
            frame = NwkFrame.parse(octets)
            if not self._is_ours(frame.destination) or frame.source == self.address:
                return
            sealer: Eui64 | None = None
            if frame.security:
                opened = self._open(octets, frame)
                if opened is None:
                    return
                frame, sealer = opened
            elif self._key and not self._may_be_plain(frame):
                self._station.drop("nwk", "not secured", source=frame.source)
                return
        except WireError as error:
            self._station.drop("nwk", str(error), source=mac_frame.source)
            return
        if (
            sealer is not None
            and mac_frame.source == frame.source
            and self._names.get(frame.source) != sealer
        ):
            self.learn(sealer, frame.source)
        if frame.destination >= BROADCAST_LOWEST and self._heard_before(frame):
            return
        if frame.type is FrameType.DATA:
            self._on_data(frame, sealer, lqi, rssi)
        else:
            self._on_command(frame, sealer, lqi, rssi)

    def _is_ours(self, destination: int) -> bool:
        if destination == self.address:
            return True
        if destination < BROADCAST_LOWEST:
            return False
        return (
            destination == BROADCAST_ALL
            or (destination == BROADCAST_RX_ON and self._station.hears_when_idle)
            or (destination == BROADCAST_ROUTERS and self._station.is_router)
        )

    def _may_be_plain(self, frame: NwkFrame) -> bool:
        """Who lost the network key can only ask in plain to come back (Zigbee 3.6.1.4.2.2)."""
        is_rejoin = frame.type is FrameType.COMMAND and frame.payload[:1] == _REJOIN_REQUEST
        return is_rejoin and self._station.is_router

    def _open(self, octets: bytes, frame: NwkFrame) -> tuple[NwkFrame, Eui64] | None:
        counters = self._station.counters
        if not self._key:
            self._station.drop("nwk", "no network key yet", source=frame.source)
            return None
        auxiliary = NwkAuxiliary.parse(frame.payload)
        heard = self._store.heard
        # Judged before any decryption: a replayed frame would decrypt well.
        fresh_key = auxiliary.key_sequence != self._key_sequence
        if fresh_key and (auxiliary.key_sequence - self._key_sequence) & 0xFF > 0x7F:
            self._station.drop("nwk", "an old network key", source=frame.source)
            return None
        if (
            not fresh_key and auxiliary.counter < heard.get(auxiliary.source, 0)
        ) or auxiliary.counter == COUNTER_END:
            counters.nwk_frame_counter_failure += 1
            self._station.drop(
                "nwk",
                "replayed counter",
                source=frame.source,
                device=str(auxiliary.source),
                counter=auxiliary.counter,
            )
            return None
        try:
            opened, auxiliary = open_frame(octets, self._keys, frame)
        except ForgedError as error:
            counters.nwk_decryption_failure += 1
            self._station.drop("nwk", str(error), source=frame.source)
            return None
        if fresh_key and self._store.switch_key(auxiliary.key_sequence):
            # The first frame under a key that waits is the switch itself (4.3.1.2).
            self.take_keys()
            self._station.facts.say(
                self._station.name, "network.key_switched", sequence=self._key_sequence, how="heard"
            )
        heard[auxiliary.source] = auxiliary.counter + 1
        return opened, auxiliary.source

    def _heard_before(self, frame: NwkFrame) -> bool:
        now = self._timeline.now
        expired = [key for key, until in self._broadcasts.items() if until <= now]
        for key in expired:
            del self._broadcasts[key]
        key = (frame.source, frame.sequence)
        if key in self._broadcasts:
            return True
        self._broadcasts[key] = now + BROADCAST_MEMORY
        return False


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """Nobody waits for a repetition."""
