"""Coming back without the network key, changing that key, leaving: the parts of a network's life."""

from __future__ import annotations

import random

import pytest
from node_neighbourhood import (
    CHANNEL,
    END_DEVICE,
    NETWORK_KEY,
    PARAMETERS,
    ROUTER,
    SLEEPY,
    Deaf,
    Neighbourhood,
    Replayer,
    Wall,
    hand_over,
    install_code_key,
    message,
)

from han.sim.air.medium import Clear, Lossy
from han.sim.node.node import Node
from han.sim.node.poll import PollSettings
from han.sim.node.service import (
    DeviceJoined,
    DeviceUpdate,
    JoinDecision,
    JoinStatus,
    KeySwitched,
    NetworkDown,
    NoLinkKey,
    Orphaned,
    SendRequest,
    SendStatus,
)
from han.sim.node.trust import JoinPolicy
from han.sim.wire import zdo
from han.sim.wire.aps_commands import SwitchKey, TransportNetworkKey
from han.sim.wire.mac import FrameType, MacFrame, fcs
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk import NwkFrame
from han.sim.wire.nwk_commands import Leave, RejoinRequest
from ota.eui64 import Eui64

NEXT_KEY = bytes(range(0xC0, 0xD0))
OPEN_TO_REJOINS = JoinPolicy(allow_joins=False, allow_unsecured_rejoins=True)


def street_with(capability: int = END_DEVICE, **options) -> tuple[Neighbourhood, Node, Node]:
    """A coordinator that lets devices rejoin, and one device in its network."""
    street = Neighbourhood(**options)
    hub = street.hub()
    device = street.node("ppmid", capability, poll=PollSettings(long=1800.0))
    while not street.join(hub, device).ok:
        pass
    hub.permit(0)
    hub.trust.policy = OPEN_TO_REJOINS
    street.timeline.run(street.timeline.now + 20.0)
    return street, hub, device


def updates(street: Neighbourhood) -> list[tuple[DeviceUpdate, JoinDecision]]:
    return [
        (event.status, event.decision) for event in street.events["hub"] if isinstance(event, DeviceJoined)
    ]


def change_key(street: Neighbourhood, hub: Node, key: bytes = NEXT_KEY) -> None:
    """Give everybody the next key, let the broadcast fade, switch."""
    hub.trust.broadcast_next_key(key)
    street.timeline.run(street.timeline.now + 20.0)
    assert hub.trust.switch_key()
    street.timeline.run(street.timeline.now + 20.0)


@pytest.mark.parametrize("capability", [ROUTER, END_DEVICE, SLEEPY])
def test_a_device_without_the_network_key_gets_it_again_under_its_link_key(capability):
    street, hub, device = street_with(capability)
    nwk = device.nwk
    result = street.come_back(device, secured=False)
    assert result.status is JoinStatus.JOINED
    assert device.nwk == nwk
    assert updates(street)[-1] == (DeviceUpdate.UNSECURED_REJOIN, JoinDecision.USE_PRECONFIGURED_KEY)
    assert street.send(device, hub, b"back", aps_security=True) is SendStatus.OK
    assert street.send(hub, device, b"welcome", aps_security=True) is SendStatus.OK


def test_it_comes_back_although_joining_is_closed():
    street, hub, device = street_with()
    assert not hub.permits_joining
    assert not hub.trust.policy.allow_joins
    assert street.come_back(device, secured=False).ok


def test_a_policy_that_forbids_it_keeps_it_out():
    street, hub, device = street_with()
    hub.trust.policy = JoinPolicy()
    assert street.come_back(device, secured=False).status is JoinStatus.NO_KEY
    assert updates(street)[-1] == (DeviceUpdate.UNSECURED_REJOIN, JoinDecision.DENY_JOIN)
    assert "rejoining without the network key is not allowed" in street.why("join.refused")
    assert not device.is_up
    assert street.come_back(device, secured=True).ok, "its key is still good"


def test_a_device_whose_link_key_was_taken_away_stays_out():
    street, hub, device = street_with()
    del hub.trust.link_keys[device.eui64]
    assert street.come_back(device, secured=False).status is JoinStatus.NO_KEY
    assert "it shares no link key with us: let it join anew" in street.why("join.refused")


def test_a_device_with_another_link_key_learns_nothing():
    street, hub, device = street_with()
    hub.trust.link_keys[device.eui64].key = install_code_key(99)
    assert street.come_back(device, secured=False).status is JoinStatus.NO_KEY
    assert "the message integrity code does not match" in street.why()


def test_the_key_that_everybody_knows_helps_nobody_back():
    street, hub, device = street_with()
    hub.trust.policy = JoinPolicy(allow_unsecured_rejoins=True, default_link_key=b"ZigBeeAlliance09")
    del hub.trust.link_keys[device.eui64]
    assert street.come_back(device, secured=False).status is JoinStatus.NO_KEY


def test_who_shares_no_link_key_is_told_to_join_anew():
    _street, _hub, device = street_with()
    device.store.link_keys.clear()
    with pytest.raises(NoLinkKey, match="join anew"):
        device.rejoin(lambda _: None, secured=False)


def test_it_comes_back_through_a_router():
    wall = Wall()
    street, hub, device = street_with(SLEEPY, path=wall)
    hub.trust.policy = JoinPolicy(allow_unsecured_rejoins=True)
    router = street.node("esme", ROUTER)
    hub.permit(60)
    assert street.join(hub, router).ok
    wall.between = {hub._mac, device._mac}
    result = street.come_back(device, secured=False)
    assert result.parent == router.nwk
    assert device.eui64 in router.store.children


@pytest.mark.parametrize("seed", range(4))
def test_with_loss_it_comes_back_if_it_tries_again(seed):
    street, hub, device = street_with(SLEEPY, seed=seed, path=Lossy(Clear(), rate=0.1, seed=seed))
    for _ in range(20):
        if street.come_back(device, secured=False).ok:
            break
    assert street.send(device, hub, b"here") is SendStatus.OK


def test_its_counters_go_on_so_nothing_old_is_heard_again():
    street, hub, device = street_with()
    street.send(device, hub, b"pay 5 pounds", aps_security=True)
    recorded = [one.psdu for one in street.flights if one.sender is device._mac]
    street.come_back(device, secured=False)
    heard = len(street.messages["hub"])
    replayer = Replayer(street.air)
    for psdu in recorded:
        replayer.send(psdu)
        street.timeline.run(street.timeline.now + 0.1)
    assert len(street.messages["hub"]) == heard


def test_a_wish_to_come_back_in_plain_changes_nothing_about_a_child_that_is_there():
    street, hub, device = street_with(SLEEPY)
    before = hub.store.to_dict()["children"]
    recorded = len(street.flights)
    street.come_back(device, secured=False)
    [wish] = [
        one.psdu
        for one in street.flights[recorded:]
        if one.sender is device._mac and one.psdu[0] & 7 == 1 and b"\x06\x80" in one.psdu[-4:]
    ]
    liar = bytearray(wish)
    liar[-3] = 0x8E  # it claims to listen always
    forged = bytes(liar[:-2]) + fcs(bytes(liar[:-2]))
    Replayer(street.air).send(forged)
    street.timeline.run(street.timeline.now + 1.0)
    assert hub.store.to_dict()["children"] == before


def test_the_network_key_is_changed_for_everybody_who_listens():
    street, hub, device = street_with()
    router = street.node("esme", ROUTER)
    hub.trust.policy = JoinPolicy()
    hub.permit(60)
    street.join(hub, router)
    change_key(street, hub)
    for node in (hub, device, router):
        assert (node.network.network_key, node.network.key_sequence) == (NEXT_KEY, 1)
        assert KeySwitched(1) in street.events[node.name]
    assert street.send(device, hub, b"under the new key") is SendStatus.OK
    assert street.send(hub, router, b"under the new key", aps_security=True) is SendStatus.OK


def test_nothing_changes_before_the_switch():
    street, hub, device = street_with()
    hub.trust.broadcast_next_key(NEXT_KEY)
    street.timeline.run(street.timeline.now + 20.0)
    assert device.store.alternate_keys == {1: NEXT_KEY}
    assert hub.network.network_key == device.network.network_key == NETWORK_KEY
    assert street.send(device, hub, b"as before") is SendStatus.OK


def test_a_switch_without_a_next_key_is_refused():
    street, hub, device = street_with()
    assert not hub.trust.switch_key()
    street.timeline.run(street.timeline.now + 20.0)
    assert hub.network.network_key == device.network.network_key == NETWORK_KEY


def test_one_device_gets_the_next_key_under_its_link_key():
    street, hub, device = street_with()
    assert hub.trust.send_next_key(device.eui64, device.nwk, NEXT_KEY)
    street.timeline.run(street.timeline.now + 2.0)
    assert device.store.alternate_keys == {1: NEXT_KEY}
    assert not any(NEXT_KEY in one.psdu for one in street.flights)


def test_nobody_without_a_link_key_gets_one_that_way():
    _street, hub, device = street_with()
    del hub.trust.link_keys[device.eui64]
    assert not hub.trust.send_next_key(device.eui64, device.nwk, NEXT_KEY)


def test_who_missed_the_order_switches_with_the_first_frame_under_the_new_key():
    street, hub, device = street_with()
    hub.trust.broadcast_next_key(NEXT_KEY)
    street.timeline.run(street.timeline.now + 20.0)
    device._orders._hear_switch = lambda _: None
    hub.trust.switch_key()
    street.timeline.run(street.timeline.now + 20.0)
    assert street.send(hub, device, b"can you read this?") is SendStatus.OK
    assert device.network.network_key == NEXT_KEY


def test_who_slept_through_it_notices_by_the_silence_and_comes_back_without_the_key():
    street, hub, device = street_with(SLEEPY)
    change_key(street, hub)
    assert device.network.network_key == NETWORK_KEY
    for _ in range(3):
        assert street.send(device, hub, b"anybody?") is SendStatus.DELIVERY_FAILED
    assert Orphaned("the Trust Centre does not answer", has_parent=True) in street.events["ppmid"]
    assert not street.come_back(device, secured=True).ok, "nobody answers to the old key"
    assert street.come_back(device, secured=False).ok
    assert (device.network.network_key, device.network.key_sequence) == (NEXT_KEY, 1)
    assert street.send(device, hub, b"there you are") is SendStatus.OK
    assert street.send(hub, device, b"and you", aps_security=True) is SendStatus.OK


def test_a_device_that_was_off_meanwhile_comes_back_the_same_way():
    street, hub, device = street_with()
    device.crash()
    change_key(street, hub)
    device.reboot()
    for _ in range(3):
        assert street.send(device, hub, b"anybody?") is SendStatus.DELIVERY_FAILED
    assert street.come_back(device, secured=False).ok
    assert street.send(device, hub, b"there you are") is SendStatus.OK


def test_one_answer_breaks_the_silence():
    lost = {"acks": False}
    street, hub, device = street_with(path=Deaf(lambda flight: lost["acks"]))
    for _ in range(5):
        lost["acks"] = True
        for _ in range(2):
            street.send(device, hub, b"anybody?")
        lost["acks"] = False
        assert street.send(device, hub, b"you?") is SendStatus.OK
    assert not [event for event in street.events["ppmid"] if isinstance(event, Orphaned)]


def test_frames_under_the_old_key_are_history_after_the_switch():
    street, hub, device = street_with()
    street.send(device, hub, b"long ago")
    recorded = [one.psdu for one in street.flights if one.sender is device._mac]
    change_key(street, hub)
    heard = len(street.messages["hub"])
    replayer = Replayer(street.air)
    for psdu in recorded:
        replayer.send(psdu)
        street.timeline.run(street.timeline.now + 0.1)
    assert len(street.messages["hub"]) == heard
    assert "an old network key" in street.why()


def test_keys_can_be_changed_again_and_again_until_the_number_comes_round():
    street, hub, device = street_with()
    for number in range(260):
        change_key(street, hub, bytes((number & 0xFF,)) * 16)
    assert device.network.key_sequence == 260 & 0xFF
    assert street.send(device, hub, b"still with you") is SendStatus.OK


def test_a_changed_key_survives_the_power_of_both():
    street, hub, device = street_with()
    change_key(street, hub)
    for node in (hub, device):
        node.crash()
        node.reboot()
    assert street.send(device, hub, b"still here") is SendStatus.OK
    assert hub.network.network_key == NEXT_KEY


def test_no_key_of_the_change_is_in_a_fact_or_a_repr_or_in_the_clear():
    street, hub, device = street_with(SLEEPY)
    change_key(street, hub)
    street.come_back(device, secured=False)
    said = "".join(fact.to_json() for fact in street.heard) + repr(street.events)
    for key in (NEXT_KEY, NETWORK_KEY):
        assert key.hex() not in said
        assert repr(key) not in said
        assert not any(key in one.psdu for one in street.flights)


def test_a_stranger_cannot_change_the_key():
    street, hub, device = street_with()
    other = street.node("esme", ROUTER)
    hub.trust.policy = JoinPolicy()
    hub.permit(60)
    street.join(hub, other)
    forged = TransportNetworkKey(NEXT_KEY, 1, destination=device.eui64, source=hub.eui64)
    for command in (forged, SwitchKey(1)):
        other._commands.send(device.nwk, other._commands.plain(command), network_secured=True)
        street.timeline.run(street.timeline.now + 1.0)
    assert device.store.alternate_keys == {}
    assert device.network.network_key == NETWORK_KEY
    assert "a command that is not for us to obey" in street.why()


def test_a_message_that_waits_for_a_sleeper_is_sealed_under_the_key_of_its_departure():
    street, hub, device = street_with(SLEEPY)
    device._poller.settings = PollSettings(long=3.0)
    device._poller.attend()
    street.timeline.run(street.timeline.now + 10.0)
    hub.trust.broadcast_next_key(NEXT_KEY)
    street.timeline.run(street.timeline.now + 20.0)
    assert device.store.alternate_keys == {1: NEXT_KEY}, "it asked in time"
    hub.send(message(device.nwk, b"across the switch"), lambda _: None)
    hub.trust.switch_key()
    street.run_until(lambda: bool(street.messages["ppmid"]), 20.0)
    assert device.network.network_key == NEXT_KEY


def plain_rejoin_request(eui64: Eui64, source: int, capability: int = ROUTER) -> bytes:
    """What anybody with a radio can send: a wish to come back, in the name of any device."""
    wish = NwkFrame(
        NwkFrameType.COMMAND, 0, source, 1, 9, RejoinRequest(capability).to_bytes(), source_ieee=eui64
    )
    frame = MacFrame(
        FrameType.DATA, source & 0xFF, PARAMETERS.pan_id, 0, source, wish.to_bytes(), ack_request=True
    )
    return frame.to_psdu()


def test_strangers_cannot_fill_the_table_of_children():
    street, hub, device = street_with(SLEEPY)
    stranger = street.node("stranger", ROUTER)
    stranger._mac.tune(CHANNEL)
    for number in range(40):
        stranger._mac.address(PARAMETERS.pan_id, 0x1000 + number)
        Replayer(street.air).send(plain_rejoin_request(Eui64(0xBAD000 + number), 0x1000 + number))
        street.timeline.run(street.timeline.now + 0.2)
    assert hub.children.are_full
    assert "no room for another child" in street.why("join.refused")
    street.timeline.run(street.timeline.now + 15.0)
    assert list(hub.store.children) == [device.eui64]
    assert "it never spoke under the network key" in street.why("child.forgotten")
    assert street.send(device, hub, b"I am still here") is SendStatus.OK


def test_a_wish_to_come_back_in_another_name_moves_nobody():
    street, hub, device = street_with(SLEEPY)
    before = hub.store.to_dict()
    Replayer(street.air).send(plain_rejoin_request(device.eui64, 0x1000))
    street.timeline.run(street.timeline.now + 20.0)
    after = hub.store.to_dict()
    assert (after["children"], after["addresses"]) == (before["children"], before["addresses"])


def test_a_device_that_gets_no_key_is_not_kept_as_a_child():
    street = Neighbourhood()
    hub, device = street.hub(), street.node("stranger", ROUTER)
    assert not street.attempt(device, install_code_key(2)).ok
    street.timeline.run(street.timeline.now + 15.0)
    assert hub.store.children == {}
    assert street.join(hub, device).ok
    street.timeline.run(street.timeline.now + 15.0)
    assert list(hub.store.children) == [device.eui64]


# Leaving


def ask_to_leave(street: Neighbourhood, hub: Node, to: Node, request: zdo.MgmtLeaveRequest) -> int | None:
    """Send a Mgmt_Leave_req and give the status of its answer."""
    street.zdo["hub"].clear()
    to._poller.attend()
    sent = SendRequest(to.nwk, 0, request.CLUSTER, 0, 0, zdo.encode(1, request))
    hub.send(sent, lambda _: None)
    street.timeline.run(street.timeline.now + 5.0)
    answers = [one for one in street.zdo["hub"] if one.cluster == zdo.MgmtLeaveResponse.CLUSTER]
    return answers[0].payload[1] if answers else None


@pytest.mark.parametrize("capability", [ROUTER, SLEEPY])
def test_a_device_that_is_asked_to_leave_is_gone_for_good(capability):
    street, hub, device = street_with(capability)
    assert ask_to_leave(street, hub, device, zdo.MgmtLeaveRequest(device.eui64)) == 0
    assert device.store.network is None
    assert updates(street)[-1] == (DeviceUpdate.DEVICE_LEFT, JoinDecision.NO_ACTION)
    assert device.eui64 not in hub.store.children
    street.timeline.run(street.timeline.now + 3600.0)
    assert street.events["ppmid"][-1] == NetworkDown(left=True)


@pytest.mark.parametrize("capability", [ROUTER, SLEEPY])
def test_a_device_that_is_asked_to_leave_and_rejoin_keeps_its_network(capability):
    street, hub, device = street_with(capability)
    before = updates(street)
    assert ask_to_leave(street, hub, device, zdo.MgmtLeaveRequest(device.eui64, rejoin=True)) == 0
    assert street.events["ppmid"][-1] == Orphaned("told to leave and rejoin")
    assert updates(street) == before, "who comes back has not left"
    assert device.eui64 in hub.store.children
    assert street.come_back(device).ok
    assert street.send(device, hub, b"back") is SendStatus.OK


def test_a_router_sends_its_child_away_when_asked_to():
    street, hub, device = street_with(SLEEPY)
    other = street.node("esme", ROUTER)
    hub.trust.policy = JoinPolicy()
    hub.permit(60)
    street.join(hub, other)
    device._poller.attend()
    assert ask_to_leave(street, other, hub, zdo.MgmtLeaveRequest(device.eui64)) is None
    assert device.nwk is None


def test_whoever_is_nobodys_child_is_not_found():
    street, hub, device = street_with(ROUTER)
    assert ask_to_leave(street, hub, device, zdo.MgmtLeaveRequest(Eui64(0x1234))) == 0x81
    assert device.is_up


def test_a_leave_from_somebody_else_is_not_obeyed():
    street, hub, device = street_with()
    other = street.node("esme", ROUTER)
    hub.trust.policy = JoinPolicy()
    hub.permit(60)
    street.join(hub, other)
    for leave in (Leave(request=True), Leave(request=True, rejoin=True)):
        other._nwk.send(
            device.nwk,
            leave.to_bytes(),
            lambda _: None,
            frame_type=NwkFrameType.COMMAND,
            radius=1,
            named=True,
        )
        street.timeline.run(street.timeline.now + 1.0)
    assert device.is_up
    assert not [event for event in street.events["ppmid"] if isinstance(event, Orphaned)]


def test_a_frame_of_ours_that_is_played_back_is_not_heard():
    street, hub, device = street_with()
    street.send(hub, device, b"hello")
    [ours, *_] = [one.psdu for one in street.flights[::-1] if one.sender is hub._mac and len(one.psdu) > 40]
    reflected = bytearray(ours[:-2])
    reflected[5:9] = b"\x00\x00\x34\x12"  # to us, from an address that nobody has
    before = hub.store.to_dict()["addresses"]
    Replayer(street.air).send(bytes(reflected) + fcs(bytes(reflected)))
    street.timeline.run(street.timeline.now + 1.0)
    assert "a frame of ours, played back" in street.why()
    assert hub.store.to_dict()["addresses"] == before


def test_nobody_can_say_farewell_for_another():
    street, hub, device = street_with(SLEEPY)
    other = street.node("esme", ROUTER)
    hub.trust.policy = JoinPolicy()
    hub.permit(60)
    street.join(hub, other)
    frame = NwkFrame(
        NwkFrameType.COMMAND,
        0x0000,
        device.nwk,
        1,
        9,
        Leave().to_bytes(),
        security=True,
        source_ieee=device.eui64,
    )
    other._nwk.transmit(frame, 0x0000, lambda _: None)
    street.timeline.run(street.timeline.now + 1.0)
    assert "a farewell in somebody else's name" in street.why()
    assert device.eui64 in hub.store.children


def test_a_leave_in_plain_is_not_obeyed():
    street, hub, device = street_with()
    frame = NwkFrame(NwkFrameType.COMMAND, device.nwk, 0x0000, 1, 9, Leave(request=True).to_bytes())
    hub._mac.send_data(device.nwk, frame.to_bytes(), lambda _: None)
    street.timeline.run(street.timeline.now + 1.0)
    assert device.is_up
    assert "not secured" in street.why()


def trace(seed: int) -> list[tuple[float, bytes]]:
    """What is on the air while a sleeper joins, talks, misses a change of the key and comes back."""
    street, hub, device = street_with(SLEEPY, seed=seed, path=Lossy(Clear(), rate=0.05, seed=seed))
    for number in range(5):
        street.send(device, hub, bytes((number,)))
    street.timeline.run(street.timeline.now + 3600.0)
    change_key(street, hub)
    while not street.come_back(device, secured=False).ok:
        pass
    return [(flight.start, flight.psdu) for flight in street.flights]


def test_the_same_seed_gives_the_same_life_to_the_octet():
    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


def mutated(psdu: bytes, dice: random.Random) -> bytes:
    """A frame with octets turned, replaced, lost and added, whose check sequence is right all the same."""
    octets = bytearray(psdu[:-2])
    for _ in range(dice.randrange(1, 4)):
        where = dice.randrange(3, len(octets))
        match dice.randrange(4):
            case 0:
                octets[where] ^= 1 << dice.randrange(8)
            case 1:
                octets[where] = dice.randrange(256)
            case 2:
                octets[where:where] = dice.randbytes(dice.randrange(1, 4))
            case _:
                del octets[max(where, 5) :]
    octets = octets[:125]
    return bytes(octets) + fcs(bytes(octets))


def test_ten_thousand_mutated_frames_change_nothing_for_parent_or_child():
    """Every frame of a sleeper's life with bits turned, octets lost, added and swapped, to either end."""
    street, hub, device = street_with(SLEEPY)
    change_key(street, hub)
    street.come_back(device, secured=False)
    street.send(device, hub, b"hello", aps_security=True)
    street.timeline.run(street.timeline.now + 30.0)
    dice = random.Random(7)
    genuine = [one.psdu for one in street.flights if len(one.psdu) > 5]
    before = {node.name: node.store.to_dict() for node in (hub, device)}
    heard = {name: len(messages) for name, messages in street.messages.items()}
    device._mac.listen_when_idle(True)
    for number in range(10_000):
        psdu = mutated(dice.choice(genuine), dice)
        for node in (hub, device):
            hand_over(psdu, node)
        if number % 50 == 0:
            street.timeline.run(street.timeline.now + 0.2)
    street.timeline.run(street.timeline.now + 30.0)
    device._mac.listen_when_idle(False)

    after = {node.name: node.store.to_dict() for node in (hub, device)}
    for name in before:
        for kept in ("network", "alternate_keys", "trust_centre", "link_keys", "children", "addresses"):
            assert after[name][kept] == before[name][kept], (name, kept)
    assert {name: len(messages) for name, messages in street.messages.items()} == heard
    assert street.send(device, hub, b"unharmed", aps_security=True) is SendStatus.OK
