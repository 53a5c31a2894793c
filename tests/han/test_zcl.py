"""ZCL frames: what one side writes the other reads, and what is spoilt is refused with a status."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.errors import OurError, TheirError
from han.security.key_establishment import (
    ConfirmKey,
    EphemeralData,
    Initiate,
    Terminate,
    TerminateStatus,
)
from han.zcl import (
    CHARACTER_STRING,
    ENUM8,
    EUI64,
    OCTET_STRING,
    UINT16,
    UINT32,
    AttributeRecord,
    CloseTunnel,
    ReadAttributes,
    ReadAttributesResponse,
    ReportAttributes,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    TransferDataError,
    ZclFrame,
    decode_global,
    decode_key_establishment,
    decode_ota,
    decode_tunnel,
    default_response,
    encode_global,
    encode_key_establishment,
    encode_ota,
    encode_tunnel,
    unsupported_attribute,
)
from ota.commands import (
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageNotify,
    ImagePageRequest,
    QueryDeviceSpecificFileRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import TheirError as OtaTheirError
from ota.eui64 import Eui64

QUESTIONS = [
    QueryNextImageRequest(0x1094, 0x0001, 7),
    ImageBlockRequest(0x1094, 0x0001, 8, 130, 65),
    UpgradeEndRequest(Status.SUCCESS, 0x1094, 0x0001, 8),
    QueryDeviceSpecificFileRequest(Eui64(0x00DB1234567890A4), 0x1094, 0xFFC1, 8, 0x0002),
    ImageNotify(),
]
ANSWERS = [
    QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE),
    ImageBlockResponse(0x1094, 0x0001, 8, 130, b"block"),
    ImageBlockAbort(),
    UpgradeEndResponse(0x1094, 0x0001, 8, 0, 0xFFFFFFFF),
    DefaultResponse(0x03, Status.ABORT),
]
TUNNELLED = [
    RequestTunnel(6, 0xFFFF, False, 1500),
    RequestTunnelResponse(3, 0, 1500),
    CloseTunnel(3),
    TransferData(3, b"\x03GBCS"),
    TransferData(3, b"\x03GBCS", from_server=True),
    TransferData(3, b""),
    TransferDataError(3, 0),
    TransferDataError(3, 1, from_server=True),
]
RECORDS = (
    AttributeRecord(0x0002, type=UINT32, value=0x01020304),
    AttributeRecord(0x0000, type=EUI64, value=0x00DB1234567890A4),
    AttributeRecord(0x0006, type=ENUM8, value=1),
    AttributeRecord(0x0008, type=UINT16, value=0x1094),
    AttributeRecord(0x0029, type=0x29, value=-300),
    AttributeRecord(0x0005, type=CHARACTER_STRING, value="PPMID"),
    AttributeRecord(0x0007, type=OCTET_STRING, value=b"\x00\xff"),
)


def statuses_of_its_pieces(decode: Callable[[ZclFrame], object], octets: bytes) -> set[Status]:
    """What a frame cut at every length is refused with; a piece that can be read is refused with nothing."""
    statuses = set()
    for size in range(len(octets)):
        try:
            decode(ZclFrame.parse(octets[:size]))
        except (TheirError, OtaTheirError) as error:
            statuses.add(error.status)
    return statuses


@pytest.mark.parametrize("command", QUESTIONS + ANSWERS, ids=lambda command: type(command).__name__)
def test_an_ota_command_survives_its_journey(command):
    frame = ZclFrame.parse(encode_ota(command, 0x2A))

    assert decode_ota(frame) == command
    assert frame.sequence == 0x2A
    assert frame.from_server == command.FROM_SERVER


def test_a_block_request_is_the_bytes_that_the_standard_says():
    octets = encode_ota(ImageBlockRequest(0x1094, 0x0001, 0x00000008, 0x82, 65), 0x2A)

    assert octets.hex(" ") == "01 2a 03 00 94 10 01 00 08 00 00 00 82 00 00 00 41"


@pytest.mark.parametrize("command", QUESTIONS, ids=lambda command: type(command).__name__)
def test_whoever_asks_leaves_default_responses_on(command):
    assert not ZclFrame.parse(encode_ota(command, 1)).disable_default_response


@pytest.mark.parametrize("command", ANSWERS, ids=lambda command: type(command).__name__)
def test_whoever_answers_switches_default_responses_off(command):
    assert ZclFrame.parse(encode_ota(command, 1)).disable_default_response


def test_nobody_answers_a_broadcast_notification():
    assert ZclFrame.parse(encode_ota(ImageNotify(), 1, broadcast=True)).disable_default_response


def test_a_page_request_wants_no_default_response():
    request = ImagePageRequest(0x1094, 1, 8, 0, 65, 520, 100)

    assert ZclFrame.parse(encode_ota(request, 1)).disable_default_response


def test_a_default_response_is_a_global_command_of_the_side_that_answers():
    frame = ZclFrame.parse(encode_ota(DefaultResponse(0x00, Status.SUCCESS, from_server=False), 9))

    assert not frame.is_cluster_command
    assert not frame.from_server
    assert decode_ota(frame) == DefaultResponse(0x00, Status.SUCCESS, from_server=False)


def test_the_answer_to_a_frame_keeps_its_sequence_number_and_turns_its_direction():
    question = ZclFrame(0x77, 0x33, b"", manufacturer=0x1094)

    answer = ZclFrame.parse(default_response(question, Status.UNSUP_CLUSTER_COMMAND))

    assert (answer.sequence, answer.from_server, answer.manufacturer) == (0x33, True, 0x1094)
    assert decode_global(answer) == DefaultResponse(0x77, Status.UNSUP_CLUSTER_COMMAND)


@pytest.mark.parametrize("size", range(3))
def test_a_frame_cut_within_its_header_is_refused(size):
    with pytest.raises(TheirError):
        ZclFrame.parse(encode_ota(QUESTIONS[0], 1)[:size])


@pytest.mark.parametrize("size", range(5))
def test_a_manufacturers_frame_cut_within_its_header_is_refused(size):
    with pytest.raises(TheirError):
        ZclFrame.parse(ZclFrame(1, 2, b"", manufacturer=0x1094).to_bytes()[:size])


@pytest.mark.parametrize("control", [0x02, 0x03])
def test_a_reserved_frame_type_is_refused(control):
    with pytest.raises(TheirError):
        ZclFrame.parse(bytes((control, 0, 0)))


@pytest.mark.parametrize("command", QUESTIONS + ANSWERS, ids=lambda command: type(command).__name__)
def test_an_ota_frame_cut_at_any_length_is_refused_or_read_but_never_breaks(command):
    octets = encode_ota(command, 1)

    assert statuses_of_its_pieces(decode_ota, octets) <= {
        Status.MALFORMED_COMMAND,
        Status.UNSUP_CLUSTER_COMMAND,
    }


def test_an_unknown_ota_command_is_refused_with_the_status_to_answer():
    with pytest.raises(OtaTheirError) as caught:
        decode_ota(ZclFrame(0x55, 1, b""))

    assert caught.value.status == Status.UNSUP_CLUSTER_COMMAND


def test_a_manufacturers_own_ota_command_is_refused():
    with pytest.raises(OtaTheirError) as caught:
        decode_ota(ZclFrame(0x03, 1, b"", manufacturer=0x1094))

    assert caught.value.status == 0x83


@pytest.mark.parametrize("command", TUNNELLED, ids=repr)
def test_a_tunnel_command_survives_its_journey(command):
    assert decode_tunnel(ZclFrame.parse(encode_tunnel(command, 5))) == command


@pytest.mark.parametrize("command", TUNNELLED, ids=repr)
def test_a_tunnel_frame_cut_at_any_length_is_refused_or_read_but_never_breaks(command):
    octets = encode_tunnel(command, 1)

    assert statuses_of_its_pieces(decode_tunnel, octets) <= {Status.MALFORMED_COMMAND}


def test_an_unknown_tunnel_command_is_refused():
    with pytest.raises(TheirError) as caught:
        decode_tunnel(ZclFrame(0x44, 1, b""))

    assert caught.value.status == Status.UNSUP_CLUSTER_COMMAND


@pytest.mark.parametrize(
    "command",
    [
        ReadAttributes((0x0002, 0x0006), from_server=True),
        ReadAttributesResponse((*RECORDS, unsupported_attribute(0x1234)), from_server=False),
        ReportAttributes(RECORDS),
        DefaultResponse(0x0A, Status.SUCCESS),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_global_command_survives_its_journey(command):
    assert decode_global(ZclFrame.parse(encode_global(command, 3))) == command


def test_the_version_of_a_device_is_read_by_the_bytes_that_the_standard_says():
    octets = encode_global(ReadAttributes((0x0002,), from_server=True), 0x11)

    assert octets.hex(" ") == "08 11 00 02 00"


@pytest.mark.parametrize(
    "command", [ReadAttributesResponse(RECORDS), ReportAttributes(RECORDS)], ids=["rsp", "rep"]
)
def test_a_global_frame_cut_at_any_length_is_refused_or_read_but_never_breaks(command):
    octets = encode_global(command, 1)

    assert statuses_of_its_pieces(decode_global, octets) <= {Status.MALFORMED_COMMAND}


def test_an_attribute_of_a_type_we_do_not_read_is_refused_by_name_of_its_type():
    with pytest.raises(TheirError, match="0x48") as caught:
        decode_global(ZclFrame(0x0A, 1, bytes.fromhex("000048"), is_cluster_command=False))

    assert caught.value.status == 0x8D


def test_the_invalid_string_has_no_value():
    frame = ZclFrame(0x0A, 1, bytes.fromhex("050042ff"), is_cluster_command=False)

    assert decode_global(frame) == ReportAttributes(
        (AttributeRecord(0x0005, type=CHARACTER_STRING),), from_server=False
    )


@pytest.mark.parametrize(
    "record",
    [
        AttributeRecord(1, type=UINT16, value=0x10000),
        AttributeRecord(1, type=UINT16, value=-1),
        AttributeRecord(1, type=UINT16, value="text"),
        AttributeRecord(1, type=OCTET_STRING, value=bytes(256)),
        AttributeRecord(1, type=UINT16),
    ],
    ids=repr,
)
def test_a_value_that_does_not_fit_its_type_is_our_mistake(record):
    with pytest.raises(OurError):
        encode_global(ReportAttributes((record,)), 1)


@given(st.binary(max_size=100))
def test_no_bytes_from_the_air_raise_anything_but_their_error(octets):
    for decode in (decode_ota, decode_tunnel, decode_global):
        with contextlib.suppress(TheirError, OtaTheirError):
            decode(ZclFrame.parse(octets))


# Key Establishment

ESTABLISHING = [
    kind(*fields, from_server=from_server)
    for from_server in (False, True)
    for kind, *fields in (
        (Initiate, 2, 11, 16, bytes(74)),
        (EphemeralData, bytes(37)),
        (ConfirmKey, bytes(16)),
        (Terminate, TerminateStatus.NO_RESOURCES, 5, 2),
    )
]


@pytest.mark.parametrize("command", ESTABLISHING, ids=repr)
def test_what_one_side_says_to_establish_a_key_the_other_reads(command):
    frame = ZclFrame.parse(encode_key_establishment(command, 9))

    assert decode_key_establishment(frame) == command
    assert (frame.sequence, frame.from_server) == (9, command.from_server)


@pytest.mark.parametrize("command", ESTABLISHING, ids=repr)
def test_only_what_an_initiator_asks_wants_default_responses(command):
    frame = ZclFrame.parse(encode_key_establishment(command, 9))

    is_question = not command.from_server and not isinstance(command, Terminate)
    assert frame.disable_default_response is not is_question


def test_a_default_response_to_key_establishment_is_read_as_one():
    question = ZclFrame.parse(encode_key_establishment(EphemeralData(bytes(37), from_server=False), 9))
    answer = ZclFrame.parse(default_response(question, Status.FAILURE))

    assert decode_key_establishment(answer) == DefaultResponse(0x01, Status.FAILURE, from_server=True)


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (ZclFrame(0x04, 1, b""), Status.UNSUP_CLUSTER_COMMAND),
        (ZclFrame(0x00, 1, b"\x02\x00\x0b"), Status.MALFORMED_COMMAND),
        (ZclFrame(0x02, 1, bytes(15)), Status.MALFORMED_COMMAND),
        (ZclFrame(0x00, 1, b"\x00\x00", is_cluster_command=False), Status(0x82)),
        (ZclFrame(0x00, 1, bytes(78), manufacturer=0x1234), Status(0x83)),
    ],
    ids=["unknown", "short", "short MAC", "global", "a manufacturer's"],
)
def test_what_is_no_command_of_key_establishment_is_refused_with_its_status(frame, status):
    with pytest.raises(TheirError) as caught:
        decode_key_establishment(frame)

    assert caught.value.status == status
