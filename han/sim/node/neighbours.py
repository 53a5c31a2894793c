"""Whom a node hears by itself, how well, and how well it is heard: the neighbour table (Zigbee 3.6.1.5).

Everyone whose frame came straight from its antenna is a neighbour; link status commands of routers add what
they hear of us. The cost of a link is 1 for a good one to 7 for a bad one, and counts the worse direction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from han.sim.wire.nwk import COORDINATOR
from han.sim.wire.nwk_commands import Link, LinkStatus

CAPACITY: Final = 26
"""Rows, as in the firmware of common dongles: also the most that one link status command tells."""
GOOD_COST: Final = 3
"""Up to this cost a neighbour is reached without looking for a better way."""
REPAIR_THRESHOLD: Final = 2
"""So many frames in a row that a neighbour leaves unacknowledged make it one that has gone. The standard says
three (nwkcRepairThreshold), of a network layer that counts no lost frame of its own."""
_COSTS: Final = ((200, 1), (150, 3), (100, 5))
_WORST_COST: Final = 7


def link_cost(lqi: int) -> int:
    """The cost of a link over which frames are heard with this quality (0 to 255)."""
    return next((cost for least, cost in _COSTS if lqi >= least), _WORST_COST)


class Neighbour:
    """One row. ``near`` says whether frames go to it straight; the table keeps it up to date."""

    __slots__ = ("failures", "has_told", "heard_at", "is_router", "lqi", "near", "outgoing_cost")

    def __init__(self, lqi: int, now: float) -> None:
        self.lqi = lqi
        self.heard_at = now
        self.has_told = False
        """Whether it has ever sent a link status."""
        self.outgoing_cost: int | None = None
        """What it says of hearing us; 0: it does not; None: it has said nothing."""
        self.is_router = False
        self.failures = 0
        """How many frames it has left unacknowledged since it was heard last."""
        self.near = True
        self.settle()

    @property
    def incoming_cost(self) -> int:
        """What it costs to hear it."""
        return link_cost(self.lqi)

    @property
    def cost(self) -> int:
        """What the link costs, in its worse direction as far as known."""
        return max(link_cost(self.lqi), self.outgoing_cost or 0)

    @property
    def hears_us(self) -> bool:
        """Whether it is worth sending to it at all."""
        return self.failures < REPAIR_THRESHOLD and self.outgoing_cost != 0

    def settle(self) -> None:
        """Decide anew whether it is near."""
        self.near = self.hears_us and self.cost <= GOOD_COST


class Neighbours:
    """The neighbour table of one node. A router silent for ``age_limit`` seconds is forgotten; 0: none is."""

    def __init__(self, age_limit: float = 0.0) -> None:
        self._age_limit = age_limit
        # In the order in which they were heard last: with more devices around than rows, nearly every frame
        # makes the longest silent one give way, and a search for it would grow with the table.
        self._rows: dict[int, Neighbour] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        """Know nobody."""
        self._rows.clear()

    def get(self, nwk: int) -> Neighbour | None:
        """The row of this short address."""
        return self._rows.get(nwk)

    def rows(self) -> list[tuple[int, Neighbour]]:
        """All rows, by short address."""
        return sorted(self._rows.items())

    def hear(self, nwk: int, lqi: int, now: float) -> Neighbour:
        """A frame came straight from this neighbour."""
        rows = self._rows
        row = rows.pop(nwk, None)
        if row is None:
            if len(rows) >= CAPACITY:
                del rows[next(iter(rows))]
            row = Neighbour(lqi, now)
            row.is_router = nwk == COORDINATOR
        elif row.lqi != lqi or row.failures:
            row.lqi = lqi
            row.failures = 0
            row.settle()
        row.heard_at = now
        rows[nwk] = row
        return row

    def hear_link_status(self, nwk: int, status: LinkStatus, us: int) -> None:
        """A router told how well it hears its neighbours; we may be among them."""
        row = self._rows.get(nwk)
        if row is None:
            return
        told = next((link.incoming_cost for link in status.links if link.address == us), None)
        if told is not None:
            row.outgoing_cost = told
        elif row.has_told:
            # Missing once may be a matter of time: our first frame and its list crossed.
            row.outgoing_cost = 0
        row.has_told = True
        row.is_router = True
        row.settle()

    def fail(self, nwk: int, now: float) -> bool:
        """This neighbour did not acknowledge a frame; whether that makes it one that has gone."""
        row = self._rows.get(nwk)
        if row is None:
            row = self.hear(nwk, 0, now)
        row.failures += 1
        row.settle()
        return row.failures >= REPAIR_THRESHOLD

    def forget(self, nwk: int) -> None:
        """It has gone, or has another address now."""
        self._rows.pop(nwk, None)

    def age(self, now: float) -> list[int]:
        """Forget the routers that were silent for too long; their addresses."""
        if not self._age_limit:
            return []
        silent = [
            nwk for nwk, row in self._rows.items() if row.is_router and now - row.heard_at > self._age_limit
        ]
        for nwk in silent:
            del self._rows[nwk]
        return silent

    def links(self) -> tuple[Link, ...]:
        """What our link status command tells: the routers around, by address, and both costs."""
        return tuple(
            Link(nwk, row.incoming_cost, row.outgoing_cost or 0) for nwk, row in self.rows() if row.is_router
        )

    def routers(self) -> Iterable[int]:
        """The neighbours that relay broadcasts and hear us, as far as known."""
        return (nwk for nwk, row in self._rows.items() if row.is_router and row.hears_us)
