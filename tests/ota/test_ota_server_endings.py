"""What comes next, how a download ends, and when a device upgrades: the rarer half of the hub's machine."""

from __future__ import annotations

import pytest
from ota_pair import HCALCS, PPMID, Pair, image_id, upgrade_file

from ota.client import ClientSettings
from ota.client_events import Activated
from ota.commands import (
    DefaultResponse,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageNotify,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.server import (
    EVERYBODY,
    Activation,
    ClientIgnoresBlock,
    MoreImagesNeeded,
    Notified,
    Offer,
    OtaServer,
    Send,
    ServerSettings,
    TransferCompleted,
)

FILE = upgrade_file(1000)
ID = image_id(FILE)
OURS = (0x121D, 0x0084, 2)
HOLD = UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
NOW = UpgradeEndResponse(*OURS, 0, 0)


def serving(settings: ServerSettings | None = None, *, file=FILE, targets=(PPMID,), **offer) -> OtaServer:
    server = OtaServer(settings or ServerSettings())
    server.offer(Offer.of(file, targets, offer.pop("activation", Activation.NOW), **offer), 0.0)
    return server


def hears(server: OtaServer, command, now: float = 1.0, peer=PPMID) -> list[object]:
    server.drain()
    server.receive(peer, command, 7, now)
    return server.drain()


def answer(server: OtaServer, command, now: float = 1.0):
    (send,) = [item for item in hears(server, command, now) if isinstance(item, Send)]
    return send.command


def end(status: Status = Status.SUCCESS, image_type: int = 0x0084) -> UpgradeEndRequest:
    return UpgradeEndRequest(status, 0x121D, image_type, 2)


# Image Notify.


@pytest.mark.parametrize(
    ("kind", "notice"),
    [
        (0, ImageNotify(0, 70)),
        (1, ImageNotify(1, 70, 0x121D)),
        (2, ImageNotify(2, 70, 0x121D, 0x0084)),
        (3, ImageNotify(3, 70, 0x121D, 0x0084, 2)),
    ],
)
def test_a_notification_says_as_much_as_its_payload_type_allows(kind, notice):
    server = serving(ServerSettings(notify_type=kind, notify_jitter=70))
    assert server.drain() == [Send(PPMID, notice, None), Notified(PPMID, ID, 1)]


def test_one_broadcast_tells_every_target_of_an_offer_and_reminders_are_for_one_alone():
    settings = ServerSettings(notify_by_broadcast=True, notify_type=3, notify_every=10.0)
    server = serving(settings, targets=(PPMID, HCALCS))
    notice = ImageNotify(3, 100, *OURS)
    assert server.drain() == [
        Send(EVERYBODY, notice, None),
        Notified(PPMID, ID, 1),
        Notified(HCALCS, ID, 1),
    ]
    hears(server, QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150), 1.0)
    server.tick(10.0)
    assert server.drain() == [Send(HCALCS, notice, None), Notified(HCALCS, ID, 2)]


# Files that are made for one device.


def device_file(version: int = 1, peer=PPMID, image_type: int = 0xFFC1) -> QueryDeviceSpecificFileRequest:
    return QueryDeviceSpecificFileRequest(peer, 0x121D, image_type, version, 2)


def test_a_device_is_told_of_the_file_that_is_made_for_it_and_of_no_other():
    own = upgrade_file(300, image_type=0xFFC1, destination=PPMID, hardware=None)
    server = serving(file=own)
    found = QueryDeviceSpecificFileResponse(Status.SUCCESS, 0x121D, 0xFFC1, 2, len(own))
    assert answer(server, device_file()) == found
    none = QueryDeviceSpecificFileResponse(Status.NO_IMAGE_AVAILABLE)
    assert answer(server, device_file(image_type=0xFFC2)) == none
    block = answer(server, ImageBlockRequest(0x121D, 0xFFC1, 2, 0, 40))
    assert block == ImageBlockResponse(0x121D, 0xFFC1, 2, 0, own[:40])


def test_a_device_may_not_ask_for_the_file_of_another():
    server = serving(file=upgrade_file(300, image_type=0xFFC1, destination=HCALCS, hardware=None))
    assert answer(server, device_file(peer=HCALCS)).status is Status.NOT_AUTHORIZED


def test_an_image_for_all_is_no_file_for_one_device():
    assert answer(serving(), device_file(image_type=0x0084)).status is Status.NO_IMAGE_AVAILABLE


def test_a_device_that_has_its_file_is_not_given_it_again():
    server = serving(file=upgrade_file(300, image_type=0xFFC1, destination=PPMID, hardware=None))
    assert answer(server, device_file(version=2)).status is Status.NO_IMAGE_AVAILABLE


# More images, please.


def test_an_image_that_needs_others_is_complete_when_the_last_of_them_is():
    other = upgrade_file(500, image_type=0x0085)
    server = serving()
    server.offer(Offer.of(other, [PPMID], Activation.NOW), 0.0)
    told = hears(server, end(Status.REQUIRE_MORE_IMAGE))
    assert MoreImagesNeeded(PPMID, ID) in told
    assert Send(PPMID, DefaultResponse(0x06, Status.SUCCESS), 7) in told
    assert not [item for item in told if isinstance(item, TransferCompleted)]
    assert MoreImagesNeeded(PPMID, ID) not in hears(server, end(Status.REQUIRE_MORE_IMAGE))
    told = hears(server, end(image_type=0x0085))
    assert {item.image_id for item in told if isinstance(item, TransferCompleted)} == {ID, image_id(other)}


# When to upgrade.


def test_a_target_is_told_to_upgrade_in_so_many_seconds_and_afterwards_now():
    server = serving(upgrade_at=600.0)
    assert answer(server, end(), 100.0) == UpgradeEndResponse(*OURS, 0, 500)
    assert answer(server, end(), 599.5) == UpgradeEndResponse(*OURS, 0, 1)
    assert server.timer() == 600.0
    server.tick(600.0)
    assert not [item for item in server.drain() if isinstance(item, Send)]
    assert answer(server, end(), 601.0) == NOW


def test_the_time_to_upgrade_can_be_told_in_utc():
    server = serving(ServerSettings(utc=lambda now: 800_000_000 + int(now)), upgrade_at=600.0)
    assert answer(server, end(), 100.0) == UpgradeEndResponse(*OURS, 800_000_100, 800_000_600)


def test_a_countdown_that_clients_would_cut_short_is_a_wait_that_ends_unasked():
    server = serving(upgrade_at=10_000.0)
    assert answer(server, end(), 100.0) == HOLD
    server.tick(9_999.0)
    assert not [item for item in server.drain() if isinstance(item, Send)]
    server.tick(10_000.0)
    assert server.drain() == [Send(PPMID, NOW, None)]
    assert answer(server, end(), 10_100.0) == NOW


def test_who_asks_again_within_the_last_hour_counts_down_by_itself():
    server = serving(upgrade_at=10_000.0)
    assert answer(server, end(), 100.0) == HOLD
    assert answer(server, end(), 7_300.0) == UpgradeEndResponse(*OURS, 0, 2_700)
    server.tick(10_000.0)
    assert not [item for item in server.drain() if isinstance(item, Send)]


def test_a_waiting_device_can_be_activated_at_a_time():
    server = serving(activation=Activation.WAIT)
    assert answer(server, end()) == HOLD
    server.activate(PPMID, 2.0, 62.0)
    assert server.drain() == [Send(PPMID, UpgradeEndResponse(*OURS, 0, 60), None)]


def test_a_device_whose_image_is_withdrawn_meanwhile_is_released_all_the_same():
    server = serving(upgrade_at=10_000.0)
    answer(server, end(), 100.0)
    server.withdraw(ID, 200.0)
    server.tick(10_000.0)
    assert server.drain() == [Send(PPMID, NOW, None)]


def test_a_device_upgrades_when_the_hub_says_and_not_before():
    pair = Pair(client=ClientSettings(first_query_within=1.0))
    pair.server.offer(Offer.of(FILE, [PPMID], Activation.NOW, upgrade_at=20_000.0), 0.0)
    pair.client.start(0.0)
    pair.run_until(Activated)
    assert 20_000.0 <= pair.now < 20_010.0


# Blocks that a device does not take.


def test_a_device_that_asks_on_for_what_its_radio_has_got_is_given_smaller_blocks():
    server, sizes, told = serving(), [], []
    for at in range(8):
        for item in hears(server, ImageBlockRequest(*OURS, 130, 64), 1.0 + 4 * at):
            if isinstance(item, ClientIgnoresBlock):
                told.append(item)
            if isinstance(item, Send):
                sizes.append(len(item.command.data))
                if item.tells_outcome:
                    server.sent(item, True, 2.0 + 4 * at)
    assert sizes == [64, 64, 64, 56, 56, 56, 52, 52]
    assert told == [ClientIgnoresBlock(PPMID, ID, 130, 56), ClientIgnoresBlock(PPMID, ID, 130, 52)]


def test_blocks_that_are_lost_on_the_air_stay_as_large_as_they_are():
    server, sizes = serving(), []
    for at in range(8):
        for item in hears(server, ImageBlockRequest(*OURS, 130, 64), 1.0 + 4 * at):
            if isinstance(item, Send):
                sizes.append(len(item.command.data))
                if item.tells_outcome:
                    server.sent(item, False, 2.0 + 4 * at)
    assert sizes == [64] * 8
