"""What every story of the demo does: admit all, ask the head end, wait for facts, note what was not kept.

Every promise is checked where it should have come true; one that does not is noted in words and the story
goes on, so that a report says everything that is wrong, not only the first thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from han.facts import Fact
from han.sim.home import DeviceDescription
from hub.dcc.lifecycle import Result
from hub.dcc.outcomes import Outcome
from hub.dcc.requests import ActivateFirmware, ServiceRequest, UpdateFirmware, UpdatePpmidFirmware
from hub.demo.images import UpgradeFile
from hub.demo.stage import Stage
from ota.eui64 import Eui64

AT_ONCE = 4
"""Devices that join together: a dongle keeps the install codes of few that it still waits for."""


@dataclass(slots=True)
class Telling:
    """Runs on a stage.

    Attributes:
        stage: broker, DSP stub, hub and house, all running.
        unmet: the promises that did not come true, in words.
    """

    stage: Stage
    unmet: list[str] = field(default_factory=list)

    async def everybody_joins(self) -> None:
        """Every device is admitted and switched on, and establishes a link key if it has a certificate."""
        devices = list(self.stage.described.values())
        for first in range(0, len(devices), AT_ONCE):
            await self._join(devices[first : first + AT_ONCE])

    async def _join(self, devices: Sequence[DeviceDescription]) -> None:
        joined = {device.name: self.fact("device.joined", device) for device in devices}
        keyed = {
            device.name: self.fact("keys.established", device)
            for device in devices
            if device.establishes_keys
        }
        for device in devices:
            await self.stage.admit(device)
        for device in devices:
            self.stage.house.devices[device.name].power_on()
            await asyncio.sleep(1.0)  # somebody goes from one to the next
        for name, fact in joined.items():
            self.expect(await self.within(600.0, fact) is not None, f"{name} joins")
        for name, fact in keyed.items():
            established = await self.within(600.0, fact)
            self.expect(
                established is not None and established.suite == "TWO",
                f"{name} establishes a link key by certificate, suite 2",
            )

    async def update(self, file: UpgradeFile, device: DeviceDescription) -> Outcome:
        """Have a device updated (11.1 or 11.4), and wait until that has ended."""
        return await self.finished(await self.submit(file, device))

    async def submit(self, file: UpgradeFile, device: DeviceDescription) -> str:
        """Ask for an update of a device; gives the request's id."""
        kind = UpdatePpmidFirmware if file.device_type == "PPMID" else UpdateFirmware
        response = await self.stage.dsp.submit(kind(image=file.data, devices=(device.eui64,)))
        self.expect(response.ok, f"SR {response.service_request} for {device.name} runs: {response.reason}")
        self.stage.collector.name_image(file.image_id, response.request_id)
        return response.request_id

    async def activate(self, file: UpgradeFile, device: Eui64) -> Outcome:
        """Have a device run the image that it holds (11.3), and wait until that has ended."""
        return await self.request(
            ActivateFirmware(device=device, manufacturer_image_hash=file.manufacturer_image_hash)
        )

    async def request(self, request: ServiceRequest) -> Outcome:
        """Have any Service Request carried out, and wait until it has ended."""
        response = await self.stage.dsp.submit(request)
        return await self.finished(response.request_id)

    async def finished(self, request_id: str) -> Outcome:
        """How a request has ended, once it has."""
        return await self.stage.dsp.finished(request_id)

    # --- expecting -----------------------------------------------------------------------------------------

    def expect(self, holds: bool, promise: str) -> None:  # noqa: FBT001 - the promise reads after it
        """Note a promise that was not kept."""
        if not holds:
            self.unmet.append(promise)

    def expect_result(self, outcome: Outcome, result: Result) -> None:
        """Note it if the request has not ended so for its one device."""
        came = [device.result for device in outcome.devices]
        words = ", ".join(str(each.value if each else "nothing") for each in came) or "nothing"
        self.expect(
            came == [result],
            f"SR {outcome.service_request} {outcome.request_id} ends as {result.value!r}, not {words!r}",
        )

    def fact(
        self,
        what: str,
        device: DeviceDescription | None,
        suits: Callable[[Fact], bool] = lambda _: True,
        *,
        who: str = "hub",
    ) -> asyncio.Future[Fact]:
        """The next such fact that the hub says, or whoever is named."""
        heard: asyncio.Future[Fact] = asyncio.get_running_loop().create_future()
        about = None if device is None else str(device.eui64)

        def listen(fact: Fact) -> None:
            if heard.done() or fact.what != what or fact.who != who:
                return
            if (about is None or fact.fields.get("device") == about) and suits(fact):
                heard.set_result(fact)

        end = self.stage.facts.subscribe(listen)
        heard.add_done_callback(lambda _: end())
        return heard

    @staticmethod
    async def within(seconds: float, fact: asyncio.Future[Fact]) -> Fact | None:
        """The fact, or None if it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                return await fact
        except TimeoutError:
            return None
