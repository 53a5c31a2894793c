"""Devices as clients of what stands around firmware in Smart Energy: time, keep-alive, flags, and errands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from house_esi import EnergyServices
from house_world import World, home_with, image_for

from han.clusters import (
    CBKE_UPDATE_REQUEST,
    KEEP_ALIVE_CLUSTER,
    METERING_CLUSTER,
    NEW_OTA_FIRMWARE,
    TIME_CLUSTER,
)
from han.sim.devices.errands import ERRANDS
from han.sim.home import Kind
from han.sim.wire.zdo import SimpleDescriptorRequest
from han.zcl import BASIC_CLUSTER, ReadAttributes, ZclFrame, decode_global, encode_global
from ota.server import Activation
from ota.status import Status

NEW = 0x00020000


def device(kind: str, extra: str = "") -> str:
    return f"""
[[devices]]
kind = "{kind}"
name = "{kind.lower()}"
eui64 = "00-DB-12-34-56-78-90-A4"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0084
file_version = 0x00010000
first_query_within = 1
{extra}
"""


class Served(World):
    """A world whose hub has more to it than images and messages."""

    def __init__(self, home, **services) -> None:
        super().__init__(home)
        self.esi = EnergyServices(self.hub, **services)


def world_of(kind: str = "PPMID", extra: str = "", **services) -> Served:
    world = Served(home_with(device(kind, extra)), **services)
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    world.run_until("device.attached", kind.lower(), within=30.0)
    return world


# Time


def test_a_device_sets_its_clock_by_the_hub_and_counts_on():
    world = world_of()
    world.esi.utc = datetime(2026, 3, 1, 12, tzinfo=UTC)
    told = world.run_until("time.set", "ppmid", within=25 * 3600.0)
    world.run(3600.0)
    passed = timedelta(seconds=world.house.timeline.now - told.at)

    assert told.utc == "2026-03-01T12:00:00+00:00"
    assert world["ppmid"]._smart_energy.utc() == world.esi.utc + passed


def test_the_clock_is_read_daily_and_lost_with_the_power():
    world = world_of()
    world.run(3.5 * 24 * 3600.0)
    assert len(world.said("time.set", "ppmid")) == 4

    world["ppmid"].power_off()
    assert world["ppmid"]._smart_energy.utc() is None


def test_a_hub_that_has_no_time_itself_sets_no_clock_and_is_asked_again():
    world = world_of()
    world.esi.utc = None
    world["ppmid"].power_off()
    world["ppmid"].power_on()
    world.run(4 * 3600.0)

    assert world["ppmid"]._smart_energy.utc() is None
    assert 3 <= len([read for read in world.esi.reads if read == TIME_CLUSTER]) <= 6


# Keep-Alive


def test_a_device_asks_for_a_sign_of_life_as_often_as_the_trust_centre_wants():
    world = world_of(base=10, jitter=300)
    start = world.house.timeline.now
    world.run(24 * 3600.0)
    asked = [at for cluster, at in world.esi.log if cluster == KEEP_ALIVE_CLUSTER and at > start]
    gaps = [later - earlier for earlier, later in pairwise(asked)]

    assert all(600.0 <= gap <= 901.0 for gap in gaps)
    assert len(gaps) > 24 * 3600 / 901 - 2
    assert not world.said("keep-alive.lost")


def test_three_questions_without_an_answer_make_a_device_look_for_its_network_again():
    world = world_of(base=10, jitter=0)
    world.run(60.0)
    world.hub.node.crash()
    lost = world.run_until("keep-alive.lost", "ppmid", within=1200.0)
    world.run(30.0)
    world.hub.node.reboot()
    world.run_until("device.attached", "ppmid", within=1200.0)

    assert lost.at - 600.0 < 300.0
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")
    assert len(world.said("keys.established", "ppmid")) == 1  # it came back under the key that it had


def test_a_hub_whose_host_is_away_for_days_is_left_in_peace():
    """The dongle acknowledges and lets devices rejoin, and nobody answers."""
    world = world_of(base=10, jitter=0)
    world.run(60.0)
    world.esi.silent = True
    world.run(24 * 3600.0)
    lost = len(world.said("keep-alive.lost", "ppmid"))
    world.run(24 * 3600.0)

    assert len(world.said("keep-alive.lost", "ppmid")) - lost <= 12
    world.esi.silent = False
    world.run(2 * 3600.0)
    before = len(world.said("keep-alive.lost", "ppmid"))
    world.run(24 * 3600.0)
    assert len(world.said("keep-alive.lost", "ppmid")) == before


# Flags


def test_a_gsme_reads_the_flags_that_the_hub_holds_up_and_asks_for_its_image_at_once():
    world = world_of("GSME")
    world.run(600.0)
    world.hub.offer(image_for(world, "gsme", version=NEW), "gsme", activation=Activation.WAIT)
    offered = world.house.timeline.now
    world.esi.flags = NEW_OTA_FIRMWARE
    started = world.run_until("ota.started", "gsme", within=7 * 3600.0)

    assert started.at - offered <= 1801.0
    world.run_until("ota.held", "gsme")


def test_a_flag_makes_a_gsme_establish_another_key():
    world = world_of("GSME")
    before = world["gsme"].memory.established_key
    world.esi.flags = CBKE_UPDATE_REQUEST
    world.run_until("keys.established", "gsme", within=3600.0)

    assert world["gsme"].memory.established_key != before


def test_only_a_meter_reads_flags():
    world = world_of("PPMID")
    world.run(3 * 3600.0)

    assert METERING_CLUSTER not in [cluster for cluster, _, of_client in world.esi.asked if of_client]


# Errands


@pytest.mark.parametrize("kind", ["PPMID", "HCALCS", "GSME", "ESME"])
def test_a_device_asks_for_all_that_its_kind_wants_and_lives_with_a_hub_that_has_none_of_it(kind):
    world = world_of(kind)
    wanted = ERRANDS[Kind(kind)]
    world.run(60.0)
    done = world.said("errand.done", kind.lower())

    assert [fact.wanted for fact in done] == [errand.what for errand in wanted]
    assert {fact.answer for fact in done if fact.cluster != BASIC_CLUSTER} <= {
        "UNSUP_CLUSTER_COMMAND",
        "nothing",
    }
    assert world[kind.lower()].is_attached
    world.run(24 * 3600.0)
    assert len(world.said("errand.done", kind.lower())) == 2 * len(wanted)


def test_a_hub_that_answers_nothing_at_all_costs_a_device_some_patience_and_no_more():
    world = world_of("PPMID", silent=True)
    world.run(300.0)

    assert {fact.answer for fact in world.said("errand.done")} == {"silence"}
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid", within=25 * 3600.0)


def test_all_that_is_protected_is_asked_for_under_the_link_key():
    world = world_of("PPMID")
    world.run(60.0)
    asked = {(message.cluster, message.aps_secured) for message in world.hub.heard}

    assert (BASIC_CLUSTER, False) in asked
    for cluster in (TIME_CLUSTER, KEEP_ALIVE_CLUSTER, 0x0700, 0x0702, 0x0703, 0x0705, 0x0707, 0x0708, 0x0709):
        assert (cluster, True) in asked
        assert (cluster, False) not in asked


def test_a_hub_without_time_and_keep_alive_is_not_asked_for_them():
    world = World(home_with(device("PPMID")))
    world.move_in()
    world.run(24 * 3600.0)

    assert not {TIME_CLUSTER, KEEP_ALIVE_CLUSTER} & {message.cluster for message in world.hub.heard}


def test_a_question_of_the_hubs_with_the_number_of_ours_is_answered_as_a_question():
    world = world_of("PPMID", silent=True)
    world.run(1.0)
    pending = [key for key in world["ppmid"]._smart_energy._questions._waiting if key[0] == BASIC_CLUSTER]
    (_, sequence) = pending[0]
    question = encode_global(ReadAttributes((0x0005,)), sequence)
    world.hub.send(world["ppmid"].node.nwk, BASIC_CLUSTER, question)
    world.run(1.0)

    assert decode_global(world.hub.global_answers[-1]).records[0].value == "PPMID"


# Stub clusters

STUB = """
[[devices.stub_clusters]]
cluster = 0x0702
attributes = [{ id = 0x0000, type = 0x25, value = 12345678 }, { id = 0x0100, type = 0x42, value = "tariff" }]
commands = [{ command = 0x06, answer = 0x0D, payload = "0102" }]
"""


def test_a_stub_cluster_of_a_home_file_can_be_read_and_found():
    world = world_of("PPMID", STUB)
    question = encode_global(ReadAttributes((0x0000, 0x0100, 0x0200)), 9)
    world.hub.send(world["ppmid"].node.nwk, METERING_CLUSTER, question)
    world.run(1.0)
    records = decode_global(world.hub.global_answers[-1]).records

    assert [record.value for record in records] == [12345678, "tariff", None]
    assert records[2].status == Status(0x86)
    assert METERING_CLUSTER in world["ppmid"].node.endpoints[1].input_clusters


def test_a_stub_cluster_answers_the_commands_that_it_knows_and_no_other():
    world = world_of("PPMID", STUB)
    heard = []
    world.hub.elsewhere = lambda _, frame: heard.append(frame)
    nwk = world["ppmid"].node.nwk
    for command, sequence in ((0x06, 71), (0x07, 72)):
        question = ZclFrame(command, sequence, b"", disable_default_response=False)
        world.hub.send(nwk, METERING_CLUSTER, question.to_bytes())
    world.run(1.0)
    (answer,) = [frame for frame in heard if frame.sequence == 71]
    refusal = decode_global(world.hub.global_answers[-1])

    assert (answer.command_id, answer.payload, answer.from_server) == (0x0D, b"\x01\x02", True)
    assert (refusal.command_id, refusal.status) == (0x07, Status.UNSUP_CLUSTER_COMMAND)


def test_what_the_hub_serves_is_asked_for_once_an_attachment():
    world = Served(home_with(device("PPMID")))
    heard = []
    world.hub.node.on_zdo = heard.append
    world.move_in()
    world.run(48 * 3600.0)

    assert [message.cluster for message in heard].count(SimpleDescriptorRequest.CLUSTER) == 1
