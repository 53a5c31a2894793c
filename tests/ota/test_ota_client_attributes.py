"""What others can read of a device's OTA client, in every state."""

from __future__ import annotations

from zlib import crc32

import pytest
from ota_bench import FILE, KEY, Bench, complete, downloading
from ota_pair import PPMID, RUNNING, upgrade_file
from ota_states import PLACES, SECOND_TYPE

from ota.client import Identity, State
from ota.client_attributes import Attribute
from ota.commands import ImageBlockResponse, ImageBlockWait, QueryNextImageResponse, Status
from ota.image import Header, Image

NONE_16, NONE_32 = 0xFFFF, 0xFFFFFFFF
FILE_OFFSET, DOWNLOADED, STACK, IMAGE_TYPE = 0x0001, 0x0004, 0x0005, 0x0008

EXPECTED = {
    "idle": (NONE_32, NONE_32, NONE_16, NONE_16),
    "asks": (NONE_32, NONE_32, NONE_16, NONE_16),
    "asks for its own file": (NONE_32, NONE_32, NONE_16, NONE_16),
    "asks for a block": (0, NONE_32, NONE_16, 0x0084),
    "pauses between blocks": (65, NONE_32, NONE_16, 0x0084),
    "in a page": (20, NONE_32, NONE_16, 0x0084),
    "fills gaps": (20, NONE_32, NONE_16, 0x0084),
    "in the second file": (65, 2, 0x0002, SECOND_TYPE),
    "reports the file": (len(FILE), 2, 0x0002, 0x0084),
    "told to hold": (len(FILE), 2, 0x0002, 0x0084),
    "counts down": (len(FILE), 2, 0x0002, 0x0084),
    "needs more": (NONE_32, 2, 0x0002, 0x0084),
    "asks for more": (NONE_32, 2, 0x0002, 0x0084),
    "held for a command": (len(FILE), 2, 0x0002, 0x0084),
    "held, and asks": (len(FILE), 2, 0x0002, 0x0084),
}
"""FileOffset, DownloadedFileVersion, DownloadedZigbeeStackVersion, ImageTypeID."""


@pytest.mark.parametrize("place", PLACES)
def test_the_attributes_are_right_wherever_a_device_stands(place):
    state, bring = PLACES[place]
    bench = bring()
    attributes = bench.client.attributes(PPMID)
    assert bench.client.state is state
    assert attributes[Attribute.IMAGE_UPGRADE_STATUS] == state.value
    assert tuple(attributes[each] for each in (FILE_OFFSET, DOWNLOADED, STACK, IMAGE_TYPE)) == EXPECTED[place]
    assert attributes[Attribute.CURRENT_FILE_VERSION] == 1
    assert attributes[Attribute.MANUFACTURER_ID] == 0x121D
    assert attributes[Attribute.UPGRADE_SERVER_ID] == PPMID


@pytest.mark.parametrize("place", PLACES)
def test_every_attribute_can_be_read_wherever_a_device_stands(place):
    _, bring = PLACES[place]
    assert sorted(bring().client.attributes()) == [*range(0x000D), 0xFFFD]


def test_every_state_has_a_place_where_it_is_looked_at():
    assert {state for state, _ in PLACES.values()} == set(State)


def test_an_unknown_server_is_all_ones():
    assert Bench().client.attributes()[Attribute.UPGRADE_SERVER_ID] == 0xFFFFFFFFFFFFFFFF


@pytest.mark.parametrize(
    ("out_of_band", "applies", "policies"), [(False, True, (0, 0)), (True, False, (1, 1))]
)
def test_the_policies_are_those_of_the_device(out_of_band, applies, policies):
    attributes = Bench(out_of_band_only=out_of_band, apply_after_timeout=applies).client.attributes()
    assert (attributes[0x000B], attributes[0x000C]) == policies


def test_the_stack_versions_come_from_what_runs_and_from_the_header_of_what_is_downloaded():
    plain = Header.parse(FILE)
    header = Header(
        manufacturer=plain.manufacturer,
        image_type=plain.image_type,
        file_version=2,
        total_size=0,
        stack_version=0x0003,
    )
    data = Image.build(header, b"firmware for another stack").to_bytes()
    bench = Bench(identity=Identity(0x121D, 0x0084, 1, 0x1150, stack_version=0x0001))
    bench.hears(QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, len(data)))
    while bench.client.state is State.DOWNLOADING:
        at = len(bench.client.stored.data)
        bench.hears(ImageBlockResponse(0x121D, 0x0084, 2, at, data[at : at + 65]))
    attributes = bench.client.attributes()
    assert (attributes[0x0003], attributes[0x0005]) == (0x0001, 0x0003)
    bench.client.activate(bench.now)
    attributes = bench.client.attributes()
    assert (attributes[0x0003], attributes[0x0005]) == (0x0003, NONE_16)


def test_the_image_stamp_tells_two_images_of_one_version_apart():
    assert Bench().client.attributes()[Attribute.IMAGE_STAMP] == NONE_32
    bench = complete()
    bench.client.activate(bench.now)
    assert bench.client.attributes()[Attribute.IMAGE_STAMP] == crc32(FILE)
    assert crc32(FILE) != crc32(upgrade_file(200, seed=2))


def test_the_block_period_in_force_can_be_read_until_the_next_restart():
    bench = downloading()
    bench.hears(ImageBlockWait(0, 0, 600))
    assert bench.client.attributes()[Attribute.MINIMUM_BLOCK_PERIOD] == 600
    bench.client.reboot(bench.now)
    assert bench.client.attributes()[Attribute.MINIMUM_BLOCK_PERIOD] == 0


def test_after_the_activation_the_new_version_runs_and_nothing_is_downloaded():
    bench = complete()
    bench.client.activate(bench.now)
    attributes = bench.client.attributes()
    assert (attributes[0x0002], attributes[0x0006]) == (KEY.file_version, 0)
    assert attributes[0x0001] == attributes[0x0004] == NONE_32
    assert RUNNING.file_version == 1
