"""A gas image takes the slot at any instant of a PPMID's update, on the true radio path.

All two hundred instants are in ``make soak``; ``python tests/scenarios/try_instants.py`` also says how many
fell into which step of the update.
"""

from __future__ import annotations

from typing import Final

import pytest
from preempted import STEPS, preempt_at

INSTANTS: Final = 200
ALWAYS: Final = 10
"""So many of them in every run: each step of the update at least once."""

SEEDS = [
    *range(ALWAYS),
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(ALWAYS, INSTANTS)),
]
UNDECIDED: Final = "at Upgrade End"
"""The one step in which the hub may or may not have heard yet that the PPMID has its image."""


@pytest.mark.usefixtures("rebound")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_gas_image_at_any_instant_is_served_and_the_other_is_finished_or_discarded_once(seed):
    """No image is mixed on any device, and every request ends once; see `preempted`."""
    came = await preempt_at(seed)
    order = [step.name for step in STEPS]
    if came.step != UNDECIDED:
        assert came.had_finished is (order.index(came.step) > order.index(UNDECIDED))
