"""The dongle's table of link keys, row by row, on a dongle of a few lines that answers as real ones do."""

from __future__ import annotations

import bellows.types as t
import pytest

from han.key_table import WANTED_ROWS, KeyRefused, KeyTable, KeyTableFull
from ota.eui64 import Eui64

KEY, OTHER_KEY = bytes(range(16)), bytes(range(16, 32))
ONE, TWO, THREE = (Eui64(0x00DB_1234_5678_90B1 + number) for number in range(3))
NOBODY = bytes(8)


class Dongle:
    """A key table of some rows. ``finds_empty``: whether it names an empty row when asked for nobody's."""

    def __init__(self, version: int, rows: int = 2, *, finds_empty: bool = True, grows: bool = True) -> None:
        self.ezsp_version = version
        self.rows: list[tuple[bytes, bytes] | None] = [None] * rows
        self.finds_empty = finds_empty
        self.grows = grows
        self.refusal: t.EmberStatus | None = None

    def held(self) -> dict[bytes, bytes]:
        return dict(row for row in self.rows if row is not None)

    async def findKeyTableEntry(self, *, address, linkKey):  # noqa: N802, N803 - the dongle's words
        assert linkKey
        wanted = address.serialize()
        for number, row in enumerate(self.rows):
            if (row is None and wanted == NOBODY and self.finds_empty) or (row and row[0] == wanted):
                return (number,)
        return (0xFF,)

    async def importLinkKey(self, *, index, address, key):  # noqa: N802
        assert self.ezsp_version >= 13
        if self.refusal is not None:
            return (t.sl_Status.from_ember_status(self.refusal),)
        self.rows[index] = (address.serialize(), key.serialize())
        return (t.sl_Status.OK,)

    async def exportLinkKeyByIndex(self, *, index):  # noqa: N802
        status = t.sl_Status.OK if self.rows[index] else t.sl_Status.NOT_FOUND
        return (t.EUI64.deserialize(NOBODY)[0], None, None, status)

    async def addOrUpdateKeyTableEntry(self, *, address, linkKey, keyData):  # noqa: N802, N803
        assert self.ezsp_version < 13
        assert linkKey
        if self.refusal is not None:
            return (self.refusal,)
        for wanted in (address.serialize(), None):
            for number, row in enumerate(self.rows):
                if (row[0] if row else None) == wanted:
                    self.rows[number] = (address.serialize(), keyData.serialize())
                    return (t.EmberStatus.SUCCESS,)
        return (t.EmberStatus.TABLE_FULL,)

    async def eraseKeyTableEntry(self, *, index):  # noqa: N802
        self.rows[index] = None
        return (t.EmberStatus.SUCCESS,)

    async def getConfigurationValue(self, *, configId):  # noqa: N802, N803
        assert configId == t.EzspConfigId.CONFIG_KEY_TABLE_SIZE
        return (t.EmberStatus.SUCCESS, len(self.rows))

    async def setConfigurationValue(self, *, configId, value):  # noqa: N802, N803
        if not self.grows:
            return (t.EmberStatus.ERR_FLASH_WRITE_INHIBITED,)
        self.rows += [None] * (value - len(self.rows))
        return (t.EmberStatus.SUCCESS,)


on_every_version = pytest.mark.parametrize("version", [4, 8, 12, 13, 14, 19])


@on_every_version
async def test_each_device_has_a_row_and_a_new_key_takes_the_place_of_the_old(version):
    dongle = Dongle(version)
    table = KeyTable(dongle)
    await table.put(ONE, KEY)
    await table.put(TWO, KEY)
    await table.put(ONE, OTHER_KEY)

    assert dongle.held() == {ONE.wire: OTHER_KEY, TWO.wire: KEY}
    assert await table.has(ONE)
    assert not await table.has(THREE)


@on_every_version
async def test_a_full_table_says_what_to_do_and_changes_nothing(version):
    dongle = Dongle(version)
    table = KeyTable(dongle)
    await table.put(ONE, KEY)
    await table.put(TWO, KEY)

    with pytest.raises(KeyTableFull, match="remove a device"):
        await table.put(THREE, KEY)
    assert dongle.held() == {ONE.wire: KEY, TWO.wire: KEY}


@on_every_version
async def test_an_erased_row_is_free_again(version):
    dongle = Dongle(version)
    table = KeyTable(dongle)
    await table.put(ONE, KEY)
    await table.put(TWO, KEY)
    assert await table.erase(ONE)
    assert not await table.erase(ONE)

    await table.put(THREE, KEY)
    assert dongle.held() == {THREE.wire: KEY, TWO.wire: KEY}


async def test_a_dongle_that_names_no_empty_row_is_looked_through():
    dongle = Dongle(13, finds_empty=False)
    table = KeyTable(dongle)
    await table.put(ONE, KEY)
    await table.put(TWO, KEY)

    assert dongle.held() == {ONE.wire: KEY, TWO.wire: KEY}
    with pytest.raises(KeyTableFull):
        await table.put(THREE, KEY)


@pytest.mark.parametrize("version", [8, 13])
async def test_a_key_that_is_refused_for_another_reason_is_told_with_it_and_without_the_key(version):
    dongle = Dongle(version)
    dongle.refusal = t.EmberStatus.KEY_INVALID

    with pytest.raises(KeyRefused, match=f"{ONE}: INVALID_KEY") as caught:
        await KeyTable(dongle).put(ONE, KEY)
    assert KEY.hex() not in str(caught.value)


async def test_a_small_table_is_asked_to_grow_and_a_large_one_left_alone():
    small, large, rigid = Dongle(13, 4), Dongle(13, 40), Dongle(13, 12, grows=False)
    for dongle in (small, large, rigid):
        await KeyTable(dongle).grow()

    assert [len(dongle.rows) for dongle in (small, large, rigid)] == [WANTED_ROWS, 40, 12]
