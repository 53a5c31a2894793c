"""The hub's machine, one command at a time."""

from __future__ import annotations

import dataclasses

import pytest
from ota_pair import GSME, HCALCS, PPMID, image_id, upgrade_file

from ota.commands import (
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    ImagePageRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError, TheirError
from ota.server import (
    Activation,
    AlreadyRunning,
    BlockServed,
    BlockShrunk,
    DeviceSettings,
    HardwareMismatch,
    Notified,
    Offer,
    OtaServer,
    PeerRefused,
    Refused,
    Send,
    ServerSettings,
    TransferAborted,
    TransferCompleted,
    TransferFailed,
    TransferInterrupted,
    TransferStalled,
    TransferStarted,
    VersionSeen,
)

FILE = upgrade_file(1000)
ID = image_id(FILE)
QUERY = QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150)
NO_IMAGE = Status.NO_IMAGE_AVAILABLE


def block_request(offset: int, size: int = 65, *, version: int = 2) -> ImageBlockRequest:
    return ImageBlockRequest(0x121D, 0x0084, version, offset, size)


def upgrade_end(status: Status = Status.SUCCESS) -> UpgradeEndRequest:
    return UpgradeEndRequest(status, 0x121D, 0x0084, 2)


def serving(settings: ServerSettings | None = None, activation: Activation = Activation.NOW) -> OtaServer:
    """A server that offers FILE to the PPMID and has sent its notification."""
    server = OtaServer(settings or ServerSettings())
    server.offer(Offer.of(FILE, [PPMID], activation), 0.0)
    server.drain()
    return server


def answer(server: OtaServer, command, *, peer=PPMID, sequence=7, now=1.0):
    """What the server sends in answer, which repeats the sequence number and goes to nobody else."""
    server.drain()
    server.receive(peer, command, sequence, now)
    sends = [item for item in server.drain() if isinstance(item, Send)]
    assert [(send.peer, send.sequence) for send in sends] == [(peer, sequence)]
    return sends[0].command


def too_long(server: OtaServer, size: int) -> None:
    """The radio cannot carry a block of this size to the PPMID."""
    server.too_long(Send(PPMID, ImageBlockResponse(0x121D, 0x0084, 2, 0, bytes(size)), 7), 1.0)


def told(server: OtaServer, command, *, peer=PPMID, now=1.0):
    """What the server tells on receiving this."""
    server.drain()
    server.receive(peer, command, 7, now)
    return [item for item in server.drain() if not isinstance(item, Send)]


def test_each_target_is_notified_in_order_of_address():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID, GSME], Activation.NOW), 0.0)
    assert server.drain() == [
        Send(GSME, ImageNotify(), None),
        Notified(GSME, ID, 1),
        Send(PPMID, ImageNotify(), None),
        Notified(PPMID, ID, 1),
    ]


def test_a_tick_before_the_first_word_does_not_make_it_two():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID], Activation.NOW), 0.0)
    server.tick(0.0)
    assert server.drain() == [Send(PPMID, ImageNotify(), None), Notified(PPMID, ID, 1)]


def test_a_target_that_asks_is_told_the_image_and_its_size():
    server = serving()
    server.receive(PPMID, QUERY, 42, 1.0)
    assert server.drain() == [
        VersionSeen(PPMID, 0x121D, 0x0084, 1, 0x1150),
        Send(PPMID, QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, len(FILE)), 42),
    ]


def test_a_device_that_is_no_target_hears_that_there_is_no_image():
    server = serving()
    assert answer(server, QUERY, peer=HCALCS) == QueryNextImageResponse(NO_IMAGE)
    assert answer(server, block_request(0), peer=HCALCS) == DefaultResponse(0x03, NO_IMAGE)


def test_with_nothing_on_offer_the_answer_is_a_setting():
    refused = OtaServer(ServerSettings(nothing_for_you=Status.NOT_AUTHORIZED))
    assert answer(refused, QUERY) == QueryNextImageResponse(Status.NOT_AUTHORIZED)
    assert answer(OtaServer(ServerSettings()), QUERY) == QueryNextImageResponse(NO_IMAGE)


@pytest.mark.parametrize(
    "query",
    [
        QueryNextImageRequest(0x1234, 0x0084, 1, 0x1150),
        QueryNextImageRequest(0x121D, 0x0085, 1, 0x1150),
    ],
)
def test_an_image_is_not_offered_to_another_manufacturer_or_type(query):
    server = serving()
    assert answer(server, query) == QueryNextImageResponse(NO_IMAGE)
    assert answer(server, QUERY).status is Status.SUCCESS  # a device with two processors alternates


@pytest.mark.parametrize(
    ("hardware", "suits"),
    [
        (0x1110, False),
        (0x1111, True),
        (0x1150, True),
        (0x1211, True),
        (0x1212, False),
        (None, True),
    ],
)
def test_the_hardware_range_counts_both_its_ends(hardware, suits):
    query = dataclasses.replace(QUERY, hardware_version=hardware)
    assert (answer(serving(), query).status is Status.SUCCESS) == suits


def test_a_hardware_mismatch_is_told_once_and_gets_neither_offer_nor_block():
    server = serving()
    query = dataclasses.replace(QUERY, hardware_version=0x2000)
    assert HardwareMismatch(PPMID, ID, 0x2000) in told(server, query)
    assert not [item for item in told(server, query) if isinstance(item, HardwareMismatch)]
    assert answer(server, block_request(0)) == DefaultResponse(0x03, NO_IMAGE)
    assert answer(server, upgrade_end()) == DefaultResponse(0x06, Status.ABORT)
    assert server.timer() is None


def test_a_hub_may_insist_on_a_hardware_version():
    server = serving(ServerSettings(hardware_version_needed=True))
    assert HardwareMismatch(PPMID, ID, None) in told(
        server, dataclasses.replace(QUERY, hardware_version=None)
    )


def test_an_image_for_one_device_goes_to_no_other():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(upgrade_file(destination=HCALCS), [PPMID, HCALCS], Activation.NOW), 0.0)
    assert answer(server, QUERY) == QueryNextImageResponse(NO_IMAGE)
    assert answer(server, QUERY, peer=HCALCS).status is Status.SUCCESS


def test_a_device_that_runs_the_version_already_is_told_of_once_and_left_alone():
    server = serving()
    running = dataclasses.replace(QUERY, file_version=2)
    assert AlreadyRunning(PPMID, ID) in told(server, running)
    assert AlreadyRunning(PPMID, ID) not in told(server, running)
    assert server.timer() is None


def test_a_hub_may_install_the_running_version_again():
    server = serving(ServerSettings(reinstall=True))
    assert answer(server, dataclasses.replace(QUERY, file_version=2)).status is Status.SUCCESS


def test_a_lower_version_is_an_upgrade_too():
    assert answer(serving(), dataclasses.replace(QUERY, file_version=9)).status is Status.SUCCESS


def test_a_block_is_the_octets_at_the_offset_that_the_request_names():
    server = serving()
    for offset in (0, 65, 13, 65, 995):
        assert answer(server, block_request(offset)).data == FILE[offset : offset + 65]


@pytest.mark.parametrize("asked", [1, 4, 6, 18, 56, 64, 65])
def test_a_block_has_exactly_the_size_asked_for_while_it_fits(asked):
    assert answer(serving(), block_request(100, asked)).data == FILE[100 : 100 + asked]


def test_a_block_is_never_larger_than_what_fits_a_frame():
    assert len(answer(serving(), block_request(0, 255)).data) == 65
    small = serving(ServerSettings(block_ceiling=56))
    assert len(answer(small, block_request(0, 255)).data) == 56


def test_the_last_block_is_what_is_left():
    assert answer(serving(), block_request(len(FILE) - 1)).data == FILE[-1:]


def test_a_served_block_is_told_behind_its_send():
    server = serving()
    server.receive(PPMID, block_request(130), 9, 1.0)
    assert server.drain() == [
        TransferStarted(PPMID, ID, 130),
        Send(PPMID, ImageBlockResponse(0x121D, 0x0084, 2, 130, FILE[130:195]), 9),
        BlockServed(PPMID, ID, 130, 65),
    ]


@pytest.mark.parametrize("offset", [len(FILE), len(FILE) + 1, 0xFFFFFFFF])
def test_a_block_request_past_the_end_hears_that_there_is_no_image(offset):
    server = serving()
    assert answer(server, block_request(offset)) == DefaultResponse(0x03, NO_IMAGE)
    assert [item.status for item in told(server, block_request(offset))] == [NO_IMAGE]


def test_a_block_request_for_another_image_hears_that_there_is_no_image():
    server = serving()
    assert answer(server, block_request(0, version=3)) == DefaultResponse(0x03, NO_IMAGE)
    assert [type(item) for item in told(server, block_request(0, version=3))] == [Refused]


def test_a_block_request_before_any_query_is_served_because_a_download_may_go_on():
    assert answer(serving(), block_request(500)).data == FILE[500:565]


def test_a_block_request_before_any_offer_hears_that_there_is_no_image():
    assert answer(OtaServer(ServerSettings()), block_request(0)) == DefaultResponse(0x03, NO_IMAGE)


def test_a_request_for_no_octets_is_malformed():
    assert answer(serving(), block_request(0, 0)) == DefaultResponse(0x03, Status.MALFORMED_COMMAND)


def test_a_refused_request_changes_nothing():
    server = serving()
    before = server.timer()
    for command in (block_request(len(FILE)), block_request(0, version=3), block_request(0, 0)):
        assert [type(item) for item in told(server, command)] == [Refused]
    assert server.timer() == before
    assert TransferStarted(PPMID, ID, 0) in told(server, block_request(0))


def test_where_pages_are_not_served_the_client_is_told_to_ask_for_blocks():
    page = ImagePageRequest(0x121D, 0x0084, 2, 0, 32, 1024, 50)
    server = serving(ServerSettings(serves_pages=False))
    assert answer(server, page) == DefaultResponse(0x04, Status.UNSUP_CLUSTER_COMMAND)


def test_a_server_s_own_command_from_a_device_is_unsupported():
    assert answer(serving(), ImageNotify()) == DefaultResponse(0x00, Status.UNSUP_CLUSTER_COMMAND)


def test_a_command_that_cannot_be_read_is_answered_with_its_status():
    server = serving()
    server.receive_malformed(PPMID, 0x03, 5, TheirError("cut short"), 1.0)
    assert server.drain() == [
        Refused(PPMID, "cut short", Status.MALFORMED_COMMAND),
        Send(PPMID, DefaultResponse(0x03, Status.MALFORMED_COMMAND), 5),
    ]


def test_a_default_response_is_never_answered():
    server = serving()
    assert told(server, DefaultResponse(0x00, Status.SUCCESS, from_server=False)) == []
    server.receive(PPMID, DefaultResponse(0x07, Status.NOT_AUTHORIZED, from_server=False), 1, 1.0)
    assert server.drain() == [PeerRefused(PPMID, 0x07, Status.NOT_AUTHORIZED)]


def test_a_ppmid_is_told_to_activate_at_once():
    assert answer(serving(), upgrade_end()) == UpgradeEndResponse(0x121D, 0x0084, 2, 0, 0)


def test_a_two_stage_device_is_told_to_wait_in_the_words_of_gbcs():
    held = UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    assert answer(serving(activation=Activation.WAIT), upgrade_end()) == held


def test_a_two_stage_device_may_be_told_to_wait_in_the_words_of_zigbee():
    server = serving(ServerSettings(gbcs_wait=False), Activation.WAIT)
    assert answer(server, upgrade_end()) == UpgradeEndResponse(0x121D, 0x0084, 2, 0, 0xFFFFFFFF)


def test_an_upgrade_end_request_that_comes_twice_is_answered_twice_and_told_once():
    server = serving()
    assert told(server, upgrade_end()) == [TransferCompleted(PPMID, ID)]
    assert told(server, upgrade_end()) == []
    assert answer(server, upgrade_end()).upgrade_time == 0


def test_after_success_there_is_no_image_for_the_device_any_more():
    server = serving()
    answer(server, upgrade_end())
    assert answer(server, QUERY) == QueryNextImageResponse(NO_IMAGE)
    assert server.timer() is None


def test_an_invalid_image_fails_the_transfer_and_is_not_offered_again():
    server = serving()
    assert answer(server, upgrade_end(Status.INVALID_IMAGE)) == DefaultResponse(0x06, Status.SUCCESS)
    assert answer(server, QUERY) == QueryNextImageResponse(NO_IMAGE)


def test_a_failed_transfer_is_told_once():
    server = serving()
    assert told(server, upgrade_end(Status.INVALID_IMAGE)) == [
        TransferFailed(PPMID, ID, Status.INVALID_IMAGE, None, 1)
    ]
    assert told(server, upgrade_end(Status.INVALID_IMAGE)) == []


def test_a_client_may_break_off_a_few_times_before_its_transfer_has_failed():
    server = serving(ServerSettings(aborts_allowed=3))
    abort = upgrade_end(Status.ABORT)
    assert told(server, abort) == [TransferInterrupted(PPMID, ID, Status.ABORT)]
    assert told(server, abort) == [TransferInterrupted(PPMID, ID, Status.ABORT)]
    assert told(server, abort) == [TransferFailed(PPMID, ID, Status.ABORT, None, 1)]


def test_a_client_may_find_an_image_invalid_that_it_took_and_takes_it_once_more():
    server = serving()
    for asked in (0, 65):
        answer(server, block_request(asked))
        events = told(server, upgrade_end(Status.INVALID_IMAGE))
        assert events == (
            [TransferInterrupted(PPMID, ID, Status.INVALID_IMAGE)]
            if asked == 0
            else [TransferFailed(PPMID, ID, Status.INVALID_IMAGE, 65, 1)]
        )
    assert answer(server, QUERY) == QueryNextImageResponse(NO_IMAGE)


def test_a_hub_may_be_set_to_let_nobody_try_again():
    server = serving(ServerSettings(invalid_images_allowed=1))
    answer(server, block_request(0))
    assert told(server, upgrade_end(Status.INVALID_IMAGE)) == [
        TransferFailed(PPMID, ID, Status.INVALID_IMAGE, 0, 1)
    ]


def test_progress_gives_a_client_new_chances_to_break_off():
    server = serving(ServerSettings(aborts_allowed=2))
    for offset in range(0, 650, 65):
        answer(server, block_request(offset))
        assert told(server, upgrade_end(Status.ABORT)) == [TransferInterrupted(PPMID, ID, Status.ABORT)]


def test_a_withdrawn_image_is_aborted_once_and_then_gone():
    server = serving()
    answer(server, block_request(0))
    server.withdraw(ID, 2.0)
    assert answer(server, block_request(65)) == ImageBlockAbort()
    assert answer(server, block_request(65)) == DefaultResponse(0x03, NO_IMAGE)
    assert answer(server, QUERY) == QueryNextImageResponse(NO_IMAGE)


def test_the_answer_to_a_preempted_client_is_a_setting():
    server = serving(ServerSettings(preempted_answer=NO_IMAGE))
    answer(server, block_request(0))
    server.withdraw(ID, 2.0)
    assert answer(server, block_request(65)) == DefaultResponse(0x03, NO_IMAGE)


def test_a_client_that_had_not_begun_is_owed_no_abort():
    server = serving()
    server.withdraw(ID, 2.0)
    assert answer(server, block_request(0)) == DefaultResponse(0x03, NO_IMAGE)


def test_a_client_that_finishes_a_withdrawn_image_is_told_to_drop_it():
    server = serving()
    answer(server, block_request(0))
    server.withdraw(ID, 2.0)
    assert answer(server, upgrade_end()) == DefaultResponse(0x06, Status.ABORT)
    assert [type(item) for item in told(server, upgrade_end())] == [Refused]


def test_a_device_that_holds_a_withdrawn_image_goes_on_waiting_for_its_activation():
    server = serving(activation=Activation.WAIT)
    answer(server, upgrade_end())
    server.withdraw(ID, 2.0)
    assert answer(server, upgrade_end()).upgrade_time == 0xFFFFFFFF


def test_an_image_that_was_withdrawn_can_be_offered_again():
    server = serving()
    answer(server, block_request(0))
    server.withdraw(ID, 2.0)
    server.offer(Offer.of(FILE, [PPMID], Activation.NOW), 3.0)
    assert Notified(PPMID, ID, 1) in server.drain()
    assert answer(server, block_request(65)).data == FILE[65:130]


def test_to_withdraw_what_is_not_on_offer_changes_nothing():
    server = serving()
    server.withdraw("0" * 64, 2.0)
    assert answer(server, QUERY).status is Status.SUCCESS


def test_nothing_is_sent_to_a_target_whose_image_was_withdrawn_before_the_first_word():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID], Activation.NOW), 0.0)
    server.withdraw(ID, 0.0)
    assert server.drain() == []
    assert server.timer() is None


def test_the_same_image_for_more_devices_does_not_disturb_those_that_are_served():
    server = serving()
    answer(server, block_request(0))
    server.offer(Offer.of(FILE, [PPMID, HCALCS], Activation.NOW), 2.0)
    assert [item for item in server.drain() if isinstance(item, Notified)] == [Notified(HCALCS, ID, 1)]
    assert told(server, block_request(65)) == [BlockServed(PPMID, ID, 65, 65)]


def test_the_same_image_again_is_a_new_chance_for_one_that_failed():
    server = serving()
    answer(server, upgrade_end(Status.INVALID_IMAGE))
    server.offer(Offer.of(FILE, [PPMID], Activation.NOW), 2.0)
    assert answer(server, QUERY).status is Status.SUCCESS


def test_another_file_under_the_same_three_numbers_is_refused():
    server = serving()
    with pytest.raises(OurError, match="withdraw it first"):
        server.offer(Offer.of(upgrade_file(seed=2), [HCALCS, PPMID], Activation.NOW), 1.0)
    assert answer(server, QUERY, peer=HCALCS) == QueryNextImageResponse(NO_IMAGE)


def test_a_file_whose_header_tells_another_size_is_not_offered():
    with pytest.raises(OurError, match="check it before"):
        OtaServer(ServerSettings()).offer(Offer.of(FILE[:-1], [PPMID], Activation.NOW), 0.0)


def test_what_was_finished_before_a_restart_is_neither_notified_nor_told_again():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID], Activation.WAIT), 0.0)
    server.finished(PPMID, ID)
    assert server.drain() == []
    assert told(server, upgrade_end()) == []
    assert answer(server, upgrade_end()).upgrade_time == 0xFFFFFFFF


def test_after_a_restart_a_device_that_finished_meanwhile_is_answered_and_told_of():
    server = serving()
    assert told(server, upgrade_end()) == [TransferCompleted(PPMID, ID)]


def test_a_restarted_hub_that_lost_the_image_leaves_a_holding_device_alone():
    server = OtaServer(ServerSettings())
    assert answer(server, upgrade_end()) == DefaultResponse(0x06, NO_IMAGE)


def test_a_waiting_device_can_be_told_to_activate():
    server = serving(activation=Activation.WAIT)
    answer(server, upgrade_end())
    server.activate(PPMID, 2.0)
    now = UpgradeEndResponse(0x121D, 0x0084, 2, 0, 0)
    assert server.drain() == [Send(PPMID, now, None)]
    assert answer(server, upgrade_end()) == now


def test_a_device_that_holds_nothing_cannot_be_told_to_activate():
    with pytest.raises(OurError, match="holds no image"):
        serving().activate(PPMID, 2.0)


def test_a_silent_target_is_reminded_ever_more_seldom():
    server = serving(ServerSettings(notify_every=10.0, notify_every_at_most=35.0))
    reminded = []
    while len(reminded) < 5:
        now = server.timer()
        server.tick(now)
        reminded += [now for item in server.drain() if isinstance(item, Notified)]
    assert reminded == [10.0, 30.0, 65.0, 100.0, 135.0]


def test_a_tick_too_early_does_nothing():
    server = serving()
    server.tick(server.timer() - 1.0)
    assert server.drain() == []


def test_a_target_that_asks_is_not_reminded_for_a_while():
    server = serving(ServerSettings(notify_every=10.0))
    answer(server, QUERY, now=9.0)
    assert server.timer() == 19.0


def test_a_client_that_falls_silent_is_told_of_once_and_notified_again():
    server = serving(ServerSettings(stall_after=60.0))
    answer(server, block_request(130), now=5.0)
    assert server.timer() == 65.0
    server.tick(65.0)
    assert server.drain() == [
        TransferStalled(PPMID, ID, 130),
        Send(PPMID, ImageNotify(), None),
        Notified(PPMID, ID, 2),
    ]
    assert TransferStarted(PPMID, ID, 130) in told(server, block_request(130))


def test_a_block_too_long_for_the_radio_is_sent_again_smaller():
    server = serving()
    answer(server, block_request(65), sequence=9)
    too_long(server, 65)
    shrunk, send, served = server.drain()
    assert shrunk == BlockShrunk(PPMID, 56)
    assert send == Send(PPMID, ImageBlockResponse(0x121D, 0x0084, 2, 65, FILE[65:121]), 9)
    assert served == BlockServed(PPMID, ID, 65, 56)
    assert len(answer(server, block_request(121)).data) == 56


def test_blocks_shrink_for_the_one_device_alone():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID, HCALCS], Activation.NOW), 0.0)
    too_long(server, 65)
    assert len(answer(server, block_request(0)).data) == 56
    assert len(answer(server, block_request(0), peer=HCALCS).data) == 65


def test_a_radio_that_carries_nothing_is_told_of_and_not_tried_for_ever():
    server = serving(ServerSettings(block_ceiling=8))
    answer(server, block_request(0))
    too_long(server, 8)
    assert [type(item) for item in server.drain()] == [Refused]


def test_a_block_too_long_of_an_image_that_is_gone_is_not_sent_again():
    server = serving()
    answer(server, block_request(0))
    server.withdraw(ID, 2.0)
    too_long(server, 65)
    assert server.drain() == [BlockShrunk(PPMID, 56)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"block_ceiling": 0},
        {"preempted_answer": Status.SUCCESS},
        {"nothing_for_you": Status.SUCCESS},
        {"notify_every": 0.0},
        {"stall_after": -1.0},
        {"aborts_allowed": 0},
        {"invalid_images_allowed": 0},
    ],
)
def test_settings_that_the_machine_cannot_keep_are_refused(wrong):
    with pytest.raises(OurError):
        ServerSettings(**wrong)


def test_two_images_for_two_types_in_one_device_are_both_served():
    other = upgrade_file(image_type=0x0085, seed=5)
    server = serving()
    server.offer(Offer.of(other, [PPMID], Activation.NOW), 1.0)
    assert answer(server, QUERY).image_type == 0x0084
    assert answer(server, QueryNextImageRequest(0x121D, 0x0085, 1, 0x1150)).image_type == 0x0085


# Two files with one version.


def unbegun() -> OtaServer:
    """A server whose PPMID is known to have nothing of FILE."""
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID], Activation.NOW, begun=()), 0.0)
    return server


def test_a_device_that_would_go_on_with_a_file_that_it_never_began_is_told_to_start_anew():
    server = unbegun()
    assert answer(server, block_request(130)) == ImageBlockAbort()
    assert answer(server, block_request(130)) == ImageBlockAbort()
    assert answer(server, block_request(0)).data == FILE[:65]
    assert answer(server, block_request(130)).data == FILE[130:195]


def test_whoever_never_began_this_file_cannot_have_the_whole_of_it():
    server = unbegun()
    assert answer(server, upgrade_end()) == DefaultResponse(0x06, Status.ABORT)
    answer(server, block_request(0))
    assert isinstance(answer(server, upgrade_end()), UpgradeEndResponse)


def test_a_device_that_is_known_to_have_begun_goes_on_anywhere_after_a_restart_of_the_server():
    server = OtaServer(ServerSettings())
    server.offer(Offer.of(FILE, [PPMID, GSME], Activation.NOW, begun=[PPMID]), 0.0)
    assert answer(server, block_request(130)).data == FILE[130:195]
    assert answer(server, block_request(130), peer=GSME) == ImageBlockAbort()


def test_a_paused_client_is_told_to_wait_until_it_is_resumed():
    server = serving(ServerSettings(pause_wait=60.0))
    answer(server, block_request(0))
    server.pause(PPMID, 2.0)
    assert answer(server, block_request(65)) == ImageBlockWait(0, 60, 0)
    server.resume(PPMID, 3.0)
    assert answer(server, block_request(65)).data == FILE[65:130]


def test_a_transfer_that_the_user_aborts_hears_so_once_and_gets_the_image_no_more():
    server = serving()
    answer(server, block_request(0))
    server.abort(PPMID, 2.0)
    assert server.drain() == [TransferAborted(PPMID, ID, 0, 1)]
    assert answer(server, block_request(65)) == ImageBlockAbort()
    assert answer(server, block_request(65)) == DefaultResponse(0x03, NO_IMAGE)
    assert answer(server, QUERY) == QueryNextImageResponse(NO_IMAGE)


@pytest.mark.parametrize("act", [OtaServer.pause, OtaServer.resume, OtaServer.abort])
def test_what_is_not_under_way_can_be_neither_paused_nor_resumed_nor_aborted(act):
    with pytest.raises(OurError, match="has no"):
        act(serving(), HCALCS, 1.0)


def test_blocks_for_one_device_can_go_without_acknowledgement():
    server = serving()
    server.configure(PPMID, DeviceSettings(acknowledged_blocks=False, block_ceiling=40), 1.0)
    server.receive(PPMID, block_request(0), 7, 1.0)
    assert [
        len(item.command.data) for item in server.drain() if isinstance(item, Send) and not item.acknowledged
    ] == [40]
