"""A house with devices in it, a head end, and a hub between them that may crash at any moment.

The devices run the project's own OTA client over a link with a delay and seeded loss; there is no radio. They
outlive the hub, as real ones do.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from hub_faulty_disk import FaultyDisk, PowerCutError

from han.admission import Admitted
from han.clock import Utc
from han.coordinator import DeliveryFailed, DeviceJoined, PayloadTooLong, RadioGone, UnknownDevice
from han.errors import HanError, OurError
from han.facts import Facts
from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import (
    activate_firmware,
    firmware_activated,
    firmware_version_read,
    future_dated_alert,
    payload_of,
    ppmid_activation,
    require_protected_command,
)
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
)
from han.stack import DongleDetails
from han.zcl import (
    OTA_CLUSTER,
    TUNNELLING_CLUSTER,
    AttributeRecord,
    ReadAttributes,
    ReadAttributesResponse,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    ZclFrame,
    decode_global,
    decode_ota,
    decode_tunnel,
    encode_global,
    encode_ota,
    encode_tunnel,
)
from hub.demo.broker import EmbeddedBroker
from hub.flash import Flash, FlashError
from hub.hub import Bearings, Hub, HubSettings
from hub.messages import (
    Alert,
    Envelopes,
    HubState,
    ImageChunk,
    ImageOffer,
    ImageWanted,
    JoinRequest,
    Progress,
    Response,
    Target,
    encode,
    open_message,
    topic,
    topic_of,
)
from hub.mqtt import Mailbox, MailboxSettings
from ota.client import ClientSettings, Identity, OtaClient, Send
from ota.client_events import Activated, BlockReceived, DownloadComplete
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, authorise, layout_for, manufacturer_image_hash
from ota.image import HardwareRange, Header

HUB = Eui64.parse("00-DB-12-34-56-78-90-A2")
GSME = Eui64.parse("00-DB-12-34-56-78-90-A1")
ESME = Eui64.parse("00-DB-12-34-56-78-90-A0")
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
HCALCS = Eui64.parse("00-DB-12-34-56-78-90-A5")
SILENT = Eui64.parse("00-DB-12-34-56-78-90-B4")
OTHER = Eui64.parse("00-DB-12-34-56-78-90-C4")
KINDS = {GSME: "GSME", ESME: "ESME", PPMID: "PPMID", HCALCS: "HCALCS", SILENT: "PPMID", OTHER: "PPMID"}
IMAGE_TYPES = {"GSME": 0x0001, "ESME": 0x0002, "PPMID": 0x0084, "HCALCS": 0x0085}
INSTALL_CODE = "83fed3407a939723a5c639b26916d505c3b5"
TICK = 0.01
SUPPLIER = derive_private_key(0x5EC0007, SECP256R1())


def image_for(
    kind: str,
    version: int = 2,
    size: int = 1500,
    hardware: HardwareRange | None = None,
    force_replace: int = 0,
) -> bytes:
    header = Header(
        manufacturer=0x121D,
        image_type=IMAGE_TYPES[kind],
        file_version=version,
        total_size=0,
        hardware_versions=hardware,
    )
    body = random.Random(f"{kind} {version}").randbytes(size)
    signed = layout_for(kind) is not layout_for("PPMID")
    authorisation = authorise(body, SUPPLIER, force_replace=force_replace) if signed else None
    return GbcsImage.build(header, body, authorisation).to_bytes()


def image_hash(kind: str, data: bytes) -> str:
    return manufacturer_image_hash(GbcsImage.read(data, layout_for(kind)).manufacturer_image).hex()


def cs06(device: Eui64, hash_in_hex: str, counter: int = 1, when: datetime | None = None) -> str:
    """A command to activate the image with this hash, in hex."""
    command = ActivateFirmwareCommand(bytes.fromhex(hash_in_hex), counter, when)
    return activate_firmware(device, command).to_bytes().hex()


def dated_alert(
    device: Eui64,
    counter: int,
    command: ActivateFirmwareCommand,
    outcome: ActivationOutcome,
    code: int | None = None,
) -> Envelope:
    """A device's alert 0x00CA: how the future-dated command went."""
    done = outcome.response is ActivateImageResponseCode.SUCCESS
    code = code or (AlertCode.FUTURE_DATED_DONE if done else AlertCode.FUTURE_DATED_FAILED)
    alert = ActivateFirmwareAlert(code, command.execute_at, command.originator_counter, outcome)
    return future_dated_alert(device, counter, alert)


def image_id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Device:
    """A device on mains power: downloads, activates or holds, tells or keeps silent."""

    def __init__(self, house: FakeHouse, eui64: Eui64, *, query_every: float = 60.0) -> None:
        self.house, self.eui64, self.kind = house, eui64, KINDS[eui64]
        self.is_silent = eui64 == SILENT
        self.version = 1
        self.held: bytes | None = None
        self.downloads: list[bytes] = []
        self.offsets: list[int] = []
        self.is_asleep = False
        self.dice = random.Random(int(eui64))
        self.counter = 0
        self.can_read_version = True
        self.tunnel: int | None = None
        self.answers: dict[bytes, bytes] = {}
        """What was answered to each command."""
        self.dated: asyncio.TimerHandle | None = None
        self.settings = ClientSettings(
            first_query_within=1.0,
            query_every=query_every,
            activation_delay=1.0,
            out_of_band_only=self.kind != "PPMID",
            answer_timeout=1.0,
            back_off_at_most=5.0,
            errors_allowed=10_000,
        )
        self.client = self._new_client()
        self.alarm: asyncio.TimerHandle | None = None

    def _new_client(self) -> OtaClient:
        identity = Identity(0x121D, IMAGE_TYPES[self.kind], self.version, 0x1111)
        return OtaClient(self.settings, identity, self.dice)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def power_on(self) -> None:
        self.client.start(self.now)
        self.open_tunnel()
        self.settle()

    def power_off(self) -> None:
        self.is_asleep = True
        if self.alarm is not None:
            self.alarm.cancel()

    def open_tunnel(self) -> None:
        self.say(
            TUNNELLING_CLUSTER,
            encode_tunnel(RequestTunnel(6, 0xFFFF, flow_control=False, maximum_incoming=1500), 1),
        )

    def say(self, cluster: int, zcl: bytes) -> None:
        self.house.from_device(self.eui64, cluster, zcl)

    def hear(self, cluster: int, zcl: bytes, *, broadcast: bool = False) -> None:
        if self.is_asleep:
            return
        frame = ZclFrame.parse(zcl)
        if cluster == TUNNELLING_CLUSTER:
            self._hear_tunnel(frame)
        elif not frame.is_cluster_command and frame.command_id == 0:
            self._read(frame)
        else:
            self.client.receive(decode_ota(frame), frame.sequence, self.now, broadcast=broadcast)
            self.settle()

    def _read(self, frame: ZclFrame) -> None:
        question = decode_global(frame)
        assert isinstance(question, ReadAttributes)
        record = AttributeRecord(2, type=0x23, value=self.version)
        self.say(
            OTA_CLUSTER, encode_global(ReadAttributesResponse((record,), from_server=False), frame.sequence)
        )

    def _hear_tunnel(self, frame: ZclFrame) -> None:
        command = decode_tunnel(frame)
        match command:
            case RequestTunnelResponse(tunnel=tunnel):
                self.tunnel = tunnel
            case RequestTunnel():
                self.tunnel = 4000
                self.say(
                    TUNNELLING_CLUSTER, encode_tunnel(RequestTunnelResponse(4000, 0, 1500), frame.sequence)
                )
            case TransferData(data=data):
                self._commanded(data)

    def _commanded(self, data: bytes) -> None:
        message = Envelope.parse(data)
        require_protected_command(message, self.eui64)
        command = payload_of(message)
        if isinstance(command, ReadFirmwareVersionCommand):
            if not self.is_silent:
                version = self.version if self.can_read_version else None
                self.tell(firmware_version_read(message, ReadFirmwareVersionResponse(version)).to_bytes())
            return
        assert isinstance(command, ActivateFirmwareCommand)
        if data in self.answers:  # it comes again: whoever sent it does not know that it was obeyed
            self.tell(self.answers[data])
            return
        if self.dated is not None:
            self.dated.cancel()
            self.dated = None
        if command.execute_at is None:
            response = ActivateFirmwareResponse(self._activate(command))
        else:
            response = ActivateFirmwareResponse()
            if command.execute_at != CANCEL:
                wait = (command.execute_at - self.house.utc.now()).total_seconds()
                self.dated = asyncio.get_running_loop().call_later(
                    max(0.0, wait), self._time_has_come, command
                )
        self.answers[data] = firmware_activated(message, response, self.house.utc.now()).to_bytes()
        self.tell(self.answers[data])
        self.settle()

    def _time_has_come(self, command: ActivateFirmwareCommand) -> None:
        outcome = self._activate(command)
        self.counter += 1
        self.tell(dated_alert(self.eui64, self.counter, command, outcome).to_bytes())
        self.settle()

    def _activate(self, command: ActivateFirmwareCommand) -> ActivationOutcome:
        code = ActivateImageResponseCode.SUCCESS
        if self.held is None:
            code = ActivateImageResponseCode.NO_IMAGE_HELD
        elif bytes.fromhex(image_hash(self.kind, self.held)) != command.manufacturer_image_hash:
            code = ActivateImageResponseCode.HASH_MISMATCH
        else:
            self.version = Header.parse(self.held).file_version
            self.held = None
            self.client = self._new_client()
            self.client.start(self.now)
        return ActivationOutcome(code, self.version)

    def tell(self, message: bytes) -> None:
        assert self.tunnel is not None
        from_server = self.tunnel == 4000
        self.say(
            TUNNELLING_CLUSTER, encode_tunnel(TransferData(self.tunnel, message, from_server=from_server), 7)
        )

    def settle(self) -> None:
        for item in self.client.drain():
            match item:
                case Send(command=command, sequence=sequence):
                    self.say(OTA_CLUSTER, encode_ota(command, sequence))
                case BlockReceived(offset=offset):
                    self.offsets.append(offset)
                case DownloadComplete(data=data):
                    self.downloads.append(data)
                    self.held = data
                case Activated(file_version=version):
                    self.version = version
                    if not self.is_silent:
                        alert = FirmwareActivationAlert(self.house.utc.now(), version, is_success=True)
                        self.counter += 1
                        self.tell(ppmid_activation(self.eui64, self.counter, alert).to_bytes())
        if self.alarm is not None:
            self.alarm.cancel()
        due = self.client.timer()
        self.alarm = None if due is None else asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self.client.tick(self.now)
        self.settle()


class FakeHouse:
    """What stands behind the radio: devices, a delay, some loss. One hub at a time hears it."""

    def __init__(self, *, loss: float = 0.0, seed: int = 1) -> None:
        self.eui64 = HUB
        self.utc = Utc(asyncio.get_running_loop())
        self.dice = random.Random(seed)
        self.loss = loss
        self.limit = 82
        self.is_down = False
        self.ears = None
        self.devices: dict[Eui64, Device] = {}
        self.admitted: dict[Eui64, bytes] = {}
        self.network_keys = 1
        """How many the network has had so far."""
        self.frames = 0
        self.posting: dict[asyncio.Task[None], None] = {}
        self.on_frame = lambda _: None

    def add(self, eui64: Eui64, **settings) -> Device:
        self.devices[eui64] = Device(self, eui64, **settings)
        return self.devices[eui64]

    async def open(self, known, ears):
        if self.is_down:
            raise RadioGone("no dongle")
        self.ears = ears
        return Radio(self, ears)

    def count(self) -> None:
        self.frames += 1
        self.on_frame(self.frames)

    def from_device(self, sender: Eui64, cluster: int, zcl: bytes) -> None:
        asyncio.get_running_loop().call_later(TICK, self._arrive, sender, cluster, zcl)

    def _arrive(self, sender: Eui64, cluster: int, zcl: bytes) -> None:
        """Tunnelled messages come again until a hub has taken them.

        A dongle acknowledges for a hub that dies in the same instant; that one message would be lost, and no
        hub can prevent it. Here it is not, so that the hub's own part is seen.
        """
        if self.dice.random() >= self.loss:
            self.count()
            if self.ears is not None:
                with contextlib.suppress(PowerCutError, FlashError):
                    self.ears.message(sender, cluster, zcl, False)
                    return
        if cluster == TUNNELLING_CLUSTER:
            asyncio.get_running_loop().call_later(2.0, self._arrive, sender, cluster, zcl)


class Radio:
    """One hub's hold of the house."""

    def __init__(self, house: FakeHouse, ears) -> None:
        self.house, self.ears, self.eui64 = house, ears, house.eui64

    suites = 0
    dongle = DongleDetails(13, "Maker", "Stick", "7.4.4.0 build 0")

    async def admit(
        self, eui64, install_code, device_type, seconds=254, *, establishes_keys=None
    ) -> Admitted:
        if self.house.is_down:
            raise RadioGone("the dongle is gone")
        self.house.admitted[eui64] = install_code
        if eui64 in self.house.devices:
            asyncio.get_running_loop().call_later(1.0, self._join, eui64)
        return Admitted(eui64, device_type, establishes_keys=False)

    async def remove(self, eui64) -> None:
        if self.house.is_down:
            raise RadioGone("the dongle is gone")
        if self.house.admitted.pop(eui64, None) is None:
            raise UnknownDevice(f"{eui64} was not admitted")
        if eui64 in self.house.devices:
            self.house.devices.pop(eui64).power_off()

    async def switch_network_key(self, *, by_broadcast=False) -> list[Eui64]:
        if self.house.is_down:
            raise RadioGone("the dongle is gone")
        if not by_broadcast:
            raise OurError("no device has established a link key: let the network key be broadcast")
        await asyncio.sleep(20.0)
        self.house.network_keys += 1
        return list(self.house.admitted)

    def _join(self, eui64: Eui64) -> None:
        if self.house.ears is self.ears:
            self.ears.event(DeviceJoined(eui64, 0x1234))
            self.house.devices[eui64].power_on()

    def post(self, to, cluster, zcl, then, *, aps_ack=True, fragments=True):
        async def post() -> None:
            error = None
            try:
                await self.send(to, cluster, zcl, aps_ack=aps_ack, fragments=fragments)
            except HanError as failure:
                error = failure
            then(error)

        task = asyncio.get_running_loop().create_task(post())
        self.house.posting[task] = None
        task.add_done_callback(self.house.posting.pop)
        return task

    async def send(self, to, cluster, zcl, *, aps_ack=True, fragments=True) -> None:
        if self.house.is_down or self.house.ears is not self.ears:
            raise RadioGone("the dongle is gone")
        if len(zcl) > self.house.limit and not (fragments and aps_ack):
            raise PayloadTooLong(len(zcl), self.house.limit)
        if to not in self.house.devices:
            raise UnknownDevice(f"{to} was not admitted")
        self.house.count()
        await asyncio.sleep(TICK)
        device = self.house.devices[to]
        if self.house.dice.random() < self.house.loss or device.is_asleep:
            raise DeliveryFailed("no acknowledgement")
        device.hear(cluster, zcl)

    async def broadcast(self, cluster, zcl) -> None:
        if self.house.is_down or self.house.ears is not self.ears:
            raise RadioGone("the dongle is gone")
        await asyncio.sleep(TICK)
        for device in self.house.devices.values():
            if not device.is_asleep:
                device.hear(cluster, zcl, broadcast=True)

    async def close(self) -> None:
        if self.house.ears is self.ears:
            self.house.ears = None


@dataclass
class HeadEnd:
    """The far end of the WAN: offers, carries on from where the hub wants, writes down what it is told."""

    mailbox: Mailbox
    pen: Envelopes
    images: dict[str, bytes] = field(default_factory=dict)
    responses: list[Response] = field(default_factory=list)
    wanted: list[ImageWanted] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    states: list[HubState] = field(default_factory=list)
    chunk_size: int = 500
    holds_back: bool = False
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self, full_topic: str, payload: bytes) -> None:
        _, message = open_message(full_topic, payload)
        async with self.heard:
            match message:
                case Response():
                    self.responses.append(message)
                case ImageWanted():
                    self.wanted.append(message)
                case Alert():
                    self.alerts.append(message)
                case Progress():
                    self.progress.append(message)
                case HubState():
                    self.states.append(message)
            self.heard.notify_all()
        if isinstance(message, ImageWanted) and not self.holds_back:
            await self.go_on(message)

    async def go_on(self, wanted: ImageWanted) -> None:
        data = self.images.get(wanted.image_id)
        if data is None or wanted.complete or wanted.code not in {"ok", "repeated", "out-of-order"}:
            return
        await self.chunk(
            wanted.image_id, wanted.offset, data[wanted.offset : wanted.offset + self.chunk_size]
        )

    async def chunk(self, image: str, offset: int, data: bytes, sha256: str | None = None) -> None:
        digest = sha256 or hashlib.sha256(data).hexdigest()
        await self.send(
            ImageChunk(image_id=image, offset=offset, data=data, sha256=digest, **self.pen.stamp())
        )

    async def send(self, message) -> None:
        await self.mailbox.publish(topic_of(HUB, message), encode(message))

    async def ask(self, message) -> Response:
        await self.send(message)
        return await self.when(lambda: next((r for r in self.responses if r.in_reply_to == message.id), None))

    async def offer(
        self,
        data: bytes,
        *devices: Eui64,
        request: str = "",
        service: str = "",
        kind: str = "",
        force: bool = False,
    ) -> Response:
        identity = image_id(data)
        self.images[identity] = data
        kinds = [kind or KINDS[device] for device in devices]
        return await self.ask(
            ImageOffer(
                request_id=request or f"r-{identity[:8]}",
                service_request=service or ("11.4" if kinds[0] == "PPMID" else "11.1"),
                image_id=identity,
                size=len(data),
                chunk_size=self.chunk_size,
                force_replace=force,
                targets=tuple(
                    Target(device=str(device), device_type=each)
                    for device, each in zip(devices, kinds, strict=True)
                ),
                **self.pen.stamp(),
            )
        )

    async def when(self, condition, within: float = 3600.0):
        """Wait until the condition gives something, at most so long in virtual time."""
        async with asyncio.timeout(within), self.heard:
            while not (result := condition()):
                await self.heard.wait()
            return result

    async def insist(self, make, within: float = 3600.0) -> Response:
        """Ask again and again, as a CSP does, until there is an answer."""
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5.0):
                        return await make()

    async def alert(
        self, code: str, device: Eui64, response: int | None = 0, within: float = 3600.0
    ) -> Alert:
        return await self.when(
            lambda: next(
                (
                    alert
                    for alert in self.alerts
                    if (alert.code, alert.device, alert.response) == (code, str(device), response)
                ),
                None,
            ),
            within,
        )

    def alert_ids(self) -> list[str]:
        return list(dict.fromkeys(alert.id for alert in self.alerts))


class Wan:
    """The hub's way to the broker: a door of its own, shut at will while the head end stays connected."""

    def __init__(self, broker: EmbeddedBroker, path: Path) -> None:
        self.broker, self.path = broker, path
        self.address = replace(broker.address, host=str(path))
        self.callers: list[asyncio.StreamWriter] = []
        self.door: asyncio.Server | None = None

    async def open(self) -> None:
        self.door = await asyncio.start_unix_server(self._knock, self.path)

    async def shut(self) -> None:
        self.door.close()
        self.path.unlink(missing_ok=True)
        for writer in self.callers:
            writer.transport.abort()
        self.callers.clear()

    @contextlib.asynccontextmanager
    async def away(self):
        """The hub reaches no broker inside the block."""
        await self.shut()
        try:
            yield
        finally:
            await self.open()

    async def _knock(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.append(writer)
        await self.broker._knock(reader, writer)


class World:
    """Broker, head end, house and hub on the test's virtual loop."""

    def __init__(
        self,
        directory: Path,
        disk: FaultyDisk,
        *,
        loss: float = 0.0,
        query_every: float = 60.0,
        settings: HubSettings | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.facts = Facts(self.loop.time)
        self.told = []
        self.facts.subscribe(self.told.append)
        self.utc = Utc(self.loop)
        self.house = FakeHouse(loss=loss)
        self.settings = settings or HubSettings()
        self.query_every = query_every
        self.disk = disk
        self.broker = EmbeddedBroker.on_socket(directory / "broker")
        self.wan = Wan(self.broker, directory / "wan")
        self.head_end: HeadEnd = None  # type: ignore[assignment]
        self.hub: Hub = None  # type: ignore[assignment]
        self.running: asyncio.Task | None = None
        self.starts = 0

    async def __aenter__(self):
        self.stack = contextlib.AsyncExitStack()
        await self.stack.enter_async_context(self.broker)
        await self.wan.open()
        self.stack.push_async_callback(self.wan.shut)
        mailbox = Mailbox(
            MailboxSettings.in_simulation(self.broker.address, "head-end"),
            who="dsp",
            facts=self.facts,
            dice=random.Random(5),
        )
        numbers = iter(range(1, 10**6))
        self.head_end = HeadEnd(mailbox, Envelopes(self.utc.now, lambda: f"dsp-{next(numbers)}"))
        for below in ("response/+", "image/wanted", "progress", "state", "alert/+"):
            await mailbox.on(topic(HUB, below), self.head_end.receive)
        await self.stack.enter_async_context(mailbox)
        return self

    async def __aexit__(self, *_):
        if self.running is not None:
            await self.stop()
        await self.stack.aclose()

    async def start(self) -> Hub:
        self.starts += 1
        self.hub = await Hub.open(
            self.settings,
            open_house=self.house.open,
            flash=Flash(self.disk),
            mailbox=MailboxSettings.in_simulation(self.wan.address, ""),
            bearings=Bearings.seeded(self.utc, self.facts, random.Random(f"hub {self.starts}")),
        )
        self.running = asyncio.create_task(self.hub.run())
        ready = asyncio.create_task(self.hub.ready())
        await asyncio.wait({self.running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self.running.done():
            ready.cancel()
            self.running.result()
        return self.hub

    async def stop(self) -> None:
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running
        self.running = None

    async def crash(self) -> None:
        await self.hub.crash()
        await self.stop()

    async def join(self, *devices: Eui64) -> None:
        for device in devices:
            self.house.add(device, query_every=self.query_every)
            answer = await self.head_end.ask(
                JoinRequest(
                    device=str(device),
                    install_code=INSTALL_CODE,
                    device_type=KINDS[device],
                    **self.head_end.pen.stamp(),
                )
            )
            assert answer.ok, answer.reason
        await asyncio.sleep(3.0)

    def whys(self, what: str) -> list[str]:
        return [fact.why for fact in self.told if fact.what == what]
