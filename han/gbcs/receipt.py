"""The Firmware Distribution Receipt Alert: a meter tells whether an image's signature holds. Pure.

An ESME writes it in DLMS, a GSME in the ZCL's way; both carry the same: an alert code, a moment, and the
Manufacturer Image Hash that the meter computed (GBCS 11.2.6, layouts from the published test messages). No
source says that an HCALCS sends one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from han.errors import OurError, TheirError
from han.gbcs.dlms import read_date_time, write_date_time

_HASH_SIZE = 32
_HASH_PREFIX = bytes((0x09, _HASH_SIZE))
_DLMS_START = bytes((0x0F, 0x20))
_DLMS_STRUCTURE = bytes((0x00, 0x02, 0x03, 0x12))
_DLMS_DATE_PREFIX = bytes((0x09, 0x0C))
_DLMS_SIZE = 2 + 3 + 4 + 2 + 2 + 12 + 2 + _HASH_SIZE
_GBZ_START = bytes.fromhex("010901")
_GBZ_SIZE = 3 + 2 + 4 + 2 + _HASH_SIZE
_ZIGBEE_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReceiptAlert:
    """What both forms carry.

    Attributes:
        alert_code: 0x8F72 or 0x8F1C.
        at: when it was found, UTC, in whole seconds.
        manufacturer_image_hash: SHA-256 of the Manufacturer Image, 32 octets.
    """

    alert_code: int
    at: datetime
    manufacturer_image_hash: bytes

    def to_dlms(self, counter: int) -> bytes:
        """The payload of an ESME. ``counter`` is the message's: its three low octets are repeated here.

        Raises:
            OurError: if a field does not fit.
        """
        low = counter.to_bytes(8, "big")[-3:]
        return (
            _DLMS_START
            + low
            + _DLMS_STRUCTURE
            + self._code()
            + _DLMS_DATE_PREFIX
            + write_date_time(self.at)
            + self._hash()
        )

    def to_gbz(self) -> bytes:
        """The payload of a GSME.

        Raises:
            OurError: if a field does not fit.
        """
        seconds = int((self.at - _ZIGBEE_EPOCH).total_seconds())
        if not 0 <= seconds < 1 << 32:
            raise OurError(f"{self.at} is before 2000 or after 2136: four octets do not hold it")
        return _GBZ_START + self._code() + seconds.to_bytes(4, "big") + self._hash()

    @classmethod
    def from_dlms(cls, payload: bytes) -> ReceiptAlert:
        """Read the payload of an ESME. Raises TheirError if it is none."""
        if (
            len(payload) != _DLMS_SIZE
            or payload[:2] != _DLMS_START
            or payload[5:9] != _DLMS_STRUCTURE
            or payload[11:13] != _DLMS_DATE_PREFIX
            or payload[25:27] != _HASH_PREFIX
        ):
            raise TheirError("not a Firmware Distribution Receipt Alert of an ESME")
        return cls(int.from_bytes(payload[9:11], "big"), read_date_time(payload[13:25]), payload[27:])

    @classmethod
    def from_gbz(cls, payload: bytes) -> ReceiptAlert:
        """Read the payload of a GSME. Raises TheirError if it is none."""
        if len(payload) != _GBZ_SIZE or payload[:3] != _GBZ_START or payload[9:11] != _HASH_PREFIX:
            raise TheirError("not a Firmware Distribution Receipt Alert of a GSME")
        at = _ZIGBEE_EPOCH + timedelta(seconds=int.from_bytes(payload[5:9], "big"))
        return cls(int.from_bytes(payload[3:5], "big"), at, payload[11:])

    def _code(self) -> bytes:
        if not 0 <= self.alert_code <= 0xFFFF:
            raise OurError(f"an alert code has two octets, {self.alert_code:#x} does not fit")
        return self.alert_code.to_bytes(2, "big")

    def _hash(self) -> bytes:
        if len(self.manufacturer_image_hash) != _HASH_SIZE:
            raise OurError(
                f"a Manufacturer Image Hash has {_HASH_SIZE} octets, not {len(self.manufacturer_image_hash)}"
            )
        return _HASH_PREFIX + self.manufacturer_image_hash
