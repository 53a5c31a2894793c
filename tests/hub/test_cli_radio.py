"""``gbhan radio probe``: what is said, in which form, with which exit status."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hub.cli import main


def gbhan(*arguments: str):
    """Run the command line as a user does."""
    return CliRunner().invoke(main, arguments)


def test_a_usable_dongle_is_described_for_people():
    result = gbhan("radio", "probe", "sim://demo")

    assert result.exit_code == 0
    assert "a hub can run on it" in result.stdout


def test_a_usable_dongle_is_described_for_programs():
    result = gbhan("radio", "probe", "--json", "sim://demo")

    document = json.loads(result.stdout)
    assert document["usable"] is True
    assert document["ezsp_version"] >= 13
    assert document["network"] is None


@pytest.mark.parametrize(
    ("url", "status", "complaint"),
    [
        ("nonsense", 2, "expected a port"),
        ("sim://no-such-home", 2, "no home is called"),
        ("tcp://127.0.0.1", 2, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:1", 3, "cannot be opened"),
        ("/dev/no-such-port", 3, "does not exist"),
    ],
)
def test_what_cannot_be_probed_is_named_without_a_traceback(url, status, complaint):
    result = gbhan("radio", "probe", url)

    assert result.exit_code == status
    assert complaint in result.stderr
    assert "Traceback" not in result.output


def test_the_help_has_an_example():
    assert "Example: gbhan radio probe" in gbhan("radio", "probe", "--help").stdout
