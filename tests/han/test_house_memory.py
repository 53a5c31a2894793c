"""What the radios of a house remember goes into a private file, and a house built from it goes on."""

from __future__ import annotations

import dataclasses
import json

import pytest
from house_world import World, image_for

from han.errors import OurError, SurroundingsError
from han.sim.devices.memory import Memory
from han.sim.dongle.flash import Flash, FormedNetwork, SecuritySettings
from han.sim.home import Home, read_home
from han.sim.house import House
from han.sim.house_memory import DongleMemory, HouseMemory, MemoryFile
from han.sim.node.store import LinkKey, NodeStore
from ota.client import StoredDownload
from ota.eui64 import Eui64
from ota.image import ImageKey

NEW = 0x00020000
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
KEY = bytes(range(16))


def full_memory() -> HouseMemory:
    """One in which nothing is as in a fresh house."""
    store = NodeStore()
    store.link_keys[PPMID] = LinkKey(KEY, 5)
    store.link_counter.set(4096)
    flash = Flash()
    flash.network = FormedNetwork(tx_power=-3, join_method=1, manager=7, channels=0x07FFF800)
    flash.security = SecuritySettings(0x0B44, PPMID, KEY, bytes(16), 2)
    flash.link_keys[3] = PPMID
    flash.boots = 9
    device = Memory(
        node=NodeStore(),
        file_version=NEW,
        established_key=KEY,
        download=StoredDownload(ImageKey(0x121D, 0x0084, NEW), 4000, b"so far"),
        aside=(StoredDownload(ImageKey(0x121D, 0x0085, 3), 5, b"whole"),),
        part_versions={0x0085: 3},
        stack_version=3,
        image_stamp=0xCAFE,
        command=b"command",
        answer=b"answer",
        originator_counter=12,
        unsent=(b"one", b"two"),
    )
    return HouseMemory(DongleMemory(store, flash), {"ppmid": device})


def test_a_memory_comes_back_from_json_as_it_was():
    written = full_memory().to_dict()

    assert HouseMemory.from_dict(json.loads(json.dumps(written))).to_dict() == written


@pytest.mark.parametrize("kind", [Memory, FormedNetwork, SecuritySettings])
def test_nothing_that_is_remembered_is_left_out(kind):
    memory = full_memory().to_dict()
    flash = memory["dongle"]["flash"]
    written = {
        Memory: memory["devices"]["ppmid"],
        FormedNetwork: flash["network"],
        SecuritySettings: flash["security"],
    }

    assert set(written[kind]) == {field.name for field in dataclasses.fields(kind)}


@pytest.fixture
def home() -> Home:
    return read_home("ppmid")


def test_a_file_gives_back_what_was_kept_and_is_for_its_owner_alone(tmp_path, home):
    path = tmp_path / "state" / "house.json"
    MemoryFile(path, home).keep(full_memory())

    assert MemoryFile(path, home).read().to_dict() == full_memory().to_dict()
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_remembered(tmp_path, home):
    assert MemoryFile(tmp_path / "house.json", home).read().to_dict() == HouseMemory().to_dict()


def test_a_memory_that_is_as_it_was_is_not_written_again(tmp_path, home):
    path = tmp_path / "house.json"
    file = MemoryFile(path, home)
    file.keep(full_memory())
    path.unlink()

    file.keep(full_memory())

    assert not path.exists()


def test_a_file_that_others_may_read_is_refused(tmp_path, home):
    path = tmp_path / "house.json"
    MemoryFile(path, home).keep(full_memory())
    path.chmod(0o640)

    with pytest.raises(SurroundingsError, match="chmod 600"):
        MemoryFile(path, home).read()


def test_the_memory_of_other_radios_is_refused(tmp_path, home):
    path = tmp_path / "house.json"
    MemoryFile(path, home).keep(full_memory())

    with pytest.raises(OurError, match="other radios"):
        MemoryFile(path, read_home("demo")).read()


def _without(*path: str) -> str:
    """A kept memory in which one entry is missing."""
    data = {"format": 1, "radios": {}, **full_memory().to_dict()}
    place = data
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return json.dumps(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 1}',
        100_000 * "[",
        _without("dongle"),
        _without("format"),
        _without("radios"),
        _without("dongle", "flash", "boots"),
        _without("dongle", "flash", "security", "network_key"),
        _without("devices", "ppmid", "node"),
        json.dumps({"format": 1, "radios": {}, **full_memory().to_dict()}).replace(KEY.hex(), "no key"),
    ],
)
def test_a_file_that_is_no_memory_is_refused_and_its_words_are_not_repeated(tmp_path, home, text):
    path = tmp_path / "house.json"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(OurError, match="no memory of a house") as caught:
        MemoryFile(path, home).read()
    assert "no key" not in str(caught.value)


def test_a_file_of_another_format_is_refused(tmp_path, home):
    path = tmp_path / "house.json"
    MemoryFile(path, home).keep(full_memory())
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))

    with pytest.raises(OurError, match="format 2"):
        MemoryFile(path, home).read()


def test_a_house_goes_on_where_its_power_failed(tmp_path, home):
    """Nobody joins again, and the download goes on where it stood."""
    keeper = MemoryFile(tmp_path / "house.json", home)
    first = World(home)
    first.move_in()
    data = image_for(first, "ppmid", size=20_000)
    first.hub.offer(data, "ppmid")
    first.run_until("ota.block", "ppmid", count=50)
    keeper.keep(first.house.remember())

    second = World(
        home,
        memory=MemoryFile(tmp_path / "house.json", home).read(),
        hub_store=NodeStore.from_dict(first.hub.node.store.to_dict()),
    )
    assert second.hub.node.resume()
    second.house.power_on()
    second.run_until("device.attached", "ppmid", within=60.0)
    second.hub.offer(data, "ppmid")
    second.run_until("device.activated", "ppmid")

    stored = sum(block.size for block in first.said("ota.block", "ppmid"))
    assert second.said("ota.block", "ppmid")[0].offset == stored
    assert second["ppmid"].file_version == NEW
    assert not second.said("join.associated")


def test_what_must_survive_is_told_before_the_counter_is_used(home):
    """Every frame counter that was used lies below the limit in what was kept last."""
    house = House(home)
    kept: list[int] = []
    counter = house.memory.dongle.store.network_counter
    house.on_memory = lambda: kept.append(house.remember().to_dict()["dongle"]["store"]["network_counter"])

    used = [counter.take() for _ in range(3000)]

    assert len(kept) >= 2
    assert used[-1] < kept[-1]
