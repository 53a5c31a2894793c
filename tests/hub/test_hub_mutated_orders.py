"""Thousands of damaged orders from the broker at a running hub: it refuses them, and nothing else happens."""

from __future__ import annotations

import asyncio
import random

import msgspec
from hub_faulty_disk import FaultyDisk
from hub_world import HUB, OTHER, PPMID, World, image_for
from mutation import mutated

from hub.messages import ConfigureRequest, MessageError, TransferRequest, decode, encode, topic
from hub.terms import Terms

ORDERS = 6_000
ODD = (None, True, -1, 0, 0.0, 1e308, 66, 2**70, "", "probe", "pause", "\u0000", [], {}, "9" * 600, [[[]]])


def whole(dice: random.Random, pen) -> TransferRequest | ConfigureRequest:
    device = str(dice.choice([PPMID, OTHER]))
    if dice.random() < 0.5:
        return TransferRequest(device=device, action=dice.choice(["pause", "resume", "abort"]), **pen.stamp())
    terms = Terms(block_ceiling=dice.choice([None, 40]), minimum_block_period=0.5, stall_after=60.0)
    return ConfigureRequest(device=device, terms=terms, **pen.stamp())


def damaged(order, dice: random.Random) -> bytes:
    """Octets damaged, or a field taken away, put in or replaced by what it cannot be."""
    if dice.random() < 0.4:
        return mutated(encode(order), dice)
    fields = msgspec.to_builtins(order)
    inner = fields["terms"] if "terms" in fields and dice.random() < 0.6 else fields
    name = dice.choice([*inner, "further"])
    if dice.random() < 0.3:
        inner.pop(name, None)
    else:
        inner[name] = dice.choice(ODD)
    return msgspec.json.encode(fields)


def is_good(kind, payload: bytes) -> bool:
    """Whether the damage left an order that a hub is right to obey."""
    try:
        decode(payload, kind)
    except MessageError:
        return False
    return True


async def test_thousands_of_damaged_orders_change_nothing_and_break_nothing(tmp_path):
    dice, failures = random.Random(17), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(PPMID, OTHER)
        world.house.devices[PPMID].power_off()
        await world.head_end.offer(image_for("PPMID", size=5000), PPMID)
        await asyncio.sleep(60.0)
        before, refused = world.hub.custody.memory, 0
        for _ in range(ORDERS):
            order = whole(dice, world.head_end.pen)
            payload = damaged(order, dice)
            if is_good(type(order), payload):
                continue
            refused += 1
            try:
                await world.hub._desk.receive(topic(HUB, order.TOPIC), payload)
            except MessageError:
                continue
            raise AssertionError(payload)
        await asyncio.sleep(1.0)
        assert refused > ORDERS // 2
        assert world.hub.custody.memory == before
        assert failures == []
        answers = [each for each in world.head_end.responses if each.code == "malformed"]
        assert answers, "whoever can be told is told"

        # And it obeys a good one.
        order = TransferRequest(device=str(PPMID), action="abort", **world.head_end.pen.stamp())
        assert (await world.head_end.ask(order)).ok


async def test_whatever_is_obeyed_in_whatever_order_each_download_ends_once(tmp_path):
    """Pauses, resumes, aborts and terms at random moments of downloads, with restarts of the hub between."""
    for seed in range(12):
        dice = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        async with World(folder, FaultyDisk(random.Random(seed))) as world:
            await world.start()
            await world.join(PPMID, OTHER)
            await world.head_end.offer(image_for("PPMID", size=20_000), PPMID, OTHER)
            for _ in range(25):
                await asyncio.sleep(dice.uniform(0.0, 2.0))
                if dice.random() < 0.1:
                    await world.crash()
                    await world.start()
                answer = await world.head_end.ask(whole(dice, world.head_end.pen))
                assert answer.code in ("ok", "no-transfer"), answer
            for device in (PPMID, OTHER):
                for fields in (
                    TransferRequest(device=str(device), action="resume", **world.head_end.pen.stamp()),
                    ConfigureRequest(
                        device=str(device),
                        terms=Terms(minimum_block_period=None),
                        **world.head_end.pen.stamp(),
                    ),
                ):
                    await world.head_end.ask(fields)
            await world.head_end.when(lambda: not any(held.unfinished for held in world.hub.custody.images()))
            await asyncio.sleep(60.0)
            ended = {}
            for alert in world.head_end.alerts:
                if alert.code in ("0x8F8A", "0x8F89"):
                    ended.setdefault(alert.device, set()).add((alert.id, alert.code))
            assert {device: len(ends) for device, ends in ended.items()} == {str(PPMID): 1, str(OTHER): 1}
            for device in (PPMID, OTHER):
                ((_, code),) = ended[str(device)]
                assert len(world.house.devices[device].downloads) == (code == "0x8F8A"), seed
