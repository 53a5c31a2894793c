"""How much of an image one frame carries."""

from __future__ import annotations

import pytest

from ota.errors import OurError
from ota.pacing import BlockSize, largest_block


def test_a_block_has_65_octets_and_56_once_aps_security_is_on():
    assert largest_block(aps_secured=False) == 65
    assert largest_block(aps_secured=True) == 56


@pytest.mark.parametrize(("relays", "size"), [(1, 52), (2, 50), (3, 48), (4, 46), (5, 44)])
def test_each_relay_of_a_source_route_takes_two_octets(relays, size):
    assert largest_block(aps_secured=True, relays=relays) == size


def test_a_route_has_no_negative_number_of_relays():
    with pytest.raises(OurError):
        largest_block(aps_secured=False, relays=-1)


@pytest.mark.parametrize("fits", [56, 50, 49, 40, 9])
def test_a_block_shrinks_until_it_fits_and_then_stays(fits):
    block = BlockSize(65)
    tries = 0
    while block.limit > fits:
        assert block.too_long(block.limit)
        tries += 1
    assert tries <= 13
    assert block.least(255) <= fits


def test_a_block_is_never_more_than_the_client_asks():
    assert BlockSize(65).least(18) == 18


def test_a_short_last_block_that_does_not_fit_shrinks_below_itself():
    block = BlockSize(65)
    assert block.too_long(20)
    assert block.limit == 16


def test_a_late_refusal_of_a_size_that_is_no_longer_sent_changes_nothing():
    block = BlockSize(40)
    assert block.too_long(65)
    assert block.limit == 40


def test_below_the_smallest_block_there_is_nothing_left_to_try():
    block = BlockSize(8)
    assert not block.too_long(8)
    assert block.limit == 8


@pytest.mark.parametrize("ceiling", [0, 256])
def test_a_ceiling_that_no_block_can_have_is_our_error(ceiling):
    with pytest.raises(OurError):
        BlockSize(ceiling)
