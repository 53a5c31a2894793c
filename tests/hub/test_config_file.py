from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
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
from hub.dcc.config import DspConfig
from hub.dcc.settings import DspSettings
from hub.hub import HubSettings
from hub.slot import LatestWins


def read_back(text: str, folder: Path, kind: type = Config) -> Any:
    (folder / "written.toml").write_text(text)
    return read(folder / "written.toml", kind)


FILES = pytest.mark.parametrize("kind", [Config, DspConfig])


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


@FILES
def test_the_file_that_is_printed_gives_exactly_the_defaults(tmp_path, kind):
    assert read_back(written(kind()), tmp_path, kind) == kind()


@FILES
def test_every_value_that_may_be_set_stands_in_the_file_that_is_printed(kind):
    assert names_in(tomllib.loads(uncommented(written(kind())))) == names(kind)


@FILES
def test_every_example_in_it_is_one_that_the_program_takes(tmp_path, kind):
    config = read_back(uncommented(written(kind())), tmp_path, kind)
    assert config != kind()
    assert config.settings()


def test_the_examples_of_devices_and_stub_clusters_reach_the_hub(tmp_path):
    settings = read_back(uncommented(written(Config())), tmp_path).settings()
    assert settings.terms
    assert settings.energy_service.stubs


@FILES
def test_every_value_in_it_has_its_reason_above_it(kind):
    lines = written(kind()).splitlines()
    values = [at for at, line in enumerate(lines) if re.match(r'#?(["\w.]+ = |\[)', line)]
    assert len(values) > 50
    for at in values:
        assert lines[at - 1].startswith("# "), lines[at]


def test_a_new_setting_without_a_reason_is_found():
    class New(msgspec.Struct):
        colour: Annotated[str, Meta(max_length=7)] = "red"

    with pytest.raises(TypeError, match="colour is a setting without a reason"):
        written(New())


@FILES
def test_whatever_a_file_says_is_printed_in_place_of_the_defaults(tmp_path, kind):
    config = other(kind())
    assert read_back(written(config), tmp_path, kind) == config


def test_a_value_that_is_not_the_default_is_printed_with_the_default_beside_it():
    assert "; default 14.0)\nretention_days = 15.0\n" in written(other(Config()))


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
        elif isinstance(value, Mapping) and value:
            found |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            found[name] = value
    return found


def test_nothing_that_a_hub_may_do_differently_is_out_of_the_files_reach():
    reached, default = leaves(other(Config()).settings()), leaves(HubSettings())
    # It is a function of the hub's clock; the file says "tells_utc" instead.
    del reached["server.utc"]
    assert len(reached) > 40
    for name, value in reached.items():
        assert value != default.get(name), f"{name} cannot be set by the file"
    assert isinstance(reached["slot.equal_priority"], LatestWins)


def test_nothing_that_a_head_end_may_do_differently_is_out_of_the_files_reach():
    reached, default = leaves(other(DspConfig()).settings()), leaves(DspSettings())
    # Certificates lie in a folder of their own; the file says "parties", and the command reads them.
    del reached["trust.keys"], reached["trust.agreement"]
    assert len(reached) > 40
    for name, value in reached.items():
        assert value != default[name], f"{name} cannot be set by the file"


# The commands.


def gbhan(*arguments: str) -> Any:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(("command", "kind"), [("hub", Config), ("dsp", DspConfig)])
def test_the_command_prints_the_whole_file_and_ends(command, kind):
    result = gbhan(command, "--print-config")
    assert (result.exit_code, result.output) == (0, written(kind()))


def test_every_option_of_the_head_end_is_in_what_it_prints(tmp_path):
    (tmp_path / "cert").touch()
    given = {
        "--mqtt": ("mqtt", "mqtt://127.0.0.1:7"),
        "--db": ("database", "sqlite:///other.db"),
        "--client-id": ("client_id", "other"),
        "--insecure": ("insecure", "in the clear"),
        "--hub": ("hubs", "00-DB-12-34-56-78-90-A2"),
        "--listen": ("door.listen", "[::1]:7"),
        "--token-file": ("door.token_file", "token"),
        "--tls-cert": ("door.tls_cert", str(tmp_path / "cert")),
        "--tls-key": ("door.tls_key", str(tmp_path / "cert")),
        "--wan-rate": ("wan.octets_per_second", "7"),
        "--wan-latency": ("wan.latency", "7s"),
        "--chunk-size": ("wan.chunk_size", "7"),
        "--answer-wait": ("wan.answer_wait", "7s"),
        "--retry-period": ("control_2.period", "7s"),
        "--retry-horizon": ("control_2.horizon", "7s"),
        "--expiry": ("control_1.expiry", "7s"),
        "--activation-wait": ("control_1.activation_wait", "7s"),
        "--batch-size": ("control_3.size", "7"),
        "--batch-interval": ("control_3.interval", "7s"),
    }
    words = [word for option, (_, value) in given.items() for word in (option, value)]
    result = gbhan("dsp", "--print-config", *words)
    assert result.exit_code == 0, result.output
    printed = tomllib.loads(result.output)
    for option, (place, value) in given.items():
        said = printed
        for name in place.split("."):
            said = said[name]
        assert said in (value, [value], 7), option


def test_what_is_given_by_file_or_option_is_in_what_the_command_prints(tmp_path):
    (tmp_path / "c.toml").write_text('radio = "a"\nprogress_every = 7\n[slot]\nretention_days = 20\n')
    result = gbhan(
        "hub", "--print-config", "--config", str(tmp_path / "c.toml"), "--radio", "b", "--keys", "my keys"
    )
    config = read_back(result.output, tmp_path)
    assert (config.radio, config.keys, config.progress_every) == ("b", "my keys", 7.0)
    assert config.slot.retention_days == 20.0


@pytest.mark.parametrize(
    ("command", "text", "named"),
    [
        ("hub", "colour = 'red'", "colour"),
        ("hub", "[[ota.devices]]\neui64 = 'upstairs'", "eui64"),
        ("hub", "[tunnels]\nmaximum_incoming = 1501", "maximum_incoming"),
        ("dsp", "colour = 'red'", "colour"),
        ("dsp", "[control_3]\nsize = 5", "batch"),
        ("dsp", "[devices]\n'11.4' = ['IHD']", "IHD"),
        ("dsp", "service_user = 'me'", "EUI-64"),
        ("dsp", "[control_2]\nretried = ['ok']", "retried"),
    ],
)
def test_a_file_that_cannot_be_used_is_not_printed(tmp_path, command, text, named):
    (tmp_path / "c.toml").write_text(text)
    result = gbhan(command, "--print-config", "--config", str(tmp_path / "c.toml"))
    assert result.exit_code == 2
    assert named in result.output
    assert "# " not in result.output


@pytest.mark.parametrize(
    ("text", "named"), [("hubs = ['here']", "EUI-64"), ("[door]\nlisten = 'nowhere'", "HOST:PORT")]
)
def test_a_head_end_does_not_start_on_addresses_that_are_none(tmp_path, text, named):
    (tmp_path / "c.toml").write_text(text)
    result = gbhan("dsp", "--config", str(tmp_path / "c.toml"), "--mqtt", "mqtt://127.0.0.1:1")
    assert result.exit_code == 2
    assert named in result.output


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(tmp_path)
