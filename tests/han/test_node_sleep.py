from __future__ import annotations

from itertools import pairwise

import pytest
from node_neighbourhood import (
    COORDINATOR,
    END_DEVICE,
    PARAMETERS,
    ROUTER,
    SLEEPY,
    Deaf,
    Neighbourhood,
    Wall,
    install_code_key,
    message,
)

from han.sim.air.medium import Clear, Lossy
from han.sim.node.indirect import PERSISTENCE
from han.sim.node.node import Node
from han.sim.node.poll import PollSettings
from han.sim.node.service import ChildJoined, DeviceJoined, DeviceUpdate, Orphaned, RouteFailed, SendStatus
from han.sim.node.store import NodeStore
from han.sim.node.trust import JoinPolicy
from han.sim.wire.mac import DataRequest, FrameType, MacFrame, parse_psdu
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk_commands import EndDeviceTimeoutRequest, timeout_seconds

LONG = 1800.0
GAS_METER = PollSettings(long=LONG)


def village(poll: PollSettings = GAS_METER, seed: int = 7, path=None) -> tuple[Neighbourhood, Node, Node]:
    """A coordinator and a device that sleeps, joined and asleep."""
    street = Neighbourhood(seed, path)
    hub, device = street.hub(), street.node("gsme", SLEEPY, poll=poll)
    while not street.join(hub, device).ok:
        pass
    street.timeline.run(street.timeline.now + 60.0)
    street.flights.clear()
    return street, hub, device


def questions(street: Neighbourhood) -> list[float]:
    """When a device asked what waits for it."""
    return [
        flight.start
        for flight in street.flights
        if len(flight.psdu) > 5
        and (frame := parse_psdu(flight.psdu)).type is FrameType.COMMAND
        and frame.payload == DataRequest().to_bytes()
    ]


def test_a_device_that_sleeps_joins_and_both_ends_can_talk():
    street, hub, device = village()
    assert street.send(device, hub, b"hello") is SendStatus.OK
    assert street.send(hub, device, b"while you are awake", aps_security=True) is SendStatus.OK
    assert [heard.payload for heard in street.messages["gsme"]] == [b"while you are awake"]


def test_it_hears_nothing_that_it_did_not_ask_for():
    street, hub, device = village()
    statuses = []
    hub.send(message(device.nwk, b"are you there?"), statuses.append)
    street.timeline.run(street.timeline.now + 5 * PERSISTENCE)
    assert street.messages["gsme"] == []
    assert street.flights == [], "what waits is not sent"
    street.timeline.run(street.timeline.now + PERSISTENCE)
    assert statuses == [SendStatus.DELIVERY_FAILED]
    assert RouteFailed(6, device.nwk) in street.events["hub"]
    assert "never asked for" in street.why("mac.expired")


def test_it_asks_at_its_long_period_while_nothing_goes_on():
    street, _hub, _device = village()
    street.timeline.run(street.timeline.now + 86_400.0)
    times = questions(street)
    assert len(times) == 48
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap == pytest.approx(LONG, abs=0.1) for gap in gaps)


def test_it_asks_often_after_it_has_spoken_and_then_sleeps_again():
    street, hub, device = village()
    begin = street.timeline.now
    street.send(device, hub, b"anything new?")
    street.timeline.run(begin + 60.0)
    times = [at - begin for at in questions(street)]
    assert len(times) == pytest.approx(5.0 / 0.25, abs=3)
    assert max(times) < 6.0


def test_an_answer_reaches_it_while_it_asks_often():
    street, hub, device = village()
    hub.on_message = lambda heard: hub.send(message(heard.source, b"yes: " + heard.payload), lambda _: None)
    street.send(device, hub, b"anything new?")
    street.run_until(lambda: bool(street.messages["gsme"]), 1.0)
    assert street.messages["gsme"][0].payload == b"yes: anything new?"


def test_what_waits_comes_in_one_go_and_in_order():
    street, hub, device = village(PollSettings(long=5.0))
    for number in range(3):
        hub.send(message(device.nwk, bytes((number,)), aps_ack=False), lambda _: None)
    street.run_until(lambda: len(street.messages["gsme"]) == 3, 6.0)
    assert [heard.payload[0] for heard in street.messages["gsme"]] == [0, 1, 2]
    first, *_, last = questions(street)
    assert last - first < 0.2
    data = [parse_psdu(one.psdu) for one in street.flights if one.sender is hub._mac and len(one.psdu) > 5]
    assert [frame.frame_pending for frame in data] == [True, True, False]


def test_frame_counters_grow_on_the_air_although_frames_wait():
    street, hub, device = village(PollSettings(long=5.0))
    hub.send(message(device.nwk, b"waits"), lambda _: None)
    hub.send(message(0xFFFD, b"goes at once"), lambda _: None)
    street.run_until(lambda: bool(street.messages["gsme"]), 6.0)
    counters = [
        int.from_bytes(parse_psdu(one.psdu).payload[9:13], "little")
        for one in street.flights
        if one.sender is hub._mac and len(one.psdu) > 40
    ]
    assert counters == sorted(counters)
    assert len(set(counters)) == len(counters) >= 3


def test_a_broadcast_to_those_that_listen_does_not_wake_it():
    street, hub, device = village(PollSettings(long=2.0))
    hub.send(message(0xFFFD, b"listeners"), lambda _: None)
    street.timeline.run(street.timeline.now + 10.0)
    assert street.messages["gsme"] == []
    assert device.nwk in hub._mac.sleepers


def test_a_broadcast_to_really_everyone_waits_for_it():
    street, hub, _device = village(PollSettings(long=2.0))
    awake = street.node("ppmid", END_DEVICE)
    street.join(hub, awake)
    hub.send(message(0xFFFF, b"everyone"), lambda _: None)
    street.timeline.run(street.timeline.now + 10.0)
    assert [heard.payload for heard in street.messages["gsme"]] == [b"everyone"]
    assert [heard.payload for heard in street.messages["ppmid"]] == [b"everyone"]


def test_a_frame_whose_acknowledgement_is_lost_is_asked_for_again_and_heard_once():
    lost = []

    def loses_one(flight):
        if len(lost) == 1 and len(flight.psdu) == 5:
            lost.append(flight)
            return True
        return False

    street, hub, device = village(PollSettings(long=2.0), path=Deaf(loses_one))
    hub.send(message(device.nwk, b"once"), lambda _: None)
    street.run_until(lambda: bool(questions(street)), 3.0)
    before = len(street.flights)
    # The next acknowledgement is the child's for the frame that it was given.
    street.run_until(lambda: len(street.flights) >= before + 2, 1.0)
    lost.append(None)
    street.timeline.run(street.timeline.now + 10.0)
    assert len(lost) == 2
    assert [heard.payload for heard in street.messages["gsme"]] == [b"once"]
    given = [one.psdu for one in street.flights if one.sender is hub._mac and b"once" not in one.psdu]
    assert len(given) > len(set(given)), "the same octets again"


@pytest.mark.parametrize("seed", range(4))
def test_with_loss_it_joins_and_is_served(seed):
    street, hub, device = village(PollSettings(long=5.0), seed, Lossy(Clear(), rate=0.1, seed=seed))
    for number in range(20):
        status = street.send(hub, device, bytes((number,)))
        assert status is SendStatus.OK
    assert [heard.payload[0] for heard in street.messages["gsme"]] == list(range(20))


def test_an_end_device_that_listens_asks_only_to_be_remembered():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid", END_DEVICE)
    street.join(hub, device)
    street.flights.clear()
    assert street.send(device, hub, b"hello") is SendStatus.OK
    street.timeline.run(street.timeline.now + 3600.0)
    assert len(questions(street)) == 12


def test_parent_and_child_agree_how_long_it_may_be_silent():
    _street, hub, device = village()
    child = hub.children.get(device.eui64)
    assert timeout_seconds(child.timeout) > 3 * LONG
    assert hub.children.seconds_left(device.eui64) <= timeout_seconds(child.timeout)
    assert NodeStore.from_dict(hub.store.to_dict()).children == hub.store.children


def test_a_child_that_asks_is_never_forgotten():
    street, hub, device = village()
    street.timeline.run(street.timeline.now + 14 * 86_400.0)
    assert hub.children.get(device.eui64) is not None
    assert street.why("child.forgotten") == []


def test_a_child_that_is_silent_for_too_long_is_forgotten():
    street, hub, device = village()
    device.crash()
    allowed = hub.children.seconds_left(device.eui64)
    street.timeline.run(street.timeline.now + allowed - 1.0)
    assert hub.children.get(device.eui64) is not None
    street.timeline.run(street.timeline.now + 2.0)
    assert hub.children.get(device.eui64) is None
    left = street.events["hub"][-1]
    assert isinstance(left, ChildJoined)
    assert (left.eui64, left.joining) == (device.eui64, False)


def test_a_forgotten_child_that_asks_is_told_to_rejoin_and_does():
    street, hub, device = village()
    nwk = device.nwk
    device.crash()
    street.timeline.run(street.timeline.now + 4 * 86_400.0)
    device.reboot()
    street.run_until(lambda: Orphaned("told to leave and rejoin") in street.events["gsme"], LONG + 1)
    results = []
    device.rejoin(results.append)
    street.run_until(lambda: bool(results))
    assert results[0].ok
    assert device.nwk == nwk
    assert hub.children.get(device.eui64) is not None
    updates = [event.status for event in street.events["hub"] if isinstance(event, DeviceJoined)]
    assert updates == [DeviceUpdate.UNSECURED_JOIN, DeviceUpdate.SECURED_REJOIN], "nobody said that it left"
    street.timeline.run(street.timeline.now + 1.0)
    assert street.send(hub, device, b"there you are") is SendStatus.OK


def test_a_stranger_with_a_network_key_of_its_own_is_not_obeyed():
    street, hub, device = village()
    before = hub.store.to_dict()["children"]
    request = EndDeviceTimeoutRequest(3).to_bytes()
    other = street.node("ppmid", ROUTER)
    street.join(hub, other)
    other._nwk.send(0, request, lambda _: None, frame_type=NwkFrameType.COMMAND, radius=1, named=True)
    street.timeline.run(street.timeline.now + 1.0)
    assert "an end device timeout of no child of ours" in street.why()
    assert {key: before[key] for key in before} == {
        key: value for key, value in hub.store.to_dict()["children"].items() if key in before
    }
    assert device.eui64 in hub.store.children


def test_a_timeout_that_does_not_exist_is_refused():
    street, hub, device = village()
    agreed = hub.children.get(device.eui64).timeout
    request = EndDeviceTimeoutRequest(15).to_bytes()
    device._nwk.send(0, request, lambda _: None, frame_type=NwkFrameType.COMMAND, radius=1, named=True)
    device._poller.attend()
    street.timeline.run(street.timeline.now + 2.0)
    assert hub.children.get(device.eui64).timeout == agreed
    assert [fact.ok for fact in street.heard if fact.what == "node.timeout_agreed"] == [True, False]


def test_a_parent_that_does_not_answer_is_lost_and_another_one_is_found():
    street = Neighbourhood()
    hub, router = street.hub(), street.node("esme", ROUTER)
    street.join(hub, router)
    device = street.node("gsme", SLEEPY, poll=GAS_METER)
    street.join(hub, device)
    assert device.store.parent == 0x0000
    street.timeline.run(street.timeline.now + 60.0)
    hub.crash()
    street.run_until(lambda: Orphaned("the parent does not answer") in street.events["gsme"], LONG + 30.0)
    results = []
    device.rejoin(results.append)
    street.run_until(lambda: bool(results))
    assert results[0].ok
    assert results[0].parent == router.nwk
    hub.reboot()
    assert device.eui64 in router.store.children


def test_who_has_another_parent_is_no_child_of_the_coordinator_any_more():
    wall = Wall()
    street = Neighbourhood(path=wall)
    hub, router = street.hub(), street.node("esme", ROUTER)
    street.join(hub, router)
    device = street.node("gsme", SLEEPY, poll=GAS_METER)
    street.join(hub, device)
    wall.between = {hub._mac, device._mac}
    results = []
    device.rejoin(results.append)
    street.run_until(lambda: bool(results))
    street.timeline.run(street.timeline.now + 2.0)
    assert results[0].parent == router.nwk
    assert hub.children.get(device.eui64) is None
    assert device.nwk not in hub._mac.sleepers


def test_a_coordinator_that_lost_its_power_serves_its_sleepers_again():
    street, hub, device = village(PollSettings(long=5.0))
    hub.crash()
    street.timeline.run(street.timeline.now + 1.0)
    assert hub.reboot()
    assert street.send(hub, device, b"I am back") is SendStatus.OK
    assert not [event for event in street.events["gsme"] if isinstance(event, Orphaned)]


def test_a_sleeper_that_lost_its_power_goes_on_asking():
    street, hub, device = village(PollSettings(long=5.0))
    device.crash()
    street.timeline.run(street.timeline.now + 100.0)
    device.reboot()
    assert street.send(hub, device, b"welcome back") is SendStatus.OK


def test_a_sleeper_that_leaves_is_served_no_more():
    street, hub, device = village(PollSettings(long=5.0))
    nwk = device.nwk
    hub.remove(device.eui64)
    street.run_until(lambda: device.nwk is None, 6.0)
    street.timeline.run(street.timeline.now + 1.0)
    assert hub.children.get(device.eui64) is None
    assert nwk not in hub._mac.sleepers


def test_questions_of_a_stranger_change_nothing_and_get_no_data():
    street, hub, device = village()
    hub.send(message(device.nwk, b"not for you"), lambda _: None)
    stranger = street.node("stranger", COORDINATOR)
    stranger._mac.tune(PARAMETERS.channel)
    stranger._mac.address(PARAMETERS.pan_id, 0x7777)
    ask = MacFrame(
        FrameType.COMMAND, 0, PARAMETERS.pan_id, 0, 0x7777, DataRequest().to_bytes(), ack_request=True
    )
    before = hub.store.to_dict()["children"]
    stranger._mac.send(ask, lambda _: None)
    street.timeline.run(street.timeline.now + 1.0)
    assert hub.store.to_dict()["children"] == before
    sent = [parse_psdu(one.psdu) for one in street.flights if one.sender is hub._mac and len(one.psdu) > 5]
    assert {frame.destination for frame in sent} == {0x7777}
    assert "a question of no child of ours: it shall rejoin" in street.why()


def test_a_sleeper_without_a_network_never_switches_its_radio_on():
    street = Neighbourhood()
    device = street.node("gsme", SLEEPY)
    assert street.attempt(device, install_code_key(1)).nwk is None
    assert not device._mac._is_on


def family(path=None) -> tuple[Neighbourhood, Node, Node, Node]:
    """A coordinator, a router, and a device that sleeps and whose parent the router is."""
    street = Neighbourhood(path=path)
    hub, router = street.hub(), street.node("esme", ROUTER)
    street.join(hub, router)
    hub.permit(0)
    router.permit(254)
    device = street.node("gsme", SLEEPY, poll=GAS_METER)
    assert street.join(hub, device).parent == router.nwk
    street.timeline.run(street.timeline.now + 60.0)
    street.flights.clear()
    return street, hub, router, device


def test_behind_a_router_it_is_served_as_well():
    street, hub, router, device = family()
    assert street.send(device, hub, b"hello") is SendStatus.OK
    assert street.send(hub, device, b"good day", aps_security=True) is SendStatus.OK
    heard_by = {flight.sender for flight in street.flights if len(flight.psdu) > 40}
    assert router._mac in heard_by, "everything went over its parent"


def test_its_parent_tells_the_sender_of_what_it_did_not_ask_for():
    street, hub, _router, device = family()
    assert street.send(hub, device, b"are you there?") is SendStatus.DELIVERY_FAILED
    failures = [event for event in street.events["hub"] if isinstance(event, RouteFailed)]
    assert {(event.status, event.nwk) for event in failures} == {(6, device.nwk)}


def test_what_it_broadcasts_its_parent_broadcasts_for_it():
    street, _hub, router, device = family()
    device.send(message(0xFFFD, b"to all that listen"), lambda _: None)
    street.timeline.run(street.timeline.now + 2.0)
    assert [heard.payload for heard in street.messages["hub"]] == [b"to all that listen"]
    assert [heard.payload for heard in street.messages["esme"]] == [b"to all that listen"]
    ours = [parse_psdu(one.psdu) for one in street.flights if one.sender is device._mac]
    assert {frame.destination for frame in ours if len(frame.payload) > 20} == {router.nwk}


def test_behind_a_router_a_broadcast_to_really_everyone_reaches_it_if_it_asks_in_time():
    street, hub, _router, device = family()
    device._poller.attend()
    street.timeline.run(street.timeline.now + 0.5)
    hub.send(message(0xFFFF, b"everyone"), lambda _: None)
    street.timeline.run(street.timeline.now + 10.0)
    assert [heard.payload for heard in street.messages["gsme"]] == [b"everyone"]


def test_a_router_whose_child_has_another_parent_lets_it_go():
    wall = Wall()
    street, hub, router, device = family(wall)
    other = street.node("hcalcs", ROUTER)
    hub.permit(60)
    street.join(hub, other)
    hub.permit(0)
    wall.between = {router._mac, device._mac}
    hub._parent._send_beacon = lambda: None
    assert street.come_back(device).parent == other.nwk
    street.timeline.run(street.timeline.now + 2.0)
    assert device.eui64 not in router.store.children
    assert device.nwk not in router._mac.sleepers
    assert street.send(hub, device, b"good day") is SendStatus.OK


def test_a_router_that_comes_back_without_the_key_gives_its_child_nothing_that_it_cannot_seal():
    street, hub, router, device = family()
    hub.trust.policy = JoinPolicy(allow_unsecured_rejoins=True)
    hub.send(message(device.nwk, b"waits at the router"), lambda _: None)
    street.timeline.run(street.timeline.now + 0.1)
    assert device.nwk in router._mac.indirect
    router._nwk.start(router.nwk, with_keys=False)  # as far as it is while it waits for the key
    device._poller.attend()
    street.timeline.run(street.timeline.now + 2.0)
    assert street.messages["gsme"] == []
    assert street.come_back(router, secured=False).ok
    street.timeline.run(street.timeline.now + 60.0)
    assert street.send(device, hub, b"served again") is SendStatus.OK
