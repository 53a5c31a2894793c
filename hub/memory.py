"""What the hub must still know after a power cut, as one value.

It is written whole, in one atomic step, whenever something changed that the outside may have noticed: an
alert is queued in the same write that notes its cause, so neither can be lost without the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from hub.slot import Assignment, Held, SlotName
from hub.steady import SteadyMark
from hub.terms import Terms
from ota.eui64 import Eui64

REMEMBERED: Final = 512
"""How many alerts raised and requests ended are remembered, to recognise them when they repeat."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the arriving image is safe; ``prefix_sha256`` is over these octets."""

    received: int = 0
    prefix_sha256: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one slot: the image in it and its version, and how far it has arrived."""

    held: Held | None = None
    file_version: str | None = None
    arrival: Arrival | None = None


class QueuedAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that the broker has not acknowledged yet, as it will be sent."""

    id: str
    topic: str
    payload: bytes


class PendingActivation(msgspec.Struct, frozen=True, kw_only=True):
    """An 11.3 whose outcome has not come yet: the CS06 command in full, to be sent again after a restart."""

    request_id: str
    device: Eui64
    command: bytes
    is_sent: bool = False


class KnownDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that was admitted to this HAN. Its install code is not kept: the dongle has its key."""

    eui64: Eui64
    device_type: str
    nwk: int | None = None
    endpoint: int | None = None
    state: Literal["admitted", "joined", "left"] = "admitted"
    file_version: int | None = None
    establishes_keys: bool = True
    is_secured: bool = False
    trouble: str = ""
    """Why it does not get in, or gets no link key; empty once it does."""
    terms: Terms = Terms()
    """What the user has said on a running hub; it wins over the configuration file."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the octets of the images."""

    hub: Eui64 | None = None
    slots: Mapping[SlotName, Kept] = msgspec.field(default_factory=dict)
    """An empty slot may be left out: see ``slot``."""
    alerts: tuple[QueuedAlert, ...] = ()
    raised: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    activations: tuple[PendingActivation, ...] = ()
    devices: tuple[KnownDevice, ...] = ()
    removed: tuple[Eui64, ...] = ()
    steady: SteadyMark = SteadyMark()
    originator_counter: int = 0
    """Of the GBCS message that the hub sent last: each further one has a greater."""

    def slot(self, name: SlotName) -> Kept:
        """What is kept of this slot."""
        return self.slots.get(name, _EMPTY)

    def with_slot(self, name: SlotName, kept: Kept) -> Memory:
        """The same memory with another content of this slot."""
        return msgspec.structs.replace(self, slots={**self.slots, name: kept})

    def holding(self) -> Iterator[tuple[Kept, Held]]:
        """What is kept of those slots that have an image."""
        for kept in self.slots.values():
            if kept.held is not None:
                yield kept, kept.held

    def ending(self, concluded: Iterable[Assignment]) -> Memory:
        """The same memory that remembers as ended those of these requests for which no target waits now."""
        waiting = {each.request_id for _, held in self.holding() for each in held.unfinished}
        ended = self.ended
        for each in concluded:
            if each.request_id not in waiting:
                ended = remember(ended, each.request_id)
        return msgspec.structs.replace(self, ended=ended)


_EMPTY: Final = Kept()


class _OneSlot(msgspec.Struct, frozen=True, kw_only=True):
    """How a hub with the shared slot alone wrote what it held: beside everything else."""

    held: Held | None = None
    file_version: str | None = None
    arrival: Arrival | None = None


def remember(known: tuple[str, ...], new: str) -> tuple[str, ...]:
    """Add to what is remembered; the oldest goes when there are too many."""
    return (*known, new)[-REMEMBERED:] if new not in known else known


def _out(value: object) -> object:
    if isinstance(value, Eui64):
        return value.hex
    raise NotImplementedError


def _in(kind: type[Any], value: object) -> object:
    if kind is Eui64 and isinstance(value, str):
        return Eui64.parse(value)
    raise NotImplementedError


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_out)
_DECODER: Final[Callable[[bytes], Memory]] = msgspec.json.Decoder(Memory, dec_hook=_in).decode
_OLD_DECODER: Final[Callable[[bytes], _OneSlot]] = msgspec.json.Decoder(_OneSlot, dec_hook=_in).decode


def to_bytes(memory: Memory) -> bytes:
    """The memory as JSON."""
    return _ENCODER.encode(memory)


def from_bytes(data: bytes) -> Memory:
    """Read what ``to_bytes`` wrote, today's or that of a hub with one slot.

    Raises:
        msgspec.ValidationError: if the JSON is not a memory.
        msgspec.DecodeError: if it is not JSON.
    """
    memory, old = _DECODER(data), _OLD_DECODER(data)
    if old.held is None:
        return memory
    kept = Kept(held=old.held, file_version=old.file_version, arrival=old.arrival)
    return memory.with_slot(SlotName.SHARED, kept)
