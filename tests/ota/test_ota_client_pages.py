"""A device that asks for pages: what it does with gaps, silence and servers that know no pages."""

from __future__ import annotations

import pytest
from ota_bench import FILE, KEY, Bench, block_at, downloading

from ota.client import BlockReceived, DownloadComplete, DownloadStarted, FellBack, GaveUp, State
from ota.commands import (
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImagePageRequest,
    Status,
)

PAGE = ImagePageRequest(0x121D, 0x0084, 2, 0, 20, 100, 50)


def paging(**settings) -> Bench:
    """A device whose first page, of five blocks, has been asked for."""
    usual = {"page_size": 100, "maximum_data_size": 20, "page_spacing": 0.05}
    return downloading(**(usual | settings))


def hears_blocks(bench: Bench, *offsets: int) -> list[object]:
    """Give the device blocks of its page; what it sends after the last one."""
    sent: list[object] = []
    for offset in offsets:
        sent = bench.hears(block_at(offset, 20))
    return sent


def stored(bench: Bench) -> int:
    return len(bench.client.stored.data)


def test_a_device_that_asks_for_pages_names_page_block_and_spacing():
    bench = paging()
    assert bench.asked == PAGE
    assert bench.sent[0].acknowledged


def test_a_page_brings_its_blocks_without_further_requests_and_then_the_next_page_is_asked_for():
    bench = paging()
    assert hears_blocks(bench, 0, 20, 40, 60) == []
    assert hears_blocks(bench, 80) == [ImagePageRequest(0x121D, 0x0084, 2, 100, 20, 100, 50)]
    assert bench.told == [BlockReceived(80, 20)]


def test_the_last_page_is_no_longer_than_the_file():
    bench = paging(page_size=1024)
    assert bench.asked.page_size == len(FILE)


def test_a_whole_file_comes_in_pages():
    bench = paging()
    while bench.client.state is State.DOWNLOADING:
        hears_blocks(bench, stored(bench))
    assert bench.told[-1] == DownloadComplete(KEY, FILE)


def test_the_gaps_of_a_page_are_fetched_by_block_requests_as_soon_as_its_last_block_is_there():
    bench = paging()
    assert hears_blocks(bench, 0, 40, 80) == [ImageBlockRequest(0x121D, 0x0084, 2, 20, 20)]
    assert stored(bench) == 20, "what lies behind a gap is not stored yet"
    assert hears_blocks(bench, 20) == [ImageBlockRequest(0x121D, 0x0084, 2, 60, 20)]
    assert bench.told == [BlockReceived(20, 20), BlockReceived(40, 20)]
    assert hears_blocks(bench, 60) == [ImagePageRequest(0x121D, 0x0084, 2, 100, 20, 100, 50)]


def test_a_page_whose_end_is_lost_ends_when_no_block_came_for_a_while():
    bench = paging(answer_timeout=3.0)
    hears_blocks(bench, 0, 20)
    bench.wait()
    assert bench.now == 3.05
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 40, 20)


def test_no_more_is_asked_for_than_the_gap_has_so_that_nothing_crosses_twice():
    bench = paging()
    bench.hears(block_at(0, 20))
    bench.hears(block_at(28, 20))
    assert bench.hears(block_at(88, 12)) == [ImageBlockRequest(0x121D, 0x0084, 2, 20, 8)]
    assert bench.hears(block_at(20, 8)) == [ImageBlockRequest(0x121D, 0x0084, 2, 48, 20)]


def test_blocks_of_a_page_may_come_in_any_order_and_twice():
    bench = paging()
    assert hears_blocks(bench, 60, 0, 0, 20, 60, 40) == []
    assert stored(bench) == 80
    assert bench.client.stored.data == FILE[:80]


def test_a_block_of_a_page_that_comes_late_spares_its_request_an_answer():
    bench = paging()
    hears_blocks(bench, 0, 40, 80)
    asked = bench.client._talk.sequence
    late = bench.hears(block_at(20, 20), sequence=asked - 1)
    assert late == [ImageBlockRequest(0x121D, 0x0084, 2, 60, 20)]
    assert bench.hears(block_at(20, 20), sequence=asked) == []


def test_blocks_behind_the_page_are_not_taken():
    bench = paging()
    assert hears_blocks(bench, 100) == []
    assert stored(bench) == 0


def test_a_server_without_pages_is_asked_for_blocks_from_then_on():
    bench = paging()
    refusal = DefaultResponse(0x04, Status.UNSUP_CLUSTER_COMMAND)
    assert bench.hears(refusal) == [ImageBlockRequest(0x121D, 0x0084, 2, 0, 20)]
    assert [type(event) for event in bench.told] == [FellBack]
    assert hears_blocks(bench, 0) == [ImageBlockRequest(0x121D, 0x0084, 2, 20, 20)]


def test_the_refusal_of_an_older_page_changes_nothing():
    bench = paging()
    hears_blocks(bench, 0, 20, 40, 60, 80)
    sequence = bench.client._talk.sequence - 1
    assert bench.hears(DefaultResponse(0x04, Status.UNSUP_CLUSTER_COMMAND), sequence=sequence) == []
    assert hears_blocks(bench, 100) == []


@pytest.mark.parametrize("status", [Status.ABORT, Status.NO_IMAGE_AVAILABLE])
def test_a_server_that_ends_the_download_in_a_page_is_obeyed(status):
    for answer in (ImageBlockAbort(status), DefaultResponse(0x04, status)):
        bench = paging()
        hears_blocks(bench, 0, 40)
        bench.hears(answer)
        assert (bench.client.state, bench.client.stored) == (State.NORMAL, None)


def test_silence_to_a_page_is_filled_by_blocks_and_a_second_one_ends_page_mode():
    bench = paging(page_timeout=10.0, page_tries=2)
    bench.wait()
    assert bench.now == 10.0
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 0, 20)
    assert hears_blocks(bench, 0, 20, 40, 60, 80) == [ImagePageRequest(0x121D, 0x0084, 2, 100, 20, 100, 50)]
    bench.wait()
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 100, 20)
    assert [type(event) for event in bench.told] == [FellBack]
    assert hears_blocks(bench, 100, 120, 140, 160, 180)[0] == ImageBlockRequest(0x121D, 0x0084, 2, 200, 20)


def test_a_page_that_came_makes_up_for_one_that_did_not():
    bench = paging(page_tries=2)
    bench.wait()
    hears_blocks(bench, 0, 20, 40, 60, 80)
    hears_blocks(bench, 100, 120, 140, 160, 180)
    assert isinstance(bench.asked, ImagePageRequest)
    bench.wait()
    assert bench.told == []


def test_a_server_that_answers_neither_pages_nor_blocks_is_given_up():
    bench = paging(errors_allowed=3, page_tries=99)
    while bench.client.state is State.DOWNLOADING:
        bench.wait()
    assert [type(event) for event in bench.told] == [GaveUp]


def test_told_to_wait_a_device_drops_its_page_and_asks_for_the_page_again():
    bench = paging()
    hears_blocks(bench, 0, 40)
    assert bench.hears(ImageBlockWait(0, 60)) == []
    assert bench.client.timer() == bench.now + 60
    bench.wait()
    assert bench.asked == ImagePageRequest(0x121D, 0x0084, 2, 20, 20, 100, 50)


def test_told_to_wait_while_it_fills_gaps_a_device_goes_on_filling_them():
    bench = paging()
    hears_blocks(bench, 0, 40, 80)
    bench.hears(ImageBlockWait(0, 60))
    bench.wait()
    assert bench.asked == ImageBlockRequest(0x121D, 0x0084, 2, 20, 20)
    assert hears_blocks(bench, 20) == [ImageBlockRequest(0x121D, 0x0084, 2, 60, 20)]


def test_a_block_period_stretches_the_spacing_of_pages():
    bench = paging()
    bench.hears(ImageBlockWait(0, 0, 400))
    bench.wait()
    assert bench.asked.response_spacing == 400


def test_a_block_of_a_page_that_is_too_long_is_malformed_and_the_gap_is_filled():
    bench = paging()
    hears_blocks(bench, 0)
    sent = bench.hears(block_at(20, 21))
    assert sent == [
        ImageBlockRequest(0x121D, 0x0084, 2, 20, 20),
        DefaultResponse(0x05, Status.MALFORMED_COMMAND, from_server=False),
    ]


def test_a_block_of_another_image_in_a_page_is_not_taken():
    bench = paging()
    hears_blocks(bench, 0)
    assert bench.hears(ImageBlockResponse(0x121D, 0x0084, 3, 20, bytes(20))) == []
    assert stored(bench) == 20


def test_a_device_that_loses_power_in_a_page_goes_on_behind_what_it_stored():
    before = paging()
    hears_blocks(before, 0, 20, 60)
    after = Bench(before.client.stored, page_size=100, maximum_data_size=20)
    assert after.told == [DownloadStarted(KEY, len(FILE), 40)]
    assert after.asked == ImagePageRequest(0x121D, 0x0084, 2, 40, 20, 100, 50)


def test_requests_for_octets_go_without_acknowledgement_where_the_device_wants_none():
    for bench in (paging(acknowledged=False), downloading(acknowledged=False)):
        assert not bench.sent[0].acknowledged
