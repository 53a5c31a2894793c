"""``gbhan dsp``: run the DSP stub and the CSP model."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from han.facts import Fact, Facts, write_facts
from hub.cli.options import Duration, Eui64Type, HostPort, read_secret
from hub.cli.program import clock, exit_statuses, human, run
from hub.dcc.carriage import CarriageSettings
from hub.dcc.controls import BatchSettings, InProgress, Retries
from hub.dcc.door import Door, DoorSettings
from hub.dcc.dsp import Dsp
from hub.dcc.requests import Rules
from hub.dcc.settings import DspSettings
from hub.dcc.store import Store
from hub.errors import OurError
from hub.mqtt import BrokerAddress, Mailbox, MailboxSettings
from ota.eui64 import Eui64

_DEFAULTS = DspSettings()
_CARRIAGE = _DEFAULTS.carriage
_CONTROL_1 = _DEFAULTS.rules.in_progress

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
@click.option("--mqtt", "mqtt_url", default="mqtt://127.0.0.1:1883", show_default=True, help="The broker.")
@click.option("--db", "database", default="sqlite:///gbhan-dsp.db", show_default=True, help="Database URL.")
@click.option(
    "--listen", type=HostPort(), default="127.0.0.1:8417", show_default=True, help="Where to listen."
)
@click.option(
    "--hub", "hubs", type=Eui64Type(), multiple=True, help="A Communications Hub; others are learned."
)
@click.option("--token-file", type=click.Path(path_type=Path), help="What clients must say.")
@click.option("--tls-cert", type=click.Path(exists=True, path_type=Path), help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, path_type=Path), help="Its key (PEM).")
@click.option("--insecure", default="", help="The words that allow a network without TLS and passwords.")
@click.option("--client-id", default="gbhan-dsp", show_default=True, help="Our name at the broker.")
@click.option(
    "--wan-rate", type=float, default=_CARRIAGE.octets_per_second, show_default=True, help="Octets a second."
)
@click.option("--wan-latency", type=Duration(), default=_CARRIAGE.latency, show_default=True)
@click.option(
    "--chunk-size", type=click.IntRange(1, 262_144), default=_CARRIAGE.chunk_size, show_default=True
)
@click.option("--answer-wait", type=Duration(), default=_CARRIAGE.answer_wait, show_default=True)
@click.option("--retry-period", type=Duration(), default="1h", show_default=True, help="Control 2.")
@click.option("--retry-horizon", type=Duration(), default="24h", show_default=True, help="Control 2.")
@click.option("--expiry", type=Duration(), default="28d", show_default=True, help="Control 1.")
@click.option(
    "--activation-wait",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long to wait for a PPMID's activation alert.",
)
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Control 3.")
@click.option("--batch-interval", type=Duration(), default="0s", show_default=True, help="Control 3.")
@click.option("--facts", type=click.Path(dir_okay=False, path_type=Path), help="Write all facts there.")
@click.option("--json", "as_json", is_flag=True, help="Facts as JSON lines on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show every fact, not only what matters most.")
def dsp(
    facts: Path | None,
    hubs: tuple[Eui64, ...],
    client_id: str,
    database: str,
    *,
    as_json: bool,
    verbose: bool,
    **options: Any,  # noqa: ANN401 - as declared above
) -> None:
    """Run the DSP stub and the CSP model until Ctrl-C.

    It takes Service Requests at its door (see gbhan request), carries images to the Communications Hubs over
    MQTT, and keeps the story of each request in the database.
    """
    with exit_statuses():
        with _wrong_usage():
            settings = _settings(**options)
        program = _Program(
            broker=BrokerAddress.parse(options["mqtt_url"], options["insecure"]),
            database=database,
            door=_door(**options),
            settings=settings,
            hubs=hubs,
            client_id=client_id,
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
def _wrong_usage() -> Iterator[None]:
    """Settings that contradict each other were given on the command line."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from None


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


def _door(
    *,
    listen: tuple[str, int],
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: str,
    **_others: object,
) -> DoorSettings:
    host, port = listen
    return DoorSettings(
        host=host,
        port=port,
        token=read_secret(token_file),
        certificate=tls_cert,
        key=tls_key,
        insecure=insecure,
    )


def _settings(
    *,
    wan_rate: float,
    wan_latency: float,
    chunk_size: int,
    answer_wait: float,
    retry_period: float,
    retry_horizon: float,
    expiry: float,
    activation_wait: float,
    batch_size: int,
    batch_interval: float,
    **_others: object,
) -> DspSettings:
    return DspSettings(
        rules=Rules(in_progress=InProgress(expiry=expiry, activation_wait=activation_wait)),
        carriage=CarriageSettings(
            retries=Retries(period=retry_period, horizon=retry_horizon),
            chunk_size=chunk_size,
            octets_per_second=wan_rate,
            latency=wan_latency,
            answer_wait=answer_wait,
        ),
        batch=BatchSettings(size=batch_size, interval=batch_interval),
    )


_IMPORTANT = frozenset(
    {
        "alert.received",
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
