"""A Zigbee node on an air: the one class for coordinator and device.

``Node`` is only the front door: it wires the layers together and passes things on. The work is done, layer by layer,
in ``mac``, ``nwk``, ``aps``, ``zdo``, ``join`` and ``trust``; what outlives a reboot is in ``store``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from han.facts import Facts
from han.sim.air.medium import Air
from han.sim.air.timeline import Timeline
from han.sim.node.service import (
    Counters,
    JoinResult,
    NetworkParameters,
    NodeEvent,
    Received,
    SendRequest,
    SendStatus,
    SimpleDescriptor,
)
from han.sim.node.store import NodeStore
from han.sim.node.trust import TrustCentre
from ota.eui64 import Eui64


class Node:
    """A Zigbee node: coordinator if it forms a network, device if it joins one.

    ``capability`` is the MAC capability octet (0x8E: mains-powered router, 0x8F coordinator, 0x80 sleepy).
    ``dice`` decides backoffs, addresses and sequence numbers; ``store`` is what a flash memory would keep.
    Callbacks are called from within the simulation, at the timeline's ``now``.
    """

    on_message: Callable[[Received], None]
    """APS data for an application endpoint (anything but endpoint 0)."""
    on_zdo: Callable[[Received], None]
    """Every ZDO message (profile 0, endpoint 0) that arrives, also those that the node itself answers."""
    on_event: Callable[[NodeEvent], None]
    endpoints: dict[int, SimpleDescriptor]
    counters: Counters
    trust: TrustCentre
    """The Trust Centre's side: ``trust.transient[eui64] = link_key``, ``trust.policy``, ``trust.link_keys``."""

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
    ) -> None: ...

    @property
    def nwk(self) -> int | None:
        """The short address, or None outside a network."""
        raise NotImplementedError

    @property
    def network(self) -> NetworkParameters | None:
        """The network the node is in, or None."""
        raise NotImplementedError

    def form(self, parameters: NetworkParameters) -> None:
        """Start a network as its coordinator and Trust Centre. Raises NetworkIsUp."""
        raise NotImplementedError

    def resume(self) -> bool:
        """Bring the stored network up again, counters ahead of where they were; False if none is stored."""
        raise NotImplementedError

    def leave(self) -> None:
        """Leave the network for good: tell the neighbours, forget keys and addresses. Raises NetworkIsDown."""
        raise NotImplementedError

    def permit(self, seconds: int) -> None:
        """Let devices associate for this long; 0 closes at once, 255 stays open."""
        raise NotImplementedError

    def join(self, link_key: bytes, on_done: Callable[[JoinResult], None]) -> None:
        """Scan, associate with the best parent, wait for the network key under ``link_key``, announce. Raises NetworkIsUp."""
        raise NotImplementedError

    def rejoin(self, on_done: Callable[[JoinResult], None]) -> None:
        """Come back into the stored network under its network key (secured rejoin)."""
        raise NotImplementedError

    def send(self, request: SendRequest, on_sent: Callable[[SendStatus], None]) -> int:
        """Send an APS message; ``on_sent`` is called once, later, never from inside this call. Returns the APS counter.

        Raises:
            NetworkIsDown, PayloadTooLong, NoLinkKey, AddressUnknown.
        """
        raise NotImplementedError

    def largest_payload(self, *, aps_security: bool, group: bool = False) -> int:
        """The most APS payload octets in one frame: 82 under NWK security, 73 with APS security as well."""
        raise NotImplementedError

    def address_of(self, eui64: Eui64) -> int | None:
        """The short address last known for this device."""
        raise NotImplementedError

    def eui64_of(self, nwk: int) -> Eui64 | None:
        """The EUI-64 last known behind this short address."""
        raise NotImplementedError

    def crash(self) -> None:
        """Power lost: radio off, everything forgotten but the store. No callback is called any more."""
        raise NotImplementedError

    def reboot(self) -> bool:
        """Power back: as ``resume``."""
        raise NotImplementedError
