"""Captures, key files, and upgrade files rebuilt from them."""

import io
import random
import stat
import struct

import pytest
from capture_of_a_download import GSME, PPMID, House

from han.sim.air.capture import CaptureError, KeyFile, PcapWriter, read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images

EPOCH = 1_767_571_200  # 2026-01-05T00:00:00Z


def written(frames, **settings):
    file = io.BytesIO()
    writer = PcapWriter(file, 15, **settings)
    for at, psdu in frames:
        writer.write(at, psdu, -40.0, 200)
    assert writer.frames == len(frames)
    file.seek(0)
    return file


def test_what_the_sniffer_heard_is_read_back_with_its_times():
    frames = [
        (0.0, b"\x02\x00\x01\xaa\xbb"),
        (0.000_352, bytes(range(127))),
        (86400.25, b"\x02\x00\x02\xcc\xdd"),
    ]

    assert [(pytest.approx(at), psdu) for at, psdu in frames] == list(read_pcap(written(frames)))


def test_times_keep_their_nanoseconds_when_the_epoch_is_given_apart():
    octets = written([(0.123_456_789, b"frame"), (0.999_999_999_9, b"frame")], epoch=EPOCH).getvalue()

    assert struct.unpack_from("<II", octets, 24) == (EPOCH, 123_456_789)
    assert struct.unpack_from("<II", octets, 24 + 16 + 36 + 5) == (EPOCH + 1, 0)


def test_every_frame_can_be_read_as_soon_as_it_is_written():
    class Pipe(io.BytesIO):
        flushed = 0

        def flush(self):
            self.flushed = self.tell()

    pipe = Pipe()
    writer = PcapWriter(pipe, 15)
    for _ in range(3):
        writer.write(1.0, b"frame")

        assert pipe.flushed == pipe.tell()


@pytest.mark.parametrize(("order", "magic"), [("<", 0xA1B2C3D4), (">", 0xA1B2C3D4), (">", 0xA1B23C4D)])
def test_captures_of_other_programs_are_read_in_either_byte_order(order, magic):
    parts = 500_000 if magic == 0xA1B2C3D4 else 500_000_000
    octets = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 256, 195)
    octets += struct.pack(order + "IIII", 10, parts, 5, 5) + b"frame"

    assert list(read_pcap(io.BytesIO(octets))) == [(10.5, b"frame")]


@pytest.mark.parametrize("length", range(24 + 16 + 36 + 5))
def test_a_capture_cut_at_any_length_is_refused_unless_a_frame_ends_there(length):
    octets = written([(1.0, b"frame")]).getvalue()[:length]
    if length == 24:
        assert list(read_pcap(io.BytesIO(octets))) == []
        return
    with pytest.raises(CaptureError):
        list(read_pcap(io.BytesIO(octets)))


def test_another_kind_of_file_is_refused_with_advice():
    with pytest.raises(CaptureError, match="editcap"):
        list(read_pcap(io.BytesIO(b"\x0a\x0d\x0d\x0a" + bytes(40))))
    with pytest.raises(CaptureError, match="link type 1 "):
        list(read_pcap(io.BytesIO(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 256, 1))))


def test_only_its_owner_may_read_a_key_file_even_where_an_open_one_stood(tmp_path):
    path = tmp_path / "keys"
    path.write_text("left over")
    path.chmod(0o644)
    with KeyFile(path) as keys:
        keys.add(bytes(range(16)), "network key 0")
        keys.add(bytes(range(16)), "the same again")
        keys.add(bytes(16), "link key of\n00-DB-12-34-56-78-90-A5")

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == (
            '"000102030405060708090a0b0c0d0e0f","Normal","network key 0"\n'
            '"00000000000000000000000000000000","Normal","link key of 00-DB-12-34-56-78-90-A5"\n'
        )
    assert read_keys(path) == [
        (bytes(range(16)), "network key 0"),
        (bytes(16), "link key of 00-DB-12-34-56-78-90-A5"),
    ]


def test_a_key_of_a_wrong_length_is_our_mistake(tmp_path):
    with KeyFile(tmp_path / "keys") as keys, pytest.raises(ValueError, match="16 octets"):
        keys.add(bytes(15), "short")


@pytest.mark.parametrize(
    "line", ["", "not hex", '"00112233","Normal","short"', f'"{"zz" * 16}","Normal",""', "00" * 16 + " label"]
)
def test_a_spoilt_key_file_is_refused_by_line_without_repeating_it(tmp_path, line):
    path = tmp_path / "keys"
    path.write_text(f'"{"00" * 16}","Normal","good"\n{line}\n')
    with pytest.raises(CaptureError, match="line 2") as refusal:
        read_keys(path)

    assert not line or line not in str(refusal.value)


@pytest.fixture
def image():
    body = random.Random(7).randbytes(1000)
    return body[:52] + len(body).to_bytes(4, "little") + body[56:]


@pytest.mark.parametrize("aps_security", [False, True])
def test_an_image_is_rebuilt_from_its_blocks(image, aps_security):
    house = House(aps_security=aps_security)
    house.serve(PPMID, image)

    assert rebuild_images(house.frames, house.keys) == {PPMID: image}


def test_blocks_sent_twice_or_out_of_order_or_in_other_sizes_do_no_harm(image):
    house = House()
    house.serve(PPMID, image, sizes=[64, 10, 64])
    house.serve(PPMID, image, sizes=[30])
    random.Random(7).shuffle(house.frames)

    assert rebuild_images(house.frames, house.keys) == {PPMID: image}


def test_an_image_with_a_gap_ends_where_the_gap_begins(image):
    house = House()
    house.serve(PPMID, image, sizes=[50], skip=range(200, 250))

    assert rebuild_images(house.frames, house.keys) == {PPMID: image[:200]}


def test_downloads_of_two_devices_are_kept_apart_and_can_be_chosen(image):
    house = House()
    house.serve(PPMID, image)
    house.serve(GSME, image[::-1])

    assert rebuild_images(house.frames, house.keys) == {PPMID: image, GSME: image[::-1]}
    assert rebuild_images(house.frames, house.keys, destination=GSME.destination) == {GSME: image[::-1]}
    assert rebuild_images(house.frames, house.keys, source=0x0000, destination=0x9999) == {}
    assert rebuild_images(house.frames, house.keys, source=GSME.destination) == {}


def test_two_accounts_of_the_same_octets_that_disagree_are_an_error(image):
    house = House()
    house.serve(PPMID, image)
    house.serve(PPMID, image[:500] + b"?" + image[501:])
    with pytest.raises(CaptureError, match="disagree"):
        rebuild_images(house.frames, house.keys)


def test_spoilt_frames_and_such_as_no_key_opens_are_passed_over(image):
    house = House()
    house.serve(PPMID, image)
    at, psdu = house.frames[0]
    house.frames.insert(0, (at, psdu[:-1] + bytes((psdu[-1] ^ 1,))))
    stranger = House(network_key=b"\x55" * 16)
    stranger.serve(GSME, image)

    assert rebuild_images(house.frames + stranger.frames, house.keys) == {PPMID: image}
    assert rebuild_images(house.frames, []) == {}


def test_a_wait_or_an_abort_is_no_block(image):
    house = House()
    house.answer(PPMID, bytes.fromhex("97000000003c0000000000") + bytes(8))
    house.answer(PPMID, b"\x95")
    house.serve(PPMID, image)

    assert rebuild_images(house.frames, house.keys) == {PPMID: image}
