"""Every EZSP version under the true hub does what the table says: form, join, keys, fragments, update.

And none of them lets anybody in who was not expected.
"""

from __future__ import annotations

import asyncio

import pytest
from ezsp_matrix import STEPS, expected, row  # before the others: it says where they are

from dongle_house import CODE, HCALCS, OTHER_CODE, PPMID, DongleHouse, Ears, registered, start  # isort: skip

from han.security.install_code import link_key
from han.sim.dongle.versions import VERSIONS

pytestmark = pytest.mark.usefixtures("rebound")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_run_gives_the_row_that_is_written_down(version):
    assert await row(version) == {column: expected()[str(version)][column] for column in STEPS}


def test_the_table_has_a_row_for_every_version_and_no_other():
    assert [int(version) for version in expected()] == list(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_who_was_expected_gets_in_and_only_with_the_right_code(version):
    with registered(DongleHouse(ezsp=version)) as house:
        hub = await start(house, Ears())
        ours, stranger = house.new_device(PPMID), house.new_device(HCALCS)
        before = await house.join(ours, link_key(CODE))
        await hub.admit(PPMID, CODE, "PPMID", seconds=100)

        well_known = await house.join(stranger, b"ZigBeeAlliance09")
        wrong = await house.join(ours, link_key(OTHER_CODE))
        right = await house.join(ours, link_key(CODE))
        await asyncio.sleep(120)
        late = await house.join(stranger, b"ZigBeeAlliance09")
        await hub.close()

    assert [result.ok for result in (before, well_known, wrong, right, late)] == [
        False, False, False, True, False,
    ]  # fmt: skip
