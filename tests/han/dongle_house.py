"""A house with a virtual dongle on the loop of the test, found under a ``sim://`` URL, and one who listens.

The program under test is the true one: coordinator, bellows, serial line, dongle, air, device.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from han.admission import Admitted
from han.coordinator import Coordinator, Event, SecuritySettings
from han.facts import Facts
from han.radio import NetworkSettings, RadioSettings
from han.security.install_code import with_crc
from han.sim.air.medium import Air, Clear, Path
from han.sim.air.pump import Pump
from han.sim.air.timeline import Timeline
from han.sim.dongle.dongle import Dongle
from han.sim.dongle.houses import forget_house, register_house
from han.sim.dongle.personality import Personality
from han.sim.node.node import Node
from han.sim.node.service import Received, SendRequest, SendStatus, SimpleDescriptor
from han.sim.node.store import NodeStore
from han.zcl import OTA_CLUSTER, SMART_ENERGY_PROFILE
from ota.eui64 import Eui64

DONGLE = Eui64.parse("00-DB-12-34-56-78-90-A2")
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
HCALCS = Eui64.parse("00-DB-12-34-56-78-90-A5")
CODE = with_crc(bytes.fromhex("83FED3407A939723A5C639B26916D505"))
OTHER_CODE = with_crc(bytes.fromhex("000102030405060708090A0B0C0D0E0F"))
NETWORK = NetworkSettings(
    channel=15, pan_id=0x1A2B, extended_pan_id=Eui64(0x00DB123456789000), network_key=bytes(range(16))
)
NAME = "testhouse"
DEVICE_ENDPOINT = 3


class DongleHouse:
    """An air, a dongle on it, and room for devices."""

    def __init__(
        self, *, path: Path | None = None, ezsp: int = 13, serial_loss: float = 0.0, seed: int = 7
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.seed = seed
        self.timeline = Timeline(self.loop.time())
        self.pump = Pump(self.timeline, self.loop)
        self.facts = Facts(self.loop.time)
        self.air = Air(self.timeline, path or Clear())
        self.store = NodeStore()
        self.node = self.new_node(DONGLE, "dongle", 0x8F, self.store)
        self.dongle = Dongle(
            timeline=self.timeline,
            node=self.node,
            store=self.store,
            eui64=DONGLE,
            dice=random.Random(f"{seed} dongle"),
            facts=self.facts,
            personality=Personality(ezsp=ezsp),
            serial_loss=serial_loss,
        )
        self.pump.wake()

    def new_node(
        self, eui64: Eui64, name: str, capability: int = 0x8C, store: NodeStore | None = None
    ) -> Node:
        """Another radio on the air."""
        return Node(
            eui64=eui64,
            air=self.air,
            timeline=self.timeline,
            dice=random.Random(f"{self.seed} {name}"),
            facts=self.facts,
            name=name,
            capability=capability,
            store=store,
        )

    def new_device(self, eui64: Eui64 = PPMID) -> Node:
        """A node with an OTA client's endpoint, not joined."""
        node = self.new_node(eui64, str(eui64))
        node.endpoints[DEVICE_ENDPOINT] = SimpleDescriptor(
            SMART_ENERGY_PROFILE, 0x0502, 0, (0x0000,), (OTA_CLUSTER,)
        )
        return node

    async def join(self, node: Node, key: bytes) -> object:
        """Let a node try once to join with this link key, and give how that ended."""
        done: asyncio.Future[object] = self.loop.create_future()
        self.pump.wake()
        node.join(key, done.set_result)
        self.pump.wake()
        return await done

    async def say(self, node: Node, payload: bytes, *, cluster: int = OTA_CLUSTER, profile: int = 0x0109,
                  endpoint: int = 1) -> SendStatus:  # fmt: skip
        """Send something from a node to the coordinator, and give how that ended."""
        done: asyncio.Future[SendStatus] = self.loop.create_future()
        request = SendRequest(
            destination=0x0000,
            profile=profile,
            cluster=cluster,
            source_endpoint=DEVICE_ENDPOINT,
            destination_endpoint=endpoint,
            payload=payload,
            aps_ack=True,
            aps_security=False,
        )
        self.pump.wake()
        node.send(request, done.set_result)
        self.pump.wake()
        return await done


@dataclass
class Ears:
    """What a coordinator told."""

    messages: list[tuple[Eui64, int, bytes, bool]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@contextmanager
def registered(house: DongleHouse) -> Iterator[DongleHouse]:
    """Let ``sim://testhouse`` mean this house inside the block."""
    register_house(NAME, house)
    try:
        yield house
    finally:
        forget_house(NAME)
        house.pump.stop()


def settings(**changes: object) -> RadioSettings:
    """The radio settings of a hub in this house."""
    dice = random.Random(11)
    return RadioSettings(
        **{"url": f"sim://{NAME}", "watchdog_period": 3600.0, "entropy": dice.randbytes, **changes}
    )


async def start(
    house: DongleHouse,
    ears: Ears,
    devices: list[Admitted] | None = None,
    *,
    security: SecuritySettings | None = None,
    removed: tuple[Eui64, ...] = (),
    **changes: object,
) -> Coordinator:
    """A coordinator on the house's dongle."""
    return await Coordinator.start(
        settings(**changes),
        network=NETWORK,
        devices=devices or [],
        facts=house.facts,
        on_message=lambda *message: ears.messages.append(message),
        on_event=ears.events.append,
        security=security or SecuritySettings(require_key_establishment=False),
        removed=removed,
    )


def heard_by(node: Node) -> list[Received]:
    """Everything that a node receives from now on."""
    heard: list[Received] = []
    node.on_message = heard.append
    return heard
