"""What the hub must still know after a power cut, as one value.

It is written whole, in one atomic step, whenever something changed that the outside may have noticed: an
alert is queued in the same write that notes its cause, so neither can be lost without the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from hub.slot import Held
from hub.steady import SteadyMark
from hub.terms import Terms
from ota.eui64 import Eui64

REMEMBERED: Final = 512
"""How many alerts raised and requests ended are remembered, to recognise them when they repeat."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the arriving image is safe; ``prefix_sha256`` is over these octets."""

    received: int = 0
    prefix_sha256: str = ""


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
    """Everything but the octets of the image."""

    hub: Eui64 | None = None
    held: Held | None = None
    file_version: str | None = None
    arrival: Arrival | None = None
    alerts: tuple[QueuedAlert, ...] = ()
    raised: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    activations: tuple[PendingActivation, ...] = ()
    devices: tuple[KnownDevice, ...] = ()
    removed: tuple[Eui64, ...] = ()
    steady: SteadyMark = SteadyMark()
    originator_counter: int = 0
    """Of the GBCS message that the hub sent last: each further one has a greater."""


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


def to_bytes(memory: Memory) -> bytes:
    """The memory as JSON."""
    return _ENCODER.encode(memory)


def from_bytes(data: bytes) -> Memory:
    """Read what ``to_bytes`` wrote.

    Raises:
        msgspec.ValidationError: if the JSON is not a memory.
        msgspec.DecodeError: if it is not JSON.
    """
    return _DECODER(data)
