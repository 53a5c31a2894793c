"""A gas meter that sleeps leaves the same capture and the same keys for the same seed, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HAN_TESTS = Path(__file__).parents[1] / "han"

PROGRAM = """
import asyncio, hashlib, sys
from pathlib import Path
from sleepy_home import sleepy_home, update, wait_for
from han.clock import run

async def main(folder):
    async with sleepy_home(seed=7, loss=0.05, evidence=folder) as (stage, _):
        _, request = await update(stage, "gsme", 2000)
        await wait_for(stage, "ota.block", "gsme", 10)
        await stage.mains.hub._house.switch_network_key()
        await stage.dsp.finished(request)
        await stage.mains.hub._house.switch_network_key()
        await asyncio.sleep(8 * 3600)

folder = Path(sys.argv[1])
run(main(folder), virtual=True, seed=7)
for name in ("home.pcap", "home.keys"):
    print(hashlib.sha256((folder / name).read_bytes()).hexdigest())
"""


def start(folder: Path, hash_seed: str) -> subprocess.Popen[str]:
    """A process that lives through it, with string hashes of its own."""
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(HAN_TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.bench
def test_two_processes_with_one_seed_leave_the_same_capture_and_keys(tmp_path):
    # Both at once, so that each is slowed and interrupted by the other in its own way.
    processes = [start(tmp_path / "first", "1"), start(tmp_path / "second", "4242")]
    digests = set()
    for process in processes:
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert len(output.split()) == 2
        digests.add(output)

    assert len(digests) == 1
