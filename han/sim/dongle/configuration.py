"""Configuration values, settable values and policies: what a host may change, and until when.

Tables are compiled into the firmware. A host can make them smaller before the network is up; it can never
make them larger, and nothing changes once the stack runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from han.sim.dongle.dialect import Command, Dialect, Fields
from han.sim.dongle.errors import Refused
from han.sim.dongle.personality import Personality
from han.sim.dongle.statuses import Status
from han.sim.dongle.versions import RELEASES
from han.sim.wire.nwk_commands import LONGEST_TIMEOUT

PACKET_BUFFER_COUNT: Final = 0x01
APS_UNICAST_MESSAGE_COUNT: Final = 0x03
ADDRESS_TABLE_SIZE: Final = 0x05
MULTICAST_TABLE_SIZE: Final = 0x06
ROUTE_TABLE_SIZE: Final = 0x07
SECURITY_LEVEL: Final = 0x0D
MAX_END_DEVICE_CHILDREN: Final = 0x11
INDIRECT_TRANSMISSION_TIMEOUT: Final = 0x12
END_DEVICE_POLL_TIMEOUT: Final = 0x13
SOURCE_ROUTE_TABLE_SIZE: Final = 0x1A
KEY_TABLE_SIZE: Final = 0x1E
APPLICATION_ZDO_FLAGS: Final = 0x2A
TRANSIENT_KEY_TIMEOUT: Final = 0x36

_TABLES: Final = frozenset(
    (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x19, 0x1E, 0x2B, 0x2C, 0x2D)
)
"""Sizes that memory was set aside for when the firmware was built: larger is OUT_OF_MEMORY."""
_CHECKED: Final = frozenset((0x1A, 0x0D))
"""Sizes and levels that are checked against a range: beyond it is INVALID_VALUE."""
_FIXED_FROM: Final = {PACKET_BUFFER_COUNT: 12}
"""Ids that are still reported from an EZSP version on, and no longer set: 12 came with EmberZNet 7.3."""
_SINCE: Final = {TRANSIENT_KEY_TIMEOUT: 5}
"""Ids that came with a version after 4."""

FREE_BUFFERS: Final = 0x03
MAXIMUM_INCOMING_TRANSFER: Final = 0x05
MAXIMUM_OUTGOING_TRANSFER: Final = 0x06
VERSION_INFO_VALUE: Final = 0x11
NWK_FRAME_COUNTER: Final = 0x23
APS_FRAME_COUNTER: Final = 0x24
_PLAIN_VALUES: Final = {
    MAXIMUM_INCOMING_TRANSFER: b"\x52\x00",
    MAXIMUM_OUTGOING_TRANSFER: b"\x52\x00",
    0x07: b"\x01",  # STACK_TOKEN_WRITING
    0x0A: b"\x00\x00",  # EXTENDED_SECURITY_BITMASK
    0x0C: b"\x00",  # DESCRIPTOR_CAPABILITY
    0x0F: b"\x01",  # ENDPOINT_FLAGS
    0x15: b"\xb5",  # CCA_THRESHOLD, dBm
    0x3A: b"\x00",  # FORCE_TX_AFTER_FAILED_CCA_ATTEMPTS
    0x43: b"\x10\x27",  # TRANSIENT_DEVICE_TIMEOUT, ms
}
"""Value id to what it starts as. All but the transfer sizes are kept for whoever asks, without effect."""
_TC_POLICY: Final = 0x00


class Configuration:
    """The settings of one running firmware; a reset brings the compiled ones back."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        personality: Personality,
        network_is_up: Callable[[], bool],
        buffers_used: Callable[[], int],
        set_counter: Callable[[int, int], None],
        counter: Callable[[int], int],
        on_policy: Callable[[], None],
        on_zdo_flags: Callable[[int], None],
        on_children: Callable[[int, int], None],
        on_longest: Callable[[int, int], None],
    ) -> None:
        self._dialect = dialect
        self._network_is_up = network_is_up
        self._buffers_used = buffers_used
        self._set_counter = set_counter
        self._counter = counter
        self._on_policy = on_policy
        self._on_zdo_flags = on_zdo_flags
        self._on_children = on_children
        self._on_longest = on_longest
        self._compiled = personality.table_sizes
        self._sizes = {
            config_id: size
            for config_id, size in personality.table_sizes.items()
            if _SINCE.get(config_id, 0) <= dialect.version
        }
        self._values = dict(_PLAIN_VALUES)
        self._apply_longest()
        on_zdo_flags(self._sizes[APPLICATION_ZDO_FLAGS])
        self._apply_to_children()
        self.policies: dict[int, int] = {}

    def __getitem__(self, config_id: int) -> int:
        return self._sizes.get(config_id, self._compiled[config_id])

    @property
    def trust_centre_policy(self) -> int:
        """The decision bits for joins: allow joins 1, unsecured rejoins 2, install codes only 0x10."""
        return self.policies.get(_TC_POLICY, 0)

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        command = self._dialect.command
        return {
            "getConfigurationValue": command("getConfigurationValue", self._get_configuration),
            "setConfigurationValue": command("setConfigurationValue", self._set_configuration),
            "getValue": command("getValue", self._get_value),
            "setValue": command("setValue", self._set_value),
            "setPolicy": command("setPolicy", self._set_policy),
            "getPolicy": command("getPolicy", self._get_policy),
        }

    def _get_configuration(self, fields: Fields) -> Fields:
        size = self._sizes.get(int(fields["configId"]))
        if size is None:
            return {"status": Status.INVALID_ID, "value": 0}
        return {"status": Status.OK, "value": size}

    def _set_configuration(self, fields: Fields) -> Fields:
        config_id, value = int(fields["configId"]), int(fields["value"])
        is_fixed = self._dialect.version >= _FIXED_FROM.get(config_id, 0xFF)
        if config_id not in self._sizes or is_fixed:
            raise Refused(Status.INVALID_ID, f"configuration 0x{config_id:02X} cannot be set")
        if self._network_is_up():
            raise Refused(Status.INVALID_CALL, "the stack is running: tables are frozen until the next reset")
        if config_id in _TABLES and value > self._compiled[config_id]:
            raise Refused(
                Status.OUT_OF_MEMORY,
                f"table 0x{config_id:02X} was built with {self._compiled[config_id]} entries, not {value}",
            )
        if config_id == END_DEVICE_POLL_TIMEOUT and value > LONGEST_TIMEOUT:
            raise Refused(Status.BAD_ARGUMENT, f"time-outs go from 0 to {LONGEST_TIMEOUT}, not to {value}")
        if config_id in _CHECKED and value > self._compiled[config_id]:
            raise Refused(Status.BAD_ARGUMENT, f"{value} is out of range for 0x{config_id:02X}")
        self._sizes[config_id] = value
        if config_id == APPLICATION_ZDO_FLAGS:
            self._on_zdo_flags(value)
        elif config_id in (INDIRECT_TRANSMISSION_TIMEOUT, END_DEVICE_POLL_TIMEOUT):
            self._apply_to_children()
        return {"status": Status.OK}

    def _apply_longest(self) -> None:
        """The node descriptor tells what the host can take and send."""
        sizes = (self._values[MAXIMUM_INCOMING_TRANSFER], self._values[MAXIMUM_OUTGOING_TRANSFER])
        self._on_longest(*(int.from_bytes(size, "little") for size in sizes))

    def _apply_to_children(self) -> None:
        self._on_children(self._sizes[INDIRECT_TRANSMISSION_TIMEOUT], self._sizes[END_DEVICE_POLL_TIMEOUT])

    def _get_value(self, fields: Fields) -> Fields:
        value = self._value(int(fields["valueId"]))
        if value is None:
            return {"status": Status.INVALID_ID, "value": b""}
        return {"status": Status.OK, "value": value}

    def _value(self, value_id: int) -> bytes | None:
        match value_id:
            case 0x03:
                return bytes((max(0, min(255, self._sizes[PACKET_BUFFER_COUNT] - 1) - self._buffers_used()),))
            case 0x11:
                return RELEASES[self._dialect.version].version_info
            case 0x23 | 0x24:
                return self._counter(value_id).to_bytes(4, "little")
            case _:
                return self._values.get(value_id)

    def _set_value(self, fields: Fields) -> Fields:
        value_id, value = int(fields["valueId"]), bytes(fields["value"])
        if value_id in (NWK_FRAME_COUNTER, APS_FRAME_COUNTER):
            if self._network_is_up():
                raise Refused(Status.INVALID_CALL, "frame counters can be set only while no network is up")
            if len(value) != 4:
                raise Refused(Status.BAD_ARGUMENT, "a frame counter has four octets")
            self._set_counter(value_id, int.from_bytes(value, "little"))
        elif value_id not in self._values:
            raise Refused(Status.INVALID_ID, f"value 0x{value_id:02X} cannot be set")
        elif value_id in (MAXIMUM_INCOMING_TRANSFER, MAXIMUM_OUTGOING_TRANSFER):
            if len(value) != 2:
                raise Refused(Status.BAD_ARGUMENT, "a transfer size has two octets")
            self._values[value_id] = value
            self._apply_longest()
        else:
            self._values[value_id] = value
        return {"status": Status.OK}

    def _set_policy(self, fields: Fields) -> Fields:
        policy, decision = int(fields["policyId"]), int(fields["decisionId"])
        if policy > 0x09:
            raise Refused(Status.INVALID_ID, f"policy 0x{policy:02X} is unknown")
        self.policies[policy] = decision
        self._on_policy()
        return {"status": Status.OK}

    def _get_policy(self, fields: Fields) -> Fields:
        return {"status": Status.OK, "decisionId": self.policies.get(int(fields["policyId"]), 0)}
