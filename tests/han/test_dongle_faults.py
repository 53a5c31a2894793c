"""Faults on demand: each does what it says, when it says, and is said."""

from __future__ import annotations

import dataclasses
import random

import pytest
from dongle_world import LINK_KEY, OTA_CLUSTER, SE_PROFILE, Desk, Host, Wire, join_device

from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.dongle.ash_frames import ResetCode
from han.sim.dongle.faults import Faults, damaged
from han.sim.dongle.personality import Personality
from han.sim.fault import Fault, FaultError, Kind, read_fault
from han.sim.home import HomeError, parse_home
from han.sim.node.service import SendRequest

RST = bytes.fromhex("1ac038bc7e")


def real(version: int = 13, **habits: object) -> Host:
    """A host in front of a dongle with the habits of real ones, its network up."""
    return Host(Desk(dataclasses.replace(Personality(ezsp=version), **habits)), version).ready()


def on(host: Host, kind: Kind, **when: object) -> None:
    """Let something go wrong from now on."""
    host.desk.dongle.faults.add(Fault(kind=kind, **when))


def from_device(payload: bytes = b"meter") -> SendRequest:
    return SendRequest(0, SE_PROFILE, OTA_CLUSTER, 1, 1, payload, aps_ack=True)


def some_faults(*faults: Fault, seed: int = 1) -> tuple[Timeline, Faults, list[Fault]]:
    """Faults without a dongle, and what the processor suffered."""
    timeline = Timeline()
    suffered: list[Fault] = []
    facts = Facts(lambda: timeline.now)
    armed = Faults(
        timeline=timeline, dice=random.Random(seed), facts=facts, name="dongle", suffer=suffered.append
    )
    armed.add(*faults)
    return timeline, armed, suffered


# When a fault strikes


def strikes(faults: Faults, opportunities: int, command: str = "sendUnicast") -> str:
    """One letter for each opportunity: x where it struck."""
    return "".join("x" if faults.strikes(Kind.BUSY, command) else "." for _ in range(opportunities))


def test_a_fault_lets_some_pass_and_strikes_so_many_times():
    _, faults, _ = some_faults(Fault(kind=Kind.BUSY, skip=3, times=2))

    assert strikes(faults, 8) == "...xx..."


def test_a_fault_that_names_a_command_strikes_no_other():
    _, faults, _ = some_faults(Fault(kind=Kind.BUSY, command="sendBroadcast"))

    assert strikes(faults, 3) == "..."
    assert strikes(faults, 3, "sendBroadcast") == "xxx"


def test_a_fault_has_a_beginning_and_an_end():
    timeline, faults, _ = some_faults(Fault(kind=Kind.BUSY, after=10.0, lasts=5.0))
    struck = {}
    for at in (9.9, 10.0, 14.9, 15.0):
        timeline.run(at)
        struck[at] = strikes(faults, 1)

    assert struck == {9.9: ".", 10.0: "x", 14.9: "x", 15.0: "."}


def test_a_share_is_kept_and_the_same_seed_strikes_the_same():
    def run(seed: int) -> str:
        return strikes(some_faults(Fault(kind=Kind.BUSY, share=0.1), seed=seed)[1], 2000)

    assert 140 < run(3).count("x") < 260
    assert run(3) == run(3)
    assert run(3) != run(4)


def test_what_happens_to_the_processor_happens_by_the_clock_again_and_again():
    timeline, _, suffered = some_faults(Fault(kind=Kind.STALL, after=5.0, every=10.0, times=3, seconds=1.0))

    timeline.run(4.9)
    assert suffered == []
    timeline.run(100.0)
    assert len(suffered) == 3


def test_what_happens_to_the_processor_may_wait_for_a_command():
    timeline, faults, suffered = some_faults(Fault(kind=Kind.REBOOT, command="sendUnicast", skip=1, times=1))
    timeline.run(100.0)
    for name in ("nop", "sendUnicast", "sendUnicast", "sendUnicast"):
        faults.command(name)

    assert len(suffered) == 1


def test_cleared_faults_are_over_also_those_by_the_clock():
    timeline, faults, suffered = some_faults(
        Fault(kind=Kind.BUSY), Fault(kind=Kind.REBOOT, after=5.0, every=5.0)
    )
    faults.clear()
    timeline.run(60.0)

    assert strikes(faults, 3) == "..."
    assert suffered == []


# On the serial line


@pytest.mark.parametrize(
    ("kind", "octets", "lengths"),
    [
        (Kind.DROPPED_OCTETS, 1, {9}),
        (Kind.DROPPED_OCTETS, 4, {6, 7, 8, 9}),
        (Kind.REPEATED_OCTETS, 2, {11, 12}),
        (Kind.CHANGED_OCTETS, 3, {10}),
    ],
)
def test_a_line_drops_repeats_or_changes_octets_in_a_row(kind, octets, lengths):
    _, faults, _ = some_faults(Fault(kind=kind, octets=octets))
    arrived = [damaged(b"0123456789", faults) for _ in range(200)]

    assert {len(piece) for piece in arrived} == lengths
    assert b"0123456789" not in arrived


def test_a_lossy_line_damages_its_share_of_the_writes():
    host = Host(Desk(serial_loss=0.1, seed=3))
    heard: list[bytes] = []
    host.desk.dongle._line._to_dongle = heard.append
    for _ in range(1000):
        host.wire.end.write(b"0123456789")
    host.desk.run(10.0)

    spoilt = [octets for octets in heard if octets != b"0123456789"]
    assert 60 < len(spoilt) < 140
    assert {len(octets) for octets in spoilt} == {9, 10}


def test_a_deaf_dongle_says_nothing():
    desk = Desk()
    desk.dongle.faults.add(Fault(kind=Kind.DEAF))

    assert Wire(desk).say(RST, listen=10.0) == b""


# Resets


def test_rstack_comes_twice():
    host = real()
    on(host, Kind.SECOND_RSTACK)

    host.reset()
    host.desk.run(0.1)

    assert host.reset_codes == [ResetCode.SOFTWARE] * 2


def test_a_reset_ends_in_error_and_works_the_second_time():
    host = real()
    on(host, Kind.ERROR_BEFORE_RSTACK, times=1)
    host.reset_codes.clear()
    host.wire.end.write(RST)
    host.desk.run(2.0)
    assert host.errors[-1] == ResetCode.WATCHDOG
    assert host.reset_codes == []

    assert host.reset() == ResetCode.SOFTWARE


def test_a_reboot_on_a_command_swallows_the_answer_and_takes_its_time():
    host = real(boot_dirt=False)  # else the answer comes out of the port as a stale frame
    on(host, Kind.REBOOT, command="networkState", times=1, seconds=4.0)
    before = host.desk.timeline.now

    with pytest.raises(KeyError):
        host.call("networkState")
    assert host.reset_codes == [ResetCode.SOFTWARE]
    host.desk.run(4.5)

    assert host.reset_codes[-1] == ResetCode.WATCHDOG
    (fact,) = [fact for fact in host.desk.told if fact.what == "dongle.fault"]
    assert (fact.kind, fact.command) == ("reboot", "networkState")
    assert 0.0 < fact.at - before < 0.1


# Commands


@pytest.mark.parametrize("version", [4, 13, 17])
@pytest.mark.parametrize(
    ("kind", "ember", "sl"),
    [(Kind.BUSY, 0xA1, 0x0004), (Kind.TABLE_FULL, 0x72, 0x0C03), (Kind.NO_BUFFERS, 0x18, 0x0019)],
)
def test_a_message_is_refused_as_a_busy_a_full_or_an_exhausted_dongle_refuses_it(version, kind, ember, sl):
    host = real(version)
    on(host, kind, times=2)

    statuses = [
        host.answered(host.start(frame)).status
        for frame in (host.unicast(0x1234), host.broadcast(), host.unicast(0x1234))
    ]

    assert statuses == [ember if version < 14 else sl] * 2 + [0]


def test_an_answer_is_lost():
    host = real()
    on(host, Kind.LOST_ANSWER, command="networkState", times=1)

    with pytest.raises(KeyError):
        host.call("networkState")
    assert host.call("networkState")["status"] == 2


def test_a_command_is_refused():
    host = real()
    on(host, Kind.REFUSED_COMMAND, command="readCounters", times=1)

    assert host.call_raw(0x00F1).name == "invalidCommand"
    assert host.call_raw(0x00F1).name == "readCounters"


# Callbacks


def test_a_delivery_is_denied_although_it_happened():
    host = real()
    host.expect_device()
    device, heard = join_device(host.desk)
    on(host, Kind.FAILED_DELIVERY, times=1)

    for _ in range(2):
        host.answered(host.start(host.unicast(device.nwk)))
        host.desk.run(0.2)

    assert len(heard) == 2
    assert [int(c.fields["status"]) for c in host.named("messageSentHandler")] == [0x66, 0x00]


@pytest.mark.parametrize(("kind", "told"), [(Kind.REPEATED_CALLBACK, 2), (Kind.LOST_CALLBACK, 0)])
def test_an_incoming_message_is_told_twice_or_never(kind, told):
    host = real()
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()
    on(host, kind, command="incomingMessageHandler", times=1)

    device.send(from_device(), lambda _: None)
    host.desk.run(0.5)

    assert len(host.named("incomingMessageHandler")) == told


def test_link_quality_is_rubbish():
    host = real(17)
    host.expect_device()
    device, _ = join_device(host.desk)
    host.callbacks.clear()
    on(host, Kind.WRONG_LINK_QUALITY)

    device.send(from_device(), lambda _: None)
    host.desk.run(0.5)

    (heard,) = host.named("incomingMessageHandler")
    assert [int(heard.fields[name]) for name in ("lqi", "rssi", "timestamp")] == [3, 0, 6]


def test_a_fault_tells_no_key():
    host = real()
    on(host, Kind.REFUSED_COMMAND, command="importTransientKey")
    host.call_raw(0x0111, bytes(8) + LINK_KEY + b"\x00")

    assert LINK_KEY.hex() not in " ".join(fact.to_json() for fact in host.desk.told)


# Written down


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("busy", Fault(kind=Kind.BUSY)),
        ("reboot:after=60,seconds=5", Fault(kind=Kind.REBOOT, after=60.0, seconds=5.0)),
        (
            "lost-answer:command=sendUnicast,times=2,share=0.5",
            Fault(kind=Kind.LOST_ANSWER, command="sendUnicast", times=2, share=0.5),
        ),
    ],
)
def test_a_fault_is_read_from_a_line(text, fault):
    assert read_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("meteor", "there are dropped-octets, changed-octets"),
        ("", "there are dropped-octets"),
        ("busy:share=2", "share"),
        ("busy:often=1", "often"),
        ("busy:share", "write each setting once"),
        ("busy:share=0.1,share=0.2", "write each setting once"),
        ("busy:kind=deaf", "write each setting once"),
        ("busy:times=many", "times"),
    ],
)
def test_a_fault_that_cannot_be_is_named_with_what_to_write(text, says):
    with pytest.raises(FaultError, match=says):
        read_fault(text)


def test_a_home_says_what_is_wrong_with_its_dongle():
    text = """
name = "sick"
[dongle]
eui64 = "00-DB-12-34-56-78-91-A2"
key_table = 3
[[dongle.faults]]
kind = "reboot"
after = 90
"""
    home = parse_home(text.encode())
    assert home.dongle.faults == (Fault(kind=Kind.REBOOT, after=90.0),)
    assert home.dongle.key_table == 3

    with pytest.raises(HomeError, match=r"whenever.*dongle.faults\[0\]"):
        parse_home(text.replace("after", "whenever").encode())
