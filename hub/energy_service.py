"""What a Smart Energy coordinator answers besides images and tunnels. Pure.

Basic, Time, Keep-Alive, the cryptographic suites, the flags that a meter reads before it goes to sleep again,
and the stub clusters of a laboratory. Whatever else is asked is answered UNSUP and said as a fact: what a
device of the field wants of a hub is worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from han.clusters import (
    CURRENT_TIME,
    FUNCTIONAL_NOTIFICATION_FLAGS,
    KEEP_ALIVE_BASE,
    KEEP_ALIVE_CLUSTER,
    KEEP_ALIVE_JITTER,
    KEY_ESTABLISHMENT_SUITE,
    METERING_CLUSTER,
    MIRROR_CAPACITY_AVAILABLE,
    NEW_OTA_FIRMWARE,
    PHYSICAL_ENVIRONMENT,
    TIME_CLUSTER,
    TIME_STATUS,
)
from han.errors import TheirError
from han.facts import Facts
from han.stub_clusters import StubCluster, StubCommand
from han.zcl import (
    BASIC_CLUSTER,
    BITMAP8,
    BITMAP16,
    BITMAP32,
    CHARACTER_STRING,
    ENUM8,
    KEY_ESTABLISHMENT_CLUSTER,
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
    is_default_response,
    unsupported_attribute,
)
from ota.eui64 import Eui64
from ota.status import Status

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""From here Zigbee counts the seconds of UTC."""
_ZCL_VERSION: Final = 3
_MAINS: Final = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyServiceSettings:
    """What may be contested.

    Attributes:
        keep_alive_base: minutes between two questions of a device whether the hub is there (SE 1.4: 10).
        keep_alive_jitter: seconds at most that it adds (SE 1.4: 300).
        time_status: how far devices may trust the hub's clock: master, and better than other servers in the
            home. Not set: "synchronized", which is for clocks set over the HAN, and "zone", as only UTC is
            served.
        stubs: clusters answered for a laboratory.
    """

    keep_alive_base: int = 10
    keep_alive_jitter: int = 300
    time_status: int = 0b1001
    stubs: Sequence[StubCluster] = ()


class EnergyService:
    """Answers devices.

    Args:
        settings: see EnergyServiceSettings.
        now: the present time in UTC.
        suites: a bit for each suite in which the hub establishes keys.
        has_firmware_for: whether an image waits for this device.
        facts: where "zcl.unsupported" is said.
    """

    def __init__(
        self,
        settings: EnergyServiceSettings,
        *,
        now: Callable[[], datetime],
        suites: Callable[[], int],
        has_firmware_for: Callable[[Eui64], bool],
        facts: Facts,
    ) -> None:
        self._settings = settings
        self._now = now
        self._suites = suites
        self._has_firmware_for = has_firmware_for
        self._facts = facts
        self._stub_attributes = {
            each.cluster: {attribute.id: attribute.record for attribute in each.attributes}
            for each in settings.stubs
        }
        self._stub_commands = {
            (each.cluster, command.command): command for each in settings.stubs for command in each.commands
        }

    def answer(self, device: Eui64, cluster: int, frame: ZclFrame) -> bytes | None:
        """The frame to answer with; None if a default response came, which is never answered."""
        if is_default_response(frame):
            return None
        if frame.is_cluster_command:
            return self._command(device, cluster, frame)
        try:
            question = decode_global(frame)
        except TheirError as error:
            return self._unsupported(device, cluster, frame, error.status)
        if not isinstance(question, ReadAttributes):
            return self._unsupported(device, cluster, frame, _UNSUPPORTED_GLOBAL)
        known = self._attributes(device, cluster, from_server=question.from_server)
        return self._read(device, cluster, question, known, frame.sequence)

    def _command(self, device: Eui64, cluster: int, frame: ZclFrame) -> bytes:
        stub = self._stub_commands.get((cluster, frame.command_id))
        if stub is None or frame.from_server or frame.manufacturer is not None:
            return self._unsupported(device, cluster, frame, Status.UNSUP_CLUSTER_COMMAND)
        return _stub_answer(stub, frame)

    def _read(
        self,
        device: Eui64,
        cluster: int,
        question: ReadAttributes,
        known: Mapping[int, AttributeRecord],
        sequence: int,
    ) -> bytes:
        missing = [attribute for attribute in question.attributes if attribute not in known]
        if missing:
            self._facts.say(
                "hub", "zcl.unsupported", device=str(device), cluster=cluster, attributes=tuple(missing)
            )
        records = tuple(
            known.get(attribute) or unsupported_attribute(attribute) for attribute in question.attributes
        )
        return encode_global(ReadAttributesResponse(records, from_server=not question.from_server), sequence)

    def _unsupported(self, device: Eui64, cluster: int, frame: ZclFrame, status: Status) -> bytes:
        kind = "command" if frame.is_cluster_command else "global_command"
        self._facts.say(
            "hub",
            "zcl.unsupported",
            device=str(device),
            cluster=cluster,
            from_server=frame.from_server,
            **{kind: frame.command_id},
        )
        return default_response(frame, status)

    def _attributes(self, device: Eui64, cluster: int, *, from_server: bool) -> Mapping[int, AttributeRecord]:
        """What there is to read of a cluster's side; a server asks for those of our client side."""
        if from_server:
            return self._flags(device) if cluster == METERING_CLUSTER else {}
        stubs = self._stub_attributes.get(cluster, {})
        return {**self._own(cluster), **stubs}

    def _own(self, cluster: int) -> Mapping[int, AttributeRecord]:
        settings = self._settings
        if cluster == BASIC_CLUSTER:
            return _BASIC
        if cluster == TIME_CLUSTER:
            seconds = int((self._now() - EPOCH).total_seconds())
            return _records((CURRENT_TIME, UTC_TIME, seconds), (TIME_STATUS, BITMAP8, settings.time_status))
        if cluster == KEEP_ALIVE_CLUSTER:
            return _records(
                (KEEP_ALIVE_BASE, UINT8, settings.keep_alive_base),
                (KEEP_ALIVE_JITTER, UINT16, settings.keep_alive_jitter),
            )
        if cluster == KEY_ESTABLISHMENT_CLUSTER:
            return _records((KEY_ESTABLISHMENT_SUITE, BITMAP16, self._suites()))
        return {}

    def _flags(self, device: Eui64) -> Mapping[int, AttributeRecord]:
        flags = NEW_OTA_FIRMWARE if self._has_firmware_for(device) else 0
        return _records((FUNCTIONAL_NOTIFICATION_FLAGS, BITMAP32, flags))


_UNSUPPORTED_GLOBAL: Final = Status(0x82)


def _records(*attributes: tuple[int, int, int | str]) -> dict[int, AttributeRecord]:
    return {id_: AttributeRecord(id_, Status.SUCCESS, kind, value) for id_, kind, value in attributes}


_BASIC: Final = _records(
    (0x0000, UINT8, _ZCL_VERSION),
    (0x0004, CHARACTER_STRING, "gbhan"),
    (0x0005, CHARACTER_STRING, "Communications Hub"),
    (0x0007, ENUM8, _MAINS),
    (PHYSICAL_ENVIRONMENT, ENUM8, MIRROR_CAPACITY_AVAILABLE),
)


def _stub_answer(stub: StubCommand, to: ZclFrame) -> bytes:
    return ZclFrame(stub.answer, to.sequence, bytes.fromhex(stub.payload), from_server=True).to_bytes()
