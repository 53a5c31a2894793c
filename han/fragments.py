"""APS fragmentation: a long message leaves in blocks and is put together again (Zigbee 2.2.8.4.5). Pure.

`Outgoing` is the sender's half: which block leaves when, and what is repeated. `Reassembly` is the
receiver's: what is kept, what is acknowledged, and what is a message. Simulated devices and the hub use the
same two halves, so a mistake of ours would fit itself: in the tests Wireshark reassembles the captures.

The blocks of a message share its APS counter. The first one tells how many there are. Blocks go out in
windows; one acknowledgement names a window by its first block and has a bit for each of up to eight blocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

EXTENDED_HEADER: Final = 2
"""Octets that a block's own header takes from it."""
MOST_BLOCKS: Final = 255
ACK_BITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentSettings:
    """How long messages travel. Times in seconds, sizes in octets."""

    window: int = 1
    """Blocks under way without an acknowledgement, at most 8. Smart Energy agrees on 1 (apscMaxWindowSize),
    and dongles come with 1."""
    interframe_delay: float = 0.05
    """The least time between two blocks (apsInterframeDelay); 50 ms in Smart Energy."""
    ack_wait: float = 1.6
    """How long an acknowledgement is waited for (apscAckWaitDuration)."""
    retries: int = 3
    """How often a block is repeated before the message is given up (apscMaxFrameRetries)."""
    longest: int = 1600
    """The longest message sent or taken: a tunnel's 1500 and the frames around them."""
    at_once: int = 8
    """Messages kept that are incomplete, or complete and perhaps repeated: 13 kB of memory at most."""
    per_sender: int = 2
    """Those of one sender among them, protected ones and others each. A third one takes the place of the
    oldest."""
    patience: float = 15.0
    """How long half a message is kept without another block. A sender's four attempts take 6.4 s, and a host
    may ask its dongle for them twice."""
    route_reserve: int = 10
    """Octets left free in each block for a source route of four relays. Under APS security 61 octets remain,
    the size of a GBCS fragment."""
    host_retries: int = 1
    """How often a host asks its dongle again for a block that the dongle has repeated in vain."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= ACK_BITS:
            raise ValueError(f"a window has 1 to {ACK_BITS} blocks, not {self.window}")

    def block_size(self, largest_payload: int, route: int = 0) -> int:
        """The octets of a message in each of its blocks, where one frame has room for so many.

        ``route`` is what the way to the receiver is known to take of them.
        """
        return largest_payload - EXTENDED_HEADER - max(route, self.route_reserve)


@dataclass(frozen=True, slots=True)
class Block:
    """Which block of its message a fragment is; ``count`` is told by the first one only."""

    index: int
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send this block now, for the ``attempt``-th time, and tell `Outgoing.left` when it has gone."""

    index: int
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """Every block was acknowledged, or one never was."""

    delivered: bool


class Outgoing:
    """A long message on its way.

    Raises:
        ValueError: if blocks of this size would be none, or more than an octet can count.
    """

    def __init__(self, message: bytes, block_size: int, settings: FragmentSettings, now: float) -> None:
        self._blocks = [message[at : at + block_size] for at in range(0, len(message), block_size)]
        if not 1 <= len(self._blocks) <= MOST_BLOCKS:
            raise ValueError(
                f"{len(message)} octets in blocks of {block_size}: 1 to {MOST_BLOCKS} blocks can be sent"
            )
        self._settings = settings
        self._next_window = 0
        self._attempts: dict[int, int] = {}
        self._ready: deque[int] = deque()
        self._free_at = now
        self._deadline: float | None = None
        self._out: list[Transmit | Ended] = []
        self._over = False
        self._open_window()
        self.tick(now)

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self._blocks)

    def octets(self, index: int) -> bytes:
        """A block's part of the message."""
        return self._blocks[index]

    def name(self, index: int) -> Block:
        """What a block's header says of it."""
        return Block(index, None if index else self.count)

    def left(self, index: int, now: float, asleep: float = 0.0) -> None:
        """The block has gone: pause, and wait for its acknowledgement, from now on.

        ``asleep`` is how much longer that may take because its receiver sleeps.
        """
        self._free_at = max(self._free_at, now + self._settings.interframe_delay)
        if index in self._attempts:
            self._deadline = now + self._settings.ack_wait + asleep

    def acknowledged(self, first: int, bits: int, now: float) -> None:
        """An acknowledgement came: bit n says whether block ``first + n`` has arrived.

        Blocks outside the window have their bits set; whatever it says of blocks not sent yet means nothing.
        """
        for index in range(first, first + ACK_BITS):
            if not self._attempts.get(index):
                continue
            if bits >> (index - first) & 1:
                self._arrived(index)
            else:
                self._repeat(index)
        self.tick(now)

    def arrived(self, index: int, now: float) -> None:
        """Somebody who counts for us says that this block was acknowledged."""
        if self._attempts.get(index):
            self._arrived(index)
        self.tick(now)

    def missed(self, index: int, now: float) -> None:
        """Somebody who waits for us says that this block was not acknowledged."""
        if self._attempts.get(index):
            self._repeat(index)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            for index in [index for index, attempts in self._attempts.items() if attempts]:
                self._repeat(index)
        if self._ready and now >= self._free_at and not self._over:
            index = self._ready.popleft()
            self._attempts[index] += 1
            self._free_at = now + self._settings.interframe_delay
            self._out.append(Transmit(index, self._attempts[index]))

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        due = [self._free_at] if self._ready else []
        if self._deadline is not None:
            due.append(self._deadline)
        return None if self._over else min(due, default=None)

    def drain(self) -> list[Transmit | Ended]:
        """What came of it since the last call, in order."""
        out, self._out = self._out, []
        return out

    def _open_window(self) -> None:
        window = range(self._next_window, min(self._next_window + self._settings.window, self.count))
        self._next_window = window.stop
        self._attempts = dict.fromkeys(window, 0)
        self._ready.extend(window)
        self._deadline = None

    def _arrived(self, index: int) -> None:
        del self._attempts[index]
        if index in self._ready:  # it was about to be repeated
            self._ready.remove(index)
        if self._attempts:
            return
        if self._next_window < self.count:
            self._open_window()
        else:
            self._end(delivered=True)

    def _repeat(self, index: int) -> None:
        if index in self._ready:
            return
        if self._attempts[index] > self._settings.retries:
            self._end(delivered=False)
        else:
            self._ready.append(index)

    def _end(self, *, delivered: bool) -> None:
        if not self._over:
            self._over = True
            self._out.append(Ended(delivered))


class Origin(NamedTuple):
    """What the blocks of one message have in common. Blocks with and without APS security never mix."""

    sender: int
    counter: int
    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    aps_secured: bool


def _same_sender(one: Origin, other: Origin) -> bool:
    return (one.sender, one.aps_secured) == (other.sender, other.aps_secured)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Acknowledge these blocks: bit n for block ``first + n``."""

    origin: Origin
    first: int
    bits: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A message is complete."""

    origin: Origin
    message: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """A block, or what there was of a message, was dropped."""

    origin: Origin
    why: str


@dataclass(slots=True)
class _Half:
    """What has arrived of a message."""

    count: int
    until: float
    blocks: dict[int, bytes] = field(default_factory=dict)
    size: int = 0

    @property
    def is_complete(self) -> bool:
        return len(self.blocks) == self.count


class Reassembly:
    """Puts the messages of all senders together.

    A complete message is remembered for a while: when its last acknowledgement got lost, its last blocks come
    again, are acknowledged again, and make no second message.
    """

    def __init__(self, settings: FragmentSettings) -> None:
        self._settings = settings
        self._halves: dict[Origin, _Half] = {}
        self._out: list[Acknowledge | Whole | Dropped] = []

    def __len__(self) -> int:
        return len(self._halves)

    def receive(self, origin: Origin, block: Block, octets: bytes, now: float) -> None:
        """A block arrived. What is dropped is not acknowledged, so its sender learns that it failed."""
        self.tick(now)
        half = self._halves.get(origin)
        if block.index == 0 and (half is None or half.count != block.count or half.blocks[0] != octets):
            half = self._begin(origin, block.count or 0, octets, now)
        if half is None:
            if block.index:
                self._drop(origin, "a fragment of a message whose beginning was not heard")
            return
        why = self._refusal(half, block.index, octets)
        if why is not None:
            self._drop(origin, why)
            return
        repeated = block.index in half.blocks
        if not repeated:
            half.blocks[block.index] = octets
            half.size += len(octets)
            half.until = now + self._settings.patience
            if half.size > self._settings.longest:
                del self._halves[origin]
                self._drop(origin, f"a message longer than {self._settings.longest} octets")
                return
        self._acknowledge(origin, half, block.index, repeated=repeated)
        if half.is_complete and not repeated:
            self._out.append(Whole(origin, b"".join(half.blocks[index] for index in range(half.count))))

    def tick(self, now: float) -> None:
        """Give up what has waited for too long."""
        for origin in [origin for origin, half in self._halves.items() if half.until <= now]:
            half = self._halves.pop(origin)
            if not half.is_complete:
                missing = half.count - len(half.blocks)
                self._drop(origin, f"half a message: {missing} of its {half.count} fragments never came")

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return min((half.until for half in self._halves.values()), default=None)

    def drain(self) -> list[Acknowledge | Whole | Dropped]:
        """What came of it since the last call, in order."""
        out, self._out = self._out, []
        return out

    def forget(self) -> None:
        """Forget every message, without a word."""
        self._halves.clear()
        self._out.clear()

    def _begin(self, origin: Origin, count: int, octets: bytes, now: float) -> _Half | None:
        if not count or not octets:
            self._drop(origin, "a first fragment of nothing")
            return None
        other = self._halves.pop(origin, None)  # the counter has come round, or the sender was restarted
        if other is not None and not other.is_complete:
            self._drop(origin, "half a message: another has begun under its counter")
        if not self._has_room_for(origin):
            self._drop(origin, f"no room: {len(self._halves)} messages are half received")
            return None
        half = self._halves[origin] = _Half(count, now + self._settings.patience)
        return half

    def _has_room_for(self, new: Origin) -> bool:
        """Whether there is room, if need be at the cost of another.

        A message that is complete goes first: all it would do is acknowledge a repetition. Short addresses
        can be claimed by anybody who has the network key; what is under a link key yields to nothing else.
        """
        theirs = [each for each in self._halves if _same_sender(each, new)]
        if len(theirs) >= self._settings.per_sender:
            return self._yield(theirs, theirs)
        if len(self._halves) >= self._settings.at_once:
            weaker = [each for each in self._halves if new.aps_secured and not each.aps_secured]
            return self._yield(
                [each for each in self._halves if new.aps_secured or not each.aps_secured], weaker
            )
        return True

    def _yield(self, if_complete: list[Origin], otherwise: list[Origin]) -> bool:
        """Forget the oldest of some that is complete, else simply the oldest of others."""
        for origin in (*(each for each in if_complete if self._halves[each].is_complete), *otherwise):
            if not self._halves.pop(origin).is_complete:
                self._drop(origin, "half a message: others have taken its place")
            return True
        return False

    def _refusal(self, half: _Half, index: int, octets: bytes) -> str | None:
        if index >= half.count:
            return f"fragment {index} of a message of {half.count}"
        if not octets:
            return "an empty fragment"
        if half.blocks.get(index, octets) != octets:
            return f"fragment {index} came before, with other contents"
        return None

    def _acknowledge(self, origin: Origin, half: _Half, index: int, *, repeated: bool) -> None:
        first = index - index % self._settings.window
        window = range(first, min(first + self._settings.window, half.count))
        missing = [each for each in window if each not in half.blocks]
        if repeated or not missing or index == window[-1]:
            bits = 0xFF & ~sum(1 << (each - first) for each in missing)
            self._out.append(Acknowledge(origin, first, bits))

    def _drop(self, origin: Origin, why: str) -> None:
        self._out.append(Dropped(origin, why))
