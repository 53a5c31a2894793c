"""What the firmware asks of the Zigbee stack beneath it: the slice of `Node` that a dongle needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from han.fragments import Origin
from han.sim.node.concentrator import ConcentratorSettings
from han.sim.node.service import (
    Counters,
    NeighbourEntry,
    NetworkParameters,
    NodeEvent,
    Received,
    RouteEntry,
    SendRequest,
    SendStatus,
    SimpleDescriptor,
)
from han.sim.node.store import Child
from han.sim.node.trust import JoinPolicy
from ota.eui64 import Eui64


class TrustSide(Protocol):
    """What the firmware sets at the Trust Centre."""

    policy: JoinPolicy
    transient: dict[Eui64, bytes]

    def broadcast_next_key(self, key: bytes) -> None:
        """Give everybody the next network key."""
        ...

    def send_next_key(self, eui64: Eui64, nwk: int, key: bytes) -> bool:
        """Give one device the next network key under its link key; False if there is none."""
        ...

    def switch_key(self) -> bool:
        """Tell everybody to use the next network key; False if none was given out."""
        ...


class ChildrenSide(Protocol):
    """What the firmware sets and shows of the children."""

    persistence: float
    default_timeout: int

    def seconds_allowed(self, child: Child) -> float:
        """How long this child may be silent."""
        ...

    def seconds_left(self, eui64: Eui64) -> float:
        """How long a child may still be silent."""
        ...


class ZdoSide(Protocol):
    """What the firmware sets at the Device Objects."""

    answers_unknown: bool
    manufacturer: int
    longest: tuple[int, int]


class Stack(Protocol):
    """A coordinator's Zigbee stack. `Node` is one."""

    on_message: Callable[[Received], object]
    on_zdo: Callable[[Received], object]
    on_event: Callable[[NodeEvent], object]
    endpoints: dict[int, SimpleDescriptor]
    host_fragments: bool

    @property
    def counters(self) -> Counters:
        """What was counted since the node was built."""
        ...

    @property
    def groups(self) -> set[int]:
        """The groups whose messages the node hears."""
        ...

    @property
    def zdo(self) -> ZdoSide:
        """The Device Objects' side."""
        ...

    @property
    def trust(self) -> TrustSide:
        """The Trust Centre's side."""
        ...

    @property
    def children(self) -> ChildrenSide:
        """The children of the dongle itself."""
        ...

    @property
    def nwk(self) -> int | None:
        """The short address, or None outside a network."""
        ...

    @property
    def network(self) -> NetworkParameters | None:
        """The network the node is in, or None."""
        ...

    def form(self, parameters: NetworkParameters) -> None:
        """Start a network."""
        ...

    def resume(self) -> bool:
        """Bring the stored network up; False if none is stored."""
        ...

    def leave(self) -> None:
        """Leave the network for good."""
        ...

    def permit(self, seconds: int) -> None:
        """Let devices associate for this long."""
        ...

    def remove(self, eui64: Eui64, *, rejoin: bool = False, through: int | None = None) -> bool:
        """Send a device away, itself or through the router of this address; False if that cannot be said."""
        ...

    def concentrate(self, settings: ConcentratorSettings | None) -> None:
        """Be a concentrator, or none."""
        ...

    def ask_everyone(self) -> None:
        """Ask for the ways to us as soon as a concentrator may."""
        ...

    @property
    def seconds_to_asking(self) -> float | None:
        """How long it is until a concentrator asks everyone next; None: we are none."""
        ...

    def hears(self, nwk: int) -> bool:
        """Whether this device is near: what it sends comes without a relay."""
        ...

    def neighbours(self) -> list[NeighbourEntry]:
        """Whom the node hears by itself."""
        ...

    def routes(self) -> list[RouteEntry]:
        """Which way leads where."""
        ...

    def source_routes(self) -> dict[int, tuple[int, ...]]:
        """The relays to each device, the one nearest to it first."""
        ...

    def learn_source_route(self, nwk: int, relays: tuple[int, ...]) -> bool:
        """Take the host's word for the relays to a device; False if they cannot be a way."""
        ...

    def learn(self, eui64: Eui64, nwk: int) -> None:
        """Take somebody's word for where a device is to be found."""
        ...

    def learn_sleeper(self, eui64: Eui64, *, sleeps: bool) -> None:
        """Take somebody's word for whether a device sleeps."""
        ...

    def send(self, request: SendRequest, on_sent: Callable[[SendStatus], object]) -> int:
        """Send an APS message; the status comes later."""
        ...

    def acknowledge(self, origin: Origin, first: int, bits: int) -> None:
        """Acknowledge fragments that were handed up."""
        ...

    def largest_payload(self, *, aps_security: bool, group: bool = False) -> int:
        """The most APS payload octets in one frame."""
        ...

    def address_of(self, eui64: Eui64) -> int | None:
        """The short address last known for this device."""
        ...

    def eui64_of(self, nwk: int) -> Eui64 | None:
        """The EUI-64 last known behind this short address."""
        ...

    def crash(self) -> None:
        """Power lost."""
        ...
