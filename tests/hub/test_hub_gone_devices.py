"""Commands for devices that left or were removed, and what becomes of those that were pending."""

import asyncio
import contextlib
import random
from datetime import timedelta

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import HCALCS, PPMID, World, cs06

from han.coordinator import DeviceJoined, DeviceLeft
from han.gbcs.messages import read_firmware_version
from hub.messages import ActivateRequest, ReadVersionRequest, RemoveRequest

DIGEST = "ab" * 32


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


async def activate(world, name="a1", counter=1, when=None):
    gbcs = cs06(HCALCS, DIGEST, counter, when)
    stamp = world.head_end.pen.stamp()
    return await world.head_end.ask(ActivateRequest(request_id=name, device=str(HCALCS), gbcs=gbcs, **stamp))


async def remove(world, device):
    answer = await world.head_end.ask(RemoveRequest(device=str(device), **world.head_end.pen.stamp()))
    assert answer.ok


async def test_an_activation_for_a_device_that_left_is_refused_until_it_is_back(tmp_path):
    async with home(tmp_path, HCALCS) as world:
        world.house.ears.event(DeviceLeft(HCALCS))
        answer = await activate(world)
        assert (answer.code, world.hub.custody.memory.activations) == ("unreachable", ())
        assert "has left" in answer.reason
        world.house.ears.event(DeviceJoined(HCALCS, 0x1234))
        assert (await activate(world)).ok


@pytest.mark.parametrize("verb", ["activate", "read"])
async def test_a_command_for_a_device_that_was_removed_says_so(tmp_path, verb):
    async with home(tmp_path, HCALCS) as world:
        await remove(world, HCALCS)
        if verb == "activate":
            answer = await activate(world)
        else:
            gbcs = read_firmware_version(HCALCS, 1).to_bytes().hex()
            stamp = world.head_end.pen.stamp()
            request = ReadVersionRequest(request_id="r", device=str(HCALCS), gbcs=gbcs, **stamp)
            answer = await world.head_end.ask(request)
        assert answer.code == "unknown-device"
        assert "was removed from this HAN: join it first" in answer.reason


@pytest.mark.parametrize("dated", [False, True], ids=["not delivered", "waiting for its time"])
async def test_what_a_removed_device_has_pending_ends_with_one_outcome(tmp_path, dated):
    async with home(tmp_path, HCALCS, PPMID) as world:
        device = world.house.devices[HCALCS]
        device.is_asleep = not dated
        assert (await activate(world, when=world.utc.now() + timedelta(days=1) if dated else None)).ok
        await asyncio.sleep(5.0)
        await remove(world, HCALCS)
        told = await world.head_end.alert("removed", HCALCS, response=None)
        assert (told.request_id, told.gbcs, told.file_version) == ("a1", "", "FFFFFFFF")
        memory = world.hub.custody.memory
        assert (memory.activations, "a1" in memory.ended) == ((), True)
        frames = world.house.frames
        await asyncio.sleep(3600.0)
        posts = [fact for fact in world.told if fact.what == "line.failed" and fact.device == str(HCALCS)]
        assert len(posts) <= 3, "nothing is sent to it any more"
        assert world.house.frames - frames < 200
        assert len({alert.id for alert in world.head_end.alerts if alert.code == "removed"}) == 1


async def test_a_power_cut_just_at_the_removal_leaves_no_command_pending(tmp_path):
    async with home(tmp_path, HCALCS) as world:
        world.house.devices[HCALCS].is_asleep = True
        await activate(world)
        world.hub.devices.removed(HCALCS)
        await world.crash()
        await world.start()
        told = await world.head_end.alert("removed", HCALCS, response=None)
        assert told.request_id == "a1"
        assert world.hub.custody.memory.activations == ()
