"""The bench: the parts of the demo as programs of their own on Mosquitto, and what may happen to them."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from bench_world import Bench, Follower, bench, typed, upgrade_file

from han.facts import Fact
from hub.dcc.contract import Standing

pytestmark = [pytest.mark.bench, pytest.mark.oracle]

SIZE = 2000
"""Octets of an image; 31 blocks."""


@pytest.fixture
def mosquitto(program):
    return program("mosquitto")


# --- what became of an update ----------------------------------------------------------------------------


def assert_it_ended_well(standing: Standing, bench: Bench) -> None:
    """One outcome for each device, and each of its alerts once."""
    told = [(line.device, line.event) for line in standing.story]
    assert standing.finished
    assert standing.ok
    assert [each.outcome for each in standing.devices] == ["activated"] * len(bench.ppmids)
    for device in bench.ppmids:
        for event in ("Firmware Transfer Alert", "PPMID Activation Alert", "ended"):
            assert told.count((str(device.eui64), event)) == 1, (event, told)


def assert_nobody_began_again(bench: Bench, image: bytes) -> None:
    """Each device went on where it stood: the hub served it the file from its beginning to its end."""
    for device in bench.ppmids:
        served = list(blocks_of(bench.hub, "hub", image, str(device.eui64)))
        assert served[0][0] == 0
        assert sum(served[-1]) == len(image)
        for (before, size), (offset, _) in pairwise(served):
            # What was on the air when the hub died is asked for again, and nothing else.
            assert offset in (before, before + size), served


def blocks_of(program: Follower, who: str, image: bytes, device: str) -> Iterator[tuple[int, int]]:
    """Offset and size of each block of an image that was served to a device."""
    image_id = hashlib.sha256(image).hexdigest()
    for fact in program.facts:
        if (fact.who, fact.what) == (who, "ota.block") and (fact.image, fact.device) == (image_id, device):
            yield fact.offset, fact.size


def assert_each_octet_arrived_once(bench: Bench, image: bytes, since: int) -> None:
    """What the devices say for themselves, from the house's fact with the number ``since`` on."""
    for device in bench.ppmids:
        facts = [fact for fact in bench.dongle.facts[since:] if fact.who == device.name]
        offset = 0
        for block in of_kind(facts, "ota.block"):
            assert block.offset == offset
            offset += block.size
        assert offset == len(image)
        assert [fact.offset for fact in of_kind(facts, "ota.started")] == [0]


def of_kind(facts: list[Fact], what: str) -> list[Fact]:
    return [fact for fact in facts if fact.what == what]


# --- the README's bench ----------------------------------------------------------------------------------


async def test_a_small_image_reaches_a_ppmid_by_the_commands_of_the_readme(mosquitto, tmp_path):
    async with bench(tmp_path, mosquitto, ppmids=1) as world:
        label = await typed(f"gbhan dongle --home {tmp_path}/home.toml --labels --json")
        device, code = (label.document()[field] for field in ("device", "install_code"))
        join = await typed(f"gbhan join {device} {code} --type PPMID --mqtt {world.mqtt}")
        await world.hub.says("device.joined")
        file = tmp_path / "ppmid.ota"
        built = await typed(f"gbhan image build --for PPMID --file-version 20000 --size 3000 -o {file}")
        request = await typed(
            f"gbhan request 11.4 --image {file} --device {device} --wait --dsp {world.dsp_url}"
        )
        known = await typed(f"gbhan devices --mqtt {world.mqtt} --json")
        ends = [await each.stop() for each in (world.hub, world.dsp, world.dongle)]

    assert [said.status for said in (label, join, built, request, known)] == [0] * 5
    assert request.out.splitlines()[-1] == f"{device} PPMID: activated, version 00020000"
    assert [(each["device"], each["file_version"]) for each in known.document()] == [(device, "00020000")]
    assert ends == [0, 0, 0]


# --- SIGKILL ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """Right after this program has said this for the n-th time in an update; n is drawn."""

    program: str
    what: str
    least: int
    most: int
    """The greatest n at which the update is sure to get there."""


COURSE = (
    (Moment("hub", "chunk.taken", 1, 3), Moment("dsp", "csp.chunk", 1, 3)),
    (
        Moment("hub", "slot.stored", 1, 1),
        Moment("dsp", "csp.finished", 1, 1),
        Moment("hub", "ota.started", 1, 1),
    ),
    (Moment("hub", "ota.block", 1, 30),),
    (
        Moment("hub", "ota.completed", 1, 1),
        Moment("hub", "alert.sent", 1, 1),
        Moment("dsp", "alert.received", 1, 1),
    ),
    (Moment("hub", "alert.raised", 2, 2), Moment("dsp", "alert.received", 2, 2)),
)
"""An update from its beginning to its end: in each stage one of these moments is drawn.

No moment lies between a device's activation alert and the fact that the hub has raised it: the dongle
acknowledges that message for its hub, so what it had not handed over to a hub that dies just then is lost.
"""


async def test_hub_and_dsp_killed_again_and_again_lose_nothing_and_tell_nothing_twice(
    mosquitto, tmp_path_factory
):
    # Two benches side by side: while the devices of one wait for their hub, the other goes on.
    kills = await asyncio.gather(
        *(
            updates_under_fire(tmp_path_factory.mktemp(f"seed-{seed}"), mosquitto, random.Random(seed))
            for seed in (4, 8)
        )
    )
    assert sum(kills) >= 20


async def updates_under_fire(folder: Path, mosquitto: Path, dice: random.Random) -> int:
    """Two updates; gives how often a program was killed."""
    async with bench(folder, mosquitto, ppmids=1) as world:
        await world.join_all()
        for version in (0x00020001, 0x00020002):
            image = upgrade_file(version, SIZE)
            house_so_far = len(world.dongle.facts)
            await update_under_fire(world, f"to {version:08X}", image, dice)
            assert_it_ended_well(await world.finished(f"to {version:08X}"), world)
            assert_nobody_began_again(world, image)
            assert_each_octet_arrived_once(world, image, house_so_far)
        return world.hub.kills + world.dsp.kills


async def update_under_fire(world: Bench, request_id: str, image: bytes, dice: random.Random) -> None:
    """Kill hub and DSP stub on every stage of an update, one of them or both."""
    programs = {"hub": world.hub, "dsp": world.dsp}
    begun = {name: len(program.facts) for name, program in programs.items()}
    await world.submit(request_id, image)
    for stage in COURSE:
        moment = dice.choice(stage)
        victims = dice.choice((("hub",), ("dsp",), ("hub", "dsp")))
        times = dice.randint(moment.least, moment.most)
        await programs[moment.program].says(moment.what, times, begun[moment.program])
        await asyncio.gather(*(programs[victim].kill() for victim in victims))
        await asyncio.gather(*(programs[victim].start() for victim in victims))


# --- the broker ------------------------------------------------------------------------------------------


async def test_a_broker_that_is_killed_loses_nothing(mosquitto, tmp_path):
    image = upgrade_file(0x00020000, SIZE)
    async with bench(tmp_path, mosquitto, ppmids=1) as world:
        await world.join_all()
        await world.submit("R", image)

        await world.hub.says("chunk.taken", 2)
        await world.broker.kill()
        await world.hub.says("mqtt.lost")
        await world.dsp.says("mqtt.lost")
        await world.broker.start()

        # Now it is away for so long that the whole download and its alert fall into that time.
        await world.hub.says("ota.block", 5)
        await world.broker.kill()
        await world.hub.says("alert.raised")
        await world.broker.start()
        standing = await world.finished("R")
        await world.hub.says("alert.sent", 2)

    assert_it_ended_well(standing, world)
    assert_nobody_began_again(world, image)
    sent = [fact.id for fact in of_kind(world.hub.facts, "alert.sent")]
    assert sent == [fact.id for fact in of_kind(world.hub.facts, "alert.raised")]


async def test_a_hub_killed_while_its_broker_is_away_serves_its_house_and_tells_afterwards(
    mosquitto, tmp_path
):
    image = upgrade_file(0x00020000, SIZE)
    async with bench(tmp_path, mosquitto, ppmids=1) as world:
        await world.join_all()
        await world.submit("R", image)
        await world.hub.says("ota.block", 5)
        await world.broker.kill()
        await world.hub.kill()
        await world.hub.begin()
        await world.hub.says("mqtt.unreachable")
        await world.hub.says("alert.raised", 2)
        assert world.hub.count("alert.sent") == 0
        await world.broker.start()
        standing = await world.finished("R")
        await world.hub.says("alert.sent", 2)

    assert_it_ended_well(standing, world)
    assert_nobody_began_again(world, image)
    sent = [fact.id for fact in of_kind(world.hub.facts, "alert.sent")]
    assert sent == [fact.id for fact in of_kind(world.hub.facts, "alert.raised")]


# --- the dongle ------------------------------------------------------------------------------------------


async def test_a_hub_whose_dongle_is_cut_off_or_stands_still_goes_on_where_it_was(mosquitto, tmp_path):
    image = upgrade_file(0x00020000, SIZE)
    async with bench(tmp_path, mosquitto, ppmids=1) as world:
        await world.join_all()
        await world.submit("R", image)

        await world.hub.says("ota.block", 5)
        world.wire.cut()
        await world.hub.says("radio.back")

        # The connection stays, but nobody answers: the hub finds out by itself.
        await world.hub.says("ota.block", 15)
        world.dongle.send(signal.SIGSTOP)
        await world.hub.says("radio.lost", 2)
        world.dongle.send(signal.SIGCONT)
        await world.hub.says("radio.back", 2)
        await world.dsp.says("alert.received")
        standing = await world.standing("R")

    assert [line.code for line in standing.story].count("0x8F8A") == 1
    assert_nobody_began_again(world, image)
    assert_each_octet_arrived_once(world, image, since=0)


async def test_a_power_cut_of_the_whole_house_costs_time_and_nothing_else(mosquitto, tmp_path):
    image = upgrade_file(0x00020000, SIZE)
    async with bench(tmp_path, mosquitto, ppmids=1) as world:
        await world.join_all()
        await world.submit("R", image)
        await world.hub.says("ota.block", 10)

        lived = len(world.dongle.facts)
        await world.power_cut()
        await world.hub.says("radio.back")
        standing = await world.finished("R")

    assert_it_ended_well(standing, world)
    assert world.dongle.count("join.associated", since=lived) == 0
