"""A ``sim://`` URL says which home and what is different about it; a mistake in it is named."""

from __future__ import annotations

import asyncio

import pytest

from han.sim.address import HouseSettings, read_address
from han.sim.dongle.houses import NoSuchHouse
from han.sim.home import HomeError, read_home
from han.sim.house import open_house, personality_of


def test_a_home_of_the_package_needs_no_more_than_its_name():
    assert read_address("sim://demo") == HouseSettings("demo")


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("sim:///etc/homes/mine.toml", "/etc/homes/mine.toml"),
        ("sim://./mine.toml", "./mine.toml"),
        ("sim://my%20homes/mine.toml", "my homes/mine.toml"),
    ],
)
def test_a_home_can_be_a_path(url, home):
    assert read_address(url).home == home


def test_every_setting_of_the_contract_is_read():
    settings = read_address("sim://demo?seed=9&loss=0.02&serial_loss=0.01&baud=460800&ezsp=17&band=2400")

    assert settings == HouseSettings("demo", 9, 0.02, 0.01, 460_800, 17)


def test_settings_stand_in_place_of_the_homes_own():
    home = read_address("sim://demo?seed=9&baud=460800&ezsp=17").apply_to(read_home("demo"))

    assert home.seed == 9
    assert (personality_of(home).baud, personality_of(home).ezsp) == (460_800, 17)


def test_a_line_that_takes_no_time_is_a_setting_too():
    home = read_address("sim://demo?baud=0").apply_to(read_home("demo"))

    assert personality_of(home).baud == 0


def test_without_settings_the_home_decides():
    assert read_address("sim://demo").apply_to(read_home("demo")) == read_home("demo")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tcp://demo", "no sim:// URL"),
        ("sim://", "names no home"),
        ("sim://demo?sead=7", "no setting 'sead'"),
        ("sim://demo?seed=7&seed=8", "sets seed twice"),
        ("sim://demo?seed=", "seed=''"),
        ("sim://demo?seed=-7", "from 0 up"),
        ("sim://demo?loss=2", "2 % is 0.02"),
        ("sim://demo?loss=nan", "between 0 and 1"),
        ("sim://demo?baud=1", "9600 to 4000000"),
        ("sim://demo?ezsp=15", "4 to 14 and 16 to 19"),
        ("sim://demo?band=868", "only 2400"),
    ],
)
def test_a_mistake_in_a_url_is_named(url, says):
    with pytest.raises(HomeError) as caught:
        read_address(url)

    assert says in str(caught.value)


@pytest.mark.parametrize("url", ["sim://villa", "sim://demo?loss=x", "sim:///nowhere/mine.toml"])
async def test_a_house_that_cannot_be_opened_is_a_port_that_is_not_there(url):
    with pytest.raises(NoSuchHouse):
        open_house(url, asyncio.get_running_loop())


async def test_an_open_house_has_a_dongle_and_moves_with_the_loop():
    loop = asyncio.get_running_loop()
    house = open_house("sim://ppmid", loop)
    try:
        await asyncio.sleep(20.0)

        assert house.dongle.eui64 == read_home("ppmid").dongle.eui64
        assert house.timeline.now == pytest.approx(20.0, abs=1.0)
        assert house.devices["ppmid"].is_on
    finally:
        house.stop()
