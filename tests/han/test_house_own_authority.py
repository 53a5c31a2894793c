"""A house whose certificates come from an authority of one's own, made with the means of ``gbhan keys``."""

from __future__ import annotations

import asyncio
import random

import pytest
from house_radio import HeardFacts, RadioHub, hub_in

from han.key_folder import KeyFolder
from han.security.certificate import draft
from han.security.key_pair import KeyPair
from han.security.suite import Suite
from han.sim.air.timeline import Timeline
from han.sim.dongle.houses import NoSuchHouse
from han.sim.home import Home, HomeError, read_home
from han.sim.house import House, open_house
from ota.eui64 import Eui64

OURS = Eui64.parse("02-00-00-00-00-00-00-01")
OTHER = Eui64.parse("00-DB-12-34-56-78-91-FF")
HOME = """
name = "ours"
keys = "my-ca"
channel = 15

[dongle]
eui64 = "00-DB-12-34-56-78-91-A2"

[[devices]]
kind = "PPMID"
name = "ppmid"
eui64 = "00-DB-12-34-56-78-91-A4"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0084
file_version = 0x00010000
"""
DONGLE, PPMID = (Eui64.parse(f"00-DB-12-34-56-78-91-{end}") for end in ("A2", "A4"))


@pytest.fixture
def folder(tmp_path):
    """An authority and nobody certified, beside a home file that names it."""
    (tmp_path / "home.toml").write_text(HOME)
    made = KeyFolder.make(tmp_path / "my-ca")
    made.add_authority(Suite.TWO, OURS, KeyPair.draw(Suite.TWO.curve, random.Random(1)))
    return made


def issue(folder: KeyFolder, *subjects: Eui64) -> None:
    for subject in subjects:
        certified = folder.authority(Suite.TWO).enrol(draft(Suite.TWO, subject), random.Random(str(subject)))
        folder.add_credentials(certified)


def home(folder: KeyFolder) -> Home:
    return read_home(str(folder.path.parent / "home.toml"))


def house_of(described: Home) -> House:
    return House(described, timeline=Timeline(asyncio.get_running_loop().time()), seed=7)


async def said_by(house: House, what: str, who: str, hub: RadioHub) -> object:
    heard = HeardFacts(house.facts)
    await hub.admit_everyone(house)
    house.power_on()
    return await heard.wait_for(what, who, within=120.0)


async def test_hub_and_device_of_ones_own_authority_establish_a_key(folder, rebound):
    issue(folder, DONGLE, PPMID)
    house = house_of(home(folder))
    async with hub_in(house, certified=house.certified) as hub:
        fact = await said_by(house, "keys.established", "hub", hub)

    assert fact.issuer == str(OURS)
    assert fact.device == str(PPMID)


async def test_a_hub_of_the_lab_and_a_device_of_ones_own_authority_do_not_believe_each_other(folder, rebound):
    issue(folder, PPMID)
    house = house_of(home(folder))
    async with hub_in(house) as hub:
        fact = await said_by(house, "keys.failed", "hub", hub)

    assert (fact.status, fact.by_peer) == ("UNKNOWN_ISSUER", False)
    assert str(OURS) in fact.why


async def test_a_device_without_a_certificate_is_named_with_what_to_do(folder):
    issue(folder, DONGLE)
    with pytest.raises(HomeError, match=f"suite 2 for {PPMID}; gbhan keys issue .*my-ca {PPMID}"):
        house_of(home(folder))
    with pytest.raises(NoSuchHouse, match="gbhan keys issue"):
        open_house(f"sim://{folder.path.parent}/home.toml", asyncio.get_running_loop())


async def test_a_folder_that_cannot_be_used_is_named(folder):
    issue(folder, PPMID)
    spoilt = folder.path / f"{PPMID.hex}-suite2.key"
    for mode, content, why in ((0o644, None, "chmod 600"), (0o600, "nothing", "line 1")):
        spoilt.chmod(mode)
        if content is not None:
            spoilt.write_text(content)
        with pytest.raises(HomeError, match=why):
            house_of(home(folder))
    folder.path.chmod(0o755)
    with pytest.raises(HomeError, match="chmod 700"):
        house_of(home(folder))


def test_a_folder_is_meant_from_where_the_home_file_is_unless_its_path_is_absolute(folder, tmp_path):
    assert home(folder).keys == str(tmp_path / "my-ca")
    (tmp_path / "home.toml").write_text(HOME.replace('"my-ca"', '"/elsewhere/ca"'))
    assert home(folder).keys == "/elsewhere/ca"
    assert read_home("demo").keys is None
