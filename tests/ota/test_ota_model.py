"""Whatever is lost, late, cut off or offered meanwhile: the octets are the image's, and every session ends.

Each seed is a house, a few files, an air, and things that go wrong (`ota_schedule`, `ota_story`); what must
hold stands in `ota_promises`. A small share of the seeds is lived through here, 100,000 in `make soak`. The
broken machines at the end show that each promise can be broken, and that it is noticed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest
from ota_promises import BrokenPromiseError
from ota_story import live, try_out
from ota_world import Machines
from try_schedules import told, try_all

from hub.slot import Slot
from ota.client import OtaClient
from ota.commands import ImageBlockResponse
from ota.server import OtaServer, Send

SHARE = 3000
SOAK = 100_000
REPEAT = "python tests/ota/try_schedules.py --count 1 --first SEED repeats one"


def nothing_broken(broken: Mapping[int, str]) -> None:
    assert not broken, f"{REPEAT}: " + "; ".join(f"seed {seed}: {why}" for seed, why in broken.items())


def test_every_session_ends_and_every_octet_is_the_images_own_whatever_goes_wrong():
    tried = try_out(range(SHARE))

    nothing_broken(tried.broken)
    assert tried.many == SHARE


def test_the_schedules_go_through_all_that_can_happen_to_a_download():
    happened = try_out(range(SHARE, SHARE + 300)).happened
    everything = {
        *("hub_loses_power", "device_loses_power", "device_loses_touch", "pause", "abort", "configure"),
        *("offer", "remove", "activate_by_hub", "activate_by_command", "ask_now"),
        *("ImagePageRequest", "ImageBlockWait", "ImageBlockAbort", "TransferStalled", "TransferInterrupted"),
        *("TransferFailed", "TransferAborted", "Resumed", "TurnAwaited", "BlockShrunk", "FellBack", "GaveUp"),
        *("Aborted", "WaitingToActivate", "Activated", "AlreadyRunning", "Ignored"),
    }
    assert everything <= happened.keys()
    assert happened["TransferCompleted"] > 300


def test_a_seed_tells_the_same_story_again():
    def story(seed: int) -> object:
        world = live(seed)
        return world.now, world.steps, world.happened, world.hub.held

    assert [story(seed) for seed in range(20)] == [story(seed) for seed in range(20)]


@pytest.mark.soak
def test_a_hundred_thousand_schedules_break_no_promise(capsys):
    results = list(try_all(0, SOAK, os.cpu_count() or 1))
    with capsys.disabled():
        sys.stdout.write(f"\n{told(results)}\n")
    nothing_broken({seed: why for each in results for seed, why in each.broken.items()})


class CountsForItself(OtaServer):
    """Serves on from where it thinks the client is, as one deployed server does."""

    def __init__(self, settings):
        super().__init__(settings)
        self._next = {}
        self._offers = {}

    def offer(self, offer, now):
        self._offers |= {(peer, offer.header.key): offer.data for peer in offer.targets}
        super().offer(offer, now)

    def drain(self):
        return [
            self._shifted(item)
            if isinstance(item, Send) and isinstance(item.command, ImageBlockResponse)
            else item
            for item in super().drain()
        ]

    def _shifted(self, send):
        block = send.command
        at = self._next.get(send.peer, 0) if block.file_offset else 0
        self._next[send.peer] = at + len(block.data)
        data = next(
            data
            for (peer, key), data in self._offers.items()
            if peer == send.peer and key.file_version == block.file_version
        )
        return replace(
            send, command=replace(block, data=data[at : at + len(block.data)] or bytes(len(block.data)))
        )


class ServesOn(OtaServer):
    """Serves an image that is gone to whoever is in the middle of it."""

    def withdraw(self, image_id, now):
        pass


class ForgetsWhoBegan(OtaServer):
    """Lets a device go on with a file that it never began."""

    def offer(self, offer, now):
        super().offer(replace(offer, begun=None), now)


class GivesWay(Slot):
    """Lets any image take the slot."""

    def _yields(self, held, candidate, now):
        return "because it may"


class TakesAnyPlace(OtaClient):
    """Appends whatever block comes, as if none was ever repeated or late."""

    def receive(self, command, sequence, now, **how):
        if isinstance(command, ImageBlockResponse) and self._flash.holds is not None:
            command = replace(command, file_offset=len(self._flash.data))
            sequence = self._talk.sequence
        super().receive(command, sequence, now, **how)


class NeverAsksAgain(OtaClient):
    """Waits for its answers for ever."""

    def timer(self):
        return None if self.state.name == "DOWNLOADING" else super().timer()


@pytest.mark.parametrize(
    ("machines", "promise"),
    [
        (Machines(server=CountsForItself), "does not hold the image's octets"),
        (Machines(server=ServesOn), "goes out"),
        (Machines(server=ServesOn), "of higher priority"),
        (Machines(server=ForgetsWhoBegan), "never had it whole"),
        (Machines(slot=GivesWay), "an image of GAS makes room for one of ORDINARY"),
        (Machines(client=TakesAnyPlace), "stands in no file there"),
        (Machines(client=NeverAsksAgain), "sessions never end"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_machine_that_is_broken_on_purpose_breaks_its_promise(machines, promise):
    for seed in range(1500):
        try:
            live(seed, machines)
        except BrokenPromiseError as broken:
            if promise in str(broken):
                return
    pytest.fail(f"no seed noticed that {machines} breaks: {promise}")
