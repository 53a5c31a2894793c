"""How requests stand and how they ended, as the Service User sees it."""

from __future__ import annotations

from dataclasses import dataclass

from hub.dcc.lifecycle import Result, Stage
from hub.dcc.records import Part
from hub.dcc.store import Change
from hub.errors import OurError
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOutcome:
    """How a request stands or ended for one device; ``result`` is None while it is open."""

    device: Eui64
    device_type: str
    hub: Eui64
    stage: Stage
    result: Result | None
    version_before: str | None
    version_after: str | None
    accepted_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a request stands or ended. A request that was refused has no devices."""

    request_id: str
    service_request: str
    image_id: str | None
    version: str | None
    devices: tuple[DeviceOutcome, ...]

    @property
    def is_finished(self) -> bool:
        """Whether every device has its outcome."""
        return all(device.result is not None for device in self.devices)

    @property
    def ok(self) -> bool:
        """Whether it ran, and ended well for every device."""
        ended_well = (device.result is not None and device.result.is_success for device in self.devices)
        return bool(self.devices) and all(ended_well)


def read_outcome(change: Change, request_id: str) -> Outcome:
    """How a request stands.

    Raises:
        OurError: if there is no such request.
    """
    request = change.requests.get(request_id)
    if request is None:
        raise OurError(f"there is no request {request_id[:128]!r}")
    return Outcome(
        request_id=request_id,
        service_request=request.service.value,
        image_id=request.image_id,
        version=request.version,
        devices=tuple(_outcome(part) for part in change.parts.of(request_id)),
    )


def _outcome(part: Part) -> DeviceOutcome:
    return DeviceOutcome(
        device=part.device,
        device_type=part.device_type,
        hub=part.hub,
        stage=part.stage,
        result=part.result,
        version_before=part.version_before,
        version_after=part.version_after,
        accepted_at=part.accepted_at,
        ended_at=part.ended_at,
    )
