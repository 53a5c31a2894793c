"""The seals of NWK and APS frames, and the sizes that decide how much of an image fits a frame."""

import pytest
import wire_frames as some
from hypothesis import given
from hypothesis import strategies as st

from han.sim.wire import aps, mac, nwk
from han.sim.wire.errors import ForgedError, FrameTooLongError, WireError
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

KEY = bytes(range(16))
HUB = Eui64.parse("00-DB-12-34-56-78-90-A4")
METER = Eui64.parse("00-DB-12-34-56-78-90-A5")


def sealed_block(size, *, aps_security=False, relays=0):
    """An Image Block Response with so many octets of image, as the hub would send it."""
    message = aps.ApsFrame(
        aps.FrameType.DATA, 1, 1, 0x0019, 0x0109, 1, bytes(3 + 14 + size), security=aps_security
    )
    payload = aps.seal(message, KEY, 1, HUB) if aps_security else message.to_bytes()
    route = nwk.SourceRoute(0, tuple(range(1, relays + 1))) if relays else None
    frame = nwk.NwkFrame(nwk.FrameType.DATA, 0x1234, 0, 30, 1, payload, source_route=route)
    return mac.MacFrame(mac.FrameType.DATA, 1, 0xABCD, 0x1234, 0, nwk.seal(frame, KEY, 0, 1, HUB))


@pytest.mark.parametrize(
    ("size", "how"),
    [
        (65, {}),
        (56, {"aps_security": True}),
        (52, {"aps_security": True, "relays": 1}),
        (50, {"aps_security": True, "relays": 2}),
        (44, {"aps_security": True, "relays": 5}),
    ],
)
def test_the_largest_block_fills_the_frame_to_the_last_octet(size, how):
    assert len(sealed_block(size, **how).to_psdu()) == mac.MAX_PSDU
    with pytest.raises(FrameTooLongError, match="128 octets") as refusal:
        sealed_block(size + 1, **how).to_psdu()
    assert (refusal.value.size, refusal.value.limit) == (128, 127)


@given(frame=some.nwk_frames, key=some.key, sequence=some.u8, counter=some.u32, source=some.eui64)
def test_a_sealed_network_frame_opens_to_what_was_sealed(frame, key, sequence, counter, source):
    sealed = nwk.seal(frame, key, sequence, counter, source)
    opened, auxiliary = nwk.open_frame(sealed, {sequence: key})

    assert opened == frame._replace(security=True)
    assert auxiliary == nwk.NwkAuxiliary(counter, source, sequence)
    assert len(sealed) == len(frame.to_bytes()) + nwk.OVERHEAD
    assert nwk.open_frame(sealed, {sequence: key}, nwk.NwkFrame.parse(sealed)) == (opened, auxiliary)


@given(
    frame=some.aps_frames,
    key=some.key,
    counter=some.u32,
    source=some.eui64,
    identifier=st.sampled_from([KeyIdentifier.DATA, KeyIdentifier.KEY_TRANSPORT, KeyIdentifier.KEY_LOAD]),
    extended=st.booleans(),
)
def test_a_sealed_application_frame_opens_to_what_was_sealed(  # noqa: PLR0917 - hypothesis fills them by name
    frame, key, counter, source, identifier, extended
):
    sealed = aps.seal(frame, key, counter, source, key_identifier=identifier, extended_nonce=extended)
    opened, auxiliary = aps.open_frame(sealed, key, source)

    assert opened == frame._replace(security=True)
    assert auxiliary == aps.ApsAuxiliary(identifier, counter, source if extended else None)
    assert len(sealed) == len(frame.to_bytes()) + (aps.OVERHEAD_EXTENDED if extended else aps.OVERHEAD)


@given(data=st.data())
def test_a_changed_octet_anywhere_in_a_sealed_frame_is_noticed(data):
    frame = nwk.NwkFrame(nwk.FrameType.DATA, 0x1234, 0, 30, 1, b"payload")
    sealed = bytearray(nwk.seal(frame, KEY, 0, 7, HUB))
    at = data.draw(st.integers(0, len(sealed) - 1))
    # The level bits of the auxiliary header are not protected: they are sent as zero and ignored.
    sealed[at] ^= data.draw(st.integers(1, 255).filter(lambda bits: at != 8 or bits & 0xF8))
    with pytest.raises(WireError):
        nwk.open_frame(bytes(sealed), dict.fromkeys(range(256), KEY))


@pytest.mark.parametrize("length", range(8 + nwk.OVERHEAD + 7))
def test_a_sealed_network_frame_cut_at_any_length_does_not_open(length):
    frame = nwk.NwkFrame(nwk.FrameType.DATA, 0x1234, 0, 30, 1, b"payload")
    with pytest.raises(WireError):
        nwk.open_frame(nwk.seal(frame, KEY, 0, 7, HUB)[:length], {0: KEY})


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("length", range(8 + aps.OVERHEAD + 7))
def test_a_sealed_application_frame_cut_at_any_length_does_not_open(length, extended):
    frame = aps.ApsFrame(aps.FrameType.DATA, 1, 1, 0x0019, 0x0109, 1, b"payload")
    with pytest.raises(WireError):
        aps.open_frame(aps.seal(frame, KEY, 7, HUB, extended_nonce=extended)[:length], KEY, HUB)


def test_an_application_frame_sealed_by_somebody_else_does_not_open():
    frame = aps.ApsFrame(aps.FrameType.DATA, 1, 1, 0x0019, 0x0109, 1, b"payload")
    with pytest.raises(ForgedError):
        aps.open_frame(aps.seal(frame, KEY, 7, METER), KEY, HUB)


def test_a_frame_that_does_not_name_its_sender_needs_one():
    frame = aps.ApsFrame(aps.FrameType.DATA, 1, 1, 0x0019, 0x0109, 1, b"payload")
    with pytest.raises(WireError, match="does not name its sender"):
        aps.open_frame(aps.seal(frame, KEY, 7, HUB), KEY)


def test_a_plain_frame_is_not_opened():
    plain_nwk = nwk.NwkFrame(nwk.FrameType.DATA, 0x1234, 0, 30, 1, b"payload")
    plain_aps = aps.ApsFrame(aps.FrameType.DATA, 1, payload=b"payload")
    with pytest.raises(WireError, match="not secured"):
        nwk.open_frame(plain_nwk.to_bytes(), {0: KEY})
    with pytest.raises(WireError, match="not secured"):
        aps.open_frame(plain_aps.to_bytes(), KEY, HUB)


def test_a_network_frame_must_be_sealed_with_a_network_key_by_a_named_sender():
    frame = nwk.NwkFrame(nwk.FrameType.DATA, 0x1234, 0, 30, 1, b"payload")
    for control in (0x08, 0x20, 0x30):  # no sender; a link key; a key-transport key
        sealed = bytearray(nwk.seal(frame, KEY, 0, 7, HUB))
        sealed[8] = control
        with pytest.raises(WireError, match="names its sender"):
            nwk.open_frame(bytes(sealed), {0: KEY})


def test_the_network_key_seals_no_application_frame():
    with pytest.raises(ValueError, match="link key"):
        aps.seal(aps.ApsFrame(aps.FrameType.DATA, 1), KEY, 1, HUB, key_identifier=KeyIdentifier.NETWORK)


def test_two_counters_or_two_senders_never_give_the_same_octets():
    frame = nwk.NwkFrame(nwk.FrameType.DATA, 0x1234, 0, 30, 1, b"payload")
    sealed = {nwk.seal(frame, KEY, 0, counter, who) for counter in range(20) for who in (HUB, METER)}

    assert len({octets[-11:] for octets in sealed}) == 40
