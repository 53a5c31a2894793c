"""Wireshark follows devices that establish keys: it opens every frame and agrees who is who."""

import pytest
from house_world import World, image_for

from han.clusters import PROTECTED_CLUSTERS
from han.security.lab_authority import LAB_ISSUER
from han.sim.air.capture import KeyFile
from han.zcl import BASIC_CLUSTER, KEY_ESTABLISHMENT_CLUSTER, OTA_CLUSTER, TUNNELLING_CLUSTER
from ota.eui64 import Eui64

pytestmark = pytest.mark.oracle


@pytest.fixture
def recorded(tmp_path):
    """A PPMID joins, establishes a key under suite 2, updates itself, and establishes another in between."""
    world = World()
    capture, keys = tmp_path / "house.pcap", tmp_path / "house.keys"
    with capture.open("wb") as file, KeyFile(keys) as known:
        world.house.capture(file)
        world.house.write_keys(known)
        known.add(bytes(range(0xA0, 0xB0)), "network key")
        world.move_in()
        world.hub.offer(image_for(world, "ppmid", size=10_000), "ppmid")
        world.run_until("ota.block", "ppmid", count=50)
        world.hub.keys.initiate(world["ppmid"].eui64)
        world.run_until("device.activated", "ppmid")
        world.run(30.0)
    return world, capture, keys


def test_wireshark_opens_every_frame_of_a_house_whose_devices_establish_keys(recorded, tshark):
    _, capture, keys = recorded

    assert tshark.faults(capture, keys) == []


def test_wireshark_sees_no_protected_cluster_in_plain_and_no_other_sealed(recorded, tshark):
    _, capture, keys = recorded
    rows = tshark.rows(
        capture,
        ["zbee_aps.cluster", "zbee_aps.security"],
        keys=keys,
        where="zbee_aps.type == 0 && zbee_aps.profile == 0x0109",
    )
    secured = {int(row["zbee_aps.cluster"][0], 16) for row in rows if row["zbee_aps.security"][0] == "1"}
    in_plain = {int(row["zbee_aps.cluster"][0], 16) for row in rows if row["zbee_aps.security"][0] == "0"}

    assert {OTA_CLUSTER, TUNNELLING_CLUSTER} < secured <= PROTECTED_CLUSTERS
    assert in_plain == {BASIC_CLUSTER, KEY_ESTABLISHMENT_CLUSTER}


def test_wireshark_reads_from_the_certificates_who_is_who(recorded, tshark):
    world, capture, keys = recorded
    subject, issuer = "zbee_zcl_se.ke.cert.subject", "zbee_zcl_se.ke.cert.issuer"
    rows = tshark.rows(capture, [subject, issuer], keys=keys, where=subject)

    names = {device.eui64 for device in world.house.devices.values()} | {world.hub.node.eui64}
    assert {Eui64.parse(row[subject][0]) for row in rows} == names
    assert {Eui64.parse(row[issuer][0]) for row in rows} == {LAB_ISSUER}
