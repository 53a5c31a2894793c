"""The JSON that the DSP's door takes and gives, typed; both `hub.dcc.door` and its client use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from hub.dcc.inventory import Device
from hub.dcc.outcomes import Outcome
from hub.dcc.records import StoryLine
from hub.dcc.requests import (
    MAXIMUM_DEVICES,
    ActivateFirmware,
    BadRequestError,
    DspResponse,
    ReadFirmwareVersion,
    ServiceRequest,
    UpdateFirmware,
    UpdatePpmidFirmware,
)
from hub.messages import TransferEntry
from ota.eui64 import Eui64


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A Service Request: ``POST /request``. ``image`` is base64, ``manufacturer_image_hash`` hex."""

    service_request: Literal["11.1", "11.2", "11.3", "11.4"]
    devices: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAXIMUM_DEVICES)]
    image: bytes | None = None
    firmware_version: str | None = None
    manufacturer_image_hash: str | None = None
    execution_time: datetime | None = None
    cancels: bool | None = None
    request_id: str | None = None


class Answered(Struct, frozen=True, kw_only=True):
    """The answer to a Service Request. ``lists``: the devices left out, by the name of their DUIS list."""

    ok: bool
    request_id: str
    service_request: str
    code: str
    reason: str
    accepted: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]
    reasons: dict[str, str]
    """Why each device is left out, in a sentence."""
    advice: tuple[str, ...]


class DeviceStanding(Struct, frozen=True, kw_only=True):
    """How a request stands for a device; ``outcome`` is None while it is open. Times are UTC seconds."""

    device: str
    device_type: str
    hub: str
    stage: str
    outcome: str | None
    ok: bool | None
    version_before: str | None
    version_after: str | None
    accepted_at: float
    ended_at: float | None
    transfer: TransferEntry | None = None
    """How far the device has come with the image, as its hub last told."""


class Told(Struct, frozen=True, kw_only=True):
    """A line of a request's story."""

    at: float
    event: str
    code: str
    text: str
    device: str | None


class Standing(Struct, frozen=True, kw_only=True):
    """How a request stands or ended: ``GET /request/ID``."""

    request_id: str
    service_request: str
    finished: bool
    ok: bool
    image_id: str | None
    version: str | None
    devices: tuple[DeviceStanding, ...]
    story: tuple[Told, ...]


class Known(Struct, frozen=True, kw_only=True):
    """A device of the inventory: ``GET /devices``."""

    device: str
    device_type: str
    hub: str
    version: str | None
    status: str


class Failure(Struct, frozen=True, kw_only=True):
    """Why the door did not do what was asked."""

    error: str


def asked(request: ServiceRequest) -> Asked:
    """A Service Request as it is posted."""
    fields: dict[str, Any] = {}
    match request:
        case UpdateFirmware() | UpdatePpmidFirmware():
            fields = {"image": request.image, "firmware_version": request.firmware_version}
        case ActivateFirmware():
            fields = {
                "manufacturer_image_hash": request.manufacturer_image_hash.hex(),
                "execution_time": request.execution_time,
                "cancels": request.cancels or None,
            }
        case ReadFirmwareVersion():
            pass
    return Asked(
        service_request=request.service.value,
        devices=tuple(str(device) for device in request.devices),
        request_id=request.request_id,
        **fields,
    )


def read_asked(body: bytes) -> ServiceRequest:
    """The Service Request in a posted body.

    Raises:
        BadRequestError: if it is none; the text names the field.
    """
    try:
        posted = msgspec.json.decode(body, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: nested too deep
        raise BadRequestError(f"this is no Service Request: {error}") from None
    match posted.service_request:
        case "11.1" | "11.4":
            kind = UpdateFirmware if posted.service_request == "11.1" else UpdatePpmidFirmware
            _only(posted, "image", "firmware_version")
            return kind(
                image=posted.image or b"",
                devices=posted.devices,
                firmware_version=posted.firmware_version,
                request_id=posted.request_id,
            )
        case "11.2":
            _only(posted)
            return ReadFirmwareVersion(device=_one(posted), request_id=posted.request_id)
        case "11.3":
            _only(posted, "manufacturer_image_hash", "execution_time", "cancels")
            return ActivateFirmware(
                device=_one(posted),
                manufacturer_image_hash=_hash(posted.manufacturer_image_hash),
                execution_time=posted.execution_time,
                cancels=bool(posted.cancels),
                request_id=posted.request_id,
            )


def answered(response: DspResponse) -> Answered:
    """The answer as it is given."""
    return Answered(
        ok=response.ok,
        request_id=response.request_id,
        service_request=response.service_request.value,
        code=response.code,
        reason=response.reason,
        accepted=tuple(str(device) for device in response.accepted),
        lists=response.lists,
        reasons={left.device: left.reason for left in response.left_out},
        advice=response.advice,
    )


def standing(
    outcome: Outcome, story: list[StoryLine], download: Callable[[str, Eui64], TransferEntry | None]
) -> Standing:
    """How a request stands, as it is given; ``download`` says how far a device has come with its image."""
    return Standing(
        request_id=outcome.request_id,
        service_request=outcome.service_request,
        finished=outcome.is_finished,
        ok=outcome.ok,
        image_id=outcome.image_id,
        version=outcome.version,
        devices=tuple(
            DeviceStanding(
                device=str(each.device),
                device_type=each.device_type,
                hub=str(each.hub),
                stage=each.stage.value,
                outcome=None if each.result is None else each.result.value,
                ok=None if each.result is None else each.result.is_success,
                version_before=each.version_before,
                version_after=each.version_after,
                accepted_at=each.accepted_at,
                ended_at=each.ended_at,
                transfer=download(outcome.request_id, each.device),
            )
            for each in outcome.devices
        ),
        story=tuple(
            Told(
                at=line.at,
                event=line.event,
                code=line.code,
                text=line.text,
                device=None if line.device is None else str(line.device),
            )
            for line in story
        ),
    )


def inventory(devices: Mapping[Any, Device]) -> tuple[Known, ...]:
    """The inventory as it is given."""
    return tuple(
        Known(
            device=str(device.eui64),
            device_type=device.device_type,
            hub=str(device.hub),
            version=device.version,
            status=device.status.value,
        )
        for device in devices.values()
    )


def _only(posted: Asked, *allowed: str) -> None:
    for name in ("image", "firmware_version", "manufacturer_image_hash", "execution_time", "cancels"):
        if name not in allowed and getattr(posted, name) is not None:
            raise BadRequestError(f"a request {posted.service_request} has no {name}")


def _one(posted: Asked) -> str:
    if len(posted.devices) != 1:
        raise BadRequestError(
            f"a request {posted.service_request} is for one device, not {len(posted.devices)}"
        )
    return posted.devices[0]


def _hash(text: str | None) -> bytes:
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        raise BadRequestError("manufacturer_image_hash is not written in hex") from None
