import itertools

import pytest

from han.zcl import (
    CloseTunnel,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    TransferDataError,
)
from hub.tunnels import Arrived, Complained, Delivered, Send, Tunnels, TunnelSettings
from ota.eui64 import Eui64

HCALCS = Eui64.parse("00-DB-12-34-56-78-90-A5")
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
ASK = RequestTunnel(6, 0xFFFF, flow_control=False, maximum_incoming=1500)


def tunnels() -> Tunnels:
    return Tunnels(TunnelSettings())


def opened_by_device() -> tuple[Tunnels, int]:
    ends = tunnels()
    ends.receive(HCALCS, ASK, 9, now=0.0)
    [answer] = ends.drain()
    assert isinstance(answer, Send)
    assert isinstance(answer.command, RequestTunnelResponse)
    assert (answer.sequence, answer.command.status) == (9, 0)
    return ends, answer.command.tunnel


def test_a_message_goes_down_the_tunnel_that_the_device_opened():
    ends, tunnel = opened_by_device()
    ends.deliver(HCALCS, b"activate", now=1.0)
    assert ends.drain() == [Send(HCALCS, TransferData(tunnel, b"activate", from_server=True))]
    ends.sent(HCALCS, is_delivered=True, now=1.1)
    assert ends.drain() == [Delivered(HCALCS, b"activate")]
    assert ends.timer() is None


def test_each_device_has_a_tunnel_of_its_own():
    ends, tunnel = opened_by_device()
    ends.receive(PPMID, ASK, 1, now=0.0)
    [answer] = ends.drain()
    assert answer.command.tunnel != tunnel


def test_without_a_tunnel_the_hub_opens_one():
    ends = tunnels()
    ends.deliver(HCALCS, b"activate", now=0.0)
    assert ends.drain() == [Send(HCALCS, ASK)]
    ends.receive(HCALCS, RequestTunnelResponse(77, 0, 1500), 3, now=1.0)
    assert ends.drain() == [Send(HCALCS, TransferData(77, b"activate", from_server=False))]


def test_a_device_that_does_not_answer_is_asked_again_ever_more_seldom():
    ends = tunnels()
    ends.deliver(HCALCS, b"activate", now=0.0)
    asked, now = [], 0.0
    for _ in range(30):
        asked += [now for item in ends.drain() if isinstance(item, Send)]
        due = ends.timer()
        assert due is not None
        now = due
        ends.tick(now)
    gaps = [late - early for early, late in itertools.pairwise(asked)]
    assert gaps[0] == 40.0
    assert gaps == sorted(gaps)
    assert gaps[-1] == 930.0


def test_a_message_that_was_not_acknowledged_is_sent_again():
    ends, tunnel = opened_by_device()
    ends.deliver(HCALCS, b"activate", now=0.0)
    ends.drain()
    ends.sent(HCALCS, is_delivered=False, now=5.0)
    assert ends.timer() == 15.0
    ends.tick(15.0)
    assert ends.drain() == [Send(HCALCS, TransferData(tunnel, b"activate", from_server=True))]


def test_messages_to_one_device_go_one_after_another():
    ends, _ = opened_by_device()
    ends.deliver(HCALCS, b"one", now=0.0)
    ends.deliver(HCALCS, b"two", now=0.0)
    assert [item.command.data for item in ends.drain()] == [b"one"]
    ends.sent(HCALCS, is_delivered=True, now=1.0)
    assert [item.command.data for item in ends.drain() if isinstance(item, Send)] == [b"two"]


def test_what_arrives_for_a_forgotten_tunnel_is_taken_and_the_device_told():
    ends = tunnels()
    ends.receive(PPMID, TransferData(5, b"alert"), 8, now=0.0)
    arrived, complained, told = ends.drain()
    assert arrived == Arrived(PPMID, b"alert")
    assert complained == Complained(PPMID, "there is no tunnel 5; what it carries is read")
    assert told == Send(PPMID, TransferDataError(5, 0, from_server=True), 8)


def test_what_arrives_in_another_devices_tunnel_is_taken_and_the_device_told_whose_it_is():
    ends, tunnel = opened_by_device()
    ends.receive(PPMID, TransferData(tunnel, b"alert"), 8, now=0.0)
    arrived, complained, told = ends.drain()
    assert arrived == Arrived(PPMID, b"alert")
    assert "another device's" in complained.why
    assert told == Send(PPMID, TransferDataError(tunnel, 1, from_server=True), 8)
    ends.deliver(HCALCS, b"activate", now=1.0)
    assert ends.drain() == [Send(HCALCS, TransferData(tunnel, b"activate", from_server=True))]


def test_what_is_longer_than_agreed_is_an_overflow_and_is_not_taken():
    ends, tunnel = opened_by_device()
    ends.receive(HCALCS, TransferData(tunnel, bytes(1500)), 8, now=0.0)
    assert ends.drain() == [Arrived(HCALCS, bytes(1500))]
    ends.receive(HCALCS, TransferData(tunnel, bytes(1501)), 9, now=0.0)
    assert ends.drain() == [
        Complained(HCALCS, "1501 octets, agreed were 1500"),
        Send(HCALCS, TransferDataError(tunnel, 2, from_server=True), 9),
    ]


def test_a_device_that_was_struck_off_has_no_tunnel_and_gets_nothing_more():
    ends, tunnel = opened_by_device()
    ends.deliver(HCALCS, b"activate", now=0.0)
    ends.drain()
    ends.forget(HCALCS)
    assert (ends.timer(), ends.owes(HCALCS)) == (None, False)
    ends.sent(HCALCS, is_delivered=False, now=5.0)
    ends.tick(1e6)
    assert ends.drain() == []
    ends.receive(HCALCS, TransferData(tunnel, b"late"), 3, now=6.0)
    assert "no tunnel" in ends.drain()[1].why


@pytest.mark.parametrize("loss", [CloseTunnel, lambda tunnel: TransferDataError(tunnel, 0)])
def test_a_lost_tunnel_is_opened_anew_for_what_waits(loss):
    ends, tunnel = opened_by_device()
    ends.deliver(HCALCS, b"activate", now=0.0)
    ends.drain()
    ends.receive(HCALCS, loss(tunnel), 4, now=1.0)
    assert ends.drain() == [Send(HCALCS, ASK)]


def test_a_device_that_opens_a_new_tunnel_gets_what_waits_through_it():
    ends, _ = opened_by_device()
    ends.deliver(HCALCS, b"activate", now=0.0)
    ends.drain()
    ends.receive(HCALCS, ASK, 10, now=1.0)
    answer, data = ends.drain()
    assert data.command == TransferData(answer.command.tunnel, b"activate", from_server=True)


def test_a_refused_tunnel_is_asked_for_later():
    ends = tunnels()
    ends.deliver(HCALCS, b"activate", now=0.0)
    ends.drain()
    ends.receive(HCALCS, RequestTunnelResponse(0, 1, 0), 3, now=1.0)
    assert ends.drain() == []
    assert ends.timer() == 11.0


def test_answers_that_nobody_waits_for_change_nothing():
    ends, _ = opened_by_device()
    ends.receive(HCALCS, RequestTunnelResponse(9, 0, 1500), 3, now=1.0)
    ends.receive(HCALCS, CloseTunnel(999), 3, now=1.0)
    ends.sent(HCALCS, is_delivered=True, now=1.0)
    assert ends.drain() == []


def test_a_withdrawn_message_is_not_sent():
    ends = tunnels()
    ends.deliver(HCALCS, b"activate", now=0.0)
    ends.drain()
    ends.withdraw(HCALCS, b"activate")
    ends.receive(HCALCS, RequestTunnelResponse(77, 0, 1500), 3, now=1.0)
    assert ends.drain() == []


def test_a_device_that_speaks_is_awake_and_gets_what_waits_at_once():
    ends, tunnel = opened_by_device()
    ends.deliver(HCALCS, b"activate", now=1.0)
    ends.drain()
    ends.sent(HCALCS, is_delivered=False, now=9.0)
    assert ends.owes(HCALCS)
    ends.heard_from(HCALCS, now=12.0)
    assert ends.drain() == [Send(HCALCS, TransferData(tunnel, b"activate", from_server=True))]
    assert not ends.owes(HCALCS)


@pytest.mark.parametrize("peer", [HCALCS, PPMID])
def test_a_device_that_speaks_gets_nothing_twice(peer):
    ends, _ = opened_by_device()
    ends.heard_from(peer, now=0.5)
    ends.deliver(HCALCS, b"activate", now=1.0)
    ends.drain()
    ends.heard_from(peer, now=1.1)
    assert ends.drain() == [], "what is under way is under way"
    ends.sent(HCALCS, is_delivered=True, now=1.2)
    ends.drain()
    ends.heard_from(peer, now=1.3)
    assert ends.drain() == []
