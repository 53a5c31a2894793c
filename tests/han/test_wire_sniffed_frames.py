"""Ten frames of other people's networks: read as they were meant, written octet for octet."""

import pytest
from wire_frames import sniffed

from han.sim.wire import aps, aps_commands, mac, nwk, nwk_commands
from han.sim.wire.errors import ForgedError, UnknownKeyError
from han.sim.wire.seal import KeyIdentifier

FRAMES = {frame.name: frame for frame in sniffed()}
SECURED = [frame for frame in FRAMES.values() if frame.nwk_secured]
APS_SECURED = [frame for frame in FRAMES.values() if frame.aps_key]


def names(frame):
    return frame.name


def opened(frame):
    payload = mac.MacFrame.parse(frame.mac).payload
    if not frame.nwk_secured:
        return nwk.NwkFrame.parse(payload)
    return nwk.open_frame(payload, {0: frame.nwk_key})[0]


@pytest.mark.parametrize("frame", FRAMES.values(), ids=names)
def test_the_headers_of_a_real_frame_are_written_as_they_were_read(frame):
    outer = mac.MacFrame.parse(frame.mac)
    inner = nwk.NwkFrame.parse(outer.payload)

    assert outer.to_bytes() == frame.mac
    assert inner.to_bytes() == outer.payload
    assert inner.security is frame.nwk_secured


@pytest.mark.parametrize("frame", SECURED, ids=names)
def test_the_network_seal_of_a_real_frame_opens_and_would_be_made_alike(frame):
    payload = mac.MacFrame.parse(frame.mac).payload
    plain, auxiliary = nwk.open_frame(payload, {0: frame.nwk_key})

    assert plain.payload == frame.nwk_plaintext
    assert nwk.NwkAuxiliary.parse(nwk.NwkFrame.parse(payload).payload) == auxiliary
    assert nwk.seal(plain, frame.nwk_key, 0, auxiliary.counter, auxiliary.source) == payload


@pytest.mark.parametrize("frame", SECURED, ids=names)
def test_a_real_frame_does_not_open_with_another_key_or_without_one(frame):
    payload = mac.MacFrame.parse(frame.mac).payload
    with pytest.raises(ForgedError):
        nwk.open_frame(payload, {0: bytes(16)})
    with pytest.raises(UnknownKeyError, match="sequence number 0"):
        nwk.open_frame(payload, {1: frame.nwk_key})


@pytest.mark.parametrize("frame", APS_SECURED, ids=names)
def test_the_application_seal_of_a_real_frame_opens_and_would_be_made_alike(frame):
    sealed = opened(frame).payload
    plain, auxiliary = aps.open_frame(sealed, frame.aps_key)

    assert plain.payload == frame.aps_plaintext
    assert auxiliary.key_identifier == frame.aps_key_identifier
    assert sealed == aps.seal(
        plain,
        frame.aps_key,
        auxiliary.counter,
        auxiliary.source,
        key_identifier=auxiliary.key_identifier,
        extended_nonce=True,
    )


@pytest.mark.parametrize("frame", APS_SECURED, ids=names)
def test_the_command_in_a_real_frame_is_written_as_it_was_read(frame):
    command = aps_commands.parse_command(frame.aps_plaintext)

    assert not isinstance(command, aps_commands.UnknownCommand)
    assert command.to_bytes() == frame.aps_plaintext


def test_a_network_key_on_its_way_is_recognised_and_never_shown():
    frame = FRAMES["NET2_TRANSPORT_KEY_NWK_FROM_COORD"]
    plain, auxiliary = aps.open_frame(opened(frame).payload, frame.aps_key)
    command = aps_commands.parse_command(plain.payload)

    assert auxiliary.key_identifier is KeyIdentifier.KEY_TRANSPORT
    assert isinstance(command, aps_commands.TransportNetworkKey)
    assert command.key == frame.nwk_key
    assert str(command.destination) == "A4-C1-38-6D-9B-28-0F-DF"
    for shown in (repr(command), repr(plain), repr((plain, command))):
        assert repr(frame.nwk_key)[2:-1] not in shown
        assert frame.nwk_key.hex() not in shown


def test_a_route_record_with_both_ieee_addresses_is_read():
    frame = opened(FRAMES["NET4_ROUTE_RECORD_FROM_6887_RELAY_96BA"])

    assert frame.type is nwk.FrameType.COMMAND
    assert (frame.source, frame.destination) == (0x6887, 0x0000)
    assert frame.source_ieee is not None
    assert nwk_commands.parse_command(frame.payload) == nwk_commands.RouteRecord((0x96BA,))


def test_an_acknowledgement_is_read():
    message = aps.ApsFrame.parse(opened(FRAMES["NETDEF_ACK_FRAME_TO_COORD"]).payload)

    assert message.type is aps.FrameType.ACK
    assert (message.cluster, message.profile, message.counter) == (0xEF00, 0x0104, 0x33)
