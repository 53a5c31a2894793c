"""Homes of several hops on the true radio path: unmodified bellows, the virtual dongle, routers between."""

from __future__ import annotations

import asyncio
import io

import msgspec
import pytest
from house_radio import HeardFacts, hub_in
from mesh_world import HOMES, blocks, image, move_in, new_house, update

from han.coordinator import DeviceMoved
from han.sim.air.capture import KeyFile, read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from han.sim.air.timeline import Timeline
from han.sim.home import Kind, LinkDescription, read_home
from han.sim.house import House
from ota.server import BlockShrunk

pytestmark = pytest.mark.usefixtures("rebound")


async def test_a_ppmid_four_hops_away_joins_and_takes_a_whole_image():
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await move_in(house, heard, hub)
        ppmid, last = house.devices["ppmid"].node, house.devices["stairs"].node
        assert (ppmid.store.depth, ppmid.store.parent) == (4, last.nwk)
        await update(house, heard, hub)


async def test_a_source_route_shrinks_the_blocks_and_nothing_gets_stuck():
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=True) as hub:
        await move_in(house, heard, hub)
        await asyncio.sleep(90.0)
        hub.offer(image(house).to_bytes(), house.devices["ppmid"].eui64)
        await heard.wait_for("ota.block", "ppmid")
        ppmid = house.devices["ppmid"].node
        relays = tuple(house.devices[name].node.nwk for name in ("stairs", "landing", "hall"))
        assert house.node.source_routes()[ppmid.nwk] == relays
        await heard.wait_for("device.activated", "ppmid")

    # 65 octets of image fit without relays; three take 8 of them.
    sizes = [event.size for event in hub.events if isinstance(event, BlockShrunk)]
    assert sizes
    assert sizes[-1] <= 65 - 8


@pytest.mark.parametrize("source_routing", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
async def test_an_image_arrives_over_four_hops_that_lose_frames(seed, source_routing):
    house = new_house("four-hops.toml", seed=seed, loss=0.05)
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=source_routing) as hub:
        await move_in(house, heard, hub)
        await update(house, heard, hub)


@pytest.mark.parametrize("source_routing", [False, True])
async def test_an_image_arrives_though_the_router_under_way_dies(source_routing):
    house = new_house("two-ways.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=source_routing) as hub:
        await move_in(house, heard, hub)
        if source_routing:
            await asyncio.sleep(90.0)
        hub.offer(image(house).to_bytes(), house.devices["ppmid"].eui64)
        await blocks(heard, 100)
        # The better of the two ways, and the one that is used.
        house.devices["kitchen"].power_off()
        died = house.timeline.now
        await heard.wait_for("device.activated", "ppmid", 3600.0)
        assert house.timeline.now - died < 120.0


async def test_the_blocks_of_a_capture_of_four_hops_make_the_image(tmp_path):
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    capture = io.BytesIO()
    house.capture(capture)
    with KeyFile(tmp_path / "keys") as keys:
        house.write_keys(keys)
        async with hub_in(house) as hub:
            await move_in(house, heard, hub)
            await update(house, heard, hub)
    capture.seek(0)
    found = rebuild_images(read_pcap(capture), [key for key, _ in read_keys(tmp_path / "keys")])
    assert image(house).to_bytes() in found.values()


@pytest.mark.parametrize("home", ["flats.toml", "four-hops.toml", "two-ways.toml"])
async def test_a_home_of_several_hops_can_be_moved_into(home):
    house = new_house(home)
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await move_in(house, heard, hub)
    assert all(device.is_attached for device in house.devices.values())
    assert {device.kind for device in house.home.devices} - {Kind.ROUTER}


async def test_devices_that_are_all_switched_on_at_once_find_in_one_behind_the_other():
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        found = [
            asyncio.ensure_future(heard.wait_for("device.attached", name, 250.0)) for name in house.devices
        ]
        house.power_on()
        await asyncio.gather(*found)
    assert house.devices["ppmid"].node.store.depth == 4


async def test_a_device_that_changes_its_address_in_the_middle_is_followed():
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await move_in(house, heard, hub)
        ppmid = house.devices["ppmid"]
        hub.offer(image(house).to_bytes(), ppmid.eui64)
        await blocks(heard, 100)
        ppmid.node.change_address()
        await heard.wait_for("device.activated", "ppmid", 600.0)
        moves = [event for event in hub.events if isinstance(event, DeviceMoved)]
    assert [event.eui64 for event in moves] == [ppmid.eui64]
    assert ppmid.node.store.network.nwk == moves[0].nwk


async def test_a_router_that_changes_its_address_in_the_middle_is_followed():
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=True) as hub:
        await move_in(house, heard, hub)
        await asyncio.sleep(90.0)
        hub.offer(image(house).to_bytes(), house.devices["ppmid"].eui64)
        await blocks(heard, 100)
        house.devices["landing"].node.change_address()
        await heard.wait_for("device.activated", "ppmid", 600.0)


async def test_keys_are_established_over_a_source_route_in_fragments():
    house = new_house("four-hops.toml")
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=True) as hub:
        await move_in(house, heard, hub)
        await asyncio.sleep(90.0)
        assert hub.coordinator is not None
        ppmid = house.devices["ppmid"].eui64
        await hub.coordinator.discover(ppmid)  # it answers, and tells the way as it does
        nwk = house.devices["ppmid"].node.nwk
        # An Initiate of suite 2 is a ZCL frame of 81 octets.
        assert house.node.largest_payload(aps_security=False, destination=nwk) < 81
        agreed = asyncio.ensure_future(heard.wait_for("keys.established", "ppmid", 60.0))
        await hub.coordinator.establish(ppmid)
        await agreed
    assert heard.of("message.fragmented", "hub")


async def test_a_sleeping_ppmid_whose_parent_dies_in_mid_transfer_finds_another_and_goes_on():
    home = read_home(str(HOMES / "two-ways.toml"))
    devices = tuple(
        msgspec.structs.replace(device, sleeps=True) if device.name == "ppmid" else device
        for device in home.devices
    )
    another_parent = LinkDescription(between=("hall", "ppmid"), lqi=205)
    home = msgspec.structs.replace(home, devices=devices, links=(*home.links, another_parent))
    house = House(home, timeline=Timeline(asyncio.get_running_loop().time()))
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await move_in(house, heard, hub)
        ppmid = house.devices["ppmid"]
        parents = {house.devices[name].node.nwk: name for name in ("landing", "hall")}
        before = parents[ppmid.node.store.parent]
        hub.offer(image(house, 6000).to_bytes(), ppmid.eui64)
        await blocks(heard, 30)
        house.devices[before].power_off()
        await heard.wait_for("device.activated", "ppmid", 3600.0)
        assert parents[ppmid.node.store.parent] != before
