"""How a device gets into the network, stays in it, and finds the Communications Hub's OTA server there.

A device that is switched on brings back the network it knows; one that knows none looks for one, again and
again, with the link key of its install code, until the Trust Centre lets it in. Then it asks the coordinator
by Match Descriptor for its OTA server (on its own profile): the endpoint is the server's own choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum, auto

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.node.node import Node
from han.sim.node.service import (
    JoinResult,
    NetworkDown,
    NodeError,
    NodeEvent,
    Received,
    SendRequest,
    SendStatus,
)
from han.sim.wire.errors import WireError
from han.sim.wire.zdo import ENDPOINT as ZDO_ENDPOINT
from han.sim.wire.zdo import PROFILE as ZDO_PROFILE
from han.sim.wire.zdo import MatchDescriptorRequest, MatchDescriptorResponse
from han.sim.wire.zdo import Status as ZdoStatus
from han.sim.wire.zdo import decode as decode_zdo
from han.sim.wire.zdo import encode as encode_zdo
from ota.commands import CLUSTER_ID as OTA_CLUSTER

COORDINATOR = 0x0000

LONGEST_JOIN_RETRY = 120.0
"""Seconds. Half of the longest permit of a hub (254 s), so that a device never sleeps through one."""
DISCOVERY_RETRY = 120.0
"""Seconds between two searches for the server that found none; the period of a common client stack."""


class Standing(Enum):
    """How far the device has come."""

    OFF = auto()
    JOINING = auto()
    SEARCHING = auto()
    ATTACHED = auto()


class Attachment:
    """Keeps one device's node in the network and knows where the hub's OTA server is.

    Args:
        channels: where to look for a network.
        profile: the application profile on which the device speaks.
        join_retry: seconds before the second attempt to join; doubled after each further one.
        on_attached: called with the server's endpoint each time the device can talk to it (again).
        on_detached: called when the network is gone.
    """

    def __init__(
        self,
        *,
        node: Node,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        name: str,
        link_key: bytes,
        join_retry: float,
        channels: Sequence[int],
        profile: int,
        on_attached: Callable[[int], None],
        on_detached: Callable[[], None],
    ) -> None:
        self.standing = Standing.OFF
        self._node = node
        self._timeline = timeline
        self._dice = dice
        self._facts = facts
        self._name = name
        self._link_key = link_key
        self._channels = channels
        self._profile = profile
        self._first_retry = join_retry
        self._retry = join_retry
        self._on_attached = on_attached
        self._on_detached = on_detached
        self._timer: Handle | None = None
        self._transaction = 0

    def power_on(self) -> None:
        """Come back into the stored network, or begin to look for one."""
        self._retry = self._first_retry
        if self._node.reboot():
            self._search()
        else:
            self._join()

    def power_off(self) -> None:
        """Stop; the node is left as it is."""
        self.standing = Standing.OFF
        self._wait_for_nothing()

    def node_event(self, event: NodeEvent) -> None:
        """Take what the node tells about its network."""
        if not isinstance(event, NetworkDown) or self.standing in (Standing.OFF, Standing.JOINING):
            return
        self._wait_for_nothing()
        self.standing = Standing.OFF
        self._facts.say(self._name, "device.detached", why="left" if event.left else "network down")
        self._on_detached()
        if event.left:
            self._join_later()

    def zdo_message(self, received: Received) -> None:
        """Take a ZDO message; only the coordinator's answer to our search means anything here."""
        searching = self.standing is Standing.SEARCHING and received.source == COORDINATOR
        if not searching or received.cluster != MatchDescriptorResponse.CLUSTER:
            return
        try:
            sequence, answer = decode_zdo(received.cluster, received.payload)
        except WireError as error:
            self._facts.say(self._name, "frame.dropped", why=str(error))
            return
        if isinstance(answer, MatchDescriptorResponse) and sequence == self._transaction:
            self._found(answer)

    def _join(self) -> None:
        self.standing = Standing.JOINING
        self._node.join(self._link_key, self._joined, self._channels)

    def _joined(self, result: JoinResult) -> None:
        if self.standing is not Standing.JOINING:
            return
        if result.ok:
            self._retry = self._first_retry
            self._search()
        else:
            self._facts.say(self._name, "device.join-failed", why=result.status.value)
            self._join_later()

    def _join_later(self) -> None:
        # The dice keep two devices that were switched on together from asking together for ever.
        self._timer = self._timeline.after(self._retry * self._dice.uniform(0.8, 1.2), self._join)
        self._retry = min(2 * self._retry, LONGEST_JOIN_RETRY)

    def _search(self) -> None:
        self.standing = Standing.SEARCHING
        self._timer = self._timeline.after(DISCOVERY_RETRY, self._search)
        self._transaction = (self._transaction + 1) & 0xFF
        question = MatchDescriptorRequest(COORDINATOR, self._profile, input_clusters=(OTA_CLUSTER,))
        payload = encode_zdo(self._transaction, question)
        try:
            self._node.send(
                SendRequest(COORDINATOR, ZDO_PROFILE, question.CLUSTER, ZDO_ENDPOINT, ZDO_ENDPOINT, payload),
                _ignore,
            )
        except NodeError as error:
            self._facts.say(self._name, "device.send-failed", why=str(error))

    def _found(self, answer: MatchDescriptorResponse) -> None:
        if answer.status != ZdoStatus.SUCCESS or not answer.endpoints:
            self._facts.say(self._name, "device.no-server", why="the coordinator has no OTA server (yet)")
            return
        self._wait_for_nothing()
        self.standing = Standing.ATTACHED
        self._facts.say(self._name, "device.attached", endpoint=answer.endpoints[0])
        self._on_attached(answer.endpoints[0])

    def _wait_for_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _ignore(_: SendStatus) -> None:
    """A lost question is asked again by the timer."""
