"""The tables of a router, each alone: neighbours, routes, source routes, broadcasts, a concentrator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.sim.node import broadcasts, neighbours, routes
from han.sim.node.broadcasts import Broadcasts
from han.sim.node.concentrator import Concentrator, ConcentratorSettings
from han.sim.node.neighbours import Neighbours, link_cost
from han.sim.node.routes import Routes, SourceRoutes
from han.sim.wire.nwk_commands import Link, LinkStatus, ManyToOne, RouteReply, RouteRequest

US, A, B, FAR = 0x1111, 0x0A0A, 0x0B0B, 0x0F0F


# Neighbours


def test_a_better_link_never_costs_more():
    costs = [link_cost(lqi) for lqi in range(256)]
    assert costs == sorted(costs, reverse=True)
    assert (costs[0], costs[255]) == (7, 1)


def test_who_was_heard_well_is_near_and_who_was_heard_badly_is_not():
    table = Neighbours()
    assert table.hear(A, 255, 0.0).near
    assert not table.hear(B, 90, 0.0).near
    assert table.hear(B, 255, 1.0).near


def test_a_neighbour_that_leaves_frames_unacknowledged_is_gone_until_it_is_heard():
    table = Neighbours()
    table.hear(A, 255, 0.0)
    assert not table.fail(A, 1.0)
    assert table.fail(A, 2.0)
    assert not table.get(A).near
    table.hear(A, 255, 3.0)
    assert table.get(A).near
    assert not table.fail(A, 4.0)


def test_the_worse_direction_of_a_link_counts():
    table = Neighbours()
    row = table.hear(A, 255, 0.0)
    table.hear_link_status(A, LinkStatus((Link(US, 5, 1),)), US)
    assert (row.incoming_cost, row.cost, row.near) == (1, 5, False)


def test_a_router_whose_list_lacks_us_twice_does_not_hear_us():
    table = Neighbours()
    row = table.hear(A, 255, 0.0)
    table.hear_link_status(A, LinkStatus((Link(B, 1, 1),)), US)
    assert row.hears_us
    table.hear_link_status(A, LinkStatus((Link(B, 1, 1),)), US)
    assert not row.hears_us


def test_a_link_status_of_a_stranger_changes_nothing():
    table = Neighbours()
    table.hear_link_status(A, LinkStatus((Link(US, 1, 1),)), US)
    assert len(table) == 0


def test_only_routers_grow_old_and_only_where_they_are_expected_to_speak():
    table = Neighbours(age_limit=45.0)
    table.hear(A, 255, 0.0).is_router = True
    table.hear(B, 255, 0.0)
    assert table.age(45.0) == []
    assert table.age(45.1) == [A]
    assert table.get(B) is not None
    assert Neighbours().age(1e9) == []


@given(st.lists(st.tuples(st.integers(0, 0xFFF7), st.integers(0, 255)), max_size=200))
def test_the_neighbour_table_never_outgrows_its_rows_and_keeps_the_newest(heard):
    table = Neighbours()
    for now, (nwk, lqi) in enumerate(heard):
        table.hear(nwk, lqi, float(now))
        assert table.get(nwk) is not None
    assert len(table) <= neighbours.CAPACITY


# Routes


def request(cost: int = 0, number: int = 1, many_to_one: int = ManyToOne.NO) -> RouteRequest:
    return RouteRequest(number, FAR, cost, many_to_one)


def hear(table: Routes, asked: RouteRequest, *, via: int, cost: int = 1, now: float = 0.0, answers=False):
    return table.hear_request(asked, B, via=via, cost=cost, now=now, answers=answers)


def test_a_request_is_passed_on_with_the_cost_of_the_way_so_far():
    assert hear(Routes(), request(3), via=A, cost=5) == request(8)


def test_a_copy_is_passed_on_only_if_it_came_a_cheaper_way():
    table = Routes()
    assert hear(table, request(4), via=A) is not None
    assert hear(table, request(4), via=US) is None
    assert hear(table, request(2), via=US) == request(3)
    assert hear(table, request(2), via=US, now=routes.DISCOVERY_MEMORY + 1) == request(3)


def test_who_is_looked_for_answers_each_cheaper_copy():
    table = Routes()
    assert hear(table, request(4), via=A, answers=True) == RouteReply(1, B, FAR, 0)
    assert hear(table, request(6), via=US, answers=True) is None
    assert hear(table, request(1), via=US, answers=True) == RouteReply(1, B, FAR, 0)
    assert table.get(B).next_hop == US


def test_a_reply_goes_back_the_way_the_cheapest_request_came_and_leaves_both_ways_behind():
    table = Routes()
    hear(table, request(4), via=A)
    hear(table, request(1), via=US)
    assert table.hear_reply(RouteReply(1, B, FAR, 2), via=0x0C, cost=1, now=1.0) == (
        US,
        RouteReply(1, B, FAR, 3),
    )
    assert (table.get(FAR).next_hop, table.get(B).next_hop) == (0x0C, US)


def test_a_reply_that_nobody_asked_for_or_that_is_no_better_is_dropped():
    table = Routes()
    assert table.hear_reply(RouteReply(1, B, FAR, 2), via=A, cost=1, now=0.0) is None
    hear(table, request(), via=A)
    assert table.hear_reply(RouteReply(1, B, FAR, 2), via=A, cost=1, now=0.0) is not None
    assert table.hear_reply(RouteReply(1, B, FAR, 2), via=US, cost=1, now=0.0) is None
    assert table.hear_reply(RouteReply(1, B, FAR, 0), via=US, cost=1, now=99.0) is None


def test_who_asked_hears_that_the_reply_has_arrived_and_learns_no_way_to_itself():
    table = Routes()
    table.begin(US, 9, 0.0)
    passed = table.hear_reply(RouteReply(9, US, FAR, 2), via=A, cost=1, now=0.5)
    assert passed is not None
    assert passed[0] == US
    assert table.get(FAR).next_hop == A
    assert table.get(US) is None


def test_the_way_to_a_concentrator_is_the_cheapest_and_wants_a_record():
    table = Routes()
    many = request(4, many_to_one=ManyToOne.WITH_ROUTE_RECORD)
    hear(table, many, via=A)
    hear(table, request(1, many_to_one=ManyToOne.WITH_ROUTE_RECORD), via=US)
    route = table.get(B)
    assert (route.next_hop, route.wants_record(FAR)) == (US, True)
    route.is_recorded(FAR)
    assert (route.wants_record(FAR), route.wants_record(A)) == (False, True)


def test_ways_over_a_neighbour_that_has_gone_are_forgotten_and_no_others():
    table = Routes()
    table.learn(1, A)
    table.learn(2, B)
    table.forget_via(A)
    assert [destination for destination, _ in table.rows()] == [2]


@given(st.lists(st.tuples(st.integers(0, 0xFFF7), st.integers(0, 255)), max_size=300))
def test_the_tables_of_routes_and_discoveries_never_outgrow_their_rows(asked):
    table = Routes()
    for originator, number in asked:
        table.hear_request(
            RouteRequest(number, FAR, 0, ManyToOne.WITH_ROUTE_RECORD),
            originator,
            via=A,
            cost=1,
            now=0.0,
            answers=False,
        )
    assert len(table.rows()) <= routes.CAPACITY
    assert len(table._discoveries) <= routes.DISCOVERIES


# Source routes


@pytest.mark.parametrize(
    "relays", [(A, A), (FAR,), (A, FAR), tuple(range(1, routes.MOST_RELAYS + 2))], ids=str
)
def test_relays_that_cannot_be_a_way_are_refused(relays):
    table = SourceRoutes()
    table.capacity = 10
    table.learn(FAR, (A,))
    assert not table.learn(FAR, relays)
    assert table.get(FAR) is None


def test_the_oldest_source_route_goes_when_there_is_no_room():
    table = SourceRoutes()
    table.capacity = 2
    for destination in (1, 2, 1, 3):
        assert table.learn(destination, (A,))
    assert [destination for destination, _ in table.rows()] == [1, 3]


def test_a_relay_that_has_gone_takes_every_way_over_it_along():
    table = SourceRoutes()
    table.capacity = 10
    table.learn(1, (A, B))
    table.learn(2, (B,))
    table.forget_via(A)
    assert table.rows() == [(2, (B,))]


# Broadcasts


def test_a_broadcast_is_heard_once_and_again_when_it_is_forgotten():
    table = Broadcasts()
    assert table.hear((A, 1), B, 0.0)
    assert not table.hear((A, 1), US, 1.0)
    assert table.hear((A, 2), B, 1.0)
    assert table.hear((A, 1), B, broadcasts.MEMORY)


def test_a_broadcast_is_through_when_every_router_around_has_passed_it_on():
    table = Broadcasts()
    table.begin((US, 1), 0.0)
    assert not table.is_through((US, 1), [])
    table.hear((US, 1), A, 0.1)
    assert table.is_through((US, 1), [A])
    assert not table.is_through((US, 1), [A, B])


def test_a_flood_of_broadcasts_is_refused_instead_of_remembered():
    table = Broadcasts()
    heard = [table.hear((A, number), B, 0.0) for number in range(200)]
    assert heard == [True] * broadcasts.CAPACITY + [False] * (200 - broadcasts.CAPACITY)


# A concentrator


def test_a_concentrator_asks_soon_and_then_from_time_to_time():
    clock = Concentrator()
    assert clock.timer() is None
    clock.switch(ConcentratorSettings(least=10, longest=60), 100.0)
    assert clock.timer() == 110.0
    assert not clock.tick(109.0)
    assert clock.tick(110.0)
    assert clock.timer() == 170.0


def test_errors_make_it_ask_at_once_but_not_too_often():
    clock = Concentrator()
    clock.switch(ConcentratorSettings(least=10, longest=60, route_errors=3, delivery_failures=1), 0.0)
    clock.tick(10.0)
    clock.route_failed(11.0)
    clock.route_failed(11.0)
    assert clock.timer() == 70.0
    clock.route_failed(11.0)
    assert clock.timer() == 20.0
    clock.tick(20.0)
    clock.delivery_failed(50.0)
    assert clock.timer() == 50.0


def test_one_that_is_off_never_asks():
    clock = Concentrator()
    clock.switch(ConcentratorSettings(), 0.0)
    clock.switch(None, 1.0)
    for _ in range(5):
        clock.route_failed(2.0)
        clock.delivery_failed(2.0)
    clock.ask_now(2.0)
    assert clock.timer() is None
    assert not clock.tick(1e9)
