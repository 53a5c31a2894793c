"""The EZSP versions that firmware was released with, and what each of them says of itself.

EZSP numbers the host protocol, EmberZNet the stack behind it. There is no EZSP 15: EmberZNet went from 14
(8.0) to 16 (8.1), and no firmware ever answered 15. Statuses became four octets wide with 14, headers five
octets with 5 and again, differently, with 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import Final

GENERAL_AVAILABILITY: Final = 0xAA


@dataclass(frozen=True, slots=True)
class Release:
    """An EmberZNet release that speaks one EZSP version."""

    major: int
    minor: int
    patch: int
    build: int = 0

    @property
    def stack_version(self) -> int:
        """As nibbles, the way ``version`` answers: 0x7430 is 7.4.3.0."""
        return self.major << 12 | self.minor << 8 | self.patch << 4

    @property
    def version_info(self) -> bytes:
        """The seven octets of EZSP_VALUE_VERSION_INFO: build, major, minor, patch, special, type."""
        return pack("<HBBBBB", self.build, self.major, self.minor, self.patch, 0, GENERAL_AVAILABILITY)


RELEASES: Final = {
    4: Release(5, 4, 1),
    5: Release(5, 9, 1),
    6: Release(6, 3, 1),
    7: Release(6, 6, 3),
    8: Release(6, 10, 3, build=297),
    9: Release(7, 1, 1),
    10: Release(7, 2, 0),
    11: Release(7, 2, 2),
    12: Release(7, 3, 1),
    13: Release(7, 4, 3),
    14: Release(8, 0, 2, build=397),
    16: Release(8, 1, 0),
    17: Release(8, 2, 0),
    18: Release(8, 2, 2, build=436),
    19: Release(9, 1, 0),
}
"""EZSP version to a release that speaks it. Where a build number is given, a real dongle told it."""

VERSIONS: Final = tuple(RELEASES)

WIDE_STATUSES: Final = 14
"""From here on every status is an sl_Status of four octets, and most answers begin with it."""
POLICY_BITS: Final = 8
"""From here on the Trust Centre's policy is a bit mask; before, one decision out of a list."""
