"""Live through months of virtual time: ``python tests/scenarios/try_months.py --first 1 --count 5``.

Prints a line for each virtual day while it runs, and after each month what came of it. Exits with 1 if a
promise was broken; the same seed breaks it again: ``--first SEED --count 1``.
"""

from __future__ import annotations

import argparse
import sys

from month_world import Month, Plan

from han import clock


def main() -> int:
    """The program."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--first", type=int, default=1, help="the first seed")
    asked.add_argument("--count", type=int, default=1, help="how many seeds")
    asked.add_argument("--days", type=int, default=30, help="virtual days for which Service Users ask")
    asked.add_argument("--loss", type=float, default=0.1, help="share of the receptions that the air loses")
    options = asked.parse_args()
    broken = 0
    for seed in range(options.first, options.first + options.count):
        began = clock.cpu_seconds()
        month = Month(Plan(seed=seed, days=options.days, loss=options.loss), _say)
        _say(f"seed {seed}")
        clock.run(month.live(), virtual=True, seed=seed)
        for line in month.summary():
            _say(f"  {line}")
        _say(f"  {(clock.cpu_seconds() - began) / options.days:.2f} s of computing for each of these days")
        broken += bool(month.unmet)
    _say(f"{options.count} months, {broken} broken")
    return 1 if broken else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
