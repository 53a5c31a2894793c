"""A month in the life of one home: the true program, a bad air, power cuts, outages, Service Users who ask.

Everything is thrown from one seed. `Month` lives through it and hears every fact; `Month.broken` says in
words which promise did not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import msgspec
from alert_promises import AlertsTold

from han.clock import Utc, monotonic_seconds
from han.facts import Fact, Facts
from han.gbcs.parties import SUPPLIER
from han.sim.home import DeviceDescription, Home, Kind, read_home
from han.sim.house import House
from hub.dcc.requests import (
    ActivateFirmware,
    ReadFirmwareVersion,
    ServiceRequest,
    UpdateFirmware,
    UpdatePpmidFirmware,
)
from hub.demo.images import Supplier, UpgradeFile
from hub.demo.report import Report
from hub.demo.stage import Chance, Stage, open_stage, prepared_home
from hub.demo.telling import Telling
from hub.mqtt import BrokerAddress
from ota.eui64 import Eui64

HOUR, DAY = 3600.0, 86_400.0
SMALLEST, LARGEST = 1024, 6 * 1024
"""Octets of an upgrade file: small, as a month shows endurance and not speed."""
DISK_LIMIT = LARGEST + 96 * 1024
"""Octets that the hub may need: the image in the slot, and its memory of some 500 alerts and requests."""
MOST_TASKS = 60
"""Of the whole program in one process: some 45, however long it has run."""
LONGEST_WAIT = 40 * DAY
"""An update ends after 28 days at the latest; what is open much longer waits for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How hard the month is.

    Attributes:
        seed: decides everything.
        days: how long Service Users ask; the world lives on until all has ended.
        loss: share of the receptions that the air loses.
        requests_a_day: Service Requests, on average.
        device_cuts_a_day: power cuts of a device, on average. The hub has exactly one a day.
        outage_every: days; once in each such time the hub loses its way to the broker.
        outage_hours: the shortest and the longest of these outages.
    """

    seed: int
    days: int = 30
    loss: float = 0.1
    requests_a_day: float = 12.0
    device_cuts_a_day: float = 1.0
    outage_every: float = 7.0
    outage_hours: tuple[float, float] = (2.0, 72.0)


class Wan:
    """The hub's way to the broker, which can be cut.

    The broker stays, and the head end at it: the embedded one keeps nothing for those who are away, and what
    would be lost by that is not the hub's doing.
    """

    def __init__(self) -> None:
        self._door: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._here = self._there = ""

    @contextlib.asynccontextmanager
    async def to(self, broker: BrokerAddress) -> AsyncIterator[BrokerAddress]:
        """Open it, and say where it begins."""
        self._there, self._here = broker.host, f"{broker.host}-wan"
        await self.mend()
        yield replace(broker, host=self._here)
        self.cut()

    def cut(self) -> None:
        """Nobody gets through from now on, nor do those who had."""
        if self._door is not None:
            self._door.close()
            Path(self._here).unlink(missing_ok=True)
        for end in list(self._ends):
            end.close()

    async def mend(self) -> None:
        """Let them through again."""
        self._door = await asyncio.start_unix_server(self._knock, self._here)

    async def _knock(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond_reader, beyond = await asyncio.open_unix_connection(self._there)
        self._ends |= {writer, beyond}
        await asyncio.gather(_carry(reader, beyond), _carry(beyond_reader, writer))
        self._ends -= {writer, beyond}


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while octets := await reader.read(65_536):
            writer.write(octets)
    writer.close()


def _make(name: str) -> str:
    """Which make a device is of: twins take each other's images."""
    return name.removesuffix("-twin")


def month_home(supplier: Supplier) -> Home:
    """The demo's home with a second PPMID of the first one's make, and a gas meter that sleeps."""
    home = read_home("demo")
    devices = []
    for each in home.devices:
        devices.append(msgspec.structs.replace(each, sleeps=True) if each.kind is Kind.GSME else each)
        if each.name == "ppmid":
            devices.append(msgspec.structs.replace(each, name="ppmid-twin", eui64=Eui64(each.eui64 + 0x100)))
    return prepared_home(msgspec.structs.replace(home, devices=tuple(devices)), supplier, None)


@dataclass(slots=True)
class Tally:
    """What was heard, in numbers."""

    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    alerts: Counter[str] = field(default_factory=Counter)
    hub_cuts: int = 0
    device_cuts: int = 0
    outages: int = 0
    outage_hours: float = 0.0
    preemptions: int = 0
    facts: int = 0
    disk: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)


class Month:
    """Lives through a plan. ``say`` is given a line for each virtual day."""

    def __init__(self, plan: Plan, say: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self.tally = Tally()
        self.unmet: list[str] = []
        self._say = say
        self._open: set[tuple[str, str]] = set()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._ids: list[str] = []
        self._files: dict[str, UpgradeFile] = {}
        self._latest: dict[str, UpgradeFile] = {}
        self._held: dict[str, UpgradeFile] = {}
        self._versions: Counter[str] = Counter()
        self._completed: set[tuple[str, str]] = set()
        self._activated: set[tuple[str, str]] = set()
        self._addresses: dict[str, str] = {}
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of every fact, but for the name of the folder of the run."""
        return self._digest.hexdigest()

    async def live(self) -> None:
        """The whole of it, up to the end of the last request."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.unmet.append(f"nobody caught: {context}"))
        plan = self.plan
        facts = Facts(loop.time)
        facts.subscribe(self._hear)
        supplier = Supplier()
        house = House(month_home(supplier), facts=facts, utc=Utc(loop).at, seed=plan.seed, loss=plan.loss)
        house.run_on(loop)
        self._addresses = {each.name: str(each.eui64) for each in house.home.devices}
        wan = Wan()
        chance, report = Chance(plan.seed, plan.loss), Report(seed=plan.seed)
        async with open_stage(
            house, chance, report=report, facts=facts, supplier=supplier, wan=wan.to
        ) as stage:
            self._alerts = AlertsTold(stage.hub_eui64, Utc(loop))
            facts.subscribe(self._alerts.hear)
            telling = Telling(stage)
            await telling.everybody_joins()
            self.unmet += telling.unmet
            await self._live_on(stage, wan)
            self._look_back(stage)
        house.stop()

    async def _live_on(self, stage: Stage, wan: Wan) -> None:
        began = stage.now
        async with asyncio.TaskGroup() as tasks:
            for life in (self._users(stage), self._hub_cuts(stage), self._device_cuts(stage)):
                tasks.create_task(life)
            tasks.create_task(self._outages(wan))
            for day in range(self.plan.days):
                real = monotonic_seconds()
                await asyncio.sleep(began + (day + 1) * DAY - stage.now)
                self._day_is_over(stage, day + 1, monotonic_seconds() - real)
        real = monotonic_seconds()
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                for request_id in self._ids:
                    await stage.dsp.finished(request_id)
        except TimeoutError:
            self.unmet.append(f"open after {LONGEST_WAIT / DAY:g} more days: {sorted(self._open)}")
        await asyncio.sleep(DAY)
        self._day_is_over(stage, round((stage.now - began) / DAY), monotonic_seconds() - real)

    # --- what happens to them ------------------------------------------------------------------------------

    def _dice(self, whose: str) -> random.Random:
        return random.Random(f"{self.plan.seed} month {whose}")

    async def _hub_cuts(self, stage: Stage) -> None:
        """Once a day the hub loses its power, in outages too."""
        dice = self._dice("hub")
        for _ in range(self.plan.days):
            at = dice.uniform(0, 0.95 * DAY)
            began = stage.now
            await asyncio.sleep(at)
            await stage.mains.cut()
            self.tally.hub_cuts += 1
            await asyncio.sleep(dice.uniform(5, 600))
            await stage.mains.power_on()
            await asyncio.sleep(max(0.0, began + DAY - stage.now))

    async def _device_cuts(self, stage: Stage) -> None:
        dice = self._dice("devices")
        end = stage.now + self.plan.days * DAY
        while True:
            await asyncio.sleep(dice.expovariate(self.plan.device_cuts_a_day) * DAY)
            if stage.now > end:
                return
            device = stage.house.devices[dice.choice(sorted(stage.house.devices))]
            device.power_off()
            self.tally.device_cuts += 1
            # Mostly a moment; sometimes somebody has pulled a plug and finds it half a day later.
            await asyncio.sleep(dice.choice([1.0, 30.0, HOUR, 12 * HOUR]) * dice.uniform(0.5, 1.5))
            device.power_on()

    async def _outages(self, wan: Wan) -> None:
        dice = self._dice("outages")
        every = self.plan.outage_every * DAY
        shortest, longest = self.plan.outage_hours
        for _ in range(int(self.plan.days * DAY / every)):
            lasts = shortest * (longest / shortest) ** dice.random() * HOUR
            at = dice.uniform(0, every - lasts)
            await asyncio.sleep(at)
            wan.cut()
            self.tally.outages += 1
            self.tally.outage_hours += lasts / HOUR
            await asyncio.sleep(lasts)
            await wan.mend()
            await asyncio.sleep(every - at - lasts)

    # --- what they are asked -------------------------------------------------------------------------------

    async def _users(self, stage: Stage) -> None:
        dice = self._dice("users")
        end = stage.now + self.plan.days * DAY
        asks: dict[Callable[[Stage, random.Random], tuple[str, ServiceRequest]], int] = {
            self._update_ppmid: 5,
            self._update_meter: 4,
            self._read: 4,
            self._activate: 6,
        }
        while True:
            await asyncio.sleep(dice.expovariate(self.plan.requests_a_day) * DAY)
            if stage.now > end:
                return
            (ask,) = dice.choices(list(asks), list(asks.values()))
            kind, request = ask(stage, dice)
            await self._submit(stage, kind, request)
            if request.service.is_update and dice.random() < 0.3:
                # A gas image on its heels: it takes the slot, while the other is on the WAN or on the HAN.
                await asyncio.sleep(120 * dice.random() ** 3)
                gas = self._file(stage, stage.described["gsme"], dice)
                request = UpdateFirmware(image=gas.data, devices=(gas.device.eui64,))
                await self._submit(stage, "11.1 gsme", request)

    async def _submit(self, stage: Stage, kind: str, request: ServiceRequest) -> None:
        response = await stage.dsp.submit(request)
        self.tally.asked[kind] += 1
        if response.ok:
            self._ids.append(response.request_id)
        else:
            self.tally.refused[f"{response.service_request.value} {response.code}"] += 1

    def _update_ppmid(self, stage: Stage, dice: random.Random) -> tuple[str, ServiceRequest]:
        name = dice.choice(["ppmid", "ppmid", "ppmid-twin", "ppmid-silent"])
        device, kind = stage.described[name], f"11.4 {name}"
        devices: tuple[Eui64, ...] = (device.eui64,)
        throw = dice.random()
        if name == "ppmid" and throw < 0.5:
            devices, kind = (device.eui64, stage.described["ppmid-twin"].eui64), "11.4 ppmid and twin"
        elif throw > 0.9:
            device = msgspec.structs.replace(device, hardware_version=0x7700)
            kind = "11.4 for other hardware"
        file = self._file(stage, device, dice)
        return kind, UpdatePpmidFirmware(image=file.data, devices=devices)

    def _update_meter(self, stage: Stage, dice: random.Random) -> tuple[str, ServiceRequest]:
        name = dice.choice(["esme", "gsme", "hcalcs"])
        device, kind = stage.described[name], f"11.1 {name}"
        throw, supplier = dice.random(), stage.supplier
        if throw < 0.1:
            device, kind = msgspec.structs.replace(device, hardware_version=0x7700), "11.1 for other hardware"
        elif throw < 0.2:
            supplier, kind = Supplier(Eui64(SUPPLIER + 1)), "11.1 signed by somebody else"
        file = self._file(stage, device, dice, supplier)
        return kind, UpdateFirmware(image=file.data, devices=(device.eui64,))

    def _read(self, stage: Stage, dice: random.Random) -> tuple[str, ServiceRequest]:
        name = dice.choice(sorted(stage.described))
        return f"11.2 {name}", ReadFirmwareVersion(device=stage.described[name].eui64)

    def _activate(self, stage: Stage, dice: random.Random) -> tuple[str, ServiceRequest]:
        name = dice.choice(["esme", "gsme", "hcalcs"])
        device, throw = stage.described[name].eui64, dice.random()
        # Mostly of the image that it has; now and then of one that is still on its way, or of none at all.
        file = (self._held if dice.random() < 0.7 else self._latest).get(name)
        digest = file.manufacturer_image_hash if file is not None and throw > 0.1 else dice.randbytes(32)
        if throw < 0.6:
            return "11.3 now", ActivateFirmware(device=device, manufacturer_image_hash=digest)
        if throw < 0.75:
            return "11.3 cancel", ActivateFirmware(
                device=device, manufacturer_image_hash=digest, cancels=True
            )
        later = Utc(asyncio.get_running_loop()).now() + timedelta(hours=round(72 * dice.random() ** 2, 2))
        return "11.3 dated", ActivateFirmware(
            device=device, manufacturer_image_hash=digest, execution_time=later.replace(microsecond=0)
        )

    def _file(
        self,
        stage: Stage,
        device: DeviceDescription,
        dice: random.Random,
        supplier: Supplier | None = None,
    ) -> UpgradeFile:
        make = _make(device.name)
        self._versions[make] += 1
        version = device.file_version + self._versions[make] * 0x100
        size = dice.randrange(SMALLEST, LARGEST)
        file = (supplier or stage.supplier).make(device, version, size, self.plan.seed)
        self._files[file.image_id] = file
        self._latest[device.name] = file
        return file

    # --- what is heard -------------------------------------------------------------------------------------

    def _hear(self, fact: Fact) -> None:
        self.tally.facts += 1
        self._digest.update(re.sub(r"gbhan-[0-9a-z_]{8}", "gbhan-", fact.to_json()).encode())
        match fact.who, fact.what:
            case "dsp", "request.accepted":
                self._open |= {(fact.request, device) for device in fact.devices}
            case "dsp", "request.ended":
                part = fact.request, fact.device
                self._ended[part] += 1
                self._open.discard(part)
                self.tally.outcomes[fact.service][fact.outcome] += 1
                if fact.outcome == "activated" and (fact.device, fact.version_after) not in self._activated:
                    self.unmet.append(f"{part} ends as activated, and nobody runs {fact.version_after}")
            case "dsp", "alert.received":
                self.tally.alerts[f"{fact.kind} {fact.code} {fact.response}"] += 1
            case "hub", "slot.preempted" if fact.unfinished:
                self.tally.preemptions += 1
            case name, "ota.complete":
                self._complete(name, fact)
            case name, "device.activated":
                self._activated.add((self._addresses[name], fact.version))
                if (name, fact.version) not in self._completed:
                    self.unmet.append(f"{name} runs {fact.version}, of which it had no whole image")

    def _complete(self, name: str, fact: Fact) -> None:
        file = self._files.get(fact.image)
        if file is None:
            self.unmet.append(f"{name} holds an image that nobody made: {fact.image}")
        elif f"{file.version:08X}" != fact.version or _make(file.device.name) != _make(name):
            self.unmet.append(f"{name} holds the image {fact.image} of another device or version")
        else:
            self._held[name] = file
        self._completed.add((name, fact.version))

    def _day_is_over(self, stage: Stage, day: int, real: float) -> None:
        tally = self.tally
        tally.disk.append(sum(each.stat().st_size for each in stage.state.iterdir()))
        tally.tasks.append(len(asyncio.all_tasks()))
        if tally.disk[-1] > DISK_LIMIT:
            self.unmet.append(f"day {day}: the hub's disk has grown to {tally.disk[-1]} octets")
        self._say(
            f"day {day:3}  {tally.facts:7} facts  {sum(tally.asked.values()):4} asked"
            f"  {len(self._open):3} open  {sum(tally.alerts.values()):4} alerts"
            f"  {tally.hub_cuts + tally.device_cuts:3} cuts  {tally.outages} outages"
            f"  disk {tally.disk[-1]:6}  {tally.tasks[-1]:3} tasks  {real:6.1f} s"
        )

    def _look_back(self, stage: Stage) -> None:
        for part, times in self._ended.items():
            if times > 1:
                self.unmet.append(f"{part} ended {times} times")
        self.unmet += [f"{part} never ended" for part in sorted(self._open)]
        self.unmet += self._alerts.broken()
        for request_id in self._ids:
            told: Counter[Eui64] = Counter(
                line.device
                for line in stage.dsp.story(request_id)
                if line.event.startswith("Firmware Transfer Alert")
            )
            self.unmet += [
                f"{request_id}: {times} Firmware Transfer Alerts for {device}"
                for device, times in told.items()
                if times > 1
            ]
        memory = stage.mains.hub.custody.memory
        if memory.alerts or memory.activations:
            self.unmet.append(f"the hub still waits: {memory.alerts} {memory.activations}")
        if self.tally.tasks[-1] > MOST_TASKS:
            self.unmet.append(f"tasks pile up: {self.tally.tasks}")

    def summary(self) -> list[str]:
        """The numbers, for people."""
        tally = self.tally
        lines = [
            f"asked {dict(sorted(tally.asked.items()))}",
            f"refused {dict(sorted(tally.refused.items()))}",
        ]
        lines += [f"{service} {dict(outcomes)}" for service, outcomes in sorted(tally.outcomes.items())]
        lines += [
            f"alerts {dict(sorted(tally.alerts.items()))}",
            f"cuts: hub {tally.hub_cuts}, devices {tally.device_cuts}",
            f"outages {tally.outages} ({tally.outage_hours:.0f} h), preemptions {tally.preemptions}",
            f"disk at most {max(tally.disk)} octets",
            f"facts {self.digest}",
        ]
        return lines + [f"BROKEN: {each}" for each in self.unmet]
