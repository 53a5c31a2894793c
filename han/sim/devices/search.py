"""How a device finds out which endpoint of the coordinator serves a cluster: it asks, again and again."""

from __future__ import annotations

from collections.abc import Callable

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.node.node import Node
from han.sim.node.service import NodeError, Received, SendRequest, SendStatus
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import COORDINATOR
from han.sim.wire.zdo import ENDPOINT as ZDO_ENDPOINT
from han.sim.wire.zdo import PROFILE as ZDO_PROFILE
from han.sim.wire.zdo import MatchDescriptorRequest, MatchDescriptorResponse
from han.sim.wire.zdo import Status as ZdoStatus
from han.sim.wire.zdo import decode as decode_zdo
from han.sim.wire.zdo import encode as encode_zdo

DISCOVERY_RETRY = 120.0
"""Seconds between two searches for a server that found none; the period of a common client stack."""


class Search:
    """One search at a time, by Match Descriptor: which endpoint a server sits on is its own choice.

    ``profile`` is the application profile that the endpoint has to have.
    """

    def __init__(self, *, node: Node, timeline: Timeline, facts: Facts, name: str, profile: int) -> None:
        self._node = node
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._profile = profile
        self._transaction = 0
        self._cluster = 0
        self._on_found: Callable[[int], None] | None = None
        self._timer: Handle | None = None

    def look_for(self, cluster: int, on_found: Callable[[int], None]) -> None:
        """Ask for a cluster until the coordinator names an endpoint; what was asked before is forgotten."""
        self.stop()
        self._cluster = cluster
        self._on_found = on_found
        self._ask()

    def stop(self) -> None:
        """Ask no more, and take no answer."""
        self._on_found = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def zdo_message(self, received: Received) -> None:
        """Take a ZDO message; only the coordinator's answer to our question means anything here."""
        if self._on_found is None or received.source != COORDINATOR:
            return
        if received.cluster != MatchDescriptorResponse.CLUSTER:
            return
        try:
            sequence, answer = decode_zdo(received.cluster, received.payload)
        except WireError as error:
            self._facts.say(self._name, "frame.dropped", why=str(error))
            return
        if isinstance(answer, MatchDescriptorResponse) and sequence == self._transaction:
            self._answered(answer, self._on_found)

    def _ask(self) -> None:
        self._timer = self._timeline.after(DISCOVERY_RETRY, self._ask)
        self._transaction = (self._transaction + 1) & 0xFF
        question = MatchDescriptorRequest(COORDINATOR, self._profile, input_clusters=(self._cluster,))
        payload = encode_zdo(self._transaction, question)
        request = SendRequest(COORDINATOR, ZDO_PROFILE, question.CLUSTER, ZDO_ENDPOINT, ZDO_ENDPOINT, payload)
        try:
            self._node.send(request, _ignore)
        except NodeError as error:
            self._facts.say(self._name, "device.send-failed", why=str(error))

    def _answered(self, answer: MatchDescriptorResponse, on_found: Callable[[int], None]) -> None:
        if answer.status != ZdoStatus.SUCCESS or not answer.endpoints:
            why = f"the coordinator does not serve cluster {self._cluster:#06x} (yet)"
            self._facts.say(self._name, "device.no-server", cluster=self._cluster, why=why)
            return
        self.stop()
        on_found(answer.endpoints[0])


def _ignore(_: SendStatus) -> None:
    """A lost question is asked again by the timer."""
