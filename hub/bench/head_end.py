"""A hub on whatever radio, with as much of a head end as offers an image: what is measured of ours."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from han.clock import Utc
from han.coordinator import SecuritySettings
from han.facts import Fact, Facts
from han.radio import NetworkSettings, RadioSettings
from han.security.lab_authority import lab_credentials
from han.sim.home import DeviceDescription
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
"""Seconds for any one thing to happen."""
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
class HeadEnd:
    """What tells a hub over MQTT whom to admit, and gives it images."""

    hub: Eui64
    mailbox: Mailbox
    pen: Envelopes
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
        """Let a device in; returns when the hub has opened its network."""
        await self._ask(
            JoinRequest(
                device=str(device.eui64),
                install_code=bytes(device.install_code).hex(),
                device_type=device.kind.value,
                key_establishment=device.establishes_keys,
                **self.pen.stamp(),
            )
        )

    async def offer(self, image: bytes, devices: tuple[DeviceDescription, ...]) -> None:
        """Put an image for these devices into the hub's slot; returns when the hub has stored it."""
        image_id = hashlib.sha256(image).hexdigest()
        await self._ask(
            ImageOffer(
                request_id=f"bench-{image_id[:8]}",
                service_request="11.4",
                image_id=image_id,
                size=len(image),
                chunk_size=_CHUNK,
                targets=tuple(
                    Target(device=str(device.eui64), device_type=device.kind.value) for device in devices
                ),
                **self.pen.stamp(),
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
                    **self.pen.stamp(),
                )
            )

    async def _ask(self, request: JoinRequest | ImageOffer) -> None:
        await self._send(request)
        answer = await self._answers.get()
        assert answer.ok, answer.reason

    async def _send(self, message: messages.Message) -> None:
        await self.mailbox.publish(messages.topic_of(self.hub, message), messages.encode(message))


@asynccontextmanager
async def open_hub(
    setup: Setup, radio: str, broker: EmbeddedBroker, state: Path, facts: Facts
) -> AsyncIterator[HeadEnd]:
    """Run a hub on the radio at this URL until the block is left.

    ``state`` becomes a folder of its own; its name tells the hubs of one run apart.
    """
    disk = _disk_at(state)
    dice = random.Random(f"{setup.seed} {state.name}")
    utc = Utc(asyncio.get_running_loop())
    network = NetworkSettings(
        channel=CHANNEL,
        pan_id=dice.randrange(1, 0xFFFE),
        extended_pan_id=Eui64(dice.getrandbits(64)),
        network_key=dice.randbytes(16),
    )
    hub = await Hub.open(
        HubSettings(server=ServerSettings(acknowledged_blocks=setup.acknowledged)),
        open_house=coordinator_at(
            RadioSettings(url=radio, state=state, entropy=dice.randbytes),
            network,
            SecuritySettings(credentials=lambda eui64: (lab_credentials(eui64),)),
            facts,
        ),
        flash=Flash(disk),
        mailbox=MailboxSettings.in_simulation(broker.address, "hub"),
        bearings=Bearings.seeded(utc, facts, dice),
    )
    running = asyncio.create_task(hub.run(), name="hub")
    try:
        await hub.ready()
        mailbox = Mailbox(
            MailboxSettings.in_simulation(broker.address, f"head-end-{hub.eui64.hex}"),
            who="head-end",
            facts=facts,
            dice=dice,
        )
        pen = Envelopes(utc.now, lambda: f"{dice.getrandbits(128):032x}")
        head_end = HeadEnd(hub.eui64, mailbox, pen)
        for below in ("response/+", "image/wanted"):
            await mailbox.on(messages.topic(hub.eui64, below), head_end.hear)
        async with mailbox:
            yield head_end
    finally:
        running.cancel()
        await asyncio.wait([running])


def _disk_at(state: Path) -> RealDisk:
    state.mkdir(mode=0o700)
    return RealDisk(state)


@asynccontextmanager
async def open_broker() -> AsyncIterator[tuple[EmbeddedBroker, Path]]:
    """A broker inside the process, and a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gbhan-bench-") as name:
        folder = Path(name)
        async with EmbeddedBroker.on_socket(folder / "mqtt") as broker:
            yield broker, folder
