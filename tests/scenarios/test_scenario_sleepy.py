"""A gas meter that sleeps, on the true radio path: hub, bellows, dongle, air, and the head end above."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from han.clock import Utc
from han.facts import Facts
from han.sim.home import read_home
from han.sim.house import House
from hub.dcc.requests import ActivateFirmware, UpdateFirmware, UpdatePpmidFirmware
from hub.demo.images import Supplier
from hub.demo.report import Report
from hub.demo.stage import Chance, open_stage, prepared_home

SLEEPY_GSME = Path(__file__).parents[2] / "fixtures" / "homes" / "sleepy-gsme.toml"
SIZE = 6000
NEW = 0x00020000

pytestmark = pytest.mark.usefixtures("rebound")


@asynccontextmanager
async def sleepy_home(seed: int = 7, loss: float = 0.0):
    """The home of the sleeping gas meter, everything running, both devices joined and asleep or idle."""
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    supplier = Supplier(seed)
    home = prepared_home(read_home(str(SLEEPY_GSME)), supplier, None)
    house = House(home, facts=facts, utc=Utc(loop).at, seed=seed, loss=loss)
    house.run_on(loop)
    told = []
    facts.subscribe(told.append)
    chance = Chance(seed, loss)
    async with open_stage(house, chance, report=Report(seed=seed), facts=facts, supplier=supplier) as stage:
        for device in stage.described.values():
            await stage.admit(device)
        house.power_on()
        await asyncio.sleep(240.0)
        assert all(device.is_attached for device in house.devices.values())
        yield stage, told
    house.stop()


def said(told: list, what: str, who: str) -> list:
    return [fact for fact in told if fact.what == what and fact.who == who]


def offsets(told: list, name: str) -> list[int]:
    return [fact.offset for fact in said(told, "ota.block", name)]


async def update(stage, name: str, size: int = SIZE, version: int = NEW):
    """Submit an update for a device of the house, and give the file and the request."""
    device = stage.described[name]
    file = stage.image(device, version, size)
    kind = UpdatePpmidFirmware if name == "ppmid" else UpdateFirmware
    response = await stage.dsp.submit(kind(image=file.data, devices=(device.eui64,)))
    assert response.ok, response.reason
    return file, response.request_id


async def wait_for(stage, what: str, who: str, count: int = 1) -> None:
    """Until somebody has said this so often from now on."""
    heard = asyncio.Event()
    left = count

    def listen(fact) -> None:
        nonlocal left
        if fact.what == what and fact.who == who:
            left -= 1
            if left == 0:
                heard.set()

    end = stage.facts.subscribe(listen)
    await asyncio.wait_for(heard.wait(), 3 * 86_400)
    end()


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_a_gas_meter_that_sleeps_is_updated_and_activates(loss):
    async with sleepy_home(loss=loss) as (stage, told):
        file, request = await update(stage, "gsme")
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["transferred"]
        gsme = stage.house.devices["gsme"]
        assert gsme.node.store.parent == 0x0000
        assert offsets(told, "gsme") == sorted(set(offsets(told, "gsme")))

        asked = stage.now
        activate = ActivateFirmware(device=gsme.eui64, manufacturer_image_hash=file.manufacturer_image_hash)
        response = await stage.dsp.submit(activate)
        outcome = await stage.dsp.finished(response.request_id)
        assert [device.result.value for device in outcome.devices] == ["activated"]
        assert gsme.file_version == NEW
        assert stage.now - asked < 6.5 * 3600, "as soon as the meter is heard, which is every six hours"


async def test_a_message_that_finds_it_asleep_is_told_by_the_dongle_and_tried_again():
    async with sleepy_home() as (stage, told):
        _, request = await update(stage, "gsme")
        await stage.dsp.finished(request)

    assert said(told, "mac.expired", "dongle"), "the notification found it asleep"
    assert not said(told, "device.left", "hub")


async def test_a_dongle_that_loses_its_power_in_the_download_serves_it_again():
    async with sleepy_home() as (stage, told):
        _, request = await update(stage, "gsme", 20_000)
        await wait_for(stage, "ota.block", "gsme", 50)
        stage.house.dongle.crash()
        outcome = await stage.dsp.finished(request)

        assert [device.result.value for device in outcome.devices] == ["transferred"]
        assert offsets(told, "gsme") == sorted(set(offsets(told, "gsme")))
        assert said(told, "radio.back", "radio")


async def test_the_network_key_is_switched_under_two_downloads_that_go_on():
    async with sleepy_home() as (stage, told):
        _, request = await update(stage, "gsme", 20_000)
        await wait_for(stage, "ota.block", "gsme", 50)
        await stage.mains.hub._house.switch_network_key()
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["transferred"]
        _, request = await update(stage, "ppmid", 60_000)
        await wait_for(stage, "ota.block", "ppmid", 50)
        await stage.mains.hub._house.switch_network_key()
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["activated"]

    assert [fact.sequence for fact in said(told, "network.key_changed", "hub")] == [1, 2]
    for name in ("gsme", "ppmid"):
        assert offsets(told, name) == sorted(set(offsets(told, name)))


async def test_a_gas_meter_that_sleeps_through_the_switch_comes_back_and_is_updated():
    async with sleepy_home() as (stage, told):
        await stage.mains.hub._house.switch_network_key()
        _, request = await update(stage, "gsme")
        outcome = await stage.dsp.finished(request)

        assert [device.result.value for device in outcome.devices] == ["transferred"]
        gsme = stage.house.devices["gsme"].node
        assert gsme.network.network_key == stage.house.node.network.network_key
    assert "unsecured rejoin" in {fact.arrival for fact in said(told, "join.keyed", "hub")}
