"""``gbhan dsp``: run the DSP stub and the CSP model."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
from msgspec.structs import replace

from han.facts import Fact, Facts, write_facts
from han.gbcs.parties import Purpose
from hub.cli.options import Duration, Eui64Type, HostPort, config_option, print_config_option, read_secret
from hub.cli.program import clock, exit_statuses, human, run
from hub.config_file import read, written
from hub.dcc.config import DspConfig
from hub.dcc.door import Door, DoorSettings
from hub.dcc.dsp import Dsp
from hub.dcc.settings import DspSettings
from hub.dcc.store import Store
from hub.errors import OurError
from hub.mqtt import BrokerAddress, Mailbox, MailboxSettings
from hub.parties import read_parties
from ota.eui64 import Eui64

_DEFAULTS = DspConfig()

_EPILOG = (
    "Example: gbhan dsp --mqtt mqtt://127.0.0.1:1883 --db sqlite:///dsp.db --listen 127.0.0.1:8417;"
    " then gbhan request 11.4 ..."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """What the command line asks for."""

    broker: BrokerAddress
    database: str
    door: DoorSettings
    settings: DspSettings
    hubs: tuple[Eui64, ...]
    client_id: str


@click.command(epilog=_EPILOG)
@click.option("--mqtt", help=f"The broker.  [default: {_DEFAULTS.mqtt}]")
@click.option("--db", "database", help=f"Database URL.  [default: {_DEFAULTS.database}]")
@click.option("--listen", type=HostPort(), help=f"Where to listen.  [default: {_DEFAULTS.door.listen}]")
@click.option(
    "--hub", "hubs", type=Eui64Type(), multiple=True, help="A Communications Hub; others are learned."
)
@click.option("--token-file", type=click.Path(), help="What clients must say.")
@click.option("--tls-cert", type=click.Path(exists=True), help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True), help="Its key (PEM).")
@click.option("--insecure", help="The words that allow a network without TLS and passwords.")
@click.option("--client-id", help=f"Our name at the broker.  [default: {_DEFAULTS.client_id}]")
@click.option(
    "--parties",
    type=click.Path(exists=True, file_okay=False),
    help="Certificates of devices and hubs, as gbhan keys parties writes them, to check messages by.",
)
@click.option(
    "--unverified", is_flag=True, default=None, help="Accept what cannot be checked, and mark it as such."
)
@click.option("--wan-rate", type=float, help="Octets a second.")
@click.option("--wan-latency", type=Duration(), help="Of each message.")
@click.option("--chunk-size", type=click.IntRange(1, 262_144), help="Octets of image in one message.")
@click.option("--answer-wait", type=Duration(), help='When a silent hub is "not available".')
@click.option("--retry-period", type=Duration(), help="Control 2: between two tries.")
@click.option("--retry-horizon", type=Duration(), help="Control 2: until it is given up.")
@click.option("--expiry", type=Duration(), help="Control 1: how long an update may be in progress.")
@click.option(
    "--activation-wait",
    type=Duration(),
    help="How long to wait for a PPMID's activation alert.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Control 3: notices that make a batch.")
@click.option("--batch-interval", type=Duration(), help="Control 3: until an incomplete batch goes.")
@config_option
@print_config_option
@click.option("--facts", type=click.Path(dir_okay=False, path_type=Path), help="Write all facts there.")
@click.option("--json", "as_json", is_flag=True, help="Facts as JSON lines on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show every fact, not only what matters most.")
def dsp(
    config_file: Path | None,
    facts: Path | None,
    *,
    print_config: bool,
    as_json: bool,
    verbose: bool,
    **options: Any,  # noqa: ANN401 - as declared above
) -> None:
    """Run the DSP stub and the CSP model until Ctrl-C.

    It takes Service Requests at its door (see gbhan request), carries images to the Communications Hubs over
    MQTT, and keeps the story of each request in the database. What everything is by default, and why, says
    --print-config.

    An alert counts only if the GBCS message in it is signed by its originator and agrees with the JSON beside
    it. By default that is checked with the keys of the lab. Devices with keys of their own need --parties, or
    --unverified where their certificates are not at hand.
    """
    with exit_statuses():
        config = _merged(read(config_file, DspConfig) if config_file else DspConfig(), options)
        settings = config.settings()
        if print_config:
            click.echo(written(config), nl=False)
            return
        program = _Program(
            broker=BrokerAddress.parse(config.mqtt, config.insecure),
            database=config.database,
            door=_door(config),
            settings=_with_certificates(settings, config),
            hubs=config.known_hubs(),
            client_id=config.client_id,
        )
        with _opened(facts) as to_file:
            run(_serve(program, to_file, as_json=as_json, verbose=verbose))


async def _serve(program: _Program, to_file: IO[str] | None, *, as_json: bool, verbose: bool) -> None:
    """Serve until cancelled."""
    utc, seconds = clock()
    facts = Facts(seconds)
    facts.subscribe(lambda fact: _show(fact, as_json=as_json, verbose=verbose))
    if to_file is not None:
        write_facts(facts, to_file)
    dice = random.SystemRandom()
    mailbox = Mailbox(MailboxSettings(program.broker, program.client_id), who="dsp", facts=facts, dice=dice)
    with contextlib.closing(Store(program.database)) as store:
        head_end = Dsp(
            mailbox,
            store,
            program.settings,
            facts=facts,
            utc=utc,
            new_id=lambda: f"{dice.getrandbits(128):032x}",
        )
        # The head end first: what the broker has kept for us must find its handlers.
        async with head_end, mailbox, Door(head_end, program.door) as door:
            for hub in program.hubs:
                head_end.enrol_hub(hub)
            facts.say("dsp", "dsp.listening", url=door.url, broker=str(program.broker))
            await asyncio.Event().wait()


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("a", buffering=1)
    except OSError as error:
        raise OurError(f"--facts {path} cannot be written: {error}") from None
    with file:
        yield file


def _merged(config: DspConfig, options: dict[str, Any]) -> DspConfig:
    """The file's values, and in their place those that were given as options."""
    listen, hubs = options.pop("listen"), options.pop("hubs")
    if listen is not None:
        host, port = listen
        options["listen"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if hubs:
        options["hubs"] = (*config.hubs, *(str(each) for each in hubs))
    for option, value in options.items():
        if value is None:
            continue
        section, name = _PLACES.get(option, ("", option))
        if section:
            config = replace(config, **{section: replace(getattr(config, section), **{name: value})})
        else:
            config = replace(config, **{name: value})
    return config


_PLACES = {
    "listen": ("door", "listen"),
    "token_file": ("door", "token_file"),
    "tls_cert": ("door", "tls_cert"),
    "tls_key": ("door", "tls_key"),
    "wan_rate": ("wan", "octets_per_second"),
    "wan_latency": ("wan", "latency"),
    "chunk_size": ("wan", "chunk_size"),
    "answer_wait": ("wan", "answer_wait"),
    "retry_period": ("control_2", "period"),
    "retry_horizon": ("control_2", "horizon"),
    "expiry": ("control_1", "expiry"),
    "activation_wait": ("control_1", "activation_wait"),
    "batch_size": ("control_3", "size"),
    "batch_interval": ("control_3", "interval"),
}
"""Where in the file an option's value stands; all others stand at its top under their own name."""


def _with_certificates(settings: DspSettings, config: DspConfig) -> DspSettings:
    if config.parties is None:
        return settings
    keys, agreement = (read_parties(Path(config.parties), each) for each in Purpose)
    return dataclasses.replace(
        settings, trust=dataclasses.replace(settings.trust, keys=keys, agreement=agreement)
    )


def _door(config: DspConfig) -> DoorSettings:
    door = config.door
    try:
        host, port = HostPort().convert(door.listen, None, None)
    except click.BadParameter as error:
        raise OurError(f"[door] listen: {error.message}") from None
    return DoorSettings(
        host=host,
        port=port,
        token=read_secret(Path(door.token_file) if door.token_file else None),
        certificate=Path(door.tls_cert) if door.tls_cert else None,
        key=Path(door.tls_key) if door.tls_key else None,
        insecure=config.insecure,
    )


_IMPORTANT = frozenset(
    {
        "alert.received",
        "alert.refused",
        "csp.finished",
        "csp.postponed",
        "dsp.listening",
        "hub.appeared",
        "mqtt.connected",
        "mqtt.lost",
        "mqtt.refused",
        "request.accepted",
        "request.confirmed",
        "request.ended",
        "request.refused",
    }
)


def _show(fact: Fact, *, as_json: bool, verbose: bool) -> None:
    if as_json:
        click.echo(fact.to_json())
    elif verbose or fact.what in _IMPORTANT:
        click.echo(human(fact), err=True)
