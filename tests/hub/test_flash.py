import hashlib
import random
import stat

import pytest
from hub_faulty_disk import FaultyDisk, PowerCutError

from hub.disk import RealDisk
from hub.errors import OurError
from hub.flash import MEMORY, Flash, FlashError
from hub.memory import Arrival, Kept, KnownDevice, QueuedAlert
from hub.slot import Assignment, Held, SlotName, Stage
from ota.eui64 import Eui64

PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
IMAGE = random.Random(3).randbytes(1000)
IMAGE_ID = hashlib.sha256(IMAGE).hexdigest()
CHUNK = 300
SLOT = SlotName.SHARED
OF_ONE_SLOT = (
    b'{"sha256":"1aa1d9664b2da59252724b6ccccfe005e807176da74ed2b054fee44e116fa877","memory":{"hub":nu'
    b'll,"held":{"image_id":"07ee354621624d66756ba15f510c953ac93110cfc818977d18055205d6310e9c","size"'
    b':1000,"stage":"arriving","since":5.0,"assignments":[{"device":"00db1234567890a4","device_type":'
    b'"PPMID","request_id":"r1","service_request":"11.4","fate":"waiting","has_begun":false,"is_pause'
    b'd":false}]},"file_version":"00000002","arrival":{"received":300,"prefix_sha256":"4a33a04a9bb7f0'
    b'4a5d0da4327590278547b8751acac7f25e1918594f985bc214"},"alerts":[],"raised":["a1"],"ended":[],"ac'
    b'tivations":[],"devices":[],"removed":[],"originator_counter":0}}'
)
"""What a hub that knew the shared slot alone had written, to the byte, with 300 octets of IMAGE there."""


def held(stage: Stage = Stage.ARRIVING) -> Held:
    return Held(IMAGE_ID, len(IMAGE), stage, 5.0, (Assignment(PPMID, "PPMID", "r1", "11.4"),))


def begin(flash: Flash) -> None:
    flash.begin(SLOT, flash.memory.with_slot(SLOT, Kept(held=held())))


def append(flash: Flash) -> int:
    at = flash.received(SLOT)
    return flash.append(SLOT, at, IMAGE[at : at + CHUNK])


def deliver(flash: Flash) -> None:
    """The story of one image, from wherever the flash stands."""
    if flash.memory.slot(SLOT).held is None:
        begin(flash)
    if flash.memory.slot(SLOT).held.stage is Stage.ARRIVING:
        while flash.received(SLOT) < len(IMAGE):
            append(flash)
        flash.store(SLOT, flash.memory.with_slot(SLOT, Kept(held=held(Stage.STORED))))
    flash.change(alerts=(QueuedAlert(id="a1", topic="t", payload=b"{}"),), raised=("a1",))


def test_an_image_lies_on_the_flash_as_it_was_sent(tmp_path):
    deliver(Flash(RealDisk(tmp_path)))
    again = Flash(RealDisk(tmp_path))
    assert again.image(SLOT) == IMAGE
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
            assert flash.image(SLOT) in (None, IMAGE), "an image is there whole or not at all"
            deliver(flash)
            assert flash.image(SLOT) == IMAGE
            assert [alert.id for alert in flash.memory.alerts] == ["a1"]
            assert disk.names() == sorted([MEMORY, f"{IMAGE_ID}.ota"]), "nothing is left over"


def test_what_was_acknowledged_as_safe_is_never_asked_for_again():
    for cut in range(1, 60):
        disk = FaultyDisk(random.Random(cut))
        flash = Flash(disk)
        begin(flash)
        safe = 0
        disk.steps_left = cut
        try:
            while flash.received(SLOT) < len(IMAGE):
                safe = append(flash)
        except PowerCutError:
            pass
        disk.power_back()
        assert Flash(disk).received(SLOT) >= safe


def test_an_arrival_goes_on_where_it_was_safe(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    begin(flash)
    flash.append(SLOT, 0, IMAGE[:CHUNK])
    with (tmp_path / f"{IMAGE_ID}.part").open("ab") as torn:
        torn.write(b"garbage that no memory vouches for")
    again = Flash(RealDisk(tmp_path))
    assert again.received(SLOT) == CHUNK
    deliver(again)
    assert again.image(SLOT) == IMAGE


def test_an_arrival_that_changed_on_the_disk_starts_afresh(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    begin(flash)
    flash.append(SLOT, 0, IMAGE[:CHUNK])
    (tmp_path / f"{IMAGE_ID}.part").write_bytes(b"\xff" * CHUNK)
    again = Flash(RealDisk(tmp_path))
    assert (again.received(SLOT), again.memory.slot(SLOT).arrival) == (0, Arrival())


def test_octets_out_of_order_and_half_images_are_not_stored(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    with pytest.raises(OurError):
        flash.append(SLOT, 0, b"nothing was begun")
    begin(flash)
    with pytest.raises(OurError):
        flash.append(SLOT, 5, b"x")
    flash.append(SLOT, 0, IMAGE[:CHUNK])
    with pytest.raises(OurError, match="not whole"):
        flash.store(SLOT, flash.memory)
    assert flash.image(SLOT) is None


def test_a_cleared_slot_leaves_no_file(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    deliver(flash)
    flash.clear(SLOT, flash.memory)
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
        flash.image(SLOT)


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


def test_the_memory_of_a_hub_with_one_slot_is_read_and_its_image_goes_on_arriving(tmp_path):
    (tmp_path / MEMORY).write_bytes(OF_ONE_SLOT)
    (tmp_path / f"{IMAGE_ID}.part").write_bytes(IMAGE[:CHUNK])
    flash = Flash(RealDisk(tmp_path))
    assert flash.memory.slot(SLOT).held == held()
    assert flash.memory.slot(SLOT).file_version == "00000002"
    assert flash.memory.slot(SlotName.ESME) == Kept()
    assert (flash.received(SLOT), flash.memory.raised) == (CHUNK, ("a1",))
    deliver(flash)
    assert Flash(RealDisk(tmp_path)).image(SLOT) == IMAGE


def test_the_memory_of_a_hub_with_one_slot_may_be_spoilt_like_any_other(tmp_path):
    (tmp_path / MEMORY).write_bytes(OF_ONE_SLOT.replace(b'"size":1000', b'"size":1001'))
    with pytest.raises(FlashError, match="checksum"):
        Flash(RealDisk(tmp_path))


ESME = Eui64.parse("00-DB-12-34-56-78-90-A6")
ESME_IMAGE = random.Random(4).randbytes(1300)
ESME_IMAGE_ID = hashlib.sha256(ESME_IMAGE).hexdigest()
IMAGES = {SlotName.SHARED: IMAGE, SlotName.ESME: ESME_IMAGE}


def in_slot(slot: SlotName, stage: Stage) -> Held:
    if slot is SLOT:
        return held(stage)
    return Held(ESME_IMAGE_ID, len(ESME_IMAGE), stage, 6.0, (Assignment(ESME, "ESME", "r2", "11.1"),))


def deliver_both(flash: Flash) -> None:
    """The story of two images whose pieces come by turns, from wherever the flash stands."""
    for slot in SlotName:
        if flash.memory.slot(slot).held is None:
            flash.begin(slot, flash.memory.with_slot(slot, Kept(held=in_slot(slot, Stage.ARRIVING))))
    while any(flash.memory.slot(slot).held.stage is Stage.ARRIVING for slot in SlotName):
        for slot, data in IMAGES.items():
            if flash.memory.slot(slot).held.stage is Stage.STORED:
                continue
            at = flash.received(slot)
            if at < len(data):
                flash.append(slot, at, data[at : at + CHUNK])
            else:
                flash.store(slot, flash.memory.with_slot(slot, Kept(held=in_slot(slot, Stage.STORED))))


def test_two_images_arrive_by_turns_and_power_may_go_at_any_step():
    whole = FaultyDisk(random.Random(0))
    deliver_both(Flash(whole))
    for seed in range(3):
        for cut in range(1, whole.steps + 1):
            disk = FaultyDisk(random.Random(f"{seed} {cut}"))
            disk.steps_left = cut
            safe = dict.fromkeys(SlotName, 0)
            flash = Flash(disk)
            with pytest.raises(PowerCutError):
                deliver_both(flash)
            for slot in SlotName:
                arrival = flash.memory.slot(slot).arrival
                safe[slot] = 0 if arrival is None else arrival.received
            disk.power_back()
            flash = Flash(disk)
            for slot, data in IMAGES.items():
                assert flash.image(slot) in (None, data), "an image is there whole or not at all"
                if flash.image(slot) is None:
                    assert flash.received(slot) >= safe[slot], "what was safe stays"
            deliver_both(flash)
            assert {slot: flash.image(slot) for slot in SlotName} == IMAGES
            assert disk.names() == sorted([MEMORY, f"{IMAGE_ID}.ota", f"{ESME_IMAGE_ID}.ota"])


def test_a_slot_that_is_cleared_leaves_the_other_alone(tmp_path):
    for slot, other in ((SlotName.SHARED, SlotName.ESME), (SlotName.ESME, SlotName.SHARED)):
        flash = Flash(RealDisk(tmp_path))
        deliver_both(flash)
        flash.clear(slot, flash.memory)
        again = Flash(RealDisk(tmp_path))
        assert (again.image(slot), again.image(other)) == (None, IMAGES[other])


def test_an_image_cannot_begin_in_one_slot_while_it_lies_in_the_other(tmp_path):
    flash = Flash(RealDisk(tmp_path))
    deliver(flash)
    before = flash.memory
    with pytest.raises(OurError, match="one place"):
        flash.begin(SlotName.ESME, flash.memory.with_slot(SlotName.ESME, Kept(held=held())))
    assert flash.memory == before
    assert flash.image(SLOT) == IMAGE
