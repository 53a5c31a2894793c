"""``gbhan keys``: make, keep and explain the keys and certificates of Smart Energy."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from han.clock import utc_seconds
from han.errors import HanError, SurroundingsError
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER
from han.key_folder import Holding, KeyFolder, KeyFolderError, KnownLinkKey
from han.private_file import write_private
from han.security import key_text
from han.security.certificate import FOREVER, Authority, Certificate, Credentials, draft
from han.security.errors import SecurityError
from han.security.key_pair import KeyPair
from han.security.key_text import Label, Request
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from hub.cli.certificates import certificate_described, described, line, missing, usable
from hub.cli.options import Duration, Eui64Type
from hub.cli.program import FAILED, exit_statuses, print_json
from hub.cli.radio import probed
from hub.parties import write_parties
from ota.eui64 import Eui64

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
_file = click.argument("file", type=_path)
_folder = click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
_suite = click.option(
    "--suite",
    type=click.Choice(["1", "2"]),
    default="2",
    show_default=True,
    callback=lambda _context, _option, value: Suite(int(value)),
    help="Cryptographic suite: GB homes use 2.",
)
_output = click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True)
_valid_for = click.option("--valid-for", type=Duration(), help="Such as 365d.  [default: for ever]")
_subject = click.argument("eui64", type=Eui64Type(), required=False)
_radio = click.option("--radio", metavar="URL", help="The dongle whose EUI-64 it is, instead of naming it.")


@click.group()
def keys() -> None:
    """Make, keep and explain the keys and certificates of Smart Energy.

    DIR is a folder for its owner alone. `gbhan hub --keys DIR` proves itself by what is in it: a certificate
    that names its dongle. With an authority of one's own there are four steps: ca, request, answer, import.

    Example: gbhan keys list hub-keys
    """


@keys.command()
@_folder
@_suite
@click.option("--name", type=Eui64Type(), metavar="EUI64", help="The authority's name; drawn by default.")
@_as_json
def ca(*, folder: Path, suite: Suite, name: Eui64 | None, as_json: bool) -> None:
    """Make a certificate authority.

    Example: gbhan keys ca my-ca
    """
    dice = random.SystemRandom()
    with exit_statuses():
        pair = KeyPair.draw(suite.curve, dice)
        made = KeyFolder.make(folder).add_authority(suite, name or _drawn_name(dice), pair)
    _tell([described(made)], as_json=as_json)


@keys.command()
@_folder
@click.argument("devices", metavar="[EUI64]...", nargs=-1, type=Eui64Type())
@click.option("--private", is_flag=True, help="The private keys too: in the lab they are no secret.")
@_as_json
def parties(*, folder: Path, devices: tuple[Eui64, ...], private: bool, as_json: bool) -> None:
    """Write the certificates (X.509, PEM) of those who sign GBCS messages in the lab, for tools of your own.

    They are the Access Control Broker, the Supplier, and the devices named; each has a key to sign with and
    one to agree on MAC keys. All are made from the EUI-64 by the public lab authority: outside the lab they
    prove nothing.

    Example: gbhan keys parties parties 00-DB-12-34-56-78-90-A2
    """
    with exit_statuses():
        written = write_parties(folder, (ACCESS_CONTROL_BROKER, SUPPLIER, *devices), private=private)
    if as_json:
        print_json([str(path) for path in written])
    else:
        for path in written:
            click.echo(path)


@keys.command()
@_folder
@click.argument("eui64", type=Eui64Type())
@_suite
@_valid_for
@_as_json
def issue(*, folder: Path, eui64: Eui64, suite: Suite, valid_for: float | None, as_json: bool) -> None:
    """Issue a certificate by the authority in DIR, and keep it there with its private key.

    Example: gbhan keys issue my-ca 00-DB-12-34-56-78-90-A4
    """
    dice = random.SystemRandom()
    blank = _blank(suite, eui64, valid_for, dice)
    with exit_statuses():
        place = KeyFolder.open(folder)
        made = _authority(place, suite).enrol(blank, dice)
        place.add_credentials(made)
    _tell([described(made)], as_json=as_json)


@keys.command()
@_folder
@_file
@_valid_for
@_output
@_as_json
def answer(*, folder: Path, file: Path, valid_for: float | None, output: Path, as_json: bool) -> None:
    """Answer a request by the authority in DIR: a certificate whose private key only the asker can compute.

    Example: gbhan keys answer my-ca hub.request -o hub.answer
    """
    dice = random.SystemRandom()
    told, texts = [], []
    with exit_statuses():
        place = KeyFolder.open(folder)
        with _named(file):
            requests = Request.read(file.read_text(errors="replace"))
        for asked in requests:
            authority = _authority(place, asked.suite)
            blank = _blank(asked.suite, asked.subject, valid_for, dice)
            certificate, share = authority.issue(blank, asked.point, dice)
            texts.append(key_text.write_answer(certificate, share, authority.root))
            told.append(certificate_described(certificate, authority.root))
        write_private(output, "".join(texts))
    _tell(told, as_json=as_json)


@keys.command()
@_folder
@_subject
@_radio
@_suite
@_output
@_as_json
def request(
    *, folder: Path, eui64: Eui64 | None, radio: str | None, suite: Suite, output: Path, as_json: bool
) -> None:
    """Ask an authority for a certificate: its secret stays in DIR, the file is for the authority.

    Example: gbhan keys request hub-keys --radio tcp://127.0.0.1:6638 -o hub.request
    """
    with exit_statuses():
        subject = _subject_of(eui64, radio)
        made = KeyFolder.make(folder).begin_request(suite, subject, random.SystemRandom())
        try:
            output.write_text(made.write())
        except OSError as error:
            raise SurroundingsError(f"{output} cannot be written: {error.strerror}") from error
    _tell([described(made)], as_json=as_json)


@keys.command(name="import")
@_folder
@click.argument("file", type=_path, required=False)
@click.option("--ca-public-key", type=_path, help="A file that holds this alone, as octets or as hex.")
@click.option("--certificate", type=_path, help="The same.")
@click.option("--private-key", type=_path, help="The same.")
@_as_json
def take_in(
    *,
    folder: Path,
    file: Path | None,
    ca_public_key: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    as_json: bool,
) -> None:
    """Take in certificates with their keys, as a manufacturer gives them, or the answer to a request.

    FILE is text with labels: CA Public Key, Device Implicit Cert, Device Private Key (or Private Key
    Reconstruction Data), each with a colon and hex behind it. One file may hold both suites.

    Example: gbhan keys import hub-keys certicom.txt
    """
    parts = {Label.CA_PUBLIC: ca_public_key, Label.CERTIFICATE: certificate, Label.PRIVATE: private_key}
    given = {label: path for label, path in parts.items() if path is not None}
    if (file is None) is not (len(given) == len(parts)) or (file is not None and given):
        raise click.UsageError("give FILE, or all of --ca-public-key, --certificate and --private-key")
    with exit_statuses():
        place = KeyFolder.make(folder)
        with _named(*given.values() if file is None else (file,)):
            if file is None:
                text = key_text.labelled({label: path.read_bytes() for label, path in given.items()})
            else:
                text = file.read_text(errors="replace")
            found = place.take_in(text)
    _tell([described(each) for each in found], as_json=as_json)


@keys.command(name="link-key")
@_folder
@click.argument("eui64", type=Eui64Type())
@click.option("--file", type=_path, help="Read it from here instead of standard input.")
@_as_json
def link_key(*, folder: Path, eui64: Eui64, file: Path | None, as_json: bool) -> None:
    """Keep a link key that a device has already: 32 hex digits, from standard input or a file.

    Example: gbhan keys link-key hub-keys 00-DB-12-34-56-78-90-A4 < ppmid.key
    """
    with exit_statuses():
        with _named(file or "standard input"):
            key = key_text.read_link_key(
                sys.stdin.read() if file is None else file.read_text(errors="replace")
            )
        KeyFolder.make(folder).add_link_key(eui64, key)
    _tell([described(KnownLinkKey(eui64))], as_json=as_json)


@keys.command()
@_folder
@_subject
@_radio
@_suite
@_as_json
def lab(*, folder: Path, eui64: Eui64 | None, radio: str | None, suite: Suite, as_json: bool) -> None:
    """Keep a certificate of the public lab authority, which the simulated devices trust. It proves nothing.

    Example: gbhan keys lab hub-keys --radio tcp://127.0.0.1:6638
    """
    with exit_statuses():
        made = lab_credentials(_subject_of(eui64, radio), suite)
        KeyFolder.make(folder).add_credentials(made)
    _tell([described(made)], as_json=as_json)


@keys.command(name="list")
@_folder
@_as_json
def list_(*, folder: Path, as_json: bool) -> None:
    """Explain what a folder holds. A private key is never shown.

    Example: gbhan keys list hub-keys
    """
    with exit_statuses():
        told = [{"file": path.name, **described(held)} for path, held in KeyFolder.open(folder).holdings()]
    _tell(told, as_json=as_json)


@keys.command()
@_folder
@_radio
@_as_json
def check(*, folder: Path, radio: str | None, as_json: bool) -> None:
    """Say what is wrong in a folder: exit status 0 if nothing is, 1 if something is.

    With --radio also: whether a certificate names the dongle there.

    Example: gbhan keys check hub-keys --radio tcp://127.0.0.1:6638
    """
    now = utc_seconds()
    with exit_statuses():
        place = KeyFolder.open(folder)
        wrong = [why for path, held in place.holdings() if (why := _wrong(path, held, now))]
        if radio is not None:
            eui64 = probed(radio).eui64
            if not usable(place, eui64):
                wrong.append(missing(place, eui64, radio))
    if as_json:
        print_json({"folder": str(folder), "ok": not wrong, "findings": wrong})
    else:
        click.echo("\n".join(wrong) or f"{folder}: good")
    if wrong:
        raise SystemExit(FAILED)


def _authority(place: KeyFolder, suite: Suite) -> Authority:
    found = place.authority(suite)
    if found is None:
        raise KeyFolderError(
            f"{place.path} holds no authority of {suite};"
            f" gbhan keys ca {place.path} --suite {suite:d} makes one"
        )
    return found


def _blank(suite: Suite, subject: Eui64, valid_for: float | None, dice: random.Random) -> Certificate:
    if valid_for is not None and suite is Suite.ONE:
        raise click.UsageError("a certificate of suite 1 has no place for --valid-for")
    period = FOREVER if valid_for is None else int(valid_for)
    return draft(suite, subject, serial=dice.getrandbits(64), valid_from=int(utc_seconds()), valid_for=period)


def _subject_of(eui64: Eui64 | None, radio: str | None) -> Eui64:
    if eui64 is not None and radio is None:
        return eui64
    if eui64 is None and radio is not None:
        return probed(radio).eui64
    raise click.UsageError("name a device by its EUI-64, or the dongle by --radio URL")


def _drawn_name(dice: random.Random) -> Eui64:
    """An EUI-64 that collides with no registered one: marked as given locally."""
    return Eui64(dice.getrandbits(64) & ~(0x03 << 56) | 0x02 << 56)


@contextmanager
def _named(*sources: Path | str) -> Iterator[None]:
    """Say of what cannot be understood, or read, where it stood."""
    where = ", ".join(map(str, sources))
    try:
        yield
    except SecurityError as error:
        raise KeyFolderError(f"{where}: {error}") from error
    except OSError as error:
        raise KeyFolderError(f"{where} cannot be read: {error.strerror}") from error


def _wrong(path: Path, held: Holding | HanError, now: float) -> str | None:
    """What is wrong with what a file holds."""
    if isinstance(held, HanError):
        return str(held)
    if isinstance(held, Credentials) and not held.certificate.is_valid_at(now):
        return f"{path}: the certificate is not valid now: {line(described(held))}"
    return None


def _tell(told: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    for each in told:
        click.echo(line(each))
