"""The systemd unit that comes with the hub: against systemd's own reader, and the program that it starts."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import hub
from hub.cli import main
from hub.cli.program import BAD_INPUT

UNIT = (Path(hub.__file__).parent / "gbhan-hub.service").read_text()


def value(name: str) -> str:
    """The one value of this name in the unit."""
    (found,) = [line.partition("=")[2] for line in UNIT.splitlines() if line.startswith(f"{name}=")]
    return found


@pytest.mark.oracle
def test_systemd_has_nothing_to_say_against_the_unit(program, tmp_path):
    program_here = Path(sys.executable).with_name("gbhan")
    unit = tmp_path / "gbhan-hub.service"
    unit.write_text(UNIT.replace("/opt/gbhan/bin/gbhan", str(program_here)))
    verified = subprocess.run(
        [str(program("systemd-analyze")), "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.oracle
def test_systemd_is_heard_where_the_unit_has_a_word_that_it_does_not_know(program, tmp_path):
    unit = tmp_path / "gbhan-hub.service"
    unit.write_text(UNIT.replace("Type=exec", "Tpye=exec").replace("/opt/gbhan/bin/gbhan", sys.executable))
    verified = subprocess.run(
        [str(program("systemd-analyze")), "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert "Tpye" in verified.stderr


def test_the_program_takes_the_command_line_of_the_unit(tmp_path):
    (tmp_path / "hub.toml").write_text('radio = "/dev/ttyUSB0"\n')
    name, *arguments = value("ExecStart").replace("/etc/gbhan", str(tmp_path)).split()
    result = CliRunner().invoke(main, [*arguments, "--print-config"])
    assert (name.rpartition("/")[2], result.exit_code) == ("gbhan", 0)
    printed = tomllib.loads(result.output)
    assert (printed["radio"], printed["state"]) == ("/dev/ttyUSB0", f"/var/lib/{value('StateDirectory')}")


def test_a_setting_that_cannot_be_is_not_tried_again_and_a_missing_dongle_is(tmp_path):
    (tmp_path / "hub.toml").write_text('colour = "red"\n')
    wrong = CliRunner().invoke(main, ["hub", "--config", str(tmp_path / "hub.toml")])
    arguments = ("--radio", "/dev/ttyNone", "--mqtt", "mqtt://127.0.0.1:1", "--lab-keys", "--state")
    gone = CliRunner().invoke(main, ["hub", *arguments, str(tmp_path / "state")])
    assert value("RestartPreventExitStatus") == str(BAD_INPUT) == str(wrong.exit_code)
    assert str(gone.exit_code) not in value("RestartPreventExitStatus").split()
    assert gone.exit_code != 0
