"""A coordinator and some devices on one air, driven by hand."""

from __future__ import annotations

import random
from collections.abc import Callable

from han.facts import Fact, Facts
from han.fragments import FragmentSettings
from han.security.install_code import link_key, with_crc
from han.sim.air.links import Links, Patchy
from han.sim.air.medium import Air, Clear, Flight, Path, Sniffed
from han.sim.air.timeline import Timeline
from han.sim.node.node import Node
from han.sim.node.poll import PollSettings
from han.sim.node.service import (
    JoinResult,
    NetworkParameters,
    NodeEvent,
    Received,
    SendRequest,
    SendStatus,
    SimpleDescriptor,
)
from han.sim.node.store import NodeStore
from han.sim.wire.mac import addressee
from ota.eui64 import Eui64

CHANNEL = 15
NETWORK_KEY = bytes(range(0x40, 0x50))
SMART_ENERGY = 0x0109
OTA = 0x0019
PARAMETERS = NetworkParameters(CHANNEL, 0x1A62, Eui64(0x00DB1234567890FF), NETWORK_KEY)
COORDINATOR, ROUTER, END_DEVICE, SLEEPY = 0x8F, 0x8E, 0x8C, 0x80


def install_code_key(number: int) -> bytes:
    """The link key of the install code that device ``number`` carries."""
    return link_key(with_crc(bytes((number,)) * 16))


class Neighbourhood:
    """Builds nodes and remembers all that happens to them."""

    def __init__(
        self,
        seed: int = 7,
        path: Path | None = None,
        links: Links | None = None,
        link_status_period: float = 0.0,
    ) -> None:
        self.seed = seed
        self.timeline = Timeline()
        self.flights: list[Flight] = []
        path = path or Clear()
        if links is not None:
            path = Patchy(path, links, seed)
        self.air = Air(self.timeline, Sniffed(path, self.flights.append), links)
        self.link_status_period = link_status_period
        self.facts = Facts(lambda: self.timeline.now)
        self.heard: list[Fact] = []
        self.facts.subscribe(self.heard.append)
        self.events: dict[str, list[NodeEvent]] = {}
        self.messages: dict[str, list[Received]] = {}
        self.zdo: dict[str, list[Received]] = {}
        self._numbers = 0
        self.fragments: FragmentSettings | None = None

    def node(
        self,
        name: str,
        capability: int = END_DEVICE,
        store: NodeStore | None = None,
        poll: PollSettings | None = None,
    ) -> Node:
        """A new node, switched on, in no network."""
        self._numbers += 1
        node = Node(
            eui64=Eui64(0x00DB123456789000 + self._numbers),
            air=self.air,
            timeline=self.timeline,
            dice=random.Random(f"{name} {self.seed}"),
            facts=self.facts,
            name=name,
            capability=capability,
            store=store,
            poll=poll,
            fragments=self.fragments,
            link_status_period=self.link_status_period,
        )
        node.endpoints[1] = SimpleDescriptor(SMART_ENERGY, 0x0502, 0, (0x0000,), (OTA,))
        self.watch(node)
        return node

    def watch(self, node: Node) -> None:
        """Remember what this node tells."""
        node.on_event = self.events.setdefault(node.name, []).append
        node.on_message = self.messages.setdefault(node.name, []).append
        node.on_zdo = self.zdo.setdefault(node.name, []).append

    def hub(self) -> Node:
        """A coordinator with a network, open for joining."""
        hub = self.node("hub", COORDINATOR)
        hub.form(PARAMETERS)
        hub.permit(255)
        return hub

    def join(self, hub: Node, node: Node, channels: tuple[int, ...] = (CHANNEL,)) -> JoinResult:
        """Let a device in with its install code, and wait until that has ended."""
        key = install_code_key(node.eui64 & 0xFF)
        hub.trust.transient[node.eui64] = key
        return self.attempt(node, key, channels)

    def attempt(self, node: Node, key: bytes, channels: tuple[int, ...] = (CHANNEL,)) -> JoinResult:
        """Let a device try to join, and wait until that has ended and its announcements are out."""
        results: list[JoinResult] = []
        node.join(key, results.append, channels)
        self.run_until(lambda: bool(results))
        self.timeline.run(self.timeline.now + 2.0)
        return results[0]

    def come_back(self, node: Node, *, secured: bool = True) -> JoinResult:
        """Let a device rejoin, and wait until that has ended and its announcements are out."""
        results: list[JoinResult] = []
        node.rejoin(results.append, secured=secured)
        self.run_until(lambda: bool(results))
        self.timeline.run(self.timeline.now + 2.0)
        return results[0]

    def run_until(self, done: Callable[[], bool], limit: float = 600.0) -> None:
        """Let time pass until ``done``; fails when nothing is planned or too much time has passed."""
        end = self.timeline.now + limit
        while not done():
            assert self.timeline.step(), "nothing is planned any more"
            assert self.timeline.now < end, "too much time has passed"

    def send(self, sender: Node, to: Node, payload: bytes, **options: bool) -> SendStatus:
        """Send a message and wait for its end."""
        statuses: list[SendStatus] = []
        assert to.nwk is not None
        sender.send(message(to.nwk, payload, **options), statuses.append)
        assert not statuses, "the end of a sending is told later, never inside the call"
        self.run_until(lambda: bool(statuses))
        return statuses[0]

    def why(self, what: str = "frame.dropped") -> list[str]:
        """The reasons of the facts of this name."""
        return [fact.why for fact in self.heard if fact.what == what]


def message(to: int, payload: bytes, *, aps_ack: bool = True, aps_security: bool = False) -> SendRequest:
    """A message on the OTA cluster between the endpoints 1."""
    return SendRequest(to, SMART_ENERGY, OTA, 1, 1, payload, aps_ack=aps_ack, aps_security=aps_security)


class Deaf:
    """A path on which chosen frames reach nobody."""

    def __init__(self, lost: Callable[[Flight], bool]) -> None:
        self.lost = lost

    def arrivals(self, flight, listeners):
        return [] if self.lost(flight) else listeners


class Wall:
    """A path on which two radios do not hear each other any more."""

    def __init__(self) -> None:
        self.between = set()

    def arrivals(self, flight, listeners):
        return [one for one in listeners if {flight.sender, one} != self.between]


def hand_over(psdu: bytes, *nodes: Node) -> None:
    """Let these nodes hear octets, as the air does: past each radio's filter."""
    for node in nodes:
        if addressee(psdu) in node._mac.ears:
            node._mac.receive(psdu, 255, -40)


class Replayer:
    """A stranger with a radio that sends what it has recorded."""

    ears = None

    def __init__(self, air: Air, channel: int = CHANNEL) -> None:
        self._air = air
        self._channel = channel
        air.tune(self, channel)

    def receive(self, psdu: bytes, lqi: int, rssi: int) -> None:
        """It has heard enough already."""

    def send(self, psdu: bytes) -> None:
        """Put these octets on the air now."""
        self._air.transmit(self, self._channel, psdu, lambda: None)
