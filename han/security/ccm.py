"""CCM*, the seal on Zigbee frames: AES-128, a 13-octet nonce, a message integrity code (MIC) of 4 octets.

CCM* differs from CCM only in that it also allows a MIC of no octets; Smart Energy always has level 5
(encryption and a MIC of 4 octets), so that CCM from ``cryptography`` serves.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from han.security.errors import SealError

NONCE = 13  # octets
MIC = 4  # octets, at security level 5


@lru_cache(maxsize=256)
def _cipher(key: bytes, mic: int) -> AESCCM:
    # Expanding a key costs more than sealing a frame, and a house uses few keys.
    if len(key) != 16:
        raise ValueError(f"a Zigbee key has 16 octets, not {len(key)}")
    return AESCCM(key, tag_length=mic)


def seal(key: bytes, nonce: bytes, aad: bytes, plain: bytes, mic: int = MIC) -> bytes:
    """Encrypt ``plain`` and append the MIC over it and ``aad``.

    Raises:
        ValueError: if the key has not 16 octets, the nonce not 13, or ``mic`` is not even and 4 to 16.
    """
    if len(nonce) != NONCE:
        raise ValueError(f"a Zigbee nonce has 13 octets, not {len(nonce)}")
    return _cipher(key, mic).encrypt(nonce, plain, aad)


def open_(key: bytes, nonce: bytes, aad: bytes, sealed: bytes, mic: int = MIC) -> bytes:
    """Decrypt what ``seal`` made, MIC included, and check it.

    Raises:
        SealError: if the MIC does not match: a wrong key, nonce or ``aad``, or changed octets.
        ValueError: as for ``seal``.
    """
    if len(nonce) != NONCE:
        raise ValueError(f"a Zigbee nonce has 13 octets, not {len(nonce)}")
    try:
        return _cipher(key, mic).decrypt(nonce, sealed, aad)
    except InvalidTag as error:
        raise SealError("the message integrity code does not match") from error
