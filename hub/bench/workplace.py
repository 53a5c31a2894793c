"""Where our own downloads are measured: a hub, its broker, and the house behind its virtual dongle.

The parts are the real ones, as in the demo: the hub speaks EZSP to the dongle and takes its image over MQTT.
Of the head end only as much is here as offers an image.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from han.clock import Utc
from han.coordinator import SecuritySettings
from han.facts import Fact, Facts
from han.radio import NetworkSettings, RadioSettings
from han.security.suite import Suite
from han.sim.dongle.houses import forget_house, register_house
from han.sim.home import DeviceDescription
from han.sim.house import House
from hub import messages
from hub.bench.setup import CHANNEL, Setup
from hub.demo.broker import EmbeddedBroker
from hub.disk import RealDisk
from hub.flash import Flash
from hub.house import coordinator_at
from hub.hub import Bearings, Hub, HubSettings
from hub.messages import Envelopes, ImageChunk, ImageOffer, ImageWanted, JoinRequest, Response, Target
from hub.mqtt import Mailbox, MailboxSettings
from ota.eui64 import Eui64
from ota.server import ServerSettings

PATIENCE = 7200.0
"""Virtual seconds for any one thing to happen."""
_BETWEEN_ADMISSIONS = 40.0
"""Virtual seconds: a dongle remembers eight install codes at a time, each for five minutes."""
SETTLING = 60.0
"""Virtual seconds after which a device that has joined has asked all its first questions."""
_CHUNK = 32 * 1024


class Watch:
    """Lets one wait for facts."""

    def __init__(self, facts: Facts) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], tuple[int, asyncio.Event]] = {}
        facts.subscribe(self._hear)

    async def until(self, who: str, what: str, times: int = 1) -> None:
        """Return once this has been said so often; raises TimeoutError if it is not."""
        event = asyncio.Event()
        self._waiting[who, what] = (times, event)
        if self._counts.get((who, what), 0) < times:
            async with asyncio.timeout(PATIENCE):
                await event.wait()
        del self._waiting[who, what]

    def _hear(self, fact: Fact) -> None:
        key = (fact.who, fact.what)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        waiting = self._waiting.get(key)
        if waiting is not None and count >= waiting[0]:
            waiting[1].set()


@dataclass(slots=True)
class Workplace:
    """A hub and its house; its devices have joined when it is handed out."""

    house: House
    hub: Hub
    facts: Facts
    watch: Watch
    _mailbox: Mailbox
    _pen: Envelopes
    _images: dict[str, bytes] = field(default_factory=dict)
    _wanted: asyncio.Queue[ImageWanted] = field(default_factory=asyncio.Queue)
    _answers: asyncio.Queue[Response] = field(default_factory=asyncio.Queue)

    async def hear(self, topic: str, payload: bytes) -> None:
        """Take what the hub says to its head end."""
        _, message = messages.open_message(topic, payload)
        if isinstance(message, ImageWanted):
            self._wanted.put_nowait(message)
        elif isinstance(message, Response):
            self._answers.put_nowait(message)

    async def admit(self, device: DeviceDescription) -> None:
        """Let a device in and wait until it has joined and has its link key."""
        await self._ask(
            JoinRequest(
                device=str(device.eui64),
                install_code=bytes(device.install_code).hex(),
                device_type=device.kind.value,
                key_establishment=device.establishes_keys,
                **self._pen.stamp(),
            )
        )
        self.house.devices[device.name].power_on()
        await self.watch.until(device.name, "device.attached")

    async def update_all(self, image: bytes) -> None:
        """Offer an image and wait until every device has all of it."""
        await self.offer(image)
        for device in self.house.home.devices:
            await self.watch.until(device.name, "ota.complete")

    async def offer(self, image: bytes) -> None:
        """Put an image for every device into the hub's slot; returns when the hub has stored it."""
        image_id = hashlib.sha256(image).hexdigest()
        await self._ask(
            ImageOffer(
                request_id=f"bench-{image_id[:8]}",
                service_request="11.4",
                image_id=image_id,
                size=len(image),
                chunk_size=_CHUNK,
                targets=tuple(
                    Target(device=str(device.eui64), device_type=device.kind.value)
                    for device in self.house.home.devices
                ),
                **self._pen.stamp(),
            )
        )
        while not (wanted := await self._wanted.get()).complete:
            data = image[wanted.offset : wanted.offset + _CHUNK]
            await self._send(
                ImageChunk(
                    image_id=image_id,
                    offset=wanted.offset,
                    data=data,
                    sha256=hashlib.sha256(data).hexdigest(),
                    **self._pen.stamp(),
                )
            )

    async def _ask(self, request: JoinRequest | ImageOffer) -> None:
        await self._send(request)
        answer = await self._answers.get()
        assert answer.ok, answer.reason

    async def _send(self, message: messages.Message) -> None:
        await self._mailbox.publish(messages.topic_of(self.hub.eui64, message), messages.encode(message))


@asynccontextmanager
async def open_workplace(
    setup: Setup,
    broker: EmbeddedBroker,
    folder: Path,
    *,
    number: int = 0,
    listen: Callable[[Fact], None] = lambda _: None,
) -> AsyncIterator[Workplace]:
    """Start a hub with its house on the running loop, let every device join, and stop it afterwards."""
    loop = asyncio.get_running_loop()
    utc = Utc(loop)
    facts = Facts(loop.time)
    facts.subscribe(listen)
    home = setup.home(number)
    house = House(home, facts=facts, utc=utc.at)
    house.run_on(loop)
    dice = random.Random(f"{setup.seed} bench {number}")
    name = home.name
    async with AsyncExitStack() as stack:
        stack.callback(house.stop)
        register_house(name, house)
        stack.callback(forget_house, name)
        state = folder / name
        state.mkdir(mode=0o700)
        radio = RadioSettings(url=f"sim://{name}", state=state, entropy=dice.randbytes)
        network = NetworkSettings(
            channel=CHANNEL,
            pan_id=0x6700 + number,
            extended_pan_id=Eui64(dice.getrandbits(64)),
            network_key=dice.randbytes(16),
        )
        security = SecuritySettings(credentials=lambda eui64: (house.certified(eui64, Suite.TWO),))
        hub = await Hub.open(
            HubSettings(server=ServerSettings(acknowledged_blocks=setup.acknowledged)),
            open_house=coordinator_at(radio, network, security, facts),
            flash=Flash(RealDisk(state)),
            mailbox=MailboxSettings.in_simulation(broker.address, "hub"),
            bearings=Bearings.seeded(utc, facts, dice),
        )
        running = asyncio.create_task(hub.run(), name=f"hub of {name}")
        stack.push_async_callback(_end, running)
        await hub.ready()
        mailbox = Mailbox(
            MailboxSettings.in_simulation(broker.address, f"head-end-{number}"),
            who="head-end",
            facts=facts,
            dice=dice,
        )
        place = Workplace(
            house,
            hub,
            facts,
            Watch(facts),
            mailbox,
            Envelopes(utc.now, lambda: f"{dice.getrandbits(128):032x}"),
        )
        for below in ("response/+", "image/wanted"):
            await mailbox.on(messages.topic(hub.eui64, below), place.hear)
        await stack.enter_async_context(mailbox)
        for place_in_line, device in enumerate(home.devices):
            if place_in_line:
                await asyncio.sleep(_BETWEEN_ADMISSIONS)
            await place.admit(device)
        await asyncio.sleep(SETTLING)
        yield place


@asynccontextmanager
async def open_broker() -> AsyncIterator[tuple[EmbeddedBroker, Path]]:
    """A broker inside the process, and a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gbhan-bench-") as name:
        folder = Path(name)
        async with EmbeddedBroker.on_socket(folder / "mqtt") as broker:
            yield broker, folder


async def _end(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait([running])
