"""What every layer of one node shares."""

from __future__ import annotations

import random
from dataclasses import dataclass

from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.node.service import Counters
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class Station:
    """One node's identity and surroundings: its name in facts, its clock, its dice, its flash memory."""

    eui64: Eui64
    name: str
    capability: int
    timeline: Timeline
    dice: random.Random
    facts: Facts
    store: NodeStore
    counters: Counters

    @property
    def is_router(self) -> bool:
        """Whether the node is a full-function device."""
        return self.capability & 0x02 != 0

    @property
    def hears_when_idle(self) -> bool:
        """Whether its radio is on also when nothing is expected."""
        return self.capability & 0x08 != 0

    def drop(self, layer: str, why: str, **fields: object) -> None:
        """Say that a frame was dropped, and why."""
        self.facts.say(self.name, "frame.dropped", layer=layer, why=why, **fields)
