import asyncio
import contextlib
import dataclasses
import random

import pytest
from click.testing import CliRunner
from hub_faulty_disk import FaultyDisk
from hub_world import HUB, INSTALL_CODE, OTHER, PPMID, World

from hub.cli import main
from hub.cli.asking import ask
from hub.config import Config
from hub.config_file import ConfigError
from hub.config_ota import OtaSection
from hub.disk import held_alone
from hub.errors import OurError, SurroundingsError
from hub.messages import DevicesRequest, HubState, JoinRequest, encode, topic
from hub.mqtt import MailboxSettings
from hub.slot import LatestWins
from hub.terms import Terms
from ota.eui64 import Eui64
from ota.pacing import FSK_SUB_GHZ
from ota.server_settings import ServerSettings
from ota.status import Status


def gbhan(*arguments: str):
    return CliRunner().invoke(main, arguments)


@contextlib.asynccontextmanager
async def running_hub(tmp_path):
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        yield world, MailboxSettings.in_simulation(world.broker.address, "asker")


async def test_a_command_asks_the_only_hub_there_is(tmp_path):
    async with running_hub(tmp_path) as (world, mailbox):
        world.house.add(PPMID)
        answer = await ask(
            mailbox,
            HUB,
            lambda pen: JoinRequest(
                device=str(PPMID), install_code=INSTALL_CODE, device_type="PPMID", **pen.stamp()
            ),
            within=15.0,
        )
        assert answer.ok
        listed = await ask(mailbox, HUB, lambda pen: DevicesRequest(**pen.stamp()), within=15.0)
        assert [each.device for each in listed.devices] == [str(PPMID)]


async def test_a_hub_is_found_by_its_state(tmp_path):
    async with running_hub(tmp_path) as (world, mailbox):
        asking = asyncio.create_task(
            ask(mailbox, None, lambda pen: DevicesRequest(**pen.stamp()), within=15.0)
        )
        await asyncio.sleep(1.0)
        world.hub._changed()
        assert (await asking).ok


async def test_without_a_hub_one_is_told_to_start_it(tmp_path):
    async with running_hub(tmp_path) as (world, mailbox):
        await world.stop()
        await asyncio.sleep(1.0)
        with pytest.raises(SurroundingsError, match="gbhan hub"):
            await ask(mailbox, None, lambda pen: DevicesRequest(**pen.stamp()), within=15.0)
        with pytest.raises(SurroundingsError, match="does not answer"):
            await ask(mailbox, HUB, lambda pen: DevicesRequest(**pen.stamp()), within=15.0)


async def test_with_several_hubs_one_must_be_named(tmp_path):
    async with running_hub(tmp_path) as (world, mailbox):
        asking = asyncio.create_task(
            ask(mailbox, None, lambda pen: DevicesRequest(**pen.stamp()), within=15.0)
        )
        await asyncio.sleep(1.0)
        for eui64 in (HUB, OTHER):
            state = HubState(online=True, eui64=str(eui64), **world.head_end.pen.stamp())
            await world.head_end.mailbox.publish(topic(eui64, "state"), encode(state))
            await asyncio.sleep(0)
        # Both states are read in one go, before the command looks at what it has seen.
        with contextlib.suppress(OurError):
            await asking


HUB_ON = ("hub", "--mqtt", "mqtt://127.0.0.1", "--radio")


@pytest.mark.parametrize(
    ("arguments", "status", "hint"),
    [
        (["hub"], 2, "--radio is missing"),
        (["hub", "--radio", "tcp://127.0.0.1:1"], 2, "--mqtt is missing"),
        (["hub", "--radio", "tcp://127.0.0.1:1", "--mqtt", "mqtt://127.0.0.1"], 2, "--state is missing"),
        (
            ["hub", "--radio", "x", "--mqtt", "mqtt://127.0.0.1", "--state", "S", "--adopt", "--reform"],
            2,
            "one of them",
        ),
        (["hub", "--radio", "x", "--mqtt", "http://127.0.0.1", "--state", "S"], 2, "mqtt://host:port"),
        (["hub", "--radio", "x", "--mqtt", "mqtt://10.0.0.7", "--state", "S"], 2, "not this machine"),
        ([*HUB_ON, "x", "--state", "S"], 2, "--lab-keys for simulated devices"),
        ([*HUB_ON, "x", "--state", "S", "--lab-keys", "--keys", "K"], 2, "give one of them"),
        ([*HUB_ON, "x", "--state", "S", "--keys", "nowhere"], 3, "no folder nowhere"),
        ([*HUB_ON, "x", "--state", "S", "--keys", "loose"], 3, "chmod 700 loose"),
        ([*HUB_ON, "nonsense", "--state", "S", "--lab-keys"], 2, "radio"),
        ([*HUB_ON, "/dev/ttyNone", "--state", "S", "--lab-keys"], 3, "ttyNone"),
        ([*HUB_ON, "/dev/ttyNone", "--state", "S", "--config", "L"], 3, "ttyNone"),
        ([*HUB_ON, "/dev/ttyNone", "--state", "S", "--config", "N"], 3, "ttyNone"),
        ([*HUB_ON, "x", "--state", "S", "--config", "B"], 2, "give one of them"),
        (["hub", "--config", "C"], 2, "C"),
        (["devices", "--mqtt", "mqtt://127.0.0.1:1"], 3, "nobody listens"),
        (["devices", "--hub", "17"], 2, "EUI-64"),
        (["remove", "17"], 2, "EUI-64"),
        (["remove", str(PPMID), "--mqtt", "mqtt://127.0.0.1:1"], 3, "nobody listens"),
        (["switch-key", "--hub", "17"], 2, "EUI-64"),
        (["switch-key", "--mqtt", "mqtt://127.0.0.1:1"], 3, "nobody listens"),
        (["join", "17", "00", "--type", "PPMID"], 2, "EUI-64"),
        (["join", str(PPMID), "--type", "PPMID"], 2, "install code is missing"),
        (["join", str(PPMID), "0011", "--type", "PPMID"], 2, "install code has"),
        (["join", str(PPMID), INSTALL_CODE, "--type", "TOASTER"], 2, "TOASTER"),
        (
            ["join", str(PPMID), INSTALL_CODE, "--type", "PPMID", "--mqtt", "mqtt://127.0.0.1:1"],
            3,
            "mosquitto",
        ),
    ],
)
def test_wrong_usage_and_missing_surroundings_are_named(tmp_path, monkeypatch, arguments, status, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C").write_text("radio = 7\n")
    (tmp_path / "L").write_text("lab_keys = true\n")
    (tmp_path / "B").write_text('lab_keys = true\nkeys = "K"\n')
    (tmp_path / "N").write_text("[security]\nrequire_key_establishment = false\n")
    (tmp_path / "loose").mkdir(mode=0o755)
    result = gbhan(*arguments)
    assert result.exit_code == status, result.output
    assert hint in result.output
    assert "Traceback" not in result.output
    assert INSTALL_CODE not in result.output


@pytest.mark.parametrize("command", ["hub", "join", "remove", "switch-key", "devices"])
def test_each_command_has_help_with_an_example(command):
    result = gbhan(command, "--help")
    assert result.exit_code == 0
    assert f"Example: gbhan {command}" in result.output


# The state directory.


def test_a_state_directory_is_for_one_hub_at_a_time(tmp_path):
    with held_alone(tmp_path / "state"), pytest.raises(SurroundingsError, match=r"in use by process \d+"):
        held_alone(tmp_path / "state").__enter__()
    with held_alone(tmp_path / "state"):
        pass


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="cannot be used"):
        held_alone(tmp_path / "file" / "state").__enter__()


# The configuration file.


def test_an_empty_file_gives_the_defaults(tmp_path):
    (tmp_path / "c.toml").write_text("")
    settings = Config.read(tmp_path / "c.toml").settings()
    assert settings.slot.retention == 14 * 86_400
    assert settings.server.preempted_answer is Status.ABORT


def test_what_the_file_says_is_what_the_hub_does(tmp_path):
    (tmp_path / "c.toml").write_text(
        """
        progress_every = 1.5
        [slot]
        retention_days = 20
        equal_priority = "latest"
        [ota]
        preempted_answer = "no-image"
        block_ceiling = 48
        acknowledged_blocks = false
        [[ota.devices]]
        eui64 = "00-DB-12-34-56-78-90-A4"
        minimum_block_period = 0.5
        block_period_unit = "s"
        [[ota.devices]]
        eui64 = "00:db:12:34:56:78:90:a5"
        block_ceiling = 40
        [network]
        channel = 25
        [mqtt]
        url = "mqtt://127.0.0.1:1999"
        """
    )
    config = Config.read(tmp_path / "c.toml")
    settings = config.settings()
    assert (settings.slot.retention, settings.progress_every) == (20 * 86_400, 1.5)
    assert isinstance(settings.slot.equal_priority, LatestWins)
    assert settings.server.preempted_answer is Status.NO_IMAGE_AVAILABLE
    assert (settings.server.block_ceiling, config.network.channel) == (48, 25)
    assert settings.server.acknowledged_blocks is False
    assert settings.terms == {
        PPMID: Terms(minimum_block_period=0.5, block_period_unit="s"),
        Eui64.parse("00-DB-12-34-56-78-90-A5"): Terms(block_ceiling=40),
    }
    assert config.mqtt.url == "mqtt://127.0.0.1:1999"


@pytest.mark.parametrize(
    ("said", "octets"), [("'750 KB'", 750_000), ("'750 KiB'", 768_000), ("750_000", 750_000), ("69", 69)]
)
def test_a_kilobyte_is_what_the_file_says_it_is(tmp_path, said, octets):
    (tmp_path / "c.toml").write_text(f"[slot]\ncapacity = {said}")
    assert Config.read(tmp_path / "c.toml").settings().slot.capacity == octets


def test_the_withdrawn_policy_can_be_had(tmp_path):
    (tmp_path / "c.toml").write_text("[slot]\nretention_policy = 'withdrawn'")
    slot = Config.read(tmp_path / "c.toml").settings().slot
    assert (slot.retention, slot.then_in_memory) == (7 * 86_400, True)
    assert not Config().settings().slot.then_in_memory


def test_a_retention_below_two_weeks_has_to_be_said_in_words(tmp_path):
    (tmp_path / "c.toml").write_text("[slot]\nretention_days = 7\nshorter_retention = 'against SECMP0007'")
    assert Config.read(tmp_path / "c.toml").settings().slot.retention == 7 * 86_400


def test_whatever_a_server_may_do_differently_can_be_written():
    known = set(OtaSection.__struct_fields__) - {"devices", "band", "times"}
    assert known == {each.name for each in dataclasses.fields(ServerSettings)} - {"phy", "utc"}
    assert OtaSection().settings() == ServerSettings()


def test_a_duty_cycle_is_counted_for_the_band_of_the_radio(tmp_path):
    (tmp_path / "c.toml").write_text(
        """
        [ota]
        band = "sub-ghz"
        air_time_per_hour = 54
        downloads_at_once = 2
        times = "utc"
        """
    )
    settings = Config.read(tmp_path / "c.toml").settings()
    assert (settings.server.phy, settings.server.air_time_per_hour) == (FSK_SUB_GHZ, 54.0)
    assert (settings.server.downloads_at_once, settings.tells_utc) == (2, True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("radio = 7", "radio"),
        ("colour = 'red'", "colour"),
        ("[slot]\nretention_days = -1", "retention_days"),
        ("[slot]\nretention_days = 13.9", "against SECMP0007"),
        ("[slot]\nretention_days = 7\nshorter_retention = 'yes'", "against SECMP0007"),
        ("[slot]\ncapacity = '750 kilobytes'", "capacity"),
        ("[slot]\ncapacity = '0 KB'", "capacity"),
        ("[slot]\ncapacity = 68", "capacity"),
        ("[slot]\ndelete_when = 'at once'", "delete_when"),
        ("[slot]\nforce_replace = true", "force_replace"),
        ("[ota]\npreempted_answer = 'maybe'", "preempted_answer"),
        ("[network]\nchannel = 9", "channel"),
        ("[ota]\npause_wait = 0", "pause_wait"),
        ("[ota]\nair_time_per_hour = 0", "air_time_per_hour"),
        ("[ota]\ndownloads_at_once = 0", "downloads_at_once"),
        ("[ota]\nnotify_type = 4", "notify_type"),
        ("[ota]\nnotify_jitter = 0", "notify_jitter"),
        ("[ota]\nband = 'long wave'", "band"),
        ("[[ota.devices]]\nblock_ceiling = 40", "eui64"),
        ("[[ota.devices]]\neui64 = 'upstairs'", "eui64"),
        ("[[ota.devices]]\neui64 = '00-DB-12-34-56-78-90-A4'\nblock_ceiling = 66", "block_ceiling"),
        ("[[ota.devices]]\neui64 = '00-DB-12-34-56-78-90-A4'\ncolour = 'red'", "colour"),
        (2 * "[[ota.devices]]\neui64 = '00-DB-12-34-56-78-90-A4'\n", "twice"),
        ("[ota", "c.toml"),
        ("\x00", "c.toml"),
        ("radio = " + 5000 * "[", "c.toml"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, text, named):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=named):
        Config.read(tmp_path / "c.toml").settings()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        Config.read(tmp_path / "nothing.toml")


def test_a_hub_is_named_by_its_address():
    assert str(HUB) == "00-DB-12-34-56-78-90-A2"
    assert Eui64.parse(str(HUB)) == HUB
