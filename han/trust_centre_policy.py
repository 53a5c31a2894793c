"""The Trust Centre's policies in the words of each EZSP version.

Up to EZSP 7 a policy is one decision out of a list, from 8 on a set of bits; the same number means the
opposite in the two: 0 closes the network in the newer ones and opens it to everybody, with the key in the
clear, in the older.
"""

from __future__ import annotations

from typing import Final

from bellows.types import EzspDecisionBitmask, EzspDecisionId

_BITS_FROM: Final = 8
_TRANSIENT_KEYS_FROM: Final = 5
SET_BY_BELLOWS_FROM: Final = _BITS_FROM
"""The version from which bellows sets a policy of its own for a device with an install code."""


def has_transient_keys(version: int) -> bool:
    """Whether a joiner's key can be kept apart from the key table. Not every firmware with EZSP 4 can."""
    return version >= _TRANSIENT_KEYS_FROM


def closed(version: int, *, unsecured_rejoins: bool = True) -> int:
    """The policy at rest: no joins. bellows' default, 1, would allow them.

    With ``unsecured_rejoins`` a device that lost the network key may ask for it again: it comes under the
    link key that this device alone shares with us, and whoever else asks cannot read it.
    """
    if version < _BITS_FROM:
        if unsecured_rejoins:
            return int(EzspDecisionId.ALLOW_REJOINS_ONLY)
        return int(EzspDecisionId.DISALLOW_ALL_JOINS_AND_REJOINS)
    if unsecured_rejoins:
        return int(EzspDecisionBitmask.ALLOW_UNSECURED_REJOINS)
    return int(EzspDecisionBitmask.DEFAULT_CONFIGURATION)


def install_codes_only(version: int, *, unsecured_rejoins: bool = True) -> int:
    """The policy while a device is expected: in comes who has a key of its own.

    In EZSP 4 there is no such policy: whoever holds the preconfigured key may join too, so that key must be
    nobody's (see `han.radio`).
    """
    if version >= _BITS_FROM:
        return closed(version, unsecured_rejoins=unsecured_rejoins) | int(
            EzspDecisionBitmask.ALLOW_JOINS | EzspDecisionBitmask.JOINS_USE_INSTALL_CODE_KEY
        )
    if version < _TRANSIENT_KEYS_FROM:
        return int(EzspDecisionId.ALLOW_PRECONFIGURED_KEY_JOINS)
    return int(EzspDecisionId.BDB_JOIN_USES_INSTALL_CODE_KEY)


def policies(version: int, *, unsecured_rejoins: bool = True) -> dict[str, int]:
    """All policies that bellows sets: defaults would be filled in in the order of string hashes."""
    return {
        "TC_KEY_REQUEST_POLICY": int(EzspDecisionId.ALLOW_TC_KEY_REQUESTS_AND_SEND_CURRENT_KEY),
        "APP_KEY_REQUEST_POLICY": int(EzspDecisionId.DENY_APP_KEY_REQUESTS),
        "TRUST_CENTER_POLICY": closed(version, unsecured_rejoins=unsecured_rejoins),
    }
