"""Keys: the initial security state, transient keys for joiners, the link key table, and reading keys back.

Up to EZSP 12 keys are read and written in the words of `older_keys`, from 12 on in those of the security
manager. Both mean the same keys, and 12 knows both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import pack
from typing import Any, Final

from han.security.mmo import keyed_hash
from han.sim.air.timeline import Handle, Timeline
from han.sim.dongle import configuration as config
from han.sim.dongle.configuration import Configuration
from han.sim.dongle.dialect import Command, Dialect, Fields, eui64_of, octets_of
from han.sim.dongle.errors import Refused
from han.sim.dongle.flash import Flash, SecuritySettings
from han.sim.dongle.older_keys import OlderKeys
from han.sim.dongle.personality import Personality
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.dongle.versions import POLICY_BITS
from han.sim.node.store import LinkKey, NodeStore
from han.sim.node.trust import JoinPolicy
from ota.eui64 import Eui64

KEY_NETWORK: Final = 1
KEY_TC_LINK: Final = 2
HASHED_LINK_KEY: Final = 0x0080
HAVE_PRECONFIGURED_KEY: Final = 0x0100
HAVE_NETWORK_KEY: Final = 0x0200
CURRENT_STATE: Final = 0x0074
"""EmberCurrentSecurityBitmask as real dongles report it, two undocumented bits (0x60) included."""
NO_INDEX: Final = 0xFF
NOBODY: Final = Eui64(0)
ANYBODY: Final = Eui64(0xFFFF_FFFF_FFFF_FFFF)
NO_KEY: Final = bytes(16)
CONTEXT_SIZE: Final = 18
KEY_IS_AUTHORISED: Final = 0x0010
KEY_HAS_COUNTERS: Final = 0x0006
ALLOW_JOINS: Final = 0x01
ALLOW_UNSECURED_REJOINS: Final = 0x02
INSTALL_CODES_ONLY: Final = 0x10
GLOBAL_LINK_KEY: Final = 0x0004
_DECISIONS: Final = {
    0x00: ALLOW_JOINS | ALLOW_UNSECURED_REJOINS,
    0x01: ALLOW_JOINS | ALLOW_UNSECURED_REJOINS,
    0x02: ALLOW_UNSECURED_REJOINS,
    0x03: 0,
    0x04: ALLOW_JOINS | ALLOW_UNSECURED_REJOINS,
    0x05: ALLOW_JOINS,
    0x06: ALLOW_JOINS | INSTALL_CODES_ONLY,
    0x07: ALLOW_JOINS | ALLOW_UNSECURED_REJOINS,
}
"""The Trust Centre's decisions up to version 7 in the bits of the later ones. No key ever goes in the clear
here: where a real stack would do that (0 and 4), it goes under a link key or not at all."""


def derived_link_key(secret: bytes, partner: Eui64) -> bytes:
    """A device's key where all come of one secret: a keyed hash (HMAC of AES-MMO) over its EUI-64.

    That it is a keyed hash of the address, the vendor's documents say; in which octet order is a guess, and
    nobody but the dongle needs to know.
    """
    return keyed_hash(secret, partner.wire)


class KeyRing:
    """The security commands of one running firmware."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        timeline: Timeline,
        personality: Personality,
        configuration: Configuration,
        node: Stack,
        store: NodeStore,
        flash: Flash,
        eui64: Callable[[], Eui64],
        network_is_up: Callable[[], bool],
    ) -> None:
        self._dialect = dialect
        self._timeline = timeline
        self._transient_limit = personality.transient_keys
        self._imported_overrides = personality.imported_key_overrides
        self._configuration = configuration
        self._node = node
        self._store = store
        self._flash = flash
        self._eui64 = eui64
        self._network_is_up = network_is_up
        self._expiry: dict[Eui64, Handle] = {}
        node.trust.transient.clear()
        self.apply_policy()

    def apply_policy(self) -> None:
        """Tell the Trust Centre whom to let in: what the host's policy bits and keys amount to."""
        decision = self._configuration.trust_centre_policy
        if self._dialect.version < POLICY_BITS:
            decision = _DECISIONS.get(decision, 0)
        anybody = None if decision & INSTALL_CODES_ONLY else self._key_for_anybody()
        self._node.trust.policy = JoinPolicy(
            allow_joins=bool(decision & ALLOW_JOINS),
            allow_unsecured_rejoins=bool(decision & ALLOW_UNSECURED_REJOINS),
            default_link_key=anybody,
        )

    def _key_for_anybody(self) -> bytes | None:
        """The key for whoever has none of their own: the wildcard's, else a global one if not hashed."""
        security = self._flash.security
        if (wildcard := self._node.trust.transient.get(ANYBODY)) is not None:
            return wildcard
        if security is None or security.bitmask & (GLOBAL_LINK_KEY | HASHED_LINK_KEY) != GLOBAL_LINK_KEY:
            return None
        return security.preconfigured_key

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        return self._dialect.commands(
            {
                "setInitialSecurityState": self._set_initial_state,
                "getCurrentSecurityState": self._get_current_state,
                "exportKey": self._export_key,
                "getNetworkKeyInfo": self._network_key_info,
                "importTransientKey": self._import_transient,
                "clearTransientLinkKeys": self._clear_transient,
                "importLinkKey": self._import_link_key,
                "exportLinkKeyByIndex": self._export_link_key_by_index,
                "exportLinkKeyByEui": self._export_link_key_by_eui,
                "findKeyTableEntry": self._find_link_key,
                "eraseKeyTableEntry": self._erase_link_key,
                "clearKeyTable": self._clear_link_keys,
                **OlderKeys(self, self._node, self._store, self._flash).handlers(),
            }
        )

    def _set_initial_state(self, fields: Fields) -> Fields:
        if self._network_is_up():
            raise Refused(Status.INVALID_CALL, "security is set before the network is formed")
        state: Any = fields["state"]
        bitmask = int(state.bitmask)
        if not bitmask & HAVE_NETWORK_KEY or not bitmask & HAVE_PRECONFIGURED_KEY:
            raise Refused(
                Status.SECURITY_CONFIGURATION_INVALID, "a coordinator needs both keys from its host"
            )
        self._flash.security = SecuritySettings(
            bitmask=bitmask,
            trust_centre=self._eui64(),
            preconfigured_key=octets_of(state.preconfiguredKey),
            network_key=octets_of(state.networkKey),
            network_key_sequence=int(state.networkKeySequenceNumber),
        )
        for partner in self._flash.link_keys.values():
            if (key := self.key_of(partner)) is not None:
                self._share(partner, key)
        self._flash.changed()
        self.apply_policy()
        return {"status": Status.OK}

    def _get_current_state(self, _fields: Fields) -> Fields:
        security = self._flash.security
        if security is None or not self._network_is_up():
            return {"status": Status.NOT_JOINED, "state": pack("<HQ", 0, NOBODY)}
        bitmask = CURRENT_STATE | security.bitmask & HASHED_LINK_KEY
        return {"status": Status.OK, "state": pack("<HQ", bitmask, security.trust_centre)}

    def _export_key(self, fields: Fields) -> Fields:
        context: Any = fields["context"]
        security = self._flash.security
        key = NO_KEY
        status = Status.NOT_FOUND
        if security is not None and int(context.core_key_type) == KEY_NETWORK:
            network = self._node.network
            key = security.network_key if network is None else network.network_key
            status = Status.OK
        elif security is not None and int(context.core_key_type) == KEY_TC_LINK:
            key, status = security.preconfigured_key, Status.OK
        return {"status": status, "key": key, "context": octets_of(context)}

    def _network_key_info(self, _fields: Fields) -> Fields:
        network = self._node.network
        sequence = 0 if network is None else network.key_sequence
        counter = self._store.network_counter.next
        info = pack("<BBBBI", network is not None, 0, sequence, 0, counter)
        return {"status": Status.OK, "network_key_info": info}

    def _import_transient(self, fields: Fields) -> Fields:
        self.expect(eui64_of(fields["eui64"]), octets_of(fields["plaintext_key"]))
        return {"status": Status.OK}

    def expect(self, eui64: Eui64, key: bytes) -> None:
        """The key for one joiner. Nobody checks it: a wrong one shows in that the joiner never gets in.

        Raises:
            Refused: if no more such keys fit.
        """
        transient = self._node.trust.transient
        if eui64 not in transient and len(transient) >= self._transient_limit:
            raise Refused(Status.OUT_OF_MEMORY, f"all {self._transient_limit} transient keys are in use")
        transient[eui64] = key
        if self.row_of(eui64) is None:
            # What is in no row was itself transient, from a time when the device joined before.
            self._store.link_keys.pop(eui64, None)
        if (before := self._expiry.pop(eui64, None)) is not None:
            before.cancel()
        lifetime = self._configuration[config.TRANSIENT_KEY_TIMEOUT]
        self._expiry[eui64] = self._timeline.after(lifetime, self._expire, eui64)
        self.apply_policy()

    def _expire(self, eui64: Eui64) -> None:
        self._expiry.pop(eui64, None)
        self._node.trust.transient.pop(eui64, None)
        self.apply_policy()

    def forget_timers(self) -> None:
        """The processor restarts: nothing expires any more in this run."""
        for handle in self._expiry.values():
            handle.cancel()
        self._expiry.clear()

    def _clear_transient(self, _fields: Fields) -> Fields:
        self.forget_timers()
        self._node.trust.transient.clear()
        self.apply_policy()
        return {}

    @property
    def rows(self) -> int:
        """How many rows the key table has."""
        return self._configuration[config.KEY_TABLE_SIZE]

    def _import_link_key(self, fields: Fields) -> Fields:
        self.write_row(int(fields["index"]), eui64_of(fields["address"]), octets_of(fields["key"]))
        return {"status": Status.OK}

    def write_row(self, index: int, partner: Eui64, key: bytes) -> None:
        """Put a partner's link key into a row of the key table.

        Raises:
            Refused: if there is no such row, or the partner is nobody in particular.
        """
        if index >= self.rows:
            raise Refused(Status.INDEX_OUT_OF_RANGE, f"the key table has {self.rows} rows, not row {index}")
        if partner in (NOBODY, ANYBODY):
            raise Refused(Status.KEY_TABLE_INVALID_ADDRESS, "a link key belongs to one partner")
        before = self._flash.link_keys.get(index)
        if before is not None and before != partner:
            self._unshare(before)
        self._flash.link_keys[index] = partner
        self._share(partner, key)
        self._store.on_change()
        self._flash.changed()

    def key_of(self, partner: Eui64) -> bytes | None:
        """What the host imported for a partner, which need not be what the stack uses."""
        entry = self._store.link_keys.get(partner)
        return self._flash.unheeded.get(partner) or (None if entry is None else entry.key)

    def _share(self, partner: Eui64, imported: bytes) -> None:
        """Use this key with a partner, or the one that comes of the hashed Trust Centre link key."""
        security = self._flash.security
        if self._imported_overrides or security is None or not security.bitmask & HASHED_LINK_KEY:
            self._flash.unheeded.pop(partner, None)
            self._store.link_keys[partner] = LinkKey(imported)
        else:
            self._flash.unheeded[partner] = imported
            self._store.link_keys[partner] = LinkKey(derived_link_key(security.preconfigured_key, partner))

    def _unshare(self, partner: Eui64) -> None:
        self._flash.unheeded.pop(partner, None)
        self._store.link_keys.pop(partner, None)

    def row_of(self, partner: Eui64) -> int | None:
        """The row of the key table that holds this partner's key."""
        rows = self._flash.link_keys.items()
        return next((index for index, owner in rows if owner == partner), None)

    def free_row(self) -> int | None:
        """The first row of the key table that holds no key."""
        return next((index for index in range(self.rows) if index not in self._flash.link_keys), None)

    def _exported(self, index: int | None) -> Fields:
        partner = None if index is None else self._flash.link_keys.get(index)
        entry = None if partner is None else self._store.link_keys.get(partner)
        if entry is None or partner is None:
            return {
                "status": Status.NOT_FOUND,
                "eui64": NOBODY,
                "index": NO_INDEX,
                "plaintext_key": NO_KEY,
                "key_data": bytes(12),
                "context": bytes(CONTEXT_SIZE),
            }
        meta = pack(
            "<HIIH", KEY_IS_AUTHORISED | KEY_HAS_COUNTERS, self._store.link_counter.next, entry.heard, 0
        )
        return {
            "status": Status.OK,
            "eui64": partner,
            "index": index,
            "plaintext_key": self.key_of(partner),
            "key_data": meta,
            "context": pack("<BBHQBBI", 4, index, 0, partner, 0, 0, 0),
        }

    def _export_link_key_by_index(self, fields: Fields) -> Fields:
        return self._exported(int(fields["index"]))

    def _export_link_key_by_eui(self, fields: Fields) -> Fields:
        return self._exported(self.row_of(eui64_of(fields["eui64"])))

    def _find_link_key(self, fields: Fields) -> Fields:
        """The partner's row; the first free one if asked for nobody."""
        partner = eui64_of(fields["address"])
        index = self.free_row() if partner == NOBODY else self.row_of(partner)
        return {"index": NO_INDEX if index is None else index}

    def _erase_link_key(self, fields: Fields) -> Fields:
        index = int(fields["index"])
        if index >= self.rows:
            raise Refused(Status.INDEX_OUT_OF_RANGE, f"the key table has no row {index}")
        partner = self._flash.link_keys.pop(index, None)
        if partner is None:
            raise Refused(Status.TABLE_ENTRY_ERASED, f"row {index} of the key table is empty")
        self._unshare(partner)
        self._flash.changed()
        return {"status": Status.OK}

    def _clear_link_keys(self, _fields: Fields) -> Fields:
        for partner in self._flash.link_keys.values():
            self._unshare(partner)
        self._flash.link_keys.clear()
        self._flash.changed()
        return {"status": Status.OK}
