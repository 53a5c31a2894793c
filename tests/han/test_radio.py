"""From a URL to a running network: what is opened, formed, resumed, adopted, replaced and refused."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
from dataclasses import dataclass, field

import pytest
from bellows.ash import NcpFailure
from bellows.exception import EzspError
from dongle_house import DONGLE, NAME, NETWORK, DongleHouse, registered, settings

import han.sim  # noqa: F401 - registers sim://
from han.errors import OurError, SurroundingsError
from han.facts import Facts
from han.network_memory import KnownNetwork, Network, NetworkMemory, Step, next_step
from han.radio import NetworkSettings, RadioSettings, RadioUrl, holders, open_radio, probe
from han.stack import Message
from ota.eui64 import Eui64

OURS = Network(DONGLE, Eui64(0x00DB123456789000), 0x1A2B, 15)
OTHERS = Network(DONGLE, Eui64(0x1122334455667788), 0x4444, 20)
KNOWN = KnownNetwork(DONGLE, OURS.extended_pan_id, is_formed=True)
BEGUN = KnownNetwork(DONGLE, OURS.extended_pan_id, is_formed=False)


@dataclass
class Deaf:
    """A listener that only notes that the radio was lost."""

    lost_because: list[str] = field(default_factory=list)

    def message(self, message: Message) -> None:
        """Ignore it."""

    def stray(self, sender: int, why: str) -> None:
        """Ignore it."""

    def keyed(self, nwk: int, eui64: Eui64) -> None:
        """Ignore it."""

    def announced(self, nwk: int, eui64: Eui64) -> None:
        """Ignore it."""

    def left(self, eui64: Eui64) -> None:
        """Ignore it."""

    def denied(self, eui64: Eui64) -> None:
        """Ignore it."""

    def lost(self, why: str) -> None:
        """Note it."""
        self.lost_because.append(why)


class Known(NetworkMemory):
    """Remembers our network from the beginning."""

    def __init__(self) -> None:
        super().__init__(None)
        self.note(KNOWN)


@pytest.fixture
def house(rebound):
    """A house on the test's loop, made when the test asks for it."""
    return DongleHouse


async def opened(house: DongleHouse, **changes: object):
    """A stack on the house's dongle."""
    return await open_radio(settings(**changes), NETWORK, Deaf(), facts=house.facts)


# URLs


@pytest.mark.parametrize(
    ("url", "path", "baudrate", "flow"),
    [
        ("/dev/ttyUSB0", "/dev/ttyUSB0", None, "software"),
        ("/dev/ttyUSB0?baud=460800&flow=hardware", "/dev/ttyUSB0", 460800, "hardware"),
        ("/dev/serial/by-id/usb-x_y-if00?flow=software", "/dev/serial/by-id/usb-x_y-if00", None, "software"),
        ("tcp://127.0.0.1:6638", "tcp://127.0.0.1:6638", None, None),
        ("socket://dongle.local:6638", "socket://dongle.local:6638", None, None),
        ("sim://demo?seed=7&loss=0.02", "sim://demo?seed=7&loss=0.02", None, None),
    ],
)
def test_a_radio_url_says_where_and_how(url, path, baudrate, flow):
    assert RadioUrl.parse(url) == RadioUrl(path, baudrate, flow)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "expected a port"),
        ("ttyUSB0", "expected a port"),
        ("http://example.org", "expected a port"),
        ("tcp://localhost", "tcp://HOST:PORT"),
        ("tcp://localhost:port", "tcp://HOST:PORT"),
        ("tcp://:6638", "tcp://HOST:PORT"),
        ("/dev/ttyUSB0?speed=1", "not speed"),
        ("/dev/ttyUSB0?baud=fast", "baud is a number"),
        ("/dev/ttyUSB0?baud=", "baud is a number"),
        ("/dev/ttyUSB0?baud=0", "baud is a number"),
        ("/dev/ttyUSB0?flow=maybe", "flow is software or hardware"),
    ],
)
def test_a_url_that_is_no_radio_is_refused_by_name(url, complaint):
    with pytest.raises(OurError, match=complaint):
        RadioUrl.parse(url)


async def test_a_scheme_that_nobody_serves_is_our_mistake(monkeypatch):
    from serialx import common  # noqa: PLC0415

    monkeypatch.delitem(common._REGISTERED_URI_HANDLERS, "sim://")

    with pytest.raises(OurError, match="nothing in this program serves"):
        await open_radio(RadioSettings("sim://demo"), NETWORK, Deaf(), facts=Facts(lambda: 0.0))


# Whose network


@pytest.mark.parametrize(
    ("found", "known", "adopt", "reform", "step"),
    [
        (None, None, False, False, Step.FORM),
        (None, None, True, False, Step.FORM),
        (None, BEGUN, False, False, Step.FORM),
        (None, KNOWN, False, False, Step.REFUSE),
        (None, KNOWN, True, False, Step.REFUSE),
        (None, KNOWN, False, True, Step.FORM),
        (OURS, KNOWN, False, False, Step.RESUME),
        (OURS, KNOWN, True, False, Step.RESUME),
        (OURS, BEGUN, False, False, Step.RESUME),
        (OURS, KNOWN, False, True, Step.REPLACE),
        (OURS, None, False, False, Step.REFUSE),
        (OURS, None, True, False, Step.ADOPT),
        (OTHERS, KNOWN, False, False, Step.REFUSE),
        (OTHERS, KNOWN, True, False, Step.ADOPT),
        (OTHERS, KNOWN, False, True, Step.REPLACE),
    ],
)
def test_a_network_is_touched_only_if_it_is_ours_or_the_user_says_so(found, known, adopt, reform, step):
    decided, why = next_step(found, known, adopt=adopt, reform=reform)

    assert decided is step
    assert bool(why) == (step is Step.REFUSE)


def test_the_note_on_the_network_survives_a_restart(tmp_path):
    NetworkMemory(tmp_path / "state").note(KNOWN)

    assert NetworkMemory(tmp_path / "state").recall() == KNOWN


def test_without_a_directory_the_note_lasts_as_long_as_the_hub():
    memory = NetworkMemory(None)
    memory.note(KNOWN)

    assert memory.recall() == KNOWN
    assert NetworkMemory(None).recall() is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"eui64": 1}', '{"eui64": "x", "extended_pan_id": ""}']
)
def test_a_spoilt_note_is_refused_and_says_what_to_do(tmp_path, text):
    (tmp_path / "network.json").write_text(text)

    with pytest.raises(SurroundingsError, match="remove it"):
        NetworkMemory(tmp_path).recall()


# Opening


@pytest.mark.parametrize("ezsp", [13, 17])
async def test_an_empty_dongle_gets_the_network_that_was_asked_for(house, tmp_path, ezsp):
    with registered(house(ezsp=ezsp)) as home:
        stack = await opened(home, state=tmp_path)

        assert await stack.network() == OURS
        assert home.node.endpoints[1].profile == 0x0109
        assert home.node.endpoints[1].input_clusters == (0x0000, 0x000A, 0x0019, 0x0025, 0x0704, 0x0800)
        assert home.node.endpoints[1].output_clusters == (0x0702, 0x0800)
        await stack.shutdown()


async def test_a_network_left_open_is_drawn_from_the_given_entropy(house):
    networks = []
    for _ in range(2):
        with registered(house()) as home:
            stack = await open_radio(settings(), NetworkSettings(channel=11), Deaf(), facts=home.facts)
            networks.append(await stack.network())
            await stack.shutdown()

    assert networks[0] == networks[1]
    assert networks[0].extended_pan_id not in (0, OURS.extended_pan_id)


async def test_joining_is_never_opened_at_start_nor_is_the_well_known_key_imported(house):
    imported = []

    class Watched(dict):
        def __setitem__(self, eui64, key):
            imported.append(eui64)
            super().__setitem__(eui64, key)

    with registered(house()) as home, home.facts.recorded() as facts:
        home.node.trust.transient = Watched()
        stack = await opened(home)
        await stack.shutdown()

    assert imported == []
    assert [fact.seconds for fact in facts if fact.what == "join.permitted" and fact.seconds] == []


async def test_a_dongle_that_bellows_had_to_repair_and_reset_knows_its_endpoints(house, monkeypatch):
    async def repaired(_ezsp):
        return True

    with registered(house()) as home:
        await (await opened(home)).shutdown()
        monkeypatch.setattr("bellows.zigbee.repairs.fix_invalid_tclk_partner_ieee", repaired)
        with home.facts.recorded() as facts:
            stack = await open_radio(settings(state=None), NETWORK, Deaf(), facts=home.facts, memory=Known())
        assert [number for number in home.node.endpoints if number] == [1]
        assert "network.resumed" in [fact.what for fact in facts]
        await stack.shutdown()


async def test_joining_opens_for_nobody_in_particular(house):
    with registered(house()) as home:
        stack = await opened(home)
        with pytest.raises(OurError, match="named device"):
            await stack.permit(60)
        await stack.shutdown()


async def test_a_hub_that_comes_back_resumes_its_network(house, tmp_path):
    with registered(house()) as home:
        for how in ("network.formed", "network.resumed"):
            with home.facts.recorded() as facts:
                stack = await opened(home, state=tmp_path)
                await stack.shutdown()
            assert how in [fact.what for fact in facts]


async def test_a_power_cut_while_forming_leaves_a_network_that_is_still_ours(house, tmp_path):
    with registered(house()) as home:
        await (await opened(home, state=tmp_path)).shutdown()
        NetworkMemory(tmp_path).note(BEGUN)

        await (await opened(home, state=tmp_path)).shutdown()

    assert NetworkMemory(tmp_path).recall() == KNOWN  # or another dongle would be formed unasked


async def test_somebody_elses_network_is_backed_up_and_refused(house, tmp_path):
    with registered(house()) as home:
        await (await opened(home)).shutdown()
        with pytest.raises(SurroundingsError, match=r"--adopt.*--reform"):
            await opened(home, state=tmp_path)

    (backup,) = tmp_path.glob("network-*.json")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    content = json.loads(backup.read_text())
    assert content["extended_pan_id"] == OURS.extended_pan_id.hex
    assert content["network_key"]["key"] == NETWORK.network_key.hex()


async def test_adopting_takes_the_network_over_as_it_is(house, tmp_path):
    with registered(house()) as home:
        await (await opened(home)).shutdown()
        stack = await opened(home, state=tmp_path, adopt=True)
        assert await stack.network() == OURS
        await stack.shutdown()

        await (await opened(home, state=tmp_path)).shutdown()  # it is ours now
        assert len(list(tmp_path.glob("network-*.json"))) == 1


async def test_reforming_backs_up_and_replaces(house, tmp_path):
    with registered(house()) as home:
        await (await opened(home)).shutdown()
        stack = await open_radio(
            settings(state=tmp_path, reform=True),
            NetworkSettings(channel=20, pan_id=0x4444, extended_pan_id=OTHERS.extended_pan_id),
            Deaf(),
            facts=home.facts,
        )

        assert await stack.network() == OTHERS
        assert len(list(tmp_path.glob("network-*.json"))) == 1
        await stack.shutdown()


@pytest.mark.parametrize("leave", [{"adopt": True}, {"reform": True}])
async def test_without_a_place_for_the_backup_a_network_is_left_as_it_is(house, leave):
    with registered(house()) as home:
        await (await opened(home)).shutdown()
        with pytest.raises(OurError, match="backup"):
            await opened(home, **leave)

        assert (await probe(f"sim://{NAME}")).network == OURS


async def test_a_dongle_that_is_a_router_of_somebody_elses_network_is_left_in_it(
    house, tmp_path, monkeypatch
):
    with registered(house()) as home:
        await (await opened(home)).shutdown()
        monkeypatch.setattr("han.sim.dongle.network.COORDINATOR", 2)  # what it reports: EMBER_ROUTER
        for leave in ({}, {"adopt": True}, {"reform": True}):
            with pytest.raises(SurroundingsError, match="another coordinator"):
                await opened(home, state=tmp_path, **leave)

        monkeypatch.undo()
        assert (await probe(f"sim://{NAME}")).network == OURS


async def test_a_dongle_that_was_exchanged_is_refused(house, tmp_path):
    with registered(house()) as home:
        await (await opened(home, state=tmp_path)).shutdown()
    with registered(house()) as home:
        with pytest.raises(SurroundingsError, match="reset or exchanged"):
            await opened(home, state=tmp_path)

        await (await opened(home, state=tmp_path, reform=True)).shutdown()


@pytest.mark.parametrize(
    ("network", "complaint"),
    [(NetworkSettings(channel=10), "channel"), (NetworkSettings(channel=11, pan_id=0xFFFF), "PAN id")],
)
async def test_a_network_that_cannot_be_is_refused(house, network, complaint):
    with registered(house()) as home, pytest.raises(OurError, match=complaint):
        await open_radio(settings(), network, Deaf(), facts=home.facts)


async def test_no_key_shows_in_the_settings():
    assert NETWORK.network_key.hex() not in repr(NETWORK)
    assert str(NETWORK.network_key) not in repr(NETWORK)


async def test_a_dongle_that_goes_away_is_told_once(house):
    with registered(house()) as home:
        listener = Deaf()
        stack = await open_radio(settings(), NETWORK, listener, facts=home.facts)
        home.dongle.crash()
        home.pump.wake()
        with pytest.raises((EzspError, NcpFailure)):
            await stack.own_eui64()
        await stack.shutdown()

    assert len(listener.lost_because) == 1


async def test_closing_it_ourselves_is_no_loss(house):
    with registered(house()) as home:
        listener = Deaf()
        stack = await open_radio(settings(), NETWORK, listener, facts=home.facts)
        await stack.shutdown()

    assert listener.lost_because == []


# Surroundings


async def test_a_port_that_is_missing_is_named():
    with pytest.raises(SurroundingsError, match="/dev/no-such-port does not exist"):
        await probe("/dev/no-such-port")


async def test_a_refused_connection_says_so():
    with pytest.raises(SurroundingsError, match="cannot be opened"):
        await probe("tcp://127.0.0.1:1")


@pytest.mark.parametrize("said_before", [b"", bytes.fromhex("1ac1020b0a527e")])
async def test_a_port_that_is_taken_away_while_we_start_says_who_may_have_it(said_before):
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said_before:
            await reader.read(100)
        writer.write(said_before)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SurroundingsError, match="Another program may have it"):
            await probe(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["sim://", "sim://no-such-home", "sim://demo?loss=much"])
async def test_a_house_that_cannot_be_is_bad_input(url):
    with pytest.raises(OurError, match="radio 'sim:"):
        await probe(url)


@pytest.fixture
def terminal():
    """A pseudo-terminal at whose other end nobody answers."""
    ours, theirs = os.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


async def test_a_silent_port_is_reported_after_the_usual_attempts(terminal):
    with pytest.raises(SurroundingsError, match="nothing answers"):
        await probe(f"{terminal}?baud=115200")


async def test_a_busy_port_is_reported(terminal):
    other = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)

    with pytest.raises(SurroundingsError, match="is held by"):
        await probe(terminal)
    os.close(other)


def test_the_holder_of_a_port_is_named(tmp_path):
    port = tmp_path / "ttyUSB0"
    port.touch()
    by_id = tmp_path / "by-id"
    by_id.symlink_to(port)
    for pid, name, target in ((4711, "zigbee2mqtt", port), (4712, "innocent", tmp_path / "log")):
        process = tmp_path / "proc" / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "comm").write_text(f"{name}\n")
        (process / "fd" / "7").symlink_to(target)
    (tmp_path / "proc" / "meminfo").touch()

    assert holders(str(by_id), tmp_path / "proc") == ["zigbee2mqtt (process 4711)"]


def test_where_there_is_no_proc_nobody_is_named(tmp_path):
    assert holders("/dev/ttyUSB0", tmp_path / "proc") == []


# Probing


@pytest.mark.parametrize("ezsp", [13, 17])
async def test_probing_tells_what_is_there(house, ezsp):
    with registered(house(ezsp=ezsp)) as home:
        empty = await probe(f"sim://{NAME}")
        await (await opened(home)).shutdown()
        formed = await probe(f"sim://{NAME}")

    assert (empty.ezsp_version, empty.eui64, empty.network) == (ezsp, DONGLE, None)
    assert formed.network == OURS
    assert formed.is_usable
    assert formed.firmware


async def test_probing_changes_nothing(house, tmp_path):
    with registered(house()) as home:
        await (await opened(home, state=tmp_path)).shutdown()
        await probe(f"sim://{NAME}")

        stack = await opened(home, state=tmp_path)
        assert await stack.network() == OURS
        await stack.shutdown()


async def test_stub_clusters_are_named_beside_the_hubs_own(house):
    with registered(house()) as home:
        stack = await open_radio(
            settings(further_clusters=(0x0705, 0x0700)), NETWORK, Deaf(), facts=home.facts
        )
        await stack.shutdown()

    named = home.node.endpoints[1].input_clusters
    assert {0x0700, 0x0705, 0x0019, 0x0800} <= set(named)
    assert list(named) == sorted(named)
