"""What the host is told when devices come and go."""

from __future__ import annotations

from struct import pack
from typing import Final

from han.sim.air.timeline import Timeline
from han.sim.dongle.dialect import Dialect
from han.sim.dongle.ezsp import Ezsp
from han.sim.dongle.personality import Personality
from han.sim.dongle.tables import child_type
from han.sim.node.service import ChildJoined, DeviceJoined, DeviceUpdate, KeyVerified

VERIFY_KEY_SUCCESS: Final = 0x34
CHANGE_SOURCE_ROUTE_HANDLER: Final = 0x00C4
TELLS_ROUTE_CHANGE: Final = range(5, 10)
"""The versions whose 0x00C4 tells of a child's route; before there was none, after it tells of errors."""
COORDINATOR: Final = 0x0000
REPEATED_AFTER: Final = 0.35
"""A secured rejoin is reported a second time within the same second."""


class Joining:
    """Turns the stack's events about devices into callbacks."""

    def __init__(self, *, dialect: Dialect, ezsp: Ezsp, timeline: Timeline, personality: Personality) -> None:
        self._dialect = dialect
        self._ezsp = ezsp
        self._timeline = timeline
        self._repeats = personality.repeated_join_callbacks

    def child_joined(self, event: ChildJoined) -> None:
        """A device associated with the dongle itself, or left it."""
        tells_route = self._dialect.version in TELLS_ROUTE_CHANGE and event.joining
        self._ezsp.callback(
            "childJoinHandler",
            more_follow=tells_route,
            index=event.index,
            joining=event.joining,
            childId=event.nwk,
            childEui64=event.eui64,
            childType=child_type(event.capability),
        )
        if tells_route:
            # By hand: bellows' table of version 8 has the later meaning already.
            is_ours = pack("<HHB", event.nwk, COORDINATOR, True)
            self._ezsp.put_callback(CHANGE_SOURCE_ROUTE_HANDLER, is_ours, "changeSourceRouteHandler")

    def device_joined(self, event: DeviceJoined) -> None:
        """The Trust Centre heard of a device and decided about it."""
        self._tell(event)
        if self._repeats and event.status is DeviceUpdate.SECURED_REJOIN:
            self._timeline.after(REPEATED_AFTER, self._tell, event)

    def key_verified(self, event: KeyVerified) -> None:
        """A device proved that it holds its link key."""
        self._ezsp.callback("zigbeeKeyEstablishmentHandler", partner=event.eui64, status=VERIFY_KEY_SUCCESS)

    def _tell(self, event: DeviceJoined) -> None:
        self._ezsp.callback(
            "trustCenterJoinHandler",
            newNodeId=event.nwk,
            newNodeEui64=event.eui64,
            status=int(event.status),
            policyDecision=int(event.decision),
            parentOfNewNodeId=event.parent,
        )
