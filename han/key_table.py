"""The dongle's table of link keys: one row for each device with which the hub has agreed a key.

The dongle keeps it over everything, and uses a row's key for whatever is sent to, or comes from, its device
under APS security. The hub keeps no key itself: what was put in is not read back.
"""

from __future__ import annotations

from typing import Any, Final

import bellows.types as ezsp
import zigpy.state
import zigpy.types

from han.errors import HanError
from ota.eui64 import Eui64

WANTED_ROWS: Final = 16
"""Rows that the hub asks the dongle for. Common firmware was built with 12 and grants no more."""

_IMPORTS_LINK_KEYS: Final = 13
"""The first EZSP version without the commands for the key table by which older ones take a key."""
STATUS_STANDS_FIRST: Final = 14
"""The first EZSP version whose answers with a key begin with the status."""
_EMPTY: Final = Eui64(0)
_NO_ROW: Final = 0xFF


class KeyTableFull(HanError):  # noqa: N818 - it names what happened, in the words of the field
    """The dongle has no room for another link key."""

    def __init__(self) -> None:
        super().__init__(
            "the dongle's key table is full: remove a device that is not used any more, or take a dongle with"
            " a larger table"
        )


class KeyRefused(HanError):  # noqa: N818 - as above
    """The dongle did not take a link key."""


class KeyTable:
    """The rows, by EUI-64. ``dongle`` is bellows' EZSP connection; what that raises is let through."""

    def __init__(self, dongle: Any) -> None:  # noqa: ANN401 - of bellows, untyped
        self._dongle = dongle

    async def grow(self) -> None:
        """Ask for as many rows as we want, before the network is up; what a dongle cannot give it refuses."""
        if await self.rows() < WANTED_ROWS:
            table = ezsp.EzspConfigId.CONFIG_KEY_TABLE_SIZE
            await self._dongle.setConfigurationValue(configId=table, value=WANTED_ROWS)

    async def rows(self) -> int:
        """How many devices can have a key at a time."""
        _, rows = await self._dongle.getConfigurationValue(configId=ezsp.EzspConfigId.CONFIG_KEY_TABLE_SIZE)
        return int(rows)

    async def put(self, eui64: Eui64, key: bytes) -> None:
        """Set the key of a device, in place of any that it had.

        Raises:
            KeyTableFull: if there is no row for it.
            KeyRefused: if the dongle does not take it for another reason.
        """
        address, link_key = _address(eui64), ezsp.KeyData.deserialize(key)[0]
        if self._dongle.ezsp_version < _IMPORTS_LINK_KEYS:
            # It finds the row by itself.
            (answer,) = await self._dongle.addOrUpdateKeyTableEntry(
                address=address, linkKey=True, keyData=link_key
            )
        else:
            row = await self._row(eui64)
            if row is None:
                row = await self._empty_row()
            (answer,) = await self._dongle.importLinkKey(index=row, address=address, key=link_key)
        status = ezsp.sl_Status.from_ember_status(answer)
        if status in (ezsp.sl_Status.FULL, ezsp.sl_Status.INVALID_INDEX):
            raise KeyTableFull
        if status != ezsp.sl_Status.OK:
            raise KeyRefused(f"the dongle does not take the link key of {eui64}: {status.name}")

    async def has(self, eui64: Eui64) -> bool:
        """Whether there is a key for this device."""
        return await self._row(eui64) is not None

    async def erase(self, eui64: Eui64) -> bool:
        """Forget the key of a device; False if there was none."""
        row = await self._row(eui64)
        if row is not None:
            await self._dongle.eraseKeyTableEntry(index=row)
        return row is not None

    async def keys(self) -> list[zigpy.state.Key]:
        """All keys with their counters, as a backup of the network holds them. From EZSP 14 on.

        bellows reads the answer in the order that it had before, and finds no key at all.
        """
        _, rows = await self._dongle.getConfigurationValue(configId=ezsp.EzspConfigId.CONFIG_KEY_TABLE_SIZE)
        found = []
        for row in range(rows):
            status, context, key, counters = await self._dongle.exportLinkKeyByIndex(index=row)
            if status == ezsp.sl_Status.OK:
                found.append(
                    zigpy.state.Key(
                        key=zigpy.types.KeyData(key),
                        tx_counter=counters.outgoing_frame_counter,
                        rx_counter=counters.incoming_frame_counter,
                        partner_ieee=zigpy.types.EUI64(context.eui64),
                    )
                )
        return found

    async def _empty_row(self) -> int:
        row = await self._row(_EMPTY)
        if row is not None:
            return row
        # Zeros finding an empty row is documented, but not seen on every firmware: look for ourselves.
        for candidate in range(await self.rows()):
            answer = await self._dongle.exportLinkKeyByIndex(index=candidate)
            # The status stands last up to version 13 and first from 14 on.
            if ezsp.sl_Status.OK not in (answer[0], answer[-1]):
                return candidate
        raise KeyTableFull

    async def _row(self, eui64: Eui64) -> int | None:
        (row,) = await self._dongle.findKeyTableEntry(address=_address(eui64), linkKey=True)
        return None if row == _NO_ROW else int(row)


def _address(eui64: Eui64) -> Any:  # noqa: ANN401 - of bellows, untyped
    return ezsp.EUI64.deserialize(eui64.wire)[0]
