"""The benchmark measures what it says, in rows that a program can read. Small images: no aim is tested."""

from __future__ import annotations

import asyncio
import json
import pstats
import sys

import msgspec
import pytest
from click.testing import CliRunner

from han.sim.home import Profile
from hub.bench.host import Errand, measure_host
from hub.bench.measures import MEASURES
from hub.bench.peer_measures import cost_rows
from hub.bench.processes import run_program
from hub.bench.rows import Row, at_least, at_most
from hub.bench.scale import KB, Scale
from hub.bench.setup import Setup
from hub.cli.bench import bench
from hub.errors import SurroundingsError

FIELDS = ["name", "value", "unit", "reference", "reference_value", "ratio", "aim", "met"]
SMALL = Scale(
    image=8 * KB,
    peer_images=(4 * KB,),
    herdsman_image=2 * KB,
    host_image=4 * KB,
    crowd_image=2 * KB,
    crowds=(1, 2, 3),
    crowd_is_secured=False,
)


def rows_of(name: str) -> list[Row]:
    (measure,) = [each for each in MEASURES if each.name == name]
    return list(measure.rows(SMALL))


def test_an_aim_is_met_from_its_bound_on():
    row = Row(name="a", unit="s", ratio=0.97)

    assert at_least(0.97, row).met
    assert not at_least(0.98, row).met
    assert at_most(0.97, row).met
    assert not at_most(0.96, row).met


def test_what_was_not_measured_meets_no_aim():
    assert at_least(0.0, Row(name="a", unit="no node here")).met is False


@pytest.mark.parametrize("name", ["air", "air-115200", "air-460800"])
def test_a_download_takes_about_what_physics_asks(name):
    (row,) = rows_of(name)

    assert row.unit == "virtual s"
    assert row.ratio == row.reference_value / row.value
    assert 0.9 < row.ratio < 1.1


def test_a_slower_line_makes_a_slower_download():
    values = [rows_of(name)[0].value for name in ("air-115200", "air-460800", "air")]

    assert values[0] > values[1] >= values[2] * 0.95


def test_the_real_time_factor_is_that_of_the_same_download():
    wall, processor = rows_of("real-time")

    assert wall.reference_value == processor.reference_value == rows_of("air")[0].value
    assert wall.ratio == wall.reference_value / wall.value
    assert processor.value > 0


def test_a_request_waits_for_its_answer_and_most_wait_about_as_long():
    alone, crowd = rows_of("latency")

    for row in (alone, crowd):
        assert 0 < row.reference_value <= row.value
        assert row.ratio == row.value / row.reference_value
    assert alone.met
    assert crowd.name.endswith("2 devices")


@pytest.mark.parametrize("name", ["devices", "homes"])
def test_a_crowd_is_compared_with_one(name):
    two, three, memory = rows_of(name)

    assert two.reference_value == three.reference_value
    assert two.ratio == two.value / two.reference_value
    assert (two.aim, memory.aim) == (1.2, 1.2)
    assert memory.value > 0
    assert memory.ratio == memory.value / memory.reference_value


def test_zigpys_manager_downloads_the_same_image_on_the_same_air():
    faster, ours, theirs = rows_of("zigpy")

    assert faster.ratio == faster.reference_value / faster.value
    assert ours.value == 0
    assert ours.met
    assert ours.reference_value >= 4 * KB / 65
    assert theirs.reference_value >= 4 * KB / 50


def test_herdsmans_absence_is_told_in_its_rows(monkeypatch):
    monkeypatch.setenv("PATH", "")
    rows = rows_of("herdsman")

    assert [(row.value, row.met, row.aim) for row in rows] == [(None, None, 1)]
    assert rows[0].unit == "Node.js is not installed"


def test_the_best_of_ours_is_compared_with_the_best_of_theirs():
    ours, theirs = {"by block": 4.0, "by page": 1.0}, {"by block": 2.0, "by page": 5.0}
    best, *modes = cost_rows(ours, theirs)

    assert (best.value, best.reference_value, best.ratio) == (1.0, 2.0, 2.0)
    assert (best.aim, best.met) == (3, False)
    assert "by page" in best.name
    assert "by block" in best.reference
    assert [row.ratio for row in modes] == [0.5, 5.0]


@pytest.mark.bench
@pytest.mark.parametrize(("host", "profile"), [("ours", "smart-energy"), ("zigpy", "home-automation")])
def test_a_hosts_own_processor_time_is_measured(host, profile):
    spent = measure_host(host, Setup(size=1500, is_secured=False, profile=Profile(profile)))

    assert 1000 < spent.octets < 1500
    assert 0 < spent.cpu < 60
    assert spent.per_octet == spent.cpu / spent.octets


@pytest.mark.bench
def test_a_host_that_finds_no_dongle_is_told_with_its_last_words():
    errand = msgspec.json.encode(Errand(host="ours", radio="tcp://127.0.0.1:9", setup=Setup(size=1500)))

    with pytest.raises(SurroundingsError, match="cannot be opened"):
        asyncio.run(run_program(sys.executable, "-m", "hub.bench.host", errand.decode()))


def test_the_rows_are_one_json_list_and_the_progress_is_elsewhere():
    result = CliRunner().invoke(bench, ["--only", "air", "--kilobytes", "4", "--json"])
    rows = json.loads(result.stdout)

    assert result.exit_code == 0
    assert [list(row) for row in rows] == [FIELDS]
    assert rows[0]["name"] == "air efficiency, block mode"
    assert result.stderr.startswith("air: ")


def test_people_get_a_table_and_the_machine_that_it_was_measured_on():
    result = CliRunner().invoke(bench, ["--only", "air", "--kilobytes", "4"])

    assert "Measured on" in result.stdout
    assert "air efficiency, block mode" in result.stdout
    assert "0.97" in result.stdout


def test_where_the_time_went_is_written_for_pstats(tmp_path):
    file = tmp_path / "bench.prof"
    CliRunner().invoke(bench, ["--only", "air", "--kilobytes", "3", "--profile", str(file)])

    functions = {name for _, _, name in pstats.Stats(str(file)).stats}
    assert "measure_downloads" in functions


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "warp"], "'warp' is not one of"),
        (["--kilobytes", "0"], "0 is not in the range"),
        (["--kilobytes", "751"], "751 is not in the range"),
    ],
)
def test_a_senseless_request_is_refused_by_what_is_wrong_with_it(arguments, says):
    result = CliRunner().invoke(bench, arguments)

    assert result.exit_code == 2
    assert says in result.output
