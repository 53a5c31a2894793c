"""How the command line shows transfers, and what it makes of them."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime

import msgspec
import pytest
from click.testing import CliRunner
from hub_faulty_disk import FaultyDisk
from hub_world import HUB, OTHER, PPMID, World, image_for

from hub.cli import main, transfer, transfer_view
from hub.cli.transfer import look_on
from hub.messages import Envelopes, Response, TransferEntry
from hub.mqtt import MailboxSettings
from hub.progress import speed_in_words, time_in_words
from hub.terms import Terms


def entry(**fields) -> TransferEntry:
    return TransferEntry(**{"image_id": "0" * 64, "offset": 370, "size": 1000, "percent": 37, **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "waiting", "percent": 0}, "waiting"),
        ({"state": "waiting"}, "waiting, 37 %"),
        (
            {"state": "downloading", "octets_per_second": 2830.4, "seconds_left": 250.2},
            "downloading, 37 %, 2830 B/s, 4:10 left",
        ),
        ({"state": "downloading"}, "downloading, 37 %"),
        ({"state": "paused", "octets_per_second": 0.0}, "paused, 37 %"),
        ({"state": "stalled", "octets_per_second": 0.0}, "stalled, 37 %"),
        ({"state": "complete", "percent": 100, "seconds_left": 0.0}, "complete"),
        ({"state": "failed", "octets_per_second": 0.0}, "failed, 37 %"),
    ],
)
def test_a_transfer_reads_in_a_few_words(fields, words):
    assert transfer_view.shown(entry(**fields)) == words


def test_no_transfer_reads_as_nothing():
    assert transfer_view.shown(None) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0, "0:00"),
        (59.6, "1:00"),
        (250.2, "4:10"),
        (3727.0, "1:02:07"),
        (90_000.0, "25:00:00"),
    ],
)
def test_a_time_left_reads_as_on_a_clock(seconds, words):
    assert time_in_words(seconds) == words


def test_a_speed_that_is_not_known_is_not_made_up():
    assert [speed_in_words(each) for each in (None, 0.0, 2830.4)] == ["-", "0 B/s", "2830 B/s"]


# gbhan transfer show.


@contextlib.asynccontextmanager
async def downloading(tmp_path, *devices):
    """A hub with these devices, of which the first begins to download; and how a command reaches it."""
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(*devices)
        await world.head_end.offer(image_for("PPMID", size=40_000), *devices)
        await world.head_end.when(lambda: world.head_end.progress)
        yield world, MailboxSettings.in_simulation(world.broker.address, "asker")


async def test_what_is_under_way_is_shown(tmp_path):
    async with downloading(tmp_path, PPMID, OTHER) as (_, mailbox):
        shown = []
        await look_on(mailbox, HUB, lambda device, entry: shown.append((device, entry.state)), follow=False)
        assert shown == [(str(PPMID), "downloading"), (str(OTHER), "downloading")]


async def test_following_ends_when_every_transfer_has(tmp_path):
    async with downloading(tmp_path, PPMID, OTHER) as (_, mailbox):
        shown = []
        ended = await look_on(
            mailbox, HUB, lambda device, entry: shown.append((device, entry.percent)), follow=True
        )
        assert {entry.state for entry in ended.values()} == {"complete"}
        of_one = [percent for device, percent in shown if device == str(PPMID)]
        assert of_one == sorted(of_one)
        assert len(of_one) > 2


async def test_following_ends_though_the_end_was_told_to_nobody(tmp_path):
    async with downloading(tmp_path, PPMID) as (world, mailbox):
        world.hub._outbox._latest = _Forgetful()
        ended = await look_on(mailbox, HUB, lambda *_: None, follow=True)
        assert ended[str(PPMID)].state == "complete"


class _Forgetful(dict):
    """Where no progress is kept, as if the broker were away whenever some is told."""

    def __setitem__(self, name, message):
        if not name.startswith("progress"):
            super().__setitem__(name, message)


def shown_by(monkeypatch, *arguments: str, **states: str):
    """What the command makes of transfers that stand so."""

    async def stand(mailbox, hub, tell, *, follow):
        entries = {device: entry(state=state) for device, state in states.items()}
        for device, each in entries.items():
            tell(device, each)
        return entries

    monkeypatch.setattr(transfer, "look_on", stand)
    return CliRunner().invoke(main, ["transfer", "show", *arguments])


def test_the_present_is_one_document_and_what_follows_is_lines(monkeypatch):
    once = shown_by(monkeypatch, "--json", A="downloading", B="waiting")
    assert [each["device"] for each in json.loads(once.stdout)] == ["A", "B"]
    lines = shown_by(monkeypatch, "--json", "--follow", A="complete", B="complete")
    assert [json.loads(line)["state"] for line in lines.stdout.splitlines()] == ["complete", "complete"]


def test_lines_for_people_stand_where_nobody_watches_bars(monkeypatch):
    result = shown_by(monkeypatch, A="downloading", B="complete")
    assert result.output.splitlines() == ["A  downloading, 37 %", "B  complete"]


@pytest.mark.parametrize(("state", "status"), [("complete", 0), ("failed", 1), ("discarded", 1)])
def test_the_exit_status_says_whether_a_transfer_failed(monkeypatch, state, status):
    assert shown_by(monkeypatch, A=state).exit_code == status


def test_where_nothing_is_under_way_one_is_told_what_brings_an_image(monkeypatch):
    result = shown_by(monkeypatch)
    assert (result.exit_code, "SR 11.1 or 11.4" in result.output) == (0, True)
    assert json.loads(shown_by(monkeypatch, "--json").stdout) == []


def test_without_a_broker_one_is_told_so():
    result = CliRunner().invoke(main, ["transfer", "show", "--mqtt", "mqtt://127.0.0.1:1"])
    assert (result.exit_code, "nobody listens" in result.output) == (3, True)


# gbhan transfer pause, resume, abort, configure.


class FakeHub:
    """Answers one question, and remembers it."""

    def __init__(self, **answer) -> None:
        self.answer = {"ok": True, "code": "ok", **answer}
        self.asked = []

    async def ask(self, mailbox, hub, make, *, within):
        numbers = iter(range(1, 100))
        request = make(Envelopes(lambda: datetime.now(UTC), lambda: f"q{next(numbers)}"))
        self.asked.append(request)
        return msgspec.convert(
            {
                "verb": request.TOPIC.removeprefix("request/"),
                "in_reply_to": request.id,
                "id": "a",
                "utc": datetime.now(UTC),
                "seq": 1,
                **self.answer,
            },
            Response,
        )


def order(monkeypatch, hub: FakeHub, *arguments: str):
    monkeypatch.setattr(transfer, "ask", hub.ask)
    return CliRunner().invoke(main, ["transfer", *arguments])


@pytest.mark.parametrize(
    ("action", "words"),
    [("pause", "is paused"), ("resume", "goes on"), ("abort", "gets this image no more")],
)
def test_an_order_reaches_the_hub_and_its_outcome_is_said(monkeypatch, action, words):
    hub = FakeHub()
    result = order(monkeypatch, hub, action, str(PPMID))
    assert (result.exit_code, words in result.output) == (0, True)
    assert [(each.device, each.action) for each in hub.asked] == [(str(PPMID), action)]


@pytest.mark.parametrize("action", ["pause", "resume", "abort", "configure"])
def test_a_refusal_is_said_in_the_hubs_words_and_exits_with_1(monkeypatch, action):
    hub = FakeHub(ok=False, code="no-transfer", reason="no image waits for it")
    result = order(monkeypatch, hub, action, str(PPMID))
    assert (result.exit_code, "no image waits for it" in result.stderr) == (1, True)
    document = json.loads(order(monkeypatch, hub, action, str(PPMID), "--json").stdout)
    assert (document["ok"], document["code"]) == (False, "no-transfer")


@pytest.mark.parametrize(
    ("arguments", "terms"),
    [
        ((), Terms()),
        (("--block-period", "250ms"), Terms(minimum_block_period=0.25)),
        (("--block-period", "0"), Terms(minimum_block_period=0.0)),
        (
            ("--block-ceiling", "40", "--no-acks", "--stall-after", "2h", "--period-unit", "s"),
            Terms(block_ceiling=40, acknowledged_blocks=False, stall_after=7200.0, block_period_unit="s"),
        ),
        (
            ("--reset", "--acks"),
            Terms(
                block_ceiling=None,
                minimum_block_period=None,
                block_period_unit=None,
                acknowledged_blocks=True,
                stall_after=None,
                serves_pages=None,
            ),
        ),
    ],
)
def test_terms_travel_as_they_were_said(monkeypatch, arguments, terms):
    hub = FakeHub(terms={"block_ceiling": 40})
    result = order(monkeypatch, hub, "configure", str(PPMID), *arguments)
    assert "block ceiling 40" in result.output
    assert [each.terms for each in hub.asked] == [terms]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("pause",), "EUI64"),
        (("pause", "17"), "EUI-64"),
        (("configure", str(PPMID), "--block-ceiling", "66"), "65"),
        (("configure", str(PPMID), "--block-period", "soon"), "250ms"),
        (("configure", str(PPMID), "--block-period", "2h"), "an hour"),
        (("configure", str(PPMID), "--period-unit", "days"), "probe"),
        (("configure", str(PPMID), "--stall-after", "90d"), "stall_after"),
        (("stop", str(PPMID)), "stop"),
    ],
)
def test_wrong_usage_is_named_and_nothing_is_asked(monkeypatch, arguments, hint):
    hub = FakeHub()
    result = order(monkeypatch, hub, *arguments)
    assert (result.exit_code, hint in result.output, hub.asked) == (2, True, [])


@pytest.mark.parametrize("command", ["show", "pause", "resume", "abort", "configure"])
def test_each_of_them_helps_with_an_example(command):
    result = CliRunner().invoke(main, ["transfer", command, "--help"])
    assert f"Example: gbhan transfer {command}" in result.output
