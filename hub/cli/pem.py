"""P-256 keys out of PEM files, for commands that sign or check."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from hub.errors import OurError


def private_key(file: Path) -> EllipticCurvePrivateKey:
    """The private key in a file.

    Raises:
        OurError: if it holds none, or one on another curve; without a word of the file's contents.
    """
    try:
        key = load_pem_private_key(_octets(file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not the library's own words: they might quote the key.
        raise OurError(f"{file} is no private key in PEM without a password") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise OurError(f"{file} is no key on P-256, and GB signatures are")
    return key


def public_key(file: Path) -> EllipticCurvePublicKey:
    """The public key in a file, or in the certificate in it.

    Raises:
        OurError: if it holds none, or one on another curve.
    """
    octets = _octets(file)
    try:
        is_certificate = b"BEGIN CERTIFICATE" in octets
        key = (
            load_pem_x509_certificate(octets).public_key() if is_certificate else load_pem_public_key(octets)
        )
    except (ValueError, UnsupportedAlgorithm):
        raise OurError(f"{file} is no public key or certificate in PEM") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise OurError(f"{file} is no key on P-256, and GB signatures are")
    return key


def _octets(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OurError(f"cannot read {file}: {error.strerror}") from None
