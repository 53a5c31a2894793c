"""What a hub tells of its own health on ``state``."""

from __future__ import annotations

import asyncio
import itertools
import random
from datetime import timedelta

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import GSME, PPMID, World, image_for

from han.coordinator import RadioBack, RadioLost
from hub.flash import FlashError
from hub.health import OWN_VERSION
from hub.hub import HubSettings
from hub.messages import Dongle, HubState, decode, encode


class MoodyDisk(FaultyDisk):
    """May be full, and may keep to itself how full it is."""

    is_full = False
    is_silent = False

    def write(self, name, data):
        if self.is_full:
            raise OSError("No space left on device")
        super().write(name, data)

    def free(self):
        if self.is_silent:
            raise OSError("not supported")
        return 0 if self.is_full else super().free()


def world_in(folder, **settings) -> World:
    return World(folder, MoodyDisk(random.Random(1)), settings=HubSettings(**settings))


async def told(world: World, condition):
    """The first state from now on that is so."""
    seen = len(world.head_end.states)
    return await world.head_end.when(
        lambda: next((each for each in world.head_end.states[seen:] if condition(each)), None)
    )


async def test_a_hub_tells_what_it_is_and_since_when(tmp_path):
    async with world_in(tmp_path) as world:
        began = world.utc.now()
        await world.start()
        state = await told(world, lambda state: state.online)
        health = state.health
        assert (health.version, bool(OWN_VERSION)) == (OWN_VERSION, True)
        assert health.dongle == Dongle(
            ezsp_version=13, manufacturer="Maker", board="Stick", firmware="7.4.4.0 build 0"
        )
        assert abs(health.since - began) < timedelta(seconds=1)
        assert (health.radio_up, health.radio_since) == (True, health.since)
        assert 900_000 < health.flash_free < 1_000_000
        assert (health.flash_refusal, health.alerts_waiting, health.alerts_since) == ("", 0, None)
        assert decode(encode(state), HubState) == state


async def test_the_time_that_a_hub_is_up_is_counted_and_not_read_off_the_clock(tmp_path):
    async with world_in(tmp_path) as world:
        await world.start()
        first = await told(world, lambda state: state.online)
        await asyncio.sleep(1000.0)
        world.hub._changed()
        second = await told(world, lambda state: state.online)
        assert second.health.uptime - first.health.uptime == pytest.approx(1000.0, abs=0.2)
        assert second.health.since == first.health.since


async def test_a_radio_that_is_gone_is_told_with_the_moment_since_when(tmp_path):
    async with world_in(tmp_path) as world:
        await world.start()
        await told(world, lambda state: state.online)
        for event, is_up in (
            (RadioLost("unplugged"), False),
            (RadioLost("again"), False),
            (RadioBack(), True),
        ):
            await asyncio.sleep(60.0)
            at = world.utc.now()
            world.house.ears.event(event)
            health = (await told(world, lambda _: True)).health
            assert health.radio_up is is_up
            expected = at - timedelta(seconds=62) if event == RadioLost("again") else at
            assert timedelta(seconds=-3) < health.radio_since - expected < timedelta(seconds=3)


async def test_alerts_that_wait_for_the_broker_are_counted_before_they_come(tmp_path):
    async with world_in(tmp_path) as world:
        await world.start()
        await world.join(PPMID)
        order = []
        hear = world.head_end.receive

        async def noting(topic, payload):
            order.append(topic.rpartition("hub/")[2].partition("/")[2])
            await hear(topic, payload)

        await world.head_end.offer(image_for("PPMID", size=600), PPMID)
        await world.head_end.when(lambda: world.head_end.wanted and world.head_end.wanted[-1].complete)
        async with world.wan.away():
            await asyncio.sleep(86_400.0)
            waiting = world.hub.custody.memory.alerts
            assert len(waiting) == 2
            world.head_end.mailbox._handlers.update(dict.fromkeys(world.head_end.mailbox._handlers, noting))
            back = world.utc.now()
        # One was on its way when the broker went.
        first = await told(world, lambda state: state.online and state.health.alerts_waiting)
        assert first.health.alerts_waiting == 1
        assert timedelta(hours=23) < back - first.health.alerts_since < timedelta(hours=24)
        await told(world, lambda state: state.health.alerts_waiting == 0)
        assert [each for each in order if each == "state" or each.startswith("alert")] == [
            "alert/firmware-transfer",
            "state",
            "alert/ppmid-activation",
            "state",
        ]


async def test_however_much_happens_a_state_is_told_at_most_so_often_and_the_last_one_is_told(tmp_path):
    async with world_in(tmp_path, state_every=10.0) as world:
        await world.start()
        await told(world, lambda state: state.online)
        seen = len(world.head_end.states)
        for _ in range(1000):
            world.hub._changed()
            await asyncio.sleep(0.1)
        world.house.ears.event(RadioLost("unplugged"))
        await told(world, lambda state: not state.health.radio_up)
        assert 10 <= len(world.head_end.states) - seen <= 12
        times = [state.utc for state in world.head_end.states[seen:]]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert min(gaps) >= timedelta(seconds=9.9)


async def test_an_idle_hub_tells_no_state_again_and_again(tmp_path):
    async with world_in(tmp_path) as world:
        await world.start()
        await told(world, lambda state: state.online)
        await asyncio.sleep(5.0)
        seen = len(world.head_end.states)
        await asyncio.sleep(86_400.0)
        assert len(world.head_end.states) == seen


async def test_a_disk_that_refuses_is_told_in_the_hubs_last_words(tmp_path):
    async with world_in(tmp_path) as world:
        await world.start()
        await world.join(GSME)
        world.disk.is_full = True
        with pytest.raises(FlashError):
            world.hub.custody.change(originator_counter=9)
        last = await told(world, lambda state: not state.online)
        assert "No space left on device" in last.health.flash_refusal
        assert last.health.flash_free == 0
        with pytest.raises(FlashError):
            await world.running
        world.running = None


async def test_a_disk_that_does_not_tell_its_room_costs_nothing_but_that(tmp_path):
    async with world_in(tmp_path) as world:
        world.disk.is_silent = True
        await world.start()
        state = await told(world, lambda state: state.online)
        assert state.health.flash_free is None


async def test_the_last_will_knows_nothing_of_the_hubs_health(tmp_path):
    async with world_in(tmp_path) as world:
        await world.start()
        await told(world, lambda state: state.online)
        await world.crash()
        assert (await told(world, lambda state: not state.online)).health is None
