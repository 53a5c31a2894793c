"""Where libraries take time and entropy from behind our back, and how a simulation takes it back.

Everything random in a run has to follow its seed and every clock the one loop, or two runs with the same seed
would differ. The libraries under test are used as installed; for the length of a simulation the names listed
in `REBOUND` are bound, inside the named modules only, to the loop's clock and to dice thrown from the seed.
On a real radio nothing is rebound.

One further source needs no rebinding: voluptuous fills in defaults in the order of string hashes, which would
order some of bellows' start-up commands by ``PYTHONHASHSEED``. `han.radio` spells those settings out instead.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any


@dataclass(frozen=True)
class Sources:
    """What stands in: the loop's clock, its UTC, and dice of their own for whoever asks."""

    monotonic: Callable[[], float]
    utc_now: Callable[[], datetime]
    dice: random.Random


@dataclass(frozen=True)
class Rebinding:
    """One name in one third-party module, what takes its place, and why."""

    module: str
    name: str
    stand_in: Callable[[Sources], object]
    reason: str


class _ModuleWith:
    """A module as its importer sees it, with some names replaced."""

    def __init__(self, module: object, **replaced: object) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module holds
        return getattr(self._module, name)


def _clock(sources: Sources) -> object:
    def utc_seconds() -> float:
        return sources.utc_now().timestamp()

    return _ModuleWith(time, monotonic=sources.monotonic, time=utc_seconds)


def _entropy(sources: Sources) -> object:
    return _ModuleWith(os, urandom=sources.dice.randbytes)


def _system_dice(sources: Sources) -> object:
    return _ModuleWith(random, SystemRandom=lambda: sources.dice)


def _datetime(sources: Sources) -> object:
    class AnyDatetime(type(datetime)):  # type: ignore[misc] # the metaclass is known only at run time
        """Keeps ``isinstance(moment, datetime)`` true for ordinary moments inside the module."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class LoopDatetime(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override] # never this class
            return sources.utc_now().astimezone(tz or UTC)

    return LoopDatetime


def _monotonic(sources: Sources) -> object:
    return sources.monotonic


REBOUND: tuple[Rebinding, ...] = (
    Rebinding(
        "bellows.ash", "time", _clock, "the ASH time-out adapts to the measured delay of acknowledgements"
    ),
    Rebinding("bellows.ezsp.protocol", "time", _clock, "logs how long a command waited"),
    Rebinding("bellows.zigbee.application", "os", _entropy, "draws hashed_tclk when it forms a network"),
    Rebinding("zigpy.application", "os", _entropy, "draws the network key and extended PAN id left open"),
    Rebinding("zigpy.application", "random", _system_dice, "draws the PAN id left open"),
    Rebinding("zigpy.application", "time", _clock, "logs how long a packet waited"),
    Rebinding("zigpy.application", "datetime", _datetime, "stamps when a device was last seen"),
    Rebinding("zigpy.device", "datetime", _datetime, "stamps when a device was last seen"),
    Rebinding("zigpy.types.named", "datetime", _datetime, "stamps each packet"),
    Rebinding("zigpy.backups", "datetime", _datetime, "stamps a backup, which goes to a file"),
    Rebinding("paho.mqtt.client", "time_func", _monotonic, "keep-alive: a ping is sent by this clock"),
    Rebinding("amqtt.broker", "time", _clock, "forgets retained messages and sessions by age"),
    Rebinding("amqtt.session", "time", _clock, "stamps when a session ended"),
    Rebinding("amqtt.mqtt.packet", "datetime", _datetime, "stamps each packet"),
)
"""Every third-party source of time and entropy on the path of a simulation, each with its reason."""


@contextlib.contextmanager
def rebound_sources(
    seed: int, monotonic: Callable[[], float], utc_now: Callable[[], datetime]
) -> Generator[None]:
    """Bind every name of `REBOUND` for the length of the block.

    Args:
        seed: each name gets dice of its own thrown from it, so that what one module draws never shifts
            another's.
        monotonic: the loop's clock in seconds.
        utc_now: the loop's UTC, with its time zone.
    """
    with contextlib.ExitStack() as undo:
        for entry in REBOUND:
            module = importlib.import_module(entry.module)
            undo.callback(setattr, module, entry.name, getattr(module, entry.name))
            dice = random.Random(f"{seed} {entry.module}.{entry.name}")
            setattr(module, entry.name, entry.stand_in(Sources(monotonic, utc_now, dice)))
        yield
