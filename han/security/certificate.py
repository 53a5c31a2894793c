"""Implicit certificates (ECQV, SEC 4): a point and a name, from which anybody computes the name's public key.

There is no signature to check. Whoever holds the private key that fits the computed public key has it from
the authority; that shows only when the key is used. Both forms hold all numbers most significant octet
first. Suite 1: Smart Energy's own 48 octets. Suite 2: 74 octets, the minimal encoding of SEC 4.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from han.security.binary_curve import Point
from han.security.errors import CertificateError, PointError
from han.security.key_pair import KeyPair
from han.security.mmo import mmo_hash
from han.security.suite import Suite
from ota.eui64 import Eui64

__all__ = [
    "FOREVER",
    "KEY_AGREEMENT",
    "SIGNING",
    "SMART_ENERGY_PROFILE",
    "Authority",
    "Certificate",
    "Certificate48",
    "Certificate74",
    "Credentials",
    "Root",
    "accept",
    "draft",
    "parse_certificate",
    "public_key",
]

SMART_ENERGY_PROFILE = 0x0109
SIGNING = 0x80
KEY_AGREEMENT = 0x08
FOREVER = 0xFFFFFFFF
"""The period of a certificate that does not expire, as all known ones have it."""

_CURVE_SECT283K1 = 0x0D
_HASH_MMO = 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate48:
    """A certificate of suite 1. ``point`` is the compressed public reconstruction point."""

    SUITE: ClassVar[Suite] = Suite.ONE

    point: bytes
    subject: Eui64
    issuer: Eui64
    profile: int = SMART_ENERGY_PROFILE
    manufacturer: int = 0
    manufacturer_data: bytes = bytes(6)

    @property
    def agrees_keys(self) -> bool:
        """Whether its key may be used for key establishment: this form knows no other use."""
        return True

    def is_valid_at(self, seconds: float) -> bool:  # noqa: ARG002 - as the other form
        """Whether it is valid at a time in seconds since 1970: this form does not expire."""
        return True

    def to_bytes(self) -> bytes:
        """The 48 octets.

        Raises:
            CertificateError: if a field has a wrong size.
        """
        _check_point(self.point, self.SUITE)
        if len(self.manufacturer_data) != 6:
            raise CertificateError(f"manufacturer data has 6 octets, not {len(self.manufacturer_data)}")
        return (
            self.point
            + _field("subject", self.subject, 8)
            + _field("issuer", self.issuer, 8)
            + _field("profile", self.profile, 2)
            + _field("manufacturer", self.manufacturer, 2)
            + self.manufacturer_data
        )

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read 48 octets. The point is not looked at: see ``public_key``.

        Raises:
            CertificateError: if the length is wrong.
        """
        _check_size(octets, cls.SUITE)
        return cls(
            point=bytes(octets[:22]),
            subject=Eui64.from_bytes(octets[22:30], "big"),
            issuer=Eui64.from_bytes(octets[30:38], "big"),
            profile=int.from_bytes(octets[38:40], "big"),
            manufacturer=int.from_bytes(octets[40:42], "big"),
            manufacturer_data=bytes(octets[42:]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate74:
    """A certificate of suite 2. ``valid_from``: seconds since 1970; ``valid_for``: seconds after it."""

    SUITE: ClassVar[Suite] = Suite.TWO

    point: bytes
    subject: Eui64
    issuer: Eui64
    serial: int = 0
    valid_from: int = 0
    valid_for: int = FOREVER
    key_usage: int = SIGNING | KEY_AGREEMENT

    @property
    def agrees_keys(self) -> bool:
        """Whether its key may be used for key establishment."""
        return bool(self.key_usage & KEY_AGREEMENT)

    def is_valid_at(self, seconds: float) -> bool:
        """Whether it is valid at a time in seconds since 1970."""
        return self.valid_from <= seconds and (
            self.valid_for == FOREVER or seconds <= self.valid_from + self.valid_for
        )

    def to_bytes(self) -> bytes:
        """The 74 octets.

        Raises:
            CertificateError: if a field has a wrong size.
        """
        _check_point(self.point, self.SUITE)
        return (
            b"\x00"
            + _field("serial", self.serial, 8)
            + bytes((_CURVE_SECT283K1, _HASH_MMO))
            + _field("issuer", self.issuer, 8)
            + _field("valid_from", self.valid_from, 5)
            + _field("valid_for", self.valid_for, 4)
            + _field("subject", self.subject, 8)
            + _field("key_usage", self.key_usage, 1)
            + self.point
        )

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read 74 octets. The point is not looked at: see ``public_key``.

        Raises:
            CertificateError: if the length is wrong, or it is for another curve, hash or encoding.
        """
        _check_size(octets, cls.SUITE)
        if octets[0] != 0:
            raise CertificateError(f"a certificate of type {octets[0]}, not 0: no implicit one")
        if octets[9] != _CURVE_SECT283K1 or octets[10] != _HASH_MMO:
            raise CertificateError(
                f"a certificate for curve {octets[9]:#04x} and hash {octets[10]:#04x}, not 0x0d and 0x08"
            )
        return cls(
            point=bytes(octets[37:]),
            subject=Eui64.from_bytes(octets[28:36], "big"),
            issuer=Eui64.from_bytes(octets[11:19], "big"),
            serial=int.from_bytes(octets[1:9], "big"),
            valid_from=int.from_bytes(octets[19:24], "big"),
            valid_for=int.from_bytes(octets[24:28], "big"),
            key_usage=octets[36],
        )


Certificate = Certificate48 | Certificate74


def draft(
    suite: Suite, subject: Eui64, *, serial: int = 0, valid_from: int = 0, valid_for: int = FOREVER
) -> Certificate:
    """A certificate that wants its point and its issuer; suite 1 has no place for a serial and a period."""
    if suite is Suite.ONE:
        return Certificate48(point=b"", subject=subject, issuer=Eui64(0))
    return Certificate74(
        point=b"",
        subject=subject,
        issuer=Eui64(0),
        serial=serial,
        valid_from=valid_from,
        valid_for=valid_for,
    )


def parse_certificate(suite: Suite, octets: bytes) -> Certificate:
    """Read a certificate of that suite.

    Raises:
        CertificateError: as the two forms do.
    """
    return Certificate48.parse(octets) if suite is Suite.ONE else Certificate74.parse(octets)


def _field(name: str, value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise CertificateError(f"{name} does not fit into {size} octets") from None


def _check_point(point: bytes, suite: Suite) -> None:
    if len(point) != suite.curve.point_size:
        raise CertificateError(f"a point of {suite} has {suite.curve.point_size} octets, not {len(point)}")


def _check_size(octets: bytes, suite: Suite) -> None:
    if len(octets) != suite.certificate_size:
        raise CertificateError(
            f"a certificate of {suite} has {suite.certificate_size} octets, not {len(octets)}"
        )


@dataclass(frozen=True, slots=True)
class Root:
    """What everybody knows of an authority: its name and its public key."""

    suite: Suite
    issuer: Eui64
    public: Point

    @classmethod
    def parse(cls, suite: Suite, issuer: Eui64, public: bytes) -> Self:
        """Read the compressed public key.

        Raises:
            PointError: if it is no good point.
        """
        return cls(suite, issuer, suite.curve.decode(public))


def _digest(certificate: Certificate) -> int:
    return int.from_bytes(mmo_hash(certificate.to_bytes()), "big")


def public_key(certificate: Certificate, root: Root) -> Point:
    """The public key of the certificate's subject: hash * reconstruction point + the authority's key.

    Raises:
        CertificateError: if it is of another suite or by another authority, its point is no good one, or no
            key comes out.
    """
    suite = certificate.SUITE
    if suite is not root.suite:
        raise CertificateError(f"a certificate of {suite} under an authority of {root.suite}")
    if certificate.issuer != root.issuer:
        raise CertificateError(f"a certificate by {certificate.issuer}, not by {root.issuer}")
    curve = suite.curve
    try:
        point = curve.decode(certificate.point)
    except PointError as error:
        raise CertificateError(f"the certificate's point: {error}") from error
    key = curve.add(curve.multiply(_digest(certificate), point), root.public)
    if key is None:
        raise CertificateError("no key comes out of the certificate")
    return key


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a device holds to prove who it is: its certificate, its key, and the authority it trusts."""

    certificate: Certificate
    keys: KeyPair
    root: Root

    @classmethod
    def check(cls, certificate: Certificate, private: int, root: Root) -> Self:
        """Put together what belongs together.

        Raises:
            CertificateError: if the certificate is not by that authority or not for that private key.
        """
        keys = KeyPair.of(certificate.SUITE.curve, private)
        if public_key(certificate, root) != keys.public:
            raise CertificateError(
                f"the private key does not belong to the certificate of {certificate.subject}, or the"
                " authority's public key is another one"
            )
        return cls(certificate, keys, root)

    @property
    def suite(self) -> Suite:
        """The suite of all of it."""
        return self.certificate.SUITE


def accept(certificate: Certificate, contribution: int, secret: KeyPair, root: Root) -> Credentials:
    """What the requester makes of an authority's answer; ``secret`` is the pair made for the request.

    Raises:
        CertificateError: if the answer does not fit the request.
    """
    return Credentials.check(certificate, _digest(certificate) * secret.private + contribution, root)


class Authority:
    """A certificate authority of one suite."""

    def __init__(self, suite: Suite, issuer: Eui64, keys: KeyPair) -> None:
        if keys.curve is not suite.curve:
            raise CertificateError(f"an authority of {suite} needs keys of {suite.curve.name}")
        self._keys = keys
        self.root = Root(suite, issuer, keys.public)

    def __repr__(self) -> str:
        return f"Authority({self.root.suite}, {self.root.issuer})"

    def issue(self, draft: Certificate, requested: Point, dice: random.Random) -> tuple[Certificate, int]:
        """Answer a request: the certificate, and a number from which the requester computes its private key.

        Args:
            draft: the certificate as wished; its point and issuer are filled in.
            requested: the public point of the requester's key pair made for this request.
            dice: ``random.SystemRandom()``, or seeded for certificates that repeat.

        Raises:
            CertificateError: if the draft is of another suite, or a field of it does not fit.
            PointError: if the requested point is none of the curve or not of prime order.
        """
        suite, curve = self.root.suite, self.root.suite.curve
        if draft.SUITE is not suite:
            raise CertificateError(f"a draft of {draft.SUITE} for an authority of {suite}")
        curve.check(requested)
        share = KeyPair.draw(curve, dice)
        point = curve.add(requested, share.public)
        if point is None:
            raise CertificateError("the two shares of the key cancel each other out: ask again")
        certificate = replace(draft, point=curve.encode(point), issuer=self.root.issuer)
        contribution = (_digest(certificate) * share.private + self._keys.private) % curve.order
        return certificate, contribution

    def enrol(self, draft: Certificate, dice: random.Random) -> Credentials:
        """Make both halves here: the certificate and the device's private key. Raises as ``issue`` does."""
        secret = KeyPair.draw(self.root.suite.curve, dice)
        certificate, contribution = self.issue(draft, secret.public, dice)
        return accept(certificate, contribution, secret, self.root)
