"""zigpy with bellows, both as they are, runs a network on the virtual dongle and updates a device.

Nothing of the hub is here: the application, the interview and the OTA server are zigpy's own. The device
speaks Home Automation, as zigpy passes no other profile on.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zigpy.config
import zigpy.device
import zigpy.types
import zigpy.util
from bellows.zigbee.application import ControllerApplication
from herdsman_world import HOME
from zigpy.ota import OtaImageWithMetadata
from zigpy.ota.image import OTAImage
from zigpy.ota.providers import BaseOtaImageMetadata
from zigpy.zcl import ClusterType, foundation

from han.facts import Fact
from han.sim.address import read_address
from han.sim.air.capture import KeyFile, read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from han.sim.dongle.houses import forget_house, register_house
from han.sim.house import House, build_house
from ota.gbcs_image import GbcsImage
from ota.image import Header

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("rebound")]

VERSIONS = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19)
"""Every EZSP version on which bellows can hand over the key of an install code."""
OLD, NEW = 0x00010000, 0x00020000
DONGLE = "zigpy"
PATIENCE = 600.0
"""Virtual seconds for any one thing to happen."""

BODY = bytes(range(256)) * 24
ELEMENT = struct.pack("<HI", 0x0000, len(BODY)) + BODY
"""An Upgrade Image sub-element. Files for GB devices have none, but zigpy reads no file without."""
IMAGE = GbcsImage.build(
    Header(manufacturer=0x121D, image_type=0x0084, file_version=NEW, total_size=0), ELEMENT
).to_bytes()


class Watcher:
    """A listener of zigpy's, and one of the house's facts."""

    def __init__(self, house: House) -> None:
        self.facts: list[Fact] = []
        self.initialised = asyncio.Event()
        self._news = asyncio.Event()
        house.facts.subscribe(self._take)

    def device_initialized(self, _device: zigpy.device.BaseDevice) -> None:
        self.initialised.set()

    def count(self, what: str) -> int:
        return sum(fact.what == what for fact in self.facts)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    def _take(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._news.set()


class Run:
    """The house, the host on its dongle, and what can be seen of them."""

    def __init__(self, house: House, app: ControllerApplication, watcher: Watcher) -> None:
        self.house = house
        self.app = app
        self.watcher = watcher
        self.described = house.home.devices[0]

    @property
    def device(self) -> zigpy.device.ZigbeeDevice:
        return self.app.get_device(zigpy.types.EUI64.deserialize(self.described.eui64.wire)[0])

    async def let_in(self, code: bytes) -> None:
        """Open the network for the device of the house, as zigpy does it with an install code."""
        ieee = zigpy.types.EUI64.deserialize(self.described.eui64.wire)[0]
        await self.app.permit_with_link_key(ieee, zigpy.util.convert_install_code(code), time_s=254)

    async def running_version(self) -> int:
        """What the device says of itself, asked over the air."""
        cluster = self.device.find_cluster(cluster_id=0x0019, cluster_type=ClusterType.Client)
        read, failed = await cluster.read_attributes(["current_file_version"])
        assert not failed
        return int(read["current_file_version"])


@asynccontextmanager
async def run(tmp_path: Path, settings: str) -> AsyncIterator[Run]:
    loop = asyncio.get_running_loop()
    house = build_house(read_address(f"sim://{HOME}?{settings}"), loop)
    watcher = Watcher(house)
    register_house(DONGLE, house)
    with (tmp_path / "air.pcap").open("wb") as capture, KeyFile(tmp_path / "air.keys") as keys:
        house.capture(capture)
        house.write_keys(keys)
        house.power_on()
        config = {
            zigpy.config.CONF_DEVICE: {zigpy.config.CONF_DEVICE_PATH: f"sim://{DONGLE}"},
            "use_thread": False,
            zigpy.config.CONF_NWK: {zigpy.config.CONF_NWK_CHANNEL: 15},
            zigpy.config.CONF_OTA: {zigpy.config.CONF_OTA_ENABLED: False},  # its providers ask the internet
            zigpy.config.CONF_TOPO_SCAN_ENABLED: False,
            zigpy.config.CONF_NWK_BACKUP_ENABLED: False,
        }
        # Forming resets the dongle, which bellows does not tell its endpoints again: form first, then begin.
        former = await ControllerApplication.new(config, auto_form=True, start_radio=True)
        await former.shutdown()
        app = await ControllerApplication.new(config, auto_form=False, start_radio=True)
        app.add_listener(watcher)
        try:
            yield Run(house, app, watcher)
        finally:
            await app.shutdown()
            house.stop()
            forget_house(DONGLE)


@pytest.mark.parametrize("version", VERSIONS)
async def test_zigpy_lets_a_device_in_interviews_it_and_updates_it(version, tmp_path, tshark):
    async with run(tmp_path, f"seed=4&ezsp={version}") as world:
        await world.let_in(bytes(world.described.install_code))
        async with asyncio.timeout(PATIENCE):
            await world.watcher.initialised.wait()
        assert (world.device.manufacturer, world.device.model) == ("gbhan", "PPMID")
        assert world.device.endpoints[1].profile_id == 0x0104
        assert await world.running_version() == OLD

        about = BaseOtaImageMetadata(file_version=NEW, manufacturer_id=0x121D, image_type=0x0084)
        image = OtaImageWithMetadata(metadata=about, firmware=OTAImage.deserialize(IMAGE)[0])
        assert await world.device.update_firmware(image) is foundation.Status.SUCCESS
        await world.watcher.until(lambda: world.watcher.count("device.attached") == 2)
        assert await world.running_version() == NEW

    facts = world.watcher.facts
    (complete,) = [fact for fact in facts if fact.what == "ota.complete"]
    assert complete.image == hashlib.sha256(IMAGE).hexdigest()
    assert world.watcher.count("join.authorised") == 1
    capture, keys = tmp_path / "air.pcap", tmp_path / "air.keys"
    assert tshark.faults(capture, keys) == []
    with capture.open("rb") as frames:
        rebuilt = rebuild_images(read_pcap(frames), [key for key, _ in read_keys(keys)])
    assert list(rebuilt.values()) == [IMAGE]


async def test_on_version_4_bellows_hands_no_install_code_over_and_the_device_stays_outside(tmp_path):
    async with run(tmp_path, "seed=4&ezsp=4") as world:
        await world.let_in(bytes(world.described.install_code))
        await world.watcher.until(lambda: world.watcher.count("device.join-failed") >= 5)

        assert world.watcher.count("join.authorised") == 0


async def test_zigpy_leaves_a_device_outside_whose_install_code_is_another(tmp_path):
    async with run(tmp_path, "seed=4") as world:
        await world.let_in(bytes.fromhex("83fed3407a939723a5c639b26916d505c3b5"))
        await world.watcher.until(lambda: world.watcher.count("device.join-failed") >= 5)

        assert world.watcher.count("join.authorised") == 0
        assert not world.watcher.initialised.is_set()
