"""Certificate based key establishment: what comes of the shared secret (Smart Energy, annex C).

The key derivation is AES-MMO in counter mode; each side then proves with a keyed hash over both names and
both ephemeral keys that it got the same.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Self

from han.security.mmo import keyed_hash, mmo_hash
from ota.eui64 import Eui64

MAC_SIZE = 16
_FROM_INITIATOR, _FROM_RESPONDER = b"\x02", b"\x03"


@dataclass(frozen=True, slots=True)
class Party:
    """One side of an exchange: its name as in its certificate, and its compressed ephemeral key."""

    name: Eui64
    ephemeral: bytes


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """The two keys that come of a shared secret. Never shown."""

    mac_key: bytes = field(repr=False)
    link_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes) -> Self:
        """Both keys of the shared secret Z."""
        return cls(mmo_hash(secret + b"\x00\x00\x00\x01"), mmo_hash(secret + b"\x00\x00\x00\x02"))

    def initiator_mac(self, initiator: Party, responder: Party) -> bytes:
        """MACU, which the initiator sends in Confirm Key Request."""
        return self._mac(_FROM_INITIATOR, initiator, responder)

    def responder_mac(self, initiator: Party, responder: Party) -> bytes:
        """MACV, which the responder sends in Confirm Key Response."""
        return self._mac(_FROM_RESPONDER, responder, initiator)

    def _mac(self, mark: bytes, sender: Party, receiver: Party) -> bytes:
        names = sender.name.to_bytes(8, "big") + receiver.name.to_bytes(8, "big")
        return keyed_hash(self.mac_key, mark + names + sender.ephemeral + receiver.ephemeral)


def same_mac(ours: bytes, theirs: bytes) -> bool:
    """Whether two MACs are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(ours, theirs)
