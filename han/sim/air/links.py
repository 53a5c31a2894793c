"""Who hears whom in a house with walls, and how well.

``Links`` is the plan of the house: a radio that has no link to another does not hear it, not even as noise.
``Air`` asks it at every receiver, so that two senders who are hidden from each other collide only where
both are heard. ``Patchy`` is the path that loses what its links lose.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from han.sim.air.medium import BEST_LQI, Flight, Path, Transceiver
from ota.eui64 import Eui64


class Link(NamedTuple):
    """How one radio hears another: with this link quality (1 to 255), losing this share of the frames."""

    lqi: int = BEST_LQI
    loss: float = 0.0


class Links:
    """Links between radios, known by their EUI-64. They may change while the house runs."""

    def __init__(self) -> None:
        self._links: dict[tuple[Eui64, Eui64], Link] = {}

    def connect(self, one: Eui64, other: Eui64, link: Link, *, one_way: bool = False) -> None:
        """Let ``other`` hear ``one`` from now on, and, unless ``one_way``, the other way round.

        Raises:
            ValueError: if quality or loss is out of range.
        """
        if not 1 <= link.lqi <= BEST_LQI:
            raise ValueError(f"a link quality lies between 1 and {BEST_LQI}, not at {link.lqi}")
        if not 0.0 <= link.loss <= 1.0:
            raise ValueError(f"a loss rate lies between 0 and 1, not at {link.loss}")
        self._links[one, other] = link
        if not one_way:
            self._links[other, one] = link

    def part(self, one: Eui64, other: Eui64) -> None:
        """Let the two hear each other no more."""
        self._links.pop((one, other), None)
        self._links.pop((other, one), None)

    def lqi(self, sender: Transceiver, receiver: Transceiver) -> int:
        """How well ``receiver`` hears ``sender``; 0: not at all."""
        link = self._links.get((sender.eui64, receiver.eui64))
        return 0 if link is None else link.lqi

    def loss(self, sender: Transceiver, receiver: Transceiver) -> float:
        """The share of the frames of ``sender`` that ``receiver`` loses though nothing collided."""
        link = self._links.get((sender.eui64, receiver.eui64))
        return 1.0 if link is None else link.loss


class Patchy:
    """Loses on each link the share that the link says, the same frames for the same seed."""

    def __init__(self, inner: Path, links: Links, seed: int | str) -> None:
        self._inner = inner
        self._links = links
        self._dice = random.Random(f"link loss {seed}")

    def arrivals(self, flight: Flight, listeners: list[Transceiver]) -> list[Transceiver]:
        """Those for whom the dice of their link fell well."""
        roll, loss = self._dice.random, self._links.loss
        sender = flight.sender
        return [one for one in self._inner.arrivals(flight, listeners) if roll() >= loss(sender, one)]
