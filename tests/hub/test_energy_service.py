"""What a device that asks its Communications Hub for more than images is answered."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from han.clusters import (
    CBKE_UPDATE_REQUEST,
    FUNCTIONAL_NOTIFICATION_FLAGS,
    KEEP_ALIVE_CLUSTER,
    METERING_CLUSTER,
    NEW_OTA_FIRMWARE,
    PHYSICAL_ENVIRONMENT,
    TIME_CLUSTER,
)
from han.facts import Facts
from han.sim.home import HomeError, parse_home
from han.stub_clusters import StubAttribute, StubCluster, StubCommand
from han.zcl import (
    BASIC_CLUSTER,
    CHARACTER_STRING,
    KEY_ESTABLISHMENT_CLUSTER,
    OCTET_STRING,
    OTA_CLUSTER,
    UINT8,
    AttributeRecord,
    ReadAttributes,
    ReadAttributesResponse,
    ReportAttributes,
    ZclFrame,
    decode_global,
    default_response,
    encode_global,
)
from hub.config import Config
from hub.config_file import ConfigError
from hub.energy_service import EnergyService, EnergyServiceSettings
from ota.commands import DefaultResponse
from ota.eui64 import Eui64
from ota.status import Status

GSME = Eui64.parse("00-DB-12-34-56-78-90-A1")
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
PRICE_CLUSTER, PREPAYMENT_CLUSTER, MESSAGING_CLUSTER = 0x0700, 0x0705, 0x0703
UNSUPPORTED_ATTRIBUTE, UNSUPPORTED_GLOBAL = Status(0x86), Status(0x82)


class World:
    """A hub's service at one moment, with an image that waits for the GSME."""

    def __init__(self, *stubs: StubCluster) -> None:
        self.facts = Facts(lambda: 0.0)
        self.told = []
        self.facts.subscribe(self.told.append)
        self.service = EnergyService(
            EnergyServiceSettings(stubs=stubs),
            now=lambda: datetime(2026, 1, 5, 12, 30, 1, tzinfo=UTC),
            suites=lambda: 2,
            has_firmware_for=lambda device: device == GSME,
            facts=self.facts,
        )

    def read(self, cluster: int, *attributes: int, device: Eui64 = PPMID, from_server: bool = False):
        """What reading these attributes is answered, by attribute."""
        frame = ZclFrame.parse(encode_global(ReadAttributes(attributes, from_server), 77))
        answer = ZclFrame.parse(self.service.answer(device, cluster, frame))
        command = decode_global(answer)
        assert isinstance(command, ReadAttributesResponse)
        assert (answer.sequence, command.from_server) == (77, not from_server)
        return {record.attribute: record for record in command.records}

    def value(self, cluster: int, attribute: int, **how: object) -> object:
        """The value of one attribute."""
        record = self.read(cluster, attribute, **how)[attribute]
        assert record.status == Status.SUCCESS
        return record.value


def test_the_clock_is_utc_in_seconds_since_2000_and_its_own_master():
    records = World().read(TIME_CLUSTER, 0x0000, 0x0001)

    since = datetime(2026, 1, 5, 12, 30, 1, tzinfo=UTC) - datetime(2000, 1, 1, tzinfo=UTC)
    assert (records[0].type, records[0].value) == (0xE2, since.total_seconds())
    assert (records[1].type, records[1].value) == (0x18, 0b1001)


def test_a_device_learns_how_often_to_ask_whether_the_hub_is_there():
    world = World()

    assert world.value(KEEP_ALIVE_CLUSTER, 0x0000) == 10
    assert world.value(KEEP_ALIVE_CLUSTER, 0x0001) == 300


def test_the_physical_environment_says_that_a_mirror_may_be_asked_for():
    assert World().value(BASIC_CLUSTER, PHYSICAL_ENVIRONMENT) == 0x01


def test_the_suites_are_those_of_the_hubs_certificates():
    assert World().value(KEY_ESTABLISHMENT_CLUSTER, 0x0000) == 2


def test_a_gas_meter_finds_the_flag_of_new_firmware_set_while_an_image_waits_for_it():
    world = World()

    flags = world.value(METERING_CLUSTER, FUNCTIONAL_NOTIFICATION_FLAGS, device=GSME, from_server=True)
    assert flags == NEW_OTA_FIRMWARE
    assert not flags & CBKE_UPDATE_REQUEST
    others = world.value(METERING_CLUSTER, FUNCTIONAL_NOTIFICATION_FLAGS, device=PPMID, from_server=True)
    assert others == 0


def test_the_flags_are_of_the_client_side_and_of_no_other():
    records = World().read(METERING_CLUSTER, FUNCTIONAL_NOTIFICATION_FLAGS, device=GSME)

    assert records[0].status == UNSUPPORTED_ATTRIBUTE


@pytest.mark.parametrize("cluster", [PRICE_CLUSTER, PREPAYMENT_CLUSTER, OTA_CLUSTER, TIME_CLUSTER])
def test_an_attribute_that_nobody_serves_is_unsupported_and_told(cluster):
    world = World()

    records = world.read(cluster, 0x0000 if cluster != TIME_CLUSTER else 0x0001, 0x0123)

    assert records[0x0123].status == UNSUPPORTED_ATTRIBUTE
    (fact,) = [fact for fact in world.told if fact.what == "zcl.unsupported"]
    assert (fact.device, fact.cluster) == (str(PPMID), cluster)
    assert 0x0123 in fact.attributes


@pytest.mark.parametrize("silenced", [False, True], ids=["default responses on", "default responses off"])
@pytest.mark.parametrize("cluster", [PRICE_CLUSTER, MESSAGING_CLUSTER, TIME_CLUSTER])
def test_a_command_that_nobody_serves_is_unsupported_whether_or_not_success_would_be_told(cluster, silenced):
    world = World()
    question = ZclFrame(0x02, 5, b"\x00", disable_default_response=silenced)

    answer = ZclFrame.parse(world.service.answer(PPMID, cluster, question))

    assert decode_global(answer) == DefaultResponse(0x02, Status.UNSUP_CLUSTER_COMMAND, from_server=True)
    (fact,) = world.told
    assert (fact.what, fact.cluster, fact.command) == ("zcl.unsupported", cluster, 0x02)


def test_other_global_commands_are_unsupported_and_told():
    world = World()
    report = ZclFrame.parse(
        encode_global(ReportAttributes((AttributeRecord(0, Status.SUCCESS, UINT8, 1),)), 6)
    )
    write = ZclFrame(0x02, 7, b"\x00\x00\x20\x01", is_cluster_command=False)

    for frame in (report, write):
        answer = decode_global(ZclFrame.parse(world.service.answer(GSME, METERING_CLUSTER, frame)))
        assert answer.status == UNSUPPORTED_GLOBAL
    assert [fact.what for fact in world.told] == ["zcl.unsupported"] * 2


def test_a_question_that_ends_early_is_answered_as_malformed():
    frame = ZclFrame(0x00, 1, b"\x00", is_cluster_command=False)

    answer = decode_global(ZclFrame.parse(World().service.answer(PPMID, BASIC_CLUSTER, frame)))

    assert answer.status == Status.MALFORMED_COMMAND


def test_a_default_response_is_never_answered():
    frame = ZclFrame.parse(default_response(ZclFrame(0x02, 5, b""), Status.FAILURE))

    assert World().service.answer(PPMID, PRICE_CLUSTER, frame) is None


# Stubs


def test_a_stub_cluster_answers_what_its_file_says():
    world = World(
        StubCluster(
            cluster=PRICE_CLUSTER,
            attributes=(
                StubAttribute(id=0, type=CHARACTER_STRING, value="standard"),
                StubAttribute(id=1, type=OCTET_STRING, value="0a0b"),
            ),
            commands=(StubCommand(command=0x00, answer=0x01, payload="0102"),),
        )
    )

    assert world.value(PRICE_CLUSTER, 0) == "standard"
    assert world.value(PRICE_CLUSTER, 1) == b"\x0a\x0b"
    answer = ZclFrame.parse(world.service.answer(PPMID, PRICE_CLUSTER, ZclFrame(0x00, 9, b"\x01")))
    assert (answer.command_id, answer.sequence, answer.payload) == (0x01, 9, b"\x01\x02")
    assert answer.from_server
    assert world.told == []


def test_what_a_stub_cluster_does_not_name_is_unsupported_as_ever():
    world = World(StubCluster(cluster=PRICE_CLUSTER, commands=(StubCommand(command=0, answer=0),)))

    assert world.read(PRICE_CLUSTER, 5)[5].status == UNSUPPORTED_ATTRIBUTE
    for frame in (ZclFrame(0x07, 9, b""), ZclFrame(0x00, 9, b"", from_server=True)):
        answer = decode_global(ZclFrame.parse(world.service.answer(PPMID, PRICE_CLUSTER, frame)))
        assert answer.status == Status.UNSUP_CLUSTER_COMMAND


def test_stub_clusters_come_from_the_hubs_configuration(tmp_path):
    path = tmp_path / "hub.toml"
    path.write_text(
        "[[stub_clusters]]\ncluster = 0x0700\n"
        'attributes = [{ id = 0, type = 0x42, value = "standard" }]\n'
        'commands = [{ command = 0, answer = 0, payload = "00" }]\n'
        "[energy_service]\nkeep_alive_base = 20\n"
    )

    settings = Config.read(path).settings().energy_service

    assert [stub.cluster for stub in settings.stubs] == [0x0700]
    assert settings.keep_alive_base == 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('attributes = [{ id = 0, type = 0x20, value = "x" }]', "no such value"),
        ("attributes = [{ id = 0, type = 0x20, value = 256 }]", "does not fit"),
        ('attributes = [{ id = 0, type = 0x41, value = "zz" }]', "hex"),
        ('commands = [{ command = 0, answer = 0, payload = "0" }]', "payload"),
        ("commands = [{ command = 256, answer = 0 }]", "command"),
        ("prices = 1", "prices"),
    ],
)
def test_a_stub_cluster_that_cannot_be_is_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "hub.toml"
    path.write_text(f"[[stub_clusters]]\ncluster = 0x0700\n{text}\n")

    with pytest.raises(ConfigError, match=complaint):
        Config.read(path)


def test_a_stub_survives_the_way_through_toml():
    stub = StubCluster(cluster=1, attributes=(StubAttribute(id=0, type=UINT8, value=3),))

    assert msgspec.convert(msgspec.to_builtins(stub), StubCluster) == stub


def test_stub_clusters_of_the_demos_hub_come_from_its_home_file():
    text = (
        'name = "h"\n[dongle]\neui64 = "00-DB-12-34-56-78-90-A2"\n'
        "[[stub_clusters]]\ncluster = 0x0700\nattributes = [{ id = 1, type = 0x20, value = 3 }]\n"
    )

    assert parse_home(text.encode()).stub_clusters == (
        StubCluster(cluster=0x0700, attributes=(StubAttribute(id=1, type=UINT8, value=3),)),
    )
    with pytest.raises(HomeError, match="does not fit"):
        parse_home(text.replace("value = 3", "value = 300").encode())
