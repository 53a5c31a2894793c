"""A state directory that is spoilt, full or forbidden: the hub says what to do, and loses nothing by it.

On a real directory. Root may write anywhere, so where a permission is to bind, the test is nobody meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hub_world import PPMID, World, image_for, image_id

from hub.cli import main
from hub.disk import RealDisk
from hub.errors import SurroundingsError
from hub.flash import BESIDE, MEMORY, Flash, FlashError

IMAGE = image_for("PPMID", size=300)
STORED = f"{image_id(IMAGE)}.ota"
NOBODY = 65534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A state directory that nobody can reach; pytest's own are for their owner only."""
    home = Path(tempfile.mkdtemp(prefix="gbhan-"))
    home.chmod(0o755)
    state = home / "state"
    RealDisk(state)
    yield state
    state.chmod(0o700)
    shutil.rmtree(home)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions bind inside the block, for root too."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def with_a_stored_image(world: World) -> None:
    """A PPMID that is off, and its image in the slot; the hub is stopped."""
    await world.start()
    await world.join(PPMID)
    world.house.devices[PPMID].power_off()
    await world.head_end.offer(IMAGE, PPMID)
    await world.head_end.when(lambda: any(wanted.complete for wanted in world.head_end.wanted))
    await world.stop()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill(path: Path) -> None:
    path.write_bytes(b"\x00\xff garbage" * 50)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILT = [truncate, flip, empty, fill, directory]


@pytest.mark.parametrize("spoil", SPOILT)
async def test_a_spoilt_memory_stops_the_hub_and_the_copy_of_it_goes_on_without_loss(tmp_path, spoil):
    async with World(tmp_path, RealDisk(tmp_path / "state")) as world:
        await with_a_stored_image(world)
        memory = tmp_path / "state" / MEMORY
        copy = memory.read_bytes()
        spoil(memory)
        with pytest.raises(FlashError, match=f"{MEMORY}.*(restore it|move away)"):
            await world.start()
        assert (tmp_path / "state" / STORED).read_bytes() == IMAGE, "nothing is cleared away on a guess"
        if memory.is_dir():
            memory.rmdir()
        memory.write_bytes(copy)
        world.house.devices[PPMID].is_asleep = False
        world.house.devices[PPMID].power_on()
        await world.start()
        await world.head_end.alert("0x8F8B", PPMID)
        assert [alert.code for alert in world.head_end.alerts] == ["0x8F8A", "0x8F8B"]


@pytest.mark.parametrize("spoil", [truncate, flip, empty, fill, Path.unlink])
async def test_a_stored_image_that_is_spoilt_is_let_go_told_once_and_may_come_again(tmp_path, spoil):
    async with World(tmp_path, RealDisk(tmp_path / "state")) as world:
        await with_a_stored_image(world)
        spoil(tmp_path / "state" / STORED)
        await world.start()
        alert = await world.head_end.alert("0x8F89", PPMID, 1)
        assert "damaged on the flash: offer it again" in alert.reason
        assert any("damaged" in why for why in world.whys("slot.discarded"))
        assert not (tmp_path / "state" / STORED).exists()
        world.house.devices[PPMID].is_asleep = False
        world.house.devices[PPMID].power_on()
        await world.head_end.offer(IMAGE, PPMID, request="again")
        await world.head_end.alert("0x8F8B", PPMID)
        assert [each.code for each in world.head_end.alerts] == ["0x8F89", "0x8F8A", "0x8F8B"]
        assert world.house.devices[PPMID].downloads == [IMAGE]


async def test_a_directory_in_the_place_of_the_image_stops_the_hub_until_it_is_gone(tmp_path):
    async with World(tmp_path, RealDisk(tmp_path / "state")) as world:
        await with_a_stored_image(world)
        stored = tmp_path / "state" / STORED
        stored.rename(tmp_path / "aside")
        stored.mkdir()
        with pytest.raises(FlashError, match="move away what has taken that file's place"):
            await world.start()
        assert len(world.whys("flash.refused")) == 1
        world.running = None
        stored.rmdir()
        (tmp_path / "aside").rename(stored)
        world.house.devices[PPMID].is_asleep = False
        world.house.devices[PPMID].power_on()
        await world.start()
        await world.head_end.alert("0x8F8B", PPMID)
        assert world.house.devices[PPMID].downloads == [IMAGE]


@pytest.mark.parametrize("spoil", [truncate, flip, empty, fill, Path.unlink])
async def test_an_arriving_image_that_is_spoilt_arrives_from_the_start(tmp_path, spoil):
    async with World(tmp_path, RealDisk(tmp_path / "state")) as world:
        head_end = world.head_end
        await world.start()
        await world.join(PPMID)
        head_end.chunk_size, head_end.holds_back = 100, True
        await head_end.offer(IMAGE, PPMID)
        await head_end.chunk(image_id(IMAGE), 0, IMAGE[:100])
        await head_end.when(lambda: any(wanted.offset == 100 for wanted in head_end.wanted))
        await world.stop()
        spoil(tmp_path / "state" / f"{image_id(IMAGE)}.part")
        head_end.holds_back = False
        await world.start()
        await head_end.alert("0x8F8B", PPMID)
        assert world.house.devices[PPMID].downloads == [IMAGE]


async def test_the_state_of_another_hub_is_refused_and_left_as_it_is(tmp_path):
    async with World(tmp_path, RealDisk(tmp_path / "state")) as world:
        await with_a_stored_image(world)
        before = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()}
        own, world.house.eui64 = world.house.eui64, PPMID
        with pytest.raises(SurroundingsError, match=r"belongs to hub .* give another --state"):
            await world.start()
        assert {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()} == before
        world.house.eui64 = own
        await world.start()


# What the system refuses.


def test_a_directory_without_permission_is_named_and_later_used(shared):
    Flash(RealDisk(shared)).change(raised=("a",))
    shared.chmod(0o500)
    os.chown(shared, NOBODY, -1) if os.geteuid() == 0 else None
    for path in shared.iterdir():
        os.chown(path, NOBODY, -1) if os.geteuid() == 0 else None
    with as_nobody():
        flash = Flash(RealDisk(shared))
        refusals = []
        flash.on_refusal = refusals.append
        with pytest.raises(FlashError, match="let the user who runs the hub read and write there"):
            flash.change(raised=("a", "b"))
        assert len(refusals) == 1
    shared.chmod(0o700)
    with as_nobody():
        again = Flash(RealDisk(shared))
        assert again.memory.raised == ("a",)
        again.change(raised=("a", "b"))
        assert Flash(RealDisk(shared)).memory.raised == ("a", "b")


def test_a_memory_that_may_not_be_read_is_named_and_not_taken_for_none(shared):
    Flash(RealDisk(shared)).change(raised=("a",))
    (shared / MEMORY).chmod(0o000)
    shared.chmod(0o777)
    with as_nobody(), pytest.raises(FlashError, match=f"{MEMORY}.*let the user who runs the hub"):
        Flash(RealDisk(shared))
    (shared / MEMORY).chmod(0o600)
    assert Flash(RealDisk(shared)).memory.raised == ("a",)


def test_a_limit_on_the_size_of_files_is_met_in_mid_write_and_costs_nothing(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    flash.change(raised=("a",))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = tuple(f"alert-{number}" for number in range(200))
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(FlashError, match="raise the limit"):
            flash.change(raised=many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / BESIDE).stat().st_size == 512, "it was met in mid-write"
    assert Flash(RealDisk(tmp_path)).memory.raised == ("a",)
    flash.change(raised=many)
    assert Flash(RealDisk(tmp_path)).memory.raised == many


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_device_that_is_full_is_named_and_later_used(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    flash.change(raised=("a",))
    (tmp_path / BESIDE).symlink_to("/dev/full")
    with pytest.raises(FlashError, match=r"No space left.*free some space there"):
        flash.change(raised=("a", "b"))
    (tmp_path / BESIDE).unlink()
    flash.change(raised=("a", "b"))
    assert Flash(RealDisk(tmp_path)).memory.raised == ("a", "b")


@pytest.mark.parametrize("spoil", SPOILT)
def test_the_command_says_what_is_spoilt_and_ends_with_status_3(tmp_path, spoil):
    state = tmp_path / "state"
    Flash(RealDisk(state)).change(raised=("a",))
    spoil(state / MEMORY)
    result = _hub(state)
    assert result.exit_code == 3, result.output
    assert MEMORY in result.output
    assert "Traceback" not in result.output


def test_the_command_says_that_it_may_not_use_the_directory_and_ends_with_status_3(shared):
    shared.chmod(0o500)
    with as_nobody():
        result = _hub(shared)
    assert result.exit_code == 3, result.output
    assert f"the state directory {shared} cannot be used" in result.output


def _hub(state: Path):
    return CliRunner().invoke(
        main,
        ["hub", "--radio", "sim://demo", "--lab-keys", "--mqtt", "mqtt://127.0.0.1:1", "--state", str(state)],
    )
