"""Who may be in the HAN, as the head end sees it: admitted, secured, in trouble, removed, over restarts."""

from __future__ import annotations

import asyncio
import contextlib
import random

from hub_faulty_disk import FaultyDisk
from hub_world import GSME, INSTALL_CODE, KINDS, OTHER, PPMID, World, image_for

from han.admission import Admitted
from han.coordinator import DeviceInTrouble, DeviceJoined, DeviceLeft, DeviceSecured, DeviceUnsecured
from hub.flash import Flash
from hub.messages import DevicesRequest, JoinRequest, RemoveRequest, SwitchKeyRequest


@contextlib.asynccontextmanager
async def home(tmp_path, *devices):
    """A running hub in a house with these devices joined."""
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(*devices)
        yield world


async def listed(world):
    """The device list as the head end is shown it, by address."""
    answer = await world.head_end.ask(DevicesRequest(**world.head_end.pen.stamp()))
    return {entry.device: entry for entry in answer.devices}


async def remove(world, device):
    """Ask the hub to remove a device."""
    return await world.head_end.ask(RemoveRequest(device=str(device), **world.head_end.pen.stamp()))


def memory(world):
    """What the hub would find after a power cut."""
    return Flash(world.disk).memory


async def test_the_list_says_who_shares_a_link_key_and_keeps_that_over_a_restart(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        world.house.ears.event(DeviceSecured(PPMID))
        await world.crash()
        await world.start()
        entries = await listed(world)

    assert (entries[str(PPMID)].secured, entries[str(GSME)].secured) == (True, False)


async def test_a_restarted_radio_is_told_what_was_known_of_each_device(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        world.house.ears.event(DeviceSecured(PPMID))
        await remove(world, GSME)
        kept = memory(world)

    (device,) = kept.devices
    assert (device.eui64, device.state, device.is_secured, device.establishes_keys) == (
        PPMID,
        "joined",
        True,
        False,
    )
    assert kept.removed == (GSME,)


async def test_a_key_that_is_gone_is_shown_as_gone(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.ears.event(DeviceSecured(PPMID))
        world.house.ears.event(DeviceUnsecured(PPMID, "the dongle has it no more"))
        assert not (await listed(world))[str(PPMID)].secured

        world.house.ears.event(DeviceSecured(PPMID))
        world.house.ears.event(DeviceLeft(PPMID))
        entry = (await listed(world))[str(PPMID)]

    assert (entry.state, entry.secured) == ("left", False)


async def test_why_a_device_does_not_get_in_is_in_the_list_until_it_does(tmp_path):
    why = "it was sent the network key and did not speak: its install code may be another"
    async with home(tmp_path, PPMID) as world:
        world.house.ears.event(DeviceInTrouble(PPMID, why))
        assert (await listed(world))[str(PPMID)].trouble == why

        world.house.ears.event(DeviceJoined(PPMID, 0x1111))
        assert (await listed(world))[str(PPMID)].trouble == ""


async def test_a_key_establishment_that_failed_is_in_the_list_until_one_succeeds(tmp_path):
    why = "key establishment failed: UNKNOWN_ISSUER: a certificate by 54-45-53-54-53-45-43-41"
    async with home(tmp_path, PPMID) as world:
        world.house.ears.event(DeviceInTrouble(PPMID, why))
        assert "UNKNOWN_ISSUER" in (await listed(world))[str(PPMID)].trouble

        world.house.ears.event(DeviceSecured(PPMID))
        assert (await listed(world))[str(PPMID)].trouble == ""


async def test_trouble_of_a_device_that_nobody_admitted_is_nobodys(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.ears.event(DeviceInTrouble(OTHER, "whatever"))

        assert list(await listed(world)) == [str(PPMID)]


async def test_a_removed_device_is_off_the_list_and_may_be_admitted_anew(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        answer = await remove(world, PPMID)
        assert answer.ok
        assert list(await listed(world)) == [str(GSME)]
        assert memory(world).removed == (PPMID,)

        await world.join(PPMID)
        assert set(await listed(world)) == {str(GSME), str(PPMID)}
        assert memory(world).removed == ()


async def test_the_latest_removals_are_remembered(tmp_path):
    async with home(tmp_path) as world:
        for number in range(20):
            device = type(PPMID)(0x00DB_0000_0000_0000 + number)
            world.house.admitted[device] = b""
            world.hub.devices.admitted(Admitted(device, "PPMID"))
            assert (await remove(world, device)).ok
        removed = memory(world).removed

    assert [int(device) & 0xFF for device in removed] == list(range(5, 20))


async def test_an_image_for_a_removed_device_fails_with_an_alert_instead_of_waiting_for_ever(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.devices[PPMID].is_asleep = True
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await asyncio.sleep(60.0)

        assert (await remove(world, PPMID)).ok
        alert = await world.head_end.alert("0x8F89", PPMID, 3)
        failed = len([fact for fact in world.told if fact.what == "line.failed"])
        await asyncio.sleep(86_400.0)

        assert "removed" in alert.reason
        assert len([fact for fact in world.told if fact.what == "line.failed"]) == failed, "no more notices"


async def test_a_device_that_was_never_admitted_cannot_be_removed(tmp_path):
    async with home(tmp_path) as world:
        answer = await remove(world, PPMID)

    assert (answer.ok, answer.code) == (False, "unknown-device")


async def test_without_a_radio_nothing_is_removed(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.is_down = True
        answer = await remove(world, PPMID)

        assert (answer.ok, answer.code) == (False, "radio-down")
        assert list(await listed(world)) == [str(PPMID)]


async def test_whether_a_device_has_to_establish_a_key_is_what_its_admission_says(tmp_path):
    async with home(tmp_path) as world:
        asked = []
        admit = type(world.hub._house).admit

        async def listening(self, *args, establishes_keys=None, **kwargs):
            asked.append(establishes_keys)
            return await admit(self, *args, establishes_keys=establishes_keys, **kwargs)

        world.hub._house.admit = listening.__get__(world.hub._house)
        for wanted in (None, True, False):
            await world.head_end.ask(
                JoinRequest(
                    device=str(PPMID),
                    install_code=INSTALL_CODE,
                    device_type=KINDS[PPMID],
                    key_establishment=wanted,
                    **world.head_end.pen.stamp(),
                )
            )

    assert asked == [None, True, False]


async def switch_key(world, **options):
    """Ask the hub for a new network key."""
    return await world.head_end.ask(SwitchKeyRequest(**options, **world.head_end.pen.stamp()))


async def test_the_network_gets_a_new_key_when_the_head_end_asks_for_one(tmp_path):
    async with home(tmp_path, PPMID) as world:
        answer = await switch_key(world, broadcast=True)

    assert (answer.ok, answer.verb) == (True, "switch-key")
    assert world.house.network_keys == 2


async def test_a_key_that_cannot_be_given_out_is_refused_with_what_to_do(tmp_path):
    async with home(tmp_path, PPMID) as world:
        answer = await switch_key(world)

    assert (answer.ok, answer.code) == (False, "refused")
    assert "let the network key be broadcast" in answer.reason
    assert world.house.network_keys == 1


async def test_without_a_dongle_the_key_stays(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.is_down = True
        answer = await switch_key(world, broadcast=True)

    assert (answer.ok, answer.code) == (False, "radio-down")
