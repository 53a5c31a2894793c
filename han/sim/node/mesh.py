"""A node's part in the mesh: it keeps to the ways that are known, and passes on what others send.

The tables are pure and stand beside this file: ``neighbours``, ``routes``, ``concentrator``. How a way is
looked for stands in ``discovery``. A frame goes straight to a near neighbour, else along the source route
that a concentrator knows, else along a route; when none is known, it waits until one is found. End devices
leave all that to their parents.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from han.sim.air.timeline import Handle
from han.sim.node.concentrator import Concentrator, ConcentratorSettings
from han.sim.node.discovery import MAX_RADIUS, Discovery, Sender
from han.sim.node.mac import OnDone
from han.sim.node.neighbours import Neighbours
from han.sim.node.routes import Route, Routes, SourceRoutes
from han.sim.node.service import NeighbourEntry, NodeEvent, RouteEntry, RouteFailed, RouteRecorded
from han.sim.node.station import Station
from han.sim.node.store import Child
from han.sim.wire.errors import WireError
from han.sim.wire.mac import BROADCAST
from han.sim.wire.nwk import BROADCAST_ROUTERS, MAX_PAYLOAD, FrameType, NwkFrame, SourceRoute
from han.sim.wire.nwk_commands import (
    LinkStatus,
    ManyToOne,
    NetworkStatus,
    NetworkStatusCode,
    RouteRecord,
    RouteReply,
    RouteRequest,
    parse_command,
)

RETRIES: Final = 3
"""How often a frame is offered to the next hop again after all repetitions of the MAC (nwkcUnicastRetries):
two routers that are hidden from each other collide at their neighbour until one waits."""
RETRY_AFTER: Final = (0.03, 0.07)
"""Seconds before that, at random between these (nwkcUnicastRetryDelay is 50 ms)."""
MISSED_STATUSES: Final = 3
"""How many link statuses a router may miss before it is forgotten (nwkRouterAgeLimit)."""
HANDLED: Final = frozenset(
    command.COMMAND_ID for command in (RouteRequest, RouteReply, NetworkStatus, RouteRecord, LinkStatus)
)
"""The network commands that are the mesh's own."""

_ERRORS: Final = frozenset(
    (
        NetworkStatusCode.NO_ROUTE_AVAILABLE,
        NetworkStatusCode.TREE_LINK_FAILURE,
        NetworkStatusCode.NON_TREE_LINK_FAILURE,
        NetworkStatusCode.PARENT_LINK_FAILURE,
        NetworkStatusCode.SOURCE_ROUTE_FAILURE,
        NetworkStatusCode.MANY_TO_ONE_ROUTE_FAILURE,
    )
)


class Mesh:
    """The routing of one node.

    ``link_status_period`` is how often, in seconds, a router tells its neighbours how well it hears them (0:
    never). ``on_event`` hears what a concentrator's host is told.
    """

    def __init__(
        self,
        station: Station,
        sender: Sender,
        on_event: Callable[[NodeEvent], object],
        link_status_period: float,
    ) -> None:
        self._station = station
        self._timeline = station.timeline
        self._sender = sender
        self._on_event = on_event
        self._period = link_status_period
        self.neighbours = Neighbours(MISSED_STATUSES * link_status_period)
        self.routes = Routes()
        self.source_routes = SourceRoutes()
        self._concentrator = Concentrator()
        self._asking: Handle | None = None
        self._telling: Handle | None = None
        self._discovery = Discovery(
            station,
            sender,
            self.neighbours,
            self.routes,
            answers_for=self._speaks_for,
            is_near=lambda nwk: self._straight(nwk) is not None,
            send=self.send,
            hop=self._hop,
        )

    def start(self) -> None:
        """The node is in a network, with its key."""
        if self._telling is None and self._period and self._station.is_router:
            first = self._station.dice.uniform(0.0, self._period)
            self._telling = self._timeline.after(first, self._tell_links)
        self._set_timer()

    def stop(self) -> None:
        """The node is in no network: forget every way and every frame that waits for one."""
        for handle in (self._telling, self._asking):
            if handle is not None:
                handle.cancel()
        self._telling = self._asking = None
        self._discovery.stop()
        self.neighbours.clear()
        self.routes.clear()
        self.source_routes.clear()

    def concentrate(self, settings: ConcentratorSettings | None) -> None:
        """Be a concentrator, or none, from now on; also before the network is up."""
        self._concentrator.switch(settings, self._timeline.now)
        self.source_routes.clear()
        capacity = 0
        if settings is not None and settings.keeps_routes:
            capacity = settings.capacity
        self.source_routes.capacity = capacity
        self._set_timer()

    @property
    def is_idle(self) -> bool:
        """Whether no way is looked for just now, for us or for others."""
        return self._discovery.is_idle

    def ask_everyone_soon(self) -> None:
        """A concentrator asks for the ways to it, as soon as it may."""
        self._concentrator.ask_now(self._timeline.now)
        self._set_timer()

    @property
    def seconds_to_asking(self) -> float | None:
        """How long it is until a concentrator asks everyone; None: we are none."""
        due = self._concentrator.timer()
        return None if due is None else max(0.0, due - self._timeline.now)

    def neighbour_entries(self) -> list[NeighbourEntry]:
        """The neighbour table as others may see it."""
        return [
            NeighbourEntry(
                nwk,
                self._sender.eui64_of(nwk),
                row.lqi,
                row.incoming_cost,
                row.outgoing_cost,
                row.is_router,
                self._is_child(nwk),
            )
            for nwk, row in self.neighbours.rows()
        ]

    def route_entries(self) -> list[RouteEntry]:
        """The routing table as others may see it."""
        us = self._sender.address or 0
        return [
            RouteEntry(destination, route.next_hop, route.many_to_one, route.wants_record(us))
            for destination, route in self.routes.rows()
        ]

    # Sending

    def overhead(self, destination: int) -> int:
        """How many octets of a frame to this address its source route takes."""
        relays = self._source_route(destination)
        return 2 + 2 * len(relays) if relays else 0

    def send(self, frame: NwkFrame, on_done: OnDone, retries: int = RETRIES) -> None:
        """Send a frame of ours, or one that we pass on, the way that is known; look for one if none is."""
        destination = frame.destination
        store = self._station.store
        if not self._station.is_router and store.parent is not None:
            self._sender.transmit(frame, store.parent, on_done)
            return
        hop = self._straight(destination)
        if hop is None and frame.source == self._sender.address:
            relays = self._source_route(destination)
            if relays and len(frame.payload) + 2 + 2 * len(relays) <= MAX_PAYLOAD:
                frame = frame._replace(source_route=SourceRoute(len(relays) - 1, relays))
                hop = relays[-1]
        if hop is None:
            route = self.routes.get(destination)
            if route is not None:
                self._record(frame, route)
                hop = route.next_hop
        if hop is None:
            self._discovery.search(frame, on_done)
        else:
            self._hop(frame, hop, on_done, retries)

    def _hop(self, frame: NwkFrame, hop: int, on_done: OnDone, retries: int = RETRIES) -> None:
        self._sender.transmit(frame, hop, partial(self._hopped, frame, hop, on_done, retries))

    def _hopped(self, frame: NwkFrame, hop: int, on_done: OnDone, retries: int, ok: bool) -> None:  # noqa: FBT001 - an OnDone
        if ok or not retries:
            on_done(ok)
            return
        delay = self._station.dice.uniform(*RETRY_AFTER)
        self._timeline.after(delay, self._hop_again, frame, hop, on_done, retries - 1)

    def _hop_again(self, frame: NwkFrame, hop: int, on_done: OnDone, retries: int) -> None:
        if self._sender.address is None:
            return
        row = self.neighbours.get(hop)
        if row is None or row.hears_us:
            self._hop(frame, hop, on_done, retries)
        elif frame.source == self._sender.address:
            self.send(frame._replace(source_route=None), on_done, retries)
        else:
            on_done(False)

    def unheard(self, next_hop: int) -> None:
        """A neighbour did not acknowledge a frame. Too often: nothing goes over it until it is heard."""
        if self.neighbours.fail(next_hop, self._timeline.now):
            self.routes.forget_via(next_hop)
            self.source_routes.forget_via(next_hop)

    def doubt(self, destination: int) -> None:
        """No answer from there, though the first relay took every frame: look for another way next time."""
        row = self.neighbours.get(destination)
        if row is None or not row.near:
            self.routes.forget(destination)
            self.source_routes.forget(destination)

    def undelivered(self) -> None:
        """A message was given up: a concentrator may want to know the ways anew."""
        self._concentrator.delivery_failed(self._timeline.now)
        self._set_timer()

    def learn_kind(self, nwk: int, *, is_router: bool) -> None:
        """A device said whether it relays."""
        row = self.neighbours.get(nwk)
        if row is not None:
            row.is_router = is_router

    def forget(self, nwk: int) -> None:
        """Nobody is to be found under this address any more."""
        self.neighbours.forget(nwk)
        self.routes.forget(nwk)
        self.source_routes.forget(nwk)

    def _straight(self, destination: int) -> int | None:
        """The destination itself, if it is within reach as far as we know."""
        row = self.neighbours.get(destination)
        if row is not None:
            # An end device of ours has no other way, also when it has just not been heard.
            is_straight = row.near or self._speaks_for(destination)
            return destination if is_straight or (row.hears_us and self._is_child(destination)) else None
        # Not heard since we started: who was our child or parent before is the best guess.
        if self._is_child(destination) or destination == self._station.store.parent:
            return destination
        return None

    def _is_child(self, nwk: int) -> bool:
        eui64 = self._sender.eui64_of(nwk)
        return eui64 is not None and eui64 in self._station.store.children

    def _speaks_for(self, nwk: int) -> bool:
        """Whether this is an end device of ours: we answer for it, and record its routes."""
        return self._end_device_at(nwk) is not None

    def _end_device_at(self, nwk: int) -> Child | None:
        eui64 = self._sender.eui64_of(nwk)
        child = None if eui64 is None else self._station.store.children.get(eui64)
        return child if child is not None and child.is_end_device else None

    def _source_route(self, destination: int) -> tuple[int, ...] | None:
        row = self.neighbours.get(destination)
        return None if row is not None and row.near else self.source_routes.get(destination)

    # Passing on

    def relay(self, frame: NwkFrame) -> None:
        """A frame came that is for somebody else."""
        if not self._station.is_router:
            return
        if frame.radius <= 1:
            self._station.drop("nwk", "its radius is used up", source=frame.source)
            return
        frame = frame._replace(radius=frame.radius - 1)
        if frame.source_route is not None:
            self._relay_as_told(frame, frame.source_route)
            return
        if frame.type is FrameType.COMMAND and frame.payload[0] == RouteRecord.COMMAND_ID:
            relayed = self._with_us(frame)
            if relayed is None:
                return
            frame = relayed
        route = self.routes.get(frame.destination)
        many_to_one = route is not None and route.many_to_one != ManyToOne.NO
        self.send(frame, partial(self._relayed, frame, many_to_one))

    def _relay_as_told(self, frame: NwkFrame, route: SourceRoute) -> None:
        index, relays = route.relay_index, route.relays
        if index >= len(relays) or relays[index] != self._sender.address:
            self._station.drop("nwk", "a source route that does not lead over us", source=frame.source)
            return
        hop = relays[index - 1] if index else frame.destination
        if not index:
            self.heard_source_route(frame.source, frame.destination)
        frame = frame._replace(source_route=SourceRoute(max(index - 1, 0), relays))
        self._hop(frame, hop, partial(self._relayed, frame, False))

    def _with_us(self, frame: NwkFrame) -> NwkFrame | None:
        """A route record with our address behind the others."""
        try:
            record = parse_command(frame.payload)
        except WireError as error:
            self._station.drop("nwk", str(error), source=frame.source)
            return None
        address = self._sender.address
        assert isinstance(record, RouteRecord)
        assert address is not None
        if address in record.relays or len(record.relays) >= MAX_RADIUS:
            self._station.drop("nwk", "a route record that goes in circles", source=frame.source)
            return None
        return frame._replace(payload=RouteRecord((*record.relays, address)).to_bytes())

    def _relayed(self, frame: NwkFrame, many_to_one: bool, ok: bool) -> None:  # noqa: FBT001 - an OnDone
        if ok or (frame.type is FrameType.COMMAND and frame.payload[0] == NetworkStatus.COMMAND_ID):
            return
        # A concentrator is told of every way to it that broke; others hear what became of their frame.
        status, about, to = NetworkStatusCode.NON_TREE_LINK_FAILURE, frame.destination, frame.source
        child = self._end_device_at(frame.destination)
        if child is not None and child.sleeps:
            # It did not ask for the frame in time; the way to it is as good as before.
            status = NetworkStatusCode.INDIRECT_TRANSACTION_EXPIRY
        elif frame.source_route is not None:
            status = NetworkStatusCode.SOURCE_ROUTE_FAILURE
        elif many_to_one:
            status, about, to = NetworkStatusCode.MANY_TO_ONE_ROUTE_FAILURE, frame.source, frame.destination
        self._station.facts.say(
            self._station.name,
            "route.failed",
            source=frame.source,
            destination=frame.destination,
            why=status.name,
        )
        self._command(to, NetworkStatus(status, about).to_bytes())

    # Route records and network statuses

    def _record(self, frame: NwkFrame, route: Route) -> None:
        """Tell a concentrator the way back to the source of this frame, before the frame itself."""
        destination, address = frame.destination, self._sender.address
        if not route.wants_record(frame.source) or route.next_hop == destination:
            return
        ours = frame.source == address
        if frame.type is FrameType.COMMAND or not (ours or self._speaks_for(frame.source)):
            return
        assert address is not None
        record = NwkFrame(
            FrameType.COMMAND,
            destination,
            frame.source,
            MAX_RADIUS,
            self._sender.next_sequence(),
            RouteRecord(() if ours else (address,)).to_bytes(),
            security=True,
            source_ieee=self._station.eui64 if ours else self._sender.eui64_of(frame.source),
        )
        self._hop(record, route.next_hop, _ignore)

    def _command(self, destination: int, payload: bytes) -> None:
        address = self._sender.address
        if address is None:
            return
        frame = NwkFrame(
            FrameType.COMMAND,
            destination,
            address,
            MAX_RADIUS,
            self._sender.next_sequence(),
            payload,
            security=True,
        )
        self.send(frame, _ignore)

    # Hearing

    def receive(self, frame: NwkFrame, via: int, lqi: int, rssi: int) -> None:
        """One of the mesh's own commands came (those in ``HANDLED``), for us or for everyone."""
        try:
            command = parse_command(frame.payload)
        except WireError as error:
            self._station.drop("nwk", str(error), source=frame.source)
            return
        address = self._sender.address
        assert address is not None
        match command:
            case LinkStatus():
                self.neighbours.hear_link_status(via, command, address)
            case RouteRequest() if self._station.is_router:
                self._discovery.hear_request(command, frame, via, lqi)
            case RouteReply() if self._station.is_router:
                self._discovery.hear_reply(command, via, lqi)
            case RouteRecord() if self._concentrator.settings is not None:
                if self.source_routes.learn(frame.source, command.relays):
                    eui64 = frame.source_ieee or self._sender.eui64_of(frame.source)
                    self._on_event(RouteRecorded(frame.source, eui64, command.relays, lqi, rssi))
            case NetworkStatus():
                self._hear_status(command)
            case _:
                pass

    def heard_source_route(self, source: int, destination: int) -> None:
        """A concentrator's source route has reached us or our child: it needs no more records."""
        route = self.routes.get(source)
        if route is not None:
            route.is_recorded(destination)

    def _hear_status(self, status: NetworkStatus) -> None:
        if status.status in _ERRORS:
            if status.status == NetworkStatusCode.SOURCE_ROUTE_FAILURE:
                self.source_routes.forget(status.destination)
            else:
                self.routes.forget(status.destination)
            self._concentrator.route_failed(self._timeline.now)
            self._set_timer()
        self._on_event(RouteFailed(status.status, status.destination))

    # Telling

    def _tell_links(self) -> None:
        now = self._timeline.now
        for silent in self.neighbours.age(now):
            self.routes.forget_via(silent)
            self.source_routes.forget_via(silent)
        address = self._sender.address
        assert address is not None
        frame = NwkFrame(
            FrameType.COMMAND,
            BROADCAST_ROUTERS,
            address,
            1,
            self._sender.next_sequence(),
            LinkStatus(self.neighbours.links()).to_bytes(),
            security=True,
            source_ieee=self._station.eui64,
        )
        self._sender.transmit(frame, BROADCAST, _ignore)
        # A little chance keeps two routers from telling at the same time for ever.
        period = self._period * self._station.dice.uniform(0.95, 1.05)
        self._telling = self._timeline.after(period, self._tell_links)

    def _set_timer(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        due = self._concentrator.timer()
        if due is not None and self._sender.address is not None:
            self._asking = self._timeline.at(due, self._ask_everyone)

    def _ask_everyone(self) -> None:
        self._asking = None
        settings = self._concentrator.settings
        if settings is not None and self._concentrator.tick(self._timeline.now):
            kind = ManyToOne.WITH_ROUTE_RECORD if settings.keeps_routes else ManyToOne.WITHOUT_ROUTE_RECORD
            self._discovery.ask_everyone(kind, settings.radius)
        self._set_timer()


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """What is lost is asked for again."""
