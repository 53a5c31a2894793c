"""The story of a house that is not the demo's own: every device is updated, and what became of it is told.

Devices of one model share a Service Request, as they would in the field, and one model follows another: the
hub has one slot for all but ESMEs. A device that has not come to an end when nobody expects it any more is
given up by the user. What a device is expected to come to stands in the home file; here nobody
knows what is peculiar about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from han.facts import Fact
from han.sim.home import DeviceDescription, Kind
from han.sim.personality import Outcome
from hub.dcc.lifecycle import Result
from hub.dcc.outcomes import DeviceOutcome
from hub.dcc.requests import ReadFirmwareVersion, UpdateFirmware, UpdatePpmidFirmware
from hub.demo.images import UpgradeFile
from hub.demo.report import DeviceRow
from hub.demo.telling import Telling

DAY = 86_400.0

UPDATE_SIZE = 1536
"""Octets of every upgrade file: they show what devices do, not how long a download takes."""

PATIENCE = 3 * DAY
"""Seconds after which the user gives up a device that has not come to an end."""

_STEP = 0x00010000


@dataclass(frozen=True, slots=True)
class _End:
    """How an update of a device ended, and what it runs as far as it told."""

    outcome: Outcome
    reason: str
    version: str | None


@dataclass(slots=True)
class Updates(Telling):
    """Runs on a stage."""

    _unheard: dict[str, str] = field(default_factory=dict)
    """Devices whose messages the hub refuses, and why."""

    async def run(self) -> None:
        """Tell all of it; the rows are in the report, what was not as expected in `unmet` afterwards."""
        self.stage.facts.subscribe(self._hear)
        await self.everybody_joins()
        for devices in _models(self.stage.described.values()):
            await self._update_model(devices)

    def _hear(self, fact: Fact) -> None:
        device = fact.fields.get("device")  # a part of a message may be nobody's that is known
        if fact.who == "hub" and fact.what == "message.refused" and device is not None:
            self._unheard[device] = fact.why

    async def _update_model(self, devices: Sequence[DeviceDescription]) -> None:
        version = min(device.file_version for device in devices) + _STEP
        file = self.stage.image(devices[0], version, UPDATE_SIZE)
        kind = UpdatePpmidFirmware if file.device_type == "PPMID" else UpdateFirmware
        response = await self.stage.dsp.submit(
            kind(image=file.data, devices=tuple(device.eui64 for device in devices))
        )
        self.stage.collector.name_image(file.image_id, response.request_id)
        left_out = {each.device: each.reason for each in response.left_out}
        ended = await self._ended(response.request_id)
        for device in devices:
            if str(device.eui64) in left_out:
                end = _End(Outcome.FAILED, left_out[str(device.eui64)], None)
            else:
                end = await self._follow_up(file, response.request_id, ended[device.eui64])
            self._note(device, end)

    async def _ended(self, request_id: str) -> dict[object, DeviceOutcome]:
        """How the request has ended for each device; for those that take too long the user ends it."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.finished(request_id)
        except TimeoutError:
            for device in self.stage.dsp.outcome(request_id).devices:
                if device.result is None:
                    await self.stage.give_up(device.device)
        return {device.device: device for device in (await self.finished(request_id)).devices}

    async def _follow_up(self, file: UpgradeFile, request_id: str, came: DeviceOutcome) -> _End:
        """Activate what waits for that, and find out what runs where nobody told."""
        result = came.result
        if result is Result.TRANSFERRED:
            outcome = await self.activate(file, came.device)
            [came] = outcome.devices
            request_id, result = outcome.request_id, came.result
        if result is Result.ACTIVATED:
            return self._runs(file, came.version_after)
        if result is not Result.UNREPORTED:
            return _End(Outcome.FAILED, self._reason(request_id, came), None)
        read = await self.request(ReadFirmwareVersion(device=came.device))
        [answer] = read.devices
        if answer.result is not Result.VERSION_READ:
            return _End(Outcome.UNCONFIRMED, self._reason(read.request_id, answer), None)
        return self._runs(file, answer.version_after)

    @staticmethod
    def _runs(file: UpgradeFile, version: str | None) -> _End:
        if version == f"{file.version:08X}":
            return _End(Outcome.UPDATED, "", version)
        return _End(
            Outcome.UNCHANGED, f"it took {file.version:08X} and tells that it runs {version}", version
        )

    def _reason(self, request_id: str, came: DeviceOutcome) -> str:
        """In the words of whoever ended the request for this device."""
        words = came.result.value if came.result is not None else "it has not come to an end"
        for row in self.stage.report.requests:
            if row.request_id == request_id and row.device == str(came.device) and row.reason:
                words = f"{words}: {row.reason}"
        unheard = self._unheard.get(str(came.device))
        return words if unheard is None else f"{words}; what it said was refused: {unheard}"

    def _note(self, device: DeviceDescription, end: _End) -> None:
        row = DeviceRow(
            name=device.name,
            device=str(device.eui64),
            device_type=device.kind.value,
            personality=device.personality,
            outcome=end.outcome,
            reason=end.reason,
            version_before=f"{device.file_version:08X}",
            version_after=end.version,
            expected=device.expects,
            ok=end.outcome is device.expects,
        )
        self.stage.report.devices.append(row)
        why = f": {row.reason}" if row.reason else ""
        self.stage.tell(row.name, f"{row.outcome}{why}")
        self.expect(row.ok, f"{row.name} is {row.expected}, not {row.outcome}{why}")


def _models(devices: Iterable[DeviceDescription]) -> list[list[DeviceDescription]]:
    """The devices that one upgrade file is for, together, in the order of the home file."""
    models: dict[tuple[object, ...], list[DeviceDescription]] = {}
    for device in devices:
        if device.kind is not Kind.ROUTER:
            model = (device.kind, device.manufacturer, device.image_type, device.hardware_version)
            models.setdefault(model, []).append(device)
    return list(models.values())
