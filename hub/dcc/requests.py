"""The four Service Requests of firmware update, and how the DSP judges one.

A request that is nonsense in itself (a hash of the wrong length, no device at all) cannot be constructed.
Whether a request that makes sense may run is decided by `judge`, from the inventory and from what is in
progress: it accepts, accepts in part and lists the devices left out as DUIS does, or refuses. Judging
changes nothing.

Which E and W code stands for which reason was not found in a public source: the codes are a table in the
settings.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from hub.dcc.controls import DAY, InProgress, Service
from hub.dcc.errors import TheirError
from hub.dcc.inventory import Device, DeviceStatus
from ota.eui64 import Eui64

MAXIMUM_IMAGE = 10_240_000
"""Octets of FirmwareImage at most (DUIS schema)."""

MAXIMUM_DEVICES = 50_000
"""Devices in a DeviceIDList at most: 1,199,999 characters at 24 a device, less one."""

MAXIMUM_REQUEST_ID = 128


class BadRequestError(TheirError):
    """A Service Request that makes no sense in itself; the text names the field."""


# --- the requests ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """An Upgrade Image for a list of devices.

    Attributes:
        image: the OTA upgrade file.
        devices: the DeviceIDList; entries that are no EUI-64 are answered in InvalidDeviceIDList.
        firmware_version: eight hex digits that must equal the file's version; None takes the file's.
        request_id: the RequestID; None lets the DSP give one. The same id again is the same request.
    """

    image: bytes = field(repr=False)
    devices: tuple[Eui64 | str, ...]
    firmware_version: str | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        _check_request_id(self.request_id)
        if not self.devices:
            raise BadRequestError("the DeviceIDList is empty: name at least one device")
        if len(self.devices) > MAXIMUM_DEVICES:
            raise BadRequestError(
                f"the DeviceIDList has {len(self.devices)} devices, at most {MAXIMUM_DEVICES} may be"
            )
        if not self.image:
            raise BadRequestError("FirmwareImage is empty: give an OTA upgrade file")
        if len(self.image) > MAXIMUM_IMAGE:
            raise BadRequestError(
                f"FirmwareImage has {len(self.image)} octets, at most {MAXIMUM_IMAGE} may be"
            )
        if self.firmware_version is not None and not _is_version(self.firmware_version):
            raise BadRequestError(f"FirmwareVersion {self.firmware_version[:20]!r} is not 1 to 8 hex digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFirmware(_Update):
    """SR 11.1: distribute an image to ESMEs, GSMEs or HCALCSs, which hold it until an 11.3."""

    service = Service.UPDATE_FIRMWARE


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePpmidFirmware(_Update):
    """SR 11.4: distribute an image to PPMIDs, which activate it by themselves."""

    service = Service.UPDATE_PPMID_FIRMWARE


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFirmwareVersion:
    """SR 11.2: read the version that a device executes."""

    device: Eui64 | str
    request_id: str | None = None

    service = Service.READ_FIRMWARE_VERSION

    def __post_init__(self) -> None:
        _check_request_id(self.request_id)

    @property
    def devices(self) -> tuple[Eui64 | str, ...]:
        """The one device."""
        return (self.device,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateFirmware:
    """SR 11.3: activate the held image with this Manufacturer Image Hash, now or at a time.

    ``cancels``: instead, let the device forget the activation that it has pending. DUIS has no element for
    it; GBCS has a CS06 command with the last second of the calendar for its execution time.
    """

    device: Eui64 | str
    manufacturer_image_hash: bytes
    execution_time: datetime | None = None
    cancels: bool = False
    request_id: str | None = None

    service = Service.ACTIVATE_FIRMWARE

    def __post_init__(self) -> None:
        _check_request_id(self.request_id)
        if len(self.manufacturer_image_hash) != 32:
            raise BadRequestError(
                f"FirmwareHash has {len(self.manufacturer_image_hash)} octets; SHA-256 of the Manufacturer"
                " Image has 32"
            )
        if self.execution_time is not None:
            _check_execution_time(self.execution_time)
            if self.cancels:
                raise BadRequestError("a cancellation takes effect at once: it has no ExecutionDateTime")

    @property
    def devices(self) -> tuple[Eui64 | str, ...]:
        """The one device."""
        return (self.device,)


def _check_execution_time(when: datetime) -> None:
    """What is kept must come back from seconds since 1970, and in UTC: not so at the ends of the calendar."""
    if when.tzinfo is None:
        raise BadRequestError(
            "ExecutionDateTime has no time zone: write it in UTC, such as 2026-01-05T12:00:00Z"
        )
    if not 1970 < when.year < 9999:
        raise BadRequestError(f"ExecutionDateTime lies in the year {when.year}: give one from 1971 to 9998")


ServiceRequest = UpdateFirmware | UpdatePpmidFirmware | ReadFirmwareVersion | ActivateFirmware


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeFile:
    """What the DSP has to know of an upgrade file.

    Attributes:
        image_id: the SHA-256 of the whole, in hex.
        image_hash: the Manufacturer Image Hash, in hex; None if no Manufacturer Image can be made out.
    """

    image_id: str
    size: int
    version: str
    image_hash: str | None = None


def fingerprint(request: ServiceRequest) -> str:
    """A digest of everything that the request asks, to tell a repetition from another request with its id."""
    digest = hashlib.sha256(request.service.encode())
    for device in request.devices:
        digest.update(b"\x00" + str(device).encode())
    match request:
        case UpdateFirmware() | UpdatePpmidFirmware():
            digest.update(hashlib.sha256(request.image).digest() + (request.firmware_version or "").encode())
        case ActivateFirmware():
            when = "cancel" if request.cancels else ""
            if request.execution_time is not None:
                when = request.execution_time.isoformat()
            digest.update(request.manufacturer_image_hash + when.encode())
        case ReadFirmwareVersion():
            pass
    return digest.hexdigest()


def _check_request_id(request_id: str | None) -> None:
    if request_id is None:
        return
    if not 1 <= len(request_id) <= MAXIMUM_REQUEST_ID or not request_id.isprintable():
        raise BadRequestError(f"a RequestID has 1 to {MAXIMUM_REQUEST_ID} printable characters")


def _is_version(text: str) -> bool:
    return 1 <= len(text) <= 8 and all(digit in "0123456789abcdefABCDEF" for digit in text)


# --- the answer --------------------------------------------------------------------------------------------


class Exclusion(StrEnum):
    """Why a device is left out: the lists of DSPUpdateFirmwareWarning and DSPUpdatePPMIDFirmwareWarning."""

    INVALID = "InvalidDeviceIDList"
    NOT_COMMISSIONED = "NotCommissionedDeviceIDList"
    NOT_APPLICABLE = "NotApplicableFirmwareDeviceIDList"
    IN_PROGRESS = "OtherRequestInProgressList"
    INVALID_GBCS_VERSION = "InvalidGBCSVersionList"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A device left out of a request, and why, in a sentence."""

    device: str
    exclusion: Exclusion
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DspResponse:
    """The DSP's answer to a Service Request: accepted for ``accepted``, which may be nobody.

    Attributes:
        code: a DUIS response code.
        reason: a sentence for a person.
        left_out: the devices that are left out, in the order asked.
        advice: what the guidance would have the Service User consider; it refuses nothing.
    """

    request_id: str
    service_request: Service
    code: str
    reason: str
    accepted: tuple[Eui64, ...] = ()
    left_out: tuple[Left, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the request runs for at least one device."""
        return bool(self.accepted)

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """The devices left out, by the name of their DUIS list; lists without a device are absent."""
        return {
            exclusion.value: devices
            for exclusion in Exclusion
            if (devices := tuple(left.device for left in self.left_out if left.exclusion is exclusion))
        }


def write_response(response: DspResponse) -> str:
    """The answer as JSON, EUI-64s as GB documents write them."""
    return msgspec.json.encode(dataclasses.asdict(response), enc_hook=str).decode()


def read_response(text: str) -> DspResponse:
    """The answer that `write_response` wrote."""
    return msgspec.json.decode(text, type=DspResponse, dec_hook=_read_eui64)


def _read_eui64(_kind: type, text: str) -> Eui64:
    return Eui64.parse(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCodes:
    """Which DUIS code stands for what; the choice of E1101xx and E1104xx is ours."""

    accepted: str = "I99"
    not_commissioned: str = "E5"
    wrong_device_type: str = "E11"
    unknown_device: str = "E19"
    partial: Mapping[Service, str] = field(default_factory=lambda: _by_update("W110101", "W110401"))
    bad_image: Mapping[Service, str] = field(default_factory=lambda: _by_update("E110101", "E110401"))
    version_differs: Mapping[Service, str] = field(default_factory=lambda: _by_update("E110102", "E110402"))
    no_device_left: Mapping[Service, str] = field(default_factory=lambda: _by_update("E110103", "E110403"))
    all_in_progress: Mapping[Service, str] = field(default_factory=lambda: _by_update("E110105", "E110405"))

    def alone(self, exclusion: Exclusion) -> str:
        """The code for a request for one device that is left out (11.2 and 11.3)."""
        return {
            Exclusion.INVALID: self.unknown_device,
            Exclusion.NOT_COMMISSIONED: self.not_commissioned,
        }.get(exclusion, self.wrong_device_type)


def _by_update(update: str, ppmid_update: str) -> dict[Service, str]:
    return {Service.UPDATE_FIRMWARE: update, Service.UPDATE_PPMID_FIRMWARE: ppmid_update}


# --- judging -----------------------------------------------------------------------------------------------

_DEVICES_FOR: Mapping[Service, frozenset[str]] = {
    Service.UPDATE_FIRMWARE: frozenset({"ESME", "GSME", "HCALCS"}),
    Service.READ_FIRMWARE_VERSION: frozenset({"ESME", "GSME", "HCALCS", "PPMID"}),
    Service.ACTIVATE_FIRMWARE: frozenset({"ESME", "GSME", "HCALCS"}),
    Service.UPDATE_PPMID_FIRMWARE: frozenset({"PPMID"}),
}

_NEEDS_NEW_HUB = frozenset({"PPMID", "HCALCS"})
"""Updated over the air only where the Communications Hub itself runs SECMP0007 firmware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the DSP judges by.

    Attributes:
        minimum_gap: seconds that guidance asks between two attempts on one device (five days). Guidance
            only: the answer advises, it does not refuse.
    """

    in_progress: InProgress = field(default_factory=InProgress)
    codes: ResponseCodes = field(default_factory=ResponseCodes)
    devices_for: Mapping[Service, frozenset[str]] = field(default_factory=lambda: dict(_DEVICES_FOR))
    minimum_gap: float = 5 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a request is judged against.

    Attributes:
        devices: the inventory, at least of the devices asked for.
        open_since: devices with an update that has not ended, and when that was accepted.
        last_ended: when the last update of a device ended.
        old_hubs: Communications Hubs that do not run SECMP0007 firmware yet.
        now: seconds of UTC.
    """

    devices: Mapping[Eui64, Device]
    open_since: Mapping[Eui64, float] = field(default_factory=dict)
    last_ended: Mapping[Eui64, float] = field(default_factory=dict)
    old_hubs: frozenset[Eui64] = frozenset()
    now: float = 0.0


def known_form(device: Eui64 | str) -> Eui64 | None:
    """The EUI-64 of an entry of a DeviceIDList, or None if it is none."""
    if isinstance(device, Eui64):
        return device
    try:
        return Eui64.parse(device)
    except ValueError:
        return None


def judge(
    request: ServiceRequest, file: UpgradeFile | None, request_id: str, rules: Rules, situation: Situation
) -> DspResponse:
    """Decide for which devices a Service Request runs.

    Args:
        request: what is asked.
        file: what its upgrade file is; None where the request carries none.
        request_id: the id that the answer carries.
        rules: the settings.
        situation: the inventory and what is in progress.
    """
    service, codes = request.service, rules.codes
    if isinstance(request, UpdateFirmware | UpdatePpmidFirmware):
        asked, have = request.firmware_version, file.version if file else ""
        if asked is not None and int(asked, 16) != int(have or "0", 16):
            return DspResponse(
                request_id=request_id,
                service_request=service,
                code=codes.version_differs[service],
                reason=f"FirmwareVersion is {asked.upper()}, but the upgrade file says {have}",
            )
    accepted, left_out = _sort(request, rules, situation)
    code, reason = _verdict(service, codes, accepted, left_out)
    return DspResponse(
        request_id=request_id,
        service_request=service,
        code=code,
        reason=reason,
        accepted=accepted,
        left_out=left_out,
        advice=tuple(_advice(service, accepted, rules, situation)),
    )


def refused_image(request: ServiceRequest, request_id: str, codes: ResponseCodes, why: str) -> DspResponse:
    """The answer to an update whose upgrade file cannot be read."""
    return DspResponse(
        request_id=request_id,
        service_request=request.service,
        code=codes.bad_image[request.service],
        reason=f"FirmwareImage is refused: {why}",
    )


def _sort(
    request: ServiceRequest, rules: Rules, situation: Situation
) -> tuple[tuple[Eui64, ...], tuple[Left, ...]]:
    accepted: list[Eui64] = []
    left_out: list[Left] = []
    seen: set[Eui64 | str] = set()
    for entry in request.devices:
        device = known_form(entry)
        if (device or entry) in seen:
            continue
        seen.add(device or entry)
        objection = _objection(device, request.service, rules, situation)
        if device is not None and objection is None:
            accepted.append(device)
        elif objection is not None:
            shown = str(entry if device is None else device)[:80]
            left_out.append(Left(device=shown, exclusion=objection[0], reason=objection[1]))
    return tuple(accepted), tuple(left_out)


def _objection(
    eui64: Eui64 | None, service: Service, rules: Rules, situation: Situation
) -> tuple[Exclusion, str] | None:
    """Why this device is left out, or None."""
    if eui64 is None:
        return Exclusion.INVALID, "no EUI-64: write eight octets in hex, such as 00-DB-12-34-56-78-90-A4"
    device = situation.devices.get(eui64)
    if device is None:
        return Exclusion.INVALID, "not in the inventory"
    return _unfit(device, service, rules) or (
        _held_up(device, rules, situation) if service.is_update else None
    )


def _unfit(device: Device, service: Service, rules: Rules) -> tuple[Exclusion, str] | None:
    """Why no such request may go to this device, whatever else is going on."""
    fit_for = rules.devices_for[service]
    if device.device_type not in fit_for:
        return Exclusion.NOT_APPLICABLE, _wrong_type(device.device_type, service, fit_for)
    # An 11.2 reaches a suspended device since MP105; nothing else does.
    read_suspended = service is Service.READ_FIRMWARE_VERSION and device.status is DeviceStatus.SUSPENDED
    if device.status is not DeviceStatus.COMMISSIONED and not read_suspended:
        return Exclusion.NOT_COMMISSIONED, f"the device is {device.status.value}, not Commissioned"
    return None


def _held_up(device: Device, rules: Rules, situation: Situation) -> tuple[Exclusion, str] | None:
    """Why an update may not go to this device at present."""
    if device.device_type in _NEEDS_NEW_HUB and device.hub in situation.old_hubs:
        return Exclusion.INVALID_GBCS_VERSION, f"its Communications Hub {device.hub} lacks SECMP0007 firmware"
    if rules.in_progress.split([device.eui64], situation.open_since, situation.now).busy:
        return Exclusion.IN_PROGRESS, "another update of this device is in progress"
    return None


def _wrong_type(device_type: str, service: Service, fit_for: Iterable[str]) -> str:
    if device_type == "IHD":
        return "an IHD takes no firmware over the HAN: IHDs were dropped from SECMP0007"
    if service is Service.UPDATE_FIRMWARE and device_type == "PPMID":
        return "a PPMID is updated by an 11.4, not by an 11.1"
    if service is Service.UPDATE_PPMID_FIRMWARE and device_type == "HCALCS":
        return "an HCALCS is updated by an 11.1 and activated by an 11.3, not by an 11.4"
    if service is Service.ACTIVATE_FIRMWARE and device_type == "PPMID":
        return "a PPMID activates by itself after an 11.4"
    return f"{service.value} is for {', '.join(sorted(fit_for))}, not for {device_type}"


def _verdict(
    service: Service, codes: ResponseCodes, accepted: tuple[Eui64, ...], left_out: tuple[Left, ...]
) -> tuple[str, str]:
    if not left_out:
        return codes.accepted, "accepted"
    if not service.is_update:
        return codes.alone(left_out[0].exclusion), left_out[0].reason
    if accepted:
        return codes.partial[service], f"accepted for {len(accepted)}, left out {len(left_out)}"
    if all(left.exclusion is Exclusion.IN_PROGRESS for left in left_out):
        return codes.all_in_progress[service], "every device has another update in progress"
    reasons = tuple(dict.fromkeys(left.reason for left in left_out))
    return codes.no_device_left[service], "no device is left: " + "; ".join(reasons[:5])


def _advice(
    service: Service, accepted: tuple[Eui64, ...], rules: Rules, situation: Situation
) -> Iterable[str]:
    if not service.is_update:
        return
    for device in accepted:
        ended = situation.last_ended.get(device)
        if ended is not None and situation.now - ended < rules.minimum_gap:
            days = (situation.now - ended) / DAY
            yield (
                f"{device}: the last attempt ended {days:.1f} days ago; guidance asks for"
                f" {rules.minimum_gap / DAY:g} days between attempts"
            )
