"""The devices of a house live with a hub that runs on unmodified bellows and the virtual dongle."""

from __future__ import annotations

import asyncio
import io
import random

import pytest
from house_radio import HeardFacts, RadioHub, hub_in

from han.facts import Facts
from han.gbcs.envelope import Envelope
from han.gbcs.messages import activate_firmware, payload_of
from han.gbcs.payloads import (
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    FirmwareActivationAlert,
)
from han.sim.air.capture import KeyFile, read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from han.sim.air.timeline import Timeline
from han.sim.dongle.houses import house_at
from han.sim.home import read_home
from han.sim.house import House
from ota.gbcs_image import GbcsImage, authorise
from ota.image import Header
from ota.server import Activation

NEW = 0x00020000

pytestmark = pytest.mark.usefixtures("rebound")


def image(house: House, name: str, size: int = 5000) -> GbcsImage:
    us = house.devices[name].description
    body = random.Random(name).randbytes(size)
    header = Header(manufacturer=us.manufacturer, image_type=us.image_type, file_version=NEW, total_size=0)
    return GbcsImage.build(header, body, None if us.kind.value == "PPMID" else authorise(body, None))


def new_house(loss: float = 0.0, serial_loss: float = 0.0) -> House:
    return House(
        read_home("demo"),
        timeline=Timeline(asyncio.get_running_loop().time()),
        seed=7,
        loss=loss,
        serial_loss=serial_loss,
    )


async def move_in(house: House, heard: HeardFacts, within: float = 60.0) -> None:
    """Switch every device on and wait until all have found the hub."""
    found = [asyncio.ensure_future(heard.wait_for("device.attached", name, within)) for name in house.devices]
    house.power_on()
    await asyncio.gather(*found)


async def test_the_house_joins_updates_and_tells_over_the_true_radio_path():
    house = new_house()
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        await move_in(house, heard)
        ppmid, hcalcs = house.devices["ppmid"], house.devices["hcalcs"]

        hub.offer(image(house, "ppmid").to_bytes(), ppmid.eui64)
        await heard.wait_for("device.activated", "ppmid")
        await heard.wait_for("tunnel.delivered", "ppmid")
        held = image(house, "hcalcs")
        hub.offer(held.to_bytes(), hcalcs.eui64, activation=Activation.WAIT)
        await heard.wait_for("ota.held", "hcalcs")
        command = ActivateFirmwareCommand(held.manufacturer_image_hash, 1)
        hub.tell(hcalcs.eui64, activate_firmware(hcalcs.eui64, command).to_bytes())
        await heard.wait_for("tunnel.delivered", "hcalcs")
        await asyncio.sleep(1.0)  # virtual: what the dongle has heard still has to cross the serial line

    assert (ppmid.file_version, hcalcs.file_version) == (NEW, NEW)
    alert, response = (payload_of(Envelope.parse(message)) for _, message in hub.messages)
    assert isinstance(alert, FirmwareActivationAlert)
    assert alert.is_success
    assert isinstance(response, ActivateFirmwareResponse)


async def test_the_capture_of_a_house_gives_back_the_file_that_was_served(tmp_path):
    house = new_house()
    heard = HeardFacts(house.facts)
    capture = io.BytesIO()
    house.capture(capture)
    with KeyFile(tmp_path / "keys") as keys:
        house.write_keys(keys)
        async with hub_in(house) as hub:
            await hub.admit_everyone(house)
            await move_in(house, heard)
            data = image(house, "ppmid").to_bytes()
            hub.offer(data, house.devices["ppmid"].eui64)
            await heard.wait_for("ota.complete", "ppmid")
    capture.seek(0)
    known = read_keys(tmp_path / "keys")

    labels = [label for _, label in known]
    assert sum(label.startswith("network key of PAN 1a2b") for label in labels) == 1
    # One of the install code, one established.
    assert {
        name: sum(name == label.split()[-1] for label in labels) for name in house.devices
    } == dict.fromkeys(house.devices, 2), labels
    rebuilt = rebuild_images(read_pcap(capture), [key for key, _ in known], source=0x0000)
    assert list(rebuilt.values()) == [data]


async def test_a_house_under_a_url_comes_with_its_devices_switched_on():
    loop = asyncio.get_running_loop()
    hub = RadioHub(Facts(loop.time))
    url = "sim://ppmid?seed=3"
    await hub.start(url)
    house = house_at(url, loop, lambda *_: pytest.fail("the house is running already"))
    try:
        await hub.admit_everyone(house)
        await HeardFacts(house.facts).wait_for("device.attached", "ppmid", within=300.0)
    finally:
        await hub.close()
        house.stop()


async def test_devices_join_and_update_although_air_and_line_lose_two_percent():
    house = new_house(loss=0.02, serial_loss=0.02)
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        await move_in(house, heard, within=254.0)
        hub.offer(image(house, "ppmid").to_bytes(), house.devices["ppmid"].eui64)
        await heard.wait_for("device.activated", "ppmid")

    assert house.devices["ppmid"].file_version == NEW


async def test_a_device_switched_from_outside_at_any_moment_keeps_the_houses_time():
    house = new_house()
    heard = HeardFacts(house.facts)
    house.run_on(asyncio.get_running_loop())
    await asyncio.sleep(100.0)
    house.devices["ppmid"].power_on()
    await asyncio.sleep(50.0)
    house.devices["ppmid"].power_off()
    house.stop()

    assert [fact.at for fact in heard.all if fact.what in ("device.on", "device.off")] == [100.0, 150.0]
    assert heard.of("device.join-failed", "ppmid")
