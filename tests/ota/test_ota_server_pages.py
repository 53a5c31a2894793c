"""The hub's machine and the pages that devices ask for."""

from __future__ import annotations

import dataclasses

import pytest
from ota_pair import HCALCS, PPMID, Pair, image_id, upgrade_file

from ota.client import ClientSettings
from ota.client_events import DownloadComplete, FellBack
from ota.commands import (
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImagePageRequest,
    Status,
    UpgradeEndRequest,
)
from ota.server import (
    Activation,
    BlockServed,
    BlockShrunk,
    DeviceSettings,
    Offer,
    OtaServer,
    Send,
    ServerSettings,
    TransferCompleted,
    TransferStarted,
)

FILE = upgrade_file(1000)
ID = image_id(FILE)
NO_IMAGE = Status.NO_IMAGE_AVAILABLE


def page_request(offset: int = 0, page: int = 512, *, spacing: int = 0, size: int = 64) -> ImagePageRequest:
    return ImagePageRequest(0x121D, 0x0084, 2, offset, size, page, spacing)


class Radio:
    """A server and the dongle beneath it, which gets rid of frames when the test says so."""

    def __init__(self, settings: ServerSettings | None = None, *, targets=(PPMID,)) -> None:
        self.server = OtaServer(settings or ServerSettings())
        self.server.offer(Offer.of(FILE, targets, Activation.NOW), 0.0)
        self.server.drain()
        self.now = 1.0
        self.inside: list[Send] = []
        self.said: list[Send] = []
        self.told: list[object] = []

    def hears(self, command, *, peer=PPMID, sequence=7) -> None:
        self.server.receive(peer, command, sequence, self.now)
        self._take()

    def gets_rid(self, *, delivered: bool = True) -> Send:
        """The oldest frame in the dongle has left."""
        send = self.inside.pop(0)
        self.server.sent(send, delivered, self.now)
        self._take()
        return send

    def waits(self) -> None:
        due = self.server.timer()
        assert due is not None
        self.now = max(self.now, due)
        self.server.tick(self.now)
        self._take()

    def does(self, act, *arguments) -> None:
        act(*arguments, self.now)
        self._take()

    def page(self) -> list[ImageBlockResponse]:
        """All that comes while the dongle gets rid of one frame after the other."""
        blocks = []
        while self.inside:
            blocks.append(self.gets_rid().command)
        return blocks

    def _take(self) -> None:
        for item in self.server.drain():
            if not isinstance(item, Send):
                self.told.append(item)
                continue
            self.said.append(item)
            if item.tells_outcome:
                self.inside.append(item)


def joined(blocks) -> bytes:
    """The octets of blocks that follow each other."""
    at = blocks[0].file_offset
    for block in blocks:
        assert block.file_offset == at
        at += len(block.data)
    return b"".join(block.data for block in blocks)


def test_a_page_is_answered_with_its_octets_in_blocks_of_the_size_asked_for():
    radio = Radio()
    radio.hears(page_request(100, 200, size=64))
    blocks = radio.page()
    assert joined(blocks) == FILE[100:300]
    assert [len(block.data) for block in blocks] == [64, 64, 64, 8]


def test_the_blocks_of_a_page_want_no_acknowledgement_and_carry_its_sequence_number():
    radio = Radio()
    radio.hears(page_request(), sequence=42)
    radio.page()
    assert {(send.acknowledged, send.sequence, send.tells_outcome) for send in radio.said} == {
        (False, 42, True)
    }


def test_a_page_ends_where_the_image_ends():
    radio = Radio()
    radio.hears(page_request(len(FILE) - 100, 0xFFFF))
    assert joined(radio.page()) == FILE[-100:]
    assert radio.server.timer() == radio.now + ServerSettings().stall_after


def test_without_spacing_two_blocks_are_in_the_dongle_and_each_that_leaves_makes_room_for_one():
    radio = Radio()
    radio.hears(page_request())
    for left in (2, 2, 2, 2, 2, 2, 2, 1):
        assert len(radio.inside) == left
        radio.gets_rid()
    assert not radio.inside


def test_a_page_begins_a_transfer_and_each_of_its_blocks_is_told():
    radio = Radio()
    radio.hears(page_request(0, 128))
    radio.page()
    assert radio.told == [
        TransferStarted(PPMID, ID, 0),
        BlockServed(PPMID, ID, 0, 64),
        BlockServed(PPMID, ID, 64, 64),
    ]


def test_the_blocks_of_a_page_keep_the_spacing_that_the_client_asks_for():
    radio = Radio()
    radio.hears(page_request(0, 256, spacing=50))
    sent_at = []
    while radio.inside:
        sent_at.append(radio.now)
        radio.gets_rid()
        if len(sent_at) < 4:
            radio.waits()
    assert sent_at == pytest.approx([1.0, 1.05, 1.1, 1.15])


@pytest.mark.parametrize(("asked", "own", "gap"), [(10, 0.3, 0.3), (500, 0.3, 0.5)])
def test_a_server_raises_a_spacing_to_its_own(asked, own, gap):
    radio = Radio(ServerSettings(page_spacing=own))
    radio.hears(page_request(spacing=asked))
    radio.gets_rid()
    assert radio.server.timer() == pytest.approx(1.0 + gap)


def test_a_device_with_a_pace_gets_the_blocks_of_a_page_no_faster():
    radio = Radio()
    radio.does(radio.server.configure, PPMID, DeviceSettings(minimum_block_period=0.2))
    radio.hears(page_request())
    radio.gets_rid()
    assert radio.server.timer() == pytest.approx(1.2)


def test_a_new_page_request_takes_the_place_of_the_page_that_is_under_way():
    radio = Radio()
    radio.hears(page_request(0))
    radio.hears(page_request(300, 64, size=32), sequence=8)
    assert [radio.gets_rid().command.file_offset for _ in range(2)] == [0, 64]
    assert joined(radio.page()) == FILE[300:364]


def test_the_frames_of_an_earlier_page_count_against_the_window_of_the_next():
    radio = Radio()
    radio.hears(page_request(0))
    radio.hears(page_request(512))
    assert len(radio.inside) == 2


def test_a_block_that_was_lost_does_not_stop_the_page():
    radio = Radio()
    radio.hears(page_request())
    radio.gets_rid(delivered=False)
    assert len(radio.page()) == 7


def test_a_client_that_cannot_be_reached_ends_its_page():
    radio = Radio()
    radio.hears(page_request(0, 1000, size=8))
    lost = 0
    while radio.inside:
        radio.gets_rid(delivered=False)
        lost += 1
    assert lost < 12


def test_a_client_that_asks_for_a_block_further_on_has_given_up_its_page():
    radio = Radio()
    radio.hears(page_request(0, 1000))
    radio.hears(ImageBlockRequest(0x121D, 0x0084, 2, 640, 64))
    assert [block.file_offset for block in radio.page()] == [0, 64]


def test_a_late_request_for_an_earlier_block_does_not_stop_the_page():
    radio = Radio()
    radio.hears(page_request(512, 256))
    radio.hears(ImageBlockRequest(0x121D, 0x0084, 2, 448, 64))
    assert len(radio.page()) == 4


def test_a_block_of_a_page_that_is_too_long_makes_the_rest_smaller_and_loses_no_octet():
    radio = Radio()
    radio.hears(page_request(0, 512, size=65))
    for _ in range(2):
        send = radio.inside[0]
        assert len(send.command.data) == 65
        radio.does(radio.server.too_long, send)
        radio.gets_rid(delivered=False)
    blocks = radio.page()
    assert joined(blocks) == FILE[:512]
    assert max(len(block.data) for block in blocks) == 56
    assert [item for item in radio.told if isinstance(item, BlockShrunk)] == [BlockShrunk(PPMID, 56)]


def test_two_pages_share_the_radio_block_by_block():
    radio = Radio(targets=(PPMID, HCALCS))
    radio.hears(page_request(0, 640))
    radio.hears(page_request(0, 640), peer=HCALCS)
    peers = []
    while radio.inside:
        peers.append(radio.gets_rid().peer)
    assert peers.count(PPMID) == peers.count(HCALCS) == 10
    assert peers[2:12:2] == [peers[2]] * 5
    assert peers[3:12:2] == [peers[3]] * 5


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"file_version": 3}, NO_IMAGE),
        ({"file_offset": len(FILE)}, NO_IMAGE),
        ({"file_offset": 0xFFFFFFFF}, NO_IMAGE),
        ({"maximum_data_size": 0}, Status.MALFORMED_COMMAND),
        ({"page_size": 0}, Status.MALFORMED_COMMAND),
    ],
)
def test_a_page_that_is_nowhere_is_refused_with_the_status_that_says_why(wrong, status):
    radio = Radio()
    radio.hears(dataclasses.replace(page_request(), **wrong))
    assert [send.command for send in radio.said] == [DefaultResponse(0x04, status)]


def test_pages_can_be_kept_from_one_device_alone():
    radio = Radio(targets=(PPMID, HCALCS))
    radio.does(radio.server.configure, PPMID, DeviceSettings(serves_pages=False))
    radio.hears(page_request())
    assert radio.said[-1].command == DefaultResponse(0x04, Status.UNSUP_CLUSTER_COMMAND)
    radio.hears(page_request(), peer=HCALCS)
    assert radio.said[-1].command.data == FILE[64:128]


def test_a_page_that_the_user_pauses_ends_with_the_word_to_wait():
    radio = Radio()
    radio.hears(page_request(), sequence=9)
    radio.does(radio.server.pause, PPMID)
    assert (radio.said[-1].command, radio.said[-1].sequence) == (ImageBlockWait(0, 60, 0), 9)
    assert len(radio.page()) == 2


def test_a_page_that_the_user_aborts_ends_with_the_word_abort():
    radio = Radio()
    radio.hears(page_request(), sequence=9)
    radio.does(radio.server.abort, PPMID)
    assert (radio.said[-1].command, radio.said[-1].sequence) == (ImageBlockAbort(), 9)
    assert len(radio.page()) == 2


@pytest.mark.parametrize(
    ("answer", "command"),
    [(Status.ABORT, ImageBlockAbort()), (NO_IMAGE, DefaultResponse(0x04, NO_IMAGE))],
)
def test_a_page_of_an_image_that_is_withdrawn_ends_with_the_word_that_is_set(answer, command):
    radio = Radio(ServerSettings(preempted_answer=answer))
    radio.hears(page_request())
    radio.does(radio.server.withdraw, ID)
    assert radio.said[-1].command == command
    assert len(radio.page()) == 2


def test_an_upgrade_end_ends_the_page():
    radio = Radio()
    radio.hears(page_request(0, 1000))
    radio.hears(UpgradeEndRequest(Status.SUCCESS, 0x121D, 0x0084, 2))
    assert len(radio.page()) == 2


def test_a_download_by_pages_is_whole():
    pair = Pair(client=ClientSettings(first_query_within=1.0, page_size=512, page_spacing=0.02))
    pair.offer(upgrade_file(5000))
    pair.client.start(0.0)
    pair.run_until(TransferCompleted)
    assert len(pair.commands(ImagePageRequest)) == 10
    assert not pair.commands(ImageBlockRequest)


@pytest.mark.parametrize("seed", range(5))
def test_a_download_by_pages_fills_its_gaps_on_a_lossy_air(seed):
    settings = ClientSettings(first_query_within=1.0, page_size=512, page_spacing=0.01)
    pair = Pair(client=settings, loss=0.1, repeats=0.1, seed=seed)
    file = upgrade_file(5000)
    pair.offer(file)
    pair.client.start(0.0)
    pair.run_until(DownloadComplete)
    assert pair.client.stored.data == file
    assert pair.commands(ImageBlockRequest)


def test_a_download_falls_back_to_blocks_where_pages_are_not_served():
    settings = ClientSettings(first_query_within=1.0, page_size=512)
    pair = Pair(client=settings, server=ServerSettings(serves_pages=False))
    pair.offer(FILE)
    pair.client.start(0.0)
    pair.run_until(TransferCompleted)
    assert len(pair.all(FellBack)) == 1
