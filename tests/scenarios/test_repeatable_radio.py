"""The same seed gives the same frames at the same moments, in any process, for any order of string hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HAN_TESTS = Path(__file__).parents[1] / "han"

PROGRAM = """
import asyncio, hashlib, sys
import han.sim
from dongle_house import CODE, PPMID, DongleHouse, Ears, registered, start
from han.clock import run
from han.security.install_code import link_key
from han.sim.air.medium import Clear, Lossy, Sniffed
from han.zcl import OTA_CLUSTER

seed = int(sys.argv[1])
air, told = hashlib.sha256(), hashlib.sha256()

async def main():
    def sniff(flight):
        air.update(repr((flight.start, flight.psdu)).encode())

    path = Sniffed(Lossy(Clear(), 0.02, seed), sniff)
    with registered(DongleHouse(path=path, serial_loss=0.02, seed=seed)) as house:
        house.facts.subscribe(lambda fact: told.update(fact.to_json().encode()))
        hub = await start(house, Ears())
        node = house.new_device()
        await hub.admit(PPMID, CODE, "PPMID")
        while node.nwk is None:
            await house.join(node, link_key(CODE))
        await asyncio.sleep(1)
        await asyncio.gather(*(hub.send(PPMID, OTA_CLUSTER, bytes([number])) for number in range(20)))
        await house.say(node, b"up")
        await hub.close()

run(main(), virtual=True, seed=seed)
print(air.hexdigest(), told.hexdigest())
"""


def digests(seed: int, hash_seed: str) -> str:
    """What one process makes of this seed."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(HAN_TESTS)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.mark.bench
def test_two_processes_with_one_seed_see_the_same_frames_and_facts_and_another_seed_sees_others():
    first = digests(7, "1")

    assert digests(7, "4242") == first
    assert digests(8, "1") != first
