"""The frames that we read and write ourselves are those of bellows' tables, on every version."""

from __future__ import annotations

import random

import bellows.types as ezsp
import pytest
from bellows.ezsp import EZSP

from han.unicast_frames import ENCRYPTION, RETRY, IncomingReader, SentReader, write_unicast

VERSIONS = sorted(EZSP._BY_VERSION)


def table(version: int, name: str, *, request: bool = False):
    """The layout of a frame in bellows' table."""
    _, asked, answered = EZSP._BY_VERSION[version].COMMANDS[name]
    return asked if request else answered


def drawn(dice: random.Random, kind: type):
    """Any value of a type of bellows'."""
    if kind is ezsp.EmberApsFrame:
        octets = dice.randbytes(11)
        return kind.deserialize(octets)[0]
    if kind is ezsp.LVBytes:
        return kind(dice.randbytes(dice.choice((0, 1, 82, 254))))
    return kind.deserialize(dice.randbytes(8))[0]


def frame(dice: random.Random, layout: dict[str, type]):
    """Values for a layout, and the octets that bellows makes of them."""
    values = {name: drawn(dice, kind) for name, kind in layout.items()}
    return values, ezsp.serialize_dict((), values, layout)


def value(values: dict[str, object], *names: str):
    """The one of these fields that there is: versions name them differently."""
    return next(values[name] for name in names if name in values)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_is_read_as_bellows_would_have_written_it(version):
    dice = random.Random(version)
    for trailing in [b"", b"\x02"] * 20:
        values, octets = frame(dice, table(version, "incomingMessageHandler"))
        read, rest = IncomingReader(version).deserialize(octets + trailing)

        aps = value(values, "apsFrame", "aps_frame")
        assert rest == b""
        assert read == (
            value(values, "type", "message_type"),
            aps.profileId,
            aps.clusterId,
            aps.sourceEndpoint,
            aps.destinationEndpoint,
            aps.options,
            value(values, "sender", "nwk"),
            value(values, "messageContents", "message"),
            octets + trailing,
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_report_is_read_as_bellows_would_have_written_it(version):
    dice = random.Random(version)
    for _ in range(40):
        values, octets = frame(dice, table(version, "messageSentHandler"))
        read, rest = SentReader(version).deserialize(octets)

        assert rest == b""
        assert read == (
            value(values, "indexOrDestination", "nwk"),
            value(values, "apsFrame", "aps_frame").options,
            value(values, "messageTag", "message_tag"),
            values["status"],
            octets,
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_bellows_reads_what_we_write(version):
    octets = write_unicast(
        version, 0x1234, 0x0109, 0x0019, (1, 3), ENCRYPTION | RETRY | 0x0100, 200, b"seven octets"
    )
    values, rest = ezsp.deserialize_dict(octets, table(version, "sendUnicast", request=True))

    aps = value(values, "apsFrame", "aps_frame")
    assert rest == b""
    assert value(values, "type", "message_type") == ezsp.EmberOutgoingMessageType.OUTGOING_DIRECT
    assert value(values, "indexOrDestination", "nwk") == 0x1234
    assert (aps.profileId, aps.clusterId) == (0x0109, 0x0019)
    assert (aps.sourceEndpoint, aps.destinationEndpoint) == (1, 3)
    assert aps.options == (
        ezsp.EmberApsOption.APS_OPTION_ENCRYPTION
        | ezsp.EmberApsOption.APS_OPTION_RETRY
        | ezsp.EmberApsOption.APS_OPTION_ENABLE_ROUTE_DISCOVERY
    )
    assert aps.groupId == 0
    assert value(values, "messageTag", "message_tag") == 200
    assert value(values, "messageContents", "message") == b"seven octets"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_frame_that_ends_too_early_is_refused_wherever_it_ends(version):
    dice = random.Random(version)
    values, octets = frame(dice, table(version, "incomingMessageHandler"))
    assert len(value(values, "messageContents", "message")) < 256
    for end in range(len(octets)):
        with pytest.raises(Exception, match=r"ends after|unpack_from"):
            IncomingReader(version).deserialize(octets[:end])
    with pytest.raises(Exception, match="unpack_from"):
        SentReader(version).deserialize(octets[:10])


def test_a_payload_that_no_length_can_tell_is_refused():
    with pytest.raises(Exception, match=r"ubyte|255"):
        write_unicast(13, 0x1234, 0x0109, 0x0019, (1, 3), 0, 0, bytes(256))
