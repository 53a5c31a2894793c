"""Live through many schedules of the model: ``python tests/ota/try_schedules.py --first 0 --count 100000``.

Says how many were tried and how often what happened in them; names each seed that broke a promise. The same
seed breaks it again: ``--first SEED --count 1``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from ota_story import Tried, try_out

_AT_ONCE = 500


def try_all(first: int, many: int, processes: int) -> Iterator[Tried]:
    """Live through so many schedules from this seed on, some at a time."""
    pieces = [range(at, min(at + _AT_ONCE, first + many)) for at in range(first, first + many, _AT_ONCE)]
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(try_out, pieces)


def told(results: list[Tried]) -> str:
    """What came of them, for people."""
    happened: Counter[str] = Counter()
    for each in results:
        happened.update(each.happened)
    broken = {seed: why for each in results for seed, why in each.broken.items()}
    lines = [f"{what:28} {times:10}" for what, times in sorted(happened.items())]
    lines += [f"seed {seed}: {why}" for seed, why in broken.items()]
    return "\n".join([*lines, f"{sum(each.many for each in results)} schedules, {len(broken)} broken"])


def main() -> int:
    """The program; its exit status is 1 if a promise was broken."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--first", type=int, default=0, help="the first seed")
    asked.add_argument("--count", type=int, default=100_000, help="how many seeds")
    asked.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = asked.parse_args()
    results = list(try_all(options.first, options.count, options.processes))
    sys.stdout.write(told(results) + "\n")
    return 1 if any(each.broken for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
