"""Faults on demand: what is wrong with a dongle, and when it shows.

A `Fault` names one thing that goes wrong and how often. Each has its opportunities: a write on the serial
line, a command, a callback. It lets the first ``skip`` of them pass, then strikes each with the probability
``share``, at most ``times`` times, from ``after`` seconds on and for ``lasts`` seconds. Those that happen to
the processor (``reboot``, ``assert``, ``stall``) strike by the clock, at ``after`` and again ``every`` so
many seconds, unless a command is named to strike on. Every strike is said as a fact.

All of it can be written in a home file, given to ``gbhan dongle --fault``, or added while the dongle runs.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec
from msgspec import Meta


class Kind(Enum):
    """What goes wrong."""

    DROPPED_OCTETS = "dropped-octets"
    """A write on the serial line, in either direction, loses ``octets`` octets in a row."""
    CHANGED_OCTETS = "changed-octets"
    """So many octets of a write each have a bit turned."""
    REPEATED_OCTETS = "repeated-octets"
    """So many octets of a write come twice."""
    DEAF = "deaf"
    """What the host writes is not heard; after a while the dongle gives the link up with ERROR 0x51."""

    BUSY = "busy"
    """A message of the host is refused with NETWORK_BUSY."""
    TABLE_FULL = "table-full"
    """A message of the host is refused with MAX_MESSAGE_LIMIT_REACHED."""
    NO_BUFFERS = "no-buffers"
    """A message of the host is refused with NO_BUFFERS."""
    REFUSED_COMMAND = "refused-command"
    """A command is answered with invalidCommand."""
    LOST_ANSWER = "lost-answer"
    """A command is carried out and its answer gets lost inside the firmware."""

    FAILED_DELIVERY = "failed-delivery"
    """A unicast is reported as not delivered although it arrived."""
    LOST_CALLBACK = "lost-callback"
    """A callback gets lost inside the firmware."""
    REPEATED_CALLBACK = "repeated-callback"
    """A callback comes twice."""
    WRONG_LINK_QUALITY = "wrong-link-quality"
    """LQI, RSSI and timestamp of a message are rubbish, as with EmberZNet 8.0.0."""

    REBOOT = "reboot"
    """The firmware restarts as after a watchdog, dead for ``seconds`` (0: as long as a start takes)."""
    ASSERT = "assert"
    """The same, as after a failed assertion."""
    STALL = "stall"
    """The processor neither reads nor writes for ``seconds``; what its small buffer cannot hold is lost."""
    SECOND_RSTACK = "second-rstack"
    """After a reset RSTACK comes twice, as from some network adapters."""
    ERROR_BEFORE_RSTACK = "error-before-rstack"
    """RST is answered with ERROR only; RSTACK comes after another RST."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that goes wrong, and when. Times in seconds; see the top of this file."""

    kind: Kind
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    skip: Annotated[int, Meta(ge=0)] = 0
    times: Annotated[int, Meta(ge=1)] | None = None
    after: Annotated[float, Meta(ge=0)] = 0.0
    lasts: Annotated[float, Meta(gt=0)] | None = None
    every: Annotated[float, Meta(gt=0)] | None = None
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    octets: Annotated[int, Meta(ge=1, le=64)] = 1
    command: str = ""
    """The EZSP command or callback that it strikes; any if empty."""


class FaultError(ValueError):
    """A fault cannot be as it was written; the message says what to write instead."""


def read_fault(text: str) -> Fault:
    """Read a fault from one line: its kind, and behind a colon what differs from the defaults.

    Example: ``reboot:after=60,seconds=5``.

    Raises:
        FaultError: naming what cannot be.
    """
    kind, _, rest = text.partition(":")
    fields: dict[str, str] = {"kind": kind}
    for setting in rest.split(",") if rest else ():
        name, equals, value = setting.partition("=")
        if not equals or name in fields:
            raise FaultError(f"{text!r}: write each setting once, as in reboot:after=60,seconds=5")
        fields[name] = value
    try:
        return msgspec.convert(fields, Fault, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(each.value for each in Kind)
        hint = f": there are {known}" if "kind" in str(error) else ""
        raise FaultError(f"{text!r}: {error}{hint}") from error
