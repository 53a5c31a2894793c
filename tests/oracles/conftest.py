"""What the oracles share: programs that we did not write, absent on some machines.

A missing program skips the tests that need it, and says so; where ``GBHAN_ORACLES=required`` is set, as in
continuous integration, it fails them.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from herdsman_world import HERDSMAN, Node
from tshark import Tshark


def _end(reason: str) -> NoReturn:
    """End a test whose oracle is not there."""
    if os.environ.get("GBHAN_ORACLES") == "required":
        pytest.fail(f"{reason}, and GBHAN_ORACLES=required asks for every oracle", pytrace=False)
    pytest.skip(f"{reason}: this oracle stays silent")


@pytest.fixture(scope="session")
def silent() -> Callable[[str], NoReturn]:
    """Ends a test whose oracle is there and cannot be asked, for the given reason."""
    return _end


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Finds a program on the path by its name, or ends the test."""

    def find(name: str) -> Path:
        # Debian keeps servers such as mosquitto where a plain user's path does not lead.
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if found is None:
            _end(f"{name} is not installed")
        return Path(found)

    return find


@pytest.fixture(scope="session")
def present() -> Callable[[str, Path], Path]:
    """Gives back a file that a package brings, if it is there, or ends the test and names the package."""

    def look(package: str, file: Path) -> Path:
        if not file.exists():
            _end(f"{package} is not installed")
        return file

    return look


@pytest.fixture(scope="session")
def node(program, present) -> Node:
    """Node.js, and zigbee-herdsman installed beside its script by npm, from the lock file."""
    found, npm = program("node"), program("npm")
    locked, installed = HERDSMAN / "package-lock.json", HERDSMAN / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        subprocess.run(
            [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            check=False,  # what it did not bring is found missing below
            cwd=HERDSMAN,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )
    present("zigbee-herdsman (npm ci)", installed)
    return Node(found)


@pytest.fixture(scope="session")
def tshark(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Tshark:
    """Wireshark's command line."""
    return Tshark(program("tshark"), tmp_path_factory.mktemp("tshark"))
