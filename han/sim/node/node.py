"""A Zigbee node on an air: the one class for coordinator and device.

``Node`` is only the front door: it wires the layers together and passes things on. The work is done, layer
by layer, in ``mac``, ``nwk``, ``aps`` and ``zdo``; by the ``join`` er and its ``parent``; by the Trust
Centre in ``trust``. What outlives a reboot is in ``store``; what a user says and hears is in ``service``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from han.facts import Facts
from han.fragments import FragmentSettings, Origin
from han.sim.air.medium import Air
from han.sim.air.timeline import Timeline
from han.sim.node.aps import Aps, largest_payload
from han.sim.node.children import Children
from han.sim.node.commands import ApsCommands
from han.sim.node.concentrator import ConcentratorSettings
from han.sim.node.fragmentation import acknowledgement
from han.sim.node.indirect import Address
from han.sim.node.join import ALL_CHANNELS, HeardNetwork, Joiner, Stage
from han.sim.node.mac import Mac
from han.sim.node.nwk import Nwk
from han.sim.node.orders import Orders
from han.sim.node.parent import Parent
from han.sim.node.poll import Poller, PollSettings
from han.sim.node.service import (
    Counters,
    DeviceAnnounced,
    JoinResult,
    NeighbourEntry,
    NetworkDown,
    NetworkIsDown,
    NetworkIsUp,
    NetworkParameters,
    NetworkUp,
    NodeEvent,
    NoLinkKey,
    Orphaned,
    Received,
    RouteEntry,
    RouteFailed,
    SendRequest,
    SendStatus,
    SimpleDescriptor,
)
from han.sim.node.station import Station
from han.sim.node.store import NodeStore
from han.sim.node.trust import TrustCentre
from han.sim.node.zdo import Zdo
from han.sim.wire.aps import ApsFrame
from han.sim.wire.mac import BROADCAST, NO_SHORT_ADDRESS, FrameType, MacFrame
from han.sim.wire.nwk import BROADCAST_RX_ON, COORDINATOR, NwkFrame
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk_commands import (
    Leave,
    NetworkStatusCode,
)
from han.sim.wire.zdo import DeviceAnnounce
from ota.eui64 import Eui64

ZDO_ENDPOINT = 0
ALL_ENDPOINTS = 0xFF
SILENCES_ALLOWED = 3
"""So many messages in a row that the Trust Centre leaves unacknowledged, and the network is thought lost."""


class Node:
    """A Zigbee node: coordinator if it forms a network, device if it joins one.

    ``capability`` is the MAC capability octet (0x8F coordinator, 0x8E mains router, 0x8C mains end
    device, 0x80 end device that sleeps). ``poll`` is how often an end device asks its parent.
    ``link_status_period`` is how often, in seconds, a router tells its neighbours how well it hears them; 0:
    never, for where all hear all and a fortnight has to pass in seconds.
    ``dice`` decides backoffs, addresses and sequence numbers; ``store`` is what a flash memory would keep.
    ``fragments`` says how long messages travel.
    Callbacks are called from within the simulation, at the timeline's ``now``.
    """

    def __init__(
        self,
        *,
        eui64: Eui64,
        air: Air,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        name: str,
        capability: int,
        store: NodeStore | None = None,
        poll: PollSettings | None = None,
        fragments: FragmentSettings | None = None,
        link_status_period: float = 0.0,
    ) -> None:
        self.eui64 = eui64
        self.name = name
        self.store = store if store is not None else NodeStore()
        self.endpoints: dict[int, SimpleDescriptor] = {}
        self.on_message: Callable[[Received], object] = _unheard
        """APS data for an application endpoint (anything but endpoint 0)."""
        self.on_zdo: Callable[[Received], object] = _unheard
        """Every ZDO message (endpoint 0) that arrives, also those that the node itself answers."""
        self.on_event: Callable[[NodeEvent], object] = _unheard
        self.counters = Counters()
        """What was counted since the node was built."""
        self._station = station = Station(
            eui64, name, capability, timeline, dice, facts, self.store, self.counters
        )
        self._mac = Mac(station, air, self._hear_frame)
        self._nwk = Nwk(
            station,
            self._mac,
            on_data=self._hear_data,
            on_command=lambda frame, sealer, _lqi, _rssi: self._orders.hear_network_command(frame, sealer),
            on_event=self._tell,
            link_status_period=link_status_period,
        )
        settings = fragments or FragmentSettings()
        self._aps = Aps(
            station,
            self._nwk,
            self._has_endpoint,
            self._hear_message,
            self._hear_sealed_command,
            fragments=settings,
        )
        self._commands = ApsCommands(
            station,
            self._aps,
            lambda *command: self._orders.hear_command(*command),  # noqa: PLW0108 - which are built last
        )
        self.trust = TrustCentre(station, self._nwk, self._commands, self._tell)
        """The Trust Centre: ``trust.transient[eui64] = link_key``, ``trust.policy``, ``trust.link_keys``."""
        self.children = Children(station, self._mac, self._nwk, self._tell)
        """The children of a router, and how patient it is with those that sleep."""
        self._mac.on_expired = self._not_asked_for
        self._aps.on_silence = self._unanswered
        self._silences = 0
        self._parent = Parent(
            station,
            self._mac,
            self._nwk,
            commands=self._commands,
            trust=self.trust,
            children=self.children,
        )
        self._poller = Poller(station, self._mac, poll or PollSettings(), self._parent_lost)
        self._joiner = Joiner(
            station,
            self._mac,
            self._nwk,
            poller=self._poller,
            commands=self._commands,
            on_up=self._arrived,
        )
        self._orders = Orders(
            station,
            self._nwk,
            joiner=self._joiner,
            parent=self._parent,
            children=self.children,
            trust=self.trust,
            leave=self._leave_if_up,
            on_event=self._tell,
        )
        self.zdo = Zdo(
            station,
            self._nwk,
            self._aps,
            self.endpoints,
            on_announced=self._hear_announcement,
            on_permit=self.permit,
            on_leave=self._leave_if_up,
            on_remove=self._parent.remove,
        )
        self.zdo.longest = (settings.longest, settings.longest)

    # What is so

    @property
    def nwk(self) -> int | None:
        """The short address, or None outside a network."""
        return self._nwk.address if self._nwk.authorised else None

    @property
    def is_up(self) -> bool:
        """Whether the node is in a network."""
        return self._nwk.authorised

    @property
    def network(self) -> NetworkParameters | None:
        """The network the node is in, or None."""
        return self.store.network if self._nwk.authorised else None

    @property
    def groups(self) -> set[int]:
        """The groups whose messages the node hears."""
        return self._aps.groups

    @property
    def host_fragments(self) -> bool:
        """Whether a host cuts and reassembles long messages, fragment by fragment."""
        return self._aps.host_fragments

    @host_fragments.setter
    def host_fragments(self, does: bool) -> None:
        self._aps.host_fragments = does

    @property
    def permits_joining(self) -> bool:
        """Whether devices may associate with this node now."""
        return self._parent.is_open

    def largest_payload(
        self, *, aps_security: bool, group: bool = False, destination: int | None = None
    ) -> int:
        """The most APS payload octets in one frame: 82 under NWK security, 73 with APS security as well.

        To a ``destination`` whose source route we know it is less by 2 octets and 2 for each relay.
        """
        most = largest_payload(aps_security=aps_security, group=group)
        return most if destination is None else most - self._nwk.mesh.overhead(destination)

    def address_of(self, eui64: Eui64) -> int | None:
        """The short address last known for this device."""
        return self.nwk if eui64 == self.eui64 else self.store.addresses.get(eui64)

    def eui64_of(self, nwk: int) -> Eui64 | None:
        """The EUI-64 last known behind this short address."""
        return self.eui64 if nwk == self.nwk else self._nwk.eui64_of(nwk)

    def hears(self, nwk: int) -> bool:
        """Whether this device is near: what it sends comes without a relay."""
        row = self._nwk.mesh.neighbours.get(nwk)
        return row is not None and row.near

    def neighbours(self) -> list[NeighbourEntry]:
        """Whom the node hears by itself, by short address."""
        return self._nwk.mesh.neighbour_entries()

    def routes(self) -> list[RouteEntry]:
        """Which way leads where, by destination."""
        return self._nwk.mesh.route_entries()

    def source_routes(self) -> dict[int, tuple[int, ...]]:
        """What a concentrator knows: the relays to each device, the one nearest to it first."""
        return dict(self._nwk.mesh.source_routes.rows())

    def learn_source_route(self, nwk: int, relays: tuple[int, ...]) -> bool:
        """Take somebody's word for the relays to a device; False if they cannot be a way."""
        return self._nwk.mesh.source_routes.learn(nwk, relays)

    def concentrate(self, settings: ConcentratorSettings | None) -> None:
        """Be a concentrator, or none (many-to-one routing), also before the network is up."""
        self._nwk.mesh.concentrate(settings)

    def ask_everyone(self) -> None:
        """Ask for the ways to us, as soon as a concentrator may; of no effect on others."""
        self._nwk.mesh.ask_everyone_soon()

    @property
    def seconds_to_asking(self) -> float | None:
        """How long it is until a concentrator asks everyone next; None: we are none."""
        return self._nwk.mesh.seconds_to_asking

    def learn(self, eui64: Eui64, nwk: int) -> None:
        """Take somebody's word for where a device is to be found."""
        self._nwk.learn(eui64, nwk)

    def learn_sleeper(self, eui64: Eui64, *, sleeps: bool) -> None:
        """Take somebody's word for whether a device sleeps: acknowledgements of one that does take longer."""
        self._nwk.learn_sleeper(eui64, sleeps=sleeps)

    # The network

    def form(self, parameters: NetworkParameters) -> None:
        """Start a network as its coordinator and Trust Centre.

        Raises:
            NetworkIsUp: in a network, or on the way into one.
        """
        self._must_be_down()
        self.store.forget()
        self._nwk.forget_all()
        self.store.trust_centre = self.eui64
        self.store.enter(parameters)
        self._bring_up(parameters)

    def resume(self) -> bool:
        """Bring the stored network up again, counters ahead of where they were; False if none is stored.

        Raises:
            NetworkIsUp: in a network, or on the way into one.
        """
        self._must_be_down()
        parameters = self.store.network
        if parameters is None:
            return False
        self._bring_up(parameters)
        return True

    def leave(self) -> None:
        """Leave the network for good: tell the neighbours, forget keys and addresses.

        ``NetworkDown`` follows when the word is out.

        Raises:
            NetworkIsDown: outside a network.
        """
        self._must_be_up()
        self._nwk.send(
            BROADCAST_RX_ON,
            Leave().to_bytes(),
            lambda _: self._go_down(left=True),
            frame_type=NwkFrameType.COMMAND,
            radius=1,
            named=True,
        )

    def permit(self, seconds: int) -> None:
        """Let devices associate for this long; 0: close now, 255: stay open. No effect on an end device."""
        if self._station.is_router and self.is_up:
            self._parent.permit(seconds)

    def change_address(self, nwk: int | None = None) -> None:
        """Go by another short address, a random one unless it is given, and tell everyone (a router only).

        Raises:
            NetworkIsDown: outside a network.
        """
        self._must_be_up()
        network = self.store.network
        assert network is not None
        assert self._station.is_router
        if nwk is None:
            nwk = self._parent.unused_address()
        self.store.network = replace(network, nwk=nwk)
        self.store.on_change()
        self._mac.address(network.pan_id, nwk)
        self._nwk.start(nwk)
        self._station.facts.say(self.name, "node.moved", nwk=nwk, before=network.nwk)
        self.zdo.announce()

    def remove(self, eui64: Eui64, *, rejoin: bool = False, through: int | None = None) -> bool:
        """Send a device away, for good or to look for a parent again; False if that cannot be said to it.

        A child of ours is told so itself. Of any other the Trust Centre tells the router ``through`` which it
        is to be reached, its parent or itself (Remove-Device); that one knows no rejoining.

        Raises:
            NetworkIsDown: outside a network.
        """
        self._must_be_up()
        if self._parent.remove(eui64, rejoin=rejoin):
            return True
        to = self.address_of(eui64) if through is None else through
        return to is not None and not rejoin and self.trust.remove(eui64, to)

    def join(
        self,
        link_key: bytes,
        on_done: Callable[[JoinResult], object],
        channels: Sequence[int] = ALL_CHANNELS,
    ) -> None:
        """Scan, associate with the best parent, wait for the network key under ``link_key``, announce.

        Raises:
            NetworkIsUp: in a network, or on the way into one.
        """
        self._must_be_down()
        self.store.forget()
        self._nwk.forget_all()
        self._joiner.join(link_key, channels, on_done)

    def rejoin(self, on_done: Callable[[JoinResult], object], *, secured: bool = True) -> None:
        """Come back into the stored network through the best parent.

        ``secured``: under the network key that we hold. Otherwise the Trust Centre gives us the one of today,
        under the link key that we share with it.

        Raises:
            NetworkIsDown: no network is stored.
            NetworkIsUp: a join is under way.
            NoLinkKey: not ``secured``, and no key is shared with the Trust Centre.
        """
        if self._joiner.stage is not Stage.IDLE:
            raise NetworkIsUp("a join is under way: wait for its end")
        if self.store.network is None:
            raise NetworkIsDown("no network is stored: join one first")
        if not secured and self.store.trust_centre not in self.store.link_keys:
            raise NoLinkKey("no link key is shared with the Trust Centre: join anew")
        self._aps.abandon()
        self._joiner.rejoin(on_done, secured=secured)

    def scan(self, channels: Sequence[int], on_scanned: Callable[[list[HeardNetwork]], object]) -> None:
        """Ask on each channel who is there (active scan).

        Raises:
            NetworkIsUp: a join or another scan is under way.
        """
        if self._joiner.stage is not Stage.IDLE:
            raise NetworkIsUp("a join or a scan is under way: wait for its end")
        self._joiner.scan(channels, on_scanned)

    def crash(self) -> None:
        """Power lost: radio off, everything forgotten but the store. No callback is called any more."""
        self._joiner.stop()
        self._parent.stop()
        self.children.stop()
        self.trust.stop()
        self._aps.stop()
        self._nwk.stop()
        self._mac.tune(None)
        self._mac.address(BROADCAST, NO_SHORT_ADDRESS)

    def reboot(self) -> bool:
        """Power back, after ``crash``: as ``resume``, with the counters as flash remembers them."""
        self.store.reboot()
        return self.resume()

    # Data

    def send(self, request: SendRequest, on_sent: Callable[[SendStatus], object]) -> int:
        """Send an APS message; ``on_sent`` is called once, never inside this call. Gives the APS counter.

        What does not fit one frame travels in fragments, if it is to be acknowledged and no host does the
        cutting.

        Raises:
            NetworkIsDown: outside a network.
            PayloadTooLong: if it does not fit one frame, or not as many as may be.
            NoLinkKey, AddressUnknown: if APS security is asked for and cannot be had.
        """
        self._must_be_up()
        self._poller.attend()
        return self._aps.send(request, on_sent)

    def acknowledge(self, origin: Origin, first: int, bits: int) -> None:
        """Acknowledge fragments for a host that reassembles: bit n for block ``first + n``.

        Raises:
            NetworkIsDown: outside a network.
            NoLinkKey, AddressUnknown: if they came under APS security, and it cannot be had any more.
        """
        self._must_be_up()
        self._aps.acknowledge_blocks(origin, acknowledgement(first, bits))

    # Between the layers

    def _must_be_up(self) -> None:
        if not self._nwk.authorised:
            raise NetworkIsDown(_DOWN)

    def _must_be_down(self) -> None:
        if self._nwk.authorised or self._joiner.stage is not Stage.IDLE:
            raise NetworkIsUp("the node is in a network, or on its way into one: leave it first")

    def _bring_up(self, parameters: NetworkParameters) -> None:
        self._mac.tune(parameters.channel)
        self._mac.address(parameters.pan_id, parameters.nwk)
        self._nwk.start(parameters.nwk)
        self._mac.listen_when_idle(self._station.hears_when_idle)
        self.children.start()
        if self.store.parent is not None:
            self._poller.start(self.store.parent)
        self._station.facts.say(
            self.name, "node.up", nwk=parameters.nwk, channel=parameters.channel, pan_id=parameters.pan_id
        )
        self._tell(NetworkUp(parameters.nwk))

    def _go_down(self, *, left: bool) -> None:
        if not self._nwk.authorised:
            return
        self._aps.abandon()
        self._parent.stop()
        self.children.stop()
        self._poller.stop()
        self._nwk.stop()
        self._mac.tune(None)
        self._mac.address(BROADCAST, NO_SHORT_ADDRESS)
        if left:
            self.store.forget()
            self._nwk.forget_all()
        self._station.facts.say(self.name, "node.down", left=left)
        self._tell(NetworkDown(left))

    def _leave_if_up(self, *, rejoin: bool = False) -> None:
        if not self.is_up or self._joiner.stage is not Stage.IDLE:
            return
        if rejoin:
            self._leave_to_rejoin()
        else:
            self.leave()

    def _leave_to_rejoin(self) -> None:
        """Say that we leave, and that we come back (a Leave with rejoin that was asked of us)."""
        self._nwk.send(
            BROADCAST_RX_ON,
            Leave(rejoin=True).to_bytes(),
            lambda _: self._tell(Orphaned("told to leave and rejoin")),
            frame_type=NwkFrameType.COMMAND,
            radius=1,
            named=True,
        )
        self._poller.stop()

    def _parent_lost(self) -> None:
        if self._joiner.stage is Stage.IDLE:
            self._tell(Orphaned("the parent does not answer"))

    def _unanswered(self, destination: int) -> None:
        """The Trust Centre left a message of ours unanswered: perhaps the network key is another one now."""
        if destination != COORDINATOR or self.nwk == COORDINATOR:
            return
        self._silences += 1
        if self._silences >= SILENCES_ALLOWED and self._joiner.stage is Stage.IDLE:
            self._silences = 0
            self._tell(Orphaned("the Trust Centre does not answer", has_parent=True))

    def _not_asked_for(self, address: Address) -> None:
        if not isinstance(address, Eui64):
            self._tell(RouteFailed(NetworkStatusCode.INDIRECT_TRANSACTION_EXPIRY, address))

    def _arrived(self) -> None:
        address = self._nwk.address
        assert address is not None
        self.children.start()
        self._tell(NetworkUp(address))
        self.zdo.announce()

    def _tell(self, event: NodeEvent) -> None:
        self.on_event(event)

    def _has_endpoint(self, endpoint: int) -> bool:
        return endpoint in self.endpoints or endpoint in (ZDO_ENDPOINT, ALL_ENDPOINTS)

    def _hear_frame(self, frame: MacFrame, lqi: int, rssi: int) -> None:
        if frame.type is _DATA:
            if self._nwk.address is not None:
                self._poller.heard(frame)
                self._nwk.receive(frame, lqi, rssi)
        elif frame.type is FrameType.COMMAND:
            self._joiner.hear_command(frame)
            self._parent.receive(frame)
        elif frame.type is FrameType.BEACON:
            self._joiner.hear_beacon(frame, lqi)

    def _hear_data(self, frame: NwkFrame, sealer: Eui64 | None, lqi: int, rssi: int) -> None:
        self._poller.attend()
        if frame.source == COORDINATOR:
            self._silences = 0
        self._aps.receive(frame, sealer, lqi, rssi)

    def _hear_message(self, message: Received) -> None:
        if message.destination_endpoint == ZDO_ENDPOINT:
            self.on_zdo(message)
            self.zdo.receive(message)
        else:
            self.on_message(message)

    def _hear_announcement(self, announcement: DeviceAnnounce) -> None:
        if announcement.nwk == self.nwk and announcement.ieee != self.eui64:
            self._give_way(announcement.ieee)
        self._nwk.learn(announcement.ieee, announcement.nwk)
        if announcement.nwk == self.store.parent:
            self._poller.follow(announcement.nwk)
        self.children.follow(announcement.ieee, announcement.nwk)
        self._nwk.mesh.learn_kind(announcement.nwk, is_router=announcement.capability & 0x02 != 0)
        self._nwk.learn_sleeper(announcement.ieee, sleeps=announcement.capability & 0x0A == 0)
        self.trust.device_spoke(announcement.ieee)
        self._tell(DeviceAnnounced(announcement.ieee, announcement.nwk, announcement.capability))

    def _give_way(self, other: Eui64) -> None:
        """Somebody else has our short address: one of the two has to take another (3.6.1.9)."""
        self._station.facts.say(
            self.name, "node.conflict", nwk=self.nwk, device=str(other), why="two devices have this address"
        )
        if self._station.is_router and self.nwk != COORDINATOR:
            self.change_address()

    def _hear_sealed_command(
        self, frame: ApsFrame, nwk_frame: NwkFrame, sealer: Eui64 | None, octets: bytes
    ) -> None:
        self._commands.receive(frame, nwk_frame, sealer, octets)


_DATA = FrameType.DATA
_DOWN = "the node is in no network: form, join or resume one first"


def _unheard(_: object) -> None:
    """Nobody listens yet."""
