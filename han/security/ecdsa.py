"""ECDSA on the binary curves over AES-MMO digests (SEC 1, 4.1); its nonces need no dice (RFC 6979)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from han.security.binary_curve import Curve, Point
from han.security.errors import PointError, SignatureError
from han.security.key_pair import KeyPair


def sign(keys: KeyPair, digest: bytes) -> bytes:
    """R and s of a 16-octet digest, each in as many octets as a coordinate; always the same for the same."""
    curve = keys.curve
    number = int.from_bytes(digest, "big")
    for nonce in _nonces(curve, keys.private, digest):
        point = curve.multiply_secret(nonce, curve.generator)
        r = 0 if point is None else point.x % curve.order
        s = pow(nonce, -1, curve.order) * (number + r * keys.private) % curve.order
        if r and s:
            return curve.encode_scalar(r) + curve.encode_scalar(s)
    raise AssertionError("the nonces never end")


def check(curve: Curve, key: Point, digest: bytes, signature: bytes) -> None:
    """Nothing, if the signature is by that key over that digest.

    Raises:
        SignatureError: if it is not, or r or s is zero or beyond the order, or the key is no good point.
    """
    size = curve.coordinate_size
    if len(signature) != 2 * size:
        raise SignatureError(f"a signature of {curve.name} has {2 * size} octets, not {len(signature)}")
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    if not (0 < r < curve.order and 0 < s < curve.order):
        raise SignatureError("a signature with a number outside the order of the curve")
    try:
        curve.check(key)
    except PointError as error:
        raise SignatureError(f"the signer's key: {error}") from error
    inverse = pow(s, -1, curve.order)
    by_digest = int.from_bytes(digest, "big") * inverse % curve.order
    point = curve.add(
        curve.multiply(by_digest, curve.generator), curve.multiply(r * inverse % curve.order, key)
    )
    if point is None or point.x % curve.order != r:
        raise SignatureError("the signature does not match: another signer, or changed octets")


def _nonces(curve: Curve, private: int, digest: bytes) -> Iterator[int]:
    """RFC 6979, 3.2, with HMAC-SHA-256: nonces that only the holder of the key can compute; one will do."""
    seed = curve.encode_scalar(private) + digest.rjust(curve.coordinate_size, b"\x00")
    key, value = bytes(32), b"\x01" * 32
    for mark in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + mark + seed, hashlib.sha256)
        value = hmac.digest(key, value, hashlib.sha256)
    bits = curve.order.bit_length()
    while True:
        stream = b""
        while len(stream) * 8 < bits:
            value = hmac.digest(key, value, hashlib.sha256)
            stream += value
        nonce = int.from_bytes(stream, "big") >> len(stream) * 8 - bits
        if 0 < nonce < curve.order:
            yield nonce
        key = hmac.digest(key, value + b"\x00", hashlib.sha256)
        value = hmac.digest(key, value, hashlib.sha256)
