"""A small hub on the true radio path: coordinator, unmodified bellows, virtual dongle, air, devices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from han.coordinator import Coordinator, DeliveryFailed, Event, PayloadTooLong, SecuritySettings
from han.facts import Fact, Facts
from han.radio import NetworkSettings, RadioSettings
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.sim.devices.conduct import Certified
from han.sim.dongle.houses import forget_house, register_house
from han.sim.house import House
from han.zcl import (
    OTA_CLUSTER,
    TUNNELLING_CLUSTER,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    ZclFrame,
    decode_ota,
    decode_tunnel,
    encode_ota,
    encode_tunnel,
)
from ota.commands import ImageBlockResponse
from ota.eui64 import Eui64
from ota.server import Activation, Offer, OtaServer, Send, ServerSettings

NETWORK = NetworkSettings(
    channel=15, pan_id=0x1A2B, extended_pan_id=Eui64(0x00DB123456789000), network_key=bytes(range(16))
)


class RadioHub:
    """Admits the devices of a house, serves images to them, and listens to their tunnels."""

    def __init__(self, facts: Facts) -> None:
        self.coordinator: Coordinator | None = None
        self.server = OtaServer(ServerSettings())
        self.messages: list[tuple[Eui64, bytes]] = []
        self.events: list[object] = []
        self.tunnels: dict[Eui64, int] = {}
        self.facts = facts
        self._outgoing: asyncio.Queue[tuple[Eui64, int, bytes, Send | None]] = asyncio.Queue()
        self._sequence = 0
        self._sender: asyncio.Task[None] | None = None

    async def start(
        self,
        url: str,
        seed: int = 11,
        *,
        source_routing: bool = False,
        certified: Certified = lab_credentials,
    ) -> None:
        """Connect to the dongle at this URL and bring the network up."""
        settings = RadioSettings(
            url,
            watchdog_period=3600.0,
            source_routing=source_routing,
            entropy=random.Random(seed).randbytes,
        )
        self.coordinator = await Coordinator.start(
            settings,
            network=NETWORK,
            devices=[],
            facts=self.facts,
            on_message=self._message,
            on_event=self._event,
            security=SecuritySettings(credentials=lambda eui64: (certified(eui64, Suite.TWO),)),
        )
        self._sender = asyncio.create_task(self._send_on())

    async def close(self) -> None:
        """Let go of the radio."""
        if self._sender is not None:
            self._sender.cancel()
        if self.coordinator is not None:
            await self.coordinator.close()

    async def admit_everyone(self, house: House) -> None:
        """Open the network for every device of the house."""
        assert self.coordinator is not None
        for device in house.home.devices:
            await self.coordinator.admit(device.eui64, device.install_code, device.kind.value)

    def offer(self, data: bytes, *targets: Eui64, activation: Activation = Activation.NOW) -> None:
        """Offer this file to these devices."""
        self.server.offer(Offer.of(data, targets, activation), asyncio.get_running_loop().time())
        self._settle()

    def tell(self, device: Eui64, message: bytes) -> None:
        """Send a message through the device's tunnel."""
        command = TransferData(self.tunnels[device], message, from_server=True)
        self._post(device, TUNNELLING_CLUSTER, encode_tunnel(command, self._next_sequence()))

    def _event(self, event: Event) -> None:
        self.events.append(event)

    def _message(self, sender: Eui64, cluster: int, zcl: bytes, _: object) -> None:
        frame = ZclFrame.parse(zcl)
        if cluster == OTA_CLUSTER and frame.is_cluster_command:
            now = asyncio.get_running_loop().time()
            self.server.receive(sender, decode_ota(frame), frame.sequence, now)
            self._settle()
        elif cluster == TUNNELLING_CLUSTER and frame.is_cluster_command:
            match decode_tunnel(frame):
                case RequestTunnel():
                    self.tunnels[sender] = len(self.tunnels)
                    answer = RequestTunnelResponse(self.tunnels[sender], 0, 1500)
                    self._post(sender, TUNNELLING_CLUSTER, encode_tunnel(answer, frame.sequence))
                case TransferData(data=data):
                    self.messages.append((sender, data))
                case _:
                    pass

    def _settle(self) -> None:
        for item in self.server.drain():
            if isinstance(item, Send):
                sequence = self._next_sequence() if item.sequence is None else item.sequence
                block = item if isinstance(item.command, ImageBlockResponse) else None
                self._post(item.peer, OTA_CLUSTER, encode_ota(item.command, sequence), block)
            else:
                self.events.append(item)

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def _post(self, to: Eui64, cluster: int, zcl: bytes, block: Send | None = None) -> None:
        self._outgoing.put_nowait((to, cluster, zcl, block))

    async def _send_on(self) -> None:
        assert self.coordinator is not None
        while True:
            to, cluster, zcl, block = await self._outgoing.get()
            try:
                with suppress(DeliveryFailed):  # whoever wants it will ask again
                    await self.coordinator.send(to, cluster, zcl, fragments=block is None)
            except PayloadTooLong:
                if block is None:
                    raise
                self.server.too_long(block, asyncio.get_running_loop().time())
                self._settle()


class HeardFacts:
    """Every fact so far, and a way to wait for the next of a kind."""

    def __init__(self, facts: Facts) -> None:
        self.all: list[Fact] = []
        self._waiting: list[tuple[str, str, asyncio.Future[Fact]]] = []
        facts.subscribe(self._heard)

    async def wait_for(self, what: str, who: str, within: float = 3600.0) -> Fact:
        """The next fact of this kind, within so many virtual seconds."""
        future: asyncio.Future[Fact] = asyncio.get_running_loop().create_future()
        self._waiting.append((what, who, future))
        return await asyncio.wait_for(future, within)

    def of(self, what: str, who: str | None = None) -> list[Fact]:
        """Those of this kind so far."""
        return [fact for fact in self.all if fact.what == what and who in (None, fact.who)]

    def _heard(self, fact: Fact) -> None:
        self.all.append(fact)
        for entry in [entry for entry in self._waiting if entry[:2] == (fact.what, fact.who)]:
            self._waiting.remove(entry)
            if not entry[2].done():
                entry[2].set_result(fact)


@asynccontextmanager
async def hub_in(
    house: House,
    name: str = "house",
    *,
    source_routing: bool = False,
    certified: Certified = lab_credentials,
) -> AsyncIterator[RadioHub]:
    """A hub on this house's dongle, which is found under ``sim://name`` meanwhile."""
    house.run_on(asyncio.get_running_loop())
    register_house(name, house)
    hub = RadioHub(house.facts)
    try:
        await hub.start(f"sim://{name}", source_routing=source_routing, certified=certified)
        yield hub
    finally:
        await hub.close()
        forget_house(name)
        house.stop()
