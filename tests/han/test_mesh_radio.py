"""Homes of several hops on the true radio path: unmodified bellows, the virtual dongle, routers between."""

from __future__ import annotations

import asyncio
import io

import pytest
from house_radio import HeardFacts, hub_in
from mesh_world import image, move_in, new_house, update

from han.sim.air.capture import KeyFile, read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from han.sim.home import Kind
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
        while len(heard.of("ota.block", "ppmid")) < 100:
            await heard.wait_for("ota.block", "ppmid")
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
