"""The parties of the lab: who signs GBCS messages, who has a MAC key, and certificates that say so. Pure.

In the field each party has keys of its own, certified by the Smart Metering Key Infrastructure. Nobody has
those on a bench. So every party here has keys that are made from its EUI-64 in this file, for everybody to
see, and certificates by an authority of the same kind. A signature by them proves that a message is what was
sent, for whoever checks it with tools of their own; it proves nothing about who sent it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from hashlib import sha512
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from ota.eui64 import Eui64

ACCESS_CONTROL_BROKER: Final = Eui64.parse("90-B3-D5-1F-30-00-00-02")
"""The DCC's part that talks to devices: the EUI-64 that the published test messages give it."""
SUPPLIER: Final = Eui64.parse("90-B3-D5-1F-30-01-00-00")
"""The Supplier of the same messages."""

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""For ever, as RFC 5280 (4.1.2.5) writes it. The field's device certificates do not expire either."""
_AUTHORITY = "gbhan lab authority, not secret"


class Purpose(Enum):
    """What a key is for: a party has one of each."""

    SIGNING = "digital signing"
    AGREEMENT = "key agreement"


@dataclass(frozen=True, slots=True)
class Party:
    """One party and its private keys, which never show."""

    eui64: Eui64
    signing: EllipticCurvePrivateKey = field(repr=False)
    agreement: EllipticCurvePrivateKey = field(repr=False)

    def key(self, purpose: Purpose) -> EllipticCurvePrivateKey:
        """The key of this purpose."""
        return self.signing if purpose is Purpose.SIGNING else self.agreement

    def certificate(self, purpose: Purpose) -> x509.Certificate:
        """The lab authority's certificate for one of its keys: the same each time."""
        signs = purpose is Purpose.SIGNING
        subject = _name(str(self.eui64))
        return (
            _unsigned(subject, self.key(purpose), f"{self.eui64} {purpose.value}")
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=signs, agrees=not signs), critical=True)
            .sign(_private_key(_AUTHORITY), SHA256(), ecdsa_deterministic=True)
        )


@cache
def lab_party(eui64: Eui64) -> Party:
    """The party of this EUI-64: the same on every machine."""
    signing, agreement = (_private_key(f"gbhan lab party {eui64}, {each.value}") for each in Purpose)
    return Party(eui64, signing, agreement)


@cache
def authority_certificate() -> x509.Certificate:
    """The lab authority's own certificate, by itself."""
    key = _private_key(_AUTHORITY)
    return (
        _unsigned(_name(_AUTHORITY), key, _AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certifies=True), critical=True)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )


def _unsigned(subject: x509.Name, key: EllipticCurvePrivateKey, about: str) -> x509.CertificateBuilder:
    issuer = _private_key(_AUTHORITY).public_key()
    serial = int.from_bytes(sha512(f"serial {about}".encode()).digest()[:8], "big") >> 1 | 1
    return (
        x509.CertificateBuilder()
        .issuer_name(_name(_AUTHORITY))
        .subject_name(subject)
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .public_key(key.public_key())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )


def _usage(*, signs: bool = False, agrees: bool = False, certifies: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=agrees,
        key_cert_sign=certifies,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _private_key(seed: str) -> EllipticCurvePrivateKey:
    # 512 bits over an order of 256: no number comes up noticeably more often than another.
    number = int.from_bytes(sha512(seed.encode()).digest(), "big") % (_P256_ORDER - 1) + 1
    return derive_private_key(number, SECP256R1())
