"""Cut the power in every way during every story: ``python tests/hub/try_power_cuts.py``.

Says what was tried while it runs, names each case that broke a promise, and counts them all. ``--twice`` adds
second cuts while the hub recovers from the first; ``--every N`` tries every N-th case.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

from hub_faulty_disk import Cut
from hub_stories import STORIES
from power_cuts import PromiseBroken, Story, cases, live_through, second_cuts

_TOLD_EVERY = 10.0


def all_cases(story: Story, *, twice: bool) -> Iterator[tuple[Cut, ...]]:
    """Every case of the story."""
    for cut in cases(live_through(story).operations):
        yield (cut,)
        if twice:
            yield from ((cut, second) for second in second_cuts())


def main() -> int:
    """The program; its exit status is 1 if a promise was broken."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--twice", action="store_true")
    asked.add_argument("--every", type=int, default=1, metavar="N")
    asked.add_argument("--story", default="", help="only stories with this in their name")
    options = asked.parse_args()
    tried = broken = 0
    for story in STORIES:
        if options.story not in story.name:
            continue
        before, told_at = tried, time.monotonic()
        for cuts in itertools.islice(all_cases(story, twice=options.twice), 0, None, options.every):
            try:
                live_through(story, cuts)
            except PromiseBroken as error:
                broken += 1
                sys.stdout.write(f"BROKEN {error}\n")
            tried += 1
            if time.monotonic() - told_at > _TOLD_EVERY:
                told_at = time.monotonic()
                sys.stdout.write(f"... {story.name}: {tried - before} cases\n")
            sys.stdout.flush()
        sys.stdout.write(f"{story.name}: {tried - before} cases\n")
    sys.stdout.write(f"{tried} cases, {broken} broken\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
