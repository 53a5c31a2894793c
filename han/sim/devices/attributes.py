"""The attributes that a device lets others read: of Basic, Key Establishment, the OTA client, stubs. Pure.

An 11.2 for a PPMID from before SECMP0007, which has no GBCS way to tell its version, reads attribute 0x0002
of the OTA cluster here. The OTA cluster's attributes belong to its client side, so the question for them
carries the direction "from server".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from han.clusters import KEY_ESTABLISHMENT_SUITE
from han.stub_clusters import StubCluster
from han.zcl import (
    BASIC_CLUSTER,
    BITMAP16,
    CHARACTER_STRING,
    ENUM8,
    EUI64,
    KEY_ESTABLISHMENT_CLUSTER,
    OTA_CLUSTER,
    UINT8,
    UINT16,
    UINT32,
    AttributeRecord,
    AttributeValue,
    ReadAttributes,
    ReadAttributesResponse,
    unsupported_attribute,
)
from ota.status import Status

_OTA_TYPES = {
    0x0000: EUI64,
    0x0001: UINT32,
    0x0002: UINT32,
    0x0003: UINT16,
    0x0004: UINT32,
    0x0005: UINT16,
    0x0006: ENUM8,
    0x0007: UINT16,
    0x0008: UINT16,
    0x0009: UINT16,
    0x000A: UINT32,
    0x000B: ENUM8,
    0x000C: ENUM8,
    0xFFFD: UINT16,
}
"""Types of the OTA client's attributes (ZCL7 11.10)."""

_MAINS_POWERED = 0x01


class Attributes:
    """Answers Read Attributes for one device.

    Args:
        model: what Basic gives as model identifier.
        suites: those of its certificates, a bit each; 0 if it has none.
        stubs: further clusters with values that never change, as the home file describes them.
    """

    def __init__(
        self, model: str, hardware_version: int | None, suites: int, stubs: Iterable[StubCluster]
    ) -> None:
        hardware = 0 if hardware_version is None else hardware_version >> 8
        self._basic = {
            0x0000: AttributeRecord(0x0000, Status.SUCCESS, UINT8, 8),  # ZCL version
            0x0003: AttributeRecord(0x0003, Status.SUCCESS, UINT8, hardware),
            0x0004: AttributeRecord(0x0004, Status.SUCCESS, CHARACTER_STRING, "gbhan"),
            0x0005: AttributeRecord(0x0005, Status.SUCCESS, CHARACTER_STRING, model),
            0x0007: AttributeRecord(0x0007, Status.SUCCESS, ENUM8, _MAINS_POWERED),
        }
        self._suites = suites
        self._stubs = {(stub.cluster, each.id): each.record for stub in stubs for each in stub.attributes}

    def answer(
        self, cluster: int, question: ReadAttributes, ota: Mapping[int, AttributeValue]
    ) -> ReadAttributesResponse:
        """Read what is asked for; ``ota`` are the present attributes of the device's OTA machine."""
        records = tuple(self._record(cluster, attribute, question, ota) for attribute in question.attributes)
        return ReadAttributesResponse(records, from_server=not question.from_server)

    def _record(
        self, cluster: int, attribute: int, question: ReadAttributes, ota: Mapping[int, AttributeValue]
    ) -> AttributeRecord:
        if cluster == BASIC_CLUSTER and not question.from_server:
            return self._basic.get(attribute) or unsupported_attribute(attribute)
        if cluster == KEY_ESTABLISHMENT_CLUSTER and attribute == KEY_ESTABLISHMENT_SUITE and self._suites:
            # Whichever side is asked: the device is both, and has one set of certificates.
            return AttributeRecord(attribute, Status.SUCCESS, BITMAP16, self._suites)
        if cluster == OTA_CLUSTER and question.from_server and attribute in ota:
            return AttributeRecord(attribute, Status.SUCCESS, _OTA_TYPES[attribute], ota[attribute])
        stub = None if question.from_server else self._stubs.get((cluster, attribute))
        return stub or unsupported_attribute(attribute)
