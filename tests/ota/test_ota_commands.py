"""The commands of the OTA Upgrade cluster and their octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.commands import (
    Command,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    ImagePageRequest,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
    parse_command,
)
from ota.errors import OurError, TheirError
from ota.eui64 import Eui64

ADDRESS = Eui64(0x00DB1234567890A4)

KNOWN: list[tuple[Command, str]] = [
    (ImageNotify(), "0064"),
    (ImageNotify(1, 50, 0x121D), "0132 1d12"),
    (ImageNotify(2, 50, 0x121D, 0x0084), "0232 1d12 8400"),
    (ImageNotify(3, 50, 0x121D, 0x0084, 0xACDCACDC), "0332 1d12 8400 dcacdcac"),
    (QueryNextImageRequest(0x121D, 0x0084, 1), "00 1d12 8400 01000000"),
    (QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150), "01 1d12 8400 01000000 5011"),
    (QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE), "98"),
    (QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, 350060), "00 1d12 8400 02000000 6c570500"),
    (ImageBlockRequest(0x121D, 0x0084, 2, 65, 65), "00 1d12 8400 02000000 41000000 41"),
    (
        ImageBlockRequest(0x121D, 0x0084, 2, 65, 65, ADDRESS),
        "01 1d12 8400 02000000 41000000 41 a490785634 12db00",
    ),
    (ImageBlockRequest(0x121D, 0x0084, 2, 65, 65, None, 500), "02 1d12 8400 02000000 41000000 41 f401"),
    (
        ImageBlockRequest(0x121D, 0x0084, 2, 65, 65, ADDRESS, 500),
        "03 1d12 8400 02000000 41000000 41 a49078563412db00 f401",
    ),
    (
        ImagePageRequest(0x121D, 0x0084, 2, 65, 32, 1024, 50),
        "00 1d12 8400 02000000 41000000 20 0004 3200",
    ),
    (
        ImagePageRequest(0x121D, 0x0084, 2, 65, 32, 1024, 50, ADDRESS),
        "01 1d12 8400 02000000 41000000 20 0004 3200 a49078563412db00",
    ),
    (ImageBlockResponse(0x121D, 0x0084, 2, 65, b"\xaa\xbb"), "00 1d12 8400 02000000 41000000 02 aabb"),
    (ImageBlockWait(0, 300), "97 00000000 2c010000"),
    (ImageBlockWait(0, 300, 500), "97 00000000 2c010000 f401"),
    (ImageBlockAbort(), "95"),
    (UpgradeEndRequest(Status.INVALID_IMAGE, 0x121D, 0x0084, 2), "96 1d12 8400 02000000"),
    (UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF), "ffff ffff ffffffff 00000000 ffffffff"),
    (
        QueryDeviceSpecificFileRequest(ADDRESS, 0x121D, 0xFFC1, 1, 0x0002),
        "a490785634 12db00 1d12 c1ff 01000000 0200",
    ),
    (QueryDeviceSpecificFileResponse(Status.NO_IMAGE_AVAILABLE), "98"),
    (
        QueryDeviceSpecificFileResponse(Status.SUCCESS, 0x121D, 0xFFC1, 2, 4096),
        "00 1d12 c1ff 02000000 00100000",
    ),
]

IDS = [f"{type(command).__name__}-{len(bytes.fromhex(octets))}" for command, octets in KNOWN]


@pytest.mark.parametrize(("command", "octets"), KNOWN, ids=IDS)
def test_a_command_has_the_octets_of_its_clause(command, octets):
    assert command.payload() == bytes.fromhex(octets)


@pytest.mark.parametrize(("command", "octets"), KNOWN, ids=IDS)
def test_what_one_side_sends_is_what_the_other_receives(command, octets):
    assert parse_command(command.COMMAND_ID, command.FROM_SERVER, bytes.fromhex(octets)) == command


# Cut there, a block response is a shorter command of its own, and a wait is one from before the block period.
READS_CUT = {(ImageBlockWait(0, 300, 500), 9)}


@pytest.mark.parametrize(("command", "octets"), KNOWN, ids=IDS)
def test_a_command_cut_at_any_length_is_malformed(command, octets):
    payload = bytes.fromhex(octets)
    for length in range(len(payload)):
        if (command, length) in READS_CUT:
            continue
        with pytest.raises(TheirError) as refusal:
            parse_command(command.COMMAND_ID, command.FROM_SERVER, payload[:length])
        assert refusal.value.status is Status.MALFORMED_COMMAND


# Deployed clients take the length of an Image Notify literally; two more octets give a wait its period.
TAKEN_LITERALLY = [
    known for known in KNOWN if isinstance(known[0], ImageNotify) or known[0] == ImageBlockWait(0, 300)
]


@pytest.mark.parametrize(("command", "octets"), [known for known in KNOWN if known not in TAKEN_LITERALLY])
def test_octets_of_a_later_revision_at_the_end_are_skipped(command, octets):
    read = parse_command(command.COMMAND_ID, command.FROM_SERVER, bytes.fromhex(octets) + b"\x01\x02\x03")
    assert read == command


@pytest.mark.parametrize(
    "payload", ["0064 1d12", "0164", "0232 1d12", "0332 1d12 8400 dcacdc", "0464", "ff64"]
)
def test_an_image_notify_whose_length_is_not_that_of_its_type_is_malformed(payload):
    with pytest.raises(TheirError):
        ImageNotify.parse(bytes.fromhex(payload))


@pytest.mark.parametrize(
    ("command_id", "from_server"),
    [(0x01, True), (0x05, False), (0x08, True), (0x09, False), (0x0A, False), (0x7F, True)],
)
def test_a_command_that_this_side_does_not_send_is_unsupported(command_id, from_server):
    with pytest.raises(TheirError) as refusal:
        parse_command(command_id, from_server, bytes(40))
    assert refusal.value.status is Status.UNSUP_CLUSTER_COMMAND


def test_the_cluster_has_ten_commands():
    ids = [(id_, side) for side in (False, True) for id_ in range(256) if _is_known(id_, from_server=side)]
    assert sorted(id_ for id_, _ in ids) == list(range(10))


def _is_known(command_id: int, *, from_server: bool) -> bool:
    try:
        parse_command(command_id, from_server, b"")
    except TheirError as refusal:
        return refusal.status is not Status.UNSUP_CLUSTER_COMMAND
    return True


def test_the_answers_to_the_two_queries_are_not_the_same_command():
    none = Status.NO_IMAGE_AVAILABLE
    assert QueryNextImageResponse(none) != QueryDeviceSpecificFileResponse(none)


def test_a_status_that_nobody_defined_survives():
    ended = parse_command(0x06, False, bytes.fromhex("c1 1d12 8400 02000000"))
    assert ended.status == 0xC1
    assert ended.status.name == "UNKNOWN_0xc1"
    assert ended.payload()[0] == 0xC1


def test_a_block_response_of_one_octet_tells_how_the_download_ended():
    assert parse_command(0x05, True, b"\x98") == ImageBlockAbort(Status.NO_IMAGE_AVAILABLE)


def test_a_default_response_knows_who_sends_it():
    answer = DefaultResponse.parse(b"\x03\x98", from_server=True)
    assert answer == DefaultResponse(0x03, Status.NO_IMAGE_AVAILABLE)
    assert answer.FROM_SERVER
    assert not DefaultResponse.parse(b"\x00\x01", from_server=False).FROM_SERVER


@pytest.mark.parametrize("payload", [b"", b"\x03"])
def test_a_default_response_cut_short_is_malformed(payload):
    with pytest.raises(TheirError):
        DefaultResponse.parse(payload)


@pytest.mark.parametrize(
    "command",
    [
        ImageNotify(4),
        ImageNotify(3, 100, 0x121D),
        ImageNotify(0, 256),
        QueryNextImageRequest(0x1_0000, 0, 0),
        QueryNextImageRequest(0, 0, 0, 0x1_0000),
        QueryNextImageResponse(Status.SUCCESS),
        QueryDeviceSpecificFileResponse(Status.SUCCESS, 1, 2, 3),
        QueryDeviceSpecificFileRequest(ADDRESS, 0, 0x1_0000, 0, 0),
        ImageBlockRequest(0, 0, 0, -1, 50),
        ImageBlockResponse(0, 0, 0, 0, bytes(256)),
        ImageBlockAbort(Status.SUCCESS),
        UpgradeEndResponse(0, 0, 0, 0, 1 << 32),
    ],
)
def test_a_command_that_cannot_be_said_is_our_error(command):
    with pytest.raises(OurError):
        command.payload()


@given(st.integers(0, 0xFF), st.booleans(), st.binary(max_size=40))
def test_any_octets_are_a_command_or_a_refusal_with_a_status(command_id, from_server, payload):
    status = None
    try:
        command = parse_command(command_id, from_server, payload)
    except TheirError as refusal:
        status = refusal.status
    if status is None:
        assert parse_command(command_id, from_server, command.payload()) == command
    else:
        assert status in (Status.MALFORMED_COMMAND, Status.UNSUP_CLUSTER_COMMAND)
