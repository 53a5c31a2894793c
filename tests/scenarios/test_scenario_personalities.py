"""A house of peculiar devices in front of the true hub: what becomes of each, and why."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from han.clock import run
from han.sim.home import read_home
from han.sim.personality import Outcome, Personality
from hub.demo.performance import Performance, scratch_places
from hub.demo.report import DeviceRow, Report
from hub.demo.stage import Chance

HOME = Path(__file__).parents[2] / "fixtures" / "homes" / "personalities.toml"

INVALID = r"file transfer failure: .*INVALID_IMAGE"
NOT_UPDATED = {
    "ignores-notify": (
        Outcome.FAILED,
        r"aborted by the user: it was notified \d+ times and asked for none of",
    ),
    "refuses-downgrade": (
        Outcome.FAILED,
        INVALID + r".*: it was notified once and asked for none of the image",
    ),
    "unencrypted": (Outcome.FAILED, r"aborted by the user.*; .* refused: it came without APS security"),
    "finds-image-invalid": (
        Outcome.FAILED,
        INVALID + r".*: it was notified .* and had come to octet \d+",
    ),
    "malformed-after-abort": (Outcome.FAILED, r"aborted by the user: .* and had come to octet \d+"),
    "keeps-old-version": (Outcome.UNCHANGED, r"took 00020000 and tells that it runs 00010000"),
    "other-version-encoding": (Outcome.UNCHANGED, r"took 00020000 and tells that it runs 00000002"),
    "never-starts": (Outcome.UNCHANGED, r"took 00020000 and tells that it runs 00010000"),
    "no-version-attribute": (Outcome.UNCONFIRMED, r"the device does not tell its version"),
}
"""The devices that are not brought to the new version, and the words for why; all the others are."""


LOSS = 0.02
"""Share of the frames that the air loses: peculiar devices live in houses with thick walls, too."""


class Failures(logging.Handler):
    """Keeps what was logged with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tracebacks.append(f"{record.getMessage()}: {record.exc_info[1]}")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    places = scratch_places(tmp_path_factory.mktemp("evidence"), capture=None, keys=None, facts=None)
    performance = Performance(Chance(7, LOSS), places, read_home(str(HOME)))
    failures = Failures()
    logging.getLogger().addHandler(failures)
    try:
        report = run(performance.run(), virtual=True, seed=7)
    finally:
        logging.getLogger().removeHandler(failures)
    assert failures.tracebacks == []  # the library that calls our code keeps its failures to itself
    return report


@pytest.fixture(scope="module")
def rows(report: Report) -> dict[str, DeviceRow]:
    return {row.name: row for row in report.devices}


def test_every_device_of_the_house_has_one_row(report, rows):
    names = [device.name for device in read_home(str(HOME)).devices]

    assert sorted(rows) == sorted(names)
    assert len(report.devices) == len(names)


def test_the_hub_brings_every_one_that_can_be_updated_to_its_new_version(rows):
    others = [row for name, row in rows.items() if name not in NOT_UPDATED]

    assert {row.outcome for row in others} == {Outcome.UPDATED}
    assert {row.version_after for row in others} == {"00020000"}
    assert {row.reason for row in others} == {""}


@pytest.mark.parametrize("name", NOT_UPDATED)
def test_the_reason_is_named_for_each_that_cannot_be(rows, name):
    outcome, reason = NOT_UPDATED[name]

    assert rows[name].outcome == outcome
    assert re.search(reason, rows[name].reason), rows[name].reason


def test_every_outcome_is_the_one_that_the_home_file_expects(report):
    assert report.unmet == []
    assert report.ok
    assert all(row.ok for row in report.devices)


def test_a_device_of_every_personality_lives_in_the_house(rows):
    assert {row.personality for row in rows.values()} == set(Personality)
