"""zigpy and bellows print every key at DEBUG, and some at WARNING: no command ever lets them speak."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

AFTER_START = """
import logging
from hub.cli.program import run

async def job():
    logging.getLogger("bellows.ezsp.protocol").warning("a frame with a key in it")
    logging.getLogger("zigpy.application").debug("a frame with a key in it")
    logging.getLogger("bellows.uart").error("a dongle that is gone")

run(job())
"""


def said(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_libraries_of_the_radio_are_heard_from_error_upwards_only():
    told = said("-c", AFTER_START)
    assert "with a key in it" not in told.stdout + told.stderr
    assert "a dongle that is gone" in told.stderr


@pytest.mark.parametrize("command", ["hub", "dsp", "dongle", "join", "keys", "radio", "demo"])
def test_no_command_has_an_option_that_turns_their_log_on(command):
    told = said("-m", "hub.cli", command, "--help")
    assert told.returncode == 0
    options = {word.strip(",[]") for word in told.stdout.split() if word.startswith("-")}
    assert not options & {"--debug", "--log", "--log-level", "-vv"}
