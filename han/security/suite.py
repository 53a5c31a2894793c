"""The two cryptographic suites of Smart Energy: which curve, and how many octets everything has."""

from __future__ import annotations

import enum

from han.security.binary_curve import SECT163K1, SECT283K1, Curve


class Suite(enum.IntEnum):
    """A cryptographic suite; its number is also its bit in attribute 0x0000 of the cluster."""

    ONE = 1
    TWO = 2

    @property
    def curve(self) -> Curve:
        """The curve of all its keys."""
        return SECT163K1 if self is Suite.ONE else SECT283K1

    @property
    def certificate_size(self) -> int:
        """Octets of a certificate."""
        return 48 if self is Suite.ONE else 74

    @property
    def signature_size(self) -> int:
        """Octets of an ECDSA signature, r and s together."""
        return 2 * self.curve.coordinate_size

    def __str__(self) -> str:
        return f"suite {self.value}"
