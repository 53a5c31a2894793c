"""Single octets of NWK, APS and ZDO that other people's stacks rely on."""

import pytest

from han.sim.wire import aps, aps_commands, nwk, nwk_commands, zdo
from han.sim.wire.errors import WireError
from ota.eui64 import Eui64

METER = Eui64.parse("00-DB-12-34-56-78-90-A5")
METER_WIRE = "a59078563412db00"


@pytest.mark.parametrize(
    ("command", "octets"),
    [
        (nwk_commands.Leave(), "0400"),
        (nwk_commands.Leave(request=True, rejoin=True), "0460"),
        (nwk_commands.RejoinRequest(0x8E), "068e"),
        (nwk_commands.RejoinResponse(0x1234, 0), "07341200"),
        (nwk_commands.LinkStatus((nwk_commands.Link(0x0000, 1, 3),)), "0861000031"),
        (nwk_commands.RouteRequest(7, 0xFFFC, 0, nwk_commands.ManyToOne.WITH_ROUTE_RECORD), "010807fcff00"),
        (nwk_commands.NetworkStatus(nwk_commands.NetworkStatusCode.ADDRESS_CONFLICT, 0x1234), "030d3412"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_network_command_is_written_as_the_standard_says(command, octets):
    assert command.to_bytes().hex() == octets
    assert nwk_commands.parse_command(bytes.fromhex(octets)) == command


@pytest.mark.parametrize("parse", [nwk_commands.parse_command, aps_commands.parse_command])
def test_no_octets_are_no_command(parse):
    with pytest.raises(WireError):
        parse(b"")


def test_a_frame_of_another_protocol_version_is_refused():
    with pytest.raises(WireError, match="version 3 is not Zigbee PRO"):
        nwk.NwkFrame.parse(bytes.fromhex("0c0034120000010200"))


def test_inter_pan_frames_are_refused():
    with pytest.raises(WireError, match="inter-PAN"):
        nwk.NwkFrame.parse(bytes.fromhex("0b0034120000010200"))
    with pytest.raises(WireError, match="inter-PAN"):
        aps.ApsFrame.parse(bytes.fromhex("0b0019000901"))


def test_a_reserved_delivery_or_fragmentation_is_refused():
    with pytest.raises(WireError, match="delivery mode 1"):
        aps.ApsFrame.parse(bytes.fromhex("0401190009010101"))
    with pytest.raises(WireError, match="fragmentation 3"):
        aps.ApsFrame.parse(bytes.fromhex("80011900090101010300"))


def test_an_extended_header_that_says_not_fragmented_says_nothing():
    frame = aps.ApsFrame.parse(bytes.fromhex("800119000901010100aabb"))

    assert frame.fragment is None
    assert frame.payload.hex() == "aabb"


def test_the_first_fragment_tells_how_many_there_are():
    frame = aps.ApsFrame(
        aps.FrameType.DATA,
        5,
        1,
        0x0800,
        0x0109,
        1,
        b"part",
        ack_request=True,
        fragment=aps.Fragment(aps.FragmentKind.FIRST, 3),
    )

    assert frame.to_bytes().hex() == "c0" + "01" + "0008" + "0901" + "01" + "05" + "0103" + b"part".hex()


def test_a_group_message_without_a_group_is_our_mistake():
    with pytest.raises(ValueError, match="needs its group"):
        aps.ApsFrame(aps.FrameType.DATA, 1, delivery=aps.Delivery.GROUP).to_bytes()


def test_a_key_of_a_wrong_length_is_our_mistake():
    with pytest.raises(ValueError, match="16 octets"):
        aps_commands.TransportNetworkKey(b"short", 0, METER, METER).to_bytes()


@pytest.mark.parametrize(
    ("command", "cluster", "octets"),
    [
        (zdo.DeviceAnnounce(0x1234, METER, 0x8E), 0x0013, "3412" + METER_WIRE + "8e"),
        (zdo.NwkAddressRequest(METER), 0x0000, METER_WIRE + "0000"),
        (zdo.IeeeAddressResponse(0, METER, 0x1234), 0x8001, "00" + METER_WIRE + "3412"),
        (zdo.ActiveEndpointsResponse(0, 0x1234, (1, 2)), 0x8005, "0034120201" + "02"),
        (
            zdo.MatchDescriptorRequest(0xFFFD, 0x0109, (0x0019,), ()),
            0x0006,
            "fdff" + "0901" + "011900" + "00",
        ),
        (
            zdo.SimpleDescriptorResponse(
                0, 0x1234, zdo.SimpleDescriptor(1, 0x0109, 0x0500, 0, (0x0019,), (0x000A,))
            ),
            0x8004,
            "0034120c" + "01" + "0901" + "0005" + "00" + "011900" + "010a00",
        ),
        (zdo.MgmtLeaveRequest(METER, rejoin=True), 0x0034, METER_WIRE + "80"),
        (zdo.MgmtPermitJoiningRequest(60), 0x0036, "3c01"),
    ],
    ids=lambda value: "" if isinstance(value, str | int) else type(value).__name__,
)
def test_a_zdo_command_is_written_as_the_standard_says(command, cluster, octets):
    assert zdo.cluster_of(command) == cluster
    assert zdo.encode(0x42, command).hex() == "42" + octets


def test_the_node_descriptor_of_a_2_4_ghz_router_is_written_as_the_standard_says():
    descriptor = zdo.NodeDescriptor(zdo.LogicalType.ROUTER, 0x8E, 0x10D9)

    assert descriptor.to_bytes().hex() == "01" + "40" + "8e" + "d910" + "52" + "5200" + "0000" + "5200" + "00"


def test_a_request_that_is_not_modelled_is_answered_not_supported():
    sequence, request = zdo.decode(0x0021, bytes.fromhex("42aabb"))
    answer = zdo.not_supported(request)

    assert zdo.cluster_of(answer) == 0x8021
    assert zdo.encode(sequence, answer).hex() == "4284"


@pytest.mark.parametrize(
    ("profile", "inputs", "outputs", "matches"),
    [
        (0x0109, (0x0019,), (), True),
        (0x0109, (), (0x000A,), True),
        (0x0109, (0x0702, 0x0019), (0x0999,), True),
        (0xFFFF, (0x0019,), (), True),
        (0x0104, (0x0019,), (), False),
        (0x0109, (0x000A,), (0x0019,), False),
        (0x0109, (), (), False),
    ],
)
def test_an_endpoint_matches_by_profile_and_one_common_cluster(profile, inputs, outputs, matches):
    endpoint = zdo.SimpleDescriptor(1, 0x0109, 0x0500, 0, (0x0019,), (0x000A,))

    assert endpoint.matches(zdo.MatchDescriptorRequest(0x0000, profile, inputs, outputs)) is matches
