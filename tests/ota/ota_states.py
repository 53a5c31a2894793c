"""A device in each of its states, at each point where it waits for something else."""

from __future__ import annotations

from collections.abc import Callable

from ota_bench import FILE, OFFERED, Bench, block_at, complete, downloading, waiting
from ota_pair import PPMID

from ota.client import Identity, Part, State
from ota.commands import (
    DefaultResponse,
    ImageBlockResponse,
    QueryNextImageResponse,
    Status,
    UpgradeEndResponse,
)

SECOND_TYPE = 0x0085
OWN_FILE_TYPE = 0xFFC1
NOTHING = QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE)
TWO_PARTS = Identity(0x121D, 0x0084, 1, 0x1150, parts=(Part(SECOND_TYPE, 7),))
CONFIGURED = Identity(0x121D, 0x0084, 1, 0x1150, address=PPMID, parts=(Part(OWN_FILE_TYPE, 3, True),))


def idle() -> Bench:
    """Nothing to do: waits for the time of its next query."""
    bench = Bench()
    bench.hears(NOTHING)
    return bench


def asks_for_own_file() -> Bench:
    """Has asked for a file that is made for it alone."""
    bench = Bench(identity=CONFIGURED)
    bench.hears(NOTHING)
    return bench


def pauses() -> Bench:
    """In mid-download, told to wait."""
    bench = downloading(pause_between_blocks=5.0)
    bench.hears(bench.block())
    return bench


def in_page() -> Bench:
    """In mid-page, with a gap."""
    bench = downloading(page_size=100, maximum_data_size=20)
    bench.hears(block_at(0, 20))
    bench.hears(block_at(40, 20))
    return bench


def fills_gaps() -> Bench:
    """Behind the end of a page, filling its gaps."""
    bench = in_page()
    bench.hears(block_at(80, 20))
    return bench


def needs_more() -> Bench:
    """The first of two files is here, the server has not said that it knows."""
    bench = Bench(identity=TWO_PARTS, upgrades_together=True)
    bench.hears(OFFERED)
    while bench.client.state is State.DOWNLOADING:
        bench.hears(bench.block())
    return bench


def asks_for_more() -> Bench:
    """The same, and the second file has been asked for."""
    bench = needs_more()
    bench.hears(DefaultResponse(0x06, Status.SUCCESS))
    return bench


def second_file() -> Bench:
    """The second file is being taken while the first one waits."""
    bench = asks_for_more()
    bench.hears(QueryNextImageResponse(Status.SUCCESS, 0x121D, SECOND_TYPE, 8, len(FILE)))
    bench.hears(ImageBlockResponse(0x121D, SECOND_TYPE, 8, 0, FILE[:65]))
    return bench


def external() -> Bench:
    """Holds an image for an out-of-band command."""
    return waiting(out_of_band_only=True)


def holding_asks() -> Bench:
    """Holds an image for an out-of-band command, and asks for a newer one."""
    bench = external()
    bench.wait()
    return bench


def counts_down() -> Bench:
    """Has been told when to activate."""
    bench = complete()
    bench.hears(UpgradeEndResponse(0x121D, 0x0084, 2, 0, 7200))
    return bench


PLACES: dict[str, tuple[State, Callable[[], Bench]]] = {
    "idle": (State.NORMAL, idle),
    "asks": (State.NORMAL, Bench),
    "asks for its own file": (State.NORMAL, asks_for_own_file),
    "asks for a block": (State.DOWNLOADING, downloading),
    "pauses between blocks": (State.DOWNLOADING, pauses),
    "in a page": (State.DOWNLOADING, in_page),
    "fills gaps": (State.DOWNLOADING, fills_gaps),
    "in the second file": (State.DOWNLOADING, second_file),
    "reports the file": (State.COMPLETE, complete),
    "told to hold": (State.WAITING, waiting),
    "counts down": (State.COUNT_DOWN, counts_down),
    "needs more": (State.WAIT_FOR_MORE, needs_more),
    "asks for more": (State.WAIT_FOR_MORE, asks_for_more),
    "held for a command": (State.EXTERNAL, external),
    "held, and asks": (State.EXTERNAL, holding_asks),
}
"""By what it does: its state, and how to bring a device there."""
