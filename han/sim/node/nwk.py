"""A node's network layer: addresses, the network key, frame counters that grow, broadcasts heard once.

What is for us goes up, what is for others is passed on. Which way a frame takes is the business of the
``mesh``; to a near neighbour it goes straight, without asking. A broadcast is repeated unless every router
around is heard to pass it on (Zigbee 3.6.5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from han.sim.node.broadcasts import Broadcasts
from han.sim.node.discovery import MAX_RADIUS
from han.sim.node.mac import Mac, OnDone
from han.sim.node.mesh import HANDLED, Mesh
from han.sim.node.service import NodeEvent, PayloadTooLong
from han.sim.node.station import Station
from han.sim.node.store import COUNTER_END
from han.sim.wire.errors import ForgedError, FrameTooLongError, WireError
from han.sim.wire.mac import BROADCAST, MacFrame
from han.sim.wire.nwk import (
    BROADCAST_ALL,
    BROADCAST_LOWEST,
    BROADCAST_ROUTERS,
    BROADCAST_RX_ON,
    OVERHEAD,
    FrameType,
    NwkAuxiliary,
    NwkFrame,
    open_frame,
    seal,
)
from han.sim.wire.nwk_commands import RejoinRequest
from ota.eui64 import Eui64

_DATA = FrameType.DATA

BROADCAST_REPEATS: Final = 2
BROADCAST_REPEAT_AFTER: Final = 0.5
BROADCAST_JITTER: Final = 0.064
MAX_FRAME: Final = 127 - 9 - 2
"""The most octets of a network frame in a MAC frame with short addresses."""
_ROUTE_DISCOVERY: Final = 1
_REJOIN_REQUEST: Final = bytes((RejoinRequest.COMMAND_ID,))
_MESH_COMMANDS: Final = frozenset(bytes((command,)) for command in HANDLED)

OnNwkFrame = Callable[[NwkFrame, Eui64 | None, int, int], object]
"""Called with a frame in plain, who sealed it (None if nobody did), LQI and RSSI."""


class Nwk:
    """The network layer of one node. ``on_data`` and ``on_command`` get what is meant for us, in plain.

    Without a network key (while joining) unsecured frames are taken, with one they are dropped.
    """

    def __init__(
        self,
        station: Station,
        mac: Mac,
        *,
        on_data: OnNwkFrame,
        on_command: OnNwkFrame,
        on_event: Callable[[NodeEvent], object],
        link_status_period: float,
    ) -> None:
        self._station = station
        self._store = station.store
        self._timeline = station.timeline
        self._mac = mac
        self._on_data = on_data
        self._on_command = on_command
        self._is_router = station.is_router
        self._sequence = station.dice.randrange(256)
        self._keys: dict[int, bytes] = {}
        self._key = b""
        self._key_sequence = 0
        self._names: dict[int, Eui64] = {}
        self._broadcasts = Broadcasts()
        self._sleepers: set[Eui64] = set()
        self.doubtful: set[Eui64] = set()
        """Whose first frame under the network key is waited for."""
        self.on_proof: Callable[[Eui64], object] = _nobody
        """Called with one of them when that frame has come."""
        self.on_new_parent: Callable[[int], object] = _nobody
        """Called with the short address of a sleeping child that has another parent now."""
        self.address: int | None = None
        """Our short address; None outside a network."""
        self.mesh = Mesh(station, self, on_event, link_status_period)
        """Which way frames take, and whom we hear."""
        mac.on_unheard = self.mesh.unheard
        self._neighbours = self.mesh.neighbours
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
            # What waits for our children could not be sealed.
            self._mac.indirect.clear()
        if self._key:
            self.mesh.start()

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
        self._sleepers.clear()
        self.mesh.stop()
        self._life += 1

    def learn(self, eui64: Eui64, nwk: int) -> None:
        """Remember under which short address a device is to be found now."""
        if self._names.get(nwk) == eui64 and self._store.addresses.get(eui64) == nwk:
            return
        old = self._store.addresses.get(eui64)
        if old is not None and self._names.get(old) == eui64:
            del self._names[old]
            self.mesh.forget(old)
            if old == self._store.parent:
                self._store.parent = nwk
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
            self.mesh.forget(nwk)
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
        sleeps = destination in self._mac.sleepers or self._names.get(destination) in self._sleepers
        return self._mac.indirect.persistence if sleeps else 0.0

    def learn_sleeper(self, eui64: Eui64, *, sleeps: bool) -> None:
        """Whether a device's radio is off while idle; its parent may be somebody else."""
        if sleeps:
            self._sleepers.add(eui64)
        else:
            self._sleepers.discard(eui64)

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

        ``named`` puts our EUI-64 into the header. A radius of 1, and a frame outside network security, goes
        straight to its destination.

        Raises:
            PayloadTooLong: if it does not fit one frame.
        """
        address = self.address
        if address is None:
            raise RuntimeError("the network layer is in no network")
        broadcast = destination >= BROADCAST_LOWEST
        frame = NwkFrame(
            frame_type,
            destination,
            address,
            radius or MAX_RADIUS,
            self.next_sequence(),
            payload,
            secured,
            _ROUTE_DISCOVERY if frame_type is _DATA and not broadcast and secured else 0,
            destination_ieee,
            self._station.eui64 if named else None,
        )
        if broadcast and not self._station.hears_when_idle and self._store.parent is not None:
            # Who sleeps lets its parent broadcast for it (Zigbee 3.6.5).
            self._broadcasts.begin((address, frame.sequence), self._timeline.now)
            self.transmit(frame, self._store.parent, on_done)
            return
        if broadcast:
            self._broadcasts.begin((address, frame.sequence), self._timeline.now)
            self._keep_for_sleepers(frame)
            self._broadcast(frame, on_done, BROADCAST_REPEATS)
            return
        neighbour = self._neighbours.get(destination)
        if (neighbour is not None and neighbour.near and self._is_router) or radius == 1 or not secured:
            self.transmit(frame, destination, on_done)
        else:
            self.mesh.send(frame, on_done)

    def next_sequence(self) -> int:
        """A sequence number for a new frame."""
        self._sequence = sequence = (self._sequence + 1) & 0xFF
        return sequence

    def transmit(self, frame: NwkFrame, next_hop: int, on_done: OnDone) -> None:
        """Seal a frame and give it to the MAC; for a child that sleeps, let it wait there.

        Raises:
            PayloadTooLong: if it does not fit one frame.
        """
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
        excess = len(frame.to_bytes()) + (OVERHEAD if frame.security else 0) - MAX_FRAME
        if excess > 0:
            raise PayloadTooLong(len(frame.payload), len(frame.payload) - excess)
        self._mac.hold_data(child, partial(self._octets, frame), on_done)

    def _keep_for_sleepers(self, frame: NwkFrame) -> None:
        """What is meant for really everyone waits for each sleeping child (Zigbee 3.6.5)."""
        if frame.destination != BROADCAST_ALL:
            return
        for child in sorted(self._mac.sleepers - {frame.source}):
            self._keep(frame, child, _ignore)

    def _broadcast(self, frame: NwkFrame, on_done: OnDone, repeats: int) -> None:
        self.transmit(frame, BROADCAST, on_done)
        if repeats:
            delay = BROADCAST_REPEAT_AFTER + self._station.dice.random() * BROADCAST_JITTER
            self._timeline.after(delay, self._repeat, frame, repeats - 1, self._life)

    def _repeat(self, frame: NwkFrame, repeats: int, life: int) -> None:
        if life != self._life or not (self._key or not frame.security):
            return
        if not self._broadcasts.is_through((frame.source, frame.sequence), self._neighbours.routers()):
            self._broadcast(frame, _ignore, repeats)

    def _pass_on(self, frame: NwkFrame) -> None:
        """A broadcast that we heard for the first time goes on to everyone around us."""
        if not self._is_router or frame.radius <= 1:
            return
        frame = frame._replace(radius=frame.radius - 1)
        delay = self._station.dice.random() * BROADCAST_JITTER
        self._timeline.after(delay, self._pass_on_now, frame, self._life)

    def _pass_on_now(self, frame: NwkFrame, life: int) -> None:
        if life == self._life and self._key:
            self._keep_for_sleepers(frame)
            self._broadcast(frame, _ignore, BROADCAST_REPEATS)

    def receive(self, mac_frame: MacFrame, lqi: int, rssi: int) -> None:
        """A MAC data frame arrived."""
        try:
            opened = self._in_plain(mac_frame.payload)
        except WireError as error:
            self._station.drop("nwk", str(error), source=mac_frame.source)
            return
        if opened is None:
            return
        frame, sealer = opened
        via = mac_frame.source
        if type(via) is not int:
            self._station.drop("nwk", "from no short address", source=frame.source)
            return
        if sealer is not None:
            self._hear_neighbour(sealer, via, lqi, relays=via != frame.source)
        if frame.destination == self.address:
            self._deliver(frame, sealer, via, lqi, rssi)
        elif frame.destination >= BROADCAST_LOWEST:
            self._hear_broadcast(frame, sealer, via, lqi, rssi)
        elif sealer is not None:
            self.mesh.relay(frame)

    def _hear_neighbour(self, sealer: Eui64, via: int, lqi: int, *, relays: bool) -> None:
        if sealer in self.doubtful:
            self.on_proof(sealer)
        neighbour = self._neighbours.hear(via, lqi, self._timeline.now)
        if self._names.get(via) != sealer:
            self.learn(sealer, via)
        if relays:
            neighbour.is_router = True

    def _in_plain(self, octets: bytes) -> tuple[NwkFrame, Eui64 | None] | None:
        """The frame, opened, and who sealed it; None if it was refused."""
        frame = NwkFrame.parse(octets)
        if frame.security:
            return self._open(octets, frame)
        if self._key and not self._may_be_plain(frame):
            self._station.drop("nwk", "not secured", source=frame.source)
            return None
        return frame, None

    def _deliver(self, frame: NwkFrame, sealer: Eui64 | None, via: int, lqi: int, rssi: int) -> None:
        if frame.type is _DATA:
            if frame.source_route is not None:
                self.mesh.heard_source_route(frame.source, frame.destination)
            self._on_data(frame, sealer, lqi, rssi)
        elif sealer is not None and frame.payload[:1] in _MESH_COMMANDS:
            self.mesh.receive(frame, via, lqi, rssi)
        else:
            self._on_command(frame, sealer, lqi, rssi)

    def _hear_broadcast(self, frame: NwkFrame, sealer: Eui64 | None, via: int, lqi: int, rssi: int) -> None:
        if frame.type is FrameType.COMMAND and sealer is not None and frame.payload[:1] in _MESH_COMMANDS:
            # Route requests are passed on in their own way, link statuses not at all.
            if frame.source != self.address:
                self.mesh.receive(frame, via, lqi, rssi)
            return
        # One of ours that comes back is known. One under our address that is not is somebody else's.
        if not self._broadcasts.hear((frame.source, frame.sequence), via, self._timeline.now):
            return
        if frame.source in self._mac.sleepers and via != frame.source:
            # It broadcasts through its parent, and that was somebody else.
            self.on_new_parent(frame.source)
        self._pass_on(frame)
        if self._heeds(frame.destination):
            self._deliver(frame, sealer, via, lqi, rssi)

    def _heeds(self, broadcast: int) -> bool:
        return (
            broadcast == BROADCAST_ALL
            or (broadcast == BROADCAST_RX_ON and self._station.hears_when_idle)
            or (broadcast == BROADCAST_ROUTERS and self._is_router)
        )

    def _may_be_plain(self, frame: NwkFrame) -> bool:
        """Who lost the network key can only ask in plain to come back (Zigbee 3.6.1.4.2.2)."""
        is_rejoin = frame.type is FrameType.COMMAND and frame.payload[:1] == _REJOIN_REQUEST
        return is_rejoin and self._is_router

    def _open(self, octets: bytes, frame: NwkFrame) -> tuple[NwkFrame, Eui64] | None:
        counters = self._station.counters
        if not self._key:
            self._station.drop("nwk", "no network key yet", source=frame.source)
            return None
        auxiliary = NwkAuxiliary.parse(frame.payload)
        if auxiliary.source == self._station.eui64:
            # Whoever passes a frame on seals it anew, so nobody but us seals with our name.
            self._station.drop("nwk", "a frame of ours, played back", source=frame.source)
            return None
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
            opened, _ = open_frame(octets, self._keys, frame, auxiliary)
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


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """Nobody waits for a repetition."""


def _nobody(_: Eui64 | int) -> None:
    """Nobody has children yet."""
