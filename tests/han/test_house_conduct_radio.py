"""A hub on the true radio path, in a house where six of seven devices misconduct themselves."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from house_radio import HeardFacts, hub_in

from han.sim.air.timeline import Timeline
from han.sim.home import read_home
from han.sim.house import House
from ota.gbcs_image import GbcsImage
from ota.image import Header

MISCONDUCT = Path(__file__).parents[2] / "fixtures" / "homes" / "misconduct.toml"
NEW = 0x00020000
STATUSES = {
    "wrong-issuer": "UNKNOWN_ISSUER",
    "wrong-name": "INVALID_CERTIFICATE",
    "off-curve": "BAD_MESSAGE",
    "silent-after-initiate": None,
    "terminates-no-resources": "NO_RESOURCES",
}

pytestmark = pytest.mark.usefixtures("rebound")


async def test_the_honest_device_is_served_among_six_that_are_not_and_the_hub_says_what_is_wrong_with_them():
    house = House(read_home(str(MISCONDUCT)), timeline=Timeline(asyncio.get_running_loop().time()))
    heard = HeardFacts(house.facts)
    honest = house.devices["honest"]
    header = Header(
        manufacturer=honest.description.manufacturer, image_type=0x0084, file_version=NEW, total_size=0
    )
    image = GbcsImage.build(header, random.Random("honest").randbytes(3000))
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        attached = asyncio.ensure_future(heard.wait_for("device.attached", "honest", 120.0))
        house.power_on()
        await attached
        hub.offer(image.to_bytes(), honest.eui64)
        await heard.wait_for("device.activated", "honest", 600.0)
        await asyncio.sleep(600.0)  # virtual

    said = {name: set() for name in STATUSES}
    for fact in heard.of("keys.failed", "hub"):
        for name in STATUSES:
            if fact.device == str(house.devices[name].eui64):
                said[name].add(fact.status)
    assert said == {name: {status} for name, status in STATUSES.items()}
    for name, device in house.devices.items():
        assert device.is_attached == (name == "honest")
    assert honest.file_version == NEW
