"""A dongle whose link keys all come of one secret: does one that is imported come first?"""

from __future__ import annotations

import dataclasses

import bellows.types as t
import pytest
from dongle_world import OTA_CLUSTER, PPMID, SE_PROFILE, Desk, Host, join_device

from han.sim.dongle.personality import plain
from han.sim.node.service import SendRequest, SendStatus
from han.sim.node.store import LinkKey

ESTABLISHED = bytes(range(0x70, 0x80))
SECURED = 0x0140 | 0x0020
"""Options of a unicast: with a retry, an enabled route discovery, and APS encryption."""


def keyed(*, overrides: bool, hashed: bool, version: int = 13, late: bool = True):
    """A host whose dongle was given a key that it has established with the device that has joined."""
    personality = dataclasses.replace(plain(ezsp=version), imported_key_overrides=overrides)
    host = Host(Desk(personality), version).connect()
    host.add_endpoint()
    if not late:
        give_key(host)
    host.form(hashed=hashed)
    if late:
        host.expect_device()
        device, heard = join_device(host.desk)
        give_key(host)
        device.store.link_keys[host.desk.node.eui64] = LinkKey(ESTABLISHED)
        return host, device, heard
    return host, None, None


def give_key(host: Host) -> None:
    partner = t.EUI64.deserialize(PPMID.wire)[0]
    if host.version < 13:
        host.call("addOrUpdateKeyTableEntry", partner, True, t.KeyData(ESTABLISHED))
    else:
        assert host.call("importLinkKey", 0, partner, t.KeyData(ESTABLISHED)).status == 0


def exchange(host, device) -> tuple[list[bytes], SendStatus, int]:
    """A secured message each way: what the host heard, how that ended, how the host's own ended."""
    ends = []
    host.callbacks.clear()
    device.send(SendRequest(0, SE_PROFILE, OTA_CLUSTER, 1, 1, b"up", aps_security=True), ends.append)
    host.desk.run(10.0)
    heard = [bytes(c.fields["messageContents"])[:2] for c in host.named("incomingMessageHandler")]
    host.callbacks.clear()
    host.answered(host.start(host.unicast(device.nwk, b"down", options=SECURED)))
    host.desk.run(10.0)
    (sent,) = host.named("messageSentHandler")
    return heard, ends[0], int(sent.fields["status"])


@pytest.mark.parametrize("version", [8, 13])
@pytest.mark.parametrize(("overrides", "hashed"), [(True, True), (True, False), (False, False)])
def test_an_imported_key_is_used(overrides, hashed, version):
    host, device, heard = keyed(overrides=overrides, hashed=hashed, version=version)

    assert exchange(host, device) == ([b"up"], SendStatus.OK, 0)
    assert [message.payload for message in heard] == [b"down"]


@pytest.mark.parametrize("version", [8, 13])
def test_a_dongle_that_heeds_its_derived_key_alone_understands_nobody_under_an_imported_one(version):
    host, device, heard = keyed(overrides=False, hashed=True, version=version)

    assert exchange(host, device) == ([], SendStatus.DELIVERY_FAILED, 0x66)
    assert heard == []
    assert host.desk.node.counters.aps_decryption_failure >= 1
    assert device.counters.aps_decryption_failure >= 1


@pytest.mark.parametrize("late", [True, False], ids=["imported later", "imported before forming"])
def test_it_gives_back_what_was_imported_all_the_same(late):
    host, _, _ = keyed(overrides=False, hashed=True, late=late)

    assert host.call("exportLinkKeyByIndex", 0)["plaintext_key"].serialize() == ESTABLISHED
    assert host.desk.node.store.link_keys[PPMID].key != ESTABLISHED


def test_each_device_has_a_derived_key_of_its_own():
    host, _, _ = keyed(overrides=False, hashed=True)
    other = t.EUI64.convert("00:db:12:34:56:78:90:b4")
    host.call("importLinkKey", 1, other, t.KeyData(ESTABLISHED))

    assert len({entry.key for entry in host.desk.node.store.link_keys.values()}) == 2


def test_a_row_that_is_erased_leaves_nothing_behind():
    host, _, _ = keyed(overrides=False, hashed=True)

    assert host.call("eraseKeyTableEntry", 0).status == 0
    assert PPMID not in host.desk.node.store.link_keys
    assert host.desk.dongle.flash.unheeded == {}
