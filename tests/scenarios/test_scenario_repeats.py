"""Same seed, same capture, to the byte: across processes, hash seeds, busy machines and losses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from han.sim.home import read_home
from hub.demo.images import Supplier


@pytest.fixture(scope="module")
def small_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PPMID's first image, small: repetition needs no endurance."""
    ppmid = next(device for device in read_home("demo").devices if device.name == "ppmid")
    path = tmp_path_factory.mktemp("image") / "small.zigbee"
    path.write_bytes(Supplier().make(ppmid, 0x00020000, 6 * 1024, 1).data)
    return path


def _start(folder: Path, image: Path, *options: str, hash_seed: str | None = None) -> subprocess.Popen[str]:
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    if hash_seed is not None:
        environment["PYTHONHASHSEED"] = hash_seed
    command = [sys.executable, "-m", "hub.cli", "demo", "--json", "--image", str(image), *options]
    return subprocess.Popen(
        [
            *command,
            "--pcap",
            str(folder / "pcap"),
            "--keys",
            str(folder / "keys"),
            "--facts",
            str(folder / "facts"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _left(folder: Path) -> dict[str, str]:
    """A digest of each file, but for the name of the run's own folder, where its broker is."""
    return {
        path.name: hashlib.sha256(re.sub(rb"gbhan-[0-9a-z_]{8}", b"gbhan-", path.read_bytes())).hexdigest()
        for path in sorted(folder.iterdir())
    }


LOSSES = {
    "on a clear day": (),
    "with 2 % loss on the serial line and on the air": ("--loss", "0.02", "--serial-loss", "0.02"),
}


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_two_processes_leave_the_same_capture_keys_and_facts(tmp_path, small_image, losses):
    # Both at once, so that each is slowed and interrupted by the other in its own way.
    first = _start(tmp_path / "first", small_image, "--seed", "7", *losses, hash_seed="1")
    second = _start(tmp_path / "second", small_image, "--seed", "7", *losses, hash_seed="12345")

    for process in (first, second):
        output, errors = process.communicate(timeout=280)
        assert process.returncode == 0, errors + output[-2000:]
    assert _left(tmp_path / "first") == _left(tmp_path / "second")


def test_another_seed_leaves_another_capture_and_the_story_still_succeeds_with_5_percent_loss(
    tmp_path, small_image
):
    runs = [_start(tmp_path / seed, small_image, "--seed", seed, "--loss", "0.05") for seed in ("8", "9")]

    for process in runs:
        output, errors = process.communicate(timeout=280)
        assert process.returncode == 0, errors + output[-2000:]
        assert json.loads(output)["ok"] is True
    assert _left(tmp_path / "8")["pcap"] != _left(tmp_path / "9")["pcap"]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 140))
def test_the_story_succeeds_whatever_is_lost(tmp_path, small_image, seed):
    loss, serial_loss = seed % 5 * 0.01, seed % 3 * 0.01
    process = _start(
        tmp_path / "run",
        small_image,
        *("--seed", str(seed), "--loss", str(loss), "--serial-loss", str(serial_loss)),
    )

    output, errors = process.communicate(timeout=280)

    assert process.returncode == 0, errors + output[-2000:]
