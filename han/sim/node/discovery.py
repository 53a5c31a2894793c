"""Route discovery at work: requests go out, are passed on and answered, and frames wait for a way (3.6.4.5).

What a request or a reply means is decided in ``routes``; here are the timers and the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from han.sim.air.timeline import Handle
from han.sim.node.mac import OnDone
from han.sim.node.neighbours import Neighbours, link_cost
from han.sim.node.routes import Routes
from han.sim.node.station import Station
from han.sim.wire.mac import BROADCAST
from han.sim.wire.nwk import BROADCAST_ROUTERS, FrameType, NwkFrame
from han.sim.wire.nwk_commands import ManyToOne, RouteReply, RouteRequest
from ota.eui64 import Eui64

REQUEST_REPEATS: Final = 2
"""How often a route request is repeated (nwkcRREQRetries)."""
REQUEST_REPEAT_AFTER: Final = 0.254
REQUEST_JITTER: Final = (0.002, 0.128)
"""A route request is passed on after so many seconds, at random between these (nwkcMin/MaxRREQJitter)."""
SEARCH: Final = 1.25
"""Seconds that a frame waits for a way: three requests, over as many hops as a house has."""
LOST: Final = 5.0
"""For how long it is not asked again for whom nobody knew a way to."""
MOST_WAITING: Final = 8
"""How many frames wait for one way."""
MAX_RADIUS: Final = 30


class Sender(Protocol):
    """What the mesh needs of the network layer."""

    address: int | None

    def next_sequence(self) -> int:
        """A sequence number for a new frame."""
        ...

    def transmit(self, frame: NwkFrame, next_hop: int, on_done: OnDone) -> None:
        """Seal a frame and give it to the MAC."""
        ...

    def eui64_of(self, nwk: int) -> Eui64 | None:
        """Whose short address this is, as far as known."""
        ...


@dataclass(slots=True)
class _Search:
    """A way that is being looked for, and what waits for it."""

    waiting: list[tuple[NwkFrame, OnDone]]
    deadline: Handle


class Discovery:
    """The route discovery of one node.

    ``answers_for`` says for whom we answer: ourselves and the end devices that are our children. ``send`` is
    how a frame goes on once its way is known, ``is_near`` whether it needs none.
    """

    def __init__(
        self,
        station: Station,
        sender: Sender,
        neighbours: Neighbours,
        routes: Routes,
        *,
        answers_for: Callable[[int], bool],
        is_near: Callable[[int], bool],
        send: Callable[[NwkFrame, OnDone], None],
        hop: Callable[[NwkFrame, int, OnDone], None],
    ) -> None:
        self._station = station
        self._timeline = station.timeline
        self._sender = sender
        self._neighbours = neighbours
        self._routes = routes
        self._answers_for = answers_for
        self._is_near = is_near
        self._send = send
        self._hop = hop
        self._searches: dict[int, _Search] = {}
        self._lost: dict[int, float] = {}
        self._passing_on: dict[tuple[int, int], RouteRequest] = {}
        self._request_id = station.dice.randrange(256) if station.is_router else 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is looked for or passed on just now."""
        return not self._searches and not self._passing_on

    def stop(self) -> None:
        """Forget every request, and every frame that waits for a way."""
        for search in self._searches.values():
            search.deadline.cancel()
        self._searches.clear()
        self._passing_on.clear()
        self._lost.clear()

    def search(self, frame: NwkFrame, on_done: OnDone) -> None:
        """Let a frame wait until a way is found; ``on_done(False)`` if nobody knows one."""
        destination, now = frame.destination, self._timeline.now
        search = self._searches.get(destination)
        if search is not None:
            if len(search.waiting) < MOST_WAITING:
                search.waiting.append((frame, on_done))
            else:
                self._timeline.after(0.0, self._give_up, on_done)
            return
        if self._lost.get(destination, 0.0) > now:
            self._timeline.after(0.0, self._give_up, on_done)
            return
        self._lost.pop(destination, None)
        deadline = self._timeline.after(SEARCH, self._not_found, destination)
        search = self._searches[destination] = _Search([(frame, on_done)], deadline)
        request = RouteRequest(
            self._next_request(), destination, 0, destination_ieee=self._sender.eui64_of(destination)
        )
        self._ask(request, MAX_RADIUS, search)

    def ask_everyone(self, kind: ManyToOne, radius: int) -> None:
        """Let everyone within this radius learn the way to us, a concentrator of this kind."""
        request = RouteRequest(self._next_request(), BROADCAST_ROUTERS, 0, kind)
        self._ask(request, radius or MAX_RADIUS, None)

    def found(self, destination: int) -> None:
        """A way is known now: send what waits for it."""
        self._lost.pop(destination, None)
        search = self._searches.pop(destination, None)
        if search is None:
            return
        search.deadline.cancel()
        for frame, on_done in search.waiting:
            self._send(frame, on_done)

    def _next_request(self) -> int:
        self._request_id = request_id = (self._request_id + 1) & 0xFF
        return request_id

    def _ask(self, request: RouteRequest, radius: int, search: _Search | None) -> None:
        address = self._sender.address
        assert address is not None
        self._routes.begin(address, request.request_id, self._timeline.now)
        frame = NwkFrame(
            FrameType.COMMAND,
            BROADCAST_ROUTERS,
            address,
            radius,
            self._sender.next_sequence(),
            request.to_bytes(),
            security=True,
            source_ieee=self._station.eui64,
        )
        key = (address, request.request_id)
        self._passing_on[key] = request
        self._repeat_request(key, request, frame, search, REQUEST_REPEATS)

    def _repeat_request(
        self,
        key: tuple[int, int],
        request: RouteRequest,
        frame: NwkFrame,
        search: _Search | None,
        repeats: int,
    ) -> None:
        if self._passing_on.get(key) is not request:
            return
        if search is not None and self._searches.get(request.destination) is not search:
            del self._passing_on[key]
            return
        self._sender.transmit(frame, BROADCAST, _ignore)
        if repeats:
            self._timeline.after(
                REQUEST_REPEAT_AFTER, self._repeat_request, key, request, frame, search, repeats - 1
            )
        else:
            del self._passing_on[key]

    def _not_found(self, destination: int) -> None:
        if self._is_near(destination):
            self.found(destination)  # it was heard meanwhile
            return
        search = self._searches.pop(destination)
        self._lost[destination] = self._timeline.now + LOST
        self._station.facts.say(
            self._station.name, "route.not-found", destination=destination, why="nobody knows a way"
        )
        for _, on_done in search.waiting:
            self._give_up(on_done)

    def _give_up(self, on_done: OnDone) -> None:
        if self._sender.address is not None:
            on_done(False)

    # Hearing

    def hear_request(self, request: RouteRequest, frame: NwkFrame, via: int, lqi: int) -> None:
        """A route request came: answer it, pass it on, or let it be."""
        row, address = self._neighbours.get(via), self._sender.address
        if frame.source == address or (row is not None and not row.hears_us):
            return
        cost = link_cost(lqi) if row is None else row.cost
        wanted = request.destination
        answers = wanted == address or self._answers_for(wanted)
        verdict = self._routes.hear_request(
            request, frame.source, via=via, cost=cost, now=self._timeline.now, answers=answers
        )
        if request.many_to_one and verdict is not None:
            self.found(frame.source)
        match verdict:
            case RouteReply():
                self._reply(verdict, via)
            case RouteRequest() if frame.radius > 1:
                key = (frame.source, request.request_id)
                self._passing_on[key] = verdict
                relayed = frame._replace(radius=frame.radius - 1, payload=verdict.to_bytes())
                delay = self._station.dice.uniform(*REQUEST_JITTER)
                self._timeline.after(delay, self._pass_on, key, verdict, relayed, REQUEST_REPEATS)
            case _:
                pass

    def _pass_on(self, key: tuple[int, int], request: RouteRequest, frame: NwkFrame, repeats: int) -> None:
        if self._passing_on.get(key) is not request:
            return  # a cheaper copy has taken its place, or we left
        self._sender.transmit(frame, BROADCAST, _ignore)
        if repeats:
            self._timeline.after(REQUEST_REPEAT_AFTER, self._pass_on, key, request, frame, repeats - 1)
        else:
            del self._passing_on[key]

    def _reply(self, reply: RouteReply, next_hop: int) -> None:
        """A route reply goes from hop to hop: each is a new frame (3.4.2.2)."""
        address = self._sender.address
        assert address is not None
        frame = NwkFrame(
            FrameType.COMMAND,
            next_hop,
            address,
            1,
            self._sender.next_sequence(),
            reply.to_bytes(),
            security=True,
        )
        self._hop(frame, next_hop, _ignore)

    def hear_reply(self, reply: RouteReply, via: int, lqi: int) -> None:
        """A route reply came: use it, if we asked, or pass it on."""
        row = self._neighbours.get(via)
        cost = link_cost(lqi) if row is None else row.cost
        passed = self._routes.hear_reply(reply, via=via, cost=cost, now=self._timeline.now)
        if passed is None:
            return
        next_hop, reply = passed
        if next_hop == self._sender.address:
            self._station.facts.say(
                self._station.name,
                "route.found",
                destination=reply.responder,
                next_hop=via,
                cost=reply.path_cost,
            )
            self.found(reply.responder)
        else:
            self._reply(reply, next_hop)


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """What is lost is asked for again."""
