import hashlib
import random
import stat

import msgspec
import pytest
from hub_faulty_disk import FaultyDisk, PowerCutError

from hub.disk import RealDisk
from hub.errors import OurError
from hub.flash import MEMORY, Flash, FlashError
from hub.memory import Arrival, KnownDevice, Memory, QueuedAlert
from hub.slot import Assignment, Held, Stage
from ota.eui64 import Eui64

PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
IMAGE = random.Random(3).randbytes(1000)
IMAGE_ID = hashlib.sha256(IMAGE).hexdigest()
CHUNK = 300


def held(stage: Stage = Stage.ARRIVING) -> Held:
    return Held(IMAGE_ID, len(IMAGE), stage, 5.0, (Assignment(PPMID, "PPMID", "r1", "11.4"),))


def deliver(flash: Flash) -> None:
    """The story of one image, from wherever the flash stands."""
    if flash.memory.held is None:
        flash.begin(Memory(held=held()))
    if flash.memory.held is not None and flash.memory.held.stage is Stage.ARRIVING:
        while flash.received < len(IMAGE):
            flash.append(flash.received, IMAGE[flash.received : flash.received + CHUNK])
        flash.store(msgspec.structs.replace(flash.memory, held=held(Stage.STORED)))
    flash.change(alerts=(QueuedAlert(id="a1", topic="t", payload=b"{}"),), raised=("a1",))


def test_an_image_lies_on_the_flash_as_it_was_sent(tmp_path):
    deliver(Flash(RealDisk(tmp_path)))
    again = Flash(RealDisk(tmp_path))
    assert again.image() == IMAGE
    assert again.memory.raised == ("a1",)


def test_power_may_go_at_any_step_and_the_story_ends_the_same():
    whole = FaultyDisk(random.Random(0))
    deliver(Flash(whole))
    for seed in range(3):
        for cut in range(1, whole.steps + 1):
            disk = FaultyDisk(random.Random(f"{seed} {cut}"))
            disk.steps_left = cut
            with pytest.raises(PowerCutError):
                deliver(Flash(disk))
            disk.power_back()
            flash = Flash(disk)
            assert flash.image() in (None, IMAGE), "an image is there whole or not at all"
            deliver(flash)
            assert flash.image() == IMAGE
            assert [alert.id for alert in flash.memory.alerts] == ["a1"]
            assert disk.names() == sorted([MEMORY, f"{IMAGE_ID}.ota"]), "nothing is left over"


def test_what_was_acknowledged_as_safe_is_never_asked_for_again():
    for cut in range(1, 60):
        disk = FaultyDisk(random.Random(cut))
        flash = Flash(disk)
        flash.begin(Memory(held=held()))
        safe = 0
        disk.steps_left = cut
        try:
            while flash.received < len(IMAGE):
                safe = flash.append(flash.received, IMAGE[flash.received : flash.received + CHUNK])
        except PowerCutError:
            pass
        disk.power_back()
        assert Flash(disk).received >= safe


def test_an_arrival_goes_on_where_it_was_safe(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    flash.begin(Memory(held=held()))
    flash.append(0, IMAGE[:CHUNK])
    with (tmp_path / f"{IMAGE_ID}.part").open("ab") as torn:
        torn.write(b"garbage that no memory vouches for")
    again = Flash(RealDisk(tmp_path))
    assert again.received == CHUNK
    deliver(again)
    assert again.image() == IMAGE


def test_an_arrival_that_changed_on_the_disk_starts_afresh(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    flash.begin(Memory(held=held()))
    flash.append(0, IMAGE[:CHUNK])
    (tmp_path / f"{IMAGE_ID}.part").write_bytes(b"\xff" * CHUNK)
    again = Flash(RealDisk(tmp_path))
    assert (again.received, again.memory.arrival) == (0, Arrival())


def test_octets_out_of_order_and_half_images_are_not_stored(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    with pytest.raises(OurError):
        flash.append(0, b"nothing was begun")
    flash.begin(Memory(held=held()))
    with pytest.raises(OurError):
        flash.append(5, b"x")
    flash.append(0, IMAGE[:CHUNK])
    with pytest.raises(OurError, match="not whole"):
        flash.store(flash.memory)
    assert flash.image() is None


def test_a_cleared_slot_leaves_no_file(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    deliver(flash)
    flash.clear(flash.memory)
    assert [path.name for path in tmp_path.iterdir()] == [MEMORY]
    assert flash.memory.raised == ("a1",)


@pytest.mark.parametrize("spoil", [b"", b"{", b'{"sha256":"00","memory":{}}', b'{"sha256":1}', b"\xff\xff"])
def test_a_damaged_memory_is_named_and_not_guessed_at(tmp_path, spoil):
    (tmp_path / MEMORY).write_bytes(spoil)
    with pytest.raises(FlashError, match=MEMORY):
        Flash(RealDisk(tmp_path))


def test_a_flipped_bit_in_the_memory_is_found(tmp_path):
    deliver(Flash(RealDisk(tmp_path)))
    raw = (tmp_path / MEMORY).read_bytes()
    (tmp_path / MEMORY).write_bytes(raw.replace(b"11.4", b"11.1"))
    with pytest.raises(FlashError, match="checksum"):
        Flash(RealDisk(tmp_path))


def test_a_stored_image_that_rotted_is_not_served(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    deliver(flash)
    (tmp_path / f"{IMAGE_ID}.ota").write_bytes(IMAGE[:-1] + b"\0")
    with pytest.raises(FlashError, match="damaged"):
        flash.image()


def test_only_the_owner_can_read_the_state(tmp_path):
    flash = Flash(RealDisk(tmp_path / "state"))
    flash.change(devices=(KnownDevice(eui64=PPMID, device_type="PPMID"),))
    assert stat.S_IMODE((tmp_path / "state" / MEMORY).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_disk_that_refuses_says_what_to_do(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    (tmp_path / "memory.new").mkdir()
    with pytest.raises(FlashError, match="state directory"):
        flash.change(raised=("x",))


def test_an_unchanged_memory_is_not_written_again():
    disk = FaultyDisk(random.Random(1))
    flash = Flash(disk)
    flash.change(raised=("x",))
    steps = disk.steps
    flash.change(raised=("x",))
    assert disk.steps == steps
