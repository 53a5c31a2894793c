"""What several commands say about certificates: what they are, and whether one of them names the dongle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from han.errors import HanError, SurroundingsError
from han.key_folder import Holding, KeyFolder, KnownLinkKey
from han.security.certificate import (
    FOREVER,
    SIGNING,
    Authority,
    Certificate,
    Certificate74,
    Credentials,
    Root,
)
from han.security.key_text import Request
from han.security.lab_authority import LAB_ISSUER
from ota.eui64 import Eui64


def described(held: Holding | HanError) -> dict[str, Any]:
    """What there is to know, for programs; never a private key."""
    match held:
        case HanError():
            return {"kind": "unusable", "why": str(held)}
        case KnownLinkKey():
            return {"kind": "link key", "subject": str(held.peer)}
        case Request():
            point = held.suite.curve.encode(held.point).hex()
            return {
                "kind": "request",
                "subject": str(held.subject),
                "suite": held.suite.value,
                "public_key": point,
            }
        case Authority(root=root):
            return {"kind": "authority", "subject": str(root.issuer), **_of_root(root)}
        case Credentials():
            return certificate_described(held.certificate, held.root)


def certificate_described(certificate: Certificate, root: Root) -> dict[str, Any]:
    """The same of a certificate and the authority that issued it."""
    uses = ["key agreement"] if certificate.agrees_keys else []
    told: dict[str, Any] = {"kind": "certificate", "subject": str(certificate.subject), **_of_root(root)}
    if isinstance(certificate, Certificate74):
        uses += ["signing"] if certificate.key_usage & SIGNING else []
        told |= {
            "serial": f"{certificate.serial:016X}",
            "valid_from": _date(certificate.valid_from),
            "valid_until": None
            if certificate.valid_for == FOREVER
            else _date(certificate.valid_from + certificate.valid_for),
        }
    else:
        uses.append("signing")
        told |= {"profile": f"{certificate.profile:04X}", "manufacturer": f"{certificate.manufacturer:04X}"}
    return {**told, "uses": uses, "certificate": certificate.to_bytes().hex()}


def line(told: dict[str, Any]) -> str:
    """The same in a line for people."""
    words = [f"suite {told['suite']}"] if "suite" in told else []
    match told["kind"]:
        case "unusable":
            words.append(told["why"])
        case "authority":
            words.append(f"CA public key {told['ca_public_key']}")
        case "request":
            words.append("waits for its answer (gbhan keys import)")
        case "certificate":
            lab = ", the public lab authority" if told["issuer"] == str(LAB_ISSUER) else ""
            words += [f"by {told['issuer']}{lab}", f"for {' and '.join(told['uses']) or 'nothing'}"]
            if told.get("valid_until"):
                words.append(f"until {told['valid_until']}")
    return f"{told['kind']:<11}  {told.get('subject', ''):<23}  {', '.join(words)}".rstrip()


def credentials_in(place: KeyFolder, radio: str) -> Callable[[Eui64], Sequence[Credentials]]:
    """What a hub asks for the certificates of its dongle, once it knows who that is.

    When asked, it raises SurroundingsError if no certificate there names the dongle; the message says what to
    do.
    """

    def of(eui64: Eui64) -> Sequence[Credentials]:
        found = usable(place, eui64)
        if not found:
            raise SurroundingsError(missing(place, eui64, radio))
        return found

    return of


def usable(place: KeyFolder, eui64: Eui64) -> tuple[Credentials, ...]:
    """The credentials with which this dongle can establish keys."""
    return tuple(each for each in place.credentials_of(eui64) if each.certificate.agrees_keys)


def missing(place: KeyFolder, eui64: Eui64, radio: str) -> str:
    """That no certificate names this dongle, whom they name instead, and what to do next."""
    named = [str(held.certificate.subject) for _, held in place.holdings() if isinstance(held, Credentials)]
    others = f" (they name {', '.join(named)})" if named else ""
    waiting = [held for _, held in place.holdings() if isinstance(held, Request) and held.subject == eui64]
    if waiting:
        then = f"its request waits for an answer: gbhan keys import {place.path} ANSWER"
    else:
        then = (
            f"gbhan keys request {place.path} --radio {radio} -o FILE asks an authority for one, and"
            f" gbhan keys lab {place.path} --radio {radio} makes one that simulated devices trust"
        )
    return f"no certificate for key establishment in {place.path} names the dongle {eui64}{others}; {then}"


def _of_root(root: Root) -> dict[str, Any]:
    return {
        "suite": root.suite.value,
        "issuer": str(root.issuer),
        "ca_public_key": root.suite.curve.encode(root.public).hex(),
    }


def _date(seconds: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:  # five octets of seconds reach beyond the calendar's year 9999
        return f"{seconds} s after 1970"
