"""Key establishment between two parties: the run that the standard prints, and all the ways it can end."""

import random
from dataclasses import replace

import pytest
from certified import HUB, METER, OTHER, credentials, published
from hypothesis import given, settings
from hypothesis import strategies as st
from key_establishment_pair import DELAY, Pair

from han.errors import OurError, TheirError
from han.security.binary_curve import Point
from han.security.certificate import SIGNING
from han.security.key_establishment import (
    ConfirmKey,
    EphemeralData,
    Failed,
    Ignored,
    Initiate,
    KeyEstablishment,
    Role,
    Send,
    Settings,
    Started,
    Terminate,
    TerminateStatus,
    parse_command,
)
from han.security.suite import Suite
from ota.eui64 import Eui64
from ota.status import Status

BOTH = (Suite.ONE, Suite.TWO)
both_suites = pytest.mark.parametrize("suite", Suite, ids=str)
ONCE = Settings(tries=1)
EACH_COMMAND = [
    (METER, Initiate),
    (HUB, Initiate),
    (METER, EphemeralData),
    (HUB, EphemeralData),
    (METER, ConfirmKey),
    (HUB, ConfirmKey),
]
at_each_step = pytest.mark.parametrize(
    ("sender", "kind"),
    EACH_COMMAND,
    ids=lambda value: "hub" if value == HUB else getattr(value, "__name__", "meter"),
)


def altered(sender, kind, change):
    """Meddling that changes the commands of one kind from one sender."""
    return lambda who, command: [change(command)] if (who, type(command)) == (sender, kind) else [command]


def lost(sender, kind, times=1):
    """Meddling that loses the first commands of one kind from one sender."""
    left = [times]

    def meddle(who, command):
        if (who, type(command)) == (sender, kind) and left[0] > 0:
            left[0] -= 1
            return []
        return [command]

    return meddle


class Loaded(random.Random):
    """Dice that throw the published private keys."""

    def __init__(self, throw):
        super().__init__(0)
        self._throw = throw

    def randrange(self, *_args):
        return self._throw


@both_suites
def test_the_published_exchange_goes_over_the_wire_octet_by_octet(suite):
    example = published(suite)
    u, v = example.initiator.certificate.subject, example.responder.certificate.subject
    pair = Pair(own={u: [example.initiator.credentials], v: [example.responder.credentials]})
    pair.machines[u]._dice = Loaded(example.initiator.ephemeral.private)
    pair.machines[v]._dice = Loaded(example.responder.ephemeral.private)
    pair.initiate(u, v)
    pair.run()

    head = bytes((suite, 0, 11, 16))
    assert [(who, command.COMMAND_ID, command.payload()) for _, who, command in pair.sent] == [
        (u, 0, head + example.initiator.octets["certificate"]),
        (v, 0, head + example.responder.octets["certificate"]),
        (u, 1, example.initiator.octets["ephemeral_public_key"]),
        (v, 1, example.responder.octets["ephemeral_public_key"]),
        (u, 2, example.mac_u),
        (v, 2, example.mac_v),
    ]
    assert pair.keys(u) == pair.keys(v) == [example.key_data]


@both_suites
def test_two_parties_end_with_one_key_and_each_others_certificate(suite):
    pair = Pair(suites=(suite,))
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.keys(METER) == pair.keys(HUB)
    assert [len(key) for key in pair.keys(HUB)] == [16]
    done = {name: events[-1] for name, events in pair.events.items()}
    assert done[HUB].certificate == credentials(suite, METER).certificate
    assert done[METER].certificate == credentials(suite, HUB).certificate
    assert (done[METER].role, done[HUB].role) == (Role.INITIATOR, Role.RESPONDER)
    assert all(machine.timer() is None for machine in pair.machines.values())
    assert not any(m.is_busy_with(name) for m in pair.machines.values() for name in (HUB, METER))


def test_the_best_suite_that_both_have_is_taken_first():
    pair = Pair(suites=BOTH)
    pair.initiate(METER, HUB)
    assert pair.of(METER, Started)[0].suite is Suite.TWO
    assert [machine.suites for machine in pair.machines.values()] == [3, 3]


def test_every_run_has_its_own_key_and_a_seed_repeats_it():
    keys = []
    for seed in (1, 1, 2):
        pair = Pair(seed=seed)
        for _ in range(2):
            pair.initiate(METER, HUB)
            pair.run()
        keys.append(pair.keys(HUB))

    assert keys[0] == keys[1]
    assert len({*keys[0], *keys[2]}) == 4


def test_no_event_and_no_command_shows_a_key():
    pair = Pair()
    pair.initiate(METER, HUB)
    pair.run()
    key = pair.keys(HUB)[0]
    shown = repr(pair.events) + repr(pair.sent) + repr(vars(pair.machines[HUB]))

    assert repr(key) not in shown
    assert key.hex() not in shown


@at_each_step
def test_a_lost_command_costs_a_try_and_nobody_says_a_word_about_it(sender, kind):
    pair = Pair(meddle=lost(sender, kind))
    pair.initiate(METER, HUB)
    pair.run()

    assert "Terminate" not in [*pair.commands(HUB), *pair.commands(METER)][:-1] or kind is Initiate
    assert pair.keys(METER) == pair.keys(HUB)[-1:]
    assert len(pair.of(METER, Started)) >= 2
    assert pair.failures(METER)[0] is None


@at_each_step
def test_a_party_that_waits_in_vain_forgets_in_silence(sender, kind):
    pair = Pair(meddle=lost(sender, kind, times=99), settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    assert not any(isinstance(command, Terminate) for _, _, command in pair.sent)
    assert pair.failures(METER) == [None]
    assert pair.of(METER, Failed)[0].again_at is None
    assert pair.keys(METER) == []
    assert not any(m.is_busy_with(name) for m in pair.machines.values() for name in (HUB, METER))


def test_each_side_waits_as_long_as_the_other_announced_and_the_margin():
    hub = Settings(ephemeral_time=20, confirm_time=30, margin=3)
    meter = Settings(ephemeral_time=2, confirm_time=4, margin=6, initiate_wait=7, tries=1)
    expected = {
        (METER, Initiate): {METER: 7},
        (HUB, Initiate): {METER: 7, HUB: DELAY + 2 + 3},
        (METER, EphemeralData): {METER: 2 * DELAY + 20 + 6, HUB: DELAY + 2 + 3},
        (HUB, EphemeralData): {METER: 2 * DELAY + 20 + 6, HUB: 3 * DELAY + 4 + 3},
        (METER, ConfirmKey): {METER: 4 * DELAY + 30 + 6, HUB: 3 * DELAY + 4 + 3},
        (HUB, ConfirmKey): {METER: 4 * DELAY + 30 + 6},
    }
    for (sender, kind), waits in expected.items():
        pair = Pair(meddle=lost(sender, kind), settings={HUB: hub, METER: meter})
        pair.initiate(METER, HUB)
        pair.run(until=6 * DELAY)
        timers = {name: machine.timer() for name, machine in pair.machines.items()}
        assert {name: due for name, due in timers.items() if due is not None} == pytest.approx(waits)


def test_an_initiator_doubles_its_pauses_and_gives_up_in_the_end():
    rules = Settings(tries=4, back_off=5, jitter=0, initiate_wait=10)
    pair = Pair(meddle=lost(METER, Initiate, times=99), settings={METER: rules})
    pair.initiate(METER, HUB)
    pair.run()

    assert [at for at, _, _ in pair.sent] == [0, 15, 35, 65]
    assert [event.again_at for event in pair.of(METER, Failed)] == [15, 35, 65, None]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=12)
def test_with_a_third_of_all_commands_lost_both_end_with_one_key_or_give_up(seed):
    dice = random.Random(seed)
    pair = Pair(meddle=lambda _, command: [] if dice.random() < 0.33 else [command], seed=seed)
    pair.initiate(METER, HUB)
    pair.run(until=3600)

    if pair.keys(METER):
        assert pair.keys(HUB)[-1] == pair.keys(METER)[-1]
    else:
        assert pair.of(METER, Failed)[-1].again_at is None
    assert not any(m.is_busy_with(name) for m in pair.machines.values() for name in (HUB, METER))


@pytest.mark.parametrize("kind", [Initiate, EphemeralData, ConfirmKey])
def test_a_repeated_request_is_answered_with_the_same_response_again(kind):
    pair = Pair(meddle=lambda who, command: [command] * (2 if (who, type(command)) == (METER, kind) else 1))
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.keys(METER) == pair.keys(HUB)
    if kind is EphemeralData:
        assert len({c.point for _, who, c in pair.sent if isinstance(c, EphemeralData) and who == HUB}) == 1
        assert len(pair.keys(HUB)) == 1


@pytest.mark.parametrize("kind", [Initiate, EphemeralData, ConfirmKey])
def test_a_repeated_response_changes_nothing(kind):
    pair = Pair(meddle=lambda who, command: [command] * (2 if (who, type(command)) == (HUB, kind) else 1))
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.keys(METER) == pair.keys(HUB)
    assert len(pair.of(METER, Ignored)) == 1


def good_initiate(suite=Suite.ONE, who=METER, **changed):
    certificate = credentials(suite, who).certificate.to_bytes()
    return replace(Initiate(suite, 10, 15, certificate, from_server=False), **changed)


def answer_of(pair, command, sender=METER, sequence=77):
    """What the hub answers at once, and the number it bears."""
    pair.machines[HUB].receive(sender, command, sequence, pair.now)
    sends = [item for item in pair.machines[HUB].drain() if isinstance(item, Send)]
    assert {item.sequence for item in sends} <= {sequence}
    assert {item.peer for item in sends} <= {sender}
    return [item.command for item in sends]


def terminate(status, wait=0, suites=1):
    return [Terminate(status, wait, suites, from_server=True)]


def test_an_issuer_that_we_do_not_know_is_told_so_and_does_not_try_again():
    pair = Pair(
        own={HUB: [credentials(Suite.ONE, HUB)], METER: [credentials(Suite.ONE, METER, issuer=OTHER)]}
    )
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(METER) == pair.failures(HUB) == [TerminateStatus.UNKNOWN_ISSUER]
    assert [event.by_peer for name in (METER, HUB) for event in pair.of(name, Failed)] == [True, False]
    assert pair.commands(METER) == ["Initiate"]


@pytest.mark.parametrize("cheat", [HUB, METER])
def test_a_wrong_proof_ends_in_bad_key_confirm_on_both_sides(cheat):
    wrong = altered(cheat, ConfirmKey, lambda command: replace(command, mac=bytes(16)))
    pair = Pair(meddle=wrong, settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    honest = HUB if cheat == METER else METER
    assert pair.failures(honest) == [TerminateStatus.BAD_KEY_CONFIRM]
    assert pair.keys(METER) == pair.keys(honest) == []


@both_suites
def test_a_proof_thrown_back_convinces_nobody(suite):
    proofs = []

    def reflect(who, command):
        if isinstance(command, ConfirmKey):
            proofs.append(command.mac)
            return [command] if who == METER else [replace(command, mac=proofs[0])]
        return [command]

    pair = Pair(suites=(suite,), meddle=reflect, settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    assert len(set(proofs)) == 2
    assert pair.failures(METER) == [TerminateStatus.BAD_KEY_CONFIRM]
    assert pair.keys(METER) == []


@both_suites
def test_certificates_thrown_back_or_swapped_end_the_exchange(suite):
    for answer in (METER, OTHER):
        swapped = credentials(suite, answer).certificate.to_bytes()
        wrong = altered(HUB, Initiate, lambda command, octets=swapped: replace(command, certificate=octets))
        pair = Pair(suites=(suite,), meddle=wrong, settings={METER: ONCE})
        pair.initiate(METER, HUB)
        pair.run()

        assert pair.failures(METER) == [TerminateStatus.INVALID_CERTIFICATE]
        assert pair.keys(METER) == pair.keys(HUB) == []


@both_suites
def test_a_static_key_in_the_place_of_the_ephemeral_one_gives_no_common_key(suite):
    static = suite.curve.encode(credentials(suite, HUB).keys.public)
    wrong = altered(HUB, EphemeralData, lambda command: replace(command, point=static))
    pair = Pair(suites=(suite,), meddle=wrong, settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(HUB) == [TerminateStatus.BAD_KEY_CONFIRM]
    assert pair.keys(METER) == pair.keys(HUB) == []


@pytest.mark.parametrize(("suite", "products"), [(Suite.ONE, 3_000), (Suite.TWO, 5_000)])
def test_a_side_computes_no_more_than_its_share(suite, products, monkeypatch):
    # A product of the field takes some 5 us in suite 2, squares less: far below 200 ms of CPU a side.
    field, counted = suite.curve.field, [0]
    multiply = field.multiply

    def count(a, b):
        counted[0] += 1
        return multiply(a, b)

    pair = Pair(suites=(suite,))
    monkeypatch.setattr(field, "multiply", count)
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.keys(METER) == pair.keys(HUB)
    assert products <= counted[0] <= 2 * products


def test_an_impostor_with_somebody_elses_certificate_fails_to_confirm():
    thief = replace(credentials(Suite.ONE, METER), keys=credentials(Suite.ONE, OTHER).keys)
    pair = Pair(own={HUB: [credentials(Suite.ONE, HUB)], METER: [thief]}, settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(HUB) == pair.failures(METER) == [TerminateStatus.BAD_KEY_CONFIRM]


def test_an_authority_of_the_same_name_with_another_key_convinces_nobody():
    fake = credentials(Suite.ONE, METER, seed=1)
    pair = Pair(own={HUB: [credentials(Suite.ONE, HUB)], METER: [fake]}, settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(HUB) == [TerminateStatus.BAD_KEY_CONFIRM]


@pytest.mark.parametrize(
    "changed",
    [
        {"ephemeral_time": 0xFF},
        {"confirm_time": 0xFF},
        {"certificate": b""},
        {"certificate": bytes(47)},
        {"certificate": bytes(74)},
    ],
    ids=str,
)
def test_a_first_message_that_makes_no_sense_is_a_bad_message(changed):
    pair = Pair()
    assert answer_of(pair, good_initiate(**changed)) == terminate(TerminateStatus.BAD_MESSAGE)
    assert not pair.machines[HUB].is_busy_with(METER)


@pytest.mark.parametrize("suites", [0, 2, 3, 4, 0xFFFF])
def test_a_suite_that_we_do_not_have_or_several_at_once_are_unsupported(suites):
    answer = answer_of(Pair(), good_initiate(suites=suites))
    assert answer == terminate(TerminateStatus.UNSUPPORTED_SUITE)


def test_a_certificate_that_does_not_hold_is_invalid():
    pair = Pair(suites=BOTH)
    good = credentials(Suite.TWO, METER).certificate
    curve = Suite.TWO.curve
    low_order = curve.encode(curve.add(curve.generator, Point(0, 1)))
    for octets in (
        credentials(Suite.TWO, OTHER).certificate.to_bytes(),  # names somebody else
        credentials(Suite.TWO, HUB).certificate.to_bytes(),  # our own, thrown back
        replace(good, key_usage=SIGNING).to_bytes(),
        replace(good, point=low_order).to_bytes(),
        replace(good, point=bytes(37)).to_bytes(),
        b"\x01" + good.to_bytes()[1:],
    ):
        answer = answer_of(pair, good_initiate(Suite.TWO, certificate=octets))
        assert answer == terminate(TerminateStatus.INVALID_CERTIFICATE, suites=3)
        assert not pair.machines[HUB].is_busy_with(METER)


@pytest.mark.parametrize(
    "point",
    [
        b"",
        bytes(22),
        b"\x02" + bytes(21),
        b"\x02\x08" + bytes(20),
        Suite.TWO.curve.encode(Suite.TWO.curve.generator),
        Suite.ONE.curve.encode(Suite.ONE.curve.add(Suite.ONE.curve.generator, Point(0, 1))),
    ],
    ids=["empty", "zero", "order two", "too large", "other curve", "wrong order"],
)
def test_a_bad_ephemeral_key_is_a_bad_message(point):
    pair = Pair()
    answer_of(pair, good_initiate())
    answer = answer_of(pair, EphemeralData(point, from_server=False))
    assert answer == terminate(TerminateStatus.BAD_MESSAGE)
    assert not pair.machines[HUB].is_busy_with(METER)


def test_an_ephemeral_key_thrown_back_is_a_bad_message():
    back = []

    def reflect(who, command):
        if isinstance(command, EphemeralData):
            back.append(command)
            return [command] if who == METER else [replace(back[0], from_server=True)]
        return [command]

    pair = Pair(meddle=reflect, settings={METER: ONCE})
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(METER) == [TerminateStatus.BAD_MESSAGE]


def test_commands_out_of_turn_end_the_exchange():
    pair = Pair()
    answer_of(pair, good_initiate())
    assert answer_of(pair, ConfirmKey(bytes(16), from_server=False)) == terminate(TerminateStatus.BAD_MESSAGE)
    assert not pair.machines[HUB].is_busy_with(METER)


@pytest.mark.parametrize(
    "stray", [EphemeralData(bytes(22), from_server=False), ConfirmKey(bytes(16), from_server=False)]
)
def test_a_request_without_an_exchange_is_told_so_and_a_response_is_not_answered(stray):
    pair = Pair()
    assert answer_of(pair, stray) == terminate(TerminateStatus.BAD_MESSAGE)
    assert answer_of(pair, replace(stray, from_server=True)) == []
    assert answer_of(pair, good_initiate(from_server=True)) == []
    assert pair.machines[HUB].timer() is None


@pytest.mark.parametrize("status", [*TerminateStatus, TerminateStatus(0x77)], ids=lambda status: status.name)
def test_a_terminate_is_never_answered_and_ends_only_an_exchange_that_is_there(status):
    pair = Pair()
    for from_server in (False, True):
        assert answer_of(pair, Terminate(status, 5, 1, from_server)) == []
    answer_of(pair, good_initiate())
    assert answer_of(pair, Terminate(status, 5, 1, from_server=True)) == []
    assert pair.machines[HUB].is_busy_with(METER)
    assert answer_of(pair, Terminate(status, 5, 1, from_server=False)) == []
    assert not pair.machines[HUB].is_busy_with(METER)


@pytest.mark.parametrize("status", [*TerminateStatus, TerminateStatus(0x77)], ids=lambda status: status.name)
def test_an_initiator_that_is_refused_tries_again_where_that_can_help(status):
    pair = Pair(settings={METER: Settings(jitter=0, back_off=5, tries=3)})
    pair.initiate(METER, HUB)
    pair.deliver(HUB, METER, Terminate(status, 40, 1, from_server=True))
    failure = pair.of(METER, Failed)[-1]

    assert (failure.status, failure.by_peer) == (status, True)
    hopeless = (
        TerminateStatus.UNKNOWN_ISSUER,
        TerminateStatus.UNSUPPORTED_SUITE,
        TerminateStatus.INVALID_CERTIFICATE,
    )
    assert failure.again_at == (None if status in hopeless else 40)
    assert pair.machines[METER].is_busy_with(HUB) == (status not in hopeless)


@pytest.mark.parametrize("status", [TerminateStatus.UNSUPPORTED_SUITE, TerminateStatus.INVALID_CERTIFICATE])
def test_where_one_suite_does_not_do_the_other_is_tried(status):
    def refuse(who, command):
        if who == METER and isinstance(command, Initiate) and command.suites == Suite.TWO:
            pair.deliver(HUB, METER, Terminate(status, 0, 1, from_server=True))
            return []
        return [command]

    pair = Pair(suites=BOTH, meddle=refuse)
    pair.initiate(METER, HUB)
    pair.run()

    assert [event.suite for event in pair.of(METER, Started)] == [Suite.TWO, Suite.ONE]
    assert pair.keys(METER) == pair.keys(HUB) != []


def test_a_hub_with_suite_1_alone_brings_a_meter_with_both_down_to_it():
    own = {HUB: [credentials(Suite.ONE, HUB)], METER: [credentials(suite, METER) for suite in BOTH]}
    pair = Pair(own=own)
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(METER) == [TerminateStatus.UNSUPPORTED_SUITE]
    assert pair.keys(METER) == pair.keys(HUB) != []


def test_a_second_exchange_with_the_same_peer_has_to_wait_for_the_first():
    pair = Pair()
    pair.initiate(METER, HUB)
    pair.run(until=1.5 * DELAY)
    busy = answer_of(pair, good_initiate())

    assert [(command.status, command.from_server) for command in busy] == [
        (TerminateStatus.NO_RESOURCES, True)
    ]
    assert busy[0].wait_time == 16  # what the meter announced, and the margin
    pair.run()
    assert pair.keys(METER) == pair.keys(HUB) != []


def test_a_peer_that_restarted_in_the_middle_comes_in_after_the_wait_that_it_is_told():
    pair = Pair()
    pair.initiate(METER, HUB)
    pair.run(until=3.5 * DELAY)
    pair.restart(METER)
    pair.initiate(METER, HUB)
    pair.run()

    assert pair.failures(METER) == [TerminateStatus.NO_RESOURCES]
    assert pair.keys(METER) == pair.keys(HUB) != []


def test_more_peers_than_resources_are_told_how_long_to_wait_and_all_get_their_key():
    meters = [Eui64(METER + at) for at in range(4)]
    own = {name: [credentials(Suite.ONE, name)] for name in (HUB, *meters)}
    pair = Pair(own=own, settings={HUB: Settings(at_once=2)})
    for meter in meters:
        pair.initiate(meter, HUB)
    pair.run()

    refused = [command for _, who, command in pair.sent if isinstance(command, Terminate)]
    assert {command.status for command in refused} == {TerminateStatus.NO_RESOURCES}
    assert len(refused) == 2
    assert all(1 <= command.wait_time <= 16 for command in refused)
    assert sorted(pair.keys(HUB)) == sorted(key for meter in meters for key in pair.keys(meter))
    assert len(set(pair.keys(HUB))) == 4


def test_an_initiator_without_room_begins_when_there_is_some():
    meters = [Eui64(METER + at) for at in range(3)]
    own = {name: [credentials(Suite.ONE, name)] for name in (HUB, *meters)}
    pair = Pair(own=own, settings={HUB: Settings(at_once=1)})
    for meter in meters:
        pair.initiate(HUB, meter)
    pair.run()

    assert len(set(pair.keys(HUB))) == 3
    assert pair.failures(HUB) == []


def test_two_that_begin_with_each_other_at_once_still_agree_in_the_end():
    pair = Pair()
    pair.initiate(METER, HUB)
    pair.initiate(HUB, METER)
    pair.run()

    assert pair.failures(METER)[:1] == pair.failures(HUB)[:1] == [TerminateStatus.NO_RESOURCES]
    assert pair.keys(METER) == pair.keys(HUB) != []
    assert not any(m.is_busy_with(name) for m in pair.machines.values() for name in (HUB, METER))


def test_a_peer_that_left_is_forgotten_in_silence():
    pair = Pair()
    pair.initiate(METER, HUB)
    pair.run(until=1.5 * DELAY)
    for name, peer in ((METER, HUB), (HUB, METER)):
        pair.machines[name].forget(peer)
        assert not pair.machines[name].is_busy_with(peer)
        assert pair.machines[name].timer() is None
        assert pair.machines[name].drain() == []


def test_who_has_no_certificate_establishes_nothing_and_says_so():
    bare = KeyEstablishment([], Settings(), random.Random(0))
    with pytest.raises(OurError, match="certificate"):
        bare.initiate(HUB, 0.0)
    bare.receive(HUB, good_initiate(who=HUB), 9, 0.0)
    sends = [item.command for item in bare.drain() if isinstance(item, Send)]
    assert sends == terminate(TerminateStatus.UNSUPPORTED_SUITE, suites=0)

    pair = Pair()
    with pytest.raises(OurError, match="certificate"):
        pair.initiate(METER, HUB, [Suite.TWO])
    pair.initiate(METER, HUB)
    with pytest.raises(OurError, match="already"):
        pair.initiate(METER, HUB)


def test_a_command_that_cannot_be_read_ends_its_exchange_with_bad_message():
    pair = Pair()
    hub = pair.machines[HUB]
    error = TheirError("a MAC has 16 octets, not 3")
    answer_of(pair, good_initiate())
    hub.receive_malformed(METER, 2, 5, error, 0.0, from_server=False)

    sends = [item for item in hub.drain() if isinstance(item, Send)]
    assert [item.command for item in sends] == terminate(TerminateStatus.BAD_MESSAGE)
    assert not hub.is_busy_with(METER)


@pytest.mark.parametrize(
    ("command_id", "status"), [(3, Status.MALFORMED_COMMAND), (9, Status.UNSUP_CLUSTER_COMMAND)]
)
def test_a_torn_terminate_or_an_unknown_command_changes_nothing(command_id, status):
    pair = Pair()
    hub = pair.machines[HUB]
    answer_of(pair, good_initiate())
    hub.receive_malformed(METER, command_id, 5, TheirError("torn", status), 0.0, from_server=False)

    assert [type(item) for item in hub.drain()] == [Ignored]
    assert hub.is_busy_with(METER)


def test_a_torn_response_outside_an_exchange_is_not_answered():
    hub = Pair().machines[HUB]
    hub.receive_malformed(METER, 0, 5, TheirError("torn"), 0.0, from_server=True)
    assert [type(item) for item in hub.drain()] == [Ignored]


@given(
    command_id=st.one_of(st.integers(0, 4), st.integers(0, 255)),
    from_server=st.booleans(),
    payload=st.binary(max_size=90),
)
def test_any_payload_is_a_command_that_gives_its_octets_back_or_is_refused(command_id, from_server, payload):
    shortest = {0: 4, 1: 0, 2: 16, 3: 4}
    longest = {2: 16}
    if command_id in shortest and shortest[command_id] <= len(payload) <= longest.get(command_id, 90):
        command = parse_command(command_id, from_server, payload)
        assert (command.from_server, type(command).COMMAND_ID) == (from_server, command_id)
        assert command.payload() == (payload[:4] if command_id == 3 else payload)
    else:
        status = Status.MALFORMED_COMMAND if command_id in shortest else Status.UNSUP_CLUSTER_COMMAND
        with pytest.raises(TheirError) as refusal:
            parse_command(command_id, from_server, payload)
        assert refusal.value.status is status


@given(data=st.data())
@settings(max_examples=60)
def test_no_storm_of_commands_upsets_the_machine(data):
    hub = Pair().machines[HUB]
    commands = st.one_of(
        st.builds(EphemeralData, st.binary(max_size=40), st.booleans()),
        st.builds(ConfirmKey, st.binary(min_size=16, max_size=16), st.booleans()),
        st.builds(
            Terminate,
            st.integers(0, 255).map(TerminateStatus),
            st.integers(0, 255),
            st.integers(0, 3),
            st.booleans(),
        ),
        st.builds(
            good_initiate,
            from_server=st.booleans(),
            suites=st.integers(0, 3),
            certificate=st.one_of(
                st.binary(max_size=80), st.just(credentials(Suite.ONE, METER).certificate.to_bytes())
            ),
        ),
    )
    for now, command in enumerate(data.draw(st.lists(commands, max_size=12))):
        hub.receive(METER, command, 1, float(now))
        due = hub.timer()
        assert due is None or due > now
    hub.tick(1000.0)

    assert hub.timer() is None
    assert not [item for item in hub.drain() if not isinstance(item, Send | Started | Failed | Ignored)]
