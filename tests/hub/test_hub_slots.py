"""Two slots: what happens to an ESME's image is nothing to the image that GSME, PPMID and HCALCS share."""

import contextlib
import itertools
import random

from hub_faulty_disk import FaultyDisk
from hub_world import (
    ESME,
    PPMID,
    World,
    image_for,
)

DAY = 86_400.0


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


def pictures(world):
    """What the hub shows of its slots: stage, image, octets received; the shared one first."""
    state = world.hub._state(online=True)
    return [
        None if each is None else (each.stage, each.image_id, each.received)
        for each in (state.image, state.esme_image)
    ]


async def test_an_esme_image_and_a_ppmid_image_are_served_side_by_side(tmp_path):
    async with home(tmp_path, ESME, PPMID) as world:
        electric, display = image_for("ESME", size=6000), image_for("PPMID", size=6000)
        assert (await world.head_end.offer(electric, ESME)).ok
        assert (await world.head_end.offer(display, PPMID)).ok
        await world.head_end.alert("0x8F8A", ESME)
        await world.head_end.alert("0x8F8A", PPMID)
        assert world.house.devices[ESME].downloads == [electric]
        assert world.house.devices[PPMID].downloads == [display]
        blocks = [fact.device for fact in world.told if fact.what == "ota.block"]
        turns = sum(before != after for before, after in itertools.pairwise(blocks))
        assert turns > 20, "neither waits until the other has its image"
        assert not [alert for alert in world.head_end.alerts if alert.code == "0x8F89"]
