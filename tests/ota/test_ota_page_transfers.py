"""Whole transfers in pages, between the two machines, on a bad air and through restarts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from ota_pair import PPMID, Pair, upgrade_file

from ota import client as device
from ota import server as hub
from ota.commands import ImageBlockRequest, ImageBlockResponse, ImagePageRequest, Status

FILE = upgrade_file(6000)


def paging(
    *, loss: float = 0.0, repeats: float = 0.0, jitter: float = 0.01, seed: int = 1, **settings
) -> Pair:
    """A device that takes FILE in pages of 20 blocks, and its hub. With jitter, frames overtake others."""
    usual = {"page_size": 1000, "maximum_data_size": 50, "page_spacing": 0.0, "first_query_within": 1.0}
    pair = Pair(
        client=device.ClientSettings(**(usual | settings)),
        server=hub.ServerSettings(aborts_allowed=1000),
        loss=loss,
        repeats=repeats,
        jitter=jitter,
        seed=seed,
    )
    pair.offer(FILE)
    pair.client.start(0.0)
    return pair


def test_on_a_clean_air_a_file_takes_one_request_for_each_page():
    pair = paging(jitter=0.0)

    assert pair.run_until(device.DownloadComplete).data == FILE
    assert len(pair.commands(ImagePageRequest)) == -(-len(FILE) // 1000)
    assert pair.commands(ImageBlockRequest) == []
    assert sum(len(block.data) for block in pair.commands(ImageBlockResponse)) == len(FILE)


def test_blocks_are_as_far_apart_as_the_device_asks():
    pair = paging(page_spacing=0.3, jitter=0.0)
    pair.run_until(device.DownloadComplete)
    blocks = [(when, block) for when, _, block in pair.crossed if isinstance(block, ImageBlockResponse)]
    gaps = [
        after - before
        for (before, _), (after, block) in pairwise(blocks)
        if block.file_offset % 1000 != 0  # not the first of a page
    ]

    assert min(gaps) == pytest.approx(0.3)
    assert max(gaps) == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "repeats"), [(0.05, 0.0), (0.0, 0.3), (0.2, 0.2), (0.4, 0.0)])
def test_a_bad_air_delays_a_file_in_pages_and_changes_nothing_else(loss, repeats, seed):
    pair = paging(loss=loss, repeats=repeats, seed=seed)

    assert pair.run_until(device.DownloadComplete, within=30 * 86400.0).data == FILE
    stored = pair.all(device.BlockReceived)
    assert sum(event.size for event in stored) == len(FILE), "each octet is stored once"
    pair.run(86400.0)
    assert pair.all(device.Activated) == [device.Activated(2)]


def test_only_what_was_lost_is_asked_for_again():
    pair = paging(loss=0.1, seed=3)
    pair.run_until(device.DownloadComplete, within=86400.0)
    blocks = -(-len(FILE) // 50)
    refetched = len(pair.commands(ImageBlockRequest))

    assert 0 < refetched < blocks / 2


def test_a_device_that_loses_power_after_any_step_of_a_page_goes_on_behind_what_it_stored():
    for steps in range(4, 200, 9):
        pair = paging()
        for _ in range(steps):
            pair.step(3600.0)
        stood_at = 0 if pair.client.stored is None else len(pair.client.stored.data)
        pair.restart_client()
        assert pair.run_until(device.Activated, within=7200.0) == device.Activated(2)
        starts = [event.offset for event in pair.all(device.DownloadStarted)]
        assert starts in ([0], [0, stood_at]), steps
        assert pair.all(device.DownloadComplete)[0].data == FILE, steps


def test_a_hub_that_restarts_in_a_page_serves_on_where_the_device_stands():
    for steps in range(4, 200, 9):
        pair = paging()
        for _ in range(steps):
            pair.step(3600.0)
        if pair.all(hub.TransferCompleted):
            break
        pair.restart_server(hub.Offer.of(FILE, [PPMID], hub.Activation.NOW))
        assert pair.run_until(device.DownloadComplete, within=7200.0).data == FILE, steps


def test_a_newer_image_in_mid_page_is_taken_from_its_beginning():
    newer = upgrade_file(6000, version=3, seed=3)
    pair = paging()
    while len(pair.all(device.BlockReceived)) < 30:
        pair.step(60.0)
    pair.server.withdraw(hub.Offer.of(FILE, [], hub.Activation.NOW).image_id, pair.now)
    pair.offer(newer)

    assert pair.run_until(device.DownloadComplete, within=86400.0).data == newer
    assert pair.all(device.Aborted) == [device.Aborted(Status.ABORT)]


def test_a_device_whose_hub_has_no_pages_takes_the_file_in_blocks():
    pair = paging()
    pair.server_settings = hub.ServerSettings(serves_pages=False)
    pair.restart_server(hub.Offer.of(FILE, [PPMID], hub.Activation.NOW))

    assert pair.run_until(device.DownloadComplete).data == FILE
    assert len(pair.commands(ImagePageRequest)) == 1
    assert len(pair.all(device.FellBack)) == 1
