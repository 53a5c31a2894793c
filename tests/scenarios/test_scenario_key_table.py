"""A dongle whose key table is too small for its devices: said in time, and whose key found no room."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "han"))

from house_radio import HeardFacts, hub_in

from han.sim.air.timeline import Timeline
from han.sim.dongle.configuration import KEY_TABLE_SIZE
from han.sim.dongle.personality import Personality
from han.sim.fault import Fault, Kind
from han.sim.home import read_home
from han.sim.house import House

pytestmark = pytest.mark.usefixtures("rebound")


def house_with(rows: int, version: int = 13) -> House:
    """The demo's devices, each of which wants a key, on a dongle with so many rows."""
    sizes = Personality().table_sizes | {KEY_TABLE_SIZE: rows}
    return House(
        read_home("demo"),
        timeline=Timeline(asyncio.get_running_loop().time()),
        personality=dataclasses.replace(Personality(ezsp=version), table_sizes=sizes),
    )


@pytest.mark.parametrize("version", [5, 13, 17])
async def test_too_few_rows_are_said_at_admission_and_whose_key_found_none(version):
    house = house_with(1, version)
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        said = heard.of("keys.no-room", "radio")
        house.power_on()
        await heard.wait_for("keys.failed", "hub", within=300)
        await asyncio.sleep(60)

    devices = len(house.devices)
    assert [(fact.rows, fact.devices) for fact in said] == [(1, each) for each in range(2, devices + 1)]
    assert "1 rows, and 2 devices need one each: remove those" in said[0].why
    established = heard.of("keys.established", "hub")
    assert len(established) == 1
    assert "key table is full: remove a device" in heard.of("keys.failed", "hub")[0].why
    assert heard.of("keys.failed", "hub")[0].device != established[0].device


async def test_enough_rows_are_no_matter():
    house = house_with(12)
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)

    assert heard.of("keys.no-room") == []


async def test_a_dongle_that_restarts_while_keys_are_agreed_only_delays_them():
    house = house_with(16)
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        house.go_wrong(Fault(kind=Kind.REBOOT, command="importLinkKey", times=2))
        house.power_on()
        await asyncio.sleep(1800)

    assert len(heard.of("dongle.fault")) == 2
    established = {fact.device for fact in heard.of("keys.established", "hub")}
    assert established == {str(device.eui64) for device in house.devices.values()}
