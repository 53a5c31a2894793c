"""The rest of a plain hub: an energy services interface with time, keep-alive and flags, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from house_world import HUB_ENDPOINT, PlainHub

from han.clusters import (
    CURRENT_TIME,
    FUNCTIONAL_NOTIFICATION_FLAGS,
    KEEP_ALIVE_BASE,
    KEEP_ALIVE_CLUSTER,
    KEEP_ALIVE_JITTER,
    METERING_CLUSTER,
    TIME_CLUSTER,
)
from han.sim.node.service import Received
from han.zcl import (
    BITMAP32,
    UINT8,
    UINT16,
    UTC_TIME,
    AttributeRecord,
    ReadAttributes,
    ReadAttributesResponse,
    ZclFrame,
    decode_global,
    default_response,
    encode_global,
    unsupported_attribute,
)
from ota.status import Status

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class EnergyServices:
    """Answers what devices ask a plain hub besides images and messages: attributes, or that it has no more.

    ``silent`` makes it take everything and answer nothing.
    """

    def __init__(self, hub: PlainHub, *, base: int = 20, jitter: int = 60, silent: bool = False) -> None:
        self.utc: datetime | None = datetime(2026, 1, 5, tzinfo=UTC)
        self.base, self.jitter, self.flags, self.silent = base, jitter, 0, silent
        self.log: list[tuple[int, float]] = []
        self.asked: list[tuple[int, int, bool]] = []
        self._hub = hub
        endpoint = hub.node.endpoints[HUB_ENDPOINT]
        hub.node.endpoints[HUB_ENDPOINT] = replace(
            endpoint,
            input_clusters=(*endpoint.input_clusters, TIME_CLUSTER, KEEP_ALIVE_CLUSTER),
            output_clusters=(*endpoint.output_clusters, METERING_CLUSTER),
        )
        hub.elsewhere = self.receive

    @property
    def reads(self) -> list[int]:
        """The clusters that were read, in order."""
        return [cluster for cluster, _ in self.log]

    def receive(self, received: Received, frame: ZclFrame) -> None:
        """Take a question that is for nobody else."""
        self.log.append((received.cluster, self._hub.timeline.now))
        self.asked.append((received.cluster, frame.command_id, frame.from_server))
        if self.silent:
            return
        if not frame.is_cluster_command:
            question = decode_global(frame)
            assert isinstance(question, ReadAttributes)
            answer = encode_global(self._answer(received.cluster, question), frame.sequence)
        else:
            answer = default_response(frame, Status.UNSUP_CLUSTER_COMMAND)
        self._hub.send(received.source, received.cluster, answer)

    def _answer(self, cluster: int, question: ReadAttributes) -> ReadAttributesResponse:
        held = self._held(cluster, of_client=question.from_server)
        records = tuple(held.get(each) or unsupported_attribute(each) for each in question.attributes)
        return ReadAttributesResponse(records, from_server=not question.from_server)

    def _held(self, cluster: int, *, of_client: bool) -> dict[int, AttributeRecord]:
        def record(attribute: int, kind: int, value: int) -> AttributeRecord:
            return AttributeRecord(attribute, Status.SUCCESS, kind, value)

        match cluster:
            case 0x000A if self.utc is None:
                return {CURRENT_TIME: record(CURRENT_TIME, UTC_TIME, 0xFFFFFFFF)}
            case 0x000A:
                seconds = (self.utc - EPOCH) // timedelta(seconds=1)
                return {CURRENT_TIME: record(CURRENT_TIME, UTC_TIME, seconds)}
            case 0x0025:
                return {
                    KEEP_ALIVE_BASE: record(KEEP_ALIVE_BASE, UINT8, self.base),
                    KEEP_ALIVE_JITTER: record(KEEP_ALIVE_JITTER, UINT16, self.jitter),
                }
            case 0x0702 if of_client:
                flags = FUNCTIONAL_NOTIFICATION_FLAGS
                return {flags: record(flags, BITMAP32, self.flags)}
            case _:
                return {}
