"""The story of the demo: what the Service Users ask, in order, and what must come of it.

Every promise is checked where it should have come true; one that does not is noted in words and the story
goes on, so that a report says everything that is wrong, not only the first thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from han.facts import Fact
from han.sim.home import DeviceDescription
from hub.dcc.lifecycle import Result
from hub.dcc.outcomes import Outcome
from hub.dcc.requests import (
    ActivateFirmware,
    ReadFirmwareVersion,
    ServiceRequest,
    UpdateFirmware,
    UpdatePpmidFirmware,
)
from hub.demo.images import PPMID_IMAGE_SIZE, SMALL_IMAGE_SIZE, UpgradeFile
from hub.demo.stage import Stage

DAY = 86_400.0

CAST = frozenset({"ppmid", "ppmid-silent", "hcalcs", "gsme"})
"""The devices, by their names in the home, without which the story cannot be told."""

_FIRST, _SECOND, _THIRD = 0x00020000, 0x00030000, 0x00040000
"""The file versions of the story; the devices are delivered with 0x00010000."""


@dataclass(slots=True)
class Story:
    """Runs on a stage.

    Attributes:
        stage: broker, DSP stub, hub and house, all running.
        ppmid_image: an upgrade file from outside for the PPMID's first update, instead of a made one.
        unmet: the promises that did not come true, in words.
    """

    stage: Stage
    ppmid_image: bytes | None = None
    unmet: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Tell all of it; the unmet promises are in `unmet` afterwards."""
        await self._everybody_joins()
        await self._a_ppmid_is_updated()
        await self._an_hcalcs_is_updated_in_two_stages()
        again = await self._a_gas_image_preempts_a_download()
        await self._a_gas_image_preempts_an_image_on_the_wan()
        await self._the_ppmid_gets_its_image_after_all(again)
        await self._a_silent_ppmid_reports_nothing()
        await self._nobody_collects_an_image()

    # --- the acts ------------------------------------------------------------------------------------------

    async def _everybody_joins(self) -> None:
        described = self.stage.described.items()
        joined = {name: self._fact("device.joined", device) for name, device in described}
        keyed = {name: self._fact("keys.established", device) for name, device in described}
        for device in self.stage.described.values():
            await self.stage.admit(device)
        self.stage.house.power_on()
        for name, fact in joined.items():
            self._expect(await self._within(600.0, fact) is not None, f"{name} joins")
        for name, fact in keyed.items():
            established = await self._within(600.0, fact)
            self._expect(
                established is not None and established.suite == "TWO",
                f"{name} establishes a link key by certificate, suite 2",
            )

    async def _a_ppmid_is_updated(self) -> None:
        ppmid = self.stage.described["ppmid"]
        if self.ppmid_image is None:
            file = self.stage.image(ppmid, _FIRST, PPMID_IMAGE_SIZE)
        else:
            file = self.stage.adopt_image(ppmid, self.ppmid_image)
        outcome = await self._update(file, ppmid)
        self._expect_result(outcome, Result.ACTIVATED)

    async def _an_hcalcs_is_updated_in_two_stages(self) -> None:
        hcalcs = self.stage.described["hcalcs"]
        file = self.stage.image(hcalcs, _FIRST, SMALL_IMAGE_SIZE)
        self._expect_result(await self._update(file, hcalcs), Result.TRANSFERRED)
        self._expect_result(await self._activate(file, hcalcs), Result.ACTIVATED)

    async def _a_gas_image_preempts_a_download(self) -> UpgradeFile:
        ppmid, gsme = self.stage.described["ppmid"], self.stage.described["gsme"]
        file = self.stage.image(ppmid, _SECOND, SMALL_IMAGE_SIZE)
        gas = self.stage.image(gsme, _FIRST, SMALL_IMAGE_SIZE)
        half = self._fact("ota.block", ppmid, lambda fact: fact.offset > len(file.data) // 2)
        preempted = await self._submit(file, ppmid)
        self._expect(await self._within(DAY, half) is not None, "the PPMID's download gets half-way")
        served = await self._submit(gas, gsme)
        self._expect_result(await self._finished(preempted), Result.DISCARDED)
        self._expect_result(await self._finished(served), Result.TRANSFERRED)
        self._expect_result(await self._activate(gas, gsme), Result.ACTIVATED)
        return file

    async def _a_gas_image_preempts_an_image_on_the_wan(self) -> None:
        hcalcs, gsme = self.stage.described["hcalcs"], self.stage.described["gsme"]
        file = self.stage.image(hcalcs, _SECOND, SMALL_IMAGE_SIZE)
        gas = self.stage.image(gsme, _SECOND, SMALL_IMAGE_SIZE)
        under_way = self._fact("chunk.taken", None, lambda fact: fact.image == file.image_id)
        preempted = await self._submit(file, hcalcs)
        self._expect(await self._within(DAY, under_way) is not None, "the HCALCS's image is on its way")
        served = await self._submit(gas, gsme)
        self._expect_result(await self._finished(preempted), Result.DISCARDED)
        self._expect_result(await self._finished(served), Result.TRANSFERRED)

    async def _the_ppmid_gets_its_image_after_all(self, file: UpgradeFile) -> None:
        ppmid = self.stage.described["ppmid"]
        self._expect_result(await self._update(file, ppmid), Result.ACTIVATED)

    async def _a_silent_ppmid_reports_nothing(self) -> None:
        silent = self.stage.described["ppmid-silent"]
        file = self.stage.image(silent, _FIRST, SMALL_IMAGE_SIZE)
        self._expect_result(await self._update(file, silent), Result.UNREPORTED)
        read = await self._request(ReadFirmwareVersion(device=silent.eui64))
        self._expect_result(read, Result.VERSION_READ)
        version = read.devices[0].version_after if read.devices else None
        self._expect(
            version == f"{_FIRST:08X}", f"an 11.2 confirms the silent PPMID's version, not {version}"
        )

    async def _nobody_collects_an_image(self) -> None:
        hcalcs, ppmid = self.stage.described["hcalcs"], self.stage.described["ppmid"]
        retention = self.stage.report.retention
        self.stage.house.devices["hcalcs"].power_off()
        self.stage.tell("hcalcs", "is switched off")
        stored = self._fact("slot.stored", None)
        waiting = self.stage.image(hcalcs, _SECOND, SMALL_IMAGE_SIZE)
        lost = await self._submit(waiting, hcalcs)
        self._expect(await self._within(DAY, stored) is not None, "the uncollected image reaches the slot")
        began = self.stage.now
        await asyncio.sleep(15 * DAY)
        held = self.stage.held_image
        retention.image, retention.held = waiting.image_id, held == waiting.image_id
        self._expect(retention.held, "the uncollected image is still in the slot on day 15")
        verb = "still holds" if retention.held else "has lost"
        self.stage.tell(
            "CH", f"day {retention.day}: {verb} image {_SECOND:08X} for hcalcs, which nobody collects"
        )
        await asyncio.sleep(5 * DAY)
        file = self.stage.image(ppmid, _THIRD, SMALL_IMAGE_SIZE)
        displaced = self._fact("slot.preempted", None, lambda fact: fact.by == file.image_id)
        last = await self._submit(file, ppmid)
        gone = await self._within(DAY, displaced)
        self._expect(gone is not None, "on day 20 a new image displaces the uncollected one")
        if gone is not None:
            retention.displaced_on_day = round((gone.at - began) / DAY, 3)
            retention.displaced_by = file.image_id
        self._expect_result(await self._finished(last), Result.ACTIVATED)
        self._expect_result(await self._finished(lost), Result.DISCARDED)

    # --- asking --------------------------------------------------------------------------------------------

    async def _update(self, file: UpgradeFile, device: DeviceDescription) -> Outcome:
        return await self._finished(await self._submit(file, device))

    async def _submit(self, file: UpgradeFile, device: DeviceDescription) -> str:
        kind = UpdatePpmidFirmware if file.device_type == "PPMID" else UpdateFirmware
        response = await self.stage.dsp.submit(kind(image=file.data, devices=(device.eui64,)))
        self._expect(response.ok, f"SR {response.service_request} for {device.name} runs: {response.reason}")
        self.stage.collector.name_image(file.image_id, response.request_id)
        return response.request_id

    async def _activate(self, file: UpgradeFile, device: DeviceDescription) -> Outcome:
        return await self._request(
            ActivateFirmware(device=device.eui64, manufacturer_image_hash=file.manufacturer_image_hash)
        )

    async def _request(self, request: ServiceRequest) -> Outcome:
        response = await self.stage.dsp.submit(request)
        return await self._finished(response.request_id)

    async def _finished(self, request_id: str) -> Outcome:
        return await self.stage.dsp.finished(request_id)

    # --- expecting -----------------------------------------------------------------------------------------

    def _expect(self, holds: bool, promise: str) -> None:  # noqa: FBT001 - the promise reads after it
        if not holds:
            self.unmet.append(promise)

    def _expect_result(self, outcome: Outcome, result: Result) -> None:
        came = [device.result for device in outcome.devices]
        words = ", ".join(str(each.value if each else "nothing") for each in came) or "nothing"
        self._expect(
            came == [result],
            f"SR {outcome.service_request} {outcome.request_id} ends as {result.value!r}, not {words!r}",
        )

    def _fact(
        self,
        what: str,
        device: DeviceDescription | None,
        suits: Callable[[Fact], bool] = lambda _: True,
    ) -> asyncio.Future[Fact]:
        """The next such fact that the hub says."""
        heard: asyncio.Future[Fact] = asyncio.get_running_loop().create_future()
        who = None if device is None else str(device.eui64)

        def listen(fact: Fact) -> None:
            if heard.done() or fact.what != what or fact.who != "hub":
                return
            if (who is None or fact.fields.get("device") == who) and suits(fact):
                heard.set_result(fact)

        end = self.stage.facts.subscribe(listen)
        heard.add_done_callback(lambda _: end())
        return heard

    @staticmethod
    async def _within(seconds: float, fact: asyncio.Future[Fact]) -> Fact | None:
        """The fact, or None if it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                return await fact
        except TimeoutError:
            return None
