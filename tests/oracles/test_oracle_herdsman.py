"""zigbee-herdsman, which we did not write, runs a network on the virtual dongle and updates a device."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from herdsman_world import Desk, Script, desk

from han.facts import Fact
from han.sim.air.capture import read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from ota.gbcs_image import GbcsImage
from ota.image import HardwareRange, Header

pytestmark = [pytest.mark.bench, pytest.mark.oracle]

VERSIONS = (13, 14, 16, 17, 18, 19)
"""Every EZSP version that herdsman takes."""
SIZE = 6000
"""Octets of the manufacturer image."""
BLOCK = 50
"""Octets that herdsman puts into a block."""
OLD, NEW = "00010000", "00020000"


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """An upgrade file for the display."""
    header = Header(
        manufacturer=0x121D,
        image_type=0x0084,
        file_version=int(NEW, 16),
        total_size=0,
        hardware_versions=HardwareRange(0x1000, 0x1FFF),
    )
    file = tmp_path_factory.mktemp("image") / "display.ota"
    file.write_bytes(GbcsImage.build(header, random.Random(1).randbytes(SIZE)).to_bytes())
    return file


# --- every version of EZSP that herdsman speaks ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visit:
    """What a herdsman did on a dongle of one version."""

    status: int
    script: Script
    facts: list[Fact]
    capture: Path
    keys: Path

    def said(self, what: str) -> list[Fact]:
        return [fact for fact in self.facts if fact.what == what]


@pytest.fixture(scope="module")
def visits(node, image, tmp_path_factory) -> dict[int, Visit]:
    """One herdsman for each version, all at the same time: most of it is waiting."""
    folders = {version: tmp_path_factory.mktemp(f"v{version}") for version in VERSIONS}

    async def visit(version: int) -> Visit:
        async with desk(node, folders[version], f"ezsp={version}") as world:
            script = world.script(image, pace=0)
            status = await script.run()
            return Visit(status, script, world.dongle.facts, world.capture, world.keys)

    async def all_of_them() -> list[Visit]:
        return await asyncio.gather(*(visit(version) for version in VERSIONS))

    return dict(zip(VERSIONS, asyncio.run(all_of_them()), strict=True))


@pytest.fixture(params=VERSIONS, ids=lambda version: f"v{version}")
def visit(request, visits) -> Visit:
    return visits[request.param]


@pytest.mark.parametrize("version", VERSIONS)
def test_herdsman_forms_a_network_on_a_dongle_of_each_version(version, visits):
    (network,) = visits[version].script.of("network")

    assert (network["start"], network["ezsp"]) == ("reset", version)
    assert visits[version].said("node.up")[0].channel == network["channel"]


def test_herdsman_lets_a_device_in_by_its_install_code_and_interviews_it(visit):
    (interviewed,) = visit.script.of("interviewed")

    assert visit.said("join.authorised")
    assert interviewed == {
        "what": "interviewed",
        "device": "0x00db1234567896a4",
        "model": "PPMID",
        "type": "Router",
        "manufacturer": 0x121D,
        "profile": 0x0104,
        "inputs": [0x0000],
        "outputs": [0x0019],
    }


def test_herdsman_reads_the_version_that_runs_before_and_after_its_update(visit):
    assert visit.status == 0, visit.script.last_words()
    assert [read["currentFileVersion"] for read in visit.script.of("attributes")] == [OLD, NEW]
    assert visit.script.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]
    assert visit.script.told[-1] == {"what": "done"}


def test_the_device_gets_the_file_that_herdsman_was_given_and_runs_it(visit, image):
    (complete,) = visit.said("ota.complete")
    (activated,) = visit.said("device.activated")

    assert complete.image == hashlib.sha256(image.read_bytes()).hexdigest()
    assert (activated.before, activated.version) == (OLD, NEW)


def test_wireshark_opens_every_frame_and_finds_nothing_wrong(visit, tshark):
    assert tshark.faults(visit.capture, visit.keys) == []


def test_the_file_on_the_air_is_the_file_that_herdsman_was_given(visit, image):
    with visit.capture.open("rb") as frames:
        keys = [key for key, _ in read_keys(visit.keys)]
        rebuilt = rebuild_images(read_pcap(frames), keys)

    assert list(rebuilt.values()) == [image.read_bytes()]


def test_herdsmans_blocks_have_fifty_octets_on_the_home_automation_profile(visit, image, tshark):
    size, profile = "zbee_zcl_general.ota.data_size", "zbee_aps.profile"
    rows = tshark.rows(visit.capture, [size, profile], keys=visit.keys, where=size)
    sizes = [int(row[size][0], 0) for row in rows]

    assert {int(row[profile][0], 0) for row in rows} == {0x0104}
    assert set(sizes[:-1]) == {BLOCK}
    assert sum(sizes) >= image.stat().st_size


async def test_herdsman_turns_a_dongle_of_version_12_away(node, tmp_path):
    async with desk(node, tmp_path, "ezsp=12") as world:
        script = world.script(within=30)

        assert await script.run() == 1
        assert "12" in script.told[-1]["why"]


# --- what happens in the meantime ------------------------------------------------------------------------


async def blocks(world: Desk, count: int) -> None:
    """Wait until the device has got so many blocks."""
    await world.dongle.says("ota.block", times=count)


async def test_a_herdsman_ended_in_mid_transfer_finds_its_network_again_and_goes_on(node, image, tmp_path):
    async with desk(node, tmp_path) as world:
        first = world.script(image, pace=20)
        await first.start()
        await blocks(world, 20)
        first.send(signal.SIGINT)
        assert await first.ended() == 1
        assert first.told[-1] == {"what": "failed", "why": "ended by SIGINT"}

        second = world.script(image, pace=0)
        assert await second.run() == 0, second.last_words()

        (network,) = second.of("network")
        assert network["start"] == "resumed"
        assert second.of("known")
        assert world.dongle.count("join.associated") == 1
        assert [read["currentFileVersion"] for read in second.of("attributes")] == [OLD, NEW]
        offset = 0
        for block in (fact for fact in world.dongle.facts if fact.what == "ota.block"):
            assert block.offset == offset, "the device went on where it stood"
            offset += block.size
        assert offset == image.stat().st_size


async def test_a_device_whose_install_code_was_typed_wrong_stays_outside(node, tmp_path):
    other = "83fed3407a939723a5c639b26916d505c3b5"
    async with desk(node, tmp_path) as world:
        script = world.script(code=other, within=15)

        assert await script.run() == 1
        assert "waiting for the device" in script.told[-1]["why"]
        assert world.dongle.count("join.authorised") == 0
        assert world.dongle.count("device.join-failed") >= 1


async def test_a_house_that_is_killed_comes_back_with_its_network_and_the_update_goes_on(
    node, image, tmp_path
):
    async with desk(node, tmp_path) as world:
        first = world.script(image, pace=20)
        await first.start()
        await blocks(world, 80)
        await world.dongle.kill()
        assert await first.ended() == 1
        assert first.told[-1] == {"what": "failed", "why": "the dongle is gone"}

        lived = len(world.dongle.facts)
        await world.dongle.start()
        second = world.script(image, pace=0)
        assert await second.run() == 0, second.last_words()

        assert second.of("network")[0]["start"] == "resumed"
        assert world.dongle.count("join.associated", since=lived) == 0
        assert second.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]
