from __future__ import annotations

import pytest
from node_neighbourhood import (
    CHANNEL,
    COORDINATOR,
    NETWORK_KEY,
    PARAMETERS,
    ROUTER,
    Deaf,
    Neighbourhood,
    hand_over,
    install_code_key,
    message,
)

from han.sim.air.medium import Clear, Lossy
from han.sim.node.service import (
    ChildJoined,
    DeviceAnnounced,
    DeviceJoined,
    DeviceLeft,
    DeviceUpdate,
    JoinDecision,
    JoinStatus,
    NetworkDown,
    NetworkIsDown,
    NetworkIsUp,
    NetworkUp,
    SendStatus,
)
from han.sim.node.trust import JoinPolicy
from ota.eui64 import Eui64

WELL_KNOWN_KEY = b"ZigBeeAlliance09"


def test_a_device_joins_with_its_install_code_and_both_ends_can_talk():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    result = street.join(hub, device)
    assert result.status is JoinStatus.JOINED
    assert device.nwk == result.nwk == hub.address_of(device.eui64)
    assert device.network == PARAMETERS.__class__(
        PARAMETERS.channel, PARAMETERS.pan_id, PARAMETERS.extended_pan_id, NETWORK_KEY, nwk=device.nwk
    )
    assert street.send(device, hub, b"hello") is SendStatus.OK
    assert street.send(hub, device, b"good day") is SendStatus.OK
    assert [heard.payload for heard in street.messages["hub"]] == [b"hello"]
    assert [heard.source_eui64 for heard in street.messages["ppmid"]] == [hub.eui64]


def test_the_coordinator_tells_of_a_join_in_the_order_of_a_real_one():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    nwk = device.nwk
    assert street.events["hub"] == [
        NetworkUp(0x0000),
        ChildJoined(device.eui64, nwk, 0, 0x8C),
        DeviceJoined(
            device.eui64, nwk, 0x0000, DeviceUpdate.UNSECURED_JOIN, JoinDecision.USE_PRECONFIGURED_KEY
        ),
        DeviceAnnounced(device.eui64, nwk, 0x8C),
    ]
    assert street.events["ppmid"] == [NetworkUp(nwk)]


def test_the_network_is_found_on_any_channel():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    assert street.join(hub, device, channels=tuple(range(11, 27))).ok


def test_no_key_crosses_the_air_in_the_clear():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    link_key = install_code_key(2)
    for flight in street.flights:
        assert NETWORK_KEY not in flight.psdu
        assert link_key not in flight.psdu


def test_no_key_is_in_a_fact_or_a_repr():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    street.send(hub, device, b"secret", aps_security=True)
    said = "".join(fact.to_json() for fact in street.heard) + repr(
        (hub.network, hub.trust.policy, hub.trust.link_keys, street.events)
    )
    for key in (NETWORK_KEY, install_code_key(2)):
        assert key.hex() not in said
        assert repr(key) not in said


def test_a_device_that_nobody_expects_gets_no_key():
    street = Neighbourhood()
    _hub, device = street.hub(), street.node("stranger")
    assert street.attempt(device, install_code_key(2)).status is JoinStatus.NO_KEY
    assert device.nwk is None
    [joined] = [event for event in street.events["hub"] if isinstance(event, DeviceJoined)]
    assert joined.decision is JoinDecision.DENY_JOIN
    assert "no link key is known for this device: give its install code first" in street.why("join.refused")


def test_the_well_known_key_opens_nothing():
    street = Neighbourhood()
    street.hub()
    assert street.attempt(street.node("stranger"), WELL_KNOWN_KEY).status is JoinStatus.NO_KEY


def test_the_well_known_key_opens_a_network_that_was_told_so_in_words():
    street = Neighbourhood()
    hub = street.hub()
    hub.trust.policy = JoinPolicy(default_link_key=WELL_KNOWN_KEY)
    assert street.attempt(street.node("guest"), WELL_KNOWN_KEY).ok


def test_a_wrong_install_code_is_noticed_by_the_device_only():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    hub.trust.transient[device.eui64] = install_code_key(99)
    assert street.attempt(device, install_code_key(2)).status is JoinStatus.NO_KEY
    [joined] = [event for event in street.events["hub"] if isinstance(event, DeviceJoined)]
    assert joined.decision is JoinDecision.USE_PRECONFIGURED_KEY
    assert "the message integrity code does not match" in street.why()


def test_a_device_with_a_wrong_code_gets_in_once_the_right_one_is_given():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    hub.trust.transient[device.eui64] = install_code_key(99)
    assert not street.attempt(device, install_code_key(2)).ok
    assert street.join(hub, device).ok


def test_a_stale_link_key_stands_in_the_way_until_it_is_removed():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    device.leave()
    street.timeline.run(street.timeline.now + 1.0)
    hub.trust.transient[device.eui64] = install_code_key(42)
    assert street.attempt(device, install_code_key(42)).status is JoinStatus.NO_KEY
    del hub.trust.link_keys[device.eui64]
    assert street.attempt(device, install_code_key(42)).ok


def test_nobody_joins_a_network_that_is_closed():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    hub.permit(0)
    assert street.join(hub, device).status is JoinStatus.NO_NETWORK


def test_joining_closes_by_itself():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    hub.permit(60)
    street.timeline.run(street.timeline.now + 59.0)
    assert hub.permits_joining
    street.timeline.run(street.timeline.now + 2.0)
    assert not hub.permits_joining
    assert street.join(hub, device).status is JoinStatus.NO_NETWORK


def test_a_network_that_closes_between_beacon_and_association_refuses():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.timeline.at(0.1, hub.permit, 0)
    assert street.join(hub, device).status is JoinStatus.REFUSED
    assert "joining is not permitted now" in street.why("join.refused")


def test_without_a_network_in_earshot_the_scan_ends_empty():
    street = Neighbourhood()
    assert street.attempt(street.node("ppmid"), install_code_key(1)).status is JoinStatus.NO_NETWORK


@pytest.mark.parametrize("seed", range(8))
def test_with_loss_a_device_that_tries_again_gets_in(seed):
    street = Neighbourhood(seed, Lossy(Clear(), rate=0.15, seed=seed))
    hub, device = street.hub(), street.node("ppmid")
    attempts = 0
    while not street.join(hub, device).ok:
        attempts += 1
        assert attempts < 10
    assert street.send(device, hub, b"here") is SendStatus.OK


def test_an_association_that_is_repeated_gets_the_same_address():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    assert not street.attempt(device, install_code_key(2)).ok
    first = [event.nwk for event in street.events["hub"] if isinstance(event, ChildJoined)]
    street.join(hub, device)
    assert [device.nwk] == first


def test_devices_get_addresses_of_their_own():
    street = Neighbourhood()
    hub = street.hub()
    devices = [street.node(f"device {number}") for number in range(8)]
    assert all(street.join(hub, device).ok for device in devices)
    assert len({device.nwk for device in devices}) == 8


def test_a_router_lets_a_device_in_and_the_trust_centre_decides():
    street = Neighbourhood()
    hub, router, device = street.hub(), street.node("esme", ROUTER), street.node("ppmid")
    street.join(hub, router)
    hub.permit(0)
    router.permit(60)
    result = street.join(hub, device)
    assert result.ok
    assert result.parent == router.nwk
    joined = [event for event in street.events["hub"] if isinstance(event, DeviceJoined)][-1]
    assert (joined.eui64, joined.parent) == (device.eui64, router.nwk)
    assert street.send(device, hub, b"hello", aps_security=True) is SendStatus.OK
    assert not [event for event in street.events["hub"] if isinstance(event, ChildJoined)][1:]


def test_a_router_cannot_let_in_whom_the_trust_centre_does_not_know():
    street = Neighbourhood()
    hub, router = street.hub(), street.node("esme", ROUTER)
    street.join(hub, router)
    hub.permit(0)
    router.permit(60)
    assert street.attempt(street.node("stranger"), install_code_key(3)).status is JoinStatus.NO_KEY


def test_a_device_that_leaves_says_so_and_forgets_everything():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    nwk = device.nwk
    device.leave()
    street.timeline.run(street.timeline.now + 1.0)
    assert device.nwk is None
    assert device.store.network is None
    assert street.events["ppmid"][-1] == NetworkDown(left=True)
    assert street.events["hub"][-3:] == [
        DeviceLeft(device.eui64, nwk, rejoin=False),
        ChildJoined(device.eui64, nwk, 0, 0x8C, joining=False),
        DeviceJoined(device.eui64, nwk, 0x0000, DeviceUpdate.DEVICE_LEFT, JoinDecision.NO_ACTION),
    ]
    assert hub.address_of(device.eui64) is None
    assert street.join(hub, device).ok


def test_the_coordinator_can_send_a_child_away():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    assert hub.remove(device.eui64)
    street.timeline.run(street.timeline.now + 1.0)
    assert device.nwk is None
    assert not hub.remove(device.eui64)


def test_a_rejoin_under_the_network_key_keeps_the_address_and_asks_nobody():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    hub.permit(0)
    nwk, results = device.nwk, []
    device.rejoin(results.append)
    street.run_until(lambda: bool(results))
    street.timeline.run(street.timeline.now + 2.0)
    assert results[0].ok
    assert device.nwk == nwk
    joined = [event for event in street.events["hub"] if isinstance(event, DeviceJoined)][-1]
    assert (joined.status, joined.decision) == (DeviceUpdate.SECURED_REJOIN, JoinDecision.NO_ACTION)
    assert street.send(device, hub, b"back") is SendStatus.OK


def test_a_rejoin_finds_no_network_that_is_gone():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    hub.crash()
    results = []
    device.rejoin(results.append)
    street.run_until(lambda: bool(results))
    assert results[0].status is JoinStatus.NO_NETWORK


def test_after_a_power_cut_both_ends_go_on_without_a_word():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    for node in (hub, device):
        node.crash()
    assert hub.nwk is None
    street.timeline.run(street.timeline.now + 3600.0)
    frames = len(street.flights)
    for node in (hub, device):
        assert node.reboot()
    assert len(street.flights) == frames
    assert street.send(device, hub, b"still here", aps_security=True) is SendStatus.OK
    assert street.send(hub, device, b"me too", aps_security=True) is SendStatus.OK


def test_a_crash_in_the_middle_of_a_join_leaves_nothing_behind():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    hub.trust.transient[device.eui64] = install_code_key(2)
    results = []
    device.join(install_code_key(2), results.append, (CHANNEL,))
    street.timeline.run(street.timeline.now + 0.3)
    device.crash()
    street.timeline.run(street.timeline.now + 60.0)
    assert results == []
    assert street.events["ppmid"] == []
    assert not device.reboot()
    assert street.join(hub, device).ok


def test_a_device_that_lost_its_memory_joins_anew_and_is_heard():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    for _ in range(20):
        street.send(device, hub, b"long ago", aps_security=True)
    device.crash()
    device.store.forget()
    device.store.network_counter.set(0)
    device.store.link_counter.set(0)
    assert street.join(hub, device).ok
    assert street.send(device, hub, b"who am I", aps_security=True) is SendStatus.OK


def test_what_cannot_be_done_now_is_refused_with_what_to_do():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    with pytest.raises(NetworkIsUp, match="leave it first"):
        hub.form(PARAMETERS)
    with pytest.raises(NetworkIsDown, match="form, join or resume"):
        device.send(message(0, b"x"), lambda status: None)
    with pytest.raises(NetworkIsDown, match="form, join or resume"):
        device.leave()
    with pytest.raises(NetworkIsDown, match="join one first"):
        device.rejoin(lambda result: None)
    device.join(install_code_key(2), lambda result: None)
    with pytest.raises(NetworkIsUp, match="on its way"):
        device.join(install_code_key(2), lambda result: None)


def test_a_scan_shows_who_is_there():
    street = Neighbourhood()
    street.hub()
    found = []
    street.node("looker", COORDINATOR).scan((14, CHANNEL, 16), found.append)
    street.run_until(lambda: bool(found))
    [network] = found[0]
    assert (network.channel, network.pan_id, network.parent) == (CHANNEL, PARAMETERS.pan_id, 0x0000)
    assert network.extended_pan_id == PARAMETERS.extended_pan_id
    assert network.is_open


def trace(seed: int) -> list[tuple[float, bytes]]:
    street = Neighbourhood(seed, Lossy(Clear(), rate=0.05, seed=seed))
    hub = street.hub()
    for number in range(3):
        street.join(hub, street.node(f"device {number}"))
    return [(flight.start, flight.psdu) for flight in street.flights]


def test_the_same_seed_gives_the_same_frames_at_the_same_times():
    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


def test_a_frame_cut_anywhere_or_made_up_lets_nobody_in_and_breaks_nothing():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    street.join(hub, device)
    before = hub.store.to_dict()
    lost = Deaf(lambda flight: False)
    assert lost.arrivals(street.flights[0], []) == []
    for flight in list(street.flights):
        for size in range(len(flight.psdu)):
            hand_over(flight.psdu[:size], hub, device)
    street.timeline.run(street.timeline.now + 10.0)
    after = hub.store.to_dict()
    assert (before["link_keys"], before["children"], before["heard"]) == (
        after["link_keys"],
        after["children"],
        after["heard"],
    )
    assert street.send(device, hub, b"unharmed") is SendStatus.OK
    assert Eui64(0) not in hub.store.children
