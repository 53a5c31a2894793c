"""Which way leads where: a router's routing and route discovery tables, and a concentrator's source routes.

A route to a device is found by asking everyone (Zigbee 3.6.4.5): each router that passes a route request on
adds the cost of the link over which it heard it, and remembers from whom the cheapest copy came. The reply
takes that way back. Links work in both directions, so what leads one way leads the other as well. A
concentrator asks for itself (many-to-one): everyone learns the way to it at once, and tells it the way back
in a route record.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from han.sim.wire.nwk_commands import ManyToOne, RouteReply, RouteRequest

CAPACITY: Final = 64
DISCOVERIES: Final = 64
DISCOVERY_MEMORY: Final = 10.0
"""Seconds for which a route request is remembered (nwkcRouteDiscoveryTime)."""
MOST_RELAYS: Final = 11
"""A source route with more would leave an image block no room; real stacks stop here as well."""
_ENDLESS: Final = 0x100
_WORST: Final = 0xFF


class Route:
    """The first step of a way. ``many_to_one`` says whether its end is a concentrator, and of which kind."""

    __slots__ = ("_recorded", "many_to_one", "next_hop")

    def __init__(self, next_hop: int, many_to_one: int = ManyToOne.NO) -> None:
        self.next_hop = next_hop
        self.many_to_one = many_to_one
        self._recorded: set[int] = set()

    def wants_record(self, source: int) -> bool:
        """Whether the concentrator at the end waits for a route record of this device: us, or a child."""
        return self.many_to_one != ManyToOne.NO and source not in self._recorded

    def is_recorded(self, source: int) -> None:
        """The concentrator has sent along a source route to this device. One without memory forgets it."""
        if self.many_to_one == ManyToOne.WITH_ROUTE_RECORD:
            self._recorded.add(source)


class _Discovery:
    __slots__ = ("expires", "forward_cost", "residual_cost", "sender")

    def __init__(self, sender: int, forward_cost: int, expires: float) -> None:
        self.sender = sender
        self.forward_cost = forward_cost
        self.residual_cost = _ENDLESS
        self.expires = expires


class Routes:
    """The tables of one router. The oldest row goes when there is no room."""

    def __init__(self) -> None:
        self._routes: dict[int, Route] = {}
        self._discoveries: dict[tuple[int, int], _Discovery] = {}

    def clear(self) -> None:
        """Know no way."""
        self._routes.clear()
        self._discoveries.clear()

    def get(self, destination: int) -> Route | None:
        """The way to this address."""
        return self._routes.get(destination)

    def rows(self) -> list[tuple[int, Route]]:
        """All routes, by destination."""
        return sorted(self._routes.items())

    def learn(self, destination: int, next_hop: int) -> None:
        """Remember a way. One to a concentrator stays one."""
        route = self._routes.pop(destination, None) or Route(next_hop)
        route.next_hop = next_hop
        self._keep(destination, route)

    def forget(self, destination: int) -> None:
        """This way leads nowhere."""
        self._routes.pop(destination, None)

    def forget_via(self, next_hop: int) -> None:
        """No way leads over this neighbour any more."""
        for destination in [each for each, route in self._routes.items() if route.next_hop == next_hop]:
            del self._routes[destination]

    def begin(self, us: int, request_id: int, now: float) -> None:
        """We are about to send this request ourselves."""
        self._remember((us, request_id), _Discovery(us, 0, now + DISCOVERY_MEMORY), now)

    def hear_request(
        self, request: RouteRequest, originator: int, *, via: int, cost: int, now: float, answers: bool
    ) -> RouteRequest | RouteReply | None:
        """A route request came over a link of this cost.

        Gives what to pass on to everyone, or what to answer to ``via`` (if ``answers``: the request is for
        us, or for a child of ours), or None: we know a way at least as good already.
        """
        total = min(request.path_cost + cost, _WORST)
        key = (originator, request.request_id)
        known = self._discoveries.get(key)
        if known is not None and known.expires > now and known.forward_cost <= total:
            return None
        self._remember(key, _Discovery(via, total, now + DISCOVERY_MEMORY), now)
        if request.many_to_one:
            self._routes.pop(originator, None)
            self._keep(originator, Route(via, request.many_to_one))
        elif answers:
            self.learn(originator, via)
            return RouteReply(request.request_id, originator, request.destination, 0)
        return replace(request, path_cost=total)

    def hear_reply(
        self, reply: RouteReply, *, via: int, cost: int, now: float
    ) -> tuple[int, RouteReply] | None:
        """A reply came over a link of this cost: to whom it goes next, and what it says then.

        The next may be ourselves: then we had asked. None: we were not asked, or know a better way.
        """
        known = self._discoveries.get((reply.originator, reply.request_id))
        total = min(reply.path_cost + cost, _WORST)
        if known is None or known.expires <= now or known.residual_cost <= total:
            return None
        known.residual_cost = total
        self.learn(reply.responder, via)
        if known.forward_cost:
            self.learn(reply.originator, known.sender)
        return known.sender, replace(reply, path_cost=total)

    def _keep(self, destination: int, route: Route) -> None:
        while len(self._routes) >= CAPACITY:
            del self._routes[next(iter(self._routes))]
        self._routes[destination] = route

    def _remember(self, key: tuple[int, int], discovery: _Discovery, now: float) -> None:
        for old in [each for each, entry in self._discoveries.items() if entry.expires <= now]:
            del self._discoveries[old]
        while len(self._discoveries) >= DISCOVERIES:
            del self._discoveries[next(iter(self._discoveries))]
        self._discoveries[key] = discovery


class SourceRoutes:
    """What a concentrator knows: for each device the relays on the way, the one nearest to it first."""

    def __init__(self) -> None:
        self.capacity = 0
        """How many are kept; 0 while we are no concentrator, or one that keeps none."""
        self._relays: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._relays)

    def clear(self) -> None:
        """Know no way."""
        self._relays.clear()

    def get(self, destination: int) -> tuple[int, ...] | None:
        """The relays on the way to this device, the nearest to it first; none: it is a neighbour."""
        return self._relays.get(destination)

    def rows(self) -> list[tuple[int, tuple[int, ...]]]:
        """All of them, by destination."""
        return sorted(self._relays.items())

    def learn(self, destination: int, relays: tuple[int, ...]) -> bool:
        """Keep a way; False if it is none: too long, or going in circles."""
        self._relays.pop(destination, None)
        if len(relays) > MOST_RELAYS or len({destination, *relays}) <= len(relays):
            return False
        if self.capacity:
            while len(self._relays) >= self.capacity:
                del self._relays[next(iter(self._relays))]
            self._relays[destination] = relays
        return True

    def forget(self, destination: int) -> None:
        """This way leads nowhere."""
        self._relays.pop(destination, None)

    def forget_via(self, relay: int) -> None:
        """No way leads over this relay any more."""
        for destination in [each for each, relays in self._relays.items() if relay in relays]:
            del self._relays[destination]
