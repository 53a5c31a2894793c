"""Unmodified bellows and zigpy on the virtual dongle, through every door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import zigpy.config
import zigpy.types
from bellows.zigbee.application import ControllerApplication
from dongle_world import LINK_KEY, PPMID, SE_PROFILE, Desk
from zigpy.exceptions import DeliveryError
from zigpy.zdo.types import SimpleDescriptor

from han.sim.air.pump import Pump
from han.sim.dongle.ash_frames import ResetCode
from han.sim.dongle.houses import forget_house, register_house
from han.sim.dongle.personality import Personality, plain
from han.sim.dongle.pty import PtyDoor
from han.sim.dongle.tcp import TcpDoor
from han.sim.node.node import Node
from han.sim.node.service import JoinResult, Received, SendRequest
from han.sim.node.service import SimpleDescriptor as DeviceDescriptor

METERING_TUNNEL = 0x0704
"""A cluster in which zigpy has nothing to say of its own."""

pytestmark = pytest.mark.usefixtures("rebound")

SE_ENDPOINT = SimpleDescriptor(
    endpoint=10,
    profile=SE_PROFILE,
    device_type=0x0500,
    device_version=0,
    input_clusters=[METERING_TUNNEL],
    output_clusters=[0x0702],
)


class House(Desk):
    """A desk that an event loop moves."""

    def __init__(
        self, personality: Personality | None = None, *, serial_loss: float = 0.0, seed: int = 1
    ) -> None:
        super().__init__(personality or Personality(), serial_loss=serial_loss, seed=seed)
        self.timeline.now = asyncio.get_running_loop().time()
        self.pump = Pump(self.timeline, asyncio.get_running_loop())
        self.heard: list[Received] = []

    async def join(self) -> Node:
        """A device that joins under its install code's key; returns when it is in."""
        device = self.new_node("ppmid", PPMID)
        device.endpoints[1] = DeviceDescriptor(SE_PROFILE, 0x0502, 0, (), (METERING_TUNNEL,))
        device.on_message = self.heard.append
        done: asyncio.Future[JoinResult] = asyncio.get_running_loop().create_future()
        self.pump.wake()
        device.join(LINK_KEY, done.set_result)
        self.pump.wake()
        assert (await done).ok
        await asyncio.sleep(1.0)
        return device

    def send(self, device: Node, payload: bytes) -> None:
        """The device says something to the hub's Smart Energy endpoint."""
        request = SendRequest(0, SE_PROFILE, METERING_TUNNEL, 1, 10, payload)
        self.pump.wake()
        device.send(request, lambda _: None)
        self.pump.wake()


class Hub(ControllerApplication):
    """bellows' application as it is; it only keeps what our endpoint hears."""

    def __init__(self, config: dict[str, object]) -> None:
        super().__init__(config)
        self.heard: list[zigpy.types.ZigbeePacket] = []
        self.lost: list[object] = []

    def packet_received(self, packet: zigpy.types.ZigbeePacket) -> None:
        if packet.dst_ep == 10:
            self.heard.append(packet)
        else:
            super().packet_received(packet)

    def connection_lost(self, exc: Exception) -> None:
        self.lost.append(exc)
        super().connection_lost(exc)


async def start(url: str) -> Hub:
    config = {
        zigpy.config.CONF_DEVICE: {zigpy.config.CONF_DEVICE_PATH: url},
        "use_thread": False,
        zigpy.config.CONF_NWK: {zigpy.config.CONF_NWK_CHANNEL: 15},
        zigpy.config.CONF_OTA: {zigpy.config.CONF_OTA_ENABLED: False},
        zigpy.config.CONF_ADDITIONAL_ENDPOINTS: [SE_ENDPOINT.as_dict()],
        zigpy.config.CONF_TOPO_SCAN_ENABLED: False,
        zigpy.config.CONF_NWK_BACKUP_ENABLED: False,
    }
    return await Hub.new(config, auto_form=True, start_radio=True)


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Hub]:
    hub = await start(url)
    try:
        yield hub
    finally:
        await hub.shutdown()


def packet(nwk: int, payload: bytes, *, secured: bool = False) -> zigpy.types.ZigbeePacket:
    options = zigpy.types.TransmitOptions.ACK
    if secured:
        options |= zigpy.types.TransmitOptions.APS_Encryption
    return zigpy.types.ZigbeePacket(
        src=zigpy.types.AddrModeAddress(zigpy.types.AddrMode.NWK, 0),
        src_ep=10,
        dst=zigpy.types.AddrModeAddress(zigpy.types.AddrMode.NWK, nwk),
        dst_ep=1,
        tsn=1,
        profile_id=SE_PROFILE,
        cluster_id=METERING_TUNNEL,
        data=zigpy.types.SerializableBytes(payload),
        tx_options=options,
    )


async def let_in(hub: Hub) -> None:
    ieee = zigpy.types.EUI64.deserialize(PPMID.wire)[0]
    await hub.permit_with_link_key(ieee, zigpy.types.KeyData(LINK_KEY), time_s=60)


async def whole_life(house: House, url: str) -> None:
    """Connect, form, restart on the same network, let a device in, send, receive."""
    await later_life(house, url, await form(url))


async def form(url: str) -> tuple[object, object]:
    """Connect and form; what identifies the network."""
    async with running(url) as hub:
        return (hub.state.network_info.pan_id, hub.state.network_info.network_key.key)


async def later_life(house: House, url: str, formed: tuple[object, object]) -> None:
    """All that comes after the first start."""
    async with running(url) as hub:
        assert (hub.state.network_info.pan_id, hub.state.network_info.network_key.key) == formed
        await let_in(hub)
        device = await house.join()
        assert hub.devices[zigpy.types.EUI64.deserialize(PPMID.wire)[0]].nwk == device.nwk

        await hub.send_packet(packet(device.nwk, b"from the hub"))
        house.send(device, b"from the meter")
        await asyncio.sleep(0.5)

        assert [message.payload for message in house.heard if message.cluster == METERING_TUNNEL] == [
            b"from the hub"
        ]
        assert [p.data.serialize() for p in hub.heard] == [b"from the meter"]


@pytest.fixture(params=[13, 17], ids=["v13", "v17"])
def version(request) -> int:
    return request.param


@pytest.fixture
async def house(version) -> AsyncIterator[House]:
    house = House(Personality(ezsp=version))
    register_house("desk", house)
    yield house
    forget_house("desk")


async def test_bellows_itself_puts_fragments_together_up_to_version_13_and_loses_them_from_14_on(
    house, version
):
    """Our own hub takes them all (see `han.stack.Stack`); here somebody else's code reads ours."""
    await form("sim://desk")
    message = bytes(range(200))
    async with running("sim://desk") as hub:
        await let_in(hub)
        device = await house.join()
        house.send(device, message)
        await asyncio.sleep(5)

    assert [p.data.serialize() for p in hub.heard] == ([message] if version < 14 else [])


async def test_bellows_lives_a_whole_life_through_the_door_inside_the_process(house):
    await whole_life(house, "sim://desk")


async def test_bellows_lives_a_whole_life_over_tcp(house):
    door = await TcpDoor.open(house.dongle, house.pump, house.facts)
    try:
        await whole_life(house, "tcp://{}:{}".format(*door.address))
    finally:
        await door.close()


@pytest.mark.asyncio(loop_factories=["settling"])
async def test_bellows_lives_a_whole_life_on_a_pseudo_terminal(house):
    # On this loop each jump costs real milliseconds, so the long first start goes through the quick door.
    formed = await form("sim://desk")
    door = PtyDoor(house.dongle, house.pump, house.facts)
    try:
        await later_life(house, str(door.path), formed)
    finally:
        door.close()


async def test_a_zigbee_daemon_url_works_as_well(house):
    door = await TcpDoor.open(house.dongle, house.pump, house.facts)
    async with running("socket://{}:{}".format(*door.address)) as hub:
        assert hub.state.node_info.nwk == 0
    await door.close()


async def test_link_security_reaches_from_hub_to_device_and_back(house):
    async with running("sim://desk"):
        pass
    async with running("sim://desk") as hub:
        await let_in(hub)
        device = await house.join()

        await hub.send_packet(packet(device.nwk, b"sealed", secured=True))

        heard = [(m.payload, m.aps_secured) for m in house.heard if m.cluster == METERING_TUNNEL]
        assert heard == [(b"sealed", True)]


async def test_the_dongle_refuses_and_bellows_tells_its_user(house):
    async with running("sim://desk"):
        pass
    async with running("sim://desk") as hub:
        with pytest.raises(DeliveryError, match="MESSAGE_TOO_LONG"):
            await hub.send_packet(packet(0x1234, bytes(100)))
        with pytest.raises(DeliveryError, match="APS_ENCRYPTION_ERROR"):
            await hub.send_packet(packet(0x1234, b"x", secured=True))


async def test_a_device_that_is_gone_is_a_failed_delivery(house):
    async with running("sim://desk"):
        pass
    async with running("sim://desk") as hub:
        await let_in(hub)
        device = await house.join()
        nwk = device.nwk
        device.crash()

        with pytest.raises((DeliveryError, TimeoutError)):
            await hub.send_packet(packet(nwk, b"hello?"))


async def test_the_watchdog_is_fed_for_an_hour(house):
    async with running("sim://desk") as hub:
        await asyncio.sleep(3600)

        assert hub.lost == []
        assert hub.is_controller_running


async def test_a_damaged_serial_line_costs_time_and_nothing_else(version):
    house = House(Personality(ezsp=version), serial_loss=0.02, seed=3)
    register_house("noisy", house)
    await whole_life(house, "sim://noisy")
    forget_house("noisy")

    assert house.why("ash.dropped")


async def test_a_dongle_that_crashes_is_a_lost_connection_and_can_be_opened_again(house):
    hub = await start("sim://desk")
    before = hub.state.network_info.pan_id
    house.dongle.crash(ResetCode.WATCHDOG)
    house.pump.wake()
    await asyncio.sleep(2.0)
    assert hub.lost
    await hub.shutdown()

    async with running("sim://desk") as hub:
        assert hub.state.network_info.pan_id == before


async def test_a_host_that_is_killed_leaves_a_port_that_the_next_one_can_open(house):
    killed = await start("sim://desk")
    before = killed.state.network_info.pan_id

    async with running("sim://desk") as hub:
        assert hub.state.network_info.pan_id == before
        assert killed.lost
    await killed.shutdown()


async def test_a_plain_dongle_serves_as_well(version):
    house = House(plain(ezsp=version))
    register_house("plain", house)
    await whole_life(house, "sim://plain")
    forget_house("plain")


async def test_an_unknown_house_is_named_in_the_error():
    with pytest.raises(OSError, match="name a home"):
        await start("sim://")
