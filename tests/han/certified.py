"""Authorities and devices with certificates, made once from a seed; and the published exchanges as values."""

import json
import random
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from han.security.certificate import (
    Authority,
    Certificate48,
    Certificate74,
    Credentials,
    Root,
    parse_certificate,
)
from han.security.key_pair import KeyPair
from han.security.suite import Suite
from ota.eui64 import Eui64

VECTORS = Path(__file__).parents[2] / "fixtures" / "vectors"
HUB = Eui64.parse("00-DB-12-34-56-78-90-A4")
METER = Eui64.parse("00-DB-12-34-56-78-90-A5")
OTHER = Eui64.parse("00-DB-12-34-56-78-90-A6")
ISSUER = Eui64.parse("54-45-53-54-53-45-43-41")


def draft(suite, subject, **fields):
    kind = Certificate48 if suite is Suite.ONE else Certificate74
    return kind(point=b"", subject=subject, issuer=Eui64(0), **fields)


@cache
def authority(suite, issuer=ISSUER, seed=0):
    keys = KeyPair.draw(suite.curve, random.Random(f"authority {suite} {issuer} {seed}"))
    return Authority(suite, issuer, keys)


@cache
def credentials(suite, subject, issuer=ISSUER, seed=0, **fields):
    dice = random.Random(f"{suite} {subject} {seed}")
    return authority(suite, issuer, seed).enrol(draft(suite, subject, **fields), dice)


@cache
def published(suite):
    """The exchange that the specification prints, as octets, with both sides' credentials."""
    text = json.loads((VECTORS / f"cbke_suite{suite:d}.json").read_text())
    curve = suite.curve
    root_key = bytes.fromhex(text["ca_public_key"])

    def side(role):
        octets = {name: bytes.fromhex(value) for name, value in text[role].items()}
        certificate = parse_certificate(suite, octets["certificate"])
        root = Root.parse(suite, certificate.issuer, root_key)
        private = curve.decode_scalar(octets["private_key"])
        return SimpleNamespace(
            octets=octets,
            certificate=certificate,
            root=root,
            credentials=Credentials.check(certificate, private, root),
            ephemeral=KeyPair.of(curve, curve.decode_scalar(octets["ephemeral_private_key"])),
        )

    names = ("z", "mac_key", "key_data", "mac_u", "mac_v", "mac_u_message", "mac_v_message", "kdf_output")
    return SimpleNamespace(
        initiator=side("initiator"),
        responder=side("responder"),
        **{name: bytes.fromhex(text[name]) for name in names},
    )
