"""The Communications Hub: one radio, one broker, two slots, and what happens between them.

The parts know little of each other: the desk answers the head end, serving and activation talk to devices,
custody keeps what must survive, the outbox tells. This file puts them together, starts and stops them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from han.clock import Utc
from han.coordinator import Event, RadioBack, RadioLost
from han.errors import TheirError
from han.facts import Facts
from han.stack import DongleDetails
from han.zcl import OTA_CLUSTER, TUNNELLING_CLUSTER, ZclFrame, is_default_response
from hub import messages
from hub.activation import Activation
from hub.correspondence import Correspondence
from hub.custody import Custody
from hub.desk import Desk, Staff
from hub.device_alerts import DeviceAlerts
from hub.devices import Devices
from hub.energy_service import EPOCH, EnergyService, EnergyServiceSettings
from hub.errors import SurroundingsError
from hub.flash import Flash, FlashError
from hub.health import HealthRecord
from hub.house import Ears, House, OpenHouse
from hub.limits import Limits
from hub.line import Line
from hub.messages import Dongle, Envelopes, HubState
from hub.mqtt import Mailbox, MailboxSettings, Will
from hub.orders import Orders
from hub.outbox import Outbox
from hub.questions import Questions, QuestionSettings
from hub.reckoning import Moment
from hub.serving import Listeners, Serving
from hub.slot import Expired, SlotName, SlotSettings, Stage
from hub.steady import SteadySettings
from hub.terms import Terms
from hub.transfers import Transfers
from hub.tunnels import TunnelSettings
from hub.version_reading import VersionReading
from ota.eui64 import Eui64
from ota.server import ServerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """What a hub may do differently."""

    slot: SlotSettings = field(default_factory=SlotSettings)
    steady: SteadySettings = field(default_factory=SteadySettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    tunnels: TunnelSettings = field(default_factory=TunnelSettings)
    energy_service: EnergyServiceSettings = field(default_factory=EnergyServiceSettings)
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    tells_utc: bool = False
    """Whether devices are told times in UTC, as some want them, and not as delays."""
    terms: Mapping[Eui64, Terms] = field(default_factory=dict)
    """On what terms single devices are served; what is said on the running hub wins over it."""
    progress_every: float = 5.0
    """Seconds between two reports of one device's progress."""
    limits: Limits = field(default_factory=Limits)
    predates_secmp0007: bool = False
    """Whether the hub's own firmware is older: it takes no image for a PPMID or an HCALCS, sends no CCS08."""
    state_every: float = 1.0
    """Seconds between two reports of the hub's state, at least."""


@dataclass(frozen=True, slots=True)
class Bearings:
    """What a hub is given to find its way: the clock, the stream of facts, and where fresh ids come from."""

    utc: Utc
    facts: Facts
    dice: random.Random
    """Spreads reconnections, and under simulation makes the ids repeat with the seed."""
    new_id: Callable[[], str]

    @classmethod
    def seeded(cls, utc: Utc, facts: Facts, dice: random.Random) -> Bearings:
        """Ids from the dice, so that a run repeats. In earnest use dice that nobody can repeat."""
        return cls(utc, facts, dice, lambda: f"{dice.getrandbits(128):032x}")


class Hub:
    """A running Communications Hub. ``open`` brings the radio up, ``run`` serves until it is cancelled."""

    def __init__(
        self,
        settings: HubSettings,
        house: House,
        flash: Flash,
        mailbox: MailboxSettings,
        bearings: Bearings,
    ) -> None:
        self._settings = settings
        self._house = house
        self._facts = bearings.facts
        self._utc = bearings.utc
        self._loop = asyncio.get_running_loop()
        self._envelopes = Envelopes(bearings.utc.now, bearings.new_id)
        self._radio = "up"
        self._is_halted = False
        self._ready = asyncio.Event()
        self._refusal: asyncio.Future[FlashError] = self._loop.create_future()
        flash.on_refusal = self._say_refused  # raised to whoever opens the hub: there is nothing to stop yet
        self._slot_alarm: asyncio.TimerHandle | None = None
        self.eui64 = house.eui64
        _claim(flash, house.eui64)
        self.custody = Custody(
            flash,
            settings.slot,
            limits=settings.limits,
            steady=settings.steady,
            predates_secmp0007=settings.predates_secmp0007,
            hub=self.eui64,
            facts=self._facts,
            envelopes=self._envelopes,
            now=self._now,
        )
        self._health = HealthRecord(
            bearings.utc.now,
            self._loop.time,
            memory=lambda: flash.memory,
            free=flash.free,
            dongle=lambda: _described(house.dongle),
        )
        self._mailbox = Mailbox(
            replace(mailbox, client_id=f"gbhan-hub-{self.eui64.hex}"),
            who="hub",
            facts=self._facts,
            dice=bearings.dice,
            will=Will(messages.topic(self.eui64, HubState.TOPIC), messages.encode(self._will())),
        )
        self._outbox = Outbox(
            self._mailbox,
            self.custody,
            hub=self.eui64,
            facts=self._facts,
            state=lambda: self._state(online=True),
            state_every=settings.state_every,
        )
        self._line = Line(self._facts)
        self._line.connect(house)
        self.devices = Devices(self.custody, self._changed)
        self._questions = Questions(settings.questions, self._line)
        self._transfers = Transfers(
            settings.progress_every,
            self.custody,
            facts=self._facts,
            envelopes=self._envelopes,
            report=self._outbox.put,
        )
        listeners = Listeners(self._transfers, self.devices.runs, self._concluded)
        server = settings.server
        if settings.tells_utc:
            server = replace(server, utc=lambda at: round((bearings.utc.at(at) - EPOCH).total_seconds()))
        self._serving = Serving(server, self.custody, self._line, self._facts, listeners)
        self._orders = Orders(settings.terms, self.custody, self.devices, self._serving)
        self._correspondence = Correspondence(settings.tunnels, self._line, self._facts)
        self._device_alerts = DeviceAlerts(
            self.custody,
            self._correspondence,
            hub=self.eui64,
            envelopes=self._envelopes,
            now=self._now,
            owed=self._outbox.wake,
            version=self.devices.runs,
        )
        self._activation = Activation(
            self.custody,
            self._correspondence,
            hub=self.eui64,
            facts=self._facts,
            envelopes=self._envelopes,
            now=self._now,
            owed=self._outbox.wake,
            version=self.devices.runs,
        )
        self._energy_service = EnergyService(
            settings.energy_service,
            now=bearings.utc.now,
            suites=lambda: house.suites,
            has_firmware_for=self.custody.waits_for,
            facts=self._facts,
        )
        staff = Staff(
            self.custody,
            self.devices,
            self._serving,
            self._transfers,
            self._orders,
            self._activation,
            VersionReading(settings.questions, self._correspondence, self._questions),
            self._outbox,
            house,
        )
        self._desk = Desk(staff, facts=self._facts, envelopes=self._envelopes, changed=self._changed)
        flash.on_refusal = self._give_up

    @classmethod
    async def open(
        cls,
        settings: HubSettings,
        *,
        open_house: OpenHouse,
        flash: Flash,
        mailbox: MailboxSettings,
        bearings: Bearings,
    ) -> Hub:
        """Bring the radio up and take up what was left before a restart.

        Args:
            settings: see HubSettings.
            open_house: brings up the radio; see `hub.house.coordinator_at`.
            flash: the hub's state.
            mailbox: where the broker is; the hub chooses the client id itself.
            bearings: see Bearings.

        Raises:
            han.errors.SurroundingsError: if the radio cannot be used.
            SurroundingsError: if the state belongs to another hub.
        """
        ears = _EarsOnHold()
        house = await open_house(flash.memory, ears.ears)
        try:
            hub = cls(settings, house, flash, mailbox, bearings)
            hub._resume()
        except SurroundingsError:
            await house.close()
            raise
        ears.connect(hub._heard, hub._happened)
        return hub

    async def run(self) -> None:
        """Talk to the broker and serve the house until cancelled.

        Raises:
            BrokerError: if the broker is not there at the start, unless the mailbox is set to wait for it;
                later the hub waits in any case.
            FlashError: if the disk refuses.
        """
        try:
            await self._mailbox.on(messages.topic(self.eui64, "request/+"), self._desk.receive)
            await self._mailbox.on(messages.topic(self.eui64, "image/chunk"), self._desk.receive)
            self._mailbox.greet(self._greet)
            async with self._mailbox:
                self._ready.set()
                try:
                    await self._serve()
                finally:
                    await self._say_goodbye()
        finally:
            await self.close()

    async def _serve(self) -> None:
        """Send what is due until cancelled, or until the disk refuses."""
        sending = asyncio.ensure_future(self._outbox.run())
        try:
            ends: tuple[asyncio.Future[None] | asyncio.Future[FlashError], ...] = (sending, self._refusal)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
        if sending.done():
            await sending
        raise self._refusal.result()

    def _give_up(self, refusal: FlashError) -> None:
        """A hub that cannot keep what it decides must decide nothing more; a restart finds what was kept."""
        if self._refusal.done():
            return
        self._say_refused(refusal)
        self._health.refused(str(refusal))
        self._is_halted = True
        self._stop()
        self._refusal.set_result(refusal)

    def _say_refused(self, refusal: FlashError) -> None:
        self._facts.say("hub", "flash.refused", why=str(refusal))

    async def ready(self) -> None:
        """Return when the hub is at the broker, or serves its house while it waits for that."""
        await self._ready.wait()

    async def close(self) -> None:
        """Let go of radio and timers; everything that matters is on the flash already."""
        self._stop()
        await self._house.close()
        self._facts.say("hub", "hub.down", hub=str(self.eui64))

    def halt(self) -> None:
        """Stop dead in this instant, as in a power cut: nothing more is written, sent or taken."""
        self._is_halted = True
        self._stop()
        self._mailbox.crash()
        self._facts.say("hub", "hub.crashed")

    async def crash(self) -> None:
        """Stop dead and let go of the serial line, as a system does for a killed process. For tests."""
        self.halt()
        await self._house.close()

    def _stop(self) -> None:
        for part in (self._desk, self._serving, self._transfers, self._correspondence, self._line):
            part.stop()
        if self._slot_alarm is not None:
            self._slot_alarm.cancel()

    def _resume(self) -> None:
        self._orders.begin()
        images = list(self.custody.images())
        for held in images:
            if held.stage is Stage.STORED:
                self._serving.offer(held, held.assignments)
        self._activation.resume()
        self._arm_slot()
        self._facts.say("hub", "hub.up", hub=str(self.eui64), images=[held.image_id for held in images])

    def _now(self) -> Moment:
        return Moment(self._loop.time(), self._utc.now())

    # What the house tells.

    def _heard(self, sender: Eui64, cluster: int, zcl: bytes, aps_secured: bool) -> None:  # noqa: FBT001 - the seam's
        del aps_secured
        if self._is_halted:
            return
        try:
            frame = ZclFrame.parse(zcl)
        except TheirError as error:
            self._facts.say("hub", "zcl.refused", device=str(sender), cluster=cluster, why=str(error))
            return
        if self._correspondence.owes(sender):
            self._correspondence.heard_from(sender)
        if not frame.is_cluster_command and self._questions.receive(sender, frame):
            return
        is_for_a_machine = frame.is_cluster_command or is_default_response(frame)
        if cluster == OTA_CLUSTER and is_for_a_machine:
            self._serving.receive(sender, frame)
        elif cluster == TUNNELLING_CLUSTER and is_for_a_machine:
            self._correspondence.receive(sender, frame)
        elif (answer := self._energy_service.answer(sender, cluster, frame)) is not None:
            self._line.post(sender, cluster, answer)

    def _happened(self, event: Event) -> None:
        if self._is_halted:
            return
        match event:
            case RadioLost(why=why):
                self._radio = f"down: {why}"[:512]
                self._health.radio(is_up=False)
                self._changed()
            case RadioBack():
                self._radio = "up"
                self._health.radio(is_up=True)
                self._changed()
            case _:
                self.devices.heard(event)

    # What the parts tell.

    def _concluded(self) -> None:
        self._outbox.wake()
        self._changed()

    def _changed(self) -> None:
        self._outbox.restate()
        self._arm_slot()

    def _state(self, *, online: bool) -> HubState:
        return HubState(
            online=online,
            eui64=str(self.eui64),
            radio=self._radio,
            image=self.custody.picture(SlotName.SHARED) if online else None,
            esme_image=self.custody.picture(SlotName.ESME) if online else None,
            health=self._health.report(),
            **self._envelopes.stamp(),
        )

    def _will(self) -> HubState:
        return HubState(online=False, eui64=str(self.eui64), radio=self._radio, **self._envelopes.stamp())

    # The broker and the slots' own time.

    async def _greet(self) -> None:
        """Say where we stand: after a start, and after the broker was away."""
        for held in self.custody.images():
            stand = self.custody.stand(held.image_id)
            if stand is not None and not stand.complete:
                self._outbox.put(stand)
        self._changed()

    async def _say_goodbye(self) -> None:
        if not self._mailbox.is_connected:
            return
        topic = messages.topic(self.eui64, HubState.TOPIC)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._mailbox.publish(topic, messages.encode(self._state(online=False)), retain=True)

    def _arm_slot(self) -> None:
        if self._slot_alarm is not None:
            self._slot_alarm.cancel()
            self._slot_alarm = None
        if not self._is_halted:
            self._slot_alarm = self._loop.call_later(self.custody.wait(), self._slot_due)

    def _slot_due(self) -> None:
        decisions = self.custody.tick()
        for decision in decisions:
            if isinstance(decision, Expired):
                self._desk.let_go(decision.image.image_id, decision.image, "its retention had passed")
        if decisions:
            self._concluded()
        else:
            self._arm_slot()


class _EarsOnHold:
    """Keeps what the house tells while the hub is still getting up."""

    def __init__(self) -> None:
        self._kept: list[tuple[Eui64, int, bytes, bool] | Event] = []
        self._ears: Ears | None = None
        self.ears = Ears(self._message, self._event)

    def connect(
        self, message: Callable[[Eui64, int, bytes, bool], None], event: Callable[[Event], None]
    ) -> None:
        """Hand over what was kept, and from now on everything at once."""
        self._ears = Ears(message, event)
        for kept in self._kept:
            if isinstance(kept, tuple):
                message(*kept)
            else:
                event(kept)
        self._kept.clear()

    def _message(self, sender: Eui64, cluster: int, zcl: bytes, aps_secured: bool) -> None:  # noqa: FBT001 - the seam's
        if self._ears is None:
            self._kept.append((sender, cluster, zcl, aps_secured))
        else:
            self._ears.message(sender, cluster, zcl, aps_secured)

    def _event(self, event: Event) -> None:
        if self._ears is None:
            self._kept.append(event)
        else:
            self._ears.event(event)


def _described(dongle: DongleDetails | None) -> Dongle | None:
    return None if dongle is None else Dongle(**asdict(dongle))


def _claim(flash: Flash, hub: Eui64) -> None:
    """The state is this hub's from now on.

    Raises:
        SurroundingsError: if it is another's.
    """
    owner = flash.memory.hub
    if owner is None:
        flash.change(hub=hub)
    elif owner != hub:
        raise SurroundingsError(
            f"the state directory belongs to hub {owner}, but this radio is {hub}: give another --state,"
            " or plug in the dongle that it was made with"
        )
