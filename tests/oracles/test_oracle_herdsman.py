"""zigbee-herdsman, which we did not write, runs a network on the virtual dongle and updates a device.

Programs in real time wait for each other most of the time. So every course is run first, all of them at once;
the tests look at what came of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from herdsman_world import HERDSMAN, HOMES, Desk, Script, desk

from han.facts import Fact
from han.sim.air.capture import read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from ota.gbcs_image import GbcsImage
from ota.image import HardwareRange, Header

pytestmark = [pytest.mark.bench, pytest.mark.oracle]

VERSIONS = (13, 14, 16, 17, 18, 19)
"""Every EZSP version that herdsman takes."""
TOO_OLD = range(4, 13)
"""Every one that the dongle speaks and herdsman does not take."""
BLOCK = 50
"""Octets that herdsman puts into a block."""
OLD, NEW = "00010000", "00020000"


# --- the courses -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """Upgrade files for the display."""

    image: Path
    small: Path


@dataclass(frozen=True, slots=True)
class Course:
    """What came of one or two runs of herdsman on one dongle: of the last one unless it says otherwise."""

    statuses: list[int]
    scripts: list[Script]
    facts: list[Fact]
    capture: Path
    keys: Path

    @property
    def script(self) -> Script:
        return self.scripts[-1]

    def said(self, what: str) -> list[Fact]:
        return [fact for fact in self.facts if fact.what == what]


async def one_update(world: Desk, files: Files) -> list[Script]:
    script = world.script(files.image, pace=0)
    await script.run()
    return [script]


async def refused(world: Desk, _files: Files) -> list[Script]:
    script = world.script(within=30)
    await script.run()
    return [script]


async def another_code(world: Desk, _files: Files) -> list[Script]:
    script = world.script(code="83fed3407a939723a5c639b26916d505c3b5", within=15)
    await script.run()
    return [script]


async def up_the_stairs(world: Desk, files: Files) -> list[Script]:
    """The range extender first, then what only it hears."""
    extender = world.script(name="landing")
    await extender.run()
    display = world.script(files.small, pace=0)
    await display.run()
    return [extender, display]


async def interrupted(world: Desk, files: Files) -> list[Script]:
    """Ctrl-C in mid-transfer, and once more."""
    first = world.script(files.image, pace=20)
    await first.start()
    await world.dongle.says("ota.block", times=20)
    first.send(signal.SIGINT)
    await first.ended()
    second = world.script(files.image, pace=0)
    await second.run()
    return [first, second]


async def killed(world: Desk, files: Files) -> list[Script]:
    """The house is killed in mid-transfer and started again, and herdsman with it."""
    first = world.script(files.image, pace=20)
    await first.start()
    await world.dongle.says("ota.block", times=80)
    await world.dongle.kill()
    await first.ended()
    await world.dongle.start()
    second = world.script(files.image, pace=0)
    await second.run()
    return [first, second]


async def exchanged(world: Desk, files: Files) -> list[Script]:
    """Let the device in, exchange the dongle for a blank one, and update the device."""
    first = world.script()
    await first.run()
    await world.dongle.stop()
    world.exchange_dongle()
    await world.dongle.start()
    second = world.script(files.small, pace=0)
    await second.run()
    return [first, second]


Play = Callable[[Desk, Files], Awaitable[list[Script]]]


class Setup(NamedTuple):
    """What is done, in which home, with which settings of the dongle, through which door."""

    play: Play
    home: str = "herdsman"
    settings: str = ""
    door: str = "tcp://127.0.0.1:0"


COURSES: dict[str, Setup] = {
    **{f"v{version}": Setup(one_update, settings=f"ezsp={version}") for version in VERSIONS},
    **{f"v{version}": Setup(refused, settings=f"ezsp={version}") for version in TOO_OLD},
    "serial port": Setup(one_update, door="pty"),
    "another code": Setup(another_code),
    "upstairs": Setup(up_the_stairs, home="herdsman-upstairs"),
    "interrupted": Setup(interrupted),
    "killed": Setup(killed),
    "exchanged": Setup(exchanged),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("images")

    def written(name: str, size: int) -> Path:
        header = Header(
            manufacturer=0x121D,
            image_type=0x0084,
            file_version=int(NEW, 16),
            total_size=0,
            hardware_versions=HardwareRange(0x1000, 0x1FFF),
        )
        (folder / name).write_bytes(GbcsImage.build(header, random.Random(1).randbytes(size)).to_bytes())
        return folder / name

    return Files(written("display.ota", 6000), written("small.ota", 1500))


@pytest.fixture(scope="module")
def courses(node, files, tmp_path_factory) -> dict[str, Course | BaseException]:
    """Every course, or what went wrong with it."""

    async def run(setup: Setup, folder: Path) -> Course:
        home = HOMES / f"{setup.home}.toml"
        async with desk(node, folder, setup.settings, home=home, door=setup.door) as world:
            scripts = await setup.play(world, files)
            statuses = [await script.ended() for script in scripts]
            return Course(statuses, scripts, world.dongle.facts, world.capture, world.keys)

    async def all_of_them() -> list[Course | BaseException]:
        runs = (run(setup, tmp_path_factory.mktemp("course")) for setup in COURSES.values())
        return await asyncio.gather(*runs, return_exceptions=True)

    return dict(zip(COURSES, asyncio.run(all_of_them()), strict=True))


@pytest.fixture
def course(courses) -> Callable[[str], Course]:
    """A course by its name."""

    def of(name: str) -> Course:
        if isinstance(courses[name], BaseException):
            raise courses[name]
        return courses[name]

    return of


@pytest.fixture(params=VERSIONS, ids=lambda version: f"v{version}")
def visit(request, course) -> Course:
    """One update by a herdsman on a dongle of each version."""
    return course(f"v{request.param}")


# --- every version of EZSP that herdsman speaks ----------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_herdsman_forms_a_network_on_a_dongle_of_each_version(version, course):
    visit = course(f"v{version}")
    (network,) = visit.script.of("network")

    assert (network["start"], network["ezsp"]) == ("reset", version)
    assert visit.said("node.up")[0].channel == network["channel"]


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
    assert visit.statuses == [0], visit.script.last_words()
    assert [read["currentFileVersion"] for read in visit.script.of("attributes")] == [OLD, NEW]
    assert visit.script.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]
    assert visit.script.told[-1] == {"what": "done"}


def test_the_device_gets_the_file_that_herdsman_was_given_and_runs_it(visit, files):
    (complete,) = visit.said("ota.complete")
    (activated,) = visit.said("device.activated")

    assert complete.image == hashlib.sha256(files.image.read_bytes()).hexdigest()
    assert (activated.before, activated.version) == (OLD, NEW)


def test_wireshark_opens_every_frame_and_finds_nothing_wrong(visit, tshark):
    assert tshark.faults(visit.capture, visit.keys) == []


def test_the_file_on_the_air_is_the_file_that_herdsman_was_given(visit, files):
    with visit.capture.open("rb") as frames:
        keys = [key for key, _ in read_keys(visit.keys)]
        rebuilt = rebuild_images(read_pcap(frames), keys)

    assert list(rebuilt.values()) == [files.image.read_bytes()]


def test_herdsmans_blocks_have_fifty_octets_on_the_home_automation_profile(visit, files, tshark):
    size, profile = "zbee_zcl_general.ota.data_size", "zbee_aps.profile"
    rows = tshark.rows(visit.capture, [size, profile], keys=visit.keys, where=size)
    sizes = [int(row[size][0], 0) for row in rows]

    assert {int(row[profile][0], 0) for row in rows} == {0x0104}
    assert set(sizes[:-1]) == {BLOCK}
    assert sum(sizes) >= files.image.stat().st_size


@pytest.mark.parametrize("version", TOO_OLD)
def test_herdsman_turns_an_older_dongle_away(course, version):
    refused = course(f"v{version}")

    assert refused.statuses == [1]
    assert f"({version}) is not supported" in refused.script.told[-1]["why"]


def test_herdsman_finds_the_dongle_at_a_serial_port_too(course):
    through_terminal = course("serial port")

    assert through_terminal.said("door.open")[0].url.startswith("/dev/")
    assert through_terminal.script.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["tcp://127.0.0.1:1", "folder", "00DB1234567896A4"],
        ["tcp://127.0.0.1:1", "folder", "00DB12345678", "00" * 18],
        ["tcp://127.0.0.1:1", "folder", "00DB1234567896A4", "words"],
        ["tcp://127.0.0.1:1", "folder", "00DB1234567896A4", "00" * 18, "no-such-file.ota"],
        ["tcp://127.0.0.1:1", "folder", "00DB1234567896A4", "00" * 18, __file__],
        ["tcp://127.0.0.1:1", "folder", "00DB1234567896A4", "00" * 18, "--pace", "slow"],
        ["tcp://127.0.0.1:1", "folder", "00DB1234567896A4", "00" * 18, "--speed", "1"],
    ],
)
def test_a_command_that_makes_no_sense_ends_before_anything_is_touched(arguments, node, tmp_path):
    ended = subprocess.run(
        [str(node.program), str(HERDSMAN / "ota.mjs"), *arguments],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("ota.mjs: ")
    assert list(tmp_path.iterdir()) == []


# --- a house with more than one room ---------------------------------------------------------------------


def test_herdsman_updates_a_display_that_sleeps_behind_a_range_extender(course, files):
    upstairs = course("upstairs")
    (joined,) = [fact for fact in upstairs.said("node.joined") if fact.who == "display"]
    (extender,) = [fact for fact in upstairs.said("node.joined") if fact.who == "landing"]
    (complete,) = upstairs.said("ota.complete")

    assert upstairs.statuses == [0, 0]
    assert joined.parent == extender.nwk
    assert upstairs.script.of("interviewed")[0]["type"] == "EndDevice"
    assert complete.image == hashlib.sha256(files.small.read_bytes()).hexdigest()
    assert upstairs.script.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]


def test_wireshark_opens_every_frame_of_that_house_too(course, tshark):
    upstairs = course("upstairs")

    assert tshark.faults(upstairs.capture, upstairs.keys) == []


# --- what happens in the meantime ------------------------------------------------------------------------


def test_a_herdsman_ended_in_mid_transfer_finds_its_network_again_and_goes_on(course, files):
    twice = course("interrupted")
    first, second = twice.scripts

    assert twice.statuses == [1, 0], second.last_words()
    assert first.told[-1] == {"what": "failed", "why": "ended by SIGINT"}
    assert second.of("network")[0]["start"] == "resumed"
    assert second.of("known")
    assert len(twice.said("join.associated")) == 1
    assert [read["currentFileVersion"] for read in second.of("attributes")] == [OLD, NEW]
    offset = 0
    for block in twice.said("ota.block"):
        assert block.offset == offset, "the device went on where it stood"
        offset += block.size
    assert offset == files.image.stat().st_size


def test_a_house_that_is_killed_comes_back_with_its_network_and_the_update_goes_on(course):
    twice = course("killed")
    first, second = twice.scripts

    assert twice.statuses == [1, 0], second.last_words()
    assert first.told[-1] == {"what": "failed", "why": "the dongle is gone"}
    assert second.of("network")[0]["start"] == "resumed"
    assert len(twice.said("join.associated")) == 1
    assert second.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]


def test_herdsman_restores_its_network_on_a_blank_dongle_and_the_device_never_notices(course):
    twice = course("exchanged")

    assert twice.statuses == [0, 0], twice.script.last_words()
    assert twice.script.of("network")[0]["start"] == "restored"
    assert len(twice.said("join.associated")) == 1
    assert twice.script.of("updated") == [{"what": "updated", "from": OLD, "to": NEW}]


def test_a_device_whose_install_code_was_typed_wrong_stays_outside(course):
    outside = course("another code")

    assert outside.statuses == [1]
    assert "waiting for the device" in outside.script.told[-1]["why"]
    assert not outside.said("join.authorised")
    assert outside.said("device.join-failed")
