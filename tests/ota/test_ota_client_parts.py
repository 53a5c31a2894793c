"""A device that consists of parts: each has files of its own, and some want theirs all at once."""

from __future__ import annotations

import random

import pytest
from ota_bench import FILE, KEY, OFFERED, WAIT, Bench
from ota_pair import PPMID, RUNNING, Pair, upgrade_file

from ota import client as device
from ota import server as hub
from ota.client import (
    Aborted,
    Activated,
    ClientSettings,
    DownloadStarted,
    Identity,
    MoreNeeded,
    OtaClient,
    Part,
    State,
    StoredDownload,
    WaitingToActivate,
)
from ota.commands import (
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageNotify,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import ImageKey

RADIO = 0x0085
TWO_PARTS = Identity(0x121D, 0x0084, 1, 0x1150, parts=(Part(RADIO, 7),))
RADIO_FILE = upgrade_file(150, version=8, image_type=RADIO)
RADIO_KEY = ImageKey(0x121D, RADIO, 8)
RADIO_OFFERED = QueryNextImageResponse(Status.SUCCESS, 0x121D, RADIO, 8, len(RADIO_FILE))
NOTHING = QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE)
ASK_OWN = QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150)
ASK_RADIO = QueryNextImageRequest(0x121D, RADIO, 7, 0x1150)
MORE = UpgradeEndRequest(Status.REQUIRE_MORE_IMAGE, 0x121D, 0x0084, 2)
NOTED = DefaultResponse(0x06, Status.SUCCESS)

CONFIGURED = Identity(0x121D, 0x0084, 1, 0x1150, address=PPMID, parts=(Part(0xFFC1, 3, True),))


def takes(bench: Bench, data: bytes, key: ImageKey) -> None:
    """Give the device every block of this file."""
    while bench.client.state is State.DOWNLOADING:
        at = len(bench.client.stored.data)
        bench.hears(
            ImageBlockResponse(key.manufacturer, key.image_type, key.file_version, at, data[at : at + 65])
        )


def parts(**settings) -> Bench:
    return Bench(identity=TWO_PARTS, **settings)


def waits_for_more(**settings) -> Bench:
    """A device that has the first of two files, and has said so."""
    bench = parts(upgrades_together=True, **settings)
    bench.hears(OFFERED)
    takes(bench, FILE, KEY)
    assert bench.client.state is State.WAIT_FOR_MORE
    return bench


def test_a_device_asks_for_its_parts_in_turn():
    bench = parts()
    assert bench.asked == ASK_OWN
    assert bench.hears(NOTHING) == [ASK_RADIO]
    assert bench.hears(NOTHING) == []
    bench.wait()
    assert bench.asked == ASK_OWN


def test_a_query_that_the_server_refuses_is_no_file_for_that_part():
    bench = parts()
    assert bench.hears(DefaultResponse(0x01, Status.UNSUP_CLUSTER_COMMAND)) == [ASK_RADIO]


def test_a_part_may_be_upgraded_by_itself():
    bench = parts()
    bench.hears(NOTHING)
    bench.hears(RADIO_OFFERED)
    takes(bench, RADIO_FILE, RADIO_KEY)
    assert bench.asked == UpgradeEndRequest(Status.SUCCESS, 0x121D, RADIO, 8)
    bench.hears(UpgradeEndResponse(0x121D, RADIO, 8, 0, 0))
    bench.wait()
    assert bench.told == [Activated(8, RADIO)]
    assert bench.client.identity.parts == (Part(RADIO, 8),)
    assert bench.client.identity.file_version == 1


def test_a_device_that_needs_several_files_says_so_after_the_first():
    bench = waits_for_more()
    assert bench.asked == MORE
    assert bench.told[-1] == MoreNeeded(KEY, FILE)
    assert bench.client.attributes()[0x0006] == 5
    assert bench.hears(NOTED) == [ASK_RADIO]


def test_with_the_last_file_all_take_over_and_the_firmware_last():
    bench = waits_for_more()
    bench.hears(NOTED)
    assert bench.hears(RADIO_OFFERED) == [ImageBlockRequest(0x121D, RADIO, 8, 0, 65)]
    takes(bench, RADIO_FILE, RADIO_KEY)
    assert bench.asked == UpgradeEndRequest(Status.SUCCESS, 0x121D, RADIO, 8)
    bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0))
    bench.wait()
    assert bench.told == [Activated(8, RADIO), Activated(2)]
    assert (bench.client.stored, bench.client.aside) == (None, ())
    assert (bench.client.identity.file_version, bench.client.identity.parts[0].file_version) == (2, 8)


@pytest.mark.parametrize("key", [KEY, RADIO_KEY])
def test_the_end_may_name_any_of_the_files(key):
    bench = waits_for_more()
    bench.hears(NOTED)
    bench.hears(RADIO_OFFERED)
    takes(bench, RADIO_FILE, RADIO_KEY)
    bench.hears(UpgradeEndResponse(key.manufacturer, key.image_type, key.file_version, 0, 60))
    assert bench.client.state is State.COUNT_DOWN


def test_an_upgrade_end_response_does_not_activate_half_of_what_is_needed():
    bench = waits_for_more()
    assert bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0, 0)) == [ASK_RADIO]
    assert bench.client.state is State.WAIT_FOR_MORE


def test_a_device_that_waits_for_more_asks_now_and_then_and_when_notified():
    bench = waits_for_more(query_every=300.0)
    bench.hears(NOTED)
    assert bench.hears(NOTHING) == []
    before = bench.now
    bench.wait()
    assert (bench.now - before, bench.asked) == (300.0, ASK_RADIO)
    bench.hears(NOTHING)
    assert ASK_RADIO in bench.hears(ImageNotify(), sequence=99)


def test_the_server_s_silence_to_more_needed_keeps_nobody_from_asking():
    bench = waits_for_more(query_tries=3)
    asked = []
    while ASK_RADIO not in asked:
        bench.wait()
        asked += [send.command for send in bench.sent]
    assert asked == [MORE, MORE, ASK_RADIO]


def test_a_server_that_will_not_have_the_first_file_makes_the_device_drop_it():
    bench = waits_for_more()
    bench.hears(DefaultResponse(0x06, Status.ABORT))
    assert (bench.client.state, bench.client.aside) == (State.NORMAL, ())


@pytest.mark.parametrize("spoiled", [True, False])
def test_a_second_file_that_comes_to_nothing_leaves_the_first_one_waiting(spoiled):
    bench = waits_for_more()
    bench.hears(NOTED)
    bench.hears(RADIO_OFFERED)
    if spoiled:
        takes(bench, RADIO_FILE[:14] + b"\xff" + RADIO_FILE[15:], RADIO_KEY)
        assert bench.told[-1] == Aborted(Status.INVALID_IMAGE)
    else:
        bench.hears(ImageBlockAbort())
    assert bench.client.state is State.WAIT_FOR_MORE
    assert [file.key for file in bench.client.aside] == [KEY]


def test_a_file_set_aside_takes_room_from_the_next():
    bench = waits_for_more(storage=len(FILE) + len(RADIO_FILE) - 1)
    bench.hears(NOTED)
    assert bench.hears(RADIO_OFFERED) == [UpgradeEndRequest(Status.INSUFFICIENT_SPACE, 0x121D, RADIO, 8)]
    assert bench.client.state is State.WAIT_FOR_MORE


def test_a_device_that_loses_power_while_it_waits_for_more_goes_on_waiting():
    before = waits_for_more()
    after = Bench(before.client.stored, identity=TWO_PARTS, aside=before.client.aside, upgrades_together=True)
    assert after.client.state is State.WAIT_FOR_MORE
    assert after.asked == MORE
    assert after.hears(NOTED) == [ASK_RADIO]


def test_a_device_that_loses_power_in_the_second_file_goes_on_there():
    before = waits_for_more()
    before.hears(NOTED)
    before.hears(RADIO_OFFERED)
    before.hears(ImageBlockResponse(0x121D, RADIO, 8, 0, RADIO_FILE[:65]))
    after = Bench(before.client.stored, identity=TWO_PARTS, aside=before.client.aside, upgrades_together=True)
    assert after.told == [DownloadStarted(RADIO_KEY, len(RADIO_FILE), 65)]
    takes(after, RADIO_FILE, RADIO_KEY)
    assert after.client.state is State.COMPLETE


def test_a_newer_file_for_a_device_that_holds_all_makes_it_begin_anew():
    bench = waits_for_more(out_of_band_only=True)
    bench.hears(NOTED)
    bench.hears(RADIO_OFFERED)
    takes(bench, RADIO_FILE, RADIO_KEY)
    bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, WAIT, WAIT))
    assert bench.told == [WaitingToActivate(RADIO_KEY)]
    bench.wait()
    assert bench.hears(NOTHING) == [ASK_RADIO]
    bench.hears(QueryNextImageResponse(Status.SUCCESS, 0x121D, RADIO, 9, len(RADIO_FILE)))
    assert (bench.client.state, bench.client.aside) == (State.DOWNLOADING, ())


def test_a_part_s_file_never_takes_the_place_of_the_firmware_that_waits_for_its_command():
    bench = parts(out_of_band_only=True)
    bench.hears(OFFERED)
    takes(bench, FILE, KEY)
    bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, WAIT, WAIT))
    bench.wait()
    assert bench.asked == ASK_OWN
    assert bench.hears(NOTHING) == [], "nobody is asked for the other part"
    assert bench.client.held == KEY


def test_both_files_reach_a_device_that_needs_both_through_the_true_server():
    together = ClientSettings(first_query_within=1.0, upgrades_together=True)
    pair = Pair(client=together, identity=TWO_PARTS, loss=0.05)
    pair.offer(FILE)
    pair.offer(RADIO_FILE)
    pair.client.start(0.0)
    pair.run_until(device.Activated)
    pair.run(1.0)
    assert pair.all(device.Activated) == [Activated(8, RADIO), Activated(2)]
    assert pair.all(hub.TransferFailed) == []


def test_a_file_for_one_device_alone_reaches_it_through_the_true_server():
    data = upgrade_file(90, version=4, image_type=0xFFC1, destination=PPMID)
    pair = Pair(identity=CONFIGURED)
    pair.offer(data)
    pair.client.start(0.0)
    assert pair.run_until(device.Activated) == Activated(4, 0xFFC1)
    assert pair.all(device.DownloadComplete)[0].data == data
    assert len(pair.commands(QueryDeviceSpecificFileRequest)) == 1


def test_a_file_for_this_device_alone_is_asked_for_by_its_address():
    bench = Bench(identity=CONFIGURED)
    asked = bench.hears(NOTHING)
    assert asked == [QueryDeviceSpecificFileRequest(PPMID, 0x121D, 0xFFC1, 3, 0x0002)]


def test_a_device_specific_file_is_taken_like_any_other():
    data = upgrade_file(90, version=4, image_type=0xFFC1, destination=PPMID)
    bench = Bench(identity=CONFIGURED)
    bench.hears(NOTHING)
    answer = QueryDeviceSpecificFileResponse(Status.SUCCESS, 0x121D, 0xFFC1, 4, len(data))
    assert bench.hears(answer) == [ImageBlockRequest(0x121D, 0xFFC1, 4, 0, 65)]
    takes(bench, data, ImageKey(0x121D, 0xFFC1, 4))
    assert bench.asked.status is Status.SUCCESS


@pytest.mark.parametrize(
    "answer",
    [
        QueryDeviceSpecificFileResponse(Status.NO_IMAGE_AVAILABLE),
        QueryDeviceSpecificFileResponse(Status.NOT_AUTHORIZED),
        DefaultResponse(0x08, Status.UNSUP_CLUSTER_COMMAND),
    ],
)
def test_no_device_specific_file_is_no_file(answer):
    bench = Bench(identity=CONFIGURED, query_every=300.0)
    bench.hears(NOTHING)
    assert bench.hears(answer) == []
    assert bench.client.timer() == bench.now + 300.0


def test_the_answer_to_one_query_does_not_answer_the_other():
    bench = Bench(identity=CONFIGURED)
    bench.hears(NOTHING)
    assert bench.hears(NOTHING) == []
    due = bench.client.timer()
    assert due < bench.now + 300


def test_a_file_for_another_device_is_invalid():
    data = upgrade_file(90, version=2, destination=Eui64(0x00DB1234567890FF))
    bench = Bench(identity=CONFIGURED)
    bench.hears(QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, len(data)))
    takes(bench, data, KEY)
    assert bench.asked == UpgradeEndRequest(Status.INVALID_IMAGE, 0x121D, 0x0084, 2)


def test_a_device_without_files_of_its_own_does_not_know_the_answer_to_that_query():
    answer = QueryDeviceSpecificFileResponse(Status.NO_IMAGE_AVAILABLE)
    refused = DefaultResponse(0x09, Status.UNSUP_CLUSTER_COMMAND, from_server=False)
    assert Bench().hears(answer) == [refused]


@pytest.mark.parametrize(
    "fault",
    [{"parts": (Part(0x0084, 1),)}, {"parts": (Part(1, 1), Part(1, 2))}, {"parts": (Part(0xFFC1, 1, True),)}],
)
def test_a_device_that_cannot_be_is_our_error(fault):
    with pytest.raises(OurError):
        Identity(0x121D, 0x0084, 1, **fault)


def test_a_file_of_no_part_cannot_run():
    header = hub.Offer.of(upgrade_file(image_type=0x0099), [], hub.Activation.NOW).header
    with pytest.raises(OurError, match="0x0099"):
        RUNNING.running(header, 0)


def test_a_broadcast_concerns_a_device_whose_part_it_names():
    for image_type, asks in ((RADIO, True), (0x0084, True), (0x0099, False)):
        client = OtaClient(ClientSettings(), TWO_PARTS, random.Random(1))
        client.receive(ImageNotify(2, 100, 0x121D, image_type), 1, 0.0, broadcast=True)
        assert any(isinstance(item, device.Send) for item in client.drain()) == asks


def test_files_for_what_a_device_no_longer_has_are_let_go():
    strange = StoredDownload(ImageKey(0x121D, 0x0099, 2), len(FILE), FILE)
    own = StoredDownload(KEY, len(FILE), FILE)
    radio = StoredDownload(RADIO_KEY, len(RADIO_FILE), RADIO_FILE)
    for aside, together in (([strange], True), ([own, radio], True), ([own], False)):
        bench = Bench(strange, aside=aside, identity=TWO_PARTS, upgrades_together=together)
        assert (bench.client.stored, bench.client.aside) == (None, ())
        assert bench.asked == ASK_OWN


def test_what_is_stored_whole_and_what_is_set_aside_survive_as_they_are():
    stored = StoredDownload(KEY, len(FILE), FILE)
    client = OtaClient(ClientSettings(upgrades_together=True), TWO_PARTS, random.Random(1), None, [stored])
    assert client.aside == (stored,)
