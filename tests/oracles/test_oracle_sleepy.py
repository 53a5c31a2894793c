"""Wireshark follows a gas meter that sleeps, through an update and two changes of the network key."""

from __future__ import annotations

import pytest
from sleepy_home import sleepy_home, update, wait_for

from han.sim.air.capture import read_keys

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("rebound")]


@pytest.fixture
async def evidence(tmp_path):
    """It is updated, the key changes under its download and again in its sleep, it comes back, it leaves."""
    async with sleepy_home(evidence=tmp_path) as (stage, _told):
        hub, gsme = stage.mains.hub._house, stage.house.devices["gsme"]
        _, request = await update(stage, "gsme", 20_000)
        await wait_for(stage, "ota.block", "gsme", 50)
        await hub.switch_network_key()
        await stage.dsp.finished(request)
        await hub.switch_network_key()
        _, request = await update(stage, "gsme", version=0x00030000)
        await stage.dsp.finished(request)
        stage.house.node.remove(gsme.eui64)
        await wait_for(stage, "node.down", "gsme")
    return tmp_path / "home.pcap", tmp_path / "home.keys"


async def test_wireshark_opens_every_frame_under_every_key_and_agrees_how_each_got_there(evidence, tshark):
    capture, keys = evidence
    assert tshark.faults(capture, keys) == []
    network_keys = {label for _, label in read_keys(keys) if label.startswith("network key")}
    assert len([label for _, label in read_keys(keys) if label in network_keys]) == 3

    def count(where: str) -> int:
        return len(tshark.rows(capture, ["frame.number"], keys=keys, where=where))

    sequences = tshark.rows(capture, ["zbee.sec.key_seqno"], keys=keys, where="zbee_nwk.security == 1")
    assert {row["zbee.sec.key_seqno"][0] for row in sequences} == {"0", "1", "2"}
    assert count("wpan.cmd == 0x04") > 100, "it asks what waits for it"
    assert count("wpan.pending == 1 && wpan.frame_type == 2") > 50, "and is told that something does"
    assert count("zbee_nwk.cmd.id == 0x0b") >= 2, "it says how long it may be silent"
    assert count("zbee_nwk.cmd.id == 0x0c") >= 2
    assert count("zbee_aps.cmd.id == 0x05 && zbee_nwk.security == 1") >= 4, "the next key, to each its own"
    assert count("zbee_aps.cmd.id == 0x09") >= 2, "the order to switch"
    assert count("zbee_nwk.cmd.id == 0x06 && zbee_nwk.security == 0") >= 1, "it comes back in plain"
    assert count("zbee_nwk.cmd.id == 0x04") >= 2, "it is told to leave, and says that it does"
