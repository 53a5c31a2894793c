"""Devices in a house join, download and activate as their kind does, over real frames on one timeline."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from zlib import crc32

import msgspec
import pytest
from house_world import World, image_for

from han.sim.home import PartDescription, read_home
from han.zcl import BASIC_CLUSTER, OTA_CLUSTER, ReadAttributes, ZclFrame, decode_global, encode_global
from ota.commands import DefaultResponse
from ota.gbcs_image import GbcsImage, Layout
from ota.image import HardwareRange
from ota.server import Activation, Offer, TransferCompleted, TransferFailed
from ota.status import Status

NEW = 0x00020000


@pytest.fixture
def world() -> World:
    world = World()
    world.move_in()
    return world


def test_every_device_joins_with_its_install_code_and_finds_the_hubs_server():
    world = World()
    world.hub.form(channel=21)
    world.hub.admit_everyone()
    world.house.power_on()
    world.run(20.0)

    assert all(device.is_attached for device in world.house.devices.values())
    assert {fact.endpoint for fact in world.said("device.attached")} == {3}


def test_devices_that_come_before_their_hub_keep_trying_until_it_is_there():
    world = World()
    world.house.power_on()
    world.run(60.0)
    assert not any(device.is_attached for device in world.house.devices.values())

    world.hub.form()
    world.hub.admit_everyone()
    world.run(254.0)

    assert all(device.is_attached for device in world.house.devices.values())


def test_a_device_that_nobody_admitted_stays_outside():
    world = World()
    world.hub.form()
    world.hub.admit_everyone()
    del world.hub.node.trust.transient[world["gsme"].eui64]
    world.house.power_on()
    world.run(250.0)

    assert not world["gsme"].is_attached
    assert world["ppmid"].is_attached
    assert world.said("device.join-failed", "gsme")


def test_a_ppmid_downloads_an_image_and_runs_it(world):
    data = image_for(world, "ppmid", version=NEW)
    world.hub.offer(data, "ppmid")
    world.run_until("device.activated", "ppmid")

    assert world["ppmid"].file_version == NEW
    completed = [event for event in world.hub.events if isinstance(event, TransferCompleted)]
    assert [event.peer for event in completed] == [world["ppmid"].eui64]
    blocks = world.said("ota.block", "ppmid")
    assert [block.offset for block in blocks[:3]] == [0, 56, 112]
    assert sum(block.size for block in blocks) == len(data)


def test_a_device_comes_back_from_its_restart_with_the_new_version(world):
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")
    assert not world["ppmid"].is_on

    world.run_until("device.attached", "ppmid", within=30.0)

    assert world.said("device.on", "ppmid")[-1].version == "00020000"


def test_a_device_that_comes_back_announces_itself(world):
    world["ppmid"].power_off()
    world.run(60.0)
    world.hub.announced.clear()
    world["ppmid"].power_on()
    world.run(5.0)

    assert world.hub.announced == [world["ppmid"].eui64]


@pytest.mark.parametrize("confirms", [True, False])
def test_success_is_confirmed_to_a_hub_that_asks_for_it(world, confirms):
    queries = len(world.said("ota.query", "ppmid"))
    notify = ZclFrame(0x00, 7, b"\x00\x64", from_server=True, disable_default_response=not confirms)
    world.hub.send(world["ppmid"].node.nwk, OTA_CLUSTER, notify.to_bytes())
    world.run(2.0)

    assert len(world.said("ota.query", "ppmid")) == queries + 1
    answers = [decode_global(frame) for frame in world.hub.global_answers]
    assert answers == ([DefaultResponse(0x00, Status.SUCCESS, from_server=False)] if confirms else [])


def test_an_hcalcs_holds_its_image_until_it_is_told(world):
    data = image_for(world, "hcalcs", version=NEW)
    world.hub.offer(data, "hcalcs", activation=Activation.WAIT)
    world.run_until("ota.held", "hcalcs")
    world.run(2 * 24 * 3600.0)

    assert world["hcalcs"].file_version == 0x00010000
    held = world["hcalcs"].firmware.held
    assert held is not None
    assert held.manufacturer_image_hash == GbcsImage.read(data, Layout.AUTHORISED).manufacturer_image_hash


def test_an_hcalcs_activates_nothing_at_the_word_of_the_ota_server_alone(world):
    world.hub.offer(image_for(world, "hcalcs", version=NEW), "hcalcs", activation=Activation.NOW)
    world.run_until("ota.held", "hcalcs")
    world.run(3600.0)

    assert world["hcalcs"].file_version == 0x00010000


def test_a_held_image_survives_a_power_cut(world):
    world.hub.offer(image_for(world, "hcalcs", version=NEW), "hcalcs", activation=Activation.WAIT)
    world.run_until("ota.held", "hcalcs")
    held = world["hcalcs"].firmware.held
    world["hcalcs"].power_off()
    world.run(60.0)
    world["hcalcs"].power_on()
    world.run_until("device.attached", "hcalcs", within=60.0)

    assert world["hcalcs"].firmware.held == held
    assert len(world.said("ota.complete", "hcalcs")) == 1


def test_a_download_goes_on_where_the_power_failed(world):
    data = image_for(world, "ppmid", version=NEW, size=20_000)
    world.hub.offer(data, "ppmid")
    last = world.run_until("ota.block", "ppmid", count=100)
    world["ppmid"].power_off()
    world.run(30.0)
    before = len(world.said("ota.block", "ppmid"))
    world["ppmid"].power_on()
    first = world.run_until("ota.block", "ppmid")

    assert first.offset == last.offset + last.size
    world.run_until("device.activated", "ppmid")
    assert sum(block.size for block in world.said("ota.block", "ppmid")) == len(data)
    assert before == 100


def paging(*, loss: float = 0.0) -> World:
    """A PPMID that asks for pages, and its hub."""
    home = read_home("demo")
    ppmid = msgspec.structs.replace(home.devices[0], page_size=520, response_spacing=0.0)
    world = World(msgspec.structs.replace(home, devices=(ppmid,)), loss=loss)
    world.move_in()
    return world


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_device_that_asks_for_pages_takes_an_image_over_real_frames_on_a_bad_air_too(loss):
    world = paging(loss=loss)
    data = image_for(world, "ppmid", version=NEW, size=8000)
    world.hub.offer(data, "ppmid")
    world.run_until("device.activated", "ppmid")

    assert world.said("ota.complete", "ppmid")[-1].image == sha256(data).hexdigest()
    assert sum(block.size for block in world.said("ota.block", "ppmid")) == len(data)
    assert not world.said("ota.fell-back", "ppmid")


def test_a_power_cut_in_mid_page_costs_no_more_than_what_was_not_stored():
    world = paging()
    data = image_for(world, "ppmid", version=NEW, size=8000)
    world.hub.offer(data, "ppmid")
    while len(world.said("ota.block", "ppmid")) < 30:
        world.run(0.01)
    last = world.said("ota.block", "ppmid")[-1]
    world["ppmid"].power_off()
    world.run(30.0)
    world["ppmid"].power_on()
    world.run_until("device.activated", "ppmid")

    assert world.said("ota.started", "ppmid")[-1].offset == last.offset + last.size
    assert world.said("ota.complete", "ppmid")[-1].image == sha256(data).hexdigest()


def with_parts(*, together: bool) -> World:
    """A PPMID with a second processor, and its hub."""
    home = read_home("demo")
    part = PartDescription(image_type=0x99, file_version=1)
    ppmid = msgspec.structs.replace(home.devices[0], parts=(part,), upgrades_together=together)
    world = World(msgspec.structs.replace(home, devices=(ppmid,)))
    world.move_in()
    return world


def test_the_second_processor_of_a_device_is_upgraded_by_itself_and_remembered():
    world = with_parts(together=False)
    world.hub.offer(image_for(world, "ppmid", version=NEW, image_type=0x99), "ppmid")
    activated = world.run_until("device.part-activated", "ppmid")
    world["ppmid"].power_off()
    world["ppmid"].power_on()
    world.run(300.0)

    assert (activated.part, activated.version) == (0x99, f"{NEW:08X}")
    assert world["ppmid"].file_version != NEW
    assert len(world.said("ota.started", "ppmid")) == 1, "it runs that version now"


def test_a_device_that_needs_two_files_runs_them_together_also_after_a_power_cut_in_between():
    world = with_parts(together=True)
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("ota.more-needed", "ppmid")
    world.run(600.0)
    assert world["ppmid"].file_version != NEW
    world["ppmid"].power_off()
    world["ppmid"].power_on()
    world.hub.offer(image_for(world, "ppmid", version=NEW, image_type=0x99), "ppmid")
    world.run_until("device.activated", "ppmid")

    assert world["ppmid"].file_version == NEW
    assert [fact.part for fact in world.said("device.part-activated", "ppmid")] == [0x99]


def test_every_attribute_of_the_ota_client_can_be_read_over_the_air(world):
    ids = (*range(0x000D), 0xFFFD)
    world.hub.send(
        world["ppmid"].node.nwk, OTA_CLUSTER, encode_global(ReadAttributes(ids, from_server=True), 5)
    )
    world.run(1.0)
    records = decode_global(world.hub.global_answers[-1]).records

    assert [record.attribute for record in records] == list(ids)
    assert {record.status for record in records} == {Status.SUCCESS}


def test_what_a_device_tells_of_the_image_that_runs_is_kept_over_a_power_cut(world):
    data = image_for(world, "ppmid", version=NEW)
    world.hub.offer(data, "ppmid")
    world.run_until("device.activated", "ppmid")
    world.run(60.0)
    world["ppmid"].power_off()
    world["ppmid"].power_on()

    attributes = world["ppmid"].firmware.attributes()
    assert attributes[0x000A] == crc32(data)
    assert attributes[0x0002] == NEW


def test_a_gsme_sleeps_through_a_notify_and_asks_in_its_own_time(world):
    world.run(120.0)
    world.hub.offer(image_for(world, "gsme", version=NEW), "gsme", activation=Activation.WAIT)
    offered = world.house.timeline.now
    started = world.run_until("ota.started", "gsme", within=7 * 3600.0)

    assert 3600.0 < started.at - offered <= 6 * 3600.0
    world.run_until("ota.held", "gsme")


def test_a_silent_ppmid_activates_and_says_nothing(world):
    world.hub.offer(image_for(world, "ppmid-silent", version=NEW), "ppmid-silent")
    world.run_until("device.activated", "ppmid-silent")
    world.run(3600.0)

    assert world["ppmid-silent"].file_version == NEW
    assert world.hub.messages_of("ppmid-silent") == []


def test_the_version_that_runs_can_be_read_from_every_kind(world):
    world.hub.offer(image_for(world, "ppmid-silent", version=NEW), "ppmid-silent")
    world.run_until("device.attached", "ppmid-silent")
    nwk = world["ppmid-silent"].node.nwk
    question = ReadAttributes((0x0000, 0x0002, 0x0006, 0x1234), from_server=True)
    world.hub.send(nwk, OTA_CLUSTER, encode_global(question, 77))
    world.run(1.0)
    frame = world.hub.global_answers[-1]
    records = decode_global(frame).records

    assert frame.sequence == 77
    assert [record.value for record in records[:3]] == [int(world.hub.node.eui64), NEW, 0]
    assert records[3].status == Status(0x86)


def test_basic_says_what_the_device_is(world):
    world.hub.send(world["gsme"].node.nwk, BASIC_CLUSTER, encode_global(ReadAttributes((0x0005,)), 5))
    world.run(1.0)

    assert decode_global(world.hub.global_answers[-1]).records[0].value == "GSME"


def test_an_image_for_other_hardware_is_refused_by_the_device_itself(world):
    data = image_for(world, "ppmid", version=NEW, hardware=HardwareRange(0x2000, 0x20FF))
    careless = Offer.of(data, [world["ppmid"].eui64], Activation.NOW)
    world.hub.make(replace(careless, header=replace(careless.header, hardware_versions=None)))
    refusal = world.run_until("ota.refused", "ppmid")
    world.run(2 * 3600.0)  # it may take a bad file once more

    assert "hardware_versions" in refusal.why
    assert world["ppmid"].file_version == 0x00010000
    assert any(isinstance(event, TransferFailed) for event in world.hub.events)


def test_an_hcalcs_refuses_an_image_without_a_trailer(world):
    ppmid_like = image_for(world, "ppmid", version=NEW)
    header = GbcsImage.read(ppmid_like, Layout.MANUFACTURER_IMAGE)
    description = world["hcalcs"].description
    data = GbcsImage.build(
        type(header.header)(
            manufacturer=description.manufacturer,
            image_type=description.image_type,
            file_version=NEW,
            total_size=0,
        ),
        header.manufacturer_image,
    ).to_bytes()
    world.hub.offer(data, "hcalcs", activation=Activation.WAIT)
    refusal = world.run_until("ota.refused", "hcalcs")

    assert "signature" in refusal.why
    assert world["hcalcs"].firmware.held is None


def test_an_image_that_is_withdrawn_in_mid_download_can_be_sent_again(world):
    data = image_for(world, "ppmid", version=NEW, size=20_000)
    world.hub.offer(data, "ppmid")
    world.run_until("ota.block", "ppmid", count=50)
    world.hub.withdraw(data)
    world.run_until("ota.aborted", "ppmid")
    world.run(60.0)
    world.hub.offer(data, "ppmid")
    world.run_until("device.activated", "ppmid")

    assert world["ppmid"].file_version == NEW


def test_the_story_survives_a_lossy_air():
    world = World(loss=0.1, seed=3)
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    world.run(250.0)
    world.hub.offer(image_for(world, "ppmid", version=NEW, size=10_000), "ppmid")
    world.run_until("device.activated", "ppmid")

    assert world["ppmid"].file_version == NEW


def test_a_download_takes_about_as_long_as_the_air_needs(world):
    data = image_for(world, "ppmid", version=NEW, size=50_000)
    world.hub.offer(data, "ppmid")
    started = world.run_until("ota.started", "ppmid")
    complete = world.run_until("ota.complete", "ppmid")
    blocks = len(world.said("ota.block", "ppmid"))
    per_block = (complete.at - started.at) / blocks

    assert 0.015 < per_block < 0.025


def test_the_same_seed_gives_the_same_facts():
    def story(seed: int) -> list[str]:
        world = World(seed=seed, loss=0.02)
        world.hub.form()
        world.hub.admit_everyone()
        world.house.power_on()
        world.run(250.0)
        world.hub.offer(image_for(world, "ppmid"), "ppmid")
        world.run(120.0)
        return [fact.to_json() for fact in world.facts]

    assert story(5) == story(5)
    assert story(5) != story(6)
