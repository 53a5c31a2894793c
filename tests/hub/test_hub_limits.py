"""A broker that is away for days: alerts keep their order, the disk its bound, nothing taken is forgotten."""

import asyncio
import contextlib
import random
from datetime import timedelta

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import ESME, GSME, HCALCS, HUB, OTHER, PPMID, World, cs06, image_for, image_id

from han.gbcs.codes import MessageCode
from han.gbcs.messages import ppmid_activation, receipt_alert
from han.gbcs.payloads import FirmwareActivationAlert
from han.gbcs.receipt import ReceiptAlert
from hub.flash import MEMORY
from hub.hub import HubSettings
from hub.limits import Limits, backlog, flood, overload
from hub.memory import Memory, PendingActivation, QueuedAlert
from hub.messages import ActivateRequest, ImageOffer, Target, encode, topic_of
from hub.slot import DAY

SMALL = HubSettings(limits=Limits(alerts_waiting=6, alerts_of_device=4, commands_of_device=3))


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, settings=SMALL, **more):
    async with World(tmp_path, FaultyDisk(random.Random(1)), settings=settings, **more) as world:
        await world.start()
        await world.join(*devices)
        yield world


def cs09(world, device, counter) -> bytes:
    alert = FirmwareActivationAlert(world.utc.now().replace(microsecond=0), counter, is_success=True)
    return ppmid_activation(device, counter, alert).to_bytes()


async def put_at_the_desk(world, message) -> None:
    """As if the broker had brought it, which is away."""
    await world.hub._desk.receive(topic_of(HUB, message), encode(message))


def offer(world, data, device, kind, request="r-late") -> ImageOffer:
    return ImageOffer(
        request_id=request,
        service_request="11.4" if kind == "PPMID" else "11.1",
        image_id=image_id(data),
        size=len(data),
        chunk_size=500,
        targets=(Target(device=str(device), device_type=kind),),
        **world.head_end.pen.stamp(),
    )


def activation(world, name, counter, when=None) -> ActivateRequest:
    gbcs = cs06(HCALCS, "ab" * 32, counter, when)
    return ActivateRequest(request_id=name, device=str(HCALCS), gbcs=gbcs, **world.head_end.pen.stamp())


def answers(world, verb):
    return [each.code for each in world.head_end.responses if each.verb == verb]


async def test_alerts_of_days_without_a_broker_arrive_in_order_and_each_once(tmp_path):
    async with home(tmp_path, PPMID, GSME, settings=HubSettings()) as world:
        told = []
        async with world.wan.away():
            for day in range(7):
                for device, message in (
                    (PPMID, cs09(world, PPMID, day + 1)),
                    (
                        GSME,
                        receipt_alert(
                            GSME,
                            day + 1,
                            MessageCode.RECEIPT_GSME,
                            ReceiptAlert(0x8F72, world.utc.now().replace(microsecond=0), bytes(32)),
                        ).to_bytes(),
                    ),
                ):
                    world.house.devices[device].tell(message)
                    told.append(message.hex())
                    await asyncio.sleep(60.0)
                await asyncio.sleep(DAY)
            await world.crash()
        await world.start()
        await world.head_end.when(lambda: len(world.head_end.alert_ids()) == 14, within=DAY)
        arrived = {alert.id: alert.gbcs for alert in world.head_end.alerts}
        assert list(arrived.values()) == told


async def test_a_device_that_floods_fills_its_own_share_and_no_more(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        async with world.wan.away():
            sizes = []
            for counter in range(1, 41):
                world.house.devices[PPMID].tell(cs09(world, PPMID, counter))
                await asyncio.sleep(60.0)
                sizes.append(len(world.disk.read(MEMORY)))
            world.house.devices[OTHER].tell(cs09(world, OTHER, 1))
            await asyncio.sleep(60.0)
            assert len(world.hub.custody.memory.alerts) == 5
            assert max(sizes[4:]) == min(sizes[4:]), "the disk does not fill"
            dropped = [why for why in world.whys("gbcs.refused") if why.startswith("dropped: 4 alerts")]
            assert len(dropped) == 36
        await world.head_end.when(lambda: len(world.head_end.alert_ids()) == 5)
        assert [alert.file_version for alert in world.head_end.alerts if alert.device == str(PPMID)] == [
            f"{counter:08X}" for counter in range(1, 5)
        ]


async def test_an_alert_that_repeats_is_no_flood(tmp_path):
    async with home(tmp_path, PPMID) as world:
        async with world.wan.away():
            for _ in range(40):
                world.house.devices[PPMID].tell(cs09(world, PPMID, 1))
            await asyncio.sleep(60.0)
        assert world.whys("gbcs.refused") == []


async def test_an_overloaded_hub_takes_nothing_new_and_answers_what_it_took_before(tmp_path):
    async with home(tmp_path, PPMID, OTHER, HCALCS, GSME) as world:
        known = image_for("HCALCS")
        world.house.devices[HCALCS].power_off()
        await world.head_end.offer(known, HCALCS, request="r-known")
        async with world.wan.away():
            for device in (PPMID, OTHER):
                for counter in range(1, 5):
                    world.house.devices[device].tell(cs09(world, device, counter))
            await asyncio.sleep(60.0)
            assert len(world.hub.custody.memory.alerts) == 8
            before = world.hub.custody.memory
            await put_at_the_desk(world, offer(world, image_for("GSME"), GSME, "GSME"))
            await put_at_the_desk(world, offer(world, known, HCALCS, "HCALCS", request="r-new"))
            await put_at_the_desk(world, activation(world, "a-late", 1))
            assert world.hub.custody.memory == before
            await put_at_the_desk(world, offer(world, known, HCALCS, "HCALCS", request="r-known"))
        await world.head_end.when(lambda: len(answers(world, "offer")) == 4)
        assert answers(world, "offer") == ["ok", "too-busy", "too-busy", "ok"]
        assert answers(world, "activate") == ["too-busy"]
        assert "8 alerts wait for the broker" in world.head_end.responses[-2].reason
        # The queue has left: now there is room.
        assert (await world.head_end.offer(image_for("GSME"), GSME)).ok
        assert (await world.head_end.ask(activation(world, "a-late", 1))).ok


async def test_a_transfer_alert_is_never_dropped_however_many_wait(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        await world.head_end.offer(image_for("PPMID", size=4000), PPMID, OTHER)
        async with world.wan.away():
            for device in (PPMID, OTHER):
                for counter in range(1, 20):
                    world.house.devices[device].tell(cs09(world, device, counter))
            await asyncio.sleep(DAY)
        for device in (PPMID, OTHER):
            await world.head_end.alert("0x8F8A", device)


async def test_a_device_without_outcomes_has_only_so_many_commands_pending(tmp_path):
    async with home(tmp_path, HCALCS) as world:
        world.house.devices[HCALCS].is_asleep = True
        later = world.utc.now() + timedelta(days=9)
        codes = []
        for counter in range(1, 6):
            answer = await world.head_end.ask(activation(world, f"a{counter}", counter, later))
            codes.append(answer.code)
        assert codes == ["ok", "ok", "ok", "too-busy", "too-busy"]
        assert (await world.head_end.ask(activation(world, "a1", 1, later))).ok, "known already"
        world.house.devices[HCALCS].is_asleep = False
        world.house.devices[HCALCS].open_tunnel()
        await world.head_end.when(lambda: len(world.hub.custody.memory.activations) == 1)
        assert (await world.head_end.ask(activation(world, "a4", 4, later))).ok


# A hub whose firmware is older.


@pytest.mark.parametrize(("device", "kind"), [(PPMID, "PPMID"), (HCALCS, "HCALCS")])
async def test_an_old_hub_refuses_what_secmp0007_brought(tmp_path, device, kind):
    async with home(tmp_path, device, settings=HubSettings(predates_secmp0007=True)) as world:
        answer = await world.head_end.offer(image_for(kind), device)
        assert answer.code == "unsupported-device-type"
        assert "predates SECMP0007" in answer.reason
        assert list(world.hub.custody.images()) == []


@pytest.mark.parametrize(("device", "kind"), [(GSME, "GSME"), (ESME, "ESME")])
async def test_an_old_hub_serves_meters_and_sends_no_transfer_alert(tmp_path, device, kind):
    async with home(tmp_path, device, settings=HubSettings(predates_secmp0007=True)) as world:
        assert (await world.head_end.offer(image_for(kind), device)).ok
        await world.head_end.when(lambda: any(wanted.complete for wanted in world.head_end.wanted))
        await asyncio.sleep(3600.0)
        assert len(world.house.devices[device].downloads) == 1
        assert world.head_end.alerts == []
        assert world.hub.custody.memory.raised == ()
        assert world.hub.custody.memory.originator_counter == 0
        assert "ota.completed" in {fact.what for fact in world.told}


# The bounds themselves.


def waiting(number: int, device=PPMID, below="alert/ppmid-activation") -> Memory:
    payload = f'{{"device":"{device}"}}'.encode()
    return Memory(
        alerts=tuple(
            QueuedAlert(id=f"a{n}", topic=f"gbhan/v1/hub/{HUB.hex}/{below}", payload=payload)
            for n in range(number)
        )
    )


def test_each_bound_holds_at_its_number_and_not_before():
    limits = Limits(alerts_waiting=5, alerts_of_device=3, commands_of_device=2)
    assert overload(limits, waiting(4)) is None
    assert "5 alerts" in overload(limits, waiting(5))
    assert flood(limits, waiting(2), PPMID) is None
    assert flood(limits, waiting(3), PPMID) is not None
    assert flood(limits, waiting(3), OTHER) is None
    assert flood(limits, waiting(9, below="alert/firmware-transfer"), PPMID) is None
    pending = tuple(
        PendingActivation(request_id=f"r{n}", device=HCALCS, command=bytes((n,))) for n in range(2)
    )
    assert backlog(limits, Memory(activations=pending[:1]), HCALCS) is None
    assert backlog(limits, Memory(activations=pending), HCALCS) is not None
    assert backlog(limits, Memory(activations=pending), GSME) is None


@pytest.mark.parametrize("number", [0, 513])
def test_a_bound_beyond_what_is_recognised_when_it_repeats_is_refused(number):
    with pytest.raises(ValueError, match="alerts_waiting"):
        Limits(alerts_waiting=number)
