"""Two slots: what happens to an ESME's image is nothing to the image that GSME, PPMID and HCALCS share."""

import asyncio
import contextlib
import itertools
import random

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import ESME, GSME, HCALCS, OTHER, PPMID, World, cs06, image_for, image_hash, image_id

from han.zcl import OTA_CLUSTER, ZclFrame, decode_ota
from hub.hub import HubSettings
from hub.messages import ActivateRequest, DevicesRequest, RemoveRequest, TransferRequest
from hub.slot import DAY, DeleteWhen, SlotName, SlotSettings
from ota.commands import UpgradeEndResponse

ELECTRIC = image_for("ESME", size=4000)
DISPLAY = image_for("PPMID", size=4000)


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    """A running hub in a house with these devices joined."""
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


def shown(world):
    """What the hub last told of its slots, the shared one first: stage and octets received."""
    state = world.head_end.states[-1]
    return [
        None if each is None else (each.image_id, each.stage, each.received)
        for each in (state.image, state.esme_image)
    ]


def discards(world):
    return {alert.device for alert in world.head_end.alerts if alert.code == "0x8F89"}


async def stored(world, data):
    await world.head_end.when(
        lambda: [each for each in world.head_end.wanted if each.complete and each.image_id == image_id(data)]
    )


async def test_an_esme_image_and_a_ppmid_image_are_served_side_by_side(tmp_path):
    async with home(tmp_path, ESME, PPMID) as world:
        assert (await world.head_end.offer(ELECTRIC, ESME)).ok
        assert (await world.head_end.offer(DISPLAY, PPMID)).ok
        await world.head_end.alert("0x8F8A", ESME)
        await world.head_end.alert("0x8F8A", PPMID)
        assert world.house.devices[ESME].downloads == [ELECTRIC]
        assert world.house.devices[PPMID].downloads == [DISPLAY]
        blocks = [fact.device for fact in world.told if fact.what == "ota.block"]
        turns = sum(before != after for before, after in itertools.pairwise(blocks))
        assert turns > 20, "neither waits until the other has its image"
        assert discards(world) == set()


async def test_an_esme_is_told_to_wait_with_wildcards_and_activates_when_it_is_told_to(tmp_path):
    async with home(tmp_path, ESME) as world:
        device, answers = world.house.devices[ESME], []
        hear = device.hear

        def overhear(cluster, zcl, **how):
            frame = ZclFrame.parse(zcl)
            if cluster == OTA_CLUSTER and frame.is_cluster_command:
                answers.append(decode_ota(frame))
            hear(cluster, zcl, **how)

        device.hear = overhear
        await world.head_end.offer(ELECTRIC, ESME)
        await world.head_end.alert("0x8F8A", ESME)
        await asyncio.sleep(60.0)
        ends = {each for each in answers if isinstance(each, UpgradeEndResponse)}
        wait = UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        assert ends == {wait}, "all wildcards: GBCS 11.2.1"
        assert device.version == 1
        request = ActivateRequest(
            request_id="activate-1",
            device=str(ESME),
            gbcs=cs06(ESME, image_hash("ESME", ELECTRIC)),
            **world.head_end.pen.stamp(),
        )
        assert (await world.head_end.ask(request)).ok
        await world.head_end.alert("CS06", ESME)
        assert device.version == 2


@pytest.mark.parametrize("when", ["arriving", "stored", "being fetched"])
async def test_a_gas_image_takes_the_shared_slot_and_leaves_the_esme_image_alone(tmp_path, when):
    async with home(tmp_path, ESME, PPMID, GSME) as world:
        electric, display = image_for("ESME", size=40_000), image_for("PPMID", size=40_000)
        if when == "stored":
            for device in (ESME, PPMID):
                world.house.devices[device].power_off()
        world.head_end.holds_back = when == "arriving"
        await world.head_end.offer(electric, ESME)
        await world.head_end.offer(display, PPMID)
        if when == "arriving":
            await world.head_end.chunk(image_id(electric), 0, electric[:500])
            await world.head_end.chunk(image_id(display), 0, display[:500])
            world.head_end.holds_back = False
        else:
            await stored(world, electric)
            await stored(world, display)
        if when == "being fetched":
            await world.head_end.when(lambda: len({each.device for each in world.head_end.progress}) == 2)
        gas = image_for("GSME")
        assert (await world.head_end.offer(gas, GSME)).ok
        await world.head_end.alert("0x8F8A", GSME)
        if when == "arriving":
            await world.head_end.go_on(world.hub.custody.stand(image_id(electric)))
        if when != "stored":
            await world.head_end.alert("0x8F8A", ESME)
            assert world.house.devices[ESME].downloads == [electric]
            assert world.house.devices[ESME].offsets == sorted(set(world.house.devices[ESME].offsets))
        await world.head_end.when(lambda: shown(world)[0] is not None and shown(world)[0][0] == image_id(gas))
        assert shown(world)[1] == (image_id(electric), "stored", len(electric))
        assert discards(world) == {str(PPMID)}
        assert [fact.image for fact in world.told if fact.what == "slot.preempted"] == [image_id(display)]


async def test_a_full_slot_of_one_kind_is_no_reason_to_refuse_the_other(tmp_path):
    async with home(tmp_path, ESME, GSME, PPMID) as world:
        for device in (ESME, GSME):
            world.house.devices[device].power_off()
        assert (await world.head_end.offer(image_for("GSME"), GSME)).ok
        assert (await world.head_end.offer(ELECTRIC, ESME)).ok
        assert (await world.head_end.offer(DISPLAY, PPMID)).code == "too-busy"
        second = await world.head_end.offer(image_for("ESME", version=3), ESME)
        assert (second.code, "same priority" in second.reason) == ("too-busy", True)
        assert discards(world) == set()


async def test_pieces_of_both_images_come_by_turns(tmp_path):
    async with home(tmp_path, ESME, PPMID) as world:
        world.head_end.holds_back = True
        await world.head_end.offer(ELECTRIC, ESME)
        await world.head_end.offer(DISPLAY, PPMID)
        await world.head_end.when(lambda: len(world.head_end.wanted) == 2)
        dice, at = random.Random(5), {ELECTRIC: 0, DISPLAY: 0}
        while any(offset < len(data) for data, offset in at.items()):
            data = dice.choice([each for each in at if at[each] < len(each)])
            heard = len(world.head_end.wanted)
            await world.head_end.chunk(image_id(data), at[data], data[at[data] : at[data] + 333])
            await world.head_end.when(lambda heard=heard: len(world.head_end.wanted) > heard)
            answer = world.head_end.wanted[-1]
            at[data] = min(len(data), at[data] + 333)
            assert (answer.image_id, answer.code, answer.offset) == (image_id(data), "ok", at[data])
        await world.head_end.alert("0x8F8A", ESME)
        await world.head_end.alert("0x8F8A", PPMID)
        assert world.house.devices[ESME].downloads == [ELECTRIC]
        assert world.house.devices[PPMID].downloads == [DISPLAY]


async def test_after_a_power_cut_both_slots_are_as_they_were(tmp_path):
    async with home(tmp_path, ESME, PPMID) as world:
        world.house.devices[PPMID].power_off()
        world.head_end.holds_back = True
        await world.head_end.offer(ELECTRIC, ESME)
        await world.head_end.offer(DISPLAY, PPMID)
        for offset in range(0, len(DISPLAY), 500):
            await world.head_end.chunk(image_id(DISPLAY), offset, DISPLAY[offset : offset + 500])
        await world.head_end.chunk(image_id(ELECTRIC), 0, ELECTRIC[:700])
        await stored(world, DISPLAY)
        await world.head_end.when(
            lambda: [
                each for each in world.head_end.wanted if each.image_id == image_id(ELECTRIC) and each.offset
            ]
        )
        before = {slot: world.hub.custody.picture(slot) for slot in SlotName}
        await world.crash()
        world.disk.power_back()
        await asyncio.sleep(3600.0)
        told = len(world.head_end.wanted)
        world.head_end.holds_back = False
        await world.start()
        assert {slot: world.hub.custody.picture(slot) for slot in SlotName} == before
        await world.head_end.when(lambda: len(world.head_end.wanted) > told)
        again = world.head_end.wanted[told]
        assert (again.image_id, again.offset) == (image_id(ELECTRIC), 700), "only this one is still wanted"
        await world.head_end.alert("0x8F8A", ESME)
        assert world.hub.custody.image(image_id(DISPLAY)) == DISPLAY


async def test_both_downloads_go_on_after_a_power_cut_where_they_stood(tmp_path):
    async with home(tmp_path, ESME, PPMID) as world:
        electric, display = image_for("ESME", size=30_000), image_for("PPMID", size=30_000)
        await world.head_end.offer(electric, ESME)
        await world.head_end.offer(display, PPMID)
        devices = [world.house.devices[each] for each in (ESME, PPMID)]
        await world.head_end.when(lambda: all(len(each.offsets) > 100 for each in devices))
        assert not any(each.downloads for each in devices)
        await world.crash()
        world.disk.power_back()
        await world.start()
        await world.head_end.alert("0x8F8A", ESME)
        await world.head_end.alert("0x8F8A", PPMID)
        assert [each.downloads for each in devices] == [[electric], [display]]
        for each in devices:
            assert each.offsets == sorted(set(each.offsets)), "no octet is fetched twice"


async def test_an_offer_for_devices_of_both_slots_is_refused_by_name(tmp_path):
    async with home(tmp_path, ESME, GSME, HCALCS) as world:
        for other, kind in ((GSME, "GSME"), (HCALCS, "HCALCS")):
            answer = await world.head_end.offer(ELECTRIC, ESME, other)
            assert (answer.ok, answer.code) == (False, "unsupported-device-type")
            assert "ESME in the esme slot" in answer.reason
            assert f"{kind} in the shared slot" in answer.reason
        assert not list(world.hub.custody.images())


async def test_an_image_that_waits_in_one_slot_is_not_taken_into_the_other(tmp_path):
    async with home(tmp_path, ESME, HCALCS) as world:
        world.house.devices[ESME].power_off()
        await world.head_end.offer(ELECTRIC, ESME)
        await stored(world, ELECTRIC)
        refused = await world.head_end.offer(ELECTRIC, HCALCS, request="again")
        assert (refused.code, "one slot" in refused.reason) == ("unsupported-device-type", True)
        assert world.hub.custody.image(image_id(ELECTRIC)) == ELECTRIC
        assert discards(world) == set()


async def test_an_image_that_nobody_needs_in_one_slot_makes_room_for_itself_in_the_other(tmp_path):
    async with home(tmp_path, ESME, HCALCS) as world:
        data = image_for("HCALCS", size=3000)
        world.house.devices[ESME].power_off()
        await world.head_end.offer(data, ESME, request="by mistake")
        await stored(world, data)
        abort = TransferRequest(device=str(ESME), action="abort", **world.head_end.pen.stamp())
        assert (await world.head_end.ask(abort)).ok
        await world.head_end.alert("0x8F89", ESME, response=3)
        assert (await world.head_end.offer(data, HCALCS, request="as meant")).ok
        await world.head_end.alert("0x8F8A", HCALCS)
        assert world.house.devices[HCALCS].downloads == [data]
        assert world.hub.custody.picture(SlotName.ESME) is None
        assert len([alert for alert in world.head_end.alerts if alert.device == str(ESME)]) == 1


async def test_what_is_no_upgrade_file_leaves_its_own_slot_only(tmp_path):
    async with home(tmp_path, ESME, PPMID) as world:
        world.house.devices[PPMID].power_off()
        await world.head_end.offer(DISPLAY, PPMID)
        await stored(world, DISPLAY)
        await world.head_end.offer(ELECTRIC[:-1] + b"\0\0", ESME)
        alert = await world.head_end.alert("0x8F89", ESME, response=1)
        assert "not a valid upgrade file" in alert.reason
        assert discards(world) == {str(ESME)}
        assert world.hub.custody.image(image_id(DISPLAY)) == DISPLAY
        assert (await world.head_end.offer(ELECTRIC, ESME)).ok
        await world.head_end.alert("0x8F8A", ESME)


async def test_each_slot_has_its_own_retention(tmp_path):
    settings = HubSettings(slot=SlotSettings(delete_when=DeleteWhen.AT_EXPIRY))
    async with home(tmp_path, ESME, PPMID, settings=settings) as world:
        for device in (ESME, PPMID):
            world.house.devices[device].power_off()
        await world.head_end.offer(ELECTRIC, ESME)
        await asyncio.sleep(3 * DAY)
        await world.head_end.offer(DISPLAY, PPMID)
        await asyncio.sleep(11.1 * DAY)
        alert = await world.head_end.alert("0x8F89", ESME, response=1)
        assert alert.reason == "its retention had passed"
        assert discards(world) == {str(ESME)}
        assert [each.image_id for each in world.hub.custody.images()] == [image_id(DISPLAY)]
        await asyncio.sleep(3 * DAY)
        assert discards(world) == {str(ESME), str(PPMID)}
        assert not list(world.hub.custody.images())


async def test_each_slot_has_its_own_size(tmp_path):
    settings = HubSettings(slot=SlotSettings(capacity=1000, esme_capacity=5000))
    async with home(tmp_path, ESME, PPMID, settings=settings) as world:
        refused = await world.head_end.offer(DISPLAY, PPMID)
        assert (refused.code, "the slot 1000" in refused.reason) == ("too-large", True)
        assert (await world.head_end.offer(ELECTRIC, ESME)).ok
        refused = await world.head_end.offer(image_for("ESME", version=3, size=5000), ESME)
        assert (refused.code, "the slot 5000" in refused.reason) == ("too-large", True)


async def test_a_download_is_paused_and_an_esme_removed_without_a_word_to_the_other(tmp_path):
    async with home(tmp_path, ESME, PPMID, OTHER) as world:
        electric = image_for("ESME", size=30_000)
        await world.head_end.offer(electric, ESME)
        await world.head_end.when(lambda: world.head_end.progress)
        pause = TransferRequest(device=str(ESME), action="pause", **world.head_end.pen.stamp())
        assert (await world.head_end.ask(pause)).ok
        await world.head_end.offer(DISPLAY, PPMID, OTHER)
        await world.head_end.alert("0x8F8A", PPMID)
        await world.head_end.alert("0x8F8A", OTHER)
        assert world.house.devices[ESME].downloads == []
        answer = await world.head_end.ask(DevicesRequest(**world.head_end.pen.stamp()))
        told = {each.device: (each.transfer.state, each.transfer.image_id) for each in answer.devices}
        assert told == {
            str(ESME): ("paused", image_id(electric)),
            str(PPMID): ("complete", image_id(DISPLAY)),
            str(OTHER): ("complete", image_id(DISPLAY)),
        }
        assert (await world.head_end.ask(RemoveRequest(device=str(ESME), **world.head_end.pen.stamp()))).ok
        await world.head_end.alert("0x8F89", ESME, response=3)
        assert discards(world) == {str(ESME)}


async def test_gas_at_any_moment_costs_the_esme_nothing(tmp_path):
    """A GSME's image is offered at seeded moments while an ESME and a PPMID are being updated."""
    discarded = 0
    for seed in range(25):
        dice = random.Random(f"gas {seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        async with home(folder, ESME, PPMID, GSME, loss=0.02) as world:
            electric, display = image_for("ESME", size=8000), image_for("PPMID", size=8000)
            await world.head_end.offer(electric, ESME)
            await world.head_end.offer(display, PPMID)
            await asyncio.sleep(dice.uniform(0.0, 180.0))
            if dice.random() < 0.3:
                await world.crash()
                world.disk.power_back()
                await world.start()
            await world.head_end.insist(lambda world=world: world.head_end.offer(image_for("GSME"), GSME))
            for device in (ESME, GSME):
                await world.head_end.alert("0x8F8A", device)
            await world.head_end.when(
                lambda world=world: [
                    each
                    for each in world.head_end.alerts
                    if each.device == str(PPMID) and each.code in ("0x8F8A", "0x8F89")
                ]
            )
            await asyncio.sleep(60.0)
            assert world.house.devices[ESME].downloads == [electric]
            ended = {each.id: (each.device, each.code) for each in world.head_end.alerts}
            ends = [each for each in ended.values() if each[1] in ("0x8F8A", "0x8F89")]
            assert sorted(device for device, _ in ends) == sorted([str(ESME), str(PPMID), str(GSME)])
            discarded += (str(PPMID), "0x8F89") in ends
    assert 5 < discarded < 20, f"{discarded} moments before and after the PPMID had its image were tried"
