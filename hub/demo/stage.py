"""Everything the demo runs, in one process: broker, DSP stub, hub, and the house behind the virtual dongle.

The parts are the real ones and meet where they meet on the bench: the hub speaks EZSP to the dongle, hub and
DSP stub speak MQTT through the broker, device list and requests cross both. Only the house is simulated.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec

from han.clock import Utc
from han.coordinator import SecuritySettings
from han.facts import Fact, Facts
from han.radio import NetworkSettings, RadioSettings
from han.security.suite import Suite
from han.sim.dongle.houses import forget_house, register_house
from han.sim.home import DeviceDescription, Home, Kind
from han.sim.house import House
from hub import messages
from hub.dcc.carriage import CarriageSettings
from hub.dcc.dsp import Dsp
from hub.dcc.inventory import Device, DeviceStatus
from hub.dcc.settings import DspSettings
from hub.dcc.store import Store
from hub.demo.broker import EmbeddedBroker
from hub.demo.images import Supplier, UpgradeFile
from hub.demo.report import Collector, Report
from hub.disk import RealDisk
from hub.energy_service import EnergyServiceSettings
from hub.flash import Flash
from hub.house import coordinator_at
from hub.hub import Bearings, Hub, HubSettings
from hub.messages import Envelopes, HubState, JoinRequest, Response, TransferRequest
from hub.mqtt import BrokerAddress, Mailbox, MailboxSettings
from ota.eui64 import Eui64
from ota.image import Header

_HOUSE = "demo-house"
_PAN_ID, _CHANNEL = 0x6742, 15
_CHUNK = 4096
"""Octets of image in one message: small, so that even a small image is under way for a while."""
WATCHDOG_PERIOD = 6 * 3600.0
"""Seconds between two questions whether the dongle lives. bellows asks every ten, which would make the three
weeks of the story cost minutes."""
KEEP_ALIVE_BASE = 180
"""Minutes between two questions of a device whether the hub lives. At the usual ten, half of all the frames
of those weeks would be such questions."""

ADMISSION_ATTEMPTS, ADMISSION_PAUSE = 15, 25.0
"""How often to ask for a device's admission, and how many seconds to wait in between. A dongle sends no more
than a few broadcasts in nine seconds, and keeps the install codes of few devices for five minutes each."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What is left to chance, and how much of it."""

    seed: int
    loss: float = 0.0
    """Share of the receptions that the air loses."""
    serial_loss: float = 0.0
    """Share of the writes on the serial line that are damaged."""

    def dice(self, whose: str) -> random.Random:
        """Dice of one's own, thrown from the seed."""
        return random.Random(f"{self.seed} {whose}")


class HubOnMains:
    """A hub whose power can be cut and come back; its state directory and the dongle outlive the cut."""

    def __init__(self, open_hub: Callable[[], Awaitable[Hub]], tasks: asyncio.TaskGroup) -> None:
        self._open_hub = open_hub
        self._tasks = tasks
        self._hub: Hub | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def hub(self) -> Hub:
        """The running hub."""
        assert self._hub is not None, "the hub has no power"
        return self._hub

    async def power_on(self) -> None:
        """Start the hub; returns when it serves, which it does before it finds its broker."""
        self._hub = await self._open_hub()
        self._running = self._tasks.create_task(self._hub.run(), name="hub")
        await self._hub.ready()

    async def cut(self) -> None:
        """Cut its power at this instant: no goodbye, nothing written any more."""
        await self.hub.crash()
        await self._stop()

    async def power_off(self) -> None:
        """Stop it in order."""
        await self._stop()

    async def _stop(self) -> None:
        running, self._running, self._hub = self._running, None, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])


@dataclass(slots=True)
class Stage:
    """What the story plays on; made by `open_stage`."""

    house: House
    mains: HubOnMains
    state: Path
    """Where the hub keeps what it must not forget."""
    hub_eui64: Eui64
    dsp: Dsp
    facts: Facts
    report: Report
    collector: Collector
    described: dict[str, DeviceDescription]
    supplier: Supplier
    seed: int
    _user: Mailbox
    _envelopes: Envelopes
    _utc: Utc
    _loop: asyncio.AbstractEventLoop
    files: list[UpgradeFile] = field(default_factory=list)
    addresses: dict[int, Eui64] = field(default_factory=dict)
    """Who had which network address; the hub tells."""
    _state: HubState | None = None
    _admissions: dict[str, asyncio.Future[Response]] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Virtual seconds since the demo began."""
        return self._loop.time()

    def utc(self, seconds_from_now: float) -> datetime:
        """What UTC it will be then."""
        return self._utc.at(self.now + seconds_from_now)

    def tell(self, who: str, text: str) -> None:
        """Say something that only the story knows."""
        self.facts.say("story", "story", name=who, text=text)

    def image(self, device: DeviceDescription, version: int, size: int) -> UpgradeFile:
        """An upgrade file for this device; the same one when asked again."""
        made = self.supplier.make(device, version, size, self.seed)
        return self._kept(made)

    def forged_image(self, device: DeviceDescription, version: int, size: int) -> UpgradeFile:
        """A file like that, in whose Manufacturer Image somebody has changed a bit."""
        made = self.supplier.make(device, version, size, self.seed)
        return self._kept(made.forged())

    def adopt_image(self, device: DeviceDescription, data: bytes) -> UpgradeFile:
        """An upgrade file from outside, which the house's device was made to fit."""
        return self._kept(UpgradeFile(device, Header.parse(data).file_version, data))

    def _kept(self, file: UpgradeFile) -> UpgradeFile:
        if all(known.image_id != file.image_id for known in self.files):
            self.files.append(file)
            self.facts.say(
                "story",
                "image.made",
                image=file.image_id,
                device=file.device.name,
                version=f"{file.version:08X}",
                size=len(file.data),
            )
        return file

    def hear(self, fact: Fact) -> None:
        """Note where the hub says that a device is."""
        if fact.who == "hub" and fact.what in ("device.joined", "device.moved"):
            self.addresses[fact.nwk] = Eui64.parse(fact.device)

    async def admit(self, device: DeviceDescription) -> None:
        """Ask the hub over MQTT to admit a device, as `gbhan join` does; again while its radio is busy."""
        for _ in range(ADMISSION_ATTEMPTS):
            request = JoinRequest(
                device=str(device.eui64),
                install_code=bytes(device.install_code).hex(),
                device_type=device.kind.value,
                key_establishment=device.establishes_keys,
                **self._envelopes.stamp(),
            )
            answered = self._admissions[request.id] = self._loop.create_future()
            await self._user.publish(messages.topic_of(self.hub_eui64, request), messages.encode(request))
            # Whoever is not let in will be missed; a hub that says nothing must not be waited for for ever.
            await asyncio.wait([answered], timeout=ADMISSION_PAUSE)
            if answered.done() and answered.result().code != "radio-down":
                return
            await asyncio.sleep(ADMISSION_PAUSE)

    async def give_up(self, device: Eui64) -> None:
        """Ask the hub over MQTT to end the device's download, as `gbhan transfer abort` does."""
        request = TransferRequest(device=str(device), action="abort", **self._envelopes.stamp())
        await self._user.publish(messages.topic_of(self.hub_eui64, request), messages.encode(request))

    @property
    def held_image(self) -> str | None:
        """The id of the image in the shared slot, as the hub last said on MQTT."""
        return None if self._state is None or self._state.image is None else self._state.image.image_id

    async def hear_state(self, _: str, payload: bytes) -> None:
        """Note what the hub says of itself."""
        self._state = messages.decode(payload, HubState)

    async def hear_response(self, _: str, payload: bytes) -> None:
        """Say what the hub answers to an admission."""
        response = messages.decode(payload, Response)
        answered = self._admissions.pop(response.in_reply_to, None)
        if answered is not None and not answered.done():
            answered.set_result(response)
        self.facts.say("story", "join.answered", ok=response.ok, code=response.code, why=response.reason)


def prepared_home(home: Home, supplier: Supplier, image: bytes | None) -> Home:
    """The home with the supplier's key where it is checked, and a PPMID that fits a file from outside."""
    devices = []
    for device in home.devices:
        changes: dict[str, object] = {}
        if device.kind is not Kind.PPMID:
            changes["supplier_key"] = supplier.public_key
        elif image is not None and device.name == "ppmid":
            changes |= _fitting(Header.parse(image))
        devices.append(msgspec.structs.replace(device, **changes) if changes else device)
    return msgspec.structs.replace(home, devices=tuple(devices))


def _fitting(header: Header) -> dict[str, object]:
    """What a device must be for an image to be meant for it, and its version one below the image's."""
    fitting: dict[str, object] = {
        "manufacturer": header.manufacturer,
        "image_type": header.image_type,
        "file_version": max(0, header.file_version - 1),
    }
    if header.hardware_versions is not None:
        fitting["hardware_version"] = header.hardware_versions.minimum
    return fitting


@asynccontextmanager
async def open_stage(
    house: House,
    chance: Chance,
    *,
    report: Report,
    facts: Facts,
    supplier: Supplier,
    source_routing: bool = False,
    wan: Callable[[BrokerAddress], AbstractAsyncContextManager[BrokerAddress]] = nullcontext,
) -> AsyncIterator[Stage]:
    """Start everything, in the order in which it is started on the bench, and stop it in reverse.

    ``source_routing`` is as in `han.radio.RadioSettings`. ``wan`` is the hub's way to the broker: given where
    that is, it opens and says where the hub finds it; by default there, without anything in between.
    """
    loop = asyncio.get_running_loop()
    utc = Utc(loop)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gbhan-")))
        register_house(_HOUSE, house)
        stack.callback(forget_house, _HOUSE)
        broker = await stack.enter_async_context(EmbeddedBroker.on_socket(folder / "mqtt"))

        network_dice = chance.dice("network")
        stubs = house.home.stub_clusters
        radio = RadioSettings(
            url=f"sim://{_HOUSE}",
            state=folder,
            further_clusters=tuple(stub.cluster for stub in stubs),
            watchdog_period=WATCHDOG_PERIOD,
            source_routing=source_routing,
            entropy=network_dice.randbytes,
        )
        network = NetworkSettings(
            channel=house.home.channel or _CHANNEL,
            pan_id=_PAN_ID,
            extended_pan_id=Eui64(network_dice.getrandbits(64)),
            network_key=network_dice.randbytes(16),
        )
        security = SecuritySettings(credentials=lambda eui64: (house.certified(eui64, Suite.TWO),))
        state = folder / "state"
        state.mkdir(mode=0o700)
        bearings = Bearings.seeded(utc, facts, chance.dice("hub"))
        reached = await stack.enter_async_context(wan(broker.address))

        async def open_hub() -> Hub:
            return await Hub.open(
                HubSettings(
                    energy_service=EnergyServiceSettings(keep_alive_base=KEEP_ALIVE_BASE, stubs=stubs)
                ),
                open_house=coordinator_at(radio, network, security, facts),
                flash=Flash(RealDisk(state)),
                mailbox=replace(MailboxSettings.in_simulation(reached, "hub"), waits=True),
                bearings=bearings,
            )

        mains = HubOnMains(open_hub, await stack.enter_async_context(asyncio.TaskGroup()))
        await mains.power_on()
        stack.push_async_callback(mains.power_off)
        hub_eui64 = mains.hub.eui64

        store = Store("sqlite://")
        stack.callback(store.close)
        dsp_dice = chance.dice("dsp")
        dsp_mailbox = await stack.enter_async_context(
            Mailbox(
                MailboxSettings.in_simulation(broker.address, "gbhan-dsp"),
                who="dsp",
                facts=facts,
                dice=dsp_dice,
            )
        )
        dsp = await stack.enter_async_context(
            Dsp(
                dsp_mailbox,
                store,
                DspSettings(carriage=CarriageSettings(chunk_size=_CHUNK)),
                facts=facts,
                utc=utc,
                new_id=lambda: f"{dsp_dice.getrandbits(128):032x}",
            )
        )
        dsp.enrol_hub(hub_eui64)
        # The head end knows a device and its version before the device is in its home: it was notified.
        dsp.enrol(
            [
                Device(
                    eui64=device.eui64,
                    device_type=device.kind.value,
                    hub=hub_eui64,
                    version=f"{device.file_version:08X}",
                    status=DeviceStatus.PENDING,
                )
                for device in house.home.devices
                if device.kind is not Kind.ROUTER  # no device type of DUIS: the head end knows none
            ]
        )

        user_dice = chance.dice("user")
        user = await stack.enter_async_context(
            Mailbox(
                MailboxSettings.in_simulation(broker.address, "user"), who="user", facts=facts, dice=user_dice
            )
        )
        device_types = {str(device.eui64): device.kind.value for device in house.home.devices}
        stage = Stage(
            house=house,
            mains=mains,
            state=state,
            hub_eui64=hub_eui64,
            dsp=dsp,
            facts=facts,
            report=report,
            collector=Collector(report, device_types),
            described={device.name: device for device in house.home.devices},
            supplier=supplier,
            seed=chance.seed,
            _user=user,
            _envelopes=Envelopes(utc.now, lambda: f"{user_dice.getrandbits(128):032x}"),
            _utc=utc,
            _loop=loop,
        )
        stack.callback(facts.subscribe(stage.collector.hear))
        stack.callback(facts.subscribe(stage.hear))
        await user.on(messages.topic(hub_eui64, HubState.TOPIC), stage.hear_state)
        await user.on(messages.topic(hub_eui64, "response/join"), stage.hear_response)
        yield stage
