"""The hub may die at any frame and at any operation of its disk; what it promised holds all the same.

Nothing of the hub survives but its disk, and of that what `hub_faulty_disk` lets survive. What must hold
is in `power_cuts`, the stories are in `hub_stories`; the head end asks again, as a CSP does.

A share of the cases is tried always, every single cut and more of the double ones with ``-m soak``;
``python tests/hub/try_power_cuts.py --twice`` tries all there are and says how far it has come.
"""

from __future__ import annotations

import itertools
from typing import Final

import pytest
from hub_faulty_disk import Cut, FaultyDisk, Operation, Place, Survives
from hub_stories import STORIES
from power_cuts import PromiseBroken, cases, live_through, second_cuts

from hub.flash import BESIDE, MEMORY

BY_NAME: Final = pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])


def every(many: int, soaked: int):
    """Every so-manieth case always, and more of them in a soak."""
    return pytest.mark.parametrize(
        "stride", [many, pytest.param(soaked, marks=pytest.mark.soak)], ids=["share", "soak"]
    )


@BY_NAME
@every(13, 1)
def test_the_hub_may_crash_at_every_frame(story, stride, record_property):
    frames = range(1, (live_through(story)).frames + 1, stride)
    for number in frames:
        live_through(story, at_frame=number)
    record_property("power cuts tried at frames", len(frames))


@BY_NAME
@every(13, 1)
def test_the_power_may_go_before_amid_and_after_every_operation_of_the_disk(story, stride, record_property):
    tried = list(itertools.islice(cases((live_through(story)).operations), 0, None, stride))
    for cut in tried:
        live_through(story, (cut,))
    record_property("power cuts tried at the disk", len(tried))


@BY_NAME
@every(3989, 101)
def test_the_power_may_go_again_while_the_hub_recovers(story, stride, record_property):
    both = itertools.product(cases((live_through(story)).operations), second_cuts())
    tried = list(itertools.islice(both, 0, None, stride))
    for cuts in tried:
        live_through(story, cuts)
    record_property("power cuts tried in a recovery", len(tried))


@BY_NAME
@every(7, 1)
def test_the_disk_may_fill_up_at_every_operation_and_have_space_again(story, stride, record_property):
    """The hub says so and stops, stops again while it is full, and later goes on without loss."""
    changing = [
        number
        for number, operation in enumerate(live_through(story).operations, 1)
        if operation.kind not in {"names", "read", "remove"}
    ][::stride]
    for number in changing:
        live_through(story, full_from=number)
    record_property("full disks tried", len(changing))


# The enumeration itself: it knows every place, and finds flashes that are not safe.


def test_every_operation_is_cut_before_after_and_wherever_it_can_tear():
    operations = [Operation("write", "a"), Operation("rename", "a b"), Operation("read", "b")]
    tried = list(cases(operations))
    places = [{cut.place for cut in tried if cut.operation == number} for number in (1, 2, 3)]
    assert places == [set(Place), {Place.BEFORE, Place.AFTER}, {Place.BEFORE}]
    survives = {cut.survives for cut in tried if (cut.operation, cut.place) == (2, Place.AFTER)}
    assert survives == set(Survives) - {Survives.DICE}
    assert len(tried) == len(set(tried))


class NamesAreNeverSafe(FaultyDisk):
    """A flash that renames and does not synchronise the directory."""

    def sync_names(self) -> None:
        pass


class OctetsAreNeverSafe(FaultyDisk):
    """A flash that forgets to synchronise what it writes."""

    def sync(self, name: str) -> None:
        pass


class TheImageIsNotSafe(FaultyDisk):
    """A flash that synchronises its memory, and not the image."""

    def sync(self, name: str) -> None:
        if not name.endswith(".part"):
            super().sync(name)


class TheMemoryIsRenamedTooEarly(FaultyDisk):
    """A flash that synchronises its memory only when that has its name already."""

    def sync(self, name: str) -> None:
        if name != BESIDE:
            super().sync(name)

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        if new == MEMORY:
            super().sync(new)


class TheMemoryIsWrittenInPlace(FaultyDisk):
    """A flash that writes over its memory."""

    def write(self, name: str, data: bytes) -> None:
        super().write(MEMORY if name == BESIDE else name, data)

    def sync(self, name: str) -> None:
        super().sync(MEMORY if name == BESIDE else name)

    def rename(self, old: str, new: str) -> None:
        if old != BESIDE:
            super().rename(old, new)


@pytest.mark.parametrize(
    "unsafe",
    [
        NamesAreNeverSafe,
        OctetsAreNeverSafe,
        TheImageIsNotSafe,
        TheMemoryIsRenamedTooEarly,
        TheMemoryIsWrittenInPlace,
    ],
)
def test_a_flash_that_is_not_safe_breaks_a_promise(unsafe):
    story = STORIES[0]
    operations = (live_through(story, (), unsafe)).operations
    broken = []
    for cut in itertools.islice(cases(operations), 0, None, 3):
        try:
            live_through(story, (cut,), unsafe)
        except PromiseBroken as error:
            broken.append(str(error))
            break
    assert broken, "no cut finds it"


def test_a_broken_promise_names_the_case_and_what_did_not_hold():
    cut = Cut(8, Place.AFTER, Survives.NOTHING)
    with pytest.raises(
        PromiseBroken, match="a PPMID is updated, after operation 8; survives: nothing: not kept"
    ):
        live_through(STORIES[0], (cut,), OctetsAreNeverSafe)
