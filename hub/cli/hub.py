"""``gbhan hub``: run the Communications Hub."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from msgspec.structs import replace

from han.coordinator import SecuritySettings
from han.facts import Facts, write_facts
from han.key_folder import KeyFolder
from han.radio import NetworkSettings, RadioSettings
from han.security.lab_authority import lab_credentials
from hub.cli.certificates import credentials_in
from hub.cli.options import config_option, print_config_option
from hub.cli.program import clock, exit_statuses, run, show_facts
from hub.config import Config
from hub.config_file import ConfigError, written
from hub.disk import RealDisk, held_alone
from hub.flash import Flash
from hub.house import coordinator_at
from hub.hub import Bearings, Hub, HubSettings
from hub.mqtt import BrokerAddress, MailboxSettings


@dataclass(frozen=True, slots=True)
class _Told:
    """What the command line says."""

    settings: HubSettings
    network: NetworkSettings
    radio: RadioSettings
    security: SecuritySettings
    mailbox: MailboxSettings
    state: Path
    facts: Path | None
    as_json: bool
    verbose: bool


@click.command()
@click.option("--radio", help="The dongle: a port, tcp://HOST:PORT, or sim://HOME.")
@click.option("--mqtt", help="The broker: mqtt://HOST:PORT, mqtts://USER@HOST?password_file=FILE.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="Where the hub keeps its state."
)
@click.option(
    "--keys",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder with the hub's certificates, made by gbhan keys.",
)
@click.option(
    "--lab-keys", is_flag=True, help="Prove nothing, by the public lab authority: for simulated devices."
)
@config_option
@print_config_option
@click.option("--adopt", is_flag=True, help="Take over a network on the dongle that this hub did not form.")
@click.option(
    "--reform", is_flag=True, help="Replace the network on the dongle by a new one (it is backed up)."
)
@click.option(
    "--insecure",
    default="",
    metavar="WORDS",
    help="See SECURITY.md; needed to leave this machine unprotected.",
)
@click.option(
    "--facts", type=click.Path(dir_okay=False, path_type=Path), help="Write every fact to this file."
)
@click.option("--json", "as_json", is_flag=True, help="Facts as JSON lines on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Tell everything.")
def hub(
    *,
    radio: str | None,
    mqtt: str | None,
    state: Path | None,
    keys: Path | None,
    lab_keys: bool,
    config_file: Path | None,
    print_config: bool,
    adopt: bool,
    reform: bool,
    insecure: str,
    facts: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run the Communications Hub on a radio and a broker, until Ctrl-C.

    A certificate in --keys must name the dongle: gbhan radio probe URL --keys DIR says whether one does.

    Example: gbhan hub --radio tcp://127.0.0.1:6638 --keys hub-keys --mqtt mqtt://127.0.0.1 --state hub-state
    """
    with exit_statuses():
        config = _merged(
            Config.read(config_file) if config_file else Config(),
            radio=radio,
            mqtt=mqtt,
            state=state,
            keys=keys,
            lab_keys=lab_keys,
            insecure=insecure,
        )
        settings = config.settings()
        if print_config:
            click.echo(written(config), nl=False)
            return
        radio_url = _needed("--radio", config.radio)
        mqtt_url = _needed("--mqtt", config.mqtt.url)
        home = Path(_needed("--state", config.state)).expanduser()
        if adopt and reform:
            raise ConfigError("--adopt keeps the dongle's network and --reform replaces it: give one of them")
        address = BrokerAddress.parse(mqtt_url, config.mqtt.insecure)
        told = _Told(
            settings,
            NetworkSettings(channel=config.network.channel, pan_id=config.network.pan_id),
            RadioSettings(
                radio_url,
                state=home / "radio",
                adopt=adopt,
                reform=reform,
                source_routing=config.network.source_routing,
                further_clusters=tuple(stub.cluster for stub in config.stub_clusters),
            ),
            _security(config, radio_url),
            MailboxSettings(address, client_id="", waits=config.mqtt.waits),
            home,
            facts,
            as_json,
            verbose,
        )
        if radio_url.startswith("sim:"):
            # Makes the serial library know sim:// URLs; nothing else of the simulation is touched from here.
            import han.sim  # noqa: F401, PLC0415 - for its effect, and only where it is wanted
        with held_alone(home):
            run(_serve(told))


async def _serve(told: _Told) -> None:
    utc, seconds = clock()
    facts = Facts(seconds)
    show_facts(facts, as_json=told.as_json, verbose=told.verbose)
    with _facts_file(facts, told.facts):
        running = await Hub.open(
            told.settings,
            open_house=coordinator_at(told.radio, told.network, told.security, facts),
            flash=Flash(RealDisk(told.state)),
            mailbox=told.mailbox,
            bearings=Bearings.seeded(utc, facts, random.SystemRandom()),
        )
        await running.run()


@contextmanager
def _facts_file(facts: Facts, path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    try:
        file = path.open("a", buffering=1)
    except OSError as error:
        raise ConfigError(f"--facts {path} cannot be written: {error}") from None
    with file:
        end = write_facts(facts, file)
        try:
            yield
        finally:
            end()


def _merged(
    config: Config,
    *,
    radio: str | None,
    mqtt: str | None,
    state: Path | None,
    keys: Path | None,
    lab_keys: bool,
    insecure: str,
) -> Config:
    """The file's values, and in their place those that were given as options."""
    if keys is not None or lab_keys:
        config = replace(config, keys=str(keys) if keys else None, lab_keys=lab_keys)
    return replace(
        config,
        radio=radio or config.radio,
        state=str(state) if state else config.state,
        mqtt=replace(config.mqtt, url=mqtt or config.mqtt.url, insecure=insecure or config.mqtt.insecure),
    )


def _security(config: Config, radio: str) -> SecuritySettings:
    """What the hub proves itself with, and which link keys are ready."""
    settings = config.security_settings()
    keys = Path(config.keys).expanduser() if config.keys else None
    if keys is not None and config.lab_keys:
        raise ConfigError("--keys proves who the hub is and --lab-keys proves nothing: give one of them")
    if keys is not None:
        place = KeyFolder.open(keys)
        return dataclasses.replace(
            settings, credentials=credentials_in(place, radio), link_keys=place.link_key_of
        )
    if config.lab_keys:
        click.echo("--lab-keys: anybody can be this hub, and any device that it admits.", err=True)
        return dataclasses.replace(settings, credentials=lambda eui64: (lab_credentials(eui64),))
    if settings.require_key_establishment:
        raise ConfigError(
            "a hub proves itself by a certificate that names its dongle: give --keys DIR (gbhan keys --help"
            " says how to come by one), or --lab-keys for simulated devices, which trust the lab authority"
        )
    return settings


def _needed(option: str, value: str | None) -> str:
    if not value:
        raise ConfigError(f"{option} is missing: give it, or the same in --config (see gbhan hub --help)")
    return value
