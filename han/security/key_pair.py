"""A private scalar and its public point, kept apart from everything that prints."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Self

from han.security.binary_curve import Curve, Point
from han.security.errors import PointError


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair of one curve. ``private`` is at least 1, below the order, and never shown."""

    curve: Curve
    private: int = field(repr=False)
    public: Point

    @classmethod
    def of(cls, curve: Curve, private: int) -> Self:
        """The pair of a private scalar, which is reduced modulo the order.

        Raises:
            PointError: if that leaves zero.
        """
        private %= curve.order
        public = curve.multiply_secret(private, curve.generator)
        if public is None:
            raise PointError("a private key of zero")
        return cls(curve, private, public)

    @classmethod
    def draw(cls, curve: Curve, dice: random.Random) -> Self:
        """A new pair. On a real radio ``dice`` is ``random.SystemRandom()``; seeded ones are for tests."""
        return cls.of(curve, dice.randrange(1, curve.order))
