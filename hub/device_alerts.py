"""What devices tell the remote parties by themselves: CS09, and receipts of images.

    CS09     a PPMID has tried a new image
    receipt  a two-stage device has checked the signature of the image that it holds: 0x8F72 good, 0x8F1C bad

The hub relays and invents nothing: of a device that never tells nothing is told. An alert's id is made from
the message, so a message that comes again, because its acknowledgement was lost, is the same alert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from han.errors import TheirError
from han.gbcs.codes import AlertCode, MessageCode
from han.gbcs.payloads import FirmwareActivationAlert
from han.gbcs.receipt import ReceiptAlert
from hub.alerts import UNKNOWN_VERSION, alert_id
from hub.correspondence import Correspondence, Letter
from hub.custody import Custody
from hub.messages import Alert, Envelopes, FirmwareVerificationAlert, PpmidActivationAlert
from hub.reckoning import Moment
from ota.eui64 import Eui64

RECEIPTS_FROM: Final = {
    MessageCode.RECEIPT_ESME: frozenset({"ESME"}),
    # No source says that an HCALCS sends one; where a device is made to, it writes the GSME's form.
    MessageCode.RECEIPT_GSME: frozenset({"GSME", "HCALCS"}),
}
"""Which device types send a receipt under which message code."""
_RECEIPT_CODES: Final = {
    AlertCode.VERIFICATION_SUCCEEDED: "",
    AlertCode.VERIFICATION_FAILED: "signature check failed",
}


class DeviceAlerts:
    """Relays alerts.

    Args:
        custody: where alerts are owed.
        correspondence: brings them.
        hub: the hub's own address.
        envelopes: for the alerts.
        now: the present moment.
        owed: called when an alert is owed.
        version: called with a device and the file version that it says it runs.
    """

    def __init__(
        self,
        custody: Custody,
        correspondence: Correspondence,
        *,
        hub: Eui64,
        envelopes: Envelopes,
        now: Callable[[], Moment],
        owed: Callable[[], None],
        version: Callable[[Eui64, int], None],
    ) -> None:
        self._custody = custody
        self._hub = hub
        self._envelopes = envelopes
        self._now = now
        self._owed = owed
        self._version = version
        correspondence.listen(FirmwareActivationAlert, self._tried)
        correspondence.listen(ReceiptAlert, self._received)

    def _tried(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, FirmwareActivationAlert), "what this listens for"
        if self._type_of(letter.device) != "PPMID" or said.alert_code != AlertCode.PPMID_ACTIVATION:
            raise TheirError("only a PPMID sends CS09, and with 0x8F8B")
        alert = PpmidActivationAlert(
            device=str(letter.device),
            file_version=f"{said.file_version:08X}",
            code="0x8F8B",
            response=0 if said.is_success else 1,
            at=self._now().at,
            gbcs=letter.octets.hex(),
            **self._envelopes.stamp(self._id("CS09", letter)),
        )
        if self._owe(alert, letter.device):
            self._version(letter.device, said.file_version)

    def _received(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, ReceiptAlert), "what this listens for"
        code = MessageCode(letter.message.code)
        kind = self._type_of(letter.device)
        if kind not in RECEIPTS_FROM[code]:
            raise TheirError(f"a device of type {kind} sends no receipt {code:#06x}")
        if said.alert_code not in _RECEIPT_CODES:
            raise TheirError(f"a receipt says 0x8F72 or 0x8F1C, not {said.alert_code:#06x}")
        alert = FirmwareVerificationAlert(
            device=str(letter.device),
            file_version=UNKNOWN_VERSION,
            code=f"0x{said.alert_code:04X}",
            response=None,
            at=self._now().at,
            reason=_RECEIPT_CODES[AlertCode(said.alert_code)],
            gbcs=letter.octets.hex(),
            manufacturer_image_hash=said.manufacturer_image_hash.hex(),
            **self._envelopes.stamp(self._id("receipt", letter)),
        )
        self._owe(alert, letter.device)

    def _owe(self, alert: Alert, device: Eui64) -> bool:
        """Owe it; False if it was raised before.

        Raises:
            TheirError: if too many of this device wait. Its radio has acknowledged the message before
                anybody read it, so it is lost.
        """
        if alert.id in self._custody.memory.raised:
            return False
        too_many = self._custody.flood(device)
        if too_many is not None:
            raise TheirError(too_many)
        self._custody.owe(alert)
        self._owed()
        return True

    def _type_of(self, device: Eui64) -> str:
        known = (each for each in self._custody.memory.devices if each.eui64 == device)
        return next((each.device_type for each in known), "unknown")

    def _id(self, kind: str, letter: Letter) -> str:
        return alert_id(self._hub, kind, letter.device, hashlib.sha256(letter.octets).hexdigest())
