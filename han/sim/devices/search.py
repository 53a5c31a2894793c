"""How a device finds out what the coordinator serves, and on which endpoint: it asks, again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.node.node import Node
from han.sim.node.service import NodeError, Received, SendRequest, SendStatus
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import COORDINATOR
from han.sim.wire.zdo import ENDPOINT as ZDO_ENDPOINT
from han.sim.wire.zdo import PROFILE as ZDO_PROFILE
from han.sim.wire.zdo import (
    MatchDescriptorRequest,
    MatchDescriptorResponse,
    SimpleDescriptor,
    SimpleDescriptorRequest,
    SimpleDescriptorResponse,
)
from han.sim.wire.zdo import Status as ZdoStatus
from han.sim.wire.zdo import decode as decode_zdo
from han.sim.wire.zdo import encode as encode_zdo

DISCOVERY_RETRY = 120.0
"""Seconds between two searches for a server that found none; the period of a common client stack."""


@dataclass(frozen=True, slots=True)
class _Server:
    """Wanted: the endpoint that serves a cluster."""

    cluster: int
    on_found: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Description:
    """Wanted: what an endpoint serves and uses."""

    endpoint: int
    on_described: Callable[[SimpleDescriptor], None]


class Search:
    """What one device wants to know of the coordinator, one question at a time, the newest first.

    ``profile`` is the application profile that an endpoint has to have.
    """

    def __init__(self, *, node: Node, timeline: Timeline, facts: Facts, name: str, profile: int) -> None:
        self._node = node
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._profile = profile
        self._transaction = 0
        self._wanted: deque[_Server | _Description] = deque()
        self._timer: Handle | None = None

    def look_for(self, cluster: int, on_found: Callable[[int], None]) -> None:
        """Ask for a cluster until the coordinator names an endpoint, which is its own choice."""
        self._want(_Server(cluster, on_found))

    def describe(self, endpoint: int, on_described: Callable[[SimpleDescriptor], None]) -> None:
        """Ask what an endpoint of the coordinator serves and uses, until it says so."""
        self._want(_Description(endpoint, on_described))

    def stop(self) -> None:
        """Ask no more, and take no answer."""
        self._wanted.clear()
        self._wait_for_nothing()

    def zdo_message(self, received: Received) -> None:
        """Take a ZDO message; only the coordinator's answer to our question means anything here."""
        answers = (MatchDescriptorResponse.CLUSTER, SimpleDescriptorResponse.CLUSTER)
        if not self._wanted or received.source != COORDINATOR or received.cluster not in answers:
            return
        try:
            sequence, answer = decode_zdo(received.cluster, received.payload)
        except WireError as error:
            self._facts.say(self._name, "frame.dropped", why=str(error))
            return
        if sequence != self._transaction:
            return
        match self._wanted[0], answer:
            case _Server(on_found=on_found), MatchDescriptorResponse(
                status=ZdoStatus.SUCCESS, endpoints=(endpoint, *_)
            ):
                self._next()
                on_found(endpoint)
            case _Server(cluster=cluster), MatchDescriptorResponse():
                why = f"the coordinator does not serve cluster {cluster:#06x} (yet)"
                self._facts.say(self._name, "device.no-server", cluster=cluster, why=why)
            case _Description(on_described=on_described), SimpleDescriptorResponse(
                descriptor=SimpleDescriptor() as descriptor
            ):
                self._next()
                on_described(descriptor)
            case _:
                pass

    def _want(self, wanted: _Server | _Description) -> None:
        self._wanted = deque(each for each in self._wanted if each != wanted)
        self._wanted.appendleft(wanted)
        self._ask()

    def _next(self) -> None:
        """The first question is answered: on with the second."""
        self._wait_for_nothing()
        self._wanted.popleft()
        if self._wanted:
            self._ask()

    def _ask_another(self) -> None:
        self._wanted.rotate(-1)
        self._ask()

    def _ask(self) -> None:
        self._wait_for_nothing()
        self._timer = self._timeline.after(DISCOVERY_RETRY, self._ask_another)
        self._transaction = (self._transaction + 1) & 0xFF
        question: MatchDescriptorRequest | SimpleDescriptorRequest
        match self._wanted[0]:
            case _Server(cluster=cluster):
                question = MatchDescriptorRequest(COORDINATOR, self._profile, input_clusters=(cluster,))
            case _Description(endpoint=endpoint):
                question = SimpleDescriptorRequest(COORDINATOR, endpoint)
        payload = encode_zdo(self._transaction, question)
        request = SendRequest(COORDINATOR, ZDO_PROFILE, question.CLUSTER, ZDO_ENDPOINT, ZDO_ENDPOINT, payload)
        try:
            self._node.send(request, _ignore)
        except NodeError as error:
            self._facts.say(self._name, "device.send-failed", why=str(error))

    def _wait_for_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _ignore(_: SendStatus) -> None:
    """A lost question is asked again by the timer."""
