"""The head end's database."""

from __future__ import annotations

import sqlite3

import pytest
from dcc_world import HUB, INVENTORY, OTHER_HUB, PPMID

from hub.dcc.controls import Service
from hub.dcc.lifecycle import Result, Stage
from hub.dcc.records import Errand, Notice, Part, StoryLine
from hub.dcc.store import Store
from hub.errors import OurError, SurroundingsError

PART = Part(
    request_id="R",
    device=PPMID,
    position=0,
    service=Service.UPDATE_PPMID_FIRMWARE,
    device_type="PPMID",
    hub=HUB,
    stage=Stage.ACCEPTED,
    accepted_at=1.0,
    deadline=100.0,
)


@pytest.fixture
def store():
    store = Store("sqlite://")
    yield store
    store.close()


def test_what_is_written_in_a_file_is_there_after_a_restart(tmp_path):
    url = f"sqlite:///{tmp_path}/dsp.db"
    store = Store(url)
    with store.change() as change:
        for device in INVENTORY:
            change.inventory.put_device(device)
        change.parts.add(PART)
        change.story.tell(StoryLine(request_id="R", at=1.0, event="accepted", device=PPMID))
    store.close()

    with Store(url).change() as change:
        assert tuple(change.inventory.devices().values()) == INVENTORY
        assert change.parts.open() == [PART]
        assert [line.device for line in change.story.of("R")] == [PPMID]


def test_a_change_that_fails_leaves_nothing_behind(store):
    def fail_half_way():
        with store.change() as change:
            change.parts.add(PART)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()

    with store.change() as change:
        assert change.parts.open() == []


def test_a_part_ends_only_once(store):
    with store.change() as change:
        change.parts.add(PART)
        change.parts.end(PART, Result.ACTIVATED, 5.0, "02000000")
    with pytest.raises(OurError, match="one outcome"), store.change() as change:
        change.parts.end(PART, Result.EXPIRED, 6.0, None)
    with pytest.raises(OurError, match="one outcome"), store.change() as change:
        change.parts.move(PART, Stage.DELIVERED, 9.0)

    with store.change() as change:
        assert change.parts.of("R")[0].result is Result.ACTIVATED


def test_a_notice_is_kept_once_by_its_id(store):
    notice = Notice(notice_id="n", kind="k", hub=HUB, body=b"x", received_at=1.0)
    with store.change() as change:
        assert change.notices.note(notice)
        assert not change.notices.note(notice)
        assert change.notices.unapplied() == [notice]
        change.notices.applied("n", 2.0)
        assert change.notices.unapplied() == []


def test_an_images_octets_go_when_no_errand_needs_them(store):
    def errand(name):
        return Errand(
            errand_id=name,
            request_id="R",
            hub=HUB,
            service=Service.UPDATE_PPMID_FIRMWARE,
            first_at=0.0,
            next_at=0.0,
            image_id="i",
        )

    with store.change() as change:
        change.requests.put_image("i", "02000000", b"octets")
        change.errands.add(errand("a"))
        change.errands.add(errand("b"))
        change.errands.finish("a", "delivered")
        assert change.requests.image("i") == b"octets"
        change.errands.finish("b", "delivered")
        assert change.requests.image("i") is None
        change.requests.put_image("i", "02000000", b"octets")
        assert change.requests.image("i") == b"octets"


def test_a_counter_never_gives_a_number_twice(tmp_path):
    url = f"sqlite:///{tmp_path}/dsp.db"
    numbers = []
    for _ in range(3):
        store = Store(url)
        with store.change() as change:
            numbers.append(change.requests.next_number("request", 1000))
        store.close()

    assert numbers == [1000, 1001, 1002]


def test_a_version_is_noted_only_for_a_device_behind_that_hub(store):
    with store.change() as change:
        change.inventory.put_device(INVENTORY[0])
        change.inventory.put_version(PPMID, OTHER_HUB, "09000000")
        assert change.inventory.devices()[PPMID].version == "01000000"


def test_many_devices_are_found_as_well_as_few(store):
    with store.change() as change:
        for device in INVENTORY:
            change.inventory.put_device(device)
        everybody = [type(PPMID)(PPMID + offset) for offset in range(600)]
        assert PPMID in change.inventory.devices(everybody)
        assert list(change.inventory.devices([PPMID])) == [PPMID]


@pytest.mark.parametrize("url", ["nonsense", "", "sqlight:///x.db"])
def test_what_is_no_database_url_is_our_error_and_shows_how_one_looks(url):
    with pytest.raises(OurError, match=r"sqlite:///gbhan\.db"):
        Store(url)


def test_a_database_that_cannot_be_opened_says_what_to_do():
    with pytest.raises(SurroundingsError, match="--db"):
        Store("sqlite:////no/such/folder/dsp.db")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("these are notes, long enough to be no database header at all" * 20)
    with pytest.raises(SurroundingsError, match="--db"):
        Store(f"sqlite:///{file}")

    assert file.read_text().startswith("these are notes")


def test_a_database_of_another_schema_is_refused(tmp_path):
    Store(f"sqlite:///{tmp_path}/dsp.db").close()
    with sqlite3.connect(tmp_path / "dsp.db") as raw:
        raw.execute("UPDATE meta SET value = 99 WHERE name = 'schema'")

    with pytest.raises(SurroundingsError, match="schema 99"):
        Store(f"sqlite:///{tmp_path}/dsp.db")


def test_a_database_that_fails_under_way_says_what_to_do(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/dsp.db")
    with sqlite3.connect(tmp_path / "dsp.db") as raw:
        raw.execute("DROP TABLE parts")

    with pytest.raises(SurroundingsError, match="start again"), store.change() as change:
        change.parts.open()
    store.close()


def test_a_password_in_a_database_url_is_never_shown():
    with pytest.raises((OurError, SurroundingsError)) as refusal:
        Store("postgresql+nodriver://user:hunter2@localhost/dsp")

    assert "hunter2" not in str(refusal.value)
