from datetime import UTC, datetime

import pytest

from hub.messages import (
    MESSAGES,
    ActivateRequest,
    DevicesRequest,
    Envelopes,
    HubState,
    ImageChunk,
    ImageOffer,
    JoinRequest,
    MessageError,
    Response,
    Target,
    decode,
    encode,
    open_message,
    schema,
    split_topic,
    topic,
    topic_of,
)
from ota.eui64 import Eui64

HUB = Eui64.parse("00-DB-12-34-56-78-90-A2")
PPMID = "00-DB-12-34-56-78-90-A4"


def envelopes() -> Envelopes:
    numbers = iter(range(1, 1000))
    return Envelopes(lambda: datetime(2026, 1, 5, tzinfo=UTC), lambda: f"id-{next(numbers)}")


def test_a_message_comes_back_as_it_was_sent():
    pen = envelopes()
    for message in (
        ImageOffer(
            request_id="r1",
            service_request="11.4",
            image_id="ab" * 32,
            size=350_000,
            chunk_size=16_384,
            targets=(Target(device=PPMID, device_type="PPMID"),),
            **pen.stamp(),
        ),
        ImageChunk(image_id="ab" * 32, offset=0, data=bytes(range(256)), sha256="cd" * 32, **pen.stamp()),
        HubState(online=True, eui64=PPMID, **pen.stamp()),
        Response(verb="offer", in_reply_to="id-1", ok=False, code="too-busy", **pen.stamp()),
    ):
        assert open_message(topic_of(HUB, message), encode(message)) == (HUB, message)


def test_sequence_numbers_rise_and_a_known_id_is_kept():
    pen = envelopes()
    first, second = pen.stamp(), pen.stamp("alert-7")
    assert (first["seq"], second["seq"], second["id"]) == (1, 2, "alert-7")


def test_the_same_message_gives_the_same_bytes():
    assert encode(DevicesRequest(**envelopes().stamp())) == encode(DevicesRequest(**envelopes().stamp()))


def test_an_install_code_is_never_shown():
    request = JoinRequest(
        device=PPMID,
        install_code="83fed3407a939723a5c639b26916d505c3b5",
        device_type="PPMID",
        **envelopes().stamp(),
    )
    assert "83fed" not in repr(request) + str(request) + f"{[request]}"
    spoilt = encode(request).replace(b"c3b5", b"zz")
    with pytest.raises(MessageError) as refused:
        decode(spoilt, JoinRequest)
    assert "83fed" not in str(refused.value)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"id":"x"}',
        b'{"id":"x","utc":"2026-01-05T00:00:00","seq":1}',
        b"[" * 5000,
        b'{"id":"x","utc":"2026-01-05T00:00:00Z","seq":1,"later":'
        + b"[" * 200_000,  # ignored, but not unread
    ],
)
def test_a_malformed_payload_is_refused_with_a_reason(payload):
    with pytest.raises(MessageError) as refused:
        decode(payload, DevicesRequest)
    assert refused.value.code == "malformed"


def test_a_payload_cut_at_any_length_is_refused():
    whole = encode(HubState(online=True, eui64=PPMID, **envelopes().stamp()))
    for length in range(len(whole)):
        with pytest.raises(MessageError):
            decode(whole[:length], HubState)


@pytest.mark.parametrize("field", [PPMID, "ab" * 32])
def test_a_line_break_behind_an_address_or_hex_is_refused(field):
    whole = activation()
    decode(whole, ActivateRequest)
    with pytest.raises(MessageError):
        decode(whole.replace(field.encode(), field.encode() + b"\\n"), ActivateRequest)


def activation() -> bytes:
    return encode(
        ActivateRequest(
            request_id="r1",
            device=PPMID,
            gbcs="ab" * 32,
            **envelopes().stamp(),
        )
    )


def test_another_schema_version_is_refused_and_an_unknown_field_is_not():
    whole = encode(DevicesRequest(**envelopes().stamp()))
    assert decode(whole.replace(b'"seq"', b'"later":1,"seq"'), DevicesRequest)
    with pytest.raises(MessageError, match="schema"):
        decode(whole.replace(b'"schema":1', b'"schema":2'), DevicesRequest)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "a/b",
        "gbhan/v1/hub/xyz/state",
        "gbhan/v1/hub/00db1234567890a4",
        "x/gbhan/v1/hub/00db1234567890a4/state",
    ],
)
def test_a_topic_that_is_no_hubs_is_refused(wrong):
    with pytest.raises(MessageError):
        split_topic(wrong)


def test_nothing_travels_on_an_unknown_topic():
    with pytest.raises(MessageError, match="no message"):
        open_message(topic(HUB, "request/explode"), b"{}")


def test_the_contract_has_a_schema_for_every_message():
    assert {kind.__name__ for kind in MESSAGES.values()} <= set(schema())
