"""How often an image is lost before its device collects it, under one policy of the slot or another. Pure.

Homes are lived through one by one on the real `hub.slot.Slot`: an image is stored, the hub restarts now and
then, other images ask for the slot, and after a while the device would collect. Restarts and other images
come as Poisson processes, since nothing says that they come in any order. A GSME image, which takes the slot
under every policy, is left out: it tells the policies not apart.

The working group withdrew "one week in flash, then in memory until a restart or until it is overwritten" in
2020, because hubs had no memory for it. This shows what it would have cost besides.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hub.slot import (
    DAY,
    WITHDRAWN_RETENTION,
    Assignment,
    Candidate,
    Decision,
    Expired,
    Lost,
    Preempted,
    Slot,
    SlotSettings,
)
from ota.eui64 import Eui64

WEEK: Final = 7 * DAY

POLICIES: Final[Mapping[str, SlotSettings]] = {
    "adopted": SlotSettings(),
    "withdrawn": SlotSettings(retention=WITHDRAWN_RETENTION, then_in_memory=True),
}
"""What SECMP0007 adopted, and what was withdrawn."""

_DEVICE, _NEIGHBOUR = Eui64(1), Eui64(2)
_SIZE = 350 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What happens to the hubs meanwhile.

    Attributes:
        reboots_per_week: mean number of restarts of a hub.
        others_per_week: mean number of other images of the same priority that ask for the slot.
        homes: how many homes are lived through for each share.
        seed: decides everything that is left to chance.
    """

    reboots_per_week: float = 0.5
    others_per_week: float = 0.0
    homes: int = 10_000
    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of the homes, from 0 to 1, in which the image had gone when its device wanted it."""

    policy: str
    collected_after: float
    """Seconds from the image's arrival in the slot until the device collects it."""
    lost: float


def study(collected_after: Sequence[float], circumstances: Circumstances) -> list[Share]:
    """The share of lost images under each policy, for each of these delays; the same for the same seed."""
    return [
        Share(policy=policy, collected_after=delay, lost=_lost(settings, delay, circumstances))
        for delay in collected_after
        for policy, settings in POLICIES.items()
    ]


def _lost(settings: SlotSettings, delay: float, circumstances: Circumstances) -> float:
    # The dice are the same for every policy: the homes are, too.
    dice = random.Random(f"{circumstances.seed} retention {delay}")
    lost = sum(_is_lost(settings, delay, circumstances, dice) for _ in range(circumstances.homes))
    return lost / circumstances.homes


def _is_lost(settings: SlotSettings, delay: float, circumstances: Circumstances, dice: random.Random) -> bool:
    events = sorted(
        [(at, "reboot") for at in _moments(circumstances.reboots_per_week, delay, dice)]
        + [(at, "other") for at in _moments(circumstances.others_per_week, delay, dice)]
    )
    slot = Slot(settings)
    slot.offer(Candidate("ours", _SIZE, (_assignment(_DEVICE),)), 0.0)
    slot.complete(0.0)
    for at, what in [*events, (delay, "collects")]:
        decisions = slot.tick(at)
        if what == "reboot":
            decisions += slot.restarted()
        elif what == "other":
            decisions += slot.offer(Candidate("another", _SIZE, (_assignment(_NEIGHBOUR),)), at)
        if any(_takes_it(decision) for decision in decisions):
            return True
    return False


def _takes_it(decision: Decision) -> bool:
    match decision:
        case Preempted(victim=image) | Lost(image=image) | Expired(image=image):
            return image.image_id == "ours"
        case _:
            return False


def _moments(per_week: float, until: float, dice: random.Random) -> Iterator[float]:
    """When such things happen, from 0 until then, in seconds."""
    if per_week <= 0:
        return
    at = dice.expovariate(per_week / WEEK)
    while at < until:
        yield at
        at += dice.expovariate(per_week / WEEK)


def _assignment(device: Eui64) -> Assignment:
    return Assignment(device, "PPMID", "request", "11.4")
