import contextlib
import random

from hub_faulty_disk import FaultyDisk
from hub_world import PPMID, World, image_for, image_id


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    """A running hub in a house with these devices joined."""
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


async def test_a_ppmid_downloads_activates_and_tells(tmp_path):
    async with home(tmp_path, PPMID) as world:
        data = image_for("PPMID")
        assert (await world.head_end.offer(data, PPMID)).ok
        alert = await world.head_end.alert("0x8F8A", PPMID)
        assert (alert.file_version, alert.image_id) == ("00000002", image_id(data))
        assert alert.gbcs
        told = await world.head_end.alert("0x8F8B", PPMID)
        assert told.file_version == "00000002"
        assert world.house.devices[PPMID].downloads == [data]
