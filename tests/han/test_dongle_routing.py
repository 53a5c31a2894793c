"""The dongle as a concentrator: what a host sets, what it is told, and what its tables show."""

from __future__ import annotations

from itertools import pairwise

import bellows.types as t
import pytest
from dongle_world import COORDINATOR, LINK_KEY, OTA_CLUSTER, PPMID, SE_PROFILE, Desk, Host, try_to_join

from han.sim.air.links import Link, Links
from han.sim.dongle.personality import Personality, plain
from han.sim.node.node import Node
from han.sim.node.service import SendRequest, SimpleDescriptor
from ota.eui64 import Eui64

NEAR, FAR = Eui64.parse("00-DB-12-34-56-78-90-01"), Eui64.parse("00-DB-12-34-56-78-90-02")
HIGH_RAM, LOW_RAM = 0xFFF9, 0xFFF8


class Street:
    """A host with a dongle, and behind it two routers and a PPMID in a row."""

    def __init__(self, version: int = 13, personality: Personality | None = None) -> None:
        self.links = Links()
        chain = [COORDINATOR, NEAR, FAR, PPMID]
        for one, other in pairwise(chain):
            self.links.connect(one, other, Link())
        self.host = Host(Desk(personality or plain(version), links=self.links), version).ready()
        self.near, self.far, self.ppmid = (self.join(eui64) for eui64 in (NEAR, FAR, PPMID))
        self.host.callbacks.clear()

    def join(self, eui64: Eui64) -> Node:
        """Let a device in; it lets the next one in."""
        self.host.expect_device(eui64)
        device, result = try_to_join(self.host.desk, key=LINK_KEY, eui64=eui64)
        assert result.ok, result
        device.permit(255)
        device.endpoints[1] = SimpleDescriptor(SE_PROFILE, 0x0502, 0, (0x000A,), (OTA_CLUSTER,))
        return device

    def concentrate(self, kind: int = HIGH_RAM, *, least: int = 10, longest: int = 60) -> int:
        """Set the dongle up as bellows does; the status."""
        return self.host.call("setConcentrator", True, kind, least, longest, 3, 1, 0).status

    def speak(self, device: Node, payload: bytes = b"hello") -> None:
        """A device says something to the coordinator."""
        device.send(SendRequest(0, SE_PROFILE, OTA_CLUSTER, 1, 1, payload), lambda _: None)
        self.host.desk.run(1.0)

    def source_routed(self) -> None:
        """Everyone has told the way."""
        assert self.concentrate() == 0
        self.host.desk.run(12.0)
        self.speak(self.ppmid)


@pytest.fixture(params=[13, 17], ids=["v13", "v17"])
def version(request) -> int:
    return request.param


def test_a_route_record_is_told_before_the_message_that_it_came_with(version):
    street = Street(version)
    street.source_routed()

    names = [callback.name for callback in street.host.callbacks]
    assert names.index("incomingRouteRecordHandler") < names.index("incomingMessageHandler")
    record = street.host.named("incomingRouteRecordHandler")[0].fields
    assert int(record["source"]) == street.ppmid.nwk
    assert record["sourceEui"].serialize() == PPMID.wire
    assert [int(relay) for relay in record["relayList"]] == [street.far.nwk, street.near.nwk]
    assert (int(record["lastHopLqi"]), int(record["lastHopRssi"])) == (255, -45)


def test_no_host_that_asked_for_no_concentrator_hears_of_routes(version):
    street = Street(version)
    assert street.host.call("setConcentrator", False, HIGH_RAM, 10, 60, 3, 1, 0).status == 0
    street.host.desk.run(120.0)
    street.speak(street.ppmid)
    assert street.host.named("incomingRouteRecordHandler") == []


def test_a_concentrator_with_little_memory_is_told_again_and_again(version):
    street = Street(version)
    assert street.concentrate(LOW_RAM) == 0
    street.host.desk.run(12.0)
    for _ in range(3):
        street.speak(street.ppmid)
    assert len(street.host.named("incomingRouteRecordHandler")) >= 3
    assert street.host.call("getSourceRouteTableFilledSize")["sourceRouteTableFilledSize"] == 0


@pytest.mark.parametrize(
    ("kind", "least", "longest"), [(0x1234, 10, 60), (HIGH_RAM, 60, 10), (HIGH_RAM, 0, 60)]
)
def test_a_concentrator_that_cannot_be_is_refused(kind, least, longest):
    assert Street().concentrate(kind, least=least, longest=longest) == t.EmberStatus.BAD_ARGUMENT


def test_a_message_too_long_for_the_source_route_is_refused_and_a_shorter_one_is_not(version):
    street = Street(version)
    street.source_routed()
    host, nwk = street.host, street.ppmid.nwk
    too_long = 0x74 if version < 14 else 0x0038

    assert host.answered(host.start(host.unicast(nwk, bytes(82 - 6 + 1)))).status == too_long
    assert host.answered(host.start(host.unicast(nwk, bytes(82 - 6)))).status == 0
    assert host.answered(host.start(host.unicast(street.near.nwk, bytes(82)))).status == 0


def test_the_source_route_table_shows_each_relay_once_and_who_is_closer(version):
    street = Street(version)
    street.source_routed()
    host = street.host

    assert host.call("getSourceRouteTableTotalSize")["sourceRouteTableTotalSize"] == 200
    assert host.call("getSourceRouteTableFilledSize")["sourceRouteTableFilledSize"] == 3
    rows = [host.call("getSourceRouteTableEntry", index) for index in range(3)]
    closer = {int(row["destination"]): int(row["closerIndex"]) for row in rows}
    place = [int(row["destination"]) for row in rows]
    assert closer[street.near.nwk] == 0xFF
    assert place[closer[street.far.nwk]] == street.near.nwk
    assert place[closer[street.ppmid.nwk]] == street.far.nwk
    assert host.call("getSourceRouteTableEntry", 3).status != 0


def test_a_host_may_set_a_source_route_and_a_circle_is_none():
    street = Street()
    assert street.concentrate() == 0
    relays = t.LVList[t.NWK]([street.far.nwk, street.near.nwk])
    assert street.host.call("setSourceRoute", street.ppmid.nwk, relays).status == 0
    assert street.host.desk.node.source_routes()[street.ppmid.nwk] == (street.far.nwk, street.near.nwk)
    circle = t.LVList[t.NWK]([street.near.nwk, street.near.nwk])
    assert street.host.call("setSourceRoute", street.ppmid.nwk, circle).status != 0


def test_a_broken_source_route_is_told(version):
    street = Street(version)
    street.source_routed()
    street.host.callbacks.clear()
    street.links.part(FAR, PPMID)
    street.host.answered(street.host.start(street.host.unicast(street.ppmid.nwk)))
    street.host.desk.run(15.0)

    [error, *_] = street.host.named("incomingRouteErrorHandler")
    assert int(error.fields["target"]) == street.ppmid.nwk
    assert int(error.fields["status"]) == (0xA9 if version < 14 else 0x0C13)
    [status, *_] = street.host.named("incomingNetworkStatusHandler")
    assert int(status.fields["errorCode"]) == 0x0B
    assert street.ppmid.nwk not in street.host.desk.node.source_routes()


def test_the_neighbour_and_route_tables_show_what_the_stack_knows(version):
    street = Street(version)
    street.source_routed()
    host = street.host

    assert host.call("neighborCount")["value"] == 1
    row = host.call("getNeighbor", 0)["value"]
    assert (int(row.shortId), row.longId.serialize()) == (street.near.nwk, NEAR.wire)
    assert (int(row.averageLqi), int(row.inCost)) == (255, 1)
    assert host.call("getNeighbor", 1).status != 0
    assert int(host.call("getRouteTableEntry", 15)["value"].status) == 0x03
    assert host.call("getRouteTableEntry", 16).status != 0


def test_how_long_it_is_until_everyone_is_asked_is_told(version):
    street = Street(version)
    host = street.host
    assert host.call("setSourceRouteDiscoveryMode", 0)["remainingTime"] == 0xFFFF_FFFF
    assert street.concentrate() == 0
    assert 9000 < host.call("setSourceRouteDiscoveryMode", 1)["remainingTime"] <= 10_000
    assert host.call("setSourceRouteDiscoveryMode", 2)["remainingTime"] == 0
    host.desk.run(2.0)
    street.speak(street.ppmid)
    assert host.named("incomingRouteRecordHandler")


def test_a_restart_of_the_dongle_ends_its_being_a_concentrator():
    street = Street()
    street.source_routed()
    street.host.connect()
    assert street.host.call("networkInit", 0).status == 0
    street.host.desk.run(120.0)
    assert street.host.desk.node.seconds_to_asking is None
    assert street.host.desk.node.source_routes() == {}


def test_the_octet_behind_a_message_tells_whether_it_came_over_a_relay():
    street = Street(personality=Personality(ezsp=13))
    street.speak(street.near)
    street.speak(street.ppmid)
    trailers = {
        int(callback.fields["sender"]): callback.trailer
        for callback in street.host.named("incomingMessageHandler")
        if callback.fields["apsFrame"].profileId == SE_PROFILE
    }
    assert trailers == {street.near.nwk: b"\x02", street.ppmid.nwk: b"\x04"}
