"""What holds for every frame of every layer: it comes back as it was sent, and nonsense ends in WireError."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
import wire_frames as some
from hypothesis import given, settings
from hypothesis import strategies as st

from han.sim.wire import aps, aps_commands, mac, nwk, nwk_commands, zdo
from han.sim.wire.errors import WireError


class Kind(NamedTuple):
    name: str
    values: st.SearchStrategy
    parse: Callable[[bytes], Any]
    to_bytes: Callable[[Any], bytes] = lambda value: value.to_bytes()


KINDS = [
    Kind("mac frame", some.mac_frames, mac.MacFrame.parse),
    Kind("psdu", some.mac_frames, mac.parse_psdu, lambda frame: frame.to_psdu()),
    Kind("beacon", some.beacons, mac.Beacon.parse),
    Kind("mac command", some.mac_commands, mac.parse_command),
    Kind("nwk frame", some.nwk_frames, nwk.NwkFrame.parse),
    Kind("beacon payload", some.beacon_payloads, nwk.BeaconPayload.parse),
    Kind("nwk command", some.nwk_commands_, nwk_commands.parse_command),
    Kind("aps frame", some.aps_frames, aps.ApsFrame.parse),
    Kind("aps auxiliary header", some.aps_auxiliaries, aps.ApsAuxiliary.parse),
    Kind("aps command", some.aps_commands_, aps_commands.parse_command),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
ZDO_CLUSTERS = [*range(0x0040), *range(0x8000, 0x8040)]


@every_kind
@given(data=st.data())
def test_what_is_sent_is_what_is_received(kind, data):
    value = data.draw(kind.values)

    assert kind.parse(kind.to_bytes(value)) == value


@every_kind
@settings(max_examples=30)
@given(data=st.data())
def test_a_frame_cut_at_any_length_is_read_or_refused_as_malformed(kind, data):
    octets = kind.to_bytes(data.draw(kind.values))
    for length in range(len(octets)):
        with suppress(WireError):
            kind.parse(octets[:length])


@every_kind
@given(octets=st.binary(max_size=130))
def test_made_up_octets_are_read_or_refused_and_what_is_read_can_be_sent_again(kind, octets):
    try:
        value = kind.parse(octets)
    except WireError:
        return

    assert kind.parse(kind.to_bytes(value)) == value


@every_kind
@settings(max_examples=30)
@given(data=st.data())
def test_a_spoilt_frame_is_read_or_refused_and_what_is_read_can_be_sent_again(kind, data):
    octets = bytearray(kind.to_bytes(data.draw(kind.values)))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        value = kind.parse(bytes(octets))
    except WireError:
        return

    assert kind.parse(kind.to_bytes(value)) == value


@given(sequence=some.u8, command=some.zdo_commands)
def test_a_zdo_command_is_received_as_it_was_sent(sequence, command):
    assert zdo.decode(zdo.cluster_of(command), zdo.encode(sequence, command)) == (sequence, command)


@settings(max_examples=50)
@given(sequence=some.u8, command=some.zdo_commands)
def test_a_zdo_command_cut_at_any_length_is_read_or_refused_as_malformed(sequence, command):
    octets = zdo.encode(sequence, command)
    for length in range(len(octets)):
        with suppress(WireError):
            zdo.decode(zdo.cluster_of(command), octets[:length])


@given(cluster=st.sampled_from(ZDO_CLUSTERS) | some.u16, octets=st.binary(max_size=100))
def test_made_up_zdo_octets_are_read_or_refused_and_what_is_read_can_be_sent_again(cluster, octets):
    try:
        sequence, command = zdo.decode(cluster, octets)
    except WireError:
        return

    assert zdo.decode(cluster, zdo.encode(sequence, command)) == (sequence, command)
