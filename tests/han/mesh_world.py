"""Homes of several hops: a house from its file, let in device by device, and an image for its PPMID."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from house_radio import HeardFacts, RadioHub

from han.sim.air.timeline import Timeline
from han.sim.devices.device import Device
from han.sim.home import read_home
from han.sim.house import House
from ota.gbcs_image import GbcsImage
from ota.image import Header

HOMES = Path(__file__).parents[2] / "fixtures" / "homes"
NEW = 0x00020000


def image(house: House, size: int = 20_000) -> GbcsImage:
    us = house.devices["ppmid"].description
    header = Header(manufacturer=us.manufacturer, image_type=us.image_type, file_version=NEW, total_size=0)
    return GbcsImage.build(header, random.Random(7).randbytes(size), None)


def new_house(home: str, *, seed: int | None = None, loss: float = 0.0) -> House:
    timeline = Timeline(asyncio.get_running_loop().time())
    return House(read_home(str(HOMES / home)), timeline=timeline, seed=seed, loss=loss)


async def move_in(house: House, heard: HeardFacts, hub: RadioHub) -> None:
    """Let one device in after the other, as people carry them into a house: the next joins through it.

    On an air that loses frames the network may close before a device has found it: it is admitted once more.
    """
    for device in house.devices.values():
        try:
            await let_in(device, heard, hub)
        except TimeoutError:
            await let_in(device, heard, hub)


async def let_in(device: Device, heard: HeardFacts, hub: RadioHub) -> None:
    """Admit this device, switch it on, and wait until it has found the hub."""
    assert hub.coordinator is not None
    found = asyncio.ensure_future(heard.wait_for("device.attached", device.name, 300.0))
    us = device.description
    await hub.coordinator.admit(us.eui64, us.install_code, us.kind.value)
    device.power_on()
    await found


async def update(house: House, heard: HeardFacts, hub: RadioHub) -> None:
    """Serve the PPMID an image and wait until it runs."""
    hub.offer(image(house).to_bytes(), house.devices["ppmid"].eui64)
    await heard.wait_for("device.activated", "ppmid", 3600.0)
    assert house.devices["ppmid"].file_version == NEW


async def blocks(heard: HeardFacts, count: int) -> None:
    """Wait until the PPMID has taken so many blocks of its image."""
    while len(heard.of("ota.block", "ppmid")) < count:
        await heard.wait_for("ota.block", "ppmid")
