"""Whole transfers between the two machines, on a bad air and through restarts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ota_pair import HCALCS, PPMID, Pair, upgrade_file

from ota import client as device
from ota import server as hub
from ota.commands import ImageBlockRequest, ImageBlockResponse, ImageNotify, Status, UpgradeEndRequest
from ota.eui64 import Eui64

FILE = upgrade_file(3000)
TWO_STAGE = device.ClientSettings(first_query_within=1.0, out_of_band_only=True, apply_after_timeout=False)


def rebuilt(pair: Pair) -> bytes:
    """The file as the blocks that crossed the air tell it."""
    octets = bytearray(len(FILE))
    for block in pair.commands(ImageBlockResponse):
        octets[block.file_offset : block.file_offset + len(block.data)] = block.data
    return bytes(octets)


def test_a_ppmid_takes_an_image_and_activates_it():
    pair = Pair()
    image = pair.offer(FILE)
    pair.client.start(0.0)
    assert pair.run_until(device.Activated) == device.Activated(2)
    assert pair.all(device.DownloadComplete)[0].data == FILE
    assert pair.all(hub.TransferCompleted) == [hub.TransferCompleted(PPMID, image)]
    assert rebuilt(pair) == FILE


def test_on_a_clean_air_each_octet_crosses_once():
    pair = Pair()
    pair.offer(FILE)
    pair.client.start(0.0)
    pair.run_until(device.DownloadComplete)
    assert len(pair.commands(ImageBlockRequest)) == -(-len(FILE) // 65)
    assert sum(len(block.data) for block in pair.commands(ImageBlockResponse)) == len(FILE)


def test_a_notification_brings_a_device_that_would_ask_much_later():
    pair = Pair(client=device.ClientSettings(first_query_within=0.1, query_every=86400.0))
    pair.client.start(0.0)
    pair.run(60.0)
    pair.offer(FILE)
    pair.run_until(device.DownloadComplete, within=60.0)
    assert len(pair.commands(ImageNotify)) == 1


def test_an_hcalcs_holds_its_image_until_the_command_comes():
    pair = Pair(client=TWO_STAGE, peer=HCALCS)
    image = pair.offer(FILE, hub.Activation.WAIT)
    pair.client.start(0.0)
    pair.run_until(device.WaitingToActivate)
    pair.run(14 * 86400.0)
    assert pair.client.held is not None
    assert pair.all(hub.TransferCompleted) == [hub.TransferCompleted(HCALCS, image)]
    pair.client.activate(pair.now)
    pair.run(1.0)
    assert pair.all(device.Activated) == [device.Activated(2)]


def test_a_hub_that_offers_again_what_a_device_holds_learns_that_it_does():
    pair = Pair(client=TWO_STAGE, peer=HCALCS)
    image = pair.offer(FILE, hub.Activation.WAIT)
    pair.client.start(0.0)
    pair.run_until(device.WaitingToActivate)
    pair.server.withdraw(image, pair.now)
    pair.run(3600.0)
    pair.offer(FILE, hub.Activation.WAIT)
    assert pair.run_until(hub.TransferCompleted, within=10.0) == hub.TransferCompleted(HCALCS, image)
    assert len(pair.all(device.DownloadStarted)) == 1


def test_a_waiting_device_goes_when_the_hub_says_so():
    pair = Pair()
    pair.offer(FILE, hub.Activation.WAIT)
    pair.client.start(0.0)
    pair.run_until(device.WaitingToActivate)
    pair.run(86400.0)
    pair.server.activate(PPMID, pair.now)
    assert pair.run_until(device.Activated, within=10.0) == device.Activated(2)


def test_a_device_whose_hardware_does_not_suit_gets_no_block():
    pair = Pair(identity=device.Identity(0x121D, 0x0084, 1, 0x2000))
    pair.offer(FILE)
    pair.client.start(0.0)
    pair.run(86400.0)
    assert len(pair.all(hub.HardwareMismatch)) == 1
    assert pair.commands(ImageBlockRequest) == []


def test_a_preempted_client_is_aborted_and_takes_the_image_when_it_is_sent_again():
    pair = Pair()
    image = pair.offer(FILE)
    pair.client.start(0.0)
    while len(pair.all(device.BlockReceived)) < 20:
        pair.step(60.0)
    pair.server.withdraw(image, pair.now)
    assert pair.run_until(device.Aborted, within=5.0) == device.Aborted(Status.ABORT)
    pair.run(3600.0)
    assert pair.all(hub.TransferCompleted) == []
    pair.offer(FILE)
    assert pair.run_until(device.DownloadComplete, within=60.0).data == FILE


def test_a_withdrawal_at_any_moment_ends_without_an_image_or_with_a_whole_one():
    blocks = -(-len(FILE) // 65)
    for moment in range(0, 2 * blocks + 12, 3):
        pair = Pair()
        image = pair.offer(FILE)
        pair.client.start(0.0)
        for _ in range(moment):
            pair.step(3600.0)
        pair.server.withdraw(image, pair.now)
        pair.run(7200.0)
        completed = bool(pair.all(hub.TransferCompleted))
        assert bool(pair.all(device.Activated)) == completed, moment
        assert pair.client.stored is None, moment


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "repeats"), [(0.05, 0.0), (0.0, 0.3), (0.2, 0.2), (0.4, 0.0)])
def test_a_bad_air_delays_an_image_and_changes_nothing_else(loss, repeats, seed):
    pair = Pair(loss=loss, repeats=repeats, seed=seed)
    image = pair.offer(FILE)
    pair.client.start(0.0)
    assert pair.run_until(device.Activated, within=30 * 86400.0) == device.Activated(2)
    pair.run(86400.0)
    assert pair.all(device.DownloadComplete)[0].data == FILE
    assert pair.all(hub.TransferCompleted) == [hub.TransferCompleted(PPMID, image)]


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(0, 700),
    asked=st.integers(1, 255),
    ceiling=st.integers(1, 80),
    loss=st.floats(0, 0.3),
    seed=st.integers(0, 2**32),
)
def test_any_sizes_on_any_air_give_the_file_back(size, asked, ceiling, loss, seed):
    data = upgrade_file(size)
    pair = Pair(
        client=device.ClientSettings(first_query_within=1.0, maximum_data_size=asked),
        server=hub.ServerSettings(block_ceiling=ceiling, aborts_allowed=1000),
        loss=loss,
        seed=seed,
    )
    pair.offer(data)
    pair.client.start(0.0)
    assert pair.run_until(device.DownloadComplete, within=365 * 86400.0).data == data
    sizes = {len(block.data) for block in pair.commands(ImageBlockResponse)}
    assert max(sizes) <= min(asked, ceiling)


def test_a_hub_that_restarts_after_any_step_serves_on_at_the_device_s_offset():
    steps = 0
    while True:
        pair = Pair()
        image = pair.offer(FILE)
        pair.client.start(0.0)
        for _ in range(steps):
            pair.step(3600.0)
        if pair.all(device.Activated):
            break
        done = bool(pair.all(hub.TransferCompleted))
        pair.restart_server(hub.Offer.of(FILE, [PPMID], hub.Activation.NOW))
        if done:
            pair.server.finished(PPMID, image)
        pair.run_until(device.Activated, within=7200.0)
        assert pair.all(hub.TransferCompleted) == [hub.TransferCompleted(PPMID, image)], steps
        assert [event.offset for event in pair.all(device.DownloadStarted)] == [0], steps
        steps += 3
    assert steps > 90


def test_a_device_that_loses_power_after_any_step_asks_for_no_octet_twice():
    for steps in range(5, 100, 5):
        pair = Pair()
        pair.offer(FILE)
        pair.client.start(0.0)
        for _ in range(steps):
            pair.step(3600.0)
        stood_at = 0 if pair.client.stored is None else len(pair.client.stored.data)
        pair.restart_client()
        pair.run_until(device.Activated, within=7200.0)
        starts = [event.offset for event in pair.all(device.DownloadStarted)]
        assert starts in ([0], [0, stood_at]), steps
        assert len(pair.all(hub.TransferCompleted)) == 1, steps


def test_a_hub_that_is_away_for_minutes_finds_the_device_still_asking():
    pair = Pair()
    pair.offer(FILE)
    pair.client.start(0.0)
    while len(pair.all(device.BlockReceived)) < 20:
        pair.step(60.0)
    pair.server_is_up = False
    pair.run(240.0)
    pair.restart_server(hub.Offer.of(FILE, [PPMID], hub.Activation.NOW))
    pair.server_is_up = True
    pair.run_until(device.DownloadComplete, within=120.0)
    assert pair.all(device.GaveUp) == []


def test_a_hub_that_is_away_for_days_is_found_again_and_goes_on_at_the_offset():
    pair = Pair()
    pair.offer(FILE)
    pair.client.start(0.0)
    while len(pair.all(device.BlockReceived)) < 20:
        pair.step(60.0)
    pair.server_is_up = False
    pair.run(2 * 86400.0)
    assert len(pair.all(device.GaveUp)) == 1
    pair.restart_server(hub.Offer.of(FILE, [PPMID], hub.Activation.NOW))
    pair.server_is_up = True
    assert pair.run_until(device.DownloadComplete, within=3600.0).data == FILE
    assert pair.all(device.DownloadStarted)[-1].offset == 20 * 65


def test_a_file_that_the_device_rejects_fails_the_transfer_and_is_not_fetched_for_ever():
    refusing = device.ClientSettings(first_query_within=1.0, verify=lambda _: False)
    pair = Pair(client=refusing)
    image = pair.offer(FILE)
    pair.client.start(0.0)
    pair.run(7 * 86400.0)
    [failed] = pair.all(hub.TransferFailed)
    assert (failed.peer, failed.image_id, failed.status) == (PPMID, image, Status.INVALID_IMAGE)
    assert [end.status for end in pair.commands(UpgradeEndRequest)] == [Status.INVALID_IMAGE] * 2


def changes_in_mid_download(*, keeps_aborted: bool, begun: tuple[Eui64, ...] | None) -> tuple[Pair, bytes]:
    """A device whose hub, in mid-download, comes to offer another file under the same name."""
    other = upgrade_file(3000, seed=2)
    careful = device.ClientSettings(
        first_query_within=1.0, keeps_aborted=keeps_aborted, verify=lambda data: data in (FILE, other)
    )
    pair = Pair(client=careful)
    image = pair.offer(FILE)
    pair.client.start(0.0)
    while len(pair.all(device.BlockReceived)) < 20:
        pair.step(60.0)
    pair.server.withdraw(image, pair.now)
    pair.restart_client()
    pair.server.offer(hub.Offer.of(other, [PPMID], hub.Activation.NOW, begun), pair.now)
    return pair, other


@pytest.mark.parametrize("keeps_aborted", [True, False])
def test_a_file_that_changes_under_its_name_starts_the_device_anew(keeps_aborted):
    pair, other = changes_in_mid_download(keeps_aborted=keeps_aborted, begun=())

    assert pair.run_until(device.DownloadComplete, within=86400.0).data == other
    assert [event.offset for event in pair.all(device.DownloadStarted)] == [0, 20 * 65, 0]
    assert pair.all(device.Aborted) == [device.Aborted(Status.ABORT)]


@pytest.mark.parametrize("keeps_aborted", [True, False])
def test_a_mixed_file_that_nobody_could_know_of_is_invalid_and_taken_anew(keeps_aborted):
    pair, other = changes_in_mid_download(keeps_aborted=keeps_aborted, begun=None)
    pair.run(2 * 86400.0)

    assert pair.all(device.Aborted) == [device.Aborted(Status.INVALID_IMAGE)]
    [complete] = pair.all(device.DownloadComplete)
    assert [end.status for end in pair.commands(UpgradeEndRequest)] == [Status.INVALID_IMAGE, Status.SUCCESS]
    assert complete.data == other


def test_a_newer_image_in_mid_download_is_taken_from_its_beginning():
    newer = upgrade_file(3000, version=3, seed=3)
    pair = Pair()
    image = pair.offer(FILE)
    pair.client.start(0.0)
    while len(pair.all(device.BlockReceived)) < 20:
        pair.step(60.0)
    pair.server.withdraw(image, pair.now)
    pair.offer(newer)

    assert pair.run_until(device.DownloadComplete, within=86400.0).data == newer
    assert pair.all(device.Aborted) == [device.Aborted(Status.ABORT)]
    assert [(event.key.file_version, event.offset) for event in pair.all(device.DownloadStarted)] == [
        (2, 0),
        (3, 0),
    ]


def test_a_device_that_never_answers_is_told_of_by_nobody_and_reminded_seldom():
    pair = Pair(loss=1.0)
    pair.offer(FILE)
    pair.run(14 * 86400.0)
    assert [event for event in pair.heard if not isinstance(event, hub.Notified)] == []
    assert 50 < len(pair.commands(ImageNotify)) < 70


def test_the_same_seed_gives_the_same_transfer():
    def trace() -> list:
        pair = Pair(loss=0.1, repeats=0.1, seed=7)
        pair.offer(FILE)
        pair.client.start(0.0)
        pair.run(3600.0)
        return pair.crossed

    assert trace() == trace()
