"""The story of the demo: what the Service Users ask, in order, and what must come of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from han.sim.home import DeviceDescription
from hub.dcc.lifecycle import Result, Stage
from hub.dcc.requests import ActivateFirmware, ReadFirmwareVersion
from hub.demo.images import PPMID_IMAGE_SIZE, SMALL_IMAGE_SIZE, UpgradeFile
from hub.demo.telling import Telling

HOUR = 3600.0
DAY = 24 * HOUR
POWER_CUT = 60.0
"""Seconds without power."""

CAST = frozenset({"ppmid", "ppmid-silent", "hcalcs", "gsme", "esme"})
"""The devices, by their names in the home, without which the story cannot be told."""

_FIRST, _SECOND, _THIRD = 0x00020000, 0x00030000, 0x00040000
"""The file versions of the story; the devices are delivered with 0x00010000."""


@dataclass(slots=True)
class Story(Telling):
    """Runs on a stage; ``ppmid_image`` is a file from outside for the PPMID's first update."""

    ppmid_image: bytes | None = None

    async def run(self) -> None:
        """Tell all of it; the unmet promises are in `unmet` afterwards."""
        await self.everybody_joins()
        await self._a_ppmid_is_updated()
        await self._an_hcalcs_is_updated_in_two_stages()
        await self._an_esme_is_updated_on_a_date()
        again = await self._a_gas_image_preempts_a_download()
        await self._a_gas_image_preempts_an_image_on_the_wan()
        await self._the_ppmid_gets_its_image_after_all(again)
        await self._a_silent_ppmid_reports_nothing()
        await self._nobody_collects_an_image()

    # --- the acts ------------------------------------------------------------------------------------------

    async def _a_ppmid_is_updated(self) -> None:
        ppmid = self.stage.described["ppmid"]
        if self.ppmid_image is None:
            file = self.stage.image(ppmid, _FIRST, PPMID_IMAGE_SIZE)
        else:
            file = self.stage.adopt_image(ppmid, self.ppmid_image)
        half = self.fact("ota.block", ppmid, lambda fact: fact.offset > len(file.data) // 2)
        request = await self.submit(file, ppmid)
        self.expect(await self.within(DAY, half) is not None, "the PPMID's first download gets half-way")
        await self.stage.mains.cut()
        self.stage.tell("CH", "loses its power, in mid-download")
        await asyncio.sleep(POWER_CUT)
        await self.stage.mains.power_on()
        self.stage.tell("CH", "has power again; the download goes on where it stood")
        self.expect_result(await self.finished(request), Result.ACTIVATED)

    async def _an_hcalcs_is_updated_in_two_stages(self) -> None:
        hcalcs = self.stage.described["hcalcs"]
        file = self.stage.image(hcalcs, _FIRST, SMALL_IMAGE_SIZE)
        self.expect_result(await self.update(file, hcalcs), Result.TRANSFERRED)
        other = self.stage.image(hcalcs, _SECOND, SMALL_IMAGE_SIZE)
        self.expect_result(await self.activate(other, hcalcs.eui64), Result.HASH_MISMATCH)
        self.expect_result(await self.activate(file, hcalcs.eui64), Result.ACTIVATED)

    async def _an_esme_is_updated_on_a_date(self) -> None:
        """It refuses a forged image; then its activation is put on a date, called off, and put on another."""
        esme = self.stage.described["esme"]
        forged = self.stage.forged_image(esme, _FIRST, SMALL_IMAGE_SIZE)
        self.expect_result(await self.update(forged, esme), Result.TRANSFER_FAILED)
        file = self.stage.image(esme, _SECOND, SMALL_IMAGE_SIZE)
        self.expect_result(await self.update(file, esme), Result.TRANSFERRED)
        called_off = await self._dated(file, esme, HOUR)
        cancel = ActivateFirmware(
            device=esme.eui64, manufacturer_image_hash=file.manufacturer_image_hash, cancels=True
        )
        self.expect_result(await self.request(cancel), Result.CANCELLATION_ACCEPTED)
        self.expect_result(await self.finished(called_off), Result.CANCELLED)
        kept = await self._dated(file, esme, 2 * HOUR)
        self.expect_result(await self.finished(kept), Result.ACTIVATED)

    async def _dated(self, file: UpgradeFile, device: DeviceDescription, seconds_from_now: float) -> str:
        """Have an activation put on a date (11.3); gives the request's id once the device has agreed."""
        scheduled = self.fact(
            "request.moved", device, lambda fact: fact.stage == Stage.SCHEDULED.value, who="dsp"
        )
        response = await self.stage.dsp.submit(
            ActivateFirmware(
                device=device.eui64,
                manufacturer_image_hash=file.manufacturer_image_hash,
                execution_time=self.stage.utc(seconds_from_now),
            )
        )
        self.expect(await self.within(HOUR, scheduled) is not None, f"{device.name} keeps the date in mind")
        return response.request_id

    async def _a_gas_image_preempts_a_download(self) -> UpgradeFile:
        ppmid, gsme = self.stage.described["ppmid"], self.stage.described["gsme"]
        file = self.stage.image(ppmid, _SECOND, SMALL_IMAGE_SIZE)
        gas = self.stage.image(gsme, _FIRST, SMALL_IMAGE_SIZE)
        half = self.fact("ota.block", ppmid, lambda fact: fact.offset > len(file.data) // 2)
        preempted = await self.submit(file, ppmid)
        self.expect(await self.within(DAY, half) is not None, "the PPMID's download gets half-way")
        served = await self.submit(gas, gsme)
        self.expect_result(await self.finished(preempted), Result.DISCARDED)
        self.expect_result(await self.finished(served), Result.TRANSFERRED)
        self.expect_result(await self.activate(gas, gsme.eui64), Result.ACTIVATED)
        return file

    async def _a_gas_image_preempts_an_image_on_the_wan(self) -> None:
        hcalcs, gsme = self.stage.described["hcalcs"], self.stage.described["gsme"]
        file = self.stage.image(hcalcs, _SECOND, SMALL_IMAGE_SIZE)
        gas = self.stage.image(gsme, _SECOND, SMALL_IMAGE_SIZE)
        under_way = self.fact("chunk.taken", None, lambda fact: fact.image == file.image_id)
        preempted = await self.submit(file, hcalcs)
        self.expect(await self.within(DAY, under_way) is not None, "the HCALCS's image is on its way")
        served = await self.submit(gas, gsme)
        self.expect_result(await self.finished(preempted), Result.DISCARDED)
        self.expect_result(await self.finished(served), Result.TRANSFERRED)

    async def _the_ppmid_gets_its_image_after_all(self, file: UpgradeFile) -> None:
        ppmid = self.stage.described["ppmid"]
        self.expect_result(await self.update(file, ppmid), Result.ACTIVATED)
        read = await self.request(ReadFirmwareVersion(device=ppmid.eui64))
        self.expect_result(read, Result.VERSION_READ)

    async def _a_silent_ppmid_reports_nothing(self) -> None:
        silent = self.stage.described["ppmid-silent"]
        file = self.stage.image(silent, _FIRST, SMALL_IMAGE_SIZE)
        self.expect_result(await self.update(file, silent), Result.UNREPORTED)
        read = await self.request(ReadFirmwareVersion(device=silent.eui64))
        self.expect_result(read, Result.VERSION_READ)
        version = read.devices[0].version_after if read.devices else None
        self.expect(version == f"{_FIRST:08X}", f"an 11.2 confirms the silent PPMID's version, not {version}")

    async def _nobody_collects_an_image(self) -> None:
        hcalcs, ppmid = self.stage.described["hcalcs"], self.stage.described["ppmid"]
        retention = self.stage.report.retention
        self.stage.house.devices["hcalcs"].power_off()
        self.stage.tell("hcalcs", "is switched off")
        stored = self.fact("slot.stored", None)
        waiting = self.stage.image(hcalcs, _SECOND, SMALL_IMAGE_SIZE)
        lost = await self.submit(waiting, hcalcs)
        self.expect(await self.within(DAY, stored) is not None, "the uncollected image reaches the slot")
        began = self.stage.now
        await asyncio.sleep(15 * DAY)
        held = self.stage.held_image
        retention.image, retention.held = waiting.image_id, held == waiting.image_id
        self.expect(retention.held, "the uncollected image is still in the slot on day 15")
        verb = "still holds" if retention.held else "has lost"
        self.stage.tell(
            "CH", f"day {retention.day}: {verb} image {_SECOND:08X} for hcalcs, which nobody collects"
        )
        await asyncio.sleep(5 * DAY)
        file = self.stage.image(ppmid, _THIRD, SMALL_IMAGE_SIZE)
        displaced = self.fact("slot.preempted", None, lambda fact: fact.by == file.image_id)
        last = await self.submit(file, ppmid)
        gone = await self.within(DAY, displaced)
        self.expect(gone is not None, "on day 20 a new image displaces the uncollected one")
        if gone is not None:
            retention.displaced_on_day = round((gone.at - began) / DAY, 3)
            retention.displaced_by = file.image_id
        self.expect_result(await self.finished(last), Result.ACTIVATED)
        self.expect_result(await self.finished(lost), Result.DISCARDED)
