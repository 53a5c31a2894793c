"""The key commands of EZSP 4 to 12: the words in which hosts read and wrote keys before the security manager.

The keys are those of `security`; only how they are named differs: one structure (EmberKeyStruct) for a key
with its counters and its partner, and a command that finds a row of the key table by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, Protocol

from han.sim.dongle.dialect import Fields, Handler, eui64_of, octets_of
from han.sim.dongle.errors import Refused
from han.sim.dongle.flash import Flash
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64

TRUST_CENTRE_LINK_KEY: Final = 1
CURRENT_NETWORK_KEY: Final = 3
APPLICATION_LINK_KEY: Final = 5
HAS_SEQUENCE: Final = 0x0001
HAS_COUNTERS: Final = 0x0006
HAS_PARTNER: Final = 0x0008
IS_AUTHORISED: Final = 0x0010
NOBODY: Final = Eui64(0)
_KEY = Struct("<HB16sIIBQ")
"""EmberKeyStruct: what is valid, type, key, outgoing and incoming counter, sequence number, partner."""
NO_KEY: Final = bytes(_KEY.size)


class KeyTable(Protocol):
    """The keys as `security.KeyRing` keeps them."""

    @property
    def rows(self) -> int:
        """How many rows the key table has."""
        ...

    def key_of(self, partner: Eui64) -> bytes | None:
        """What the host imported for a partner."""
        ...

    def row_of(self, partner: Eui64) -> int | None:
        """The row that holds this partner's key."""
        ...

    def free_row(self) -> int | None:
        """The first row that holds no key."""
        ...

    def write_row(self, index: int, partner: Eui64, key: bytes) -> None:
        """Put a partner's link key into a row. Raises Refused."""
        ...

    def expect(self, eui64: Eui64, key: bytes) -> None:
        """Keep a key for one joiner. Raises Refused."""
        ...


class OlderKeys:
    """The commands up to version 12 of one running firmware; those that a version lacks are not installed."""

    def __init__(self, keys: KeyTable, node: Stack, store: NodeStore, flash: Flash) -> None:
        self._keys = keys
        self._node = node
        self._store = store
        self._flash = flash

    def handlers(self) -> Mapping[str, Handler]:
        """By name."""
        return {
            "getKey": self._get_key,
            "getKeyTableEntry": self._get_row,
            "setKeyTableEntry": self._set_row,
            "addOrUpdateKeyTableEntry": self._add_or_update,
            "addTransientLinkKey": self._add_transient,
        }

    def _get_key(self, fields: Fields) -> Fields:
        """The network key, or the Trust Centre's link key: as the stack keeps it, hashed or not."""
        security, kind = self._flash.security, int(fields["keyType"])
        if security is None or kind not in (TRUST_CENTRE_LINK_KEY, CURRENT_NETWORK_KEY):
            return {"status": Status.NOT_FOUND, "keyStruct": NO_KEY}
        if kind == TRUST_CENTRE_LINK_KEY:
            sent = self._store.link_counter.next
            held, partner = HAS_COUNTERS | HAS_PARTNER | IS_AUTHORISED, security.trust_centre
            written = _KEY.pack(held, kind, security.preconfigured_key, sent, 0, 0, partner)
            return {"status": Status.OK, "keyStruct": written}
        network = self._node.network
        key = security.network_key if network is None else network.network_key
        sequence = security.network_key_sequence if network is None else network.key_sequence
        sent = self._store.network_counter.next
        written = _KEY.pack(HAS_SEQUENCE | HAS_COUNTERS, kind, key, sent, 0, sequence, NOBODY)
        return {"status": Status.OK, "keyStruct": written}

    def _get_row(self, fields: Fields) -> Fields:
        index = int(fields["index"])
        if index >= self._keys.rows:
            raise Refused(Status.INDEX_OUT_OF_RANGE, f"the key table has {self._keys.rows} rows")
        partner = self._flash.link_keys.get(index)
        entry = None if partner is None else self._store.link_keys.get(partner)
        key = None if partner is None else self._keys.key_of(partner)
        if partner is None or entry is None or key is None:
            return {"status": Status.TABLE_ENTRY_ERASED, "keyStruct": NO_KEY}
        sent, held = self._store.link_counter.next, HAS_COUNTERS | HAS_PARTNER | IS_AUTHORISED
        written = _KEY.pack(held, APPLICATION_LINK_KEY, key, sent, entry.heard, 0, partner)
        return {"status": Status.OK, "keyStruct": written}

    def _set_row(self, fields: Fields) -> Fields:
        self._keys.write_row(int(fields["index"]), eui64_of(fields["address"]), octets_of(fields["keyData"]))
        return {"status": Status.OK}

    def _add_or_update(self, fields: Fields) -> Fields:
        """The partner's row, else the first free one."""
        partner = eui64_of(fields["address"])
        row = self._keys.row_of(partner)
        if row is None:
            row = self._keys.free_row()
        if row is None:
            raise Refused(Status.TABLE_FULL, f"all {self._keys.rows} rows of the key table are taken")
        self._keys.write_row(row, partner, octets_of(fields["keyData"]))
        return {"status": Status.OK}

    def _add_transient(self, fields: Fields) -> Fields:
        self._keys.expect(eui64_of(fields["partner"]), octets_of(fields["transientKey"]))
        return {"status": Status.OK}
