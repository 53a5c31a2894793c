"""A hub, its devices and the air between them, on one clock.

The hub is the true slot and the true OTA server, put together as the program does it; each device is the true
client over a flash that outlives its power. Nothing else is real: a frame is a command that arrives later, or
never.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

from ota_pair import over_the_wire
from ota_promises import BrokenPromiseError, Promises
from ota_schedule import Described, Schedule

from hub.slot import Accepted, Assignment, Candidate, Fate, Held, Joined, Preempted, Slot, Stage
from ota import client, server
from ota.commands import Command, ImageBlockResponse, ImageNotify
from ota.errors import OurError
from ota.eui64 import Eui64

STEPS_AT_ONCE = 3000
"""A machine that takes more steps while no time passes runs in circles."""
STEPS = 60_000
"""A world that takes more steps does not come to an end."""
ARRIVES_WITHIN = (10.0, 30.0, 600.0)
"""Seconds until an image that was accepted is on the hub's flash."""
AT_REST = (client.State.NORMAL, client.State.WAITING, client.State.EXTERNAL)


@dataclass(frozen=True, slots=True)
class Machines:
    """What is tried: the true machines, or one that is broken on purpose."""

    server: type[server.OtaServer] = server.OtaServer
    client: type[client.OtaClient] = client.OtaClient
    slot: type[Slot] = Slot


class Hub:
    """The slot, the OTA server, and a flash that outlives the power."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept: Held | None = None
        self.cut_in: int | None = None
        """The power goes after so many more things that the server says."""
        self.start()

    @property
    def held(self) -> Held | None:
        """The image in the slot."""
        return self._slot.held

    def start(self) -> None:
        """Power on, with what the flash kept."""
        schedule, machines = self._world.schedule, self._world.machines
        self.is_up, self.cut_in = True, None
        self._slot = machines.slot(schedule.slot, self._kept)
        self._server = machines.server(schedule.server)
        held = self._slot.held
        if held is not None and held.stage is Stage.STORED:
            self._serve(held, held.assignments)
        elif held is not None:
            self._world.later(ARRIVES_WITHIN[0], partial(self._arrived, held.image_id))
        self._settle()

    def take_offer(self, candidate: Candidate) -> None:
        """The head end offers an image."""
        world = self._world
        decisions = self._slot.offer(candidate, world.now)
        self._keep()
        for decision in decisions:
            match decision:
                case Preempted(victim=victim):
                    world.promises.preempted(victim, candidate.priority)
                    self._server.withdraw(victim.image_id, world.now)
                    self._settle()
                case Accepted(image=image):
                    world.promises.accepted(image)
                    world.later(world.dice.choice(ARRIVES_WITHIN), partial(self._arrived, image.image_id))
                case Joined(image=image, added=added):
                    world.promises.accepted(image)
                    if image.stage is Stage.STORED and added:
                        self._serve(image, added)
        self._settle()

    def receive(self, peer: Eui64, command: Command, sequence: int) -> None:
        """Take a command, if there is power."""
        if self.is_up:
            self._server.receive(peer, command, sequence, self._world.now)
            self._settle()

    def tick(self) -> None:
        """Do what is due."""
        self._server.tick(self._world.now)
        self._settle()

    def timer(self) -> float | None:
        """When something is due."""
        return self._server.timer() if self.is_up else None

    def user(self, wish: Callable[[server.OtaServer], None]) -> None:
        """The user wants something; where it does not apply it is refused."""
        if self.is_up:
            with suppress(OurError):
                wish(self._server)
            self._settle()

    def remove(self, peer: Eui64) -> None:
        """The device is in the house no more: what waits for it has failed."""
        held = self._slot.held
        if self.is_up and held is not None and any(each.device == peer for each in held.unfinished):
            self._server.finished(peer, held.image_id)
            self._conclude(peer, held.image_id, Fate.FAILED)
            self._settle()

    def _arrived(self, image_id: str) -> None:
        """The last octet of an image is on the flash."""
        held = self._slot.held
        if self.is_up and held is not None and held.image_id == image_id and held.stage is Stage.ARRIVING:
            stored = self._slot.complete(self._world.now)
            self._keep()
            self._serve(stored, stored.assignments)
            self._settle()

    def _serve(self, held: Held, to: tuple[Assignment, ...]) -> None:
        file, now = self._world.promises.files[held.image_id], self._world.now
        for each in to:
            if each.fate is Fate.FAILED:
                continue
            activation = server.Activation.NOW if each.device_type == "PPMID" else server.Activation.WAIT
            target = frozenset([each.device])
            begun = target if each.has_begun else frozenset()
            offer = server.Offer(file.image_id, file.data, file.header, target, activation, begun)
            self._server.offer(offer, now)
            if each.fate is Fate.FINISHED:
                self._server.finished(each.device, held.image_id)

    def _settle(self) -> None:
        """Let out what the server has to say; the power may go between two words."""
        for item in self._server.drain():
            if self.cut_in is not None:
                if self.cut_in == 0:
                    self.is_up = False
                    self._world.later(self._world.while_away(), self.start)
                    return
                self.cut_in -= 1
            if isinstance(item, server.Send):
                self._say(item)
            else:
                self._tell(item)

    def _say(self, send: server.Send) -> None:
        world, command = self._world, send.command
        sequence = world.next_sequence() if send.sequence is None else send.sequence
        if send.peer == server.EVERYBODY:
            for device in world.devices.values():
                world.fly(command, partial(device.receive, sequence=sequence, is_broadcast=True))
            return
        refused_size = 0
        if isinstance(command, ImageBlockResponse):
            world.promises.served(send.peer, command, self._slot.held)
            if len(command.data) > world.schedule.air.largest_block:
                refused_size = len(command.data)
        device = world.devices[send.peer]
        arrives = not refused_size and world.fly(command, partial(device.receive, sequence=sequence))
        if refused_size or send.tells_outcome:
            done = partial(
                self._radio_is_done, self._server, send, delivered=arrives, is_too_long=refused_size > 0
            )
            world.later(world.dice.uniform(0.004, 0.01), done)

    def _radio_is_done(
        self, asked_by: server.OtaServer, send: server.Send, *, delivered: bool, is_too_long: bool
    ) -> None:
        if asked_by is not self._server or not self.is_up:
            return
        if is_too_long:
            self._server.too_long(send, self._world.now)
        if send.tells_outcome:
            self._server.sent(send, delivered, self._world.now)
        self._settle()

    def _tell(self, event: server.Event) -> None:
        self._world.happened[type(event).__name__] += 1
        match event:
            case server.TransferStarted(peer=peer, image_id=image_id):
                held = self._slot.held
                if held is not None and held.image_id == image_id and self._slot.begin(peer):
                    self._keep()
            case server.TransferCompleted(peer=peer, image_id=image_id):
                self._conclude(peer, image_id, Fate.FINISHED)
            case server.AlreadyRunning(peer=peer, image_id=image_id):
                held = self._slot.held
                assignment = None if held is None else held.assignment(peer)
                has_taken_it = assignment is not None and assignment.has_begun
                self._conclude(peer, image_id, Fate.FINISHED if has_taken_it else Fate.FAILED)
            case server.TransferFailed() | server.TransferAborted() | server.HardwareMismatch():
                self._conclude(event.peer, event.image_id, Fate.FAILED)
            case _:
                pass

    def _conclude(self, peer: Eui64, image_id: str, fate: Fate) -> None:
        held = self._slot.held
        if held is not None and held.image_id == image_id and self._slot.conclude(peer, fate) is not None:
            self._keep()
            self._world.promises.concluded(peer, image_id, fate)

    def _keep(self) -> None:
        self._kept = self._slot.held


class Device:
    """One device: its machine, its flash, and whether it is in reach."""

    def __init__(self, world: World, described: Described) -> None:
        self.described = described
        self._world = world
        self._identity = described.identity
        self._stored: client.StoredDownload | None = None
        self._aside: tuple[client.StoredDownload, ...] = ()
        self.is_in_reach = True
        self.start()

    @property
    def eui64(self) -> Eui64:
        """Its name for life."""
        return self.described.eui64

    @property
    def state(self) -> client.State:
        """Where it stands, or stood when its power went."""
        return self._client.state

    def start(self) -> None:
        """Power on, with what the flash kept."""
        dice = random.Random(self._world.dice.getrandbits(64))
        self.is_up = True
        self._client = self._world.machines.client(
            self.described.settings, self._identity, dice, self._stored, self._aside
        )
        self._client.start(self._world.now)
        self._settle()

    def lose_power(self) -> None:
        """Whatever is not in the flash is gone; the power comes back after a while."""
        if self.is_up:
            self.is_up = False
            self._identity = self._client.identity
            self._stored, self._aside = self._client.stored, self._client.aside
            self._world.later(self._world.while_away(), self.start)

    def lose_touch(self) -> None:
        """Leave the parent, and rejoin later. Under which address makes no difference to the machines."""
        self.is_in_reach = False
        self._world.later(self._world.while_away(), partial(setattr, self, "is_in_reach", True))

    def receive(self, command: Command, *, sequence: int, is_broadcast: bool = False) -> None:
        """Take a command, if there is power and it is in reach."""
        if self.is_up and self.is_in_reach:
            confirm = isinstance(command, ImageNotify) and not is_broadcast
            self._client.receive(command, sequence, self._world.now, broadcast=is_broadcast, confirm=confirm)
            self._settle()

    def tick(self) -> None:
        """Do what is due."""
        self._client.tick(self._world.now)
        self._settle()

    def timer(self) -> float | None:
        """When something is due."""
        return self._client.timer() if self.is_up else None

    def ask_now(self) -> None:
        """Somebody presses its button."""
        if self.is_up:
            self._client.ask_now(self._world.now)
            self._settle()

    def activate(self) -> None:
        """The command comes that lets a held image run; where none is held it is refused."""
        if self.is_up:
            with suppress(OurError):
                self._client.activate(self._world.now)
            self._settle()

    def _settle(self) -> None:
        world = self._world
        for item in self._client.drain():
            if isinstance(item, client.Send):
                if self.is_in_reach:
                    world.fly(item.command, partial(self._to_hub, sequence=item.sequence))
                continue
            world.happened[type(item).__name__] += 1
            match item:
                case client.BlockReceived():
                    stored = self._client.stored
                    if stored is not None:
                        world.promises.stored(item, stored.key, stored.data)
                case client.DownloadComplete():
                    world.promises.complete(self.eui64, item)
                case client.Activated():
                    world.promises.activated(self.eui64, item)
                case _:
                    pass

    def _to_hub(self, command: Command, *, sequence: int) -> None:
        self._world.hub.receive(self.eui64, command, sequence)


class World:
    """Both ends and the air. It knows what goes on; `ota_story` decides what goes wrong."""

    def __init__(self, schedule: Schedule, machines: Machines) -> None:
        self.schedule = schedule
        self.machines = machines
        self.dice = random.Random(f"world {schedule.seed}")
        self.now = 0.0
        self.is_peaceful = False
        """Nothing is lost, repeated or late any more."""
        self.happened: Counter[str] = Counter()
        """How often what was said, told or done."""
        self.promises = Promises({file.image_id: file for file in schedule.files})
        self.steps = 0
        self._steps_now = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._sequence = count(100)
        self.hub = Hub(self)
        self.devices = {each.eui64: Device(self, each) for each in schedule.devices}

    def step(self) -> bool:
        """Go to the next thing that happens, and let it. False if there is nothing.

        Raises:
            BrokenPromiseError: if things go on and on.
        """
        times = [device.timer() for device in self.devices.values()]
        times += [self._due[0][0] if self._due else None, self.hub.timer()]
        next_at = min((at for at in times if at is not None), default=None)
        if next_at is None:
            return False
        if next_at > self.now:
            self.now, self._steps_now = next_at, 0
        self.steps += 1
        self._steps_now += 1
        if self._steps_now > STEPS_AT_ONCE or self.steps > STEPS:
            raise BrokenPromiseError(f"no end: {self.steps} steps, {self._steps_now} of them at one time")
        if self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
            return True
        for machine in (*self.devices.values(), self.hub):
            due = machine.timer()
            if due is not None and due <= self.now:
                machine.tick()
        return True

    def is_over(self) -> bool:
        """Whether no session is open: nobody waits for an image, nobody takes one."""
        held = self.hub.held
        if self._due or (held is not None and (held.stage is Stage.ARRIVING or held.unfinished)):
            return False
        return not self.under_way()

    def under_way(self) -> list[str]:
        """The devices with an image under way, and where they stand."""
        return [
            f"{device.eui64} {device.state.name}"
            for device in self.devices.values()
            if not device.is_up or device.state not in AT_REST
        ]

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Do this after so many seconds."""
        heapq.heappush(self._due, (self.now + seconds, next(self._order), then))

    def while_away(self) -> float:
        """For how many seconds something is gone."""
        return self.dice.choice((0.0, 0.5, 20.0, 900.0, 7200.0))

    def next_sequence(self) -> int:
        """A ZCL sequence number for what nobody asked for."""
        return next(self._sequence) % 256

    def fly(self, command: Command, arrive: Callable[[Command], None]) -> bool:
        """Put a command on the air; whether it will arrive at all."""
        air, dice = self.schedule.air, self.dice
        self.happened[type(command).__name__] += 1
        heard = over_the_wire(command)
        if self.is_peaceful:
            self.later(dice.uniform(0.005, 0.02), partial(arrive, heard))
            return True
        arrives = False
        for _ in range(2 if dice.random() < air.repeats else 1):
            if dice.random() >= air.loss:
                arrives = True
                latest = air.late_by if dice.random() < air.stragglers else 0.02
                self.later(dice.uniform(0.005, latest), partial(arrive, heard))
        return arrives
