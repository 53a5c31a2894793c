"""A world for the head end: a broker, and Communications Hubs that keep the contract and can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from han.clock import Utc
from han.facts import Fact, Facts
from han.gbcs import payloads
from han.gbcs.codes import MessageCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import (
    firmware_activated,
    firmware_transfer,
    firmware_version_read,
    future_dated_alert,
    payload_of,
    ppmid_activation,
    receipt_alert,
)
from han.gbcs.payloads import ActivateFirmwareCommand
from han.gbcs.receipt import ReceiptAlert
from hub.dcc.carriage import CarriageSettings
from hub.dcc.dsp import Dsp
from hub.dcc.inventory import Device
from hub.dcc.lifecycle import Result
from hub.dcc.outcomes import Outcome
from hub.dcc.requests import DspResponse
from hub.dcc.settings import DspSettings
from hub.dcc.store import Store
from hub.messages import (
    ROOT,
    ActivateRequest,
    ActivationOutcome,
    DeviceEntry,
    DevicesRequest,
    Envelopes,
    FirmwareTransferAlert,
    FirmwareVerificationAlert,
    HubState,
    ImageChunk,
    ImageOffer,
    ImageWanted,
    Message,
    PpmidActivationAlert,
    ReadVersionRequest,
    Response,
    encode,
    open_message,
    topic_of,
)
from ota.eui64 import Eui64
from ota.image import Header, Image

Handler = Callable[[str, bytes], Awaitable[None]]

HUB = Eui64(0x00DB1234567890A0)
OTHER_HUB = Eui64(0x00DB1234567890B0)
PPMID = Eui64(0x00DB1234567890A4)
SECOND_PPMID = Eui64(0x00DB1234567890A5)
HCALCS = Eui64(0x00DB1234567890A6)
GSME = Eui64(0x00DB1234567890A7)
IHD = Eui64(0x00DB1234567890A8)
FAR_PPMID = Eui64(0x00DB1234567890B4)
STRANGER = Eui64(0x00DB1234567890FF)

INVENTORY = (
    Device(eui64=PPMID, device_type="PPMID", hub=HUB, version="01000000"),
    Device(eui64=SECOND_PPMID, device_type="PPMID", hub=HUB, version="01000000"),
    Device(eui64=HCALCS, device_type="HCALCS", hub=HUB, version="01000000"),
    Device(eui64=GSME, device_type="GSME", hub=HUB, version="01000000"),
    Device(eui64=IHD, device_type="IHD", hub=HUB),
    Device(eui64=FAR_PPMID, device_type="PPMID", hub=OTHER_HUB, version="01000000"),
)

NEW = "02000000"
HASH = bytes(range(32))


def upgrade_file(size: int = 1000, version: int = int(NEW, 16)) -> bytes:
    """A well-formed upgrade file of that many octets."""
    header = Header(manufacturer=0x121D, image_type=0x84, file_version=version, total_size=size)
    return Image(header, random.Random(version).randbytes(size - header.length)).to_bytes()


class PowerCut(Exception):  # noqa: N818 - what happens, not an error of ours
    """Somebody pulled the plug."""


@dataclass
class Broker:
    """Carries messages in order. A subscriber whose handler dies gets the message again when it is back."""

    cut: asyncio.Event = field(default_factory=asyncio.Event)
    is_away: bool = False
    carried: list[tuple[str, bytes]] = field(default_factory=list)
    _subscribers: dict[str, dict[str, Handler]] = field(default_factory=dict)
    _queues: dict[str, deque[tuple[str, bytes]]] = field(default_factory=dict)
    _work: asyncio.Event = field(default_factory=asyncio.Event)

    def place(self, name: str) -> Place:
        """Somebody's place here; the same name is the same session."""
        return Place(self, name)

    def subscribe(self, name: str, topic_filter: str, handler: Handler) -> None:
        self._subscribers.setdefault(name, {})[topic_filter] = handler
        self._queues.setdefault(name, deque())
        self._work.set()

    def leave(self, name: str) -> None:
        """The connection is gone; the session stays."""
        self._subscribers[name] = dict.fromkeys(self._subscribers.get(name, {}), _nobody)

    def take(self, topic: str, payload: bytes) -> None:
        self.carried.append((topic, payload))
        for name, filters in self._subscribers.items():
            if any(_matches(topic_filter, topic) for topic_filter in filters):
                self._queues[name].append((topic, payload))
        self._work.set()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            for name in list(self._queues):
                await self._deliver(name)

    async def _deliver(self, name: str) -> None:
        queue = self._queues[name]
        while queue:
            topic, payload = queue[0]
            handler = next(h for f, h in self._subscribers[name].items() if _matches(f, topic))
            if handler is _nobody:
                return
            try:
                await handler(topic, payload)
            except PowerCut:
                self.leave(name)
                self.cut.set()
                return
            queue.popleft()


async def _nobody(topic: str, payload: bytes) -> None:
    """The handler of a subscriber that is away."""


def _matches(topic_filter: str, topic: str) -> bool:
    wanted, got = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(got) and all(w in {"+", g} for w, g in zip(wanted, got, strict=True))


@dataclass
class Place:
    """A place at the broker."""

    broker: Broker
    name: str

    async def on(self, topic_filter: str, handler: Handler) -> None:
        self.broker.subscribe(self.name, topic_filter, handler)

    async def publish(self, topic: str, payload: bytes) -> None:
        if self.broker.is_away:
            await asyncio.get_running_loop().create_future()
        self.broker.take(topic, payload)


@dataclass
class Hub:
    """A Communications Hub that takes images, delivers them to devices in no time, and does as it is told.

    Attributes:
        is_on: whether it hears anything.
        busy: how many offers and commands it answers with "too-busy" first.
        spoilt: how many chunks it finds spoilt first.
        holds: keep images without giving them to devices.
        silent: devices that never report an activation.
        transfer_response: what its Firmware Transfer Alerts say.
    """

    broker: Broker
    eui64: Eui64 = HUB
    is_on: bool = True
    busy: int = 0
    spoilt: int = 0
    holds: bool = False
    silent: frozenset[Eui64] = frozenset()
    transfer_response: int = 0
    activation_response: int | None = 0
    offers: list[ImageOffer] = field(default_factory=list)
    commands: list[ActivateRequest | ReadVersionRequest] = field(default_factory=list)
    arriving: dict[str, bytearray] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    entries: tuple[DeviceEntry, ...] = ()
    listings: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    spoil: Callable[[Envelope], Envelope] = lambda message: message
    """What becomes of the GBCS messages in its alerts."""
    _offered: dict[str, ImageOffer] = field(default_factory=dict)
    _counter: int = 0

    @property
    def now(self) -> datetime:
        return Utc(asyncio.get_running_loop()).now().replace(microsecond=0)

    def count(self) -> int:
        """The counter of the next message."""
        self._counter += 1
        return self._counter

    def __post_init__(self) -> None:
        self.envelopes = Envelopes(Utc(asyncio.get_running_loop()).now, lambda: f"hub-{self.envelopes._seq}")
        self.broker.subscribe(self.eui64.hex, f"{ROOT}/{self.eui64.hex}/request/+", self._heard)
        self.broker.subscribe(self.eui64.hex, f"{ROOT}/{self.eui64.hex}/image/chunk", self._heard)

    def say(self, message: Message) -> None:
        self.broker.take(topic_of(self.eui64, message), encode(message))

    def appear(self, *, online: bool = True) -> None:
        """Go on or off the network, and have it known."""
        self.is_on = online
        self.say(HubState(online=online, eui64=str(self.eui64), **self.envelopes.stamp()))

    def forget_chunk(self, image_id: str) -> None:
        """Lose what has arrived, as a hub does whose flash write was cut."""
        self.arriving[image_id].clear()

    def discard(self, image_id: str) -> None:
        """A gas image took the slot: say so to the sender, and alert for each target."""
        offer = self._offered.pop(image_id)
        self.arriving.pop(image_id, None)
        self.want(image_id, 0, code="discarded")
        for target in offer.targets:
            self.alert_transfer(offer, Eui64.parse(target.device), response=1)

    def want(self, image_id: str, offset: int, *, code: str = "ok", complete: bool = False) -> None:
        stamp = self.envelopes.stamp()
        self.say(ImageWanted(image_id=image_id, offset=offset, complete=complete, code=code, **stamp))

    def alert_transfer(
        self, offer: ImageOffer, device: Eui64, response: int = 0, alert_id: str | None = None
    ) -> None:
        version = offer.file_version or "00000000"
        told = payloads.FirmwareTransferAlert(
            self.now, device, int(version, 16), payloads.TransferResult(min(response, 3))
        )
        self.say(
            FirmwareTransferAlert(
                device=str(device),
                file_version=version,
                code="0x8F8A" if response == 0 else "0x8F89",
                response=response,
                at=0.0,
                gbcs=self.spoil(firmware_transfer(self.eui64, self.count(), told)).to_bytes().hex(),
                image_id=offer.image_id,
                request_id=offer.request_id,
                **self.envelopes.stamp(alert_id or f"ccs08-{offer.request_id}-{device}"),
            )
        )

    def alert_activation(self, device: Eui64, version: str, response: int = 0, about: str = "") -> None:
        told = payloads.FirmwareActivationAlert(self.now, int(version, 16), response == 0)
        self.say(
            PpmidActivationAlert(
                device=str(device),
                file_version=version,
                code="0x8F8B",
                response=response,
                at=0.0,
                gbcs=self.spoil(ppmid_activation(device, self.count(), told)).to_bytes().hex(),
                **self.envelopes.stamp(f"cs09-{about}-{device}-{version}"),
            )
        )

    def alert_receipt(self, device: Eui64, digest: bytes, code: str = "0x8F72") -> None:
        """The device has checked the signature of an image with this hash."""
        told = ReceiptAlert(int(code, 16), self.now, digest)
        message = receipt_alert(device, self.count(), MessageCode.RECEIPT_GSME, told)
        self.say(
            FirmwareVerificationAlert(
                device=str(device),
                file_version="FFFFFFFF",
                code=code,
                response=None,
                at=0.0,
                gbcs=self.spoil(message).to_bytes().hex(),
                manufacturer_image_hash=digest.hex(),
                **self.envelopes.stamp(f"receipt-{device}-{code}-{digest.hex()}"),
            )
        )

    async def _heard(self, topic: str, payload: bytes) -> None:
        if self.is_on:
            self._take(open_message(topic, payload)[1])
        self.heard.set()

    def _take(self, message: Message) -> None:
        match message:
            case ImageOffer():
                self._take_offer(message)
            case ImageChunk():
                self._take_chunk(message)
            case ActivateRequest():
                self._activate(message)
            case ReadVersionRequest():
                self._read(message)
            case DevicesRequest():
                self.listings += 1
                self._answer("devices", message, ok=True, devices=self.entries)

    def _answer(self, verb: str, to: Message, *, ok: bool, code: str = "ok", **more: object) -> None:
        request_id = getattr(to, "request_id", "")
        stamp = self.envelopes.stamp()
        self.say(
            Response(verb=verb, in_reply_to=to.id, request_id=request_id, ok=ok, code=code, **more, **stamp)
        )

    def _is_busy(self, verb: str, message: Message) -> bool:
        if self.busy:
            self.busy -= 1
            self._answer(verb, message, ok=False, code="too-busy", reason="a gas image is still needed")
            return True
        return False

    def _take_offer(self, offer: ImageOffer) -> None:
        self.offers.append(offer)
        if self._is_busy("offer", offer):
            return
        self._offered[offer.image_id] = offer
        self._answer("offer", offer, ok=True)
        if offer.image_id in self.stored:
            self.want(offer.image_id, offer.size, complete=True)
        else:
            arrived = self.arriving.setdefault(offer.image_id, bytearray())
            self.want(offer.image_id, len(arrived))

    def _take_chunk(self, chunk: ImageChunk) -> None:
        arrived = self.arriving.get(chunk.image_id)
        if arrived is None:
            known = chunk.image_id in self.stored
            self.want(chunk.image_id, 0, code="repeated" if known else "not-offered", complete=known)
        elif self.spoilt:
            self.spoilt -= 1
            self.want(chunk.image_id, len(arrived), code="bad-hash")
        elif chunk.offset != len(arrived):
            self.want(chunk.image_id, len(arrived), code="out-of-order")
        else:
            assert hashlib.sha256(chunk.data).hexdigest() == chunk.sha256
            arrived += chunk.data
            offer = self._offered[chunk.image_id]
            self.want(chunk.image_id, len(arrived), complete=len(arrived) == offer.size)
            if len(arrived) == offer.size:
                self._store(offer)

    def _store(self, offer: ImageOffer) -> None:
        self.stored[offer.image_id] = bytes(self.arriving.pop(offer.image_id))
        assert hashlib.sha256(self.stored[offer.image_id]).hexdigest() == offer.image_id
        if not self.holds:
            for target in offer.targets:
                self.transfer(offer, Eui64.parse(target.device))

    def transfer(self, offer: ImageOffer, device: Eui64) -> None:
        """The device downloads the image, and a PPMID activates it."""
        self.alert_transfer(offer, device, self.transfer_response)
        if offer.service_request == "11.4" and self.transfer_response == 0:
            self.versions[str(device)] = offer.file_version or "00000000"
            if device not in self.silent:
                self.alert_activation(device, self.versions[str(device)], about=offer.request_id)

    def _activate(self, command: ActivateRequest) -> None:
        self.commands.append(command)
        if self._is_busy("activate", command):
            return
        self._answer("activate", command, ok=True)
        said = payload_of(Envelope.parse(bytes.fromhex(command.gbcs)))
        assert isinstance(said, ActivateFirmwareCommand)
        self.outcome(command, None if said.execute_at else self.activation_response)

    def outcome(
        self, command: ActivateRequest, response: int | None, version: str = NEW, code: str = "CS06"
    ) -> None:
        """The device's answer to CS06, or with a code its alert at the time that the command named."""
        outcome = None
        if response is not None:
            answer = payloads.ActivateImageResponseCode(response)
            outcome = payloads.ActivationOutcome(answer, int(version, 16))
        sent = Envelope.parse(bytes.fromhex(command.gbcs))
        if code == "CS06":
            message = firmware_activated(sent, payloads.ActivateFirmwareResponse(outcome), self.now)
        else:
            said = payload_of(sent)
            alert = payloads.ActivateFirmwareAlert(int(code, 16), said.execute_at, sent.counter, outcome)
            message = future_dated_alert(sent.recipient, self.count(), alert)
        self.say(
            ActivationOutcome(
                device=command.device,
                file_version=version,
                code=code,
                response=response,
                at=0.0,
                gbcs=self.spoil(message).to_bytes().hex(),
                request_id=command.request_id,
                **self.envelopes.stamp(f"cs06-{command.request_id}-{response}"),
            )
        )

    def _read(self, command: ReadVersionRequest) -> None:
        self.commands.append(command)
        if self._is_busy("read-version", command):
            return
        version = self.versions.get(command.device)
        if version is None:
            self._answer("read-version", command, ok=False, code="unreachable", reason="no answer")
        else:
            source = {"source": "OTA"}
            if command.gbcs:
                sent = Envelope.parse(bytes.fromhex(command.gbcs))
                told = payloads.ReadFirmwareVersionResponse(int(version, 16))
                answer = self.spoil(firmware_version_read(sent, told))
                source = {"source": "CS08", "gbcs": answer.to_bytes().hex()}
            self._answer("read-version", command, ok=True, file_version=version, **source)


FAST = DspSettings(carriage=CarriageSettings(chunk_size=400, octets_per_second=1000.0, latency=0.1))


def make_dsp(broker: Broker, store: Store, settings: DspSettings = FAST, facts: Facts | None = None) -> Dsp:
    """A DSP stub at its place at this broker."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(1, 1_000_000))
    return Dsp(
        broker.place("dsp"),
        store,
        settings,
        facts=facts or Facts(loop.time),
        utc=Utc(loop),
        new_id=lambda: f"dsp-{next(numbers)}",
    )


@dataclass
class World:
    """A head end, its broker and one hub."""

    broker: Broker
    hub: Hub
    dsp: Dsp
    store: Store
    heard: list[Fact]

    def said(self, what: str) -> list[Fact]:
        return [fact for fact in self.heard if fact.what == what]

    def story(self, request_id: str) -> list[str]:
        return [f"{line.event} {line.code}".strip() for line in self.dsp.story(request_id)]

    def orders(self) -> list[ActivateRequest]:
        """Every 11.3 that went over the broker, heard by the hub or not."""
        opened = [open_message(topic, payload)[1] for topic, payload in self.broker.carried]
        return [message for message in opened if isinstance(message, ActivateRequest)]

    async def run(self, request) -> tuple[DspResponse, Outcome]:
        response = await self.dsp.submit(request)
        return response, await self.dsp.finished(response.request_id)


@contextlib.asynccontextmanager
async def world(settings: DspSettings = FAST, store: Store | None = None) -> AsyncIterator[World]:
    broker = Broker()
    carrying = asyncio.create_task(broker.run())
    hub = Hub(broker)
    store = store or Store("sqlite://")
    facts = Facts(asyncio.get_running_loop().time)
    with facts.recorded() as heard:
        async with make_dsp(broker, store, settings, facts) as dsp:
            dsp.enrol(INVENTORY)
            hub.appear()
            await asyncio.sleep(0.01)
            yield World(broker, hub, dsp, store, heard)
    carrying.cancel()
    store.close()


def only(outcome: Outcome) -> Result | None:
    (device,) = outcome.devices
    return device.result
