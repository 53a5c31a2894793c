"""What 802.15.4 frames look like on the air, octet by octet, and which of them Zigbee has no use for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.sim.wire import mac, nwk
from han.sim.wire.errors import FcsError, FrameTooLongError, WireError
from ota.eui64 import Eui64

METER = Eui64.parse("00-DB-12-34-56-78-90-A5")
DATA = mac.MacFrame(mac.FrameType.DATA, 9, 0x1A62, 0x1234, 0x0000, b"payload", ack_request=True)


def test_a_data_frame_between_short_addresses_in_one_pan():
    assert DATA.to_bytes().hex() == "618809621a34120000" + b"payload".hex()


def test_an_acknowledgement_is_five_octets_and_names_the_frame():
    assert mac.ack_psdu(0x2A).hex() == "02002a" + mac.fcs(bytes.fromhex("02002a")).hex()
    assert mac.parse_psdu(mac.ack_psdu(0x2A)) == mac.MacFrame(mac.FrameType.ACK, 0x2A)
    assert mac.parse_psdu(mac.ack_psdu(0x2A, frame_pending=True)).frame_pending


def test_a_beacon_request_is_a_broadcast_without_a_source():
    request = mac.MacFrame(
        mac.FrameType.COMMAND, 1, mac.BROADCAST, mac.BROADCAST, payload=mac.BeaconRequest().to_bytes()
    )

    assert request.to_bytes().hex() == "030801ffffffff07"


def test_an_association_request_comes_from_an_extended_address_of_no_pan():
    capability = (
        mac.Capability.FULL_FUNCTION
        | mac.Capability.MAINS_POWERED
        | mac.Capability.RECEIVER_ON_WHEN_IDLE
        | mac.Capability.ALLOCATE_ADDRESS
    )
    request = mac.MacFrame(
        mac.FrameType.COMMAND,
        2,
        0x1A62,
        0x0000,
        METER,
        mac.AssociationRequest(capability).to_bytes(),
        ack_request=True,
        source_pan_id=mac.BROADCAST,
    )

    assert request.to_bytes().hex() == "23c802621a0000ffffa59078563412db00018e"


def test_an_association_response_goes_to_an_extended_address_in_one_pan():
    response = mac.MacFrame(
        mac.FrameType.COMMAND,
        3,
        0x1A62,
        METER,
        Eui64(1),
        mac.AssociationResponse(0x1234, mac.AssociationStatus.SUCCESS).to_bytes(),
        ack_request=True,
    )

    assert response.to_bytes().hex() == "63cc03621aa59078563412db00010000000000000002341200"


def test_a_beacon_tells_that_the_network_is_open():
    beacon = mac.Beacon(
        nwk.BeaconPayload(extended_pan_id=Eui64(0x1122334455667788), update_id=5).to_bytes(),
        association_permit=True,
        pan_coordinator=True,
    )

    assert beacon.to_bytes().hex() == "ffcf0000" + "00228488776655443322" + "11ffffff05"


@pytest.mark.parametrize("at", range(len(DATA.to_psdu())))
def test_a_spoilt_octet_anywhere_breaks_the_check_sequence(at):
    psdu = bytearray(DATA.to_psdu())
    psdu[at] ^= 0x10
    with pytest.raises(FcsError):
        mac.parse_psdu(bytes(psdu))


@pytest.mark.parametrize("length", range(len(DATA.to_psdu())))
def test_a_frame_that_ends_early_on_the_air_is_refused(length):
    with pytest.raises(WireError):
        mac.parse_psdu(DATA.to_psdu()[:length])


def test_more_than_127_octets_fit_no_radio():
    longest = DATA._replace(payload=bytes(127 - 11))

    assert mac.parse_psdu(longest.to_psdu()) == longest
    with pytest.raises(FrameTooLongError):
        longest._replace(payload=bytes(127 - 10)).to_psdu()
    with pytest.raises(WireError, match="5 to 127"):
        mac.parse_psdu(longest.to_psdu() + b"\x00")


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("0508010000", "type 5"),
        ("0920010000", "version 2"),
        ("0908010000", "MAC security"),
        ("0104010000", "mode 1"),
        ("0140010000", "mode 1"),
    ],
)
def test_what_zigbee_does_not_use_is_refused_by_name(octets, why):
    with pytest.raises(WireError, match=why):
        mac.MacFrame.parse(bytes.fromhex(octets))


def test_a_beacon_with_guaranteed_time_slots_is_refused():
    with pytest.raises(WireError, match="time slots"):
        mac.Beacon.parse(bytes.fromhex("ffcf0100"))


def test_a_beacon_of_something_else_than_zigbee_is_refused():
    with pytest.raises(WireError, match="not of a Zigbee network"):
        nwk.BeaconPayload.parse(b"\x03" + bytes(14))


def test_an_address_without_its_pan_is_our_mistake():
    with pytest.raises(ValueError, match="pan_id"):
        mac.MacFrame(mac.FrameType.DATA, 1, None, 0x1234, 0x0000).to_bytes()
    with pytest.raises(ValueError, match="source_pan_id"):
        mac.MacFrame(mac.FrameType.DATA, 1, None, None, METER).to_bytes()


@given(st.tuples(st.integers(0, 255), *[st.integers(0, 0xFFFF)] * 3, st.binary(max_size=116)), st.booleans())
def test_a_data_frame_made_in_haste_is_the_one_made_field_by_field(fields, ack_request):
    made = mac.data_psdu(*fields, ack_request=ack_request)
    frame = mac.MacFrame(mac.FrameType.DATA, *fields, ack_request=ack_request)

    assert made == frame.to_psdu()
    assert mac.addressee(made) == made[3:7]


def test_a_radio_lets_through_what_is_for_it_or_for_everyone():
    ours = mac.own_addressees(0x1A2B, 0x0042, METER)
    frame = mac.MacFrame(mac.FrameType.COMMAND, 1, 0x1A2B, 0x0042, 0x0000, b"\x02")
    let_through = [
        frame,
        frame._replace(destination=0xFFFF),
        frame._replace(pan_id=0xFFFF),
        frame._replace(destination=METER),
        frame._replace(pan_id=0xFFFF, destination=METER),
    ]
    kept_out = [
        frame._replace(destination=0x0043),
        frame._replace(pan_id=0x1A2C),
        frame._replace(destination=Eui64(METER + 1)),
        frame._replace(pan_id=0x1A2C, destination=METER),
        frame._replace(pan_id=None, destination=None, source_pan_id=0x1A2B),
    ]

    assert all(mac.addressee(one.to_psdu()) in ours for one in let_through)
    assert not any(mac.addressee(one.to_psdu()) in ours for one in kept_out)
    assert mac.addressee(mac.ack_psdu(7)) == mac.ACKNOWLEDGEMENTS
