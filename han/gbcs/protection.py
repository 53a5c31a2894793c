"""What protects a GBCS message: its signature, and its MAC. Pure.

    signature   ECDSA on P-256 with SHA-256, r then s; by whom the message comes from
    MAC         AES-128 GMAC, cut to 12 octets, under a key that two parties derive: ECDH on P-256, then one
                step of SHA-256 over the shared secret and who says what to whom

Both were reproduced from the vector of GBCS section 18.4. Keys live with whoever calls; nothing here shows
or keeps one.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from han.errors import OurError
from han.gbcs.envelope import MAC_SIZE, Envelope

_ALGORITHM = bytes.fromhex("60857406080300")
"""How the key is used (AES-GCM-128), as the key derivation names it."""
_KEY_SIZE = 16
_COORDINATE_SIZE = 32
_SECURITY_CONTROL = bytes.fromhex("110000000000")


def signed(message: Envelope, key: EllipticCurvePrivateKey) -> Envelope:
    """The message with its originator's signature; the same message and key give the same one.

    Raises:
        OurError: if the key is on another curve, or the message has a MAC, which would not hold any more.
    """
    _require_p256(key)
    if message.mac is not None:
        raise OurError("a message is signed before it gets its MAC")
    der = key.sign(message.signed_octets, ECDSA(SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return replace(
        message, signature=r.to_bytes(_COORDINATE_SIZE, "big") + s.to_bytes(_COORDINATE_SIZE, "big")
    )


def is_signed_by(message: Envelope, key: EllipticCurvePublicKey) -> bool:
    """Whether the message carries a signature, and it is by this key's owner.

    Raises:
        OurError: if the key is on another curve.
    """
    _require_p256(key)
    if message.signature is None:
        return False
    r = int.from_bytes(message.signature[:_COORDINATE_SIZE], "big")
    s = int.from_bytes(message.signature[_COORDINATE_SIZE:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message.signed_octets, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def with_mac(message: Envelope, own: EllipticCurvePrivateKey, other: EllipticCurvePublicKey) -> Envelope:
    """The message with a MAC under the key that these two agree on for it.

    In a command to a device it is the ACB's key agreement key and the device's, whoever signed the command.

    Raises:
        OurError: if a key is on another curve, or the message is a pre-command.
    """
    if not message.is_finished:
        raise OurError("a pre-command gets no MAC: sign it, or leave it unsigned, first")
    return replace(message, mac=_mac(message, mac_key(message, own, other)))


def has_mac_of(message: Envelope, own: EllipticCurvePrivateKey, other: EllipticCurvePublicKey) -> bool:
    """Whether the message carries a MAC, and it is right under the key that these two agree on for it.

    Raises:
        OurError: if a key is on another curve.
    """
    if message.mac is None:
        return False
    return hmac.compare_digest(message.mac, _mac(message, mac_key(message, own, other)))


def mac_key(message: Envelope, own: EllipticCurvePrivateKey, other: EllipticCurvePublicKey) -> bytes:
    """The 16 octets under which this message's MAC is computed: a secret.

    Raises:
        OurError: if a key is on another curve.
    """
    _require_p256(own)
    _require_p256(other)
    secret = own.exchange(ECDH(), other)
    parties = (
        message.originator.to_bytes(8, "big")
        + bytes((len(message.transaction_id),))
        + message.transaction_id
        + message.recipient.to_bytes(8, "big")
    )
    return sha256(b"\x00\x00\x00\x01" + secret + _ALGORITHM + parties).digest()[:_KEY_SIZE]


def _mac(message: Envelope, key: bytes) -> bytes:
    initial = message.originator.to_bytes(8, "big") + bytes(4)
    # With nothing to encrypt, what GCM gives is its tag alone: GMAC.
    return AESGCM(key).encrypt(initial, b"", _SECURITY_CONTROL + message.inner)[:MAC_SIZE]


def _require_p256(key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> None:
    if not isinstance(key.curve, SECP256R1):
        raise OurError(f"GBCS keys are on P-256, this one is on {key.curve.name}")
