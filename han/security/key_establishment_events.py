"""What comes out of the key establishment machine, and what may be set about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from han.security.certificate import Certificate
from han.security.key_establishment_commands import Command, TerminateStatus
from han.security.suite import Suite
from ota.eui64 import Eui64


class Role(enum.Enum):
    """Which side of an exchange somebody is."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. Those that are announced go up to 254."""

    ephemeral_time: int = 11
    """How long the peer is told that our ephemeral key takes. 11 and 16 are what a deployed hub announces."""
    confirm_time: int = 16
    """How long the peer is told that our key confirmation takes."""
    initiate_wait: float = 10.0
    """How long an initiator waits for the first answer; at least 2."""
    margin: float = 5.0
    """What transmission may take on top of the time that the peer announced; at least 2."""
    at_once: int = 4
    """Exchanges under way at a time, with all peers together; a further peer is told NO_RESOURCES."""
    tries: int = 5
    """How often an initiator starts anew before it gives up."""
    back_off: float = 5.0
    """The pause before the second try; it doubles with each further one."""
    jitter: float = 0.5
    """By which share at most a pause is lengthened, so that two that began at once do not meet again."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command to the peer, under network security alone.

    ``sequence`` is that of the request for a response, and None for a request: whoever sends it picks one.
    """

    peer: Eui64
    command: Command
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Started:
    """An exchange is under way."""

    peer: Eui64
    role: Role
    suite: Suite


@dataclass(frozen=True, slots=True)
class Established:
    """Both sides proved that they have this link key, and the peer that it is whom its certificate names.

    A responder learns this one message before the initiator: its answer has still to arrive.
    """

    peer: Eui64
    role: Role
    certificate: Certificate
    link_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """An exchange ended without a key. ``status`` is None if the peer just fell silent, and so did we."""

    peer: Eui64
    role: Role
    status: TerminateStatus | None
    by_peer: bool
    why: str
    again_at: float | None
    """When an initiator tries again, or None."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something came that changed nothing."""

    peer: Eui64
    why: str


Event = Started | Established | Failed | Ignored
