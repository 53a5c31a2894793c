"""Both halves of fragmentation as machines, and between them a path that may do anything."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.fragments import (
    Acknowledge,
    Block,
    Dropped,
    Ended,
    FragmentSettings,
    Origin,
    Outgoing,
    Reassembly,
    Transmit,
    Whole,
)

SETTINGS = FragmentSettings()
MESSAGE = bytes(range(256)) * 5
ORIGIN = Origin(0x1234, 7, 0x0109, 0x0704, 1, 1, aps_secured=False)
TICK = 0.05


def blocks(message: bytes = MESSAGE, size: int = 61) -> list[tuple[Block, bytes]]:
    """A message in blocks, ready to arrive."""
    cut = [message[at : at + size] for at in range(0, len(message), size)]
    return [(Block(index, None if index else len(cut)), octets) for index, octets in enumerate(cut)]


class Receiver:
    """The receiver's half, and all that it said."""

    def __init__(self, settings: FragmentSettings = SETTINGS) -> None:
        self.machine = Reassembly(settings)
        self.whole: list[bytes] = []
        self.acks: list[tuple[int, int]] = []
        self.why: list[str] = []

    def hear(self, block: Block, octets: bytes, now: float = 0.0, origin: Origin = ORIGIN) -> None:
        self.machine.receive(origin, block, octets, now)
        self.settle()

    def settle(self) -> None:
        for item in self.machine.drain():
            match item:
                case Acknowledge(first=first, bits=bits):
                    self.acks.append((first, bits))
                case Whole(message=message):
                    self.whole.append(message)
                case Dropped(why=why):
                    self.why.append(why)


class Sender:
    """The sender's half: what it put on the air, and when."""

    def __init__(self, settings: FragmentSettings = SETTINGS, message: bytes = MESSAGE) -> None:
        self.now = 0.0
        self.machine = Outgoing(message, 61, settings, self.now)
        self.sent: list[tuple[float, int]] = []
        self.ended: bool | None = None
        self.settle()

    def settle(self) -> list[int]:
        fresh = []
        for item in self.machine.drain():
            match item:
                case Transmit(index=index):
                    self.sent.append((self.now, index))
                    self.machine.left(index, self.now)
                    fresh.append(index)
                case Ended(delivered=delivered):
                    self.ended = delivered
        return fresh

    def ack(self, first: int, bits: int) -> list[int]:
        self.machine.acknowledged(first, bits, self.now)
        return self.settle()

    def wait(self) -> list[int]:
        """Until the machine wants to go on."""
        due = self.machine.timer()
        assert due is not None
        assert due >= self.now
        self.now = due
        self.machine.tick(self.now)
        return self.settle()


def carried(settings: FragmentSettings, loss: float, seed: int) -> tuple[Sender, Receiver]:
    """A message over a path that loses frames, in both directions."""
    dice = random.Random(seed)
    sender, receiver = Sender(settings), Receiver(settings)
    fresh = [index for _, index in sender.sent]
    while sender.ended is None:
        acks = len(receiver.acks)
        for index in fresh:
            if dice.random() >= loss:
                receiver.hear(sender.machine.name(index), sender.machine.octets(index), sender.now)
        fresh = []
        for first, bits in receiver.acks[acks:]:
            if dice.random() >= loss:
                fresh += sender.ack(first, bits)
        if not fresh and sender.ended is None:
            fresh = sender.wait()
    return sender, receiver


# Sending


def test_blocks_leave_one_by_one_each_after_the_acknowledgement_of_the_one_before():
    sender = Sender()

    assert sender.sent == [(0.0, 0)]
    assert sender.ack(0, 0xFF) == []
    assert sender.wait() == [1]
    assert sender.now == TICK


def test_the_first_block_tells_how_many_there_are_and_the_others_which_they_are():
    sender = Sender()

    assert sender.machine.name(0) == Block(0, 21)
    assert sender.machine.name(20) == Block(20)
    assert b"".join(sender.machine.octets(index) for index in range(21)) == MESSAGE


def test_a_window_is_sent_with_pauses_and_only_what_is_missing_is_repeated_as_in_the_certification_test():
    sender = Sender(FragmentSettings(window=3, interframe_delay=0.1))
    assert [*[index for _, index in sender.sent], *sender.wait(), *sender.wait()] == [0, 1, 2]
    assert sender.now == pytest.approx(0.2)

    sender.ack(0, 0xFD)  # block 1 is missing

    assert sender.wait() == [1]
    sender.ack(0, 0xFF)
    assert [*sender.wait(), *sender.wait(), *sender.wait()] == [3, 4, 5]


def test_blocks_that_were_not_sent_yet_are_not_taken_for_acknowledged():
    sender = Sender(FragmentSettings(window=3))

    sender.ack(0, 0xFF)  # of block 0 only, by a host that knows no windows

    assert [sender.wait(), sender.wait()] == [[1], [2]]


def test_windows_go_on_behind_the_last_block_whatever_the_order_of_the_acknowledgements():
    sender = Sender(FragmentSettings(window=3))
    sender.wait()
    sender.wait()

    for first, bits in ((0, 0b11111100), (0, 0b11111110), (0, 0xFF)):
        sender.machine.acknowledged(first, bits, sender.now)
    sender.now += 1.0
    sender.machine.tick(sender.now)

    assert sender.settle() == [3]


def test_what_is_not_acknowledged_is_repeated_three_times_and_then_the_message_is_given_up():
    sender = Sender()
    while sender.ended is None:
        sender.wait()

    assert [index for _, index in sender.sent] == [0, 0, 0, 0]
    assert [at for at, _ in sender.sent] == pytest.approx([0.0, 1.6, 3.2, 4.8])
    assert sender.now == pytest.approx(6.4)
    assert sender.ended is False
    assert sender.machine.timer() is None


def test_a_block_says_which_attempt_it_is():
    machine = Outgoing(MESSAGE, 61, SETTINGS, 0.0)
    machine.left(0, 0.0)
    machine.tick(1.6)

    assert machine.drain() == [Transmit(0, 1), Transmit(0, 2)]


def test_what_the_way_takes_comes_off_each_block_where_it_is_more_than_is_kept_free():
    assert [SETTINGS.block_size(73, route) for route in (0, 8, 10, 14)] == [61, 61, 61, 57]


def test_an_acknowledgement_that_comes_late_saves_the_repetition():
    sender = Sender()
    sender.wait()  # repeated after 1.6 s

    sender.ack(0, 0xFF)
    sender.ack(0, 0xFF)  # and that of the repetition

    assert sender.wait() == [1]


def test_the_waiting_begins_when_the_block_has_left():
    machine = Outgoing(MESSAGE, 61, SETTINGS, 0.0)
    machine.drain()
    machine.tick(100.0)
    assert machine.timer() is None

    machine.left(0, 100.0)

    assert machine.timer() == pytest.approx(101.6)


def test_somebody_elses_waiting_counts_as_ours():
    sender = Sender(FragmentSettings(retries=1))
    sender.machine = Outgoing(MESSAGE, 61, FragmentSettings(retries=1), 0.0)
    assert sender.settle() == [0]
    sender.machine.missed(0, sender.now)
    assert sender.wait() == [0]
    sender.machine.arrived(0, sender.now)
    sender.wait()

    for _ in range(2):
        sender.now += 1.0
        sender.machine.missed(1, sender.now)
        sender.settle()

    assert sender.ended is False


def test_an_acknowledgement_of_a_message_that_is_over_changes_nothing():
    sender = Sender()
    while sender.ended is None:
        sender.wait()
    sent = list(sender.sent)

    sender.ack(0, 0xFF)
    sender.machine.tick(1000.0)
    sender.settle()

    assert (sender.sent, sender.ended) == (sent, False)


@pytest.mark.parametrize("message", [b"", bytes(256 * 61)])
def test_what_an_octet_cannot_count_is_refused(message):
    with pytest.raises(ValueError, match="255"):
        Outgoing(message, 61, SETTINGS, 0.0)


# Receiving


def test_a_message_is_put_together_in_whatever_order_its_blocks_come_behind_the_first():
    receiver = Receiver(FragmentSettings(window=8))
    first, *others = blocks()
    random.Random(7).shuffle(others)

    for block, octets in (first, *others):
        receiver.hear(block, octets)

    assert receiver.whole == [MESSAGE]
    assert receiver.why == []


def test_each_block_is_acknowledged_with_the_bits_of_those_that_are_not_there_set():
    receiver = Receiver()
    for block, octets in blocks():
        receiver.hear(block, octets)

    assert receiver.acks == [(index, 0xFF) for index in range(21)]


def test_a_window_is_acknowledged_when_it_is_complete_or_its_last_block_is_there():
    receiver = Receiver(FragmentSettings(window=3))
    parts = blocks()

    for index in (0, 2, 1):
        receiver.hear(*parts[index])

    assert receiver.acks == [(0, 0b11111101), (0, 0xFF)]


def test_a_repeated_block_is_acknowledged_again_and_makes_no_second_message():
    receiver = Receiver()
    for block, octets in blocks():
        receiver.hear(block, octets)
        receiver.hear(block, octets)

    assert receiver.whole == [MESSAGE]
    assert len(receiver.acks) == 42


def test_a_message_whose_last_acknowledgement_was_lost_is_one_message():
    receiver = Receiver()
    for block, octets in blocks():
        receiver.hear(block, octets)
    receiver.hear(*blocks()[-1], now=6.0)

    assert receiver.whole == [MESSAGE]
    assert receiver.acks[-1] == (20, 0xFF)


def test_a_block_whose_first_was_never_heard_is_not_acknowledged():
    receiver = Receiver()

    receiver.hear(*blocks()[1])

    assert receiver.acks == []
    assert receiver.why == ["a fragment of a message whose beginning was not heard"]


@pytest.mark.parametrize("index", [21, 255])
def test_an_index_beyond_the_count_is_refused_and_the_message_still_comes_through(index):
    receiver = Receiver()
    parts = blocks()
    receiver.hear(*parts[0])

    receiver.hear(Block(index), b"beyond")
    for part in parts[1:]:
        receiver.hear(*part)

    assert receiver.why == [f"fragment {index} of a message of 21"]
    assert receiver.whole == [MESSAGE]
    assert (index, 0xFF) not in receiver.acks


def test_a_block_with_other_contents_than_before_is_refused_and_the_first_ones_count():
    receiver = Receiver()
    parts = blocks()
    for part in parts[:5]:
        receiver.hear(*part)

    receiver.hear(parts[3][0], b"other")
    for part in parts[5:]:
        receiver.hear(*part)

    assert receiver.why == ["fragment 3 came before, with other contents"]
    assert receiver.whole == [MESSAGE]


@pytest.mark.parametrize("count", [0, None])
def test_a_first_block_that_counts_none_is_refused(count):
    receiver = Receiver()

    receiver.hear(Block(0, count), b"x")

    assert receiver.why == ["a first fragment of nothing"]
    assert len(receiver.machine) == 0


def test_empty_blocks_are_refused():
    receiver = Receiver()
    receiver.hear(Block(0, 3), b"")
    receiver.hear(*blocks()[0])
    receiver.hear(Block(1), b"")

    assert receiver.why == ["a first fragment of nothing", "an empty fragment"]
    assert receiver.acks == [(0, 0xFF)]


def test_another_first_block_under_the_same_counter_is_another_message():
    receiver = Receiver()
    for part in blocks()[:5]:
        receiver.hear(*part)
    other = bytes(reversed(MESSAGE))

    for part in blocks(other):
        receiver.hear(*part)

    assert receiver.whole == [other]
    assert receiver.why == ["half a message: another has begun under its counter"]


def test_another_count_for_the_same_first_block_is_another_message():
    receiver = Receiver()
    receiver.hear(Block(0, 3), b"begin")
    receiver.hear(Block(0, 2), b"begin")
    receiver.hear(Block(1), b"end")

    assert receiver.whole == [b"beginend"]


def test_blocks_with_and_without_aps_security_never_make_one_message():
    receiver = Receiver()
    secured = ORIGIN._replace(aps_secured=True)
    parts = blocks()
    for part in parts[:-1]:
        receiver.hear(*part, origin=secured)

    receiver.hear(*parts[-1])  # by somebody who has the network key and not the link key

    assert receiver.whole == []
    receiver.hear(*parts[-1], origin=secured)
    assert receiver.whole == [MESSAGE]


@pytest.mark.parametrize(
    "other",
    [
        {"sender": 0x4321},
        {"counter": 8},
        {"cluster": 0x0019},
        {"profile": 0x0104},
        {"source_endpoint": 2},
        {"destination_endpoint": 2},
    ],
    ids=str,
)
def test_blocks_of_two_messages_at_once_are_told_apart(other):
    receiver = Receiver()
    second = ORIGIN._replace(**other)
    backwards = bytes(reversed(MESSAGE))

    for mine, theirs in zip(blocks(), blocks(backwards), strict=True):
        receiver.hear(*mine)
        receiver.hear(*theirs, origin=second)

    assert receiver.whole == [MESSAGE, backwards]


def test_half_a_message_is_given_up_when_nothing_more_comes():
    receiver = Receiver()
    for number, part in enumerate(blocks()[:20]):
        receiver.hear(*part, now=10.0 * number)
    assert receiver.machine.timer() == pytest.approx(190.0 + SETTINGS.patience)

    receiver.machine.tick(190.0 + SETTINGS.patience)
    receiver.settle()
    receiver.hear(*blocks()[20], now=210.0)

    assert receiver.whole == []
    assert receiver.why == [
        "half a message: 1 of its 21 fragments never came",
        "a fragment of a message whose beginning was not heard",
    ]


def test_a_message_longer_than_may_be_is_dropped_as_soon_as_it_is():
    receiver = Receiver(FragmentSettings(longest=200))
    for part in blocks():
        receiver.hear(*part)

    assert receiver.acks == [(0, 0xFF), (1, 0xFF), (2, 0xFF)]
    assert receiver.why[0] == "a message longer than 200 octets"
    assert len(receiver.machine) == 0


def test_a_flood_of_first_blocks_of_one_sender_costs_nothing_and_shuts_nobody_out():
    receiver = Receiver()
    victim = ORIGIN._replace(sender=0x4321)
    parts = blocks()
    for number, part in enumerate(parts):
        for flood in range(256):
            receiver.hear(Block(0, 255), bytes(80), now=0.1 * number, origin=ORIGIN._replace(counter=flood))
        receiver.hear(*part, now=0.1 * number, origin=victim)

    assert receiver.whole == [MESSAGE]
    assert len(receiver.machine) == SETTINGS.per_sender + 1


def test_a_flood_of_many_senders_leaves_whole_those_who_were_there_before_and_ends_with_their_patience():
    receiver = Receiver()
    parts = blocks()
    receiver.hear(*parts[0])
    for sender in range(1000):
        receiver.hear(Block(0, 255), bytes(80), origin=ORIGIN._replace(sender=sender))
    for part in parts[1:]:
        receiver.hear(*part)

    assert receiver.whole == [MESSAGE]
    assert len(receiver.machine) == SETTINGS.at_once
    receiver.hear(*parts[0], now=16.0, origin=ORIGIN._replace(sender=2000))
    assert receiver.acks[-1] == (0, 0xFF)
    assert len(receiver.machine) == 1


def test_whoever_claims_the_address_of_another_without_its_link_key_takes_no_room_from_it():
    receiver = Receiver()
    secured = ORIGIN._replace(aps_secured=True)
    for number, part in enumerate(blocks()):
        receiver.hear(*part, now=0.1 * number, origin=secured)
        for flood in range(20):
            receiver.hear(Block(0, 255), bytes(80), now=0.1 * number, origin=ORIGIN._replace(counter=flood))

    assert receiver.whole == [MESSAGE]


def test_a_protected_message_finds_room_among_those_that_are_not():
    receiver = Receiver()
    for sender in range(1000):
        receiver.hear(Block(0, 255), bytes(80), origin=ORIGIN._replace(sender=sender))
    protected = [ORIGIN._replace(sender=sender, aps_secured=True) for sender in range(SETTINGS.at_once)]

    for origin in protected:
        receiver.hear(*blocks()[0], origin=origin)
    receiver.hear(*blocks()[0], origin=ORIGIN._replace(sender=2000))
    for part in blocks()[1:]:
        for origin in protected:
            receiver.hear(*part, origin=origin)

    assert receiver.whole == [MESSAGE] * SETTINGS.at_once


@pytest.mark.parametrize("window", [0, 9])
def test_a_window_that_an_acknowledgement_cannot_describe_is_our_mistake(window):
    with pytest.raises(ValueError, match="1 to 8"):
        FragmentSettings(window=window)


def test_messages_that_are_complete_make_room_for_new_ones():
    receiver = Receiver()
    for sender in range(100):
        for part in blocks():
            receiver.hear(*part, origin=ORIGIN._replace(sender=sender))

    assert receiver.whole == [MESSAGE] * 100
    assert receiver.why == []
    assert len(receiver.machine) == SETTINGS.at_once


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 5),
            st.none() | st.integers(0, 5),
            st.binary(max_size=40),
            st.floats(0, 20),
        ),
        max_size=60,
    )
)
def test_whatever_arrives_only_whole_messages_come_out_and_memory_stays_small(arrivals):
    settings = FragmentSettings(longest=100, at_once=3)
    receiver = Receiver(settings)
    now = 0.0
    for sender, index, count, octets, pause in arrivals:
        now += pause
        receiver.hear(Block(index, count), octets, now, ORIGIN._replace(sender=sender))
        assert len(receiver.machine) <= settings.at_once
        assert all(len(message) <= settings.longest for message in receiver.whole)
    receiver.machine.tick(now + settings.patience)
    assert len(receiver.machine) == 0
    assert receiver.machine.timer() is None


# Both


@pytest.mark.parametrize("window", [1, 3, 8])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
def test_with_enough_patience_a_message_comes_through_once_and_its_sender_knows(window, loss):
    settings = FragmentSettings(window=window, retries=12)
    for seed in range(40):
        sender, receiver = carried(settings, loss, seed)
        assert sender.ended is True
        assert receiver.whole == [MESSAGE]


def test_on_a_hopeless_path_nothing_is_claimed_to_have_arrived_that_did_not():
    fates = set()
    for seed in range(200):
        sender, receiver = carried(SETTINGS, 0.35, seed)
        fates.add(sender.ended)
        if sender.ended:
            assert receiver.whole == [MESSAGE]
        assert receiver.whole in ([], [MESSAGE])

    assert fates == {True, False}


def test_an_acknowledgement_for_each_block_alone_as_bellows_gives_it_suits_a_window_of_one():
    sender = Sender()
    while sender.ended is None:
        sender.ack(sender.sent[-1][1], 0xFF)
        if sender.ended is None:
            sender.wait()

    assert [index for _, index in sender.sent] == list(range(21))
