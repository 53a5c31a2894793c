"""The hub may die at any step of an update; the request ends well, and each alert is told once.

A step is a frame on the air, or one operation of the disk. Nothing of the hub survives but its disk, and of
that only what was synchronised. The head end asks again when it gets no answer, as a CSP does.
"""

import asyncio
import contextlib
import random
from datetime import datetime, timedelta

import pytest
from hub_faulty_disk import FaultyDisk, PowerCutError
from hub_world import ESME, GSME, HCALCS, PPMID, World, cs06, image_for, image_hash

from han.gbcs.payloads import CANCEL
from hub.errors import SurroundingsError
from hub.messages import ActivateRequest, TransferRequest

PPMID_IMAGE = image_for("PPMID", size=300)
HCALCS_IMAGE = image_for("HCALCS", size=200)
GSME_IMAGE = image_for("GSME", size=200)
ESME_IMAGE = image_for("ESME", size=200)


async def update_a_ppmid(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await head_end.alert("0x8F8A", PPMID)
    await head_end.alert("0x8F8B", PPMID)


async def update_an_hcalcs(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    await head_end.insist(lambda: head_end.offer(HCALCS_IMAGE, HCALCS))
    await head_end.alert("0x8F8A", HCALCS)
    await head_end.insist(
        lambda: head_end.ask(
            ActivateRequest(
                request_id="activate-1",
                device=str(HCALCS),
                gbcs=cs06(HCALCS, image_hash("HCALCS", HCALCS_IMAGE)),
                **head_end.pen.stamp(),
            )
        )
    )
    await head_end.alert("CS06", HCALCS)


async def update_an_esme_and_a_ppmid_while_gas_takes_the_shared_slot(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    world.house.devices[PPMID].power_off()
    await head_end.insist(lambda: head_end.offer(ESME_IMAGE, ESME))
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await asyncio.sleep(1.0)
    await head_end.insist(lambda: head_end.offer(GSME_IMAGE, GSME))
    for device in (ESME, GSME):
        await head_end.alert("0x8F8A", device)


async def activate_for_later_then_cancel_and_activate_again(world: World) -> None:
    head_end, device = world.head_end, world.house.devices[HCALCS]
    await head_end.insist(lambda: head_end.offer(HCALCS_IMAGE, HCALCS))
    await head_end.alert("0x8F8A", HCALCS)
    digest = image_hash("HCALCS", HCALCS_IMAGE)
    soon = device.house.utc.now() + timedelta(minutes=20)
    for counter, when in enumerate((soon, CANCEL, soon), 1):

        def command(counter: int = counter, when: datetime = when) -> ActivateRequest:
            return ActivateRequest(
                request_id=f"activate-{counter}",
                device=str(HCALCS),
                gbcs=cs06(HCALCS, digest, counter, when),
                **head_end.pen.stamp(),
            )

        await head_end.insist(lambda command=command: head_end.ask(command()))
        await head_end.when(
            lambda request=f"activate-{counter}": [
                each for each in head_end.alerts if getattr(each, "request_id", "") == request
            ]
        )
    await head_end.alert("0x8F66", HCALCS)


async def preempt_an_image_that_nobody_has_collected_yet(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    world.house.devices[PPMID].power_off()

    async def stored() -> None:
        await head_end.offer(PPMID_IMAGE, PPMID)
        await head_end.when(lambda: any(wanted.complete for wanted in head_end.wanted))

    await head_end.insist(stored)
    await head_end.insist(lambda: head_end.offer(GSME_IMAGE, GSME))
    await head_end.alert("0x8F89", PPMID, 1)
    await head_end.alert("0x8F8A", GSME)


async def pause_a_download_and_abort_it(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    device = world.house.devices[PPMID]

    async def order(action: str) -> None:
        await head_end.insist(
            lambda: head_end.ask(TransferRequest(device=str(PPMID), action=action, **head_end.pen.stamp()))
        )

    head_end.holds_back = True
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await order("pause")
    head_end.holds_back = False
    await head_end.go_on(head_end.wanted[-1])
    await head_end.when(lambda: any(each.image and each.image.stage == "stored" for each in head_end.states))
    await asyncio.sleep(600.0)
    assert device.offsets == [], "it stays paused, whenever the power goes"
    await order("abort")
    await head_end.alert("0x8F89", PPMID, 3)


async def keep_the_hub_up(world: World, has_died: asyncio.Event) -> None:
    """A power supply that comes back after a while, as often as needed."""
    while True:
        await has_died.wait()
        has_died.clear()
        await world.hub.crash()
        with contextlib.suppress(PowerCutError, BaseExceptionGroup):
            await world.stop()
        world.disk.power_back()
        await asyncio.sleep(20.0)
        with contextlib.suppress(SurroundingsError):
            await world.start()
        assert all(held.image_id in world.head_end.images for held in world.hub.custody.images())


async def with_a_crash(tmp_path, story, *devices, at_frame=None, at_disk_step=None, seed=0) -> World:
    """Tell the story to its end with one crash; gives the world as it then is."""
    disk = FaultyDisk(random.Random(seed))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: (
            None
            if isinstance(context.get("exception"), PowerCutError)
            else loop.default_exception_handler(context)
        )
    )
    async with World(tmp_path, disk) as world:
        has_died = asyncio.Event()
        await world.start()
        await world.join(*devices)
        start = world.house.frames, disk.steps

        def die() -> None:
            world.hub.halt()
            world.house.ears = None
            has_died.set()

        def frame(number: int) -> None:
            if at_frame is not None and number == start[0] + at_frame:
                die()

        world.house.on_frame = frame
        if at_disk_step is not None:
            disk.steps_left = at_disk_step
            disk.on_cut = die
        supply = asyncio.create_task(keep_the_hub_up(world, has_died))
        try:
            await story(world)
            await asyncio.sleep(120.0)
        finally:
            supply.cancel()
        world.steps = world.house.frames - start[0], disk.steps - start[1]
        return world


def judge(world: World, device, codes) -> None:
    """One terminal outcome, each alert once, nothing said that did not hold, nothing downloaded twice."""
    told = {alert.id: (alert.code, alert.response) for alert in world.head_end.alerts}
    assert sorted(told.values()) == sorted((code, 0) for code in codes)
    raised = [fact.id for fact in world.told if fact.what == "alert.raised"]
    assert len(raised) == len(set(raised)), "it is said of an alert when that is safe, and so only once"
    state = world.house.devices[device]
    assert state.version == 2
    assert len(state.downloads) == 1
    assert state.offsets == sorted(set(state.offsets)), "it goes on where it stood"


STORIES = [
    (update_a_ppmid, PPMID, ["0x8F8A", "0x8F8B"]),
    (update_an_hcalcs, HCALCS, ["0x8F8A", "CS06"]),
]


@pytest.mark.parametrize(("story", "device", "codes"), STORIES, ids=["PPMID", "HCALCS"])
async def test_the_hub_may_crash_at_every_frame(tmp_path, story, device, codes):
    (tmp_path / "0").mkdir()
    frames, _ = (await with_a_crash(tmp_path / "0", story, device)).steps
    for number in range(1, min(frames, 60)):
        (tmp_path / str(number)).mkdir()
        judge(await with_a_crash(tmp_path / str(number), story, device, at_frame=number), device, codes)


@pytest.mark.parametrize(("story", "device", "codes"), STORIES, ids=["PPMID", "HCALCS"])
async def test_the_power_may_go_at_every_step_of_the_disk(tmp_path, story, device, codes):
    (tmp_path / "0").mkdir()
    _, steps = (await with_a_crash(tmp_path / "0", story, device)).steps
    for number in range(1, steps + 1):
        (tmp_path / str(number)).mkdir()
        world = await with_a_crash(tmp_path / str(number), story, device, at_disk_step=number, seed=number)
        judge(world, device, codes)


async def test_the_power_may_go_at_every_step_of_dated_and_cancelled_activations(tmp_path):
    story = activate_for_later_then_cancel_and_activate_again
    (tmp_path / "0").mkdir()
    _, steps = (await with_a_crash(tmp_path / "0", story, HCALCS)).steps
    for number in range(steps // 3, steps + 1):  # before that it is an update like another
        (tmp_path / str(number)).mkdir()
        world = await with_a_crash(tmp_path / str(number), story, HCALCS, at_disk_step=number, seed=number)
        told = {alert.id: alert for alert in world.head_end.alerts if alert.TOPIC == "alert/activation"}
        assert sorted((each.request_id, each.code, each.response) for each in told.values()) == [
            ("activate-1", "CS06", None),
            ("activate-2", "CS06", None),
            ("activate-3", "0x8F66", 0),
            ("activate-3", "CS06", None),
        ], number
        memory = world.hub.custody.memory
        assert (memory.activations, memory.alerts) == ((), ()), number
        assert world.house.devices[HCALCS].version == 2, number


async def test_the_power_may_go_at_every_step_of_a_preemption(tmp_path):
    story = preempt_an_image_that_nobody_has_collected_yet
    (tmp_path / "0").mkdir()
    _, steps = (await with_a_crash(tmp_path / "0", story, PPMID, GSME)).steps
    for number in range(1, steps + 1):
        (tmp_path / str(number)).mkdir()
        world = await with_a_crash(
            tmp_path / str(number), story, PPMID, GSME, at_disk_step=number, seed=number
        )
        told = {alert.id: (alert.code, alert.device, alert.response) for alert in world.head_end.alerts}
        assert sorted(told.values()) == [("0x8F89", str(PPMID), 1), ("0x8F8A", str(GSME), 0)], number
        assert len(world.house.devices[GSME].downloads) == 1


async def test_the_power_may_go_at_every_third_step_of_updates_in_both_slots(tmp_path):
    """Every step of the disk alone is tried in test_flash; here alerts and devices are looked at too."""
    story = update_an_esme_and_a_ppmid_while_gas_takes_the_shared_slot
    (tmp_path / "0").mkdir()
    _, steps = (await with_a_crash(tmp_path / "0", story, ESME, PPMID, GSME)).steps
    assert steps > 100
    for number in range(1, steps + 1, 3):
        (tmp_path / str(number)).mkdir()
        world = await with_a_crash(
            tmp_path / str(number), story, ESME, PPMID, GSME, at_disk_step=number, seed=number
        )
        told = {alert.id: (alert.code, alert.device, alert.response) for alert in world.head_end.alerts}
        assert sorted(told.values()) == [
            ("0x8F89", str(PPMID), 1),
            ("0x8F8A", str(ESME), 0),
            ("0x8F8A", str(GSME), 0),
        ], number
        assert world.house.devices[ESME].downloads == [ESME_IMAGE], number
        assert world.house.devices[GSME].downloads == [GSME_IMAGE], number


async def test_the_power_may_go_at_every_step_of_a_pause_and_an_abort(tmp_path):
    story = pause_a_download_and_abort_it
    (tmp_path / "0").mkdir()
    _, steps = (await with_a_crash(tmp_path / "0", story, PPMID)).steps
    for number in range(1, steps + 1):
        (tmp_path / str(number)).mkdir()
        world = await with_a_crash(tmp_path / str(number), story, PPMID, at_disk_step=number, seed=number)
        told = {alert.id: alert for alert in world.head_end.alerts}
        [alert] = told.values()
        assert (alert.code, alert.response) == ("0x8F89", 3), number
        assert alert.reason.startswith("aborted by the user"), number
        assert world.house.devices[PPMID].downloads == []
