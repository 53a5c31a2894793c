"""The device's end of a tunnel, without a house: a machine that is told what came and what time it is."""

from __future__ import annotations

from itertools import pairwise

from han.sim.devices.tunnel import Arrived, Delivered, Opened, Send, State, Tunnel
from han.zcl import (
    CloseTunnel,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    TransferDataError,
)


def opened(*waiting: bytes) -> Tunnel:
    tunnel = Tunnel(waiting)
    tunnel.open(0.0)
    tunnel.receive(RequestTunnelResponse(7, 0, 1500), 1, 0.1)
    return tunnel


def asks(tunnel: Tunnel) -> bool:
    return any(isinstance(item, Send) and isinstance(item.command, RequestTunnel) for item in tunnel.drain())


def test_it_asks_the_hub_for_a_tunnel():
    tunnel = Tunnel()
    tunnel.open(0.0)

    assert asks(tunnel)
    assert tunnel.timer() == 5.0


def test_an_unanswered_question_is_asked_again_more_and_more_seldom():
    tunnel = Tunnel()
    tunnel.open(0.0)
    asked_at = []
    while len(asked_at) < 12:
        now = tunnel.timer()
        tunnel.tick(now)
        if asks(tunnel):
            asked_at.append(now)
    pauses = [after - before for before, after in pairwise(asked_at)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == 3605.0


def test_messages_go_one_at_a_time_and_stay_until_delivered():
    tunnel = opened(b"one", b"two")
    first = tunnel.drain()
    assert first[-2:] == [Opened(7), Send(TransferData(7, b"one"))]

    tunnel.sent(b"one", 1.0, is_delivered=True)

    assert tunnel.drain() == [Delivered(b"one"), Send(TransferData(7, b"two"))]
    assert tunnel.waiting == (b"two",)


def test_a_message_that_does_not_arrive_is_sent_again_in_a_new_tunnel():
    tunnel = opened(b"one")
    tunnel.drain()
    tunnel.sent(b"one", 1.0, is_delivered=False)
    assert tunnel.state is State.CLOSED
    tunnel.tick(11.0)
    assert asks(tunnel)
    tunnel.receive(RequestTunnelResponse(8, 0, 1500), 2, 11.1)

    assert tunnel.drain() == [Opened(8), Send(TransferData(8, b"one"))]


def test_the_fate_of_a_message_in_a_tunnel_that_is_gone_means_nothing():
    tunnel = opened(b"one")
    tunnel.lose()
    tunnel.sent(b"one", 1.0, is_delivered=True)

    assert tunnel.waiting == (b"one",)


def test_a_hub_that_does_not_know_the_tunnel_gets_a_new_one():
    tunnel = opened()
    tunnel.drain()
    tunnel.receive(TransferDataError(7, 0, from_server=True), 3, 2.0)

    assert asks(tunnel)
    assert tunnel.state is State.OPENING


def test_an_error_about_another_tunnel_changes_nothing():
    tunnel = opened()
    tunnel.drain()
    tunnel.receive(TransferDataError(6, 0, from_server=True), 3, 2.0)
    tunnel.receive(CloseTunnel(6), 4, 2.0)

    assert tunnel.drain() == []
    assert tunnel.state is State.OPEN


def test_data_in_the_tunnel_arrives():
    tunnel = opened()
    tunnel.drain()
    tunnel.receive(TransferData(7, b"hello", from_server=True), 5, 3.0)

    assert tunnel.drain() == [Arrived(b"hello")]


def test_data_in_an_unknown_tunnel_arrives_too_and_its_sender_is_told():
    tunnel = opened()
    tunnel.drain()
    tunnel.receive(TransferData(9, b"hello", from_server=True), 5, 3.0)

    assert tunnel.drain() == [Arrived(b"hello"), Send(TransferDataError(9, 0), 5)]


def test_a_tunnel_that_the_hub_opens_is_used_from_the_devices_side_as_a_server():
    tunnel = Tunnel([b"one"])
    tunnel.receive(RequestTunnel(6, 0xFFFF, flow_control=False, maximum_incoming=1500), 44, 0.0)
    answer, event, data = tunnel.drain()

    assert answer == Send(RequestTunnelResponse(event.tunnel, 0, 1500), 44)
    assert data == Send(TransferData(event.tunnel, b"one", from_server=True))


def test_an_answer_that_nobody_waits_for_is_ignored():
    tunnel = Tunnel()
    tunnel.receive(RequestTunnelResponse(7, 0, 1500), 1, 0.0)

    assert tunnel.state is State.CLOSED
    assert tunnel.drain() == []


def test_a_lost_network_silences_it_until_it_is_back():
    tunnel = opened(b"one")
    tunnel.lose()
    tunnel.drain()
    tunnel.tick(1e6)

    assert tunnel.timer() is None
    assert tunnel.drain() == []
    tunnel.open(2e6)
    assert asks(tunnel)
