"""What `gbhan demo` says of input that it cannot use. Its story is told elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.cli.demo import demo
from hub.demo.evidence import Places, open_alone
from hub.errors import SurroundingsError

FIXTURES = Path(__file__).parents[2] / "fixtures"
IMAGES = FIXTURES / "images"
PERSONALITIES = FIXTURES / "homes" / "personalities.toml"


@pytest.mark.parametrize("name", ["spoilt-truncated.ota", "spoilt-wrong-magic.ota", "spoilt-oversized.ota"])
def test_a_spoilt_image_is_refused_by_what_is_wrong_with_it(name):
    result = CliRunner().invoke(demo, ["--image", str(IMAGES / name)])

    assert result.exit_code == 2
    assert "no upgrade file for a PPMID" in result.output


def test_an_image_is_refused_for_a_home_without_the_story_in_which_it_is_given():
    image = str(IMAGES / "ppmid-00000002.ota")
    result = CliRunner().invoke(demo, ["--home", "ppmid", "--image", image, "--json"])

    assert result.exit_code == 2
    assert "gsme, hcalcs, ppmid-silent" in result.output


def test_a_home_that_cannot_be_used_is_refused_before_anything_starts(tmp_path):
    home = tmp_path / "home.toml"
    home.write_text(PERSONALITIES.read_text().replace('"takes-40"', '"takes-41"'))
    result = CliRunner().invoke(demo, ["--home", str(home), "--json"])

    assert result.exit_code == 2
    assert "'takes-41': there are honest, takes-40, " in result.output


def test_a_place_that_cannot_be_written_is_named():
    result = CliRunner().invoke(demo, ["--json", "--evidence", "/proc/evidence"])

    assert result.exit_code == 3
    assert "/proc/evidence" in result.output


def test_a_second_demo_keeps_out_of_the_folder_of_a_running_one(tmp_path):
    places = Places.in_folder(tmp_path, capture=None, keys=None, facts=None)
    places.prepare()

    with open_alone(places.capture), pytest.raises(SurroundingsError, match="another demo is writing"):
        places.prepare()
    places.prepare()
