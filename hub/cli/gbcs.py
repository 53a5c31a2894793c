"""``gbhan gbcs``: explain GBCS messages."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from han.gbcs.envelope import Envelope
from han.gbcs.protection import is_signed_by
from han.gbcs.reading import explain
from hub.cli.pem import public_key
from hub.cli.program import FAILED, exit_statuses, print_json
from hub.errors import OurError

_STANDARD_INPUT = "-"


@click.group()
def gbcs() -> None:
    """Explain GBCS messages.

    Example: gbhan gbcs decode DF0903000000000000000B...
    """


@gbcs.command()
@click.argument("message", metavar="HEX")
@click.option(
    "--signer",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The originator's public key or certificate (PEM): say whether the signature is its.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def decode(message: str, *, signer: Path | None, as_json: bool) -> None:
    """Explain a message field by field; HEX may hold spaces, and - reads it from standard input.

    Of messages that are not about firmware the payload is shown as it is. Exit status 1: the octets are no
    GBCS message, or its signature is not the signer's.

    Example: gbhan gbcs decode --signer hub.pem - < alert.hex
    """
    with exit_statuses():
        octets = _octets(sys.stdin.read() if message == _STANDARD_INPUT else message)
        key = None if signer is None else public_key(signer)
        fields = explain(octets)
        holds = None if key is None else is_signed_by(Envelope.parse(octets), key)
    if as_json:
        document: dict[str, object] = {"fields": {field.name: field.meaning for field in fields}}
        print_json(document if holds is None else document | {"signature_holds": holds})
    else:
        widest = max(len(field.name) for field in fields)
        for field in fields:
            click.echo(f"{field.name:<{widest}}  {field.meaning}")
        if holds is not None:
            click.echo(f"{'':<{widest}}  the signature is {'' if holds else 'NOT '}by {signer}")
    if holds is False:
        raise SystemExit(FAILED)


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise OurError(f"that is no hex: {error}") from None
