from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from click.testing import CliRunner
from config_others import other
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from msgspec.inspect import Metadata, StructType, VarTupleType, type_info

from hub.cli import main
from hub.config import Config
from hub.config_file import ConfigError, read, written
from hub.hub import HubSettings
from hub.slot import LatestWins


def read_back(text: str, folder: Path) -> Config:
    (folder / "written.toml").write_text(text)
    return Config.read(folder / "written.toml")


def uncommented(text: str) -> str:
    """The file with every example put to use: their marks have no space behind them."""
    return re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)


def names(kind: Any) -> dict[str, Any]:
    """Every name of a section, and those of the sections inside."""
    found = {}
    for field in type_info(kind).fields:
        bare = field.type.type if isinstance(field.type, Metadata) else field.type
        inner = bare.item_type if isinstance(bare, VarTupleType) else bare
        found[field.encode_name] = names(inner.cls) if isinstance(inner, StructType) else None
    return found


def names_in(table: dict[str, Any]) -> dict[str, Any]:
    """The same of what a file says."""

    def inside(value: Any) -> dict[str, Any] | None:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
        return names_in(value) if isinstance(value, dict) else None

    return {name: inside(value) for name, value in table.items()}


def test_the_file_that_is_printed_gives_exactly_the_defaults(tmp_path):
    assert read_back(written(Config()), tmp_path) == Config()


def test_every_value_that_may_be_set_stands_in_the_file_that_is_printed():
    assert names_in(tomllib.loads(uncommented(written(Config())))) == names(Config)


def test_every_example_in_it_is_one_that_the_hub_takes(tmp_path):
    config = read_back(uncommented(written(Config())), tmp_path)
    settings = config.settings()
    assert config.mqtt.url is not None
    assert settings.terms
    assert settings.energy_service.stubs


def test_every_value_in_it_has_its_reason_above_it():
    lines = written(Config()).splitlines()
    values = [at for at, line in enumerate(lines) if re.match(r"#?(\w+ = |\[)", line)]
    assert len(values) > 60
    for at in values:
        assert lines[at - 1].startswith("# "), lines[at]


def test_a_new_setting_without_a_reason_is_found():
    class New(msgspec.Struct):
        colour: Annotated[str, Meta(max_length=7)] = "red"

    with pytest.raises(TypeError, match="colour is a setting without a reason"):
        written(New())


def test_whatever_a_file_says_is_printed_in_place_of_the_defaults(tmp_path):
    config = other(Config())
    assert read_back(written(config), tmp_path) == config
    assert "; default 14.0)\nretention_days = 15.0\n" in written(config)


class Anything(msgspec.Struct):
    text: Annotated[str, Meta(description="Text.")]
    number: Annotated[float, Meta(description="A number.")]
    many: Annotated[tuple[str, ...], Meta(description="Texts.")] = ()
    maybe: Annotated[int | None, Meta(description="Perhaps a number.", examples=[7])] = None


@given(
    st.builds(
        Anything,
        text=st.text(),
        number=st.floats(allow_nan=False),
        many=st.lists(st.text()).map(tuple),
        maybe=st.none() | st.integers(-(2**63), 2**63 - 1),
    )
)
def test_any_text_and_any_number_come_back_as_they_were(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "anything.toml"
    path.write_text(written(values), newline="")
    assert read(path, Anything) == values


def leaves(settings: Any, path: str = "") -> dict[str, Any]:
    """Every value of a tree of settings by its name."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(value) and name != "server.phy":
            found |= leaves(value, f"{name}.")
        else:
            found[name] = value
    return found


def test_nothing_that_a_hub_may_do_differently_is_out_of_the_files_reach():
    reached, default = leaves(other(Config()).settings()), leaves(HubSettings())
    # It is a function of the hub's clock; the file says "tells_utc" instead.
    del reached["server.utc"]
    assert len(reached) > 40
    for name, value in reached.items():
        assert value != default[name], f"{name} cannot be set by the file"
    assert isinstance(reached["slot.equal_priority"], LatestWins)


# The command.


def gbhan(*arguments: str) -> Any:
    return CliRunner().invoke(main, arguments)


def test_the_command_prints_the_whole_file_and_ends():
    result = gbhan("hub", "--print-config")
    assert (result.exit_code, result.output) == (0, written(Config()))


def test_what_is_given_by_file_or_option_is_in_what_the_command_prints(tmp_path):
    (tmp_path / "c.toml").write_text('radio = "a"\nprogress_every = 7\n[slot]\nretention_days = 20\n')
    result = gbhan(
        "hub", "--print-config", "--config", str(tmp_path / "c.toml"), "--radio", "b", "--keys", "my keys"
    )
    config = read_back(result.output, tmp_path)
    assert (config.radio, config.keys, config.progress_every) == ("b", "my keys", 7.0)
    assert config.slot.retention_days == 20.0


@pytest.mark.parametrize(
    ("text", "named"), [("colour = 'red'", "colour"), ("[[ota.devices]]\neui64 = 'upstairs'", "eui64")]
)
def test_a_file_that_cannot_be_used_is_not_printed(tmp_path, text, named):
    (tmp_path / "c.toml").write_text(text)
    result = gbhan("hub", "--print-config", "--config", str(tmp_path / "c.toml"))
    assert result.exit_code == 2
    assert named in result.output
    assert "# " not in result.output


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(tmp_path)
