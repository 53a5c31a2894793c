"""Offer a gas image at many seeded instants: ``python tests/scenarios/try_instants.py --count 200``.

Says for each seed what came of it, and at the end how many fell into which step of the PPMID's update. The
same seed does the same again: ``--first SEED --count 1``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter

from preempted import STEPS, Came, preempt_at

from han.clock import rebind_for_simulation, virtual_loop_factory


def try_out(seed: int) -> Came | Exception:
    """Live through one seed on a loop of its own; gives the broken promise if there is one."""
    try:
        with rebind_for_simulation(seed=7), asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
            return runner.run(preempt_at(seed))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other seeds are still to be tried
        return error


def main() -> int:
    """The program; its exit status is 1 if a promise was broken."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--first", type=int, default=0, help="the first seed")
    asked.add_argument("--count", type=int, default=200, help="how many seeds")
    options = asked.parse_args()
    counted: Counter[tuple[str, bool]] = Counter()
    broken = 0
    for seed in range(options.first, options.first + options.count):
        came = try_out(seed)
        if isinstance(came, Came):
            counted[came.step, came.had_finished] += 1
            words = f"{came.step}: {'finished' if came.had_finished else 'discarded'}"
        else:
            broken += 1
            words = f"BROKEN: {_innermost(came)!r}"
        sys.stdout.write(f"seed {seed}: {words}\n")
        sys.stdout.flush()
    for step in STEPS:
        for had_finished, word in ((False, "discarded"), (True, "finished")):
            sys.stdout.write(f"{step.name:24} {word:10} {counted[step.name, had_finished]:5}\n")
    sys.stdout.write(f"{options.count} instants, {broken} broken\n")
    return 1 if broken else 0


def _innermost(error: BaseException) -> BaseException:
    """What failed, out of the groups that tasks wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
