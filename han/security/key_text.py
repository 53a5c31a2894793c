"""Keys and certificates as text: a label, a colon, octets in hex.

    CA Public Key: 0200FDE8A7F3D1084224962A4E7C54E69AC3F04DA6B8
    Device Implicit Cert: 03045FDFC8D85FFB8B3993CB72DDCAA55F00B3E87D6D...
    Device Private Key: 00B8A900FCADEBABBFA383B540FCE9ED438395EAA7

That is how manufacturers and their authorities hand them over: Certicom's test authority writes *CA Pub Key*,
puts the hex on the next line and calls the private key *Private Key Reconstruction Data*; others name the
curve in brackets behind a label. All of these are read, and our own files are written so, with further labels
for what those do not have: authorities, requests, link keys. The sizes tell the suite, so one file may hold
both.

No message here repeats what stands behind a label: it may be a key, or half of one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from han.security.binary_curve import Point
from han.security.certificate import (
    Authority,
    Certificate,
    Credentials,
    Root,
    accept,
    parse_certificate,
    public_key,
)
from han.security.errors import CertificateError, KeyTextError
from han.security.key_pair import KeyPair
from han.security.suite import Suite
from ota.eui64 import Eui64

LINK_KEY_SIZE = 16


class Label(enum.StrEnum):
    """What stands before the colon, as we write it."""

    CA_ISSUER = "CA Issuer"
    CA_PUBLIC = "CA Public Key"
    CA_PRIVATE = "CA Private Key"
    CERTIFICATE = "Device Implicit Cert"
    PRIVATE = "Device Private Key"
    CONTRIBUTION = "Private Key Reconstruction Data"
    PUBLIC = "Device Public Key"
    SUBJECT = "Request Subject"
    REQUEST_PUBLIC = "Request Public Key"
    REQUEST_PRIVATE = "Request Private Key"
    LINK_KEY = "Link Key"


def _plain(label: str) -> str:
    """A label without its case, its spaces, and the name of the curve in brackets."""
    return re.sub(r"\([0-9a-z]*\)|[^a-z]", "", label.lower())


_LABELS = {_plain(label): label for label in Label} | {
    "capubkey": Label.CA_PUBLIC,
    "deviceimplicitcertificate": Label.CERTIFICATE,
    "implicitcertificate": Label.CERTIFICATE,
}
_SIZES: dict[Label, Callable[[Suite], int]] = {
    Label.CA_ISSUER: lambda _: 8,
    Label.CA_PUBLIC: lambda suite: suite.curve.point_size,
    Label.CA_PRIVATE: lambda suite: suite.curve.coordinate_size,
    Label.CERTIFICATE: lambda suite: suite.certificate_size,
    Label.PRIVATE: lambda suite: suite.curve.coordinate_size,
    Label.CONTRIBUTION: lambda suite: suite.curve.coordinate_size,
    Label.PUBLIC: lambda suite: suite.curve.point_size,
    Label.SUBJECT: lambda _: 8,
    Label.REQUEST_PUBLIC: lambda suite: suite.curve.point_size,
    Label.REQUEST_PRIVATE: lambda suite: suite.curve.coordinate_size,
    Label.LINK_KEY: lambda _: LINK_KEY_SIZE,
}
_HEX = re.compile(r"[0-9a-fA-F\s:-]+")


class KeyText:
    """The labelled octets of a file.

    Raises:
        KeyTextError: naming the line, if one is neither label nor hex, has a wrong number of octets, or says
            something twice.
    """

    def __init__(self, text: str) -> None:
        self._octets: dict[tuple[Label, Suite], bytes] = {}
        self._strange: list[int] = []
        for number, label, digits in _labelled(text):
            known = _LABELS.get(_plain(label))
            if known is None:
                self._strange.append(number)
                continue
            self._add(known, number, digits)

    def __repr__(self) -> str:
        return f"KeyText({', '.join(f'{label} of {suite}' for label, suite in self._octets)})"

    def _add(self, label: Label, number: int, digits: str) -> None:
        where = f"line {number}, {label}"
        try:
            octets = bytes.fromhex(re.sub(r"[\s:-]", "", digits))
        except ValueError:
            raise KeyTextError(f"{where}: expected pairs of hex digits") from None
        suites = [suite for suite in Suite if _SIZES[label](suite) == len(octets)]
        if not suites:
            raise KeyTextError(f"{where}: {_sizes(label)}, not {len(octets)}")
        for suite in suites:
            if (label, suite) in self._octets:
                raise KeyTextError(f"{where}: stands there twice")
            self._octets[label, suite] = octets

    def suites_of(self, label: Label) -> list[Suite]:
        """The suites for which this is there."""
        return [suite for suite in Suite if (label, suite) in self._octets]

    def find(self, label: Label, suite: Suite) -> bytes | None:
        """What stands behind a label, if it is there."""
        return self._octets.get((label, suite))

    def need(self, label: Label, suite: Suite) -> bytes:
        """What stands behind a label.

        Raises:
            KeyTextError: if it is not there.
        """
        octets = self.find(label, suite)
        if octets is None:
            raise self.lack(label, suite)
        return octets

    def lack(self, label: Label, suite: Suite | None = None) -> KeyTextError:
        """The error that something is missing."""
        wanted = f"{label}" if suite is None else f"{label} of {suite}"
        strange = f"; lines with unknown labels: {self._strange}" if self._strange else ""
        return KeyTextError(f"there is no '{wanted}' ({_sizes(label)}){strange}")


def _sizes(label: Label) -> str:
    one, two = (_SIZES[label](suite) for suite in Suite)
    return f"{one} octets in hex" if one == two else f"{one} octets in hex for suite 1, {two} for suite 2"


def _labelled(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the line, label, and the digits on it and on the lines of hex that follow."""
    found: list[tuple[int, str, str]] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith(("#", "//")):
            continue
        label, colon, rest = line.partition(":")
        if _HEX.fullmatch(line):
            if not found:
                raise KeyTextError(f"line {number}: hex without a label before it")
            found[-1] = (*found[-1][:2], f"{found[-1][2]} {line}")
        elif colon or _plain(line) in _LABELS:
            found.append((number, label.strip(), rest))
        else:
            raise KeyTextError(f"line {number}: neither a label with a colon nor hex")
    yield from found


def _written(comment: str, *lines: tuple[Label, bytes]) -> str:
    return "\n".join([f"# {comment}", *(f"{label}: {octets.hex()}" for label, octets in lines), ""])


SecretOf = Callable[[Certificate], KeyPair | None]
"""The key pair made for the request which this certificate answers, if there was one."""


def read_credentials(text: str, secret_of: SecretOf = lambda _: None) -> tuple[Credentials, ...]:
    """The certificates of a device and their private keys, at most one for each suite.

    The private key may be ready, or be the authority's half for a request of ours. Which of the two *Private
    Key Reconstruction Data* is differs from authority to authority; only one of them fits the certificate.

    Raises:
        SecurityError: KeyTextError, PointError or CertificateError, if something is missing, malformed or
            does not belong together.
    """
    fields = KeyText(text)
    suites = fields.suites_of(Label.CERTIFICATE)
    if not suites:
        raise fields.lack(Label.CERTIFICATE)
    return tuple(_credentials(fields, suite, secret_of) for suite in suites)


def _credentials(fields: KeyText, suite: Suite, secret_of: SecretOf) -> Credentials:
    certificate = parse_certificate(suite, fields.need(Label.CERTIFICATE, suite))
    root = Root.parse(suite, certificate.issuer, fields.need(Label.CA_PUBLIC, suite))
    curve = suite.curve
    told = fields.find(Label.PUBLIC, suite)
    if told is not None and curve.decode(told) != public_key(certificate, root):
        raise CertificateError(
            f"the certificate of {certificate.subject} makes another public key than the file tells:"
            " certificate and CA public key do not belong together"
        )
    octets = fields.find(Label.PRIVATE, suite) or fields.find(Label.CONTRIBUTION, suite)
    if octets is None:
        raise fields.lack(Label.PRIVATE, suite)
    private = curve.decode_scalar(octets)
    try:
        return Credentials.check(certificate, private, root)
    except CertificateError:
        secret = secret_of(certificate)
        if secret is None:
            raise
    return accept(certificate, private, secret, root)


def write_credentials(credentials: Credentials) -> str:
    """The file that `read_credentials` reads."""
    certificate, root, curve = credentials.certificate, credentials.root, credentials.suite.curve
    return _written(
        f"{credentials.suite}: {certificate.subject}, certified by {root.issuer}. Holds its private key",
        (Label.CA_PUBLIC, curve.encode(root.public)),
        (Label.CERTIFICATE, certificate.to_bytes()),
        (Label.PRIVATE, curve.encode_scalar(credentials.keys.private)),
    )


def write_answer(certificate: Certificate, contribution: int, root: Root) -> str:
    """An authority's answer to a request; `read_credentials` reads it where the request's secret is known."""
    curve = root.suite.curve
    return _written(
        f"{root.suite}: for {certificate.subject}, by {root.issuer}. Of no use without the request's secret",
        (Label.CA_PUBLIC, curve.encode(root.public)),
        (Label.CERTIFICATE, certificate.to_bytes()),
        (Label.CONTRIBUTION, curve.encode_scalar(contribution)),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What a device asks an authority with: its name, and the public half of a key pair made for this."""

    suite: Suite
    subject: Eui64
    point: Point

    @classmethod
    def read(cls, text: str) -> tuple[Self, ...]:
        """The requests in a file, at most one for each suite.

        Raises:
            SecurityError: KeyTextError or PointError, if there is none or something is malformed.
        """
        fields = KeyText(text)
        suites = fields.suites_of(Label.REQUEST_PUBLIC)
        if not suites:
            raise fields.lack(Label.REQUEST_PUBLIC)
        return tuple(
            cls(
                suite,
                Eui64.from_bytes(fields.need(Label.SUBJECT, suite), "big"),
                suite.curve.decode(fields.need(Label.REQUEST_PUBLIC, suite)),
            )
            for suite in suites
        )

    def write(self) -> str:
        """The file that `read` reads."""
        return _written(
            f"{self.suite}: a request for a certificate for {self.subject}. Nothing in it is secret",
            (Label.SUBJECT, self.subject.to_bytes(8, "big")),
            (Label.REQUEST_PUBLIC, self.suite.curve.encode(self.point)),
        )


def read_secret(text: str, suite: Suite) -> KeyPair:
    """The key pair that was made for a request.

    Raises:
        SecurityError: KeyTextError or PointError, if it is not there or malformed.
    """
    return KeyPair.of(
        suite.curve, suite.curve.decode_scalar(KeyText(text).need(Label.REQUEST_PRIVATE, suite))
    )


def write_secret(suite: Suite, subject: Eui64, secret: KeyPair) -> str:
    """The file that `read_secret` reads."""
    return _written(
        f"{suite}: the secret of a request for {subject}, needed when the answer comes",
        (Label.SUBJECT, subject.to_bytes(8, "big")),
        (Label.REQUEST_PRIVATE, suite.curve.encode_scalar(secret.private)),
    )


def read_authority(text: str, suite: Suite) -> Authority:
    """An authority that can issue certificates.

    Raises:
        SecurityError: KeyTextError, PointError or CertificateError, if something is missing, malformed or
            does not belong together.
    """
    fields, curve = KeyText(text), suite.curve
    issuer = Eui64.from_bytes(fields.need(Label.CA_ISSUER, suite), "big")
    keys = KeyPair.of(curve, curve.decode_scalar(fields.need(Label.CA_PRIVATE, suite)))
    told = fields.find(Label.CA_PUBLIC, suite)
    if told is not None and curve.decode(told) != keys.public:
        raise CertificateError(f"the private key of the authority {issuer} does not fit its public key")
    return Authority(suite, issuer, keys)


def write_authority(suite: Suite, issuer: Eui64, keys: KeyPair) -> str:
    """The file that `read_authority` reads."""
    return _written(
        f"{suite}: the authority {issuer}. Whoever has its private key can be any device",
        (Label.CA_ISSUER, issuer.to_bytes(8, "big")),
        (Label.CA_PUBLIC, suite.curve.encode(keys.public)),
        (Label.CA_PRIVATE, suite.curve.encode_scalar(keys.private)),
    )


def read_link_key(text: str) -> bytes:
    """A link key of 16 octets: with its label, or the hex alone.

    Raises:
        KeyTextError: if it is neither.
    """
    bare = _HEX.fullmatch(text) is not None
    return KeyText(f"{Label.LINK_KEY}: {text}" if bare else text).need(Label.LINK_KEY, Suite.TWO)


def write_link_key(peer: Eui64, key: bytes) -> str:
    """The file that `read_link_key` reads."""
    return _written(f"the link key shared with {peer}", (Label.LINK_KEY, key))


def labelled(contents: Mapping[Label, bytes]) -> str:
    """One labelled text of what came in a file for each thing, as octets or as hex without a label.

    Raises:
        KeyTextError: if a content is neither.
    """
    return "\n".join(f"{label}: {_digits(label, content)}" for label, content in contents.items())


def _digits(label: Label, content: bytes) -> str:
    if len(content) in {_SIZES[label](suite) for suite in Suite}:
        return content.hex()
    text = content.decode("ascii", "replace")
    if not _HEX.fullmatch(text):
        raise KeyTextError(f"{label}: {_sizes(label)} or as they are; this is neither")
    return " ".join(text.split())
