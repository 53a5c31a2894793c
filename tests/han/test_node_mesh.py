"""A mesh of nodes: ways are found, kept to, lost and found again; the house is as its plan says."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from node_neighbourhood import (
    COORDINATOR,
    END_DEVICE,
    NETWORK_KEY,
    PARAMETERS,
    ROUTER,
    Neighbourhood,
    message,
)

from han.sim.air.links import Link, Links
from han.sim.node.concentrator import ConcentratorSettings
from han.sim.node.node import Node
from han.sim.node.service import (
    DeviceJoined,
    DeviceUpdate,
    RouteFailed,
    RouteRecorded,
    SendRequest,
    SendStatus,
)
from han.sim.wire import mac, nwk, nwk_commands, zdo
from han.sim.wire.errors import WireError
from han.sim.wire.nwk_commands import (
    LinkStatus,
    NetworkStatus,
    RouteRecord,
    RouteReply,
    RouteRequest,
    parse_command,
)
from ota.eui64 import Eui64


class House(Neighbourhood):
    """Nodes by name; who hears whom is said by name, too. The first is the coordinator."""

    def __init__(
        self, *links: str, seed: int = 7, link_status_period: float = 0.0, loss: float = 0.0
    ) -> None:
        self.links = Links()
        super().__init__(seed, links=self.links, link_status_period=link_status_period)
        self.nodes: dict[str, Node] = {}
        self._plan = [tuple(link.split("-")) for link in links]
        self._loss = loss

    def build(self, *names: str, sleepers: tuple[str, ...] = ()) -> None:
        """A coordinator and routers of these names; ``sleepers`` are end devices instead."""
        for name in names:
            kind = COORDINATOR if not self.nodes else END_DEVICE if name in sleepers else ROUTER
            self.nodes[name] = self.node(name, kind)
        for one, other in self._plan:
            self.connect(one, other)
        hub = self.nodes[names[0]]
        hub.form(PARAMETERS)

    def connect(self, one: str, other: str, lqi: int = 255) -> None:
        """Let these two hear each other."""
        self.links.connect(self.nodes[one].eui64, self.nodes[other].eui64, Link(lqi, self._loss))

    def part(self, one: str, other: str) -> None:
        """Build a wall between these two."""
        self.links.part(self.nodes[one].eui64, self.nodes[other].eui64)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def let_in(self, *names: str) -> None:
        """Let these join one after the other, through whoever is near; each stays open for the next."""
        hub = next(iter(self.nodes.values()))
        hub.permit(255)
        for name in names:
            for _ in range(5):
                result = self.join(hub, self[name])
                if result.ok:
                    break
            assert result.ok, f"{name}: {result.status}"
            self[name].permit(255)

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        self.timeline.run(self.timeline.now + seconds)

    def hops_of(self, payload: bytes) -> list[tuple[int, int]]:
        """The hops over which the data frames with this APS payload went, in order of the air, once each."""
        hops: list[tuple[int, int]] = []
        for frame, opened in self.opened():
            if opened.type is nwk.FrameType.DATA and opened.payload.endswith(payload):
                hop = (frame.source, frame.destination)
                if hop not in hops:
                    hops.append(hop)
        return hops

    def opened(self):
        """Every network frame on the air that the network key opens, with the MAC frame around it."""
        for flight in self.flights:
            try:
                frame = mac.parse_psdu(flight.psdu)
                if frame.type is mac.FrameType.DATA:
                    yield frame, nwk.open_frame(frame.payload, {0: NETWORK_KEY})[0]
            except WireError:
                continue

    def requests(self) -> list[RouteRequest]:
        """Every route request on the air."""
        commands = (
            parse_command(opened.payload)
            for _, opened in self.opened()
            if opened.type is nwk.FrameType.COMMAND
        )
        return [command for command in commands if isinstance(command, RouteRequest)]


def chain(seed: int = 7, **options) -> House:
    """Hub - a - b - c - d: four hops, everyone in."""
    house = House("hub-a", "a-b", "b-c", "c-d", seed=seed, **options)
    house.build("hub", "a", "b", "c", "d")
    house.let_in("a", "b", "c", "d")
    return house


def nwks(house: House, *names: str) -> list[tuple[int, int]]:
    """The hops from name to name."""
    addresses = [house[name].nwk for name in names]
    return list(pairwise(addresses))


def test_a_device_joins_through_three_routers_and_speaks_with_the_coordinator():
    house = chain()
    assert house["d"].store.depth == 4
    assert house["d"].store.parent == house["c"].nwk
    reports = [event for event in house.events["hub"] if isinstance(event, DeviceJoined)]
    assert [event.parent for event in reports] == [0] + [house[name].nwk for name in ("a", "b", "c")]

    assert house.send(house["d"], house["hub"], b"up the chain") is SendStatus.OK
    assert house.hops_of(b"up the chain") == nwks(house, "d", "c", "b", "a", "hub")
    assert house.send(house["hub"], house["d"], b"and down") is SendStatus.OK
    assert house.hops_of(b"and down") == nwks(house, "hub", "a", "b", "c", "d")
    assert [each.payload for each in house.messages["d"]] == [b"and down"]


def test_a_broadcast_reaches_everyone_once():
    house = chain()
    received = {name: len(house.zdo[name]) for name in "abcd"}
    house["hub"].zdo.announce()
    house.run(3.0)
    assert {name: len(house.zdo[name]) - received[name] for name in "abcd"} == dict.fromkeys("abcd", 1)


def test_a_broadcast_is_not_repeated_once_every_router_around_has_passed_it_on():
    house = chain()
    house.flights.clear()
    house["hub"].zdo.announce()
    house.run(3.0)
    assert len(house.flights) == 5  # each node once: nobody was lost, so nobody repeats


def test_nothing_is_looked_for_in_a_house_of_one_room():
    house = House("hub-a", "hub-b", "a-b")
    house.build("hub", "a", "b")
    house.let_in("a", "b")
    for sender, to in (("a", "hub"), ("hub", "b"), ("a", "b")):
        assert house.send(house[sender], house[to], b"straight") is SendStatus.OK
    assert house.requests() == []


def test_the_best_way_is_taken_not_the_shortest():
    house = House("hub-a", "a-b")
    house.build("hub", "a", "b")
    house.connect("hub", "b", lqi=60)
    house.let_in("a", "b")
    assert house["b"].store.parent == house["a"].nwk
    # The first answer to a route request is the fastest, which is not always the best.
    house.send(house["b"], house["hub"], b"any way")
    house.run(1.0)
    assert house.send(house["b"], house["hub"], b"over the better links") is SendStatus.OK
    assert house.hops_of(b"over the better links") == nwks(house, "b", "a", "hub")


def test_a_bad_link_is_used_when_there_is_no_other():
    house = House()
    house.build("hub", "a")
    house.connect("hub", "a", lqi=40)
    house.let_in("a")
    assert house.send(house["a"], house["hub"], b"at the edge") is SendStatus.OK


def test_a_way_that_nobody_knows_is_given_up():
    house = chain()
    house.part("b", "c")
    assert house.send(house["hub"], house["d"], b"nobody there") is SendStatus.DELIVERY_FAILED
    assert "nobody knows a way" in house.why("route.not-found")


def two_ways(seed: int = 7, **options) -> House:
    """Hub - a - c and hub - b - c, with d behind c."""
    house = House("hub-a", "hub-b", "a-c", "b-c", "c-d", seed=seed, **options)
    house.build("hub", "a", "b", "c", "d")
    house.let_in("a", "b", "c", "d")
    return house


@pytest.mark.parametrize("seed", range(5))
def test_another_way_is_found_when_a_router_dies(seed):
    house = two_ways(seed)
    assert house.send(house["d"], house["hub"], b"before") is SendStatus.OK
    [used] = {hop[1] for hop in house.hops_of(b"before")} & {house["a"].nwk, house["b"].nwk}
    dead, other = ("a", "b") if used == house["a"].nwk else ("b", "a")
    house[dead].crash()
    assert house.send(house["d"], house["hub"], b"after") is SendStatus.OK
    assert house.hops_of(b"after")[-1] == (house[other].nwk, 0)
    assert house.send(house["hub"], house["d"], b"and back") is SendStatus.OK


def concentrating(house: House) -> House:
    """The coordinator has told everyone the way to it, and everyone has told it the way back."""
    house["hub"].concentrate(ConcentratorSettings())
    house.run(12.0)
    for name in house.nodes:
        if name != "hub":
            assert house.send(house[name], house["hub"], b"hello from " + name.encode()) is SendStatus.OK
    return house


def test_a_concentrator_learns_the_relays_and_sends_along_them():
    house = concentrating(chain())
    records = {event.nwk: event.relays for event in house.events["hub"] if isinstance(event, RouteRecorded)}
    a, b, c, d = (house[name].nwk for name in "abcd")
    assert records[d] == (c, b, a)
    assert records[b] == (a,)
    assert a not in records  # a neighbour needs no relays

    house.flights.clear()
    assert house.send(house["hub"], house["d"], b"as told") is SendStatus.OK
    routes = [opened.source_route for _, opened in house.opened() if opened.payload.endswith(b"as told")]
    assert [(route.relay_index, route.relays) for route in routes] == [
        (index, (c, b, a)) for index in (2, 1, 0, 0)
    ]
    assert house.requests() == []


def records_of(house: House, name: str) -> int:
    return sum(
        isinstance(event, RouteRecorded) and event.nwk == house[name].nwk for event in house.events["hub"]
    )


@pytest.mark.parametrize(("keeps_routes", "afterwards"), [(True, 0), (False, 1)])
def test_a_route_record_comes_before_each_message_until_a_source_route_shows_that_it_is_kept(
    keeps_routes, afterwards
):
    house = chain()
    house["hub"].concentrate(ConcentratorSettings(keeps_routes=keeps_routes))
    house.run(12.0)
    for number in range(1, 4):
        house.send(house["d"], house["hub"], b"hello", aps_ack=False)
        house.run(1.0)
        assert records_of(house, "d") == number

    house.send(house["hub"], house["d"], b"I know", aps_ack=False)
    house.run(1.0)
    house.send(house["d"], house["hub"], b"good", aps_ack=False)
    house.run(1.0)
    assert records_of(house, "d") == 3 + afterwards


def test_a_new_request_of_the_concentrator_asks_for_records_anew():
    house = concentrating(chain())
    before = records_of(house, "d")
    house.run(65.0)
    house.send(house["d"], house["hub"], b"once more", aps_ack=False)
    house.run(1.0)
    assert records_of(house, "d") == before + 1


@pytest.mark.parametrize("aps_security", [False, True])
def test_a_source_route_shrinks_the_payload_by_two_octets_and_two_a_relay(aps_security):
    house = concentrating(chain())
    hub, d = house["hub"], house["d"]
    without = hub.largest_payload(aps_security=aps_security)
    limit = hub.largest_payload(aps_security=aps_security, destination=d.nwk)
    assert limit == without - 2 - 2 * 3
    assert house.send(hub, d, bytes(limit), aps_security=aps_security) is SendStatus.OK
    assert max(len(flight.psdu) for flight in house.flights) == 127


def test_a_broken_source_route_is_reported_forgotten_and_replaced():
    house = concentrating(two_ways())
    relays = house["hub"].source_routes()[house["d"].nwk]
    used, other = ("a", "b") if house["a"].nwk in relays else ("b", "a")
    house.part("c", used)
    assert house.send(house["hub"], house["d"], b"another way") is SendStatus.OK
    assert house.hops_of(b"another way")[-2:] == nwks(house, other, "c", "d")
    assert RouteFailed(0x0B, house["d"].nwk) in house.events["hub"]


def test_a_relay_that_loses_the_way_to_the_concentrator_tells_it_by_another():
    house = concentrating(two_ways())
    house.send(house["d"], house["hub"], b"before")
    used = house.hops_of(b"before")[-1][0]
    dead = "a" if used == house["a"].nwk else "b"
    house[dead].crash()
    assert house.send(house["d"], house["hub"], b"after") is SendStatus.OK
    house.run(5.0)
    assert any(isinstance(event, RouteFailed) and event.status == 0x0C for event in house.events["hub"])


def test_an_end_device_speaks_through_its_parent_and_is_found_behind_it():
    house = House("hub-a", "a-b", "b-e")
    house.build("hub", "a", "b", "e", sleepers=("e",))
    house.let_in("a", "b", "e")
    assert house.send(house["e"], house["hub"], b"through my parent") is SendStatus.OK
    assert house.hops_of(b"through my parent") == nwks(house, "e", "b", "a", "hub")
    assert house.send(house["hub"], house["e"], b"found") is SendStatus.OK


def test_the_parent_of_an_end_device_records_the_route_for_it():
    house = House("hub-a", "a-b", "b-e")
    house.build("hub", "a", "b", "e", sleepers=("e",))
    house.let_in("a", "b", "e")
    concentrating(house)
    assert house["hub"].source_routes()[house["e"].nwk] == (house["b"].nwk, house["a"].nwk)
    assert house.send(house["hub"], house["e"], b"as told") is SendStatus.OK


def test_routers_tell_each_other_how_well_they_hear():
    house = two_ways(link_status_period=15.0)
    house.connect("a", "c", lqi=120)
    house.run(50.0)
    table = {row.nwk: row for row in house["c"].neighbours()}
    assert set(table) == {house[name].nwk for name in "abd"}
    assert table[house["a"].nwk].outgoing_cost == 5
    assert table[house["b"].nwk].outgoing_cost == 1


def test_a_router_that_falls_silent_is_forgotten():
    house = two_ways(link_status_period=15.0)
    house.run(50.0)
    house["a"].crash()
    house.run(80.0)
    assert house["a"].eui64 not in {row.eui64 for row in house["c"].neighbours()}
    house.flights.clear()
    assert house.send(house["c"], house["hub"], b"no time lost") is SendStatus.OK
    assert house.hops_of(b"no time lost") == nwks(house, "c", "b", "hub")


def test_a_link_that_works_one_way_is_no_way():
    house = House("hub-a", "a-b", "hub-b", link_status_period=15.0)
    house.build("hub", "a", "b")
    house.let_in("a", "b")
    house.part("hub", "b")
    house.links.connect(house["hub"].eui64, house["b"].eui64, Link(), one_way=True)
    house.run(120.0)
    house.flights.clear()
    assert house.send(house["b"], house["hub"], b"round about") is SendStatus.OK
    assert house.hops_of(b"round about") == nwks(house, "b", "a", "hub")
    assert not [each for each, _ in house.opened() if each.source == house["b"].nwk and each.destination == 0]


@pytest.mark.parametrize("seed", range(3))
def test_messages_come_through_four_lossy_hops(seed):
    house = chain(seed, loss=0.1)
    statuses = [house.send(house["d"], house["hub"], b"%d" % number) for number in range(30)]
    assert statuses.count(SendStatus.OK) >= 29
    assert len(house.messages["hub"]) >= 29


def test_the_same_seed_gives_the_same_mesh_to_the_octet():
    def run() -> list[bytes]:
        house = concentrating(two_ways(3, link_status_period=15.0, loss=0.05))
        house.run(60.0)
        return [flight.psdu for flight in house.flights]

    assert run() == run()


def test_a_frame_that_goes_in_circles_dies_of_its_radius():
    house = chain()
    b, c, stranger = house["b"], house["c"], 0x5555
    b._nwk.mesh.routes.learn(stranger, c.nwk)
    c._nwk.mesh.routes.learn(stranger, b.nwk)
    house.flights.clear()
    request = message(stranger, b"round and round", aps_ack=False)
    b.send(request, lambda _: None)
    house.run(5.0)
    frames = [opened for _, opened in house.opened() if opened.payload.endswith(b"round and round")]
    assert 2 <= len(frames) <= 30
    assert Eui64(0) not in house["hub"].store.addresses


def ask(house: House, who: str, whom: str, request: zdo.ZdoCommand) -> list[zdo.ZdoCommand]:
    """Ask for a table, row after row, as topology scans do; every answer."""
    answers: list[zdo.ZdoCommand] = []
    start = 0
    while True:
        before = len(house.zdo[who])
        send = SendRequest(
            house[whom].nwk, zdo.PROFILE, request.CLUSTER, 0, 0, zdo.encode(start, type(request)(start))
        )
        house[who].send(send, lambda _: None)
        house.run(1.0)
        [heard] = house.zdo[who][before:]
        answer = zdo.decode(heard.cluster, heard.payload)[1]
        answers.append(answer)
        rows = answer.neighbours if isinstance(answer, zdo.MgmtLqiResponse) else answer.routes
        start += len(rows)
        if start >= answer.total or not rows:
            return answers


def test_a_router_tells_who_its_neighbours_are():
    house = two_ways()
    answers = ask(house, "hub", "c", zdo.MgmtLqiRequest())
    rows = {row.ieee: row for answer in answers for row in answer.neighbours}
    assert set(rows) == {house[name].eui64 for name in "abd"}
    assert rows[house["d"].eui64].relationship == zdo.Relationship.CHILD
    assert rows[house["d"].eui64].depth == house["c"].store.depth + 1
    parents = [row.nwk for row in rows.values() if row.relationship == zdo.Relationship.PARENT]
    assert parents == [house["c"].store.parent]
    assert {row.logical_type for row in rows.values()} == {zdo.LogicalType.ROUTER}


def test_a_long_neighbour_table_comes_in_parts():
    names = ["hub", *(f"n{number}" for number in range(7))]
    house = House(*(f"{one}-{other}" for one, other in combinations(names, 2)))
    house.build(*names)
    house.let_in(*names[1:])
    answers = ask(house, "n0", "hub", zdo.MgmtLqiRequest())
    assert [len(answer.neighbours) for answer in answers] == [3, 3, 1]
    assert {answer.total for answer in answers} == {7}


def test_a_router_tells_which_ways_it_knows():
    house = concentrating(chain())
    rows = [row for answer in ask(house, "hub", "b", zdo.MgmtRtgRequest()) for row in answer.routes]
    [to_hub] = [row for row in rows if row.destination == 0]
    assert (to_hub.next_hop, to_hub.many_to_one, to_hub.memory_constrained) == (house["a"].nwk, True, False)


def test_a_router_that_changes_its_address_is_found_under_the_new_one():
    house = chain()
    before = house["c"].nwk
    house["c"].change_address()
    house.run(3.0)
    assert house["c"].nwk != before
    assert house["hub"].address_of(house["c"].eui64) == house["c"].nwk
    assert house.send(house["hub"], house["c"], b"there you are") is SendStatus.OK
    assert house.send(house["hub"], house["d"], b"and behind you") is SendStatus.OK
    assert house["b"].store.children[house["c"].eui64].nwk == house["c"].nwk


def test_an_end_device_that_listens_follows_its_parent_to_its_new_address():
    house = House("hub-a", "a-b", "b-e")
    house.build("hub", "a", "b", "e", sleepers=("e",))
    house.let_in("a", "b", "e")
    house["b"].change_address()
    house.run(3.0)
    assert house["e"].store.parent == house["b"].nwk
    assert house.send(house["e"], house["hub"], b"after you") is SendStatus.OK
    assert house.send(house["hub"], house["e"], b"both of you") is SendStatus.OK


def test_of_two_devices_with_one_address_the_older_gives_way():
    house = chain()
    contested = house["d"].nwk
    house["a"].change_address(contested)
    house.run(5.0)
    assert house["a"].nwk == contested
    assert house["d"].nwk != contested
    assert house["d"].store.network.nwk == house["d"].nwk
    assert house.why("node.conflict") == ["two devices have this address"]
    for name in "ad":
        assert house["hub"].address_of(house[name].eui64) == house[name].nwk
        assert house.send(house["hub"], house[name], b"hello " + name.encode()) is SendStatus.OK


def test_a_device_behind_a_router_is_sent_away_by_it():
    house = chain()
    assert house["hub"].remove(house["d"].eui64, through=house["c"].nwk)
    house.run(3.0)
    assert not house["d"].is_up
    left = [event for event in house.events["hub"] if isinstance(event, DeviceJoined)][-1]
    assert (left.eui64, left.status) == (house["d"].eui64, DeviceUpdate.DEVICE_LEFT)


def test_an_end_device_whose_parent_went_dark_comes_back_through_another():
    house = House("hub-a", "hub-b", "a-e", "b-e")
    house.build("hub", "a", "b", "e", sleepers=("e",))
    house.let_in("a", "b", "e")
    parent = "a" if house["e"].store.parent == house["a"].nwk else "b"
    other = "b" if parent == "a" else "a"
    house[parent].crash()
    results = []
    house["e"].rejoin(results.append)
    house.run_until(lambda: bool(results))
    house.run(3.0)
    assert house["e"].store.parent == house[other].nwk
    assert house.send(house["hub"], house["e"], b"found again") is SendStatus.OK
    assert house.send(house["e"], house["hub"], b"here I am") is SendStatus.OK
    rejoined = [event for event in house.events["hub"] if isinstance(event, DeviceJoined)][-1]
    assert (rejoined.status, rejoined.parent) == (DeviceUpdate.SECURED_REJOIN, house[other].nwk)


def test_thousands_of_spoilt_mesh_commands_from_somebody_with_the_key_break_nothing():
    house = concentrating(chain())
    dice = random.Random(7)
    liar = Eui64(0x00DB1234567890EE)
    b = house["b"]
    commands = [
        RouteRequest(1, 0, 1, 0),
        RouteReply(1, b.nwk, 0, 1),
        RouteRecord((1, 2, 3)),
        RouteRecord(tuple(range(1, 45))),  # one more would not fit a frame
        NetworkStatus(0x0B, 0x1234),
        LinkStatus((nwk_commands.Link(b.nwk, 1, 1),)),
    ]
    for counter in range(3000):
        payload = bytearray(dice.choice(commands).to_bytes())
        for _ in range(dice.randrange(4)):
            payload[dice.randrange(len(payload))] = dice.randrange(256)
        frame = nwk.NwkFrame(
            nwk.FrameType.COMMAND,
            dice.choice((b.nwk, 0xFFFC, house["d"].nwk)),
            dice.randrange(0xFFF8),
            dice.randrange(32),
            counter & 0xFF,
            bytes(payload[: dice.randrange(1, len(payload) + 1)]),
            security=True,
            source_route=nwk.SourceRoute(dice.randrange(4), (b.nwk, dice.randrange(0xFFF8)))
            if dice.random() < 0.2
            else None,
        )
        octets = nwk.seal(frame, NETWORK_KEY, 0, counter, liar)
        outer = mac.MacFrame(mac.FrameType.DATA, counter & 0xFF, 0x1A62, b.nwk, 0x7777, octets)
        b._nwk.receive(outer, dice.randrange(256), -60)
        house.run(0.01)
    house.run(60.0)

    assert len(b.neighbours()) <= 26
    assert len(b.routes()) <= 64
    assert b._nwk.mesh.is_idle
    assert house.send(house["d"], house["hub"], b"still there") is SendStatus.OK
