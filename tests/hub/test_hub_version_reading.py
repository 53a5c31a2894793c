"""11.2: the device's own word by CS08 where it has one, and the hub's observation where it has none."""

import asyncio
import contextlib
import random
from dataclasses import replace

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import GSME, HCALCS, HUB, PPMID, SILENT, World, cs06

from han.coordinator import DeviceLeft
from han.gbcs.envelope import Envelope
from han.gbcs.messages import firmware_version_read, read_firmware_version
from han.gbcs.parties import ACCESS_CONTROL_BROKER, lab_party
from han.gbcs.payloads import ReadFirmwareVersionResponse, parse_from_device
from han.gbcs.protection import has_mac_of
from hub.messages import ReadVersionRequest


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


async def read(world, device, *, gbcs=None, counter=1):
    """Ask for a version, by CS08 unless told otherwise."""
    command = read_firmware_version(device, counter).to_bytes().hex() if gbcs is None else gbcs
    request = ReadVersionRequest(
        request_id="read-1", device=str(device), gbcs=command, **world.head_end.pen.stamp()
    )
    return await world.head_end.ask(request)


@pytest.mark.parametrize("device", [PPMID, HCALCS])
async def test_a_device_that_knows_cs08_answers_for_itself(tmp_path, device):
    async with home(tmp_path, device) as world:
        answer = await read(world, device, counter=77)
        assert (answer.file_version, answer.source) == ("00000001", "CS08")
        message = Envelope.parse(bytes.fromhex(answer.gbcs))
        assert (message.counter, parse_from_device(message.payload).file_version) == (77, 1)
        broker, own = lab_party(ACCESS_CONTROL_BROKER).agreement, lab_party(device).agreement.public_key()
        assert has_mac_of(message, broker, own)
        assert [fact.source for fact in world.told if fact.what == "version.read"] == ["CS08"]


async def test_an_old_ppmid_keeps_silent_and_its_cluster_is_read_within_a_minute(tmp_path):
    async with home(tmp_path, SILENT) as world:
        began = world.loop.time()
        answer = await read(world, SILENT)
        assert (answer.file_version, answer.source, answer.gbcs) == ("00000001", "OTA", "")
        assert 20.0 <= world.loop.time() - began < 60.0


async def test_a_meter_is_read_by_its_cluster(tmp_path):
    async with home(tmp_path, GSME) as world:
        answer = await read(world, GSME, gbcs="")
        assert (answer.file_version, answer.source) == ("00000001", "OTA")


async def test_a_device_that_cannot_read_its_version_says_so_itself(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.devices[PPMID].can_read_version = False
        answer = await read(world, PPMID)
        assert (answer.code, answer.source, answer.file_version) == ("refused", "CS08", None)
        assert parse_from_device(Envelope.parse(bytes.fromhex(answer.gbcs)).payload).file_version is None


async def test_two_readings_at_once_get_an_answer_each(tmp_path):
    async with home(tmp_path, PPMID) as world:
        answers = await asyncio.gather(read(world, PPMID, counter=5), read(world, PPMID, counter=6))
        counters = [Envelope.parse(bytes.fromhex(answer.gbcs)).counter for answer in answers]
        assert counters == [5, 6]


async def test_a_command_that_came_too_late_to_matter_is_not_delivered(tmp_path):
    async with home(tmp_path, PPMID) as world:
        device = world.house.devices[PPMID]
        device.is_asleep = True
        assert (await read(world, PPMID)).code == "unreachable"
        device.is_asleep = False
        heard = []
        device._commanded = heard.append
        device.open_tunnel()
        await asyncio.sleep(3600.0)
        assert heard == []


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda m: replace(m, counter=9), "no CS08 that is under way"),
        (lambda m: replace(m, originator=HCALCS), "comes from"),
        (lambda m: replace(m, recipient=HUB), "it is for"),
    ],
)
async def test_an_answer_to_another_question_is_refused_and_the_cluster_read_instead(tmp_path, spoil, why):
    async with home(tmp_path, PPMID) as world:
        device = world.house.devices[PPMID]

        def answer(data: bytes) -> None:
            told = firmware_version_read(Envelope.parse(data), ReadFirmwareVersionResponse(2))
            device.tell(spoil(told).to_bytes())

        device._commanded = answer
        assert (await read(world, PPMID)).source == "OTA"
        assert any(why in said for said in world.whys("gbcs.refused"))


@pytest.mark.parametrize(
    ("device", "gbcs", "why"),
    [
        (PPMID, read_firmware_version(HCALCS, 1).to_bytes().hex(), "is for"),
        (PPMID, cs06(PPMID, "ab" * 32), "reads no version"),
        (PPMID, read_firmware_version(PPMID, 1).to_bytes().hex()[:-2], ""),
        (PPMID, "00", ""),
        (GSME, read_firmware_version(GSME, 1).to_bytes().hex(), "CS08 is for HCALCS and PPMID"),
    ],
)
async def test_a_message_that_is_no_cs08_for_its_device_is_refused_and_goes_nowhere(
    tmp_path, device, gbcs, why
):
    async with home(tmp_path, device) as world:
        world.house.devices[device]._commanded = lambda data: pytest.fail("it was delivered")
        answer = await read(world, device, gbcs=gbcs)
        assert answer.code == "malformed"
        assert why in answer.reason


async def test_a_device_that_left_is_not_waited_for(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.ears.event(DeviceLeft(PPMID))
        began = world.loop.time()
        answer = await read(world, PPMID)
        assert (answer.code, answer.file_version) == ("unreachable", None)
        assert "has left" in answer.reason
        assert world.loop.time() - began < 1.0
