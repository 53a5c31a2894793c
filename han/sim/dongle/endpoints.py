"""Endpoints: what the host registers and the stack then answers descriptor requests with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import unpack_from
from typing import Final

from han.sim.dongle.dialect import Command, Dialect, Fields
from han.sim.dongle.errors import Refused
from han.sim.dongle.personality import Personality
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.node.service import SimpleDescriptor

BUILT_IN: Final = (0, 242)
ENDPOINT_FLAGS: Final = 0x00
"""The extended value that says what a registered endpoint is for."""
ENABLED: Final = b"\x01\x00"
DISABLED: Final = b"\x00\x00"
"""Flags behind an error too: a host that runs on real dongles takes an empty value for a fault."""


class Endpoints:
    """The endpoint table of one running firmware: empty after each reset."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        personality: Personality,
        node: Stack,
        network_is_up: Callable[[], bool],
    ) -> None:
        self._dialect = dialect
        self._most = personality.endpoints
        self._node = node
        self._network_is_up = network_is_up
        node.endpoints.clear()

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        return {
            "addEndpoint": self._dialect.command("addEndpoint", self._add),
            "getExtendedValue": self._dialect.command("getExtendedValue", self._get_extended_value),
        }

    def is_registered(self, endpoint: int) -> bool:
        """Whether messages may be sent from here; 0 and Green Power's 242 are the stack's own."""
        return endpoint in BUILT_IN or endpoint in self._node.endpoints

    def _add(self, fields: Fields) -> Fields:
        endpoint = int(fields["endpoint"])
        inputs, outputs = int(fields["inputClusterCount"]), int(fields["outputClusterCount"])
        # The tables take the two lists for one: everything behind the counts lies in the first.
        lists = fields["inputClusterList"]
        if len(lists) < 2 * (inputs + outputs):
            raise Refused(Status.TRUNCATED, "fewer clusters than the counts say")
        if self._network_is_up():
            raise Refused(Status.INVALID_CALL, "the stack is running: endpoints are registered before")
        if not 1 <= endpoint <= 254:
            raise Refused(Status.BAD_ARGUMENT, f"{endpoint} is no endpoint for an application")
        if endpoint in self._node.endpoints:
            raise Refused(Status.BAD_ARGUMENT, f"endpoint {endpoint} is registered already")
        if len(self._node.endpoints) >= self._most:
            raise Refused(Status.OUT_OF_MEMORY, f"all {self._most} endpoints are taken")
        clusters = unpack_from(f"<{inputs + outputs}H", lists)
        self._node.endpoints[endpoint] = SimpleDescriptor(
            profile=int(fields["profileId"]),
            device_id=int(fields["deviceId"]),
            device_version=int(fields["deviceVersion"]),
            input_clusters=clusters[:inputs],
            output_clusters=clusters[inputs:],
        )
        return {"status": Status.OK}

    def _get_extended_value(self, fields: Fields) -> Fields:
        """Of the extended values only the flags of an endpoint; hosts ask whether it is registered so."""
        if int(fields["valueId"]) != ENDPOINT_FLAGS:
            return {"status": Status.INVALID_ID, "value": b""}
        if int(fields["characteristics"]) not in self._node.endpoints:
            return {"status": Status.BAD_ARGUMENT, "value": DISABLED}
        return {"status": Status.OK, "value": ENABLED}
