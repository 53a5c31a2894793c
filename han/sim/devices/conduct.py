"""How a device conducts itself in key establishment: what proves it, and what it really sends. Pure.

Nearly all are honest. The others are faults on demand, met in the field or thought of by whoever wishes a hub
ill; a home file chooses one for a device. The machine behind is the honest one: a fault changes what goes out
of it, or what comes in.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from han.security.binary_curve import Curve
from han.security.certificate import Authority, Credentials, draft
from han.security.errors import PointError
from han.security.key_establishment import (
    Command,
    ConfirmKey,
    EphemeralData,
    Initiate,
    Terminate,
    TerminateStatus,
)
from han.security.key_pair import KeyPair
from han.security.suite import Suite
from han.sim.home import Conduct, DeviceDescription
from ota.eui64 import Eui64

SLOW = 9.0
"""Seconds that a slow device takes for a step: less than it announces."""
TOO_LATE = 30.0
"""Seconds by which nobody waits any more."""
BUSY_FOR = 30
"""Seconds that a device asks for when it says NO_RESOURCES."""
UNKNOWN_AUTHORITY = Eui64.parse("67-62-68-61-6E-00-CA-FF")
"""Who issued a certificate that no hub here trusts."""

Certified = Callable[[Eui64, Suite], Credentials]
"""What an authority gave the device of this name to prove itself with, in this suite."""

Late = tuple[float, Command]
"""A command and by how many seconds it comes late."""

_DELAYS = {Conduct.SLOW: SLOW, Conduct.TOO_LATE: TOO_LATE}
_KEPT_BACK: dict[Conduct, tuple[type[Command], ...]] = {
    Conduct.SILENT_AFTER_INITIATE: (EphemeralData, ConfirmKey),
    Conduct.SILENT_AFTER_EPHEMERAL_DATA: (ConfirmKey,),
}
_TERMINATIONS = {
    Conduct.TERMINATES_UNKNOWN_ISSUER: TerminateStatus.UNKNOWN_ISSUER,
    Conduct.TERMINATES_BAD_KEY_CONFIRM: TerminateStatus.BAD_KEY_CONFIRM,
    Conduct.TERMINATES_BAD_MESSAGE: TerminateStatus.BAD_MESSAGE,
    Conduct.TERMINATES_NO_RESOURCES: TerminateStatus.NO_RESOURCES,
    Conduct.TERMINATES_UNSUPPORTED_SUITE: TerminateStatus.UNSUPPORTED_SUITE,
    Conduct.TERMINATES_INVALID_CERTIFICATE: TerminateStatus.INVALID_CERTIFICATE,
}


def credentials_of(description: DeviceDescription, certified: Certified) -> list[Credentials]:
    """What the device proves itself with, for each suite that it knows."""
    return [_credentials(description, Suite(suite), certified) for suite in description.suites]


def _credentials(description: DeviceDescription, suite: Suite, certified: Certified) -> Credentials:
    match description.establishment:
        case Conduct.WRONG_ISSUER:
            return _unknown_credentials(description.eui64, suite)
        case Conduct.WRONG_NAME:
            return certified(Eui64(description.eui64 ^ 1), suite)
        case _:
            return certified(description.eui64, suite)


def _unknown_credentials(subject: Eui64, suite: Suite) -> Credentials:
    dice = random.Random(f"unknown authority {suite} {subject}")
    authority = Authority(suite, UNKNOWN_AUTHORITY, KeyPair.draw(suite.curve, dice))
    return authority.enrol(draft(suite, subject), dice)


def sent_for(conduct: Conduct, command: Command) -> list[Late]:
    """What a device of this conduct sends when its machine says this command."""
    if isinstance(command, Initiate):
        return [(0.0, command)] * (2 if conduct is Conduct.TWICE else 1)
    if isinstance(command, _KEPT_BACK.get(conduct, ())):
        return []
    return [(_DELAYS.get(conduct, 0.0), _spoilt(conduct, command))]


def _spoilt(conduct: Conduct, command: Command) -> Command:
    match conduct, command:
        case Conduct.WRONG_MAC, ConfirmKey(mac=mac):
            return replace(command, mac=bytes((mac[0] ^ 1,)) + mac[1:])
        case Conduct.OFF_CURVE, EphemeralData(point=point):
            return replace(command, point=off_curve(point))
        case Conduct.MALFORMED, EphemeralData(point=point):
            return replace(command, point=point[:-1])
        case _, EphemeralData(from_server=from_server) if conduct in _TERMINATIONS:
            status = _TERMINATIONS[conduct]
            wait = BUSY_FOR if status is TerminateStatus.NO_RESOURCES else 0
            return Terminate(status, wait, 0, from_server)
        case _:
            return command


def hears(conduct: Conduct, command: Command) -> bool:
    """Whether a device of this conduct takes note of a command that arrived."""
    return conduct is not Conduct.DEAF_TO_CONFIRM_KEY or not isinstance(command, ConfirmKey)


def off_curve(point: bytes) -> bytes:
    """Octets that look like this compressed point and are none of its curve."""
    curve = next(suite.curve for suite in Suite if suite.curve.point_size == len(point))
    x = int.from_bytes(point[1:], "big")
    while _is_point(curve, octets := point[:1] + x.to_bytes(curve.coordinate_size, "big")):
        x += 1  # every other x or so has no point, or one of another order
    return octets


def _is_point(curve: Curve, octets: bytes) -> bool:
    try:
        curve.decode(octets)
    except PointError:
        return False
    return True
