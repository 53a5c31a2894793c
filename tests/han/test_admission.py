"""Who may be in the network, what they may say there, and who knocks in vain: without radio or loop."""

from __future__ import annotations

import pytest

from han.admission import REMEMBERED_REMOVALS, SILENCE, Admitted, DeviceState, Doorstep, Roll
from han.zcl import BASIC_CLUSTER, KEY_ESTABLISHMENT_CLUSTER, OTA_CLUSTER
from ota.eui64 import Eui64

ONE, TWO = Eui64(0x00DB_1234_5678_90B1), Eui64(0x00DB_1234_5678_90B2)


def roll_with(*devices: Eui64) -> Roll:
    roll = Roll([], [])
    for device in devices:
        roll.admit(device, "PPMID", establishes_keys=True)
    return roll


def test_an_address_belongs_to_the_device_that_was_placed_there_last():
    roll = roll_with(ONE, TWO)
    one, two = roll.devices
    roll.place(one, 0x1111)
    roll.place(two, 0x1111)

    assert roll.at(0x1111) is two
    assert (one.nwk, two.nwk) == (None, 0x1111)


def test_a_device_that_moves_is_at_its_old_address_no_more():
    roll = roll_with(ONE)
    (one,) = roll.devices
    roll.place(one, 0x1111)
    roll.place(one, 0x2222)

    assert roll.at(0x1111) is None
    assert roll.at(0x2222) is one


def test_who_leaves_has_neither_address_nor_key():
    roll = roll_with(ONE)
    (one,) = roll.devices
    roll.place(one, 0x1111)
    one.is_secured = True
    roll.left(one)

    assert one == Admitted(ONE, "PPMID", state=DeviceState.LEFT)
    assert roll.at(0x1111) is None


def test_a_removed_device_is_remembered_until_it_is_admitted_anew():
    roll = roll_with(ONE)
    roll.place(roll.devices[0], 0x1111)
    roll.remove(roll.devices[0])
    assert (roll.find(ONE), roll.at(0x1111), roll.was_removed(ONE)) == (None, None, True)

    roll.admit(ONE, "PPMID", establishes_keys=True)
    assert not roll.was_removed(ONE)


def test_only_the_latest_removals_are_remembered():
    roll = Roll([], [Eui64(number) for number in range(REMEMBERED_REMOVALS)])
    roll.remove(roll.admit(ONE, "PPMID", establishes_keys=True))

    assert roll.removed == (*[Eui64(number) for number in range(1, REMEMBERED_REMOVALS)], ONE)


@pytest.mark.parametrize(
    ("device", "secured", "why"),
    [
        (Admitted(ONE, "PPMID"), False, "no link key"),
        (Admitted(ONE, "PPMID"), True, "no link key"),
        (Admitted(ONE, "PPMID", is_secured=True), False, "without APS security"),
        (Admitted(ONE, "PPMID", is_secured=True), True, None),
        (Admitted(ONE, "PPMID", establishes_keys=False), False, None),
        (Admitted(ONE, "PPMID", establishes_keys=False), True, None),
        (Admitted(ONE, "PPMID", establishes_keys=False, is_secured=True), False, "without APS security"),
    ],
    ids=[
        "no key, in the open",
        "the key of its install code",
        "a key, in the open",
        "a key, used",
        "of the laboratory",
        "of the laboratory, with the key of its install code",
        "of the laboratory, which established a key all the same",
    ],
)
def test_a_protected_cluster_is_open_to_whom_it_should_be(device, secured, why):
    objection = device.objection(OTA_CLUSTER, aps_secured=secured)

    assert (objection is None) if why is None else (why in objection)
    assert device.protects(OTA_CLUSTER) is (device.establishes_keys or device.is_secured)


@pytest.mark.parametrize("cluster", [BASIC_CLUSTER, KEY_ESTABLISHMENT_CLUSTER])
def test_other_clusters_are_open_to_all(cluster):
    device = Admitted(ONE, "PPMID")

    assert device.objection(cluster, aps_secured=False) is None
    assert not device.protects(cluster)


def test_who_was_sent_the_key_and_stays_silent_is_told_of_once_its_time_is_over():
    step = Doorstep()
    step.knocked(ONE, 100.0)
    step.knocked(TWO, 101.0)
    assert step.timer() == 100.0 + SILENCE

    assert step.tick(100.0 + SILENCE - 0.1) == []
    assert step.tick(100.0 + SILENCE) == [ONE]
    assert step.timer() == 101.0 + SILENCE


def test_who_speaks_is_not_waited_for_any_more():
    step = Doorstep()
    step.knocked(ONE, 100.0)
    step.spoke(ONE)
    step.spoke(TWO)

    assert step.timer() is None
    assert step.tick(1000.0) == []


def test_knocking_again_gives_no_more_time():
    step = Doorstep()
    step.knocked(ONE, 100.0)
    step.knocked(ONE, 109.0)

    assert step.tick(100.0 + SILENCE) == [ONE]
    step.knocked(ONE, 115.0)
    assert step.timer() == 115.0 + SILENCE
