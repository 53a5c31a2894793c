"""What goes wrong in a world, and when; and that everything comes to its end afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ota_promises import BrokenPromiseError
from ota_schedule import Schedule
from ota_world import Device, Machines, World

from hub.slot import Assignment, Candidate
from ota.eui64 import Eui64
from ota.server import DeviceSettings

PATIENCE = 14 * 86_400.0
"""Virtual seconds after the last mischief in which every session must have ended."""
CHANCE_WHEN_IDLE = 0.3
"""Of some mischief after a step while no download is under way."""


def live(seed: int, machines: Machines | None = None) -> World:
    """Live through the schedule of this seed, always in the same way; the world at its end.

    Raises:
        BrokenPromiseError: naming what happened that must not.
    """
    schedule = Schedule.draw(seed)
    world = World(schedule, machines or Machines())
    story = _Story(world)
    story.offer()
    for _ in range(schedule.incidents):
        while world.step():
            busy = bool(world.under_way())
            if world.dice.random() < (schedule.chance if busy else CHANCE_WHEN_IDLE):
                break
        story.go_on(is_idle=not world.under_way())
    world.is_peaceful, world.hub.cut_in = True, None
    until = world.now + PATIENCE
    while not world.is_over() and world.now < until:
        if not world.step():
            break
    world.promises.ended(world.hub.held, world.under_way())
    for device in world.devices.values():
        device.activate()
    return world


@dataclass(frozen=True, slots=True)
class Tried:
    """Schedules that were lived through: how many, what happened, and the seeds that broke a promise."""

    many: int
    happened: dict[str, int]
    broken: dict[int, str]


def try_out(seeds: range, machines: Machines | None = None) -> Tried:
    """Live through many schedules."""
    happened: dict[str, int] = {}
    broken: dict[int, str] = {}
    for seed in seeds:
        try:
            world = live(seed, machines)
        except BrokenPromiseError as error:
            broken[seed] = str(error)
        else:
            for what, times in world.happened.items():
                happened[what] = happened.get(what, 0) + times
    return Tried(len(seeds), happened, broken)


class _Story:
    """The head end, the user, the power company and the weather."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        self._requests = 0
        self._incidents: tuple[Callable[[], None], ...] = (
            self.offer,
            self.offer,
            self._hub_loses_power,
            self._device_loses_power,
            self._device_loses_touch,
            self._pause,
            self._abort,
            self._configure,
            self._activate_by_hub,
            self._activate_by_command,
            self._remove,
            self._ask_now,
        )

    def go_on(self, *, is_idle: bool) -> None:
        """The next incident. Where nothing goes on, it is often a new image."""
        does = self.offer if is_idle and self._dice.random() < 0.5 else self._dice.choice(self._incidents)
        self._world.happened[does.__name__.strip("_")] += 1
        does()

    def offer(self) -> None:
        """The head end offers a file to some of those whom it suits."""
        world = self._world
        if not world.hub.is_up:
            return
        file = self._dice.choice(world.schedule.files)
        suited = [
            each.eui64 for each in world.devices.values() if each.described.device_type == file.device_type
        ]
        targets = sorted(self._dice.sample(suited, self._dice.randint(1, len(suited))))
        self._requests += 1
        name = f"request {self._requests}"
        request = "11.4" if file.device_type == "PPMID" else "11.1"
        assignments = tuple(Assignment(each, file.device_type, name, request) for each in targets)
        world.hub.take_offer(Candidate(file.image_id, len(file.data), assignments))

    def _hub_loses_power(self) -> None:
        self._world.hub.cut_in = self._dice.randint(0, 5)

    def _device_loses_power(self) -> None:
        self._device().lose_power()

    def _device_loses_touch(self) -> None:
        self._device().lose_touch()

    def _pause(self) -> None:
        world, peer = self._world, self._device().eui64
        world.hub.user(lambda server: server.pause(peer, world.now))
        world.later(world.while_away(), partial(self._resume, peer))

    def _resume(self, peer: Eui64) -> None:
        self._world.hub.user(lambda server: server.resume(peer, self._world.now))

    def _abort(self) -> None:
        world, peer = self._world, self._device().eui64
        world.hub.user(lambda server: server.abort(peer, world.now))

    def _configure(self) -> None:
        world, peer, dice = self._world, self._device().eui64, self._dice
        terms = DeviceSettings(
            block_ceiling=dice.choice((None, 8, 65)),
            minimum_block_period=dice.choice((None, 0.0, 0.2, 2.0)),
            block_period_unit=dice.choice(("ms", "s", "probe")),
            acknowledged_blocks=dice.choice((None, True, False)),
            stall_after=dice.choice((None, 5.0)),
        )
        world.hub.user(lambda server: server.configure(peer, terms, world.now))

    def _activate_by_hub(self) -> None:
        world, peer = self._world, self._device().eui64
        world.hub.user(lambda server: server.activate(peer, world.now))

    def _activate_by_command(self) -> None:
        self._device().activate()

    def _remove(self) -> None:
        self._world.hub.remove(self._device().eui64)

    def _ask_now(self) -> None:
        self._device().ask_now()

    def _device(self) -> Device:
        return self._dice.choice(list(self._world.devices.values()))
