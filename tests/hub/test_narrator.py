"""The demo's lines for people."""

from __future__ import annotations

from han.facts import Facts
from hub.demo.narrator import Names, Narrator

PPMID = "00-DB-12-34-56-78-90-A4"


def lines(*, full: bool) -> list[str]:
    """What is told of a piece of progress."""
    told = []
    names = Names({PPMID: "ppmid"}, {"ab" * 32: "image 00020000 for ppmid"})
    facts = Facts(lambda: 65.0)
    facts.subscribe(Narrator(names, told.append, full=full).hear)
    facts.say(
        "hub",
        "ota.progress",
        device=PPMID,
        image="ab" * 32,
        state="downloading",
        percent=37,
        offset=370,
        octets_per_second=2830.4,
        seconds_left=250.2,
    )
    return [str(line) for line in told]


def test_progress_is_told_in_words_in_the_full_story_and_not_at_all_in_the_short_one():
    (line,) = lines(full=True)
    assert " ".join(line.split()) == (
        "0d 00:01:05 ppmid image 00020000 for ppmid: downloading, 37 %, 2830 B/s, 4:10 left"
    )
    assert lines(full=False) == []
