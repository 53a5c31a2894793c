"""A disk that refuses in the middle of a story: the hub stops instead of going on from memory alone."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import PPMID, World, image_for

from hub.flash import FlashError


class FullDisk(FaultyDisk):
    """Refuses every write while it is full."""

    is_full = False

    def write(self, name: str, data: bytes) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(name, data)


async def test_a_disk_that_fills_up_in_mid_download_ends_the_hub_and_a_restart_goes_on(tmp_path):
    disk = FullDisk(random.Random(1))
    async with World(tmp_path, disk) as world:
        await world.start()
        await world.join(PPMID)
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await world.head_end.when(lambda: world.head_end.wanted and world.head_end.wanted[-1].complete)
        disk.is_full = True
        with pytest.raises(FlashError, match="free some space"):
            await asyncio.wait_for(world.running, 3600.0)
        assert "flash.refused" in [fact.what for fact in world.told]
        assert world.head_end.alerts == []

        disk.is_full = False
        await world.start()
        await world.head_end.alert("0x8F8B", PPMID)
        assert [alert.code for alert in world.head_end.alerts] == ["0x8F8A", "0x8F8B"]
