"""Every EZSP version at the dongle: its header, its words for keys and children, and what it lacks."""

from __future__ import annotations

import bellows.types as t
import pytest
from dongle_world import LINK_KEY, NETWORK_KEY, PPMID, STRANGER, Desk, Host, join_device, try_to_join

from han.sim.dongle.dialect import Dialect
from han.sim.dongle.errors import OurError
from han.sim.dongle.headers import header_of
from han.sim.dongle.personality import Personality, plain
from han.sim.dongle.versions import RELEASES, VERSIONS
from han.sim.node.service import SendRequest
from ota.eui64 import Eui64

every_version = pytest.mark.parametrize("version", VERSIONS)
before_the_security_manager = pytest.mark.parametrize("version", [v for v in VERSIONS if v < 13])


def host_at(version: int) -> Host:
    return Host(Desk(plain(ezsp=version)), version)


def address(eui64: Eui64) -> t.EUI64:
    return t.EUI64.deserialize(eui64.wire)[0]


def test_every_version_that_bellows_has_tables_for_and_no_other_can_be_simulated():
    assert set(VERSIONS) == set(range(4, 20)) - {15}
    for version in (3, 15, 20):
        with pytest.raises(OurError, match=f"no firmware speaks EZSP {version}"):
            Dialect(version)


@pytest.mark.parametrize(
    ("version", "nibbles", "info"),
    [(5, 0x5910, None), (7, 0x6630, None), (8, 0x6A30, "2901060a0300aa"), (13, 0x7430, "000007040300aa")],
)
def test_a_release_says_of_itself_what_a_real_one_did(version, nibbles, info):
    release = RELEASES[version]

    assert release.stack_version == nibbles
    assert info is None or release.version_info.hex() == info


# Headers


@every_version
def test_version_is_asked_in_the_short_header_and_settled_in_the_own_one(version):
    host = host_at(version)
    host.reset()

    first = host.wait(host.start(bytes((0x00, 0x00, 4))))
    second = host.wait(host.start(host._header(0) + bytes((version,))))

    assert first[1:4] == bytes((0x80, 0x00, version))
    assert second[-3] == 2
    assert host.call("networkState")["status"] == 0


@pytest.mark.parametrize("version", [v for v in VERSIONS if v > 4])
def test_the_short_header_is_good_for_version_and_nothing_else(version):
    host = host_at(version).connect()

    host.start(b"\x00\x18")
    host.desk.run(0.1)

    assert host.order[-1] == "invalidCommand"


@pytest.mark.parametrize(
    ("version", "other"), [(4, "00 01 18 00"), (7, "00 01 18 00"), (8, "00 ff 00 18"), (19, "00 ff 00 18")]
)
def test_the_header_of_another_version_is_no_way_to_ask(version, other):
    host = host_at(version).connect()
    before = len(host.order)

    host.start(bytes.fromhex(other))
    host.desk.run(0.1)

    assert "networkState" not in host.order[before:]
    assert host.call("networkState")["status"] == 0


@every_version
def test_a_frame_cut_in_its_header_is_dropped_and_said(version):
    host = host_at(version).connect()

    host.send(b"\x07\x00")
    host.desk.run(0.1)

    assert host.desk.why("ezsp.dropped") == ["too short for a header"]
    assert header_of(version).open(b"\x07\x00") is None


# A life on each


@every_version
def test_a_device_joins_and_is_heard_and_reached(version):
    host = Host(Desk(Personality(ezsp=version)), version).ready()
    host.expect_device()
    device, heard = join_device(host.desk)
    host.callbacks.clear()

    device.send(SendRequest(0, 0x0109, 0x0019, 1, 1, b"up", aps_ack=True), lambda _: None)
    host.desk.run(0.5)
    assert host.answered(host.start(host.unicast(device.nwk, b"down"))).status == 0
    host.desk.run(0.5)

    assert [message.payload for message in heard] == [b"down"]
    (incoming,) = host.named("incomingMessageHandler")
    assert bytes(incoming.fields["messageContents" if version < 14 else "message"]) == b"up"
    (sent,) = host.named("messageSentHandler")
    assert int(sent.fields["status"]) == 0


@every_version
def test_the_network_is_there_again_after_a_reset(version):
    host = host_at(version).ready()
    before = host.call("getNetworkParameters")["parameters"]

    host.connect()
    start = ("networkInitExtended", 0) if version < 6 else ("networkInit", 0)
    assert host.call(*start).status == 0

    assert host.call("getNetworkParameters")["parameters"] == before


@pytest.mark.parametrize("version", [v for v in VERSIONS if v < 8])
@pytest.mark.parametrize(("decision", "gets_in"), [(0x06, True), (0x03, False), (0x02, False), (0x01, True)])
def test_before_version_8_a_policy_is_one_decision_out_of_a_list(version, decision, gets_in):
    host = host_at(version).ready()
    host.expect_device()
    host.call("setPolicy", 0, decision)

    _, result = try_to_join(host.desk)

    assert result.ok is gets_in


def test_a_global_link_key_opens_the_network_unless_only_install_codes_do():
    host = host_at(4).connect()
    security = t.EmberInitialSecurityState()
    security.bitmask = t.EmberInitialSecurityBitmask(0x0B44)
    security.preconfiguredKey = t.KeyData(LINK_KEY)
    security.networkKey = t.KeyData(NETWORK_KEY)
    security.networkKeySequenceNumber = t.uint8_t(0)
    security.preconfiguredTrustCenterEui64 = address(PPMID)
    assert host.call("setInitialSecurityState", security).status == 0

    opened = {}
    for decision in (0x01, 0x06):
        host.call("setPolicy", 0, decision)
        opened[decision] = host.desk.node.trust.policy.default_link_key

    assert opened == {0x01: LINK_KEY, 0x06: None}


# Keys in older words


@before_the_security_manager
def test_link_keys_are_written_found_read_and_erased(version):
    host = host_at(version).connect()
    first, second = address(PPMID), address(STRANGER)

    assert host.call("addOrUpdateKeyTableEntry", first, 1, t.KeyData(bytes(16))).status == 0
    assert host.call("addOrUpdateKeyTableEntry", first, 1, t.KeyData(LINK_KEY)).status == 0
    assert host.call("setKeyTableEntry", 3, second, 1, t.KeyData(NETWORK_KEY)).status == 0

    rows = [host.call("findKeyTableEntry", who, 1)["index"] for who in (first, second)]
    assert rows == [0, 3]
    entry = host.call("getKeyTableEntry", 0)["keyStruct"]
    assert (entry.key.serialize(), entry.partnerEUI64) == (LINK_KEY, first)
    assert host.call("eraseKeyTableEntry", 0).status == 0
    assert host.call("getKeyTableEntry", 0).status == 0xB6
    assert host.call("getKeyTableEntry", 12).status == 0xB1


@before_the_security_manager
def test_a_full_key_table_says_so(version):
    host = host_at(version).connect()

    statuses = [
        host.call("addOrUpdateKeyTableEntry", address(Eui64(number)), 1, t.KeyData(LINK_KEY)).status
        for number in range(1, 14)
    ]

    assert statuses == [0] * 12 + [0xB4]


@every_version
def test_asked_for_nobodys_key_the_first_free_row_is_named(version):
    host = host_at(version).connect()
    key = t.KeyData(LINK_KEY)

    if version < 13:
        host.call("addOrUpdateKeyTableEntry", address(PPMID), 1, key)
    else:
        host.call("importLinkKey", 0, address(PPMID), key)

    assert host.call("findKeyTableEntry", address(Eui64(0)), 1)["index"] == 1


@before_the_security_manager
def test_the_network_key_and_the_trust_centres_can_be_read_once_they_are_set(version):
    host = host_at(version).connect()
    assert host.call("getKey", 3).status == 0x03
    host.form()

    network, trust_centre = (host.call("getKey", kind) for kind in (3, 1))

    assert network["keyStruct"].key.serialize() == NETWORK_KEY
    assert trust_centre["keyStruct"].key.serialize() == bytes(16)
    assert host.call("getKey", 5).status == 0x03


# What came and went


@every_version
def test_a_child_is_told_in_the_versions_own_structure(version):
    host = host_at(version).ready()
    host.expect_device()
    device, _ = join_device(host.desk)

    answer = host.call("getChildData", 0)

    assert answer.status == 0
    if version < 7:
        told = (answer["childId"], answer["childEui64"])
    else:
        child = answer["childData" if version < 10 else "child_data"]
        told = (child.id, child.eui64)
    assert told == (device.nwk, address(PPMID))
    assert host.call("getChildData", 1).status == (0x93 if version < 14 else 0x17)


@every_version
def test_a_command_of_another_version_is_an_invalid_command(version):
    host = host_at(version).connect()
    if version < 8:
        foreign = 0x005A  # setSourceRouteDiscoveryMode came with 8
    elif version < 12:
        foreign = 0x0111  # importTransientKey came with 12
    else:
        foreign = (
            0x00AF if version > 12 else 0x0116
        )  # addTransientLinkKey went, getNetworkKeyInfo came, with 13

    assert host.call_raw(foreign).name == "invalidCommand"
