"""Each peculiar device alone with the hub's machine: what becomes of its update, and what it does for it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ota_pair import RUNNING, Pair, upgrade_file

from han.sim.devices.personalities import PERSONALITIES, Peculiar, machine_for
from han.sim.personality import Personality
from ota.client import (
    Aborted,
    Activated,
    Activating,
    ClientSettings,
    DownloadComplete,
    DownloadStarted,
    FellBack,
    OtaClient,
    Queried,
    Send,
    StoredDownload,
)
from ota.commands import (
    WAIT_FOR_ACTIVATION,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImagePageRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.image import ImageKey
from ota.server import (
    PeerRefused,
    ServerSettings,
    TransferCompleted,
    TransferFailed,
    TransferInterrupted,
    TransferStalled,
)
from ota.status import Status

DAY = 86_400.0
NEW = 0x00020000
DEVICE = ClientSettings(first_query_within=1.0, query_every=DAY, maximum_data_size=56)


def pair_with(personality: str, *, settings: ClientSettings = DEVICE, seed: int = 3, **world: Any) -> Pair:
    """The hub's machine, and a device of this personality that has just been switched on."""
    pair = Pair(client=settings, seed=seed, **world)
    identity = world.get("identity", RUNNING)
    pair.client = machine_for(personality, settings, identity, random.Random(seed))
    pair.client.start(0.0)
    return pair


def updated(personality: str, days: float = 2.0, **world: Any) -> Pair:
    """The same after a file was offered and so many days have passed."""
    pair = pair_with(personality, **world)
    pair.offer(upgrade_file(version=NEW))
    pair.run(days * DAY)
    return pair


BROUGHT = [
    Personality.TAKES_40,
    Personality.EXACTLY_48,
    Personality.NEEDS_64,
    Personality.ODD_SIZES,
    Personality.ASKS_PAST_THE_END,
    Personality.ASKS_AHEAD,
    Personality.RESTARTS_AFTER_LOSS,
    Personality.SHIFTS_DATA,
    Personality.ACCEPTS_LATE_DUPLICATES,
    Personality.ABORTS_ON_DUPLICATES,
    Personality.FALLS_BACK_TO_BLOCKS,
    Personality.ONE_BLOCK_PER_HOUR,
    Personality.STOPS_AFTER_30_MINUTES,
    Personality.ABORTS_OFTEN,
    Personality.PERIOD_IN_SECONDS,
    Personality.ASKS_EVERY_FEW_SECONDS,
    Personality.ALTERNATES_IMAGE_TYPES,
    Personality.ANSWERS_NO_IMAGE,
    Personality.REFUSES_DOWNGRADE,
    Personality.UNENCRYPTED,
    Personality.SILENT_BEFORE_UPGRADE_END,
    Personality.ENDS_TWICE,
    Personality.RESTARTS_WHEN_ANSWER_LATE,
    Personality.TIME_IS_ABSOLUTE,
    Personality.CUTS_LONG_DELAYS,
    Personality.NO_VERSION_ATTRIBUTE,
]
"""Those that run the new version in the end, with nothing but the two machines between them."""


@pytest.mark.parametrize("personality", BROUGHT)
def test_the_hub_brings_it_to_the_new_version_once_and_to_the_octet(personality):
    pair = updated(personality)
    [*_, complete] = pair.all(DownloadComplete)

    assert pair.all(Activated) == [Activated(NEW)]
    assert complete.data == upgrade_file(version=NEW)
    assert len(pair.all(TransferCompleted)) == 1
    assert pair.all(TransferFailed) == []


@pytest.mark.parametrize("personality", BROUGHT)
@pytest.mark.parametrize("seed", [4, 5])
def test_a_bad_air_does_not_make_it_run_what_was_not_served(personality, seed):
    pair = updated(personality, days=6.0, loss=0.05, repeats=0.05, seed=seed)

    assert {complete.data for complete in pair.all(DownloadComplete)} <= {upgrade_file(version=NEW)}
    assert pair.all(Activated) in ([Activated(NEW)], [])


def test_every_personality_but_the_honest_one_has_its_class():
    assert set(PERSONALITIES) == set(Personality) - {Personality.HONEST}
    assert len(set(PERSONALITIES.values())) == len(PERSONALITIES)


def test_an_honest_device_has_nothing_around_its_machine():
    machine = machine_for(Personality.HONEST, DEVICE, RUNNING, random.Random(1))

    assert isinstance(machine, OtaClient)


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_peculiar_device_resumes_after_a_power_cut_like_any_other(personality):
    pair = pair_with(personality)
    pair.offer(upgrade_file(version=NEW))
    pair.run(60.0)
    stored = pair.client.stored
    pair.client = machine_for(personality, DEVICE, RUNNING, random.Random(9), stored)
    pair.client.start(pair.now)
    started = len(pair.all(DownloadStarted))
    pair.run(10.0)

    assert pair.client.stored is None or pair.client.stored.size == stored.size
    resumed = pair.all(DownloadStarted)[started:]
    assert stored is None or len(stored.data) == stored.size or resumed[0].offset == len(stored.data)


def ceiling(octets: int) -> ServerSettings:
    return ServerSettings(block_ceiling=octets)


def downloading(machine: OtaClient | Peculiar) -> Send:
    """The device asks for its first block; the request."""
    machine.tick(1.0)
    [query] = [item for item in machine.drain() if isinstance(item, Send)]
    answer = QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, NEW, len(upgrade_file(version=NEW)))
    machine.receive(answer, query.sequence, 2.0, confirm=False)
    [request] = [item for item in machine.drain() if isinstance(item, Send)]
    return request


def holding(personality: str) -> OtaClient | Peculiar:
    """A device that has the whole file and has asked when to upgrade."""
    data = upgrade_file(version=NEW)
    stored = StoredDownload(ImageKey(0x121D, 0x0084, NEW), len(data), data)
    machine = machine_for(personality, DEVICE, RUNNING, random.Random(1), stored)
    machine.start(0.0)
    machine.tick(10.0)
    machine.drain()
    return machine


# --- how much it takes ---------------------------------------------------------------------------------


def test_a_device_that_takes_40_octets_does_not_notice_a_larger_block():
    small, large = (pair_with("takes-40", server=settings) for settings in (ceiling(40), ceiling(56)))
    for pair in (small, large):
        pair.offer(upgrade_file(version=NEW))
        pair.run(10.0)

    assert small.client.stored is None
    assert small.all(Activated) == [Activated(NEW)]
    assert large.client.stored.data == b""


@pytest.mark.parametrize(("personality", "row"), [("exactly-48", 48), ("needs-64", 64)])
def test_a_device_that_writes_rows_asks_for_a_row_and_takes_no_part_of_one(personality, row):
    whole, part = (pair_with(personality, server=settings) for settings in (ceiling(65), ceiling(row - 1)))
    for pair in (whole, part):
        pair.offer(upgrade_file(version=NEW))
        pair.run(10.0)

    assert {request.maximum_data_size for request in whole.commands(ImageBlockRequest)} == {row}
    assert whole.all(Activated) == [Activated(NEW)]
    assert part.client.stored.data == b""


def test_a_device_of_odd_sizes_asks_for_56_4_6_18_and_then_64():
    pair = updated("odd-sizes")
    sizes = [request.maximum_data_size for request in pair.commands(ImageBlockRequest)]

    assert sizes[:4] == [56, 4, 6, 18]
    assert set(sizes[4:]) == {64}
    assert [len(block.data) for block in pair.commands(ImageBlockResponse)][:5] == [56, 4, 6, 18, 64]


def test_a_device_that_asks_past_the_end_is_told_that_nothing_is_there():
    pair = updated("asks-past-the-end")
    [beyond] = [
        request
        for request in pair.commands(ImageBlockRequest)
        if request.file_offset == len(upgrade_file(version=NEW))
    ]

    assert beyond.file_version == NEW
    assert Status.NO_IMAGE_AVAILABLE in {answer.status for answer in pair.commands(DefaultResponse)}


# --- what becomes of a block ---------------------------------------------------------------------------


def test_a_device_that_asks_ahead_has_two_requests_on_the_way_and_asks_for_nothing_twice():
    pair = updated("asks-ahead")
    kinds = [type(command) for _, _, command in pair.crossed]
    offsets = [request.file_offset for request in pair.commands(ImageBlockRequest)]

    assert kinds[: kinds.index(ImageBlockResponse)].count(ImageBlockRequest) == 2
    assert offsets == sorted(set(offsets))


def test_a_device_that_restarts_after_a_loss_asks_for_octet_0_again():
    pair = updated("restarts-after-loss")

    assert [started.offset for started in pair.all(DownloadStarted)] == [0, 0]
    assert [request.file_offset for request in pair.commands(ImageBlockRequest)].count(0) == 2


@pytest.mark.parametrize("personality", ["shifts-data", "accepts-late-duplicates"])
def test_a_device_that_mixes_up_blocks_does_not_run_what_came_of_it_and_tries_again(personality):
    pair = updated(personality)
    [end] = [end for end in pair.commands(UpgradeEndRequest) if end.status == Status.INVALID_IMAGE]

    assert end.file_version == NEW
    assert Aborted(Status.INVALID_IMAGE) in pair.all(Aborted)


def test_a_device_that_aborts_on_duplicates_keeps_what_it_has_and_is_notified_again():
    pair = updated("aborts-on-duplicates")

    assert [end.status for end in pair.commands(UpgradeEndRequest)] == [Status.ABORT, Status.SUCCESS]
    assert len(pair.all(TransferInterrupted)) == 1
    assert pair.all(DownloadStarted)[1].offset > len(upgrade_file(version=NEW)) // 2


def test_a_device_that_is_too_slow_for_pages_goes_on_block_by_block():
    pair = updated("falls-back-to-blocks")
    [fell_back] = pair.all(FellBack)
    kinds = [type(each) for _, _, each in pair.crossed]
    last_page = len(kinds) - kinds[::-1].index(ImagePageRequest)

    assert "page" in fell_back.why
    assert kinds.count(ImagePageRequest) == 2
    assert kinds[last_page:].count(ImageBlockRequest) >= 548 // 56


# --- when it asks for the next -------------------------------------------------------------------------


def test_a_device_that_asks_for_a_block_an_hour_takes_hours():
    pair = updated("one-block-per-hour")
    [activating] = pair.all(Activating)

    assert activating.at > 18 * 3600.0


def test_a_device_that_stops_after_30_minutes_goes_on_when_it_is_notified():
    pair = updated("stops-after-30-minutes")

    assert len(pair.all(TransferStalled)) == 1
    assert [started.offset > 0 for started in pair.all(DownloadStarted)] == [False, True]


def test_a_device_that_aborts_often_goes_on_where_it_stood():
    pair = updated("aborts-often")
    offsets = [started.offset for started in pair.all(DownloadStarted)]

    assert len(offsets) >= 8
    assert offsets == sorted(set(offsets))
    assert [end.status for end in pair.commands(UpgradeEndRequest)][-2:] == [Status.ABORT, Status.SUCCESS]


def test_a_period_in_seconds_makes_a_device_a_thousand_times_slower_than_it_was_told():
    device = pair_with("period-in-seconds").client
    honest = pair_with("honest").client
    for machine in (device, honest):
        request = downloading(machine)
        machine.receive(ImageBlockWait(0, 0, 200), request.sequence, 10.0)
        machine.drain()

    assert device.timer() == 210.0
    assert honest.timer() == pytest.approx(10.2)


# --- how it asks ---------------------------------------------------------------------------------------


def test_a_flood_of_queries_ends_after_ten_minutes():
    pair = updated("asks-every-few-seconds")

    assert 195 <= len(pair.all(Queried)) <= 205
    assert len([c for at, _, c in pair.crossed if isinstance(c, QueryNextImageRequest) and at > 700.0]) <= 3


def test_a_device_with_two_processors_asks_for_each_in_turn():
    pair = updated("alternates-image-types")

    assert [query.image_type for query in pair.commands(QueryNextImageRequest)][:2] == [0x0085, 0x0084]


def test_a_device_that_ignores_a_notification_confirms_it_and_asks_for_nothing():
    pair = updated("ignores-notify")

    assert pair.commands(QueryNextImageRequest) == []
    assert {answer.status for answer in pair.commands(DefaultResponse)} == {Status.SUCCESS}
    assert pair.all(Activated) == []


def test_a_device_answers_that_there_is_no_image_with_a_status_of_its_own():
    pair = updated("answers-no-image")

    assert {refused.status for refused in pair.all(PeerRefused)} == {Status(0xC1)}


def test_a_device_that_refuses_a_downgrade_says_so_before_a_block_is_asked_for():
    pair = pair_with("refuses-downgrade")
    pair.offer(upgrade_file(version=RUNNING.file_version - 1))
    pair.run(DAY)

    assert pair.commands(ImageBlockRequest) == []
    assert [end.status for end in pair.commands(UpgradeEndRequest)] == [Status.INVALID_IMAGE]
    assert pair.all(Activated) == []


# --- how it ends ---------------------------------------------------------------------------------------


def test_a_device_that_finds_every_image_invalid_never_runs_one():
    pair = updated("finds-image-invalid")

    assert {end.status for end in pair.commands(UpgradeEndRequest)} == {Status.INVALID_IMAGE}
    assert [failed.status for failed in pair.all(TransferFailed)] == [Status.INVALID_IMAGE]


def test_a_device_that_does_not_know_abort_complains_and_asks_on():
    pair = pair_with("malformed-after-abort")
    name = pair.offer(upgrade_file(version=NEW))
    pair.run(300.0)
    pair.server.withdraw(name, pair.now)
    pair.run(13 * 3600.0)
    after = [command for at, _, command in pair.crossed if at > 300.0]

    assert ImageBlockAbort() in after
    assert DefaultResponse(0x05, Status.MALFORMED_COMMAND, from_server=False) in after
    assert len([command for command in after if isinstance(command, ImageBlockRequest)]) >= 2
    assert len(after) < 40


def test_a_device_that_is_silent_before_the_end_takes_half_an_hour_over_it():
    pair = updated("silent-before-upgrade-end")
    [complete_at] = [
        at
        for at, _, command in pair.crossed
        if isinstance(command, UpgradeEndRequest) and command.status == Status.SUCCESS
    ]

    assert complete_at > 1800.0


def test_a_device_that_ends_twice_is_answered_twice_and_upgrades_once():
    pair = updated("ends-twice")

    assert len(pair.commands(UpgradeEndRequest)) == len(pair.commands(UpgradeEndResponse)) == 2


def test_a_device_that_misses_the_answer_to_its_end_downloads_everything_twice():
    pair = updated("restarts-when-answer-late")

    assert [started.offset for started in pair.all(DownloadStarted)] == [0, 0]


@pytest.mark.parametrize(
    ("personality", "current", "upgrade", "delay"),
    [
        ("time-is-absolute", 0, 600, 3.0),
        ("time-is-absolute", 700_000_000, 700_000_600, 600.0),
        ("time-is-absolute", 0, 0, 3.0),
        ("cuts-long-delays", 0, 600, 600.0),
        ("cuts-long-delays", 0, 7200, 3600.0),
        ("cuts-long-delays", 700_000_000, 700_007_200, 3600.0),
        ("honest", 0, 7200, 7200.0),
    ],
)
def test_an_upgrade_time_is_taken_as_the_device_understands_it(personality, current, upgrade, delay):
    machine = holding(personality)
    machine.receive(UpgradeEndResponse(0x121D, 0x0084, NEW, current, upgrade), 1, 100.0)
    [activating] = [item for item in machine.drain() if isinstance(item, Activating)]

    assert activating.at == 100.0 + delay


@pytest.mark.parametrize("personality", ["time-is-absolute", "cuts-long-delays"])
def test_hold_the_image_is_hold_the_image_for_everybody(personality):
    machine = holding(personality)
    wait = WAIT_FOR_ACTIVATION
    for current in (0, wait):
        machine.receive(UpgradeEndResponse(0x121D, 0x0084, NEW, current, wait), 1, 100.0)

    assert [item for item in machine.drain() if isinstance(item, Activating)] == []


@pytest.mark.parametrize(
    ("personality", "runs"),
    [("keeps-old-version", RUNNING.file_version), ("other-version-encoding", NEW >> 16)],
)
def test_a_device_may_say_that_it_has_upgraded_and_tell_another_version(personality, runs):
    pair = updated(personality, days=0.01)

    assert len(pair.all(TransferCompleted)) == 1
    assert pair.all(Activated) == [Activated(runs)]


def test_a_device_without_a_version_attribute_has_the_others():
    lacking = pair_with("no-version-attribute").client.attributes()
    whole = pair_with("honest").client.attributes()

    assert set(whole) - set(lacking) == {0x0002, 0x0004}


def test_only_one_of_them_leaves_its_commands_in_plain():
    assert [name for name, peculiar in PERSONALITIES.items() if peculiar.in_plain] == ["unencrypted"]
    assert not Peculiar.in_plain
