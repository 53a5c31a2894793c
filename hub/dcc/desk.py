"""The DSP's desk: judges a Service Request against what is known, keeps it, and lays out the work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from han.gbcs.payloads import CANCEL
from hub.dcc.controls import UPDATES
from hub.dcc.lifecycle import Stage
from hub.dcc.records import Errand, KeptRequest, Part, StoryLine
from hub.dcc.requests import (
    ActivateFirmware,
    BadRequestError,
    DspResponse,
    ReadFirmwareVersion,
    ServiceRequest,
    Situation,
    UpdateFirmware,
    UpdatePpmidFirmware,
    UpgradeFile,
    fingerprint,
    judge,
    known_form,
    read_response,
    refused_image,
    write_response,
)
from hub.dcc.settings import DspSettings
from hub.dcc.store import Change
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, Layout
from ota.image import Header, ImageFormatError, check

_YEAR_2000 = 946_684_800.0
"""In seconds of UTC. The first originator counter is the seconds since then: a head end that lost its
database goes on above all counters that its devices have heard, and they obey only greater ones."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request at the desk: its answer, and what the CSP now has to carry."""

    response: DspResponse
    errands: tuple[Errand, ...] = ()
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """Takes requests, by these settings. All of it happens in the caller's transaction."""

    settings: DspSettings

    def take(self, change: Change, request: ServiceRequest, now: float) -> Taken:
        """Judge a request, keep it with its answer and, if it may run, its parts and errands.

        Raises:
            BadRequestError: if its id names another request.
        """
        known = None if request.request_id is None else change.requests.get(request.request_id)
        if known is not None:
            return Taken(_same_answer(known, request), is_repeated=True)
        request_id = request.request_id or self._new_request_id(change, request)
        file, response = self._judge(change, request, request_id, now)
        self._keep(change, request, response, file, now)
        errands = self._begin(change, request, response, file, now) if response.ok else []
        return Taken(response, tuple(errands))

    def _new_request_id(self, change: Change, request: ServiceRequest) -> str:
        """A RequestID: originator, target, counter."""
        target: Eui64 | None = self.settings.access_control_broker
        if not request.service.is_update:
            target = known_form(request.devices[0]) or target
        counter = change.requests.next_number("request", 1000)
        return f"{self.settings.service_user}:{target}:{counter}"

    def _judge(
        self, change: Change, request: ServiceRequest, request_id: str, now: float
    ) -> tuple[UpgradeFile | None, DspResponse]:
        rules = self.settings.rules
        file = None
        if isinstance(request, UpdateFirmware | UpdatePpmidFirmware):
            findings = check(request.image)
            if findings:
                why = "; ".join(str(finding) for finding in findings[:5])
                return None, refused_image(request, request_id, rules.codes, why)
            file = UpgradeFile(
                image_id=hashlib.sha256(request.image).hexdigest(),
                size=len(request.image),
                version=f"{Header.parse(request.image).file_version:08X}",
                image_hash=_image_hash(request),
            )
        return file, judge(request, file, request_id, rules, self._situation(change, request, now))

    def _situation(self, change: Change, request: ServiceRequest, now: float) -> Situation:
        devices = change.inventory.devices(
            device for entry in request.devices if (device := known_form(entry)) is not None
        )
        last = {device: change.parts.last_ended(device, UPDATES) for device in devices}
        return Situation(
            devices=devices,
            open_since={
                part.device: part.accepted_at for part in change.parts.open() if part.service.is_update
            },
            last_ended={
                device: part.ended_at
                for device, part in last.items()
                if part is not None and part.ended_at is not None
            },
            old_hubs=frozenset(hub for hub, is_old in change.inventory.hubs().items() if is_old),
            now=now,
        )

    def _keep(
        self,
        change: Change,
        request: ServiceRequest,
        response: DspResponse,
        file: UpgradeFile | None,
        now: float,
    ) -> None:
        activation = request if isinstance(request, ActivateFirmware) else None
        # The ACB's CS08 and the Supplier's CS06 share a counter: all that is asked of it is to grow.
        is_counted = activation is not None or isinstance(request, ReadFirmwareVersion)
        when = None
        if activation is not None:
            when = CANCEL if activation.cancels else activation.execution_time
        image_hash = None if file is None else file.image_hash
        change.requests.add(
            KeptRequest(
                request_id=response.request_id,
                service=request.service,
                fingerprint=fingerprint(request),
                submitted_at=now,
                response=write_response(response),
                image_id=None if file is None else file.image_id,
                version=None if file is None else file.version,
                image_hash=image_hash if activation is None else activation.manufacturer_image_hash.hex(),
                execution_time=None if when is None else when.timestamp(),
                originator_counter=change.requests.next_number("originator", int(now - _YEAR_2000))
                if is_counted
                else None,
            )
        )
        change.story.tell(
            StoryLine(
                request_id=response.request_id,
                at=now,
                event="accepted" if response.ok else "refused",
                code=response.code,
                text=response.reason,
            )
        )

    def _begin(
        self,
        change: Change,
        request: ServiceRequest,
        response: DspResponse,
        file: UpgradeFile | None,
        now: float,
    ) -> list[Errand]:
        """Keep the parts and errands of a request that may run."""
        if file is not None and isinstance(request, UpdateFirmware | UpdatePpmidFirmware):
            change.requests.put_image(file.image_id, file.version, request.image)
        inventory = change.inventory.devices(response.accepted)
        deadline = self.settings.patience.deadline(request.service, Stage.ACCEPTED, now, now)
        for position, eui64 in enumerate(response.accepted):
            device = inventory[eui64]
            change.parts.add(
                Part(
                    request_id=response.request_id,
                    device=eui64,
                    position=position,
                    service=request.service,
                    device_type=device.device_type,
                    hub=device.hub,
                    stage=Stage.ACCEPTED,
                    accepted_at=now,
                    deadline=deadline,
                    image_id=None if file is None else file.image_id,
                    version=None if file is None else file.version,
                    version_before=device.version,
                )
            )
        errands = [
            Errand(
                errand_id=f"{response.request_id}@{hub.hex}",
                request_id=response.request_id,
                hub=hub,
                service=request.service,
                first_at=now,
                next_at=now,
                image_id=None if file is None else file.image_id,
            )
            for hub in dict.fromkeys(inventory[eui64].hub for eui64 in response.accepted)
        ]
        for errand in errands:
            change.errands.add(errand)
        return errands


def _image_hash(request: UpdateFirmware | UpdatePpmidFirmware) -> str | None:
    is_signed = isinstance(request, UpdateFirmware)
    try:
        layout = Layout.AUTHORISED if is_signed else Layout.MANUFACTURER_IMAGE
        return GbcsImage.read(request.image, layout).manufacturer_image_hash.hex()
    except ImageFormatError:
        return None


def _same_answer(known: KeptRequest, request: ServiceRequest) -> DspResponse:
    """The answer that this very request got before.

    Raises:
        BadRequestError: if the id belongs to another request.
    """
    if known.fingerprint != fingerprint(request):
        raise BadRequestError(
            f"RequestID {known.request_id} was used for another request: give a new one", status=409
        )
    return read_response(known.response)
