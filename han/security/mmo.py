"""The Matyas-Meyer-Oseas hash over AES-128, and the keyed hash built on it (Zigbee, B.6 and B.1.4).

Each block is encrypted under the digest so far and added to itself. The length stands at the end of the
padding: in 16 bits for messages below 2^16 bits, in 32 bits beyond, which every real upgrade image is.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
_LONG = 1 << 16  # bits; from here on the length takes 32 bits


def mmo_hash(data: bytes) -> bytes:
    """The 16-octet AES-MMO digest of ``data`` (checked with vectors C.5.1 to C.5.6).

    Raises:
        ValueError: if ``data`` is 512 MiB or longer, which the padding cannot say.
    """
    padded = data + _padding(len(data))
    digest = bytes(BLOCK)
    for at in range(0, len(padded), BLOCK):
        block = padded[at : at + BLOCK]
        # ECB of a single block is the bare cipher, which is what MMO is made of.
        cipher = Cipher(algorithms.AES(digest), modes.ECB()).encryptor()  # noqa: S305
        mixed = int.from_bytes(cipher.update(block), "big") ^ int.from_bytes(block, "big")
        digest = mixed.to_bytes(BLOCK, "big")
    return digest


def _padding(size: int) -> bytes:
    bits = size * 8
    if bits < _LONG:
        return b"\x80" + bytes((13 - size) % BLOCK) + bits.to_bytes(2, "big")
    if bits >= 1 << 32:
        raise ValueError(f"AES-MMO hashes less than 512 MiB, not {size} octets")
    return b"\x80" + bytes((9 - size) % BLOCK) + bits.to_bytes(4, "big") + b"\x00\x00"


def keyed_hash(key: bytes, data: bytes) -> bytes:
    """HMAC with AES-MMO and a block of 16 octets (vectors C.6.1 and C.6.2); a longer key is hashed first."""
    if len(key) > BLOCK:
        key = mmo_hash(key)
    key = key.ljust(BLOCK, b"\x00")
    inner = mmo_hash(bytes(octet ^ 0x36 for octet in key) + data)
    return mmo_hash(bytes(octet ^ 0x5C for octet in key) + inner)


@lru_cache(maxsize=256)
def transport_key(link: bytes) -> bytes:
    """The key-transport key of a link key: it seals a Transport-Key command that carries a network key."""
    return keyed_hash(link, b"\x00")


@lru_cache(maxsize=256)
def load_key(link: bytes) -> bytes:
    """The key-load key of a link key: it seals a Transport-Key command that carries another link key."""
    return keyed_hash(link, b"\x02")


@lru_cache(maxsize=256)
def verify_hash(link: bytes) -> bytes:
    """What a device sends in Verify-Key to prove that it holds this link key."""
    return keyed_hash(link, b"\x03")
