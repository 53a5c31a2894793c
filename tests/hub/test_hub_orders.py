"""What the user says of a download on a running hub: pause, resume, abort, terms; and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

import msgspec
import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import GSME, HCALCS, HUB, OTHER, PPMID, World, image_for, image_id

from hub.cli.program import human
from hub.hub import HubSettings
from hub.messages import ConfigureRequest, DevicesRequest, Response, TransferRequest, topic
from hub.terms import Terms
from ota.server_settings import ServerSettings

SIZE = 40_000


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    """A running hub in a house with these devices joined."""
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


async def order(world, action: str, device=PPMID) -> Response:
    return await world.head_end.ask(
        TransferRequest(device=str(device), action=action, **world.head_end.pen.stamp())
    )


async def configure(world, device=PPMID, **terms) -> Response:
    return await world.head_end.ask(
        ConfigureRequest(device=str(device), terms=Terms(**terms), **world.head_end.pen.stamp())
    )


async def state(world, device=PPMID) -> str | None:
    listed = await world.head_end.ask(DevicesRequest(**world.head_end.pen.stamp()))
    (entry,) = [each.transfer for each in listed.devices if each.device == str(device)]
    return None if entry is None else entry.state


async def half_way(world, device=PPMID, kind="PPMID") -> None:
    """Offer an image and let the device get some of it."""
    await world.head_end.offer(image_for(kind, size=SIZE), device)
    await world.head_end.when(lambda: world.head_end.progress)


def blocks(world, device=PPMID) -> int:
    return len(world.house.devices[device].offsets)


async def ends_well(world, device=PPMID) -> None:
    await world.head_end.alert("0x8F8A", device)
    offsets = world.house.devices[device].offsets
    assert offsets == sorted(set(offsets)), "it goes on where it stood"
    assert len(world.house.devices[device].downloads) == 1
    assert Counter(each.code for each in world.head_end.alerts if each.device == str(device))["0x8F89"] == 0


# Pause and resume.


async def test_a_paused_download_rests_and_goes_on_when_it_is_resumed(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        assert (await order(world, "pause")).ok
        await asyncio.sleep(1.0)
        before = blocks(world)
        await asyncio.sleep(7200.0)
        assert (blocks(world), await state(world)) == (before, "paused")
        assert (await order(world, "resume")).ok
        await ends_well(world)


async def test_a_pause_outlives_a_restart_of_the_hub(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        await order(world, "pause")
        await asyncio.sleep(1.0)
        before = blocks(world)
        await world.crash()
        await asyncio.sleep(30.0)
        await world.start()
        assert await state(world) == "paused"
        await asyncio.sleep(7200.0)
        assert blocks(world) == before
        assert (await order(world, "resume")).ok
        await ends_well(world)


async def test_an_image_can_be_paused_before_it_has_come(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.head_end.holds_back = True
        data = image_for("PPMID")
        await world.head_end.offer(data, PPMID)
        assert (await order(world, "pause")).ok
        world.head_end.holds_back = False
        await world.head_end.go_on(world.head_end.wanted[-1])
        await asyncio.sleep(3600.0)
        assert (blocks(world), await state(world)) == (0, "paused")
        await order(world, "resume")
        await ends_well(world)


async def test_a_pause_is_of_one_device_and_the_others_go_on(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID, OTHER)
        await world.head_end.when(lambda: world.head_end.progress)
        await order(world, "pause")
        await ends_well(world, OTHER)
        assert await state(world) == "paused"


async def test_the_same_order_again_changes_nothing(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        assert (await order(world, "resume")).ok
        for _ in range(3):
            assert (await order(world, "pause")).ok
        assert len([fact for fact in world.told if fact.what == "ota.paused"]) == 1
        for _ in range(3):
            assert (await order(world, "resume")).ok
        await ends_well(world)


async def test_a_pause_ends_with_its_image(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        await half_way(world)
        await order(world, "pause")
        await world.head_end.offer(image_for("GSME"), GSME)
        await world.head_end.alert("0x8F89", PPMID, response=1)
        await world.head_end.alert("0x8F8A", GSME)
        assert (await order(world, "resume")).code == "no-transfer"
        await world.head_end.offer(image_for("PPMID", version=3), PPMID, request="second")
        assert (await world.head_end.alert("0x8F8A", PPMID)).request_id == "second"


# Abort.


async def test_an_aborted_download_has_failed_and_is_told_of_once(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        assert (await order(world, "abort")).ok
        alert = await world.head_end.alert("0x8F89", PPMID, response=3)
        assert alert.reason.startswith("aborted by the user: it was notified once and had come to octet ")
        before = blocks(world)
        assert (await order(world, "abort")).code == "no-transfer"
        await world.crash()
        await world.start()
        await asyncio.sleep(7200.0)
        assert len(world.head_end.alert_ids()) == 1
        assert blocks(world) == before
        assert world.house.devices[PPMID].downloads == []


@pytest.mark.parametrize("action", ["pause", "resume", "abort"])
async def test_an_aborted_download_can_be_asked_for_again(tmp_path, action):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        await order(world, "abort")
        await world.head_end.alert("0x8F89", PPMID, response=3)
        refused = await order(world, action)
        assert (refused.code, "send a new request" in refused.reason) == ("no-transfer", True)
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID, request="again")
        assert (await world.head_end.alert("0x8F8A", PPMID)).request_id == "again"


async def test_a_paused_download_can_be_aborted(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        await order(world, "pause")
        assert (await order(world, "abort")).ok
        await world.head_end.alert("0x8F89", PPMID, response=3)
        await asyncio.sleep(7200.0)
        assert len(world.head_end.alert_ids()) == 1


async def test_an_image_that_is_still_on_the_wan_can_be_aborted_for_a_device(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        world.head_end.holds_back = True
        await world.head_end.offer(image_for("PPMID"), PPMID, OTHER)
        assert (await order(world, "abort")).ok
        await world.head_end.alert("0x8F89", PPMID, response=3)
        world.head_end.holds_back = False
        await world.head_end.go_on(world.head_end.wanted[-1])
        await ends_well(world, OTHER)
        assert blocks(world) == 0


# What cannot be.


async def test_orders_that_cannot_be_carried_out_say_why(tmp_path):
    async with home(tmp_path, PPMID, HCALCS) as world:
        for action in ("pause", "resume", "abort"):
            stranger = await order(world, action, OTHER)
            assert (stranger.code, "never admitted" in stranger.reason) == ("unknown-device", True)
            idle = await order(world, action)
            assert (idle.code, "SR 11.1 or 11.4" in idle.reason) == ("no-transfer", True)
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)
        before = world.hub.custody.memory.slots
        for action in ("pause", "resume", "abort"):
            done = await order(world, action)
            assert (done.code, "has the whole image" in done.reason) == ("no-transfer", True)
            assert (await order(world, action, HCALCS)).code == "no-transfer"
        assert world.hub.custody.memory.slots == before
        assert (await configure(world, OTHER, block_ceiling=40)).code == "unknown-device"


@pytest.mark.parametrize(
    "change",
    [
        {"action": "stop"},
        {"action": None},
        {"device": "somewhere"},
        {"device": 7},
        {"schema": 2},
    ],
)
async def test_a_malformed_order_changes_nothing_and_is_answered(tmp_path, change):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        good = TransferRequest(device=str(PPMID), action="abort", **world.head_end.pen.stamp())
        bad = {**msgspec.to_builtins(good), **change}
        await world.head_end.mailbox.publish(topic(HUB, "request/transfer"), msgspec.json.encode(bad))
        answer = await world.head_end.when(
            lambda: next((each for each in world.head_end.responses if each.in_reply_to == good.id), None)
        )
        assert (answer.verb, answer.code) == ("transfer", "malformed")
        await ends_well(world)


# Terms.


def sizes(world, device=PPMID) -> list[int]:
    return [fact.size for fact in world.told if fact.what == "ota.block" and fact.device == str(device)]


async def test_terms_count_in_mid_download_and_after_a_restart(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        answer = await configure(world, block_ceiling=40)
        assert (answer.ok, answer.terms) == (True, Terms(block_ceiling=40))
        world.told.clear()
        await asyncio.sleep(1.0)
        assert set(sizes(world)) == {40}
        await world.crash()
        await world.start()
        world.told.clear()
        await ends_well(world)
        assert set(sizes(world)[:-1]) == {40}


async def test_what_is_said_wins_over_what_is_written_until_it_is_taken_back(tmp_path):
    written = HubSettings(terms={PPMID: Terms(block_ceiling=48, stall_after=60.0)})
    async with home(tmp_path, PPMID, settings=written) as world:
        assert (await configure(world)).terms == Terms(block_ceiling=48, stall_after=60.0)
        assert (await configure(world, block_ceiling=40)).terms == Terms(block_ceiling=40, stall_after=60.0)
        both = await configure(world, acknowledged_blocks=False)
        assert both.terms == Terms(block_ceiling=40, stall_after=60.0, acknowledged_blocks=False)
        back = await configure(world, block_ceiling=None, acknowledged_blocks=None)
        assert back.terms == Terms(block_ceiling=48, stall_after=60.0)
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await ends_well(world)
        assert set(sizes(world)[:-1]) == {48}


async def test_terms_are_of_one_device(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        await configure(world, block_ceiling=40)
        await world.head_end.offer(image_for("PPMID"), PPMID, OTHER)
        await ends_well(world)
        await ends_well(world, OTHER)
        assert max(sizes(world)) == 40
        assert max(sizes(world, OTHER)) == 65


async def test_a_device_that_is_removed_takes_its_terms_along(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await configure(world, block_ceiling=40)
        memory = world.hub.custody.memory
        assert [each.terms for each in memory.devices] == [Terms(block_ceiling=40)]
        world.hub.devices.removed(PPMID)
        assert world.hub.custody.memory.devices == ()


async def test_the_image_id_of_an_aborted_download_stands_in_its_alert(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        await order(world, "abort")
        alert = await world.head_end.alert("0x8F89", PPMID, response=3)
        assert alert.image_id == image_id(image_for("PPMID", size=SIZE))


async def test_a_device_is_slowed_down_in_mid_download_and_let_go_again(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await half_way(world)
        assert (await configure(world, minimum_block_period=0.5, block_period_unit="ms")).ok
        await asyncio.sleep(5.0)
        before = blocks(world)
        await asyncio.sleep(20.0)
        assert 30 <= blocks(world) - before <= 41
        reported = [each for each in world.head_end.progress if each.state == "downloading"][-1]
        assert reported.octets_per_second < 1500
        assert (await configure(world, minimum_block_period=0.0)).terms.minimum_block_period == 0.0
        await ends_well(world)


async def test_whoever_has_to_wait_for_its_turn_is_shown_as_waiting_and_gets_it(tmp_path):
    settings = HubSettings(server=ServerSettings(downloads_at_once=1))
    async with home(tmp_path, PPMID, OTHER, settings=settings) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID, OTHER)
        await world.head_end.when(lambda: world.head_end.progress)
        await asyncio.sleep(5.0)
        states = {device: await state(world, device) for device in (PPMID, OTHER)}
        assert sorted(states.values()) == ["downloading", "waiting"]
        assert len([fact for fact in world.told if fact.what == "ota.turn-awaited"]) == 1
        await ends_well(world)
        await ends_well(world, OTHER)


async def test_whatever_is_said_of_a_download_names_device_image_and_request(tmp_path):
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(PPMID)
        data = image_for("PPMID")
        await world.head_end.offer(data, PPMID)
        await world.head_end.alert("0x8F8B", PPMID)
        for what in ("ota.started", "ota.completed"):
            (fact,) = [fact for fact in world.told if fact.what == what]
            assert fact.fields["device"] == str(PPMID)
            assert fact.fields["image"] == image_id(data)
            assert fact.fields["request"] == f"r-{image_id(data)[:8]}"
            line = human(fact)
            assert f"image={image_id(data)[:12]} " in line
            assert "\n" not in line
            assert "\x1b" not in line
