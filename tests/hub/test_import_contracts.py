"""The contracts about who may import whom leave no file out; `lint-imports` itself runs in `make check`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def contract(name: str) -> dict[str, list[str]]:
    """The one contract whose name begins so."""
    (found,) = [each for each in CONTRACTS if each["name"].startswith(name)]
    return found


def rooms(package: str) -> set[str]:
    """The modules and packages directly inside a package."""
    inside = [
        path for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    return {f"{package}.{path.stem}" for path in inside} - {f"{package}.__init__"}


def test_everything_outside_the_simulation_is_kept_from_importing_it():
    told = set(contract("The hub cannot tell")["source_modules"])
    assert told == (rooms("han") - {"han.sim"}) | (rooms("hub") - {"hub.bench", "hub.cli", "hub.demo"})


def test_the_head_end_is_kept_from_everything_of_the_hub_but_the_contract_between_them():
    shared = {"hub.dcc", "hub.cli", "hub.config_file", "hub.errors", "hub.messages", "hub.mqtt", "hub.terms"}
    assert set(contract("The head end")["forbidden_modules"]) == rooms("hub") - shared


def test_the_command_line_is_kept_from_everybody():
    told = set(contract("Nobody imports")["source_modules"])
    assert told == {"ota", "han"} | (rooms("hub") - {"hub.cli"})


@pytest.mark.parametrize("room", ["ota", "han.security", "han.gbcs", "han.zcl", "han.sim.wire", "hub.slot"])
def test_a_room_that_the_design_calls_pure_is_held_to_it(room):
    assert room in contract("Pure rooms")["source_modules"]
