"""What a real dongle refuses, this one refuses: one promise each, in both generations of EZSP."""

from __future__ import annotations

import dataclasses

import bellows.types as t
import pytest
from dongle_world import (
    COORDINATOR,
    LINK_KEY,
    PPMID,
    STRANGER,
    Desk,
    Host,
    join_device,
    parameters,
    try_to_join,
)

from han.sim.dongle.personality import Personality, plain
from ota.eui64 import Eui64


@pytest.fixture(params=[13, 17], ids=["v13", "v17"])
def version(request) -> int:
    return request.param


@pytest.fixture
def host(version) -> Host:
    return Host(Desk(plain(ezsp=version)), version).ready()


def small(version: int, **sizes: int) -> Personality:
    """A dongle with small tables."""
    ids = {"unicasts": 0x03, "addresses": 0x05, "multicasts": 0x06, "keys": 0x1E}
    table_sizes = Personality().table_sizes | {ids[name]: size for name, size in sizes.items()}
    return dataclasses.replace(plain(ezsp=version), table_sizes=table_sizes)


def pick(version: int, ember: int, sl: int) -> int:
    """The status in the words of the version."""
    return ember if version < 14 else sl


# Sending


def test_a_payload_that_does_not_fit_one_frame_is_too_long(host, version):
    fits = host.answered(host.start(host.unicast(0x1234, bytes(82))))
    too_long = host.answered(host.start(host.unicast(0x1234, bytes(83))))

    assert fits.status == 0
    assert too_long.status == pick(version, 0x74, 0x38)


def test_with_aps_security_nine_octets_less_fit(host, version):
    host.expect_device()
    device, heard = join_device(host.desk)

    fits = host.answered(host.start(host.unicast(device.nwk, bytes(73), options=0x0160)))
    too_long = host.answered(host.start(host.unicast(device.nwk, bytes(74), options=0x0160)))
    host.desk.run(1.0)

    assert fits.status == 0
    assert too_long.status == pick(version, 0x74, 0x38)
    assert [(len(message.payload), message.aps_secured) for message in heard] == [(73, True)]


def test_a_broadcast_that_does_not_fit_is_too_long(host, version):
    assert host.answered(host.start(host.broadcast(bytes(100)))).status == pick(version, 0x74, 0x38)


def test_aps_security_needs_the_address_behind_the_short_one(host, version):
    answer = host.answered(host.start(host.unicast(0x4321, options=0x0160)))

    assert answer.status == pick(version, 0xA6, 0x0C0A)


def test_aps_security_needs_a_link_key_with_the_partner(host, version):
    stranger = t.EUI64.deserialize(STRANGER.wire)[0]
    assert host.call("replaceAddressTableEntry", 0, stranger, 0x4321, 0).status == 0

    answer = host.answered(host.start(host.unicast(0x4321, options=0x0160)))

    assert answer.status == pick(version, 0xA6, 0x0C0A)


def test_an_address_that_the_host_knows_is_good_for_aps_security(host, version):
    partner = t.EUI64.deserialize(STRANGER.wire)[0]
    host.call("replaceAddressTableEntry", 0, partner, 0x4321, 0)
    assert host.call("importLinkKey", 0, partner, t.KeyData(LINK_KEY)).status == 0

    answer = host.answered(host.start(host.unicast(0x4321, options=0x0160)))

    assert answer.status == 0


def test_nothing_is_sent_while_the_network_is_down(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()
    host.add_endpoint()

    unicast = host.answered(host.start(host.unicast(0x1234)))
    broadcast = host.answered(host.start(host.broadcast()))

    assert {unicast.status, broadcast.status} == {pick(version, 0x91, 0x16)}


def test_nobody_is_let_in_while_the_network_is_down(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.call("permitJoining", 60).status == pick(version, 0x91, 0x16)


def test_an_endpoint_that_was_never_registered_cannot_send(host, version):
    answer = host.answered(host.start(host.unicast(0x1234, endpoint=9)))

    assert answer.status == pick(version, 0xA3, 0x21)


def test_after_a_reset_the_endpoints_have_to_be_registered_again(host, version):
    host.connect()
    assert host.call("networkInit", 0).status == 0

    answer = host.answered(host.start(host.unicast(0x1234)))

    assert answer.status == pick(version, 0xA3, 0x21)


def test_more_unicasts_than_the_table_holds_are_refused_until_one_has_ended(version):
    host = Host(Desk(small(version, unicasts=4)), version).ready()

    statuses = [host.answered(host.start(host.unicast(0x1234, tag=tag))).status for tag in range(5)]
    assert statuses == [0, 0, 0, 0, pick(version, 0x72, 0x0C03)]
    host.desk.run(20.0)

    assert len(host.named("messageSentHandler")) == 4
    assert host.answered(host.start(host.unicast(0x1234))).status == 0


def test_the_ninth_broadcast_within_nine_seconds_is_too_many(host, version):
    host.desk.run(10.0)

    statuses = [host.answered(host.start(host.broadcast())).status for _ in range(9)]

    assert statuses == [0] * 8 + [pick(version, 0xA1, 0x04)]
    host.desk.run(9.0)
    assert host.answered(host.start(host.broadcast())).status == 0


def test_a_send_command_cut_anywhere_is_an_invalid_command(host, version):
    whole = host.unicast(0x1234, b"0123456789")[4:]

    for length in range(len(whole)):
        answer = host.call_raw(0x0034, whole[:length])
        assert answer.name == "invalidCommand", length
        assert answer.status == pick(version, 0x33, 0x0C1E)


# Tables


def test_a_table_cannot_be_made_larger_than_it_was_built(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    larger = host.call("setConfigurationValue", t.EzspConfigId.CONFIG_ADDRESS_TABLE_SIZE, 17)
    smaller = host.call("setConfigurationValue", t.EzspConfigId.CONFIG_ADDRESS_TABLE_SIZE, 8)

    assert larger.status == pick(version, 0x35, 0x1A)
    assert smaller.status == 0
    assert host.call("getConfigurationValue", t.EzspConfigId.CONFIG_ADDRESS_TABLE_SIZE)["value"] == 8


def test_a_source_route_table_out_of_range_is_an_invalid_value(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    answer = host.call("setConfigurationValue", t.EzspConfigId.CONFIG_SOURCE_ROUTE_TABLE_SIZE, 201)

    assert answer.status == pick(version, 0x36, 0x21)


def test_the_packet_buffers_can_be_read_and_no_longer_set(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.call("getConfigurationValue", t.EzspConfigId.CONFIG_PACKET_BUFFER_COUNT)["value"] == 255
    answer = host.call("setConfigurationValue", t.EzspConfigId.CONFIG_PACKET_BUFFER_COUNT, 255)
    assert answer.status == pick(version, 0x37, 0x21)


def test_a_setting_that_the_firmware_dropped_is_an_invalid_id(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    for command in (host.call("getConfigurationValue", 0x14), host.call("setConfigurationValue", 0x14, 1)):
        assert command.status == pick(version, 0x37, 0x21)


def test_tables_are_frozen_once_the_stack_runs(host, version):
    answer = host.call("setConfigurationValue", t.EzspConfigId.CONFIG_ADDRESS_TABLE_SIZE, 8)

    assert answer.status == pick(version, 0x38, 0x02)
    assert host.call("getConfigurationValue", t.EzspConfigId.CONFIG_ADDRESS_TABLE_SIZE)["value"] == 16


def test_endpoints_are_frozen_once_the_stack_runs(host, version):
    assert host.add_endpoint(2).status == pick(version, 0x38, 0x02)


def test_an_endpoint_is_registered_once(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.add_endpoint(1).status == 0
    assert host.add_endpoint(1).status == pick(version, 0x36, 0x21)


def test_an_endpoint_has_flags_once_it_is_registered(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()
    flags = t.EzspExtendedValueId.EXTENDED_VALUE_ENDPOINT_FLAGS

    before = host.call("getExtendedValue", flags, 1)
    host.add_endpoint()
    after = host.call("getExtendedValue", flags, 1)

    assert before.status != 0
    assert bytes(before.fields["value"]) == b"\x00\x00"
    assert (after.status, bytes(after.fields["value"])) == (0, b"\x01\x00")


def test_an_extended_value_that_the_firmware_has_not_is_an_invalid_id(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()
    refused = host.call("getExtendedValue", t.EzspExtendedValueId.EXTENDED_VALUE_LAST_LEAVE_REASON, 1)
    assert refused.status == (0x37 if version < 14 else 0x0021)


@pytest.mark.parametrize("number", [0, 255])
def test_an_endpoint_has_an_application_number(version, number):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.add_endpoint(number).status == pick(version, 0x36, 0x21)


def test_the_endpoint_table_is_full_at_its_end(version):
    host = Host(Desk(dataclasses.replace(plain(ezsp=version), endpoints=3)), version).connect()

    statuses = [host.add_endpoint(number).status for number in range(1, 5)]

    assert statuses == [0, 0, 0, pick(version, 0x35, 0x1A)]


def test_cluster_lists_shorter_than_their_counts_are_an_invalid_command(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    answer = host.call_raw(0x0002, bytes.fromhex("01 0901 0005 00 03 01 1900"))

    assert answer.name == "invalidCommand"
    assert answer.status == pick(version, 0x33, 0x0C1E)


def test_the_address_table_ends_where_it_ends(host, version):
    anyone = t.EUI64.deserialize(STRANGER.wire)[0]

    assert host.call("replaceAddressTableEntry", 15, anyone, 0x4321, 0).status == 0
    beyond = host.call("replaceAddressTableEntry", 16, anyone, 0x4321, 0)

    assert beyond.status == pick(version, 0x6A, 0x28)


def test_the_multicast_table_ends_where_it_ends(host, version):
    entry = t.EmberMulticastTableEntry(multicastId=1, endpoint=1, networkIndex=0)

    assert host.call("setMulticastTableEntry", 15, entry).status == 0
    assert host.call("setMulticastTableEntry", 16, entry).status == pick(version, 0x70, 0x02)
    assert host.call("getMulticastTableEntry", 16).status == pick(version, 0x70, 0x02)


def test_the_key_table_ends_where_it_ends(version):
    host = Host(Desk(small(version, keys=1)), version).connect()
    first, second = (t.EUI64.deserialize(Eui64(number).wire)[0] for number in (1, 2))

    assert host.call("importLinkKey", 0, first, t.KeyData(LINK_KEY)).status == 0
    # The security manager speaks sl_Status in version 13 already.
    assert host.call("importLinkKey", 1, second, t.KeyData(LINK_KEY)).status == 0x27


def test_a_link_key_belongs_to_one_partner(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()
    everybody = t.EUI64.deserialize(b"\xff" * 8)[0]

    assert host.call("importLinkKey", 0, everybody, t.KeyData(LINK_KEY)).status == 0x21


def test_an_empty_row_of_the_key_table_cannot_be_erased(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.call("eraseKeyTableEntry", 3).status == pick(version, 0xB6, 0x2D)
    assert host.call("findKeyTableEntry", t.EUI64.deserialize(PPMID.wire)[0], 1)["index"] == 0xFF


def test_only_so_many_transient_keys_fit(version):
    host = Host(Desk(dataclasses.replace(plain(ezsp=version), transient_keys=2)), version).connect()

    def import_for(number: int) -> int:
        eui64 = t.EUI64.deserialize(Eui64(number).wire)[0]
        return host.call("importTransientKey", eui64, t.KeyData(LINK_KEY), 0).status

    assert [import_for(number) for number in (1, 2, 3, 2)] == [0, 0, 0x1A, 0]


# The network


def test_a_network_is_formed_only_after_its_security_was_set(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.call("formNetwork", parameters()).status == pick(version, 0xA8, 0x0C0B)


def test_a_network_is_not_formed_over_another(host, version):
    assert host.call("formNetwork", parameters()).status == pick(version, 0x70, 0x02)
    assert host.call("setInitialSecurityState", t.EmberInitialSecurityState(
        bitmask=t.EmberInitialSecurityBitmask(0x0300),
        preconfiguredKey=t.KeyData(bytes(16)),
        networkKey=t.KeyData(bytes(16)),
        networkKeySequenceNumber=0,
        preconfiguredTrustCenterEui64=t.EUI64.deserialize(COORDINATOR.wire)[0],
    )).status == pick(version, 0x70, 0x02)  # fmt: skip


@pytest.mark.parametrize("channel", [0, 10, 27])
def test_a_channel_outside_the_band_is_refused(version, channel):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.form(channel=channel).status == pick(version, 0x8A, 0x55)


def test_more_power_than_the_radio_has_is_refused(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.form(power=21).status == pick(version, 0x8B, 0x56)
    assert host.form(power=20).status == 0


def test_a_blank_dongle_has_no_network_to_start_or_leave(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()

    assert host.call("networkInit", 0).status == pick(version, 0x93, 0x17)
    assert host.call("networkState")["status"] == 0
    assert host.call("leaveNetwork", *([] if version < 14 else [0])).status == pick(version, 0x70, 0x02)


def test_a_network_that_runs_is_not_started_again(host, version):
    assert host.call("networkInit", 0).status == pick(version, 0x70, 0x02)


def test_frame_counters_are_set_before_the_network_is_up(host, version):
    answer = host.call("setValue", t.EzspValueId.VALUE_NWK_FRAME_COUNTER, (1).to_bytes(4, "little"))

    assert answer.status == pick(version, 0x38, 0x02)


def test_a_wrong_install_code_is_taken_and_shows_only_in_that_nobody_gets_in(host):
    host.expect_device(key=bytes(16))

    _, result = try_to_join(host.desk)

    assert not result.ok
    assert host.named("trustCenterJoinHandler")


# The command interpreter


def test_no_command_is_understood_before_the_version_is_settled(version):
    host = Host(Desk(plain(ezsp=version)), version)
    host.reset()

    answer = host.call("networkState")

    assert answer.name == "invalidCommand"
    assert answer.status == pick(version, 0x30, 0x0C1E)


def test_the_dongle_says_its_own_version_whatever_is_asked(version):
    host = Host(Desk(plain(ezsp=version)), version)
    host.reset()

    legacy = host.wait(host.start(bytes((0x00, 0x00, 4))))
    wrong = host.wait(host.start(bytes((0x00, 0x01, 0x00, 0x00, 8))))

    assert legacy[3] == wrong[5] == version
    assert host.call("networkState").name == "invalidCommand"


def test_the_right_version_asked_for_once_in_the_short_header_settles_it(version):
    host = Host(Desk(plain(ezsp=version)), version)
    host.reset()

    host.wait(host.start(bytes((0x00, 0x00, version))))

    assert host.call("networkState").name == "networkState"


def test_an_unknown_command_is_an_invalid_command(host, version):
    answer = host.call_raw(0x7FFF)

    assert answer.name == "invalidCommand"
    assert answer.status == pick(version, 0x31, 0x0C1E)
    assert host.call("nop").name == "nop"


def test_a_command_cut_short_is_an_invalid_command(host, version):
    answer = host.call_raw(0x0055, b"\x00")

    assert answer.name == "invalidCommand"
    assert answer.status == pick(version, 0x33, 0x0C1E)


def test_firmware_without_extensions_refuses_a_custom_frame(host, version):
    answer = host.call("customFrame", b"\x00\x00\x00")

    assert answer.status == pick(version, 0x70, 0x02)
    assert answer["reply"] == b""


def test_every_refusal_is_said_with_its_reason(host):
    host.call("customFrame", b"\x00\x00\x00")
    host.answered(host.start(host.unicast(0x1234, bytes(90))))

    reasons = host.desk.why("ezsp.refused")
    assert reasons[-2] == "this firmware has no extensions"
    assert "does not fit" in reasons[-1]
