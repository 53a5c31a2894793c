"""The address, multicast and child tables."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from han.sim.dongle import configuration as config
from han.sim.dongle.configuration import Configuration
from han.sim.dongle.dialect import Command, Dialect, Fields, eui64_of, octets_of
from han.sim.dongle.errors import Refused
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.node.store import Child, NodeStore
from ota.eui64 import Eui64

UNUSED_NODE_ID: Final = 0xFFFF
NOBODY: Final = Eui64(0)
EMPTY_MULTICAST: Final = b"\x00\x00\x00\x00"
_CHILD = Struct("<QBHBBBI")
"""EmberChildData since version 10: EUI-64, type, id, phy, power, time-out, time-out remaining."""
_CHILD_WITHOUT_REMAINDER = 14
"""Octets of it in versions 7 to 9, which have no time-out remaining."""


class AddressEntry(NamedTuple):
    """A row of the address table."""

    eui64: Eui64 = NOBODY
    nwk: int = UNUSED_NODE_ID
    extended_timeout: bool = False


class Tables:
    """The tables in RAM of one running firmware, and the child table of the stack as EZSP shows it."""

    def __init__(
        self, *, dialect: Dialect, configuration: Configuration, node: Stack, store: NodeStore
    ) -> None:
        self._dialect = dialect
        self._configuration = configuration
        self._node = node
        self._store = store
        self._addresses: dict[int, AddressEntry] = {}
        self._multicasts: dict[int, bytes] = {}
        self._extended: set[Eui64] = set()
        node.groups.clear()

    def commands(self) -> Mapping[str, Command]:
        """By name; what a version does not have is left out."""
        handlers = {
            "getExtendedTimeout": self._get_extended_timeout,
            "setExtendedTimeout": self._set_extended_timeout,
            "lookupNodeIdByEui64": self._lookup_node_id,
            "lookupEui64ByNodeId": self._lookup_eui64,
            "replaceAddressTableEntry": self._replace_address,
            "getAddressTableRemoteNodeId": self._address_node_id,
            "getAddressTableRemoteEui64": self._address_eui64,
            "getAddressTableInfo": self._address_info,
            "getMulticastTableEntry": self._get_multicast,
            "setMulticastTableEntry": self._set_multicast,
            "getChildData": self._get_child,
            "setChildData": self._set_child,
        }
        return self._dialect.commands(handlers)

    def eui64_of(self, nwk: int) -> Eui64 | None:
        """Whom the stack or the address table knows at this short address."""
        known = self._node.eui64_of(nwk)
        if known is not None:
            return known
        entries = (entry for entry in self._addresses.values() if entry.nwk == nwk)
        return next((entry.eui64 for entry in entries), None)

    def _node_id_of(self, eui64: Eui64) -> int | None:
        known = self._node.address_of(eui64)
        if known is not None:
            return known
        entries = (entry for entry in self._addresses.values() if entry.eui64 == eui64)
        return next((entry.nwk for entry in entries), None)

    def _get_extended_timeout(self, fields: Fields) -> Fields:
        extended = eui64_of(fields["remoteEui64"]) in self._extended
        return {"extendedTimeout": extended, "status": Status.OK if extended else Status.FAIL}

    def _set_extended_timeout(self, fields: Fields) -> Fields:
        eui64 = eui64_of(fields["remoteEui64"])
        if fields["extendedTimeout"]:
            self._extended.add(eui64)
        else:
            self._extended.discard(eui64)
        self._node.learn_sleeper(eui64, sleeps=eui64 in self._extended)
        return {"status": Status.OK}

    def _lookup_node_id(self, fields: Fields) -> Fields:
        nwk = self._node_id_of(eui64_of(fields["eui64"]))
        if nwk is None:
            return {"status": Status.NOT_FOUND, "nodeId": UNUSED_NODE_ID}
        return {"status": Status.OK, "nodeId": nwk}

    def _lookup_eui64(self, fields: Fields) -> Fields:
        eui64 = self.eui64_of(int(fields["nodeId"]))
        if eui64 is None:
            return {"status": Status.NOT_FOUND, "eui64": NOBODY}
        return {"status": Status.OK, "eui64": eui64}

    def _address_index(self, fields: Fields, field: str = "addressTableIndex") -> int:
        index, size = int(fields[field]), self._configuration[config.ADDRESS_TABLE_SIZE]
        if index >= size:
            raise Refused(
                Status.ADDRESS_TABLE_INDEX_OUT_OF_RANGE, f"the address table has {size} rows, not row {index}"
            )
        return index

    def _replace_address(self, fields: Fields) -> Fields:
        index = self._address_index(fields)
        old = self._addresses.get(index, AddressEntry())
        eui64, extended = eui64_of(fields["newEui64"]), bool(fields["newExtendedTimeout"])
        nwk = int(fields["newId"])
        self._addresses[index] = AddressEntry(eui64, nwk, extended)
        if nwk < UNUSED_NODE_ID - 7 and self._node.address_of(eui64) is None:
            # What the host knows, APS security can use.
            self._node.learn(eui64, nwk)
        self._set_extended_timeout({"remoteEui64": fields["newEui64"], "extendedTimeout": extended})
        return {
            "status": Status.OK,
            "oldEui64": old.eui64,
            "oldId": old.nwk,
            "oldExtendedTimeout": old.extended_timeout,
        }

    def _address_node_id(self, fields: Fields) -> Fields:
        return {"nodeId": self._addresses.get(int(fields["addressTableIndex"]), AddressEntry()).nwk}

    def _address_eui64(self, fields: Fields) -> Fields:
        return {"eui64": self._addresses.get(int(fields["addressTableIndex"]), AddressEntry()).eui64}

    def _address_info(self, fields: Fields) -> Fields:
        """Only newer versions ask this way; NOT_FOUND is the answer for an empty row and beyond the end."""
        entry = self._addresses.get(int(fields["index"]))
        if entry is None:
            return {"status": Status.NOT_FOUND, "nwk": UNUSED_NODE_ID, "eui64": NOBODY}
        return {"status": Status.OK, "nwk": entry.nwk, "eui64": entry.eui64}

    def _multicast_index(self, fields: Fields) -> int:
        index, size = int(fields["index"]), self._configuration[config.MULTICAST_TABLE_SIZE]
        if index >= size:
            raise Refused(Status.INVALID_CALL, f"the multicast table has {size} rows, not row {index}")
        return index

    def _get_multicast(self, fields: Fields) -> Fields:
        return {
            "status": Status.OK,
            "value": self._multicasts.get(self._multicast_index(fields), EMPTY_MULTICAST),
        }

    def _set_multicast(self, fields: Fields) -> Fields:
        self._multicasts[self._multicast_index(fields)] = octets_of(fields["value"])
        groups = self._node.groups
        groups.clear()
        groups.update(int.from_bytes(row[:2], "little") for row in self._multicasts.values() if row[2])
        return {"status": Status.OK}

    def _get_child(self, fields: Fields) -> Fields:
        index = int(fields["index"])
        for eui64, child in self._store.children.items():
            if child.index == index:
                return self._about_child(eui64, child)
        return _child_data(Status.NOT_JOINED, NOBODY, UNUSED_NODE_ID, 0)

    def _about_child(self, eui64: Eui64, child: Child) -> Fields:
        number = self._node.children.default_timeout if child.timeout is None else child.timeout
        left = int(self._node.children.seconds_left(eui64))
        kind = child_type(child.capability)
        return _child_data(Status.OK, eui64, child.nwk, kind, timeout=number, left=left)

    def _set_child(self, fields: Fields) -> Fields:
        """Children of a restored backup: the stack is told where they are, and finds them again by itself."""
        index, size = int(fields["index"]), self._configuration[config.MAX_END_DEVICE_CHILDREN]
        if index >= size:
            raise Refused(Status.INDEX_OUT_OF_RANGE, f"the child table has {size} rows, not row {index}")
        eui64, _, nwk, *_ = _CHILD.unpack(octets_of(fields["child_data"]).ljust(_CHILD.size, b"\x00"))
        self._node.learn(Eui64(eui64), nwk)
        return {"status": Status.OK}


def _child_data(
    status: Status, eui64: Eui64, nwk: int, kind: int, *, timeout: int = 0, left: int = 0
) -> Fields:
    """The answer to getChildData: three fields up to version 6, one structure up to 9, a longer one since.

    ``timeout`` is the number of the child's time-out, ``left`` the seconds of it that are left.
    """
    structure = _CHILD.pack(eui64, kind, nwk, 0, 0, timeout, left)
    return {
        "status": status,
        "childId": nwk,
        "childEui64": eui64,
        "childType": kind,
        "childData": structure[:_CHILD_WITHOUT_REMAINDER],
        "child_data": structure,
    }


def child_type(capability: int) -> int:
    """EmberNodeType of a child: router 2, end device 3, sleepy end device 4."""
    if capability & 0x02:
        return 2
    return 3 if capability & 0x08 else 4
