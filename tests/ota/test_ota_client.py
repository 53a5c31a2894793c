"""The device's machine, one command at a time."""

from __future__ import annotations

import random

import pytest
from ota_bench import FILE, KEY, OFFERED, WAIT, Bench, complete, downloading, waiting
from ota_pair import PPMID, RUNNING

from ota.client import (
    TRANSITIONS,
    Aborted,
    Activated,
    Activating,
    BlockReceived,
    ClientSettings,
    DownloadComplete,
    DownloadStarted,
    GaveUp,
    Ignored,
    OtaClient,
    Queried,
    Send,
    Signal,
    State,
    StoredDownload,
    WaitingToActivate,
)
from ota.commands import (
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError, TheirError


def activate_in(seconds: int, current: int = 0) -> UpgradeEndResponse:
    return UpgradeEndResponse(0x121D, 0x0084, 2, current, current + seconds)


def test_a_device_asks_for_the_next_image_soon_after_power_on():
    bench = Bench(first_query_within=255.0)
    assert 0 < bench.now <= 255
    assert bench.asked == QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150)
    assert bench.told == [Queried()]


def test_a_device_without_an_image_asks_again_after_its_period():
    bench = Bench(query_every=300.0)
    assert bench.hears(QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE)) == []
    assert bench.client.timer() == bench.now + 300.0


@pytest.mark.parametrize(
    "answer",
    [
        QueryNextImageResponse(Status.NOT_AUTHORIZED),
        QueryNextImageResponse(Status(0xC1)),
        DefaultResponse(0x01, Status.UNSUP_CLUSTER_COMMAND),
    ],
)
def test_any_other_answer_to_a_query_is_no_image(answer):
    bench = Bench(query_every=300.0)
    assert bench.hears(answer) == []
    assert bench.client.state is State.NORMAL
    assert bench.client.timer() == bench.now + 300.0


def test_an_unanswered_query_is_repeated_a_few_times_and_then_left_for_later():
    bench = Bench(query_tries=3, query_every=300.0)
    times = []
    for _ in range(3):
        bench.wait()  # no answer
        bench.wait()
        times.append(bench.now)
    assert times == [5.0, 12.0, 315.0]


def test_an_image_on_offer_is_asked_for_from_its_header_on():
    bench = Bench()
    assert bench.hears(OFFERED) == [ImageBlockRequest(0x121D, 0x0084, 2, 0, 65)]
    assert bench.told == [DownloadStarted(KEY, len(FILE), 0)]


@pytest.mark.parametrize(
    "offered",
    [
        QueryNextImageResponse(Status.SUCCESS, 0x1234, 0x0084, 2, len(FILE)),
        QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0085, 2, len(FILE)),
        QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 1, len(FILE)),
    ],
)
def test_an_image_for_another_device_or_of_the_running_version_is_ignored(offered):
    bench = Bench()
    assert bench.hears(offered) == []
    assert [type(event) for event in bench.told] == [Ignored]
    assert bench.client.state is State.NORMAL


@pytest.mark.parametrize(
    ("size", "status"),
    [
        (0, Status.INVALID_IMAGE),
        (55, Status.INVALID_IMAGE),
        (1 << 20 | 1, Status.INSUFFICIENT_SPACE),
    ],
)
def test_an_image_of_an_impossible_size_is_turned_down(size, status):
    bench = Bench()
    answer = QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, size)
    assert bench.hears(answer) == [UpgradeEndRequest(status, 0x121D, 0x0084, 2)]
    assert bench.told == [Aborted(status)]
    assert bench.client.state is State.NORMAL


def test_a_device_may_refuse_a_lower_version():
    lower = QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 0, len(FILE))
    assert Bench().hears(lower) == [ImageBlockRequest(0x121D, 0x0084, 0, 0, 65)]
    assert Bench(accepts_downgrade=False).hears(lower) == [
        UpgradeEndRequest(Status.INVALID_IMAGE, 0x121D, 0x0084, 0)
    ]


def test_each_block_is_stored_and_the_next_one_asked_for():
    bench = downloading()
    assert bench.hears(bench.block()) == [ImageBlockRequest(0x121D, 0x0084, 2, 65, 65)]
    assert bench.told == [BlockReceived(0, 65)]
    assert bench.client.stored == StoredDownload(KEY, len(FILE), FILE[:65])


def test_a_block_shorter_than_asked_for_is_taken_as_it_is():
    bench = downloading()
    assert bench.hears(bench.block(10)) == [ImageBlockRequest(0x121D, 0x0084, 2, 10, 65)]


def test_a_block_that_stays_away_is_asked_for_again_at_the_same_offset_ever_more_patiently():
    bench = downloading(answer_timeout=3.0, back_off=2.0, back_off_at_most=10.0)
    bench.hears(bench.block())
    times = []
    for _ in range(4):
        bench.wait()  # the time-out
        assert bench.sent == []
        bench.wait()
        assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 65, 65)
        times.append(bench.now)
    assert times == [5.0, 12.0, 23.0, 36.0]


def test_ten_blocks_in_a_row_that_stay_away_end_the_download_but_not_what_is_stored():
    bench = downloading(errors_allowed=10)
    bench.hears(bench.block())
    for _ in range(19):
        bench.wait()
    assert bench.asked == UpgradeEndRequest(Status.ABORT, 0x121D, 0x0084, 2)
    assert [type(event) for event in bench.told] == [GaveUp]
    assert bench.client.state is State.NORMAL
    bench.wait()
    assert bench.hears(OFFERED) == [ImageBlockRequest(0x121D, 0x0084, 2, 65, 65)]


def test_a_block_resets_the_count_of_errors():
    bench = downloading(errors_allowed=2)
    while bench.client.state is State.DOWNLOADING:
        bench.wait()
        bench.wait()
        bench.hears(bench.block())
    assert bench.client.state is State.COMPLETE


def test_a_late_answer_is_taken_while_nothing_newer_was_asked():
    bench = downloading()
    bench.wait()  # the time-out
    assert bench.hears(bench.block()) == [ImageBlockRequest(0x121D, 0x0084, 2, 65, 65)]


def test_an_answer_with_another_sequence_number_changes_nothing():
    bench = downloading()
    before = bench.client.timer()
    assert bench.hears(bench.block(), sequence=(bench.client._talk.sequence + 1) % 256) == []
    assert [type(event) for event in bench.told] == [Ignored]
    assert (bench.client.timer(), bench.client.stored.data) == (before, b"")


def test_a_block_that_comes_twice_is_stored_once():
    bench = downloading()
    sequence, block = bench.client._talk.sequence, bench.block()
    bench.hears(block, sequence)
    assert bench.hears(block, sequence) == []
    assert bench.client.stored.data == FILE[:65]


@pytest.mark.parametrize(
    "block",
    [
        ImageBlockResponse(0x121D, 0x0084, 3, 0, FILE[:65]),
        ImageBlockResponse(0x1234, 0x0084, 2, 0, FILE[:65]),
        ImageBlockResponse(0x121D, 0x0084, 2, 65, FILE[65:130]),
    ],
)
def test_a_block_of_another_image_or_offset_changes_nothing(block):
    bench = downloading()
    before = bench.client.timer()
    assert bench.hears(block) == []
    assert (bench.client.timer(), bench.client.stored.data) == (before, b"")


@pytest.mark.parametrize("data", [b"", FILE[:66], FILE + bytes(10)])
def test_a_block_that_is_empty_or_too_long_is_malformed_and_asked_for_again(data):
    bench = downloading()
    block = ImageBlockResponse(0x121D, 0x0084, 2, 0, data[:255])
    assert bench.hears(block) == [DefaultResponse(0x05, Status.MALFORMED_COMMAND, from_server=False)]
    assert bench.client.stored.data == b""
    bench.wait()
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 0, 65)


def test_a_block_past_the_end_of_the_file_is_malformed():
    bench = downloading()
    for _ in range(4):
        bench.hears(bench.block(60))
    offset = len(bench.client.stored.data)
    block = ImageBlockResponse(0x121D, 0x0084, 2, offset, bytes(len(FILE) - offset + 1))
    assert bench.hears(block) == [DefaultResponse(0x05, Status.MALFORMED_COMMAND, from_server=False)]


@pytest.mark.parametrize(
    "end",
    [
        ImageBlockAbort(),
        ImageBlockAbort(Status.NO_IMAGE_AVAILABLE),
        DefaultResponse(0x03, Status.NO_IMAGE_AVAILABLE),
        DefaultResponse(0x03, Status.ABORT),
    ],
)
def test_the_server_s_word_ends_a_download(end):
    bench = downloading(query_every=300.0)
    bench.hears(bench.block())
    assert bench.hears(end) == []
    assert bench.told == [Aborted(end.status)]
    assert bench.client.state is State.NORMAL
    assert bench.client.stored is None
    assert bench.client.timer() == bench.now + 300.0


def test_a_device_may_keep_what_it_has_of_an_aborted_image():
    bench = downloading(keeps_aborted=True)
    bench.hears(bench.block())
    bench.hears(ImageBlockAbort())
    bench.wait()
    assert bench.hears(OFFERED) == [ImageBlockRequest(0x121D, 0x0084, 2, 65, 65)]


def test_what_is_kept_and_then_refused_at_once_is_dropped_so_that_the_next_attempt_starts_anew():
    bench = downloading(keeps_aborted=True)
    bench.hears(bench.block())
    bench.hears(ImageBlockAbort())
    bench.wait()
    bench.hears(OFFERED)
    bench.hears(ImageBlockAbort())
    bench.wait()
    assert bench.hears(OFFERED) == [ImageBlockRequest(0x121D, 0x0084, 2, 0, 65)]


def test_what_is_kept_of_one_image_is_dropped_for_another():
    bench = downloading(keeps_aborted=True)
    bench.hears(bench.block())
    bench.hears(ImageBlockAbort())
    bench.wait()
    other = QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 3, len(FILE))
    assert bench.hears(other) == [ImageBlockRequest(0x121D, 0x0084, 3, 0, 65)]


def test_a_server_that_knows_no_block_requests_ends_the_download_at_once():
    bench = downloading()
    bench.hears(DefaultResponse(0x03, Status.UNSUP_CLUSTER_COMMAND))
    assert bench.told == [Aborted(Status.UNSUP_CLUSTER_COMMAND)]
    assert bench.client.state is State.NORMAL


def test_a_block_period_lies_between_requests_however_long_the_answer_takes():
    bench = downloading()
    bench.hears(ImageBlockWait(0, 0, 500))
    bench.wait()
    asked = bench.now
    bench.now += 0.2
    bench.hears(bench.block())
    assert bench.client.timer() == asked + 0.5
    bench.wait()
    bench.now += 0.7
    assert isinstance(bench.hears(bench.block())[0], ImageBlockRequest)


def test_an_error_without_meaning_for_a_block_is_one_of_ten():
    bench = downloading()
    assert bench.hears(DefaultResponse(0x03, Status.FAILURE)) == []
    assert bench.client.state is State.DOWNLOADING
    bench.wait()
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 0, 65)


@pytest.mark.parametrize(
    ("wait", "delay"),
    [
        (ImageBlockWait(0, 300), 300.0),
        (ImageBlockWait(820454400, 820454460), 60.0),
        (ImageBlockWait(0, 100_000), 3600.0),
        (ImageBlockWait(820454400, 820454399), 300.0),
        (ImageBlockWait(0, 0), 2.0),
        (ImageBlockWait(0, 0, 500), 0.5),
        (ImageBlockWait(0, 300, 500), 300.0),
    ],
)
def test_a_device_that_is_told_to_wait_asks_again_after_that_time(wait, delay):
    bench = downloading(wait_at_most=3600.0, invalid_wait=300.0, back_off=2.0)
    assert bench.hears(wait) == []
    assert bench.client.timer() == bench.now + delay
    bench.wait()
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 0, 65)


def test_a_minimum_block_period_paces_all_further_requests_and_is_reported():
    bench = downloading(reports_block_period=True)
    bench.hears(ImageBlockWait(0, 0, 500))
    bench.wait()
    assert bench.asked.minimum_block_period == 500
    assert bench.hears(bench.block()) == []
    assert bench.client.timer() == bench.now + 0.5
    assert bench.client.attributes()[0x0009] == 500


EARLY_2026 = 820454400  # seconds since 2000


def clock(ahead: float):
    """A device's clock that is ``ahead`` of the server's by so many seconds."""
    return lambda now: EARLY_2026 + now + ahead


@pytest.mark.parametrize(("ahead", "delay"), [(0, 60.0), (-5, 65.0), (20, 40.0), (90, 2.0)])
def test_a_device_with_a_clock_waits_until_the_time_that_the_server_names(ahead, delay):
    bench = downloading(utc=clock(ahead), back_off=2.0)
    bench.hears(ImageBlockWait(EARLY_2026, EARLY_2026 + 60))
    assert bench.client.timer() == bench.now + delay


@pytest.mark.parametrize("utc", [None, lambda _: None, clock(1e6)])
def test_a_relative_time_asks_for_no_clock(utc):
    bench = downloading(utc=utc)
    bench.hears(ImageBlockWait(0, 60))
    assert bench.client.timer() == bench.now + 60


def test_a_device_whose_clock_is_not_set_counts_from_the_server_s_current_time():
    bench = downloading(utc=lambda _: None)
    bench.hears(ImageBlockWait(EARLY_2026, EARLY_2026 + 60))
    assert bench.client.timer() == bench.now + 60


@pytest.mark.parametrize(("ahead", "delay"), [(0, 7200), (600, 6600), (10_000, 3.0)])
def test_a_device_with_a_clock_activates_at_the_time_of_day_that_the_server_names(ahead, delay):
    bench = complete(utc=clock(ahead), activation_delay=3.0)
    bench.hears(activate_in(7200, EARLY_2026))
    assert bench.client.timer() == bench.now + delay


def test_a_delay_beyond_an_hour_is_kept_to_the_second():
    bench = complete()
    bench.hears(activate_in(30 * 86400))
    bench.wait()
    assert bench.now == 30 * 86400
    assert bench.told == [Activated(2)]


@pytest.mark.parametrize(("revision", "seconds"), [(1, 0.005), (2, 5.0), (3, 0.005)])
def test_a_block_period_counts_seconds_in_cluster_revision_2_alone(revision, seconds):
    bench = downloading(cluster_revision=revision)
    bench.hears(ImageBlockWait(0, 0, 5))
    assert bench.client.timer() == bench.now + seconds
    assert bench.client.attributes()[0xFFFD] == revision


def test_a_whole_good_file_is_reported_only_then():
    bench = complete()
    assert bench.asked == UpgradeEndRequest(Status.SUCCESS, 0x121D, 0x0084, 2)
    assert bench.told[-1] == DownloadComplete(KEY, FILE)
    assert bench.client.held == KEY


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:1] + b"\x00" + data[2:],
        lambda data: data[:14] + b"\x09" + data[15:],
        lambda data: data[:52] + b"\x00" + data[53:],
    ],
)
def test_a_file_that_is_not_what_was_named_is_dropped_and_reported_as_invalid(spoil):
    bench = downloading()
    wrong = spoil(FILE)
    while bench.client.state is State.DOWNLOADING:
        at = len(bench.client.stored.data)
        bench.hears(ImageBlockResponse(0x121D, 0x0084, 2, at, wrong[at : at + 65]))
    assert bench.asked == UpgradeEndRequest(Status.INVALID_IMAGE, 0x121D, 0x0084, 2)
    assert bench.told[-1] == Aborted(Status.INVALID_IMAGE)
    assert bench.client.stored is None


def test_a_device_s_own_check_has_the_last_word():
    bench = downloading(verify=lambda data: data[-1] != FILE[-1])
    while bench.client.state is State.DOWNLOADING:
        bench.hears(bench.block())
    assert bench.asked.status is Status.INVALID_IMAGE


def test_told_to_activate_now_a_device_lets_acknowledgements_flow_first():
    bench = complete(activation_delay=3.0)
    assert bench.hears(activate_in(0)) == []
    assert bench.told == [Activating(KEY, bench.now + 3.0)]
    bench.wait()
    assert bench.told == [Activated(2)]
    assert bench.client.identity.file_version == 2
    assert bench.client.stored is None


@pytest.mark.parametrize("current", [0, 820454400])
def test_a_time_to_activate_may_be_relative_or_utc(current):
    bench = complete()
    bench.hears(activate_in(7200, current))
    assert bench.client.state is State.COUNT_DOWN
    assert bench.client.timer() == bench.now + 7200


def test_a_time_to_activate_before_the_current_time_is_refused():
    bench = complete()
    answer = UpgradeEndResponse(0x121D, 0x0084, 2, 820454400, 820454399)
    assert bench.hears(answer) == [DefaultResponse(0x07, Status.INVALID_VALUE, from_server=False)]
    assert bench.client.state is State.COMPLETE


def test_a_new_time_to_activate_replaces_the_old_one():
    bench = complete()
    bench.hears(activate_in(7200))
    bench.hears(activate_in(60))
    assert bench.client.timer() == bench.now + 60


@pytest.mark.parametrize(
    "answer",
    [
        UpgradeEndResponse(0x1234, 0x0084, 2, 0, 0),
        UpgradeEndResponse(0x121D, 0x0085, 2, 0, 0),
        UpgradeEndResponse(0x121D, 0x0084, 3, 0, 0),
    ],
)
def test_an_upgrade_end_response_for_another_image_is_ignored(answer):
    bench = complete()
    assert bench.hears(answer) == []
    assert bench.client.state is State.COMPLETE


def test_wildcards_mean_the_image_that_is_held():
    bench = complete()
    bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0))
    assert bench.client.state is State.COUNT_DOWN


def test_a_device_told_to_hold_asks_hourly_whether_it_may_go():
    bench = waiting(hold_repeat=3600.0)
    assert bench.told == [WaitingToActivate(KEY)]
    assert bench.client.state is State.WAITING
    bench.wait()
    assert bench.now == 3600.0
    assert bench.asked == UpgradeEndRequest(Status.SUCCESS, 0x121D, 0x0084, 2)
    assert bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, WAIT, WAIT)) == []
    assert bench.told == []


def test_a_holding_device_goes_when_it_is_told_without_having_asked():
    bench = waiting()
    bench.hears(activate_in(0), sequence=200)
    assert bench.client.state is State.COUNT_DOWN


def test_a_holding_device_that_hears_nothing_goes_on_holding():
    bench = waiting(end_tries=3)
    for _ in range(20):
        bench.wait()
    assert bench.client.state is State.WAITING


def test_a_two_stage_device_holds_its_image_for_the_command_alone():
    bench = complete(out_of_band_only=True)
    refused = DefaultResponse(0x07, Status.NOT_AUTHORIZED, from_server=False)
    assert bench.hears(activate_in(0)) == [refused]
    assert bench.client.state is State.EXTERNAL
    bench.client.activate(bench.now)
    bench._collect()
    assert bench.told == [Activated(2)]


def test_a_two_stage_device_never_applies_an_image_because_nobody_answers():
    bench = complete(out_of_band_only=True, end_tries=3)
    while bench.client.state is State.COMPLETE:
        bench.wait()
    assert bench.client.state is State.EXTERNAL
    assert bench.told == [WaitingToActivate(KEY)]


def test_a_two_stage_device_that_holds_an_image_may_take_a_newer_one():
    bench = waiting(out_of_band_only=True)
    bench.wait()
    assert isinstance(bench.asked, QueryNextImageRequest)
    newer = QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 3, len(FILE))
    assert bench.hears(newer) == [ImageBlockRequest(0x121D, 0x0084, 3, 0, 65)]


def test_a_device_does_not_take_again_what_it_holds_but_says_that_it_does():
    bench = waiting(out_of_band_only=True)
    bench.wait()
    assert bench.hears(OFFERED) == [UpgradeEndRequest(Status.SUCCESS, 0x121D, 0x0084, 2)]
    assert bench.client.held == KEY
    assert bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, WAIT, WAIT)) == []
    assert bench.client.state is State.EXTERNAL


@pytest.mark.parametrize(("applies", "state"), [(True, State.COUNT_DOWN), (False, State.WAITING)])
def test_without_an_answer_the_time_out_policy_decides(applies, state):
    bench = complete(apply_after_timeout=applies, end_tries=10)
    asked = 1
    while bench.client.state is State.COMPLETE:
        bench.wait()
        asked += len(bench.sent)
    assert bench.client.state is state
    assert asked == 10


def test_a_server_that_will_not_have_the_image_makes_the_device_drop_it():
    bench = complete()
    assert bench.hears(DefaultResponse(0x06, Status.ABORT)) == []
    assert bench.told == [Aborted(Status.ABORT)]
    assert bench.client.stored is None


def test_a_server_that_does_not_know_the_image_does_not_make_the_device_drop_it():
    bench = complete()
    bench.hears(DefaultResponse(0x06, Status.NO_IMAGE_AVAILABLE))
    assert bench.client.held == KEY


def test_without_an_image_there_is_nothing_to_activate():
    with pytest.raises(OurError, match="no whole image"):
        downloading().client.activate(0.0)


def test_a_device_that_loses_power_goes_on_where_it_stood_without_a_query():
    before = downloading()
    before.hears(before.block())
    after = Bench(before.client.stored)
    assert after.asked == ImageBlockRequest(0x121D, 0x0084, 2, 65, 65)
    assert after.told == [DownloadStarted(KEY, len(FILE), 65)]


def test_a_device_that_restarts_with_a_whole_file_checks_it_and_asks_when():
    after = Bench(StoredDownload(KEY, len(FILE), FILE))
    assert after.asked == UpgradeEndRequest(Status.SUCCESS, 0x121D, 0x0084, 2)


def test_a_file_that_went_bad_in_the_flash_is_dropped_at_restart():
    after = Bench(StoredDownload(KEY, len(FILE), b"\x00" + FILE[1:]))
    assert isinstance(after.asked, QueryNextImageRequest)
    assert after.client.stored is None


@pytest.mark.parametrize("bench", [downloading, complete, waiting])
def test_a_reboot_forgets_what_was_under_way_and_keeps_the_flash(bench):
    rebooted = bench()
    stored = rebooted.client.stored
    rebooted.client.reboot(rebooted.now)
    assert rebooted.client.stored == stored
    assert rebooted.client.drain() == []
    rebooted.wait()
    assert isinstance(rebooted.asked, ImageBlockRequest | UpgradeEndRequest)


def test_what_was_not_sent_before_a_reboot_is_never_sent():
    client = downloading().client
    client.receive(ImageNotify(), 99, 0.0)
    client.reboot(0.0)
    assert client.drain() == []


def test_a_unicast_notification_always_leads_to_a_query():
    bench = Bench()
    bench.hears(QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE))
    sent = bench.hears(ImageNotify(3, 1, 0x1234, 0x9999, 1), sequence=99)
    assert sent == [
        QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150),
        DefaultResponse(0x00, Status.SUCCESS, from_server=False),
    ]


def test_a_notification_whose_sender_wants_no_default_response_gets_the_query_alone():
    client = Bench().client
    client.drain()
    client.receive(ImageNotify(), 99, 0.0, confirm=False)
    sent = [item.command for item in client.drain() if isinstance(item, Send)]
    assert sent == [QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150)]


def test_a_busy_device_turns_a_notification_down_even_if_nobody_wants_success_confirmed():
    client = downloading().client
    client.receive(ImageNotify(), 99, 0.0, confirm=False)
    sent = [item.command for item in client.drain() if isinstance(item, Send)]
    assert sent == [DefaultResponse(0x00, Status.FAILURE, from_server=False)]


@pytest.mark.parametrize("bench", [downloading, complete])
def test_a_busy_device_turns_a_notification_down_and_goes_on(bench):
    busy = bench()
    due = busy.client.timer()
    assert busy.hears(ImageNotify(), sequence=99) == [
        DefaultResponse(0x00, Status.FAILURE, from_server=False)
    ]
    assert busy.client.timer() == due


@pytest.mark.parametrize(
    ("notify", "asks"),
    [
        (ImageNotify(0, 100), True),
        (ImageNotify(0, 0), False),
        (ImageNotify(0, 101), False),
        (ImageNotify(1, 100, 0x121D), True),
        (ImageNotify(1, 100, 0x1234), False),
        (ImageNotify(2, 100, 0x121D, 0x0085), False),
        (ImageNotify(2, 100, 0xFFFF, 0xFFFF), True),
        (ImageNotify(3, 100, 0x121D, 0x0084, 1), False),
        (ImageNotify(3, 100, 0x121D, 0x0084, 0), True),
    ],
)
def test_a_broadcast_notification_leads_to_a_query_only_if_it_concerns_the_device(notify, asks):
    bench = Bench()
    bench.hears(QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE))
    sent = bench.hears(notify, sequence=99, broadcast=True)
    assert [type(command) for command in sent] == ([QueryNextImageRequest] if asks else [])


def test_a_broadcast_of_the_version_that_is_held_leads_to_no_query():
    bench = waiting()
    assert bench.hears(ImageNotify(3, 100, 0x121D, 0x0084, 2), sequence=99, broadcast=True) == []


def test_the_jitter_of_a_broadcast_spreads_the_queries():
    asked = 0
    for seed in range(200):
        client = OtaClient(ClientSettings(), RUNNING, random.Random(seed))
        client.receive(ImageNotify(0, 30), 1, 0.0, broadcast=True)
        asked += any(isinstance(item, Send) for item in client.drain())
    assert 40 <= asked <= 80


def test_a_malformed_command_is_answered_unless_it_was_broadcast():
    client = downloading().client
    client.drain()
    client.receive_malformed(0x05, 9, TheirError("cut short"), 0.0)
    assert client.drain() == [
        Ignored("cut short"),
        Send(DefaultResponse(0x05, Status.MALFORMED_COMMAND, from_server=False), 9),
    ]
    client.receive_malformed(0x00, 9, TheirError("cut short"), 0.0, broadcast=True)
    assert client.drain() == [Ignored("cut short")]


def test_a_client_s_own_command_from_a_server_is_unsupported():
    bench = Bench()
    query = QueryNextImageRequest(1, 2, 3)
    assert bench.hears(query) == [DefaultResponse(0x01, Status.UNSUP_CLUSTER_COMMAND, from_server=False)]


@pytest.mark.parametrize(
    "command",
    [
        ImageBlockResponse(0x121D, 0x0084, 2, 0, FILE[:65]),
        ImageBlockWait(0, 10),
        ImageBlockAbort(),
        UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0),
        DefaultResponse(0x03, Status.ABORT),
        OFFERED,
    ],
)
def test_an_answer_that_nobody_asked_for_changes_nothing(command):
    bench = Bench()
    bench.hears(QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE))
    due = bench.client.timer()
    assert bench.hears(command) == []
    assert (bench.client.state, bench.client.stored, bench.client.timer()) == (State.NORMAL, None, due)


def test_the_attributes_tell_how_far_the_download_has_come():
    bench = downloading()
    bench.hears(bench.block())
    attributes = bench.client.attributes(PPMID)
    assert attributes[0x0000] == PPMID
    assert attributes[0x0001] == 65
    assert (attributes[0x0002], attributes[0x0004]) == (1, 0xFFFFFFFF)
    assert attributes[0x0006] == 1
    assert (attributes[0x0007], attributes[0x0008]) == (0x121D, 0x0084)


def test_the_attributes_of_a_holding_two_stage_device_say_what_it_waits_for():
    attributes = waiting(out_of_band_only=True).client.attributes()
    assert attributes[0x0004] == 2
    assert attributes[0x0006] == 6
    assert (attributes[0x000B], attributes[0x000C]) == (1, 0)


def test_a_state_that_is_no_state_of_the_table_cannot_be_reached():
    for state in State:
        assert set(TRANSITIONS[state].values()) <= set(State)
    client = OtaClient(ClientSettings(), RUNNING, random.Random(1))
    with pytest.raises(OurError, match="in state NORMAL there is no FILE_GOOD"):
        client._standing.move(Signal.FILE_GOOD)
