"""The habits of real dongles: what a host meets that a well-behaved imitation would spare it."""

from __future__ import annotations

import dataclasses

import bellows.types as t
import pytest
from dongle_world import LINK_KEY, OTA_CLUSTER, PPMID, SE_PROFILE, Desk, Host, Wire, aps_frame, join_device

from han.sim.dongle import ash_frames
from han.sim.dongle.ash_frames import ResetCode, ack_frame
from han.sim.dongle.personality import Personality, plain
from han.sim.node.service import SendRequest


@pytest.fixture(params=[13, 17], ids=["v13", "v17"])
def version(request) -> int:
    return request.param


def real(version: int = 13, **habits: object) -> Host:
    """A host in front of a dongle with the habits of real ones, its network up."""
    return Host(Desk(dataclasses.replace(Personality(ezsp=version), **habits)), version).ready()


def from_device(payload: bytes = b"meter", *, to: int = 0, ack: bool = True) -> SendRequest:
    return SendRequest(to, SE_PROFILE, OTA_CLUSTER, 1, 1, payload, aps_ack=ack)


# 1. OK means queued


def test_ok_means_queued_and_what_became_of_it_is_told_later(version):
    host = real(version)
    host.expect_device()
    device, heard = join_device(host.desk)
    host.callbacks.clear()

    answer = host.answered(host.start(host.unicast(device.nwk, b"block", tag=0x2A)))
    assert answer.status == 0
    assert host.callbacks == []
    host.desk.run(0.2)

    (sent,) = host.named("messageSentHandler")
    tag = sent.fields["messageTag" if version < 14 else "message_tag"]
    assert (tag, int(sent.fields["status"])) == (0x2A, 0)
    assert [message.payload for message in heard] == [b"block"]


def test_a_message_to_nobody_fails_after_the_stack_has_given_up(version):
    host = real(version)

    asked = host.desk.timeline.now
    assert host.answered(host.start(host.unicast(0x1234))).status == 0
    while not host.named("messageSentHandler"):
        host.desk.run(0.1)
    took = host.desk.timeline.now - asked

    (sent,) = host.named("messageSentHandler")
    assert int(sent.fields["status"]) == (0x66 if version < 14 else 0x0C02)
    assert 1.0 < took < 9.0


def test_after_a_stall_of_the_link_everything_comes_in_one_burst():
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()

    host.acknowledges = False
    for number in range(8):
        device.send(from_device(bytes((number,))), lambda _: None)
        host.desk.run(0.05)
    assert len(host.named("incomingMessageHandler")) == 5
    host.acknowledges = True
    host.desk.run(4.0)

    payloads = [bytes(c.fields["messageContents"])[0] for c in host.named("incomingMessageHandler")]
    assert payloads == list(range(8))


# 2. No patience without acknowledgements


def test_a_host_that_never_acknowledges_gets_error_0x51_and_nothing_else_until_rst():
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.acknowledges = False
    device.send(from_device(), lambda _: None)

    host.desk.run(20.0)
    assert host.errors == [ResetCode.ACK_TIMEOUTS]
    host.wire.end.write(ack_frame(0))
    host.desk.run(0.1)
    assert host.errors == [ResetCode.ACK_TIMEOUTS] * 2

    host.acknowledges = True
    assert host.connect().call("networkState")["status"] == 0


# 3. A slow and dirty reset


def test_a_reset_takes_its_time_and_is_not_clean():
    desk = Desk(Personality())
    wire = Wire(desk)
    started = desk.timeline.now
    heard = wire.say(bytes.fromhex("1ac038bc7e"), listen=1.1)

    assert heard
    assert not heard.endswith(bytes.fromhex("1ac1020b0a527e"))
    assert wire.say(b"", listen=0.2).endswith(bytes.fromhex("1ac1020b0a527e"))
    assert desk.timeline.now - started > 1.1


def test_frames_of_the_life_before_come_out_of_the_port_during_a_reset():
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.acknowledges = False
    device.send(from_device(b"stale"), lambda _: None)
    host.desk.run(0.1)
    host.frames.clear()

    host.reset()

    stale = [frame for frame in host.frames if not frame[0] & 0x80]
    assert any(b"stale" in ash_frames.randomised(frame[1:-2]) for frame in stale)


def test_what_a_host_says_while_the_dongle_starts_is_lost():
    desk = Desk(Personality())
    wire = Wire(desk)
    wire.say(bytes.fromhex("1ac038bc7e"), listen=0.5)
    wire.say(bytes.fromhex("1ac038bc7e"), listen=0.1)

    assert wire.say(b"", listen=5.0).count(bytes.fromhex("1ac1020b0a527e")) == 1


def test_some_dongles_give_another_reason_for_the_reset_that_was_asked_for():
    """Freshly flashed ones say power on (Koenkk/zigbee-herdsman#943)."""
    assert Host(Desk(Personality(reset_reason=ResetCode.POWER_ON))).reset() == ResetCode.POWER_ON


# 4. Callbacks when they like


def test_a_callback_comes_between_a_command_and_its_answer_under_an_older_number(version):
    host = real(version, least_latency=0.05, most_latency=0.05)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.desk.run(1.0)
    host.callbacks.clear()
    host.order.clear()
    last = host.call("nop")
    assert last.name == "nop"

    device.send(from_device(), lambda _: None)
    sequence = host.start(host.encode("networkState"))
    host.answered(sequence)

    assert host.order == ["nop", "incomingMessageHandler", "networkState"]
    (callback,) = host.callbacks
    assert callback.sequence == (sequence - 1) & 0xFF
    assert callback.control == 0x90


def test_an_answer_says_when_callbacks_wait_behind_it(version):
    host = real(version)
    host.connect()

    answer = host.call("networkInit", 0)
    host.desk.run(0.05)

    assert (answer.status, answer.control) == (0, 0x84)
    (status,) = host.named("stackStatusHandler")
    assert int(status.fields["status"]) == (0x90 if version < 14 else 0x15)
    assert host.order[-2:] == ["networkInit", "stackStatusHandler"]


def test_a_callback_says_when_more_wait_behind_it():
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.acknowledges = False
    host.callbacks.clear()
    for number in range(8):
        device.send(from_device(bytes((number,))), lambda _: None)
        host.desk.run(0.05)
    host.acknowledges = True
    host.desk.run(4.0)

    assert [c.control for c in host.named("incomingMessageHandler")][-3:] == [0x94, 0x94, 0x90]


def test_a_host_that_is_not_ready_gets_answers_and_no_callbacks():
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()
    not_ready = ash_frames.stuffed(bytes((0x88 | host._expected,)))

    host.wire.end.write(not_ready)
    device.send(from_device(), lambda _: None)
    host.desk.run(0.3)
    assert host.callbacks == []
    assert host.call("nop").name == "nop"
    host.desk.run(1.5)

    assert [callback.name for callback in host.callbacks] == ["incomingMessageHandler"]


def test_callbacks_that_find_no_buffer_are_lost_and_counted_and_said():
    host = real(callbacks_waiting=10)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.acknowledges = False
    for number in range(30):
        device.send(from_device(bytes((number,))), lambda _: None)
        host.desk.run(0.02)

    assert host.desk.why("dongle.callback-lost")
    host.acknowledges = True
    host.desk.run(4.0)
    assert host.call_raw(0x00F1).fields["values"][27] == len(host.desk.why("dongle.callback-lost"))


# 7. One octet more


def test_a_unicast_carries_an_undocumented_octet_and_a_broadcast_does_not(version):
    host = real(version)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()

    device.send(from_device(b"unicast"), lambda _: None)
    device.send(from_device(b"broadcast", to=0xFFFD, ack=False), lambda _: None)
    host.desk.run(1.0)

    assert [callback.trailer for callback in host.named("incomingMessageHandler")] == [b"\x02", b""]


def test_options_tell_how_a_message_came(version):
    host = real(version)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()

    device.send(from_device(ack=True), lambda _: None)
    device.send(from_device(ack=False), lambda _: None)
    device.send(from_device()._replace(aps_security=True), lambda _: None)
    host.desk.run(1.0)

    aps = [
        c.fields["apsFrame" if version < 14 else "aps_frame"] for c in host.named("incomingMessageHandler")
    ]
    assert [int(frame.options) for frame in aps] == [0x0140, 0x0100, 0x0160]


# 8. A join is several callbacks


def test_a_join_is_told_as_child_then_trust_centre_then_announcement(version):
    host = real(version)
    host.expect_device()
    host.callbacks.clear()
    device, _ = join_device(host.desk)

    told = [c for c in host.callbacks if c.name != "stackStatusHandler"]
    assert [c.name for c in told] == ["childJoinHandler", "trustCenterJoinHandler", "incomingMessageHandler"]
    child, trust, announced = (c.fields for c in told)
    assert (child["childEui64"].serialize(), child["childId"]) == (PPMID.wire, device.nwk)
    assert (trust["status"], trust["policyDecision"], trust["parentOfNewNodeId"]) == (1, 0, 0)
    aps = announced["apsFrame" if version < 14 else "aps_frame"]
    assert (aps.profileId, aps.clusterId, int(aps.options)) == (0, 0x0013, 0x0100)
    assert int(announced["type" if version < 14 else "message_type"]) == 4


def test_a_rejoin_is_told_twice_within_the_same_second(version):
    host = real(version)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()

    device.crash()
    device.store.reboot()
    device.rejoin(lambda _: None)
    host.desk.run(3.0)

    told = host.named("trustCenterJoinHandler")
    assert [(c.fields["status"], c.fields["policyDecision"]) for c in told] == [(0, 3), (0, 3)]


def test_a_device_that_nobody_expected_is_denied_and_told_so(version):
    host = real(version)
    host.call("permitJoining", 60)
    host.callbacks.clear()
    device = host.desk.new_node("ppmid", PPMID)

    device.join(LINK_KEY, lambda _: None)
    host.desk.run(5.0)

    assert {c.fields["policyDecision"] for c in host.named("trustCenterJoinHandler")} == {2}


def test_the_well_known_key_lets_in_only_whom_the_host_lets_in_with_it():
    host = real()
    everybody = t.EUI64.deserialize(b"\xff" * 8)[0]
    host.call("importTransientKey", everybody, t.KeyData(b"ZigBeeAlliance09"), 0)
    host.call("setPolicy", 0, 0x11)
    assert host.desk.node.trust.policy.default_link_key is None

    host.call("setPolicy", 0, 0x01)

    assert host.desk.node.trust.policy.default_link_key == b"ZigBeeAlliance09"
    host.desk.run(301.0)
    assert host.desk.node.trust.policy.default_link_key is None


# 9. Latency and acknowledgements


def test_an_answer_takes_six_to_fifteen_milliseconds_and_carries_the_acknowledgement():
    host = real()
    host.frames.clear()
    asked = host.desk.timeline.now

    host.call("nop")

    took = host.desk.timeline.now - asked
    assert 0.006 < took < 0.015
    (frame,) = host.frames
    assert not frame[0] & 0x80
    assert frame[0] & 7 == host._next


def test_two_commands_at_once_are_answered_one_after_the_other():
    host = real()

    first = host.start(host.encode("nop"))
    second = host.start(host.encode("networkState"))
    host.answered(first)
    host.answered(second)

    assert host.order == ["nop", "networkState"]


# 10. It hears itself


def test_the_dongle_hears_its_own_broadcast(version):
    host = real(version)

    host.answered(host.start(host.broadcast(b"to all", tag=3)))
    host.desk.run(0.1)
    (heard,) = host.named("incomingMessageHandler")

    kind, contents = ("type", "messageContents") if version < 14 else ("message_type", "message")
    names = ("sender", "lastHopLqi", "lastHopRssi") if version < 14 else ("nwk", "lqi", "rssi")
    assert (int(heard.fields[kind]), bytes(heard.fields[contents])) == (5, b"to all")
    assert [int(heard.fields[name]) for name in names] == [0, 255, 0]
    assert host.named("messageSentHandler") == []
    host.desk.run(1.1)
    assert len(host.named("messageSentHandler")) == 1


@pytest.mark.parametrize(("flags", "heard"), [(0, 0), (3, 1)])
def test_the_dongle_hears_its_own_zdo_requests_as_the_host_configured_it(version, flags, heard):
    host = Host(Desk(Personality(ezsp=version)), version).connect()
    host.add_endpoint()
    host.call("setConfigurationValue", t.EzspConfigId.CONFIG_APPLICATION_ZDO_FLAGS, flags)
    host.form()
    permit_joining = aps_frame(cluster=0x0036, endpoint=0)
    permit_joining.profileId = permit_joining.destinationEndpoint = 0

    host.answered(host.start(host.broadcast(bytes.fromhex("21b401"), to=0xFFFC, aps=permit_joining)))
    host.desk.run(0.1)

    assert len(host.named("incomingMessageHandler")) == heard


def test_the_dongle_reports_what_its_stack_answered_as_if_the_host_had_sent_it(version):
    host = real(version)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()
    answers = []
    device.on_zdo = answers.append

    # Active_EP_req for the coordinator, transaction 0x21.
    device.send(SendRequest(0, 0, 0x0005, 0, 0, bytes.fromhex("210000")), lambda _: None)
    host.desk.run(0.5)

    assert [(m.cluster, m.payload) for m in answers] == [(0x8005, bytes.fromhex("21 00 0000 01 01"))]
    (sent,) = host.named("messageSentHandler")
    assert sent.fields["messageTag" if version < 14 else "message_tag"] == 0xFF
    assert host.named("incomingMessageHandler") == []


def test_zdo_requests_are_handed_up_as_the_host_configured_it(version):
    host = Host(Desk(Personality(ezsp=version)), version).connect()
    host.add_endpoint()
    host.call("setConfigurationValue", t.EzspConfigId.CONFIG_APPLICATION_ZDO_FLAGS, 3)
    host.form()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()

    device.send(SendRequest(0, 0, 0x0005, 0, 0, bytes.fromhex("210000")), lambda _: None)
    device.send(SendRequest(0, 0, 0x0021, 0, 0, bytes.fromhex("22")), lambda _: None)
    host.desk.run(0.5)

    aps = [
        c.fields["apsFrame" if version < 14 else "aps_frame"] for c in host.named("incomingMessageHandler")
    ]
    assert [(f.clusterId, int(f.options) & 0x4000) for f in aps] == [(0x0005, 0), (0x0021, 0x4000)]


def test_a_group_that_the_host_joined_is_heard(version):
    host = real(version)
    entry = t.EmberMulticastTableEntry(multicastId=0x4A5B, endpoint=1, networkIndex=0)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()
    to_group = SendRequest(0xFFFD, SE_PROFILE, OTA_CLUSTER, 1, 1, b"group", aps_ack=False, group=0x4A5B)

    device.send(to_group, lambda _: None)
    host.desk.run(0.5)
    assert host.callbacks == []
    assert host.call("setMulticastTableEntry", 0, entry).status == 0
    device.send(to_group, lambda _: None)
    host.desk.run(0.5)

    (heard,) = host.named("incomingMessageHandler")
    assert int(heard.fields["type" if version < 14 else "message_type"]) == 2


# Crashes and stalls


def test_a_crash_in_mid_traffic_is_told_by_an_unasked_rstack_and_the_network_is_down():
    host = real()

    host.desk.dongle.crash(ResetCode.WATCHDOG)
    host.desk.run(2.0)

    assert host.reset_codes == [ResetCode.SOFTWARE, ResetCode.WATCHDOG]
    assert host.connect().call("networkState")["status"] == 0
    assert host.call("networkInit", 0).status == 0


def test_a_busy_dongle_says_xoff_then_xon_and_loses_what_its_buffer_cannot_hold():
    host = real(receive_buffer=32)
    before = len(host.desk.told)

    host.desk.dongle.stall(0.5)
    heard = bytearray()
    hear, host.wire.end.sink = host.wire.end.sink, heard.extend
    host.send(host.unicast(0x1234, bytes(80)))
    host.desk.run(0.4)
    assert bytes(heard) == b"\x13"
    host.wire.end.sink = hear
    host.desk.run(0.3)

    assert [f.what for f in host.desk.told[before:]][:1] == ["serial.overrun"]
    # What did arrive of the frame still stands in the dongle's buffer; a host that sends it again cancels it
    # first.
    host.wire.end.write(b"\x1a")
    host._next = (host._next - 1) & 7
    assert host.call("nop").name == "nop"


# What outlives what


def test_the_network_outlives_a_reset_with_its_keys_and_its_devices(version):
    host = real(version)
    host.expect_device()
    device, _ = join_device(host.desk)
    before = host.call("getNetworkParameters")["parameters"]

    host.connect()
    host.add_endpoint()
    assert host.call("networkState")["status"] == 0
    assert host.call("networkInit", 0).status == 0
    host.desk.run(0.1)

    assert host.call("getNetworkParameters")["parameters"] == before
    assert host.call("lookupNodeIdByEui64", t.EUI64.deserialize(PPMID.wire)[0])["nodeId"] == device.nwk
    host.callbacks.clear()
    device.send(from_device(b"still here"), lambda _: None)
    host.desk.run(0.5)
    assert len(host.named("incomingMessageHandler")) == 1


def test_a_frame_counter_never_goes_back_over_a_reset():
    host = real()
    counters = []
    for _ in range(3):
        host.answered(host.start(host.broadcast()))
        host.desk.run(0.5)
        counters.append(host.call("getNetworkKeyInfo")["network_key_info"].network_key_frame_counter)
        host.connect()
        host.add_endpoint()
        host.call("networkInit", 0)

    assert counters == sorted(set(counters))


def test_a_factory_reset_forgets_the_network_at_the_next_start(version):
    host = real(version)

    host.call("tokenFactoryReset", 0, 0)
    assert host.call("networkState")["status"] == 2
    host.connect()

    assert host.call("networkInit", 0).status == (0x93 if version < 14 else 0x17)


def test_link_keys_imported_before_forming_are_there_afterwards(version):
    host = Host(Desk(plain(ezsp=version)), version).connect()
    partner = t.EUI64.deserialize(PPMID.wire)[0]
    host.call("importLinkKey", 2, partner, t.KeyData(LINK_KEY))
    host.form()

    exported = host.call("exportLinkKeyByIndex", 2)

    assert exported.status == 0
    assert exported["plaintext_key"].serialize() == LINK_KEY
    assert host.call("findKeyTableEntry", partner, 1)["index"] == 2
    assert host.call("eraseKeyTableEntry", 2).status == 0
    assert host.call("exportLinkKeyByIndex", 2).status == 0x2D


def test_an_energy_scan_tells_each_channel_and_then_its_end(version):
    host = real(version)
    host.callbacks.clear()

    mask = t.Channels.from_channel_list([11, 15, 20])
    assert host.call("startScan", 0, mask, 3).status == 0
    host.desk.run(1.0)

    assert [c.name for c in host.callbacks] == ["energyScanResultHandler"] * 3 + ["scanCompleteHandler"]
    assert [c.fields["channel"] for c in host.callbacks[:3]] == [11, 15, 20]


def test_counters_count_and_can_be_cleared():
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    device.send(from_device(), lambda _: None)
    host.desk.run(0.5)

    first = host.call_raw(0x0065).fields["values"]
    second = host.call_raw(0x00F1).fields["values"]

    assert len(first) == len(second) == 41
    assert first[8] >= 1
    assert second[8] == 0


def test_no_key_shows_in_what_the_dongle_tells_of_itself():
    host = real()
    host.expect_device()
    join_device(host.desk)
    told = " ".join(fact.to_json() for fact in host.desk.told) + repr(host.desk.dongle.flash.security)

    for key in (LINK_KEY, bytes(range(16))):
        assert key.hex() not in told
        assert repr(key) not in told


def test_the_same_seed_tells_the_same_story_to_the_octet():
    def story() -> bytes:
        host = Host(Desk(Personality(), serial_loss=0.02, seed=5))
        heard = bytearray()
        hear = host.wire.end.sink

        def both(octets: bytes) -> None:
            heard.extend(octets)
            hear(octets)

        host.wire.end.sink = both
        host.reset()
        return bytes(heard)

    assert story() == story()
