"""What every long-running or asking command shares: exit statuses, signals, the shape of its log.

0 done; 1 the job ran and failed; 2 wrong usage or bad input, named; 3 the surroundings, with what to do next.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import click

from han import errors as han_errors
from han.clock import Utc
from han.complaints import hear_complaints
from han.facts import Fact, Facts
from hub import errors as hub_errors
from hub.flash import FlashError
from ota import errors as ota_errors

T = TypeVar("T")

FAILED, BAD_INPUT, SURROUNDINGS = 1, 2, 3

_BAD_INPUT = (han_errors.OurError, hub_errors.OurError, ota_errors.OurError)
_FAILED = (han_errors.TheirError, hub_errors.TheirError, ota_errors.TheirError)
_SURROUNDINGS = (han_errors.HanError, hub_errors.SurroundingsError)


@contextlib.contextmanager
def exit_statuses() -> Iterator[None]:
    """Turn what a command lets out into its message and its exit status; known causes have no traceback."""
    try:
        yield
    except BaseExceptionGroup as group:
        _leave(_first(group))
        raise
    except (*_BAD_INPUT, *_FAILED, *_SURROUNDINGS) as error:
        _leave(error)


def run(program: Coroutine[Any, Any, T]) -> T:
    """Run on the ordinary loop; an interrupt (Ctrl-C) or SIGTERM ends it in order, with status 0.

    A second one ends the process at once, as the system does it: what keeps has been kept before anything is
    told, and a lock goes with its process.
    """
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s", stream=sys.stderr)
    with asyncio.Runner() as runner:
        try:
            return runner.run(_until_told_to_stop(program))
        except asyncio.CancelledError:
            raise SystemExit(0) from None


def human(fact: Fact) -> str:
    """A fact on one line, for people and for journals: an image is named by the first 12 digits of its id."""
    shown = fact.fields | ({"image": str(fact.fields["image"])[:12]} if "image" in fact.fields else {})
    fields = " ".join(f"{name}={str(value).replace(chr(10), ' ')}" for name, value in shown.items())
    return f"{fact.at:12.3f}  {fact.who:<8} {fact.what:<20} {fields}"


def show_facts(facts: Facts, *, as_json: bool, verbose: bool) -> None:
    """Facts as JSON lines on stdout, or those that matter to people on stderr."""

    def show(fact: Fact) -> None:
        try:
            if as_json:
                click.echo(fact.to_json())
            elif verbose or fact.what in _TOLD:
                click.echo(human(fact), err=True)
        except BrokenPipeError:
            # Whoever read us is gone. Stop in order: facts are said in the middle of everything.
            end()
            os.kill(os.getpid(), signal.SIGTERM)

    end = facts.subscribe(show)
    hear_complaints(asyncio.get_running_loop(), facts, told=(FlashError,))


def clock() -> tuple[Utc, Callable[[], float]]:
    """UTC and the running loop's seconds."""
    loop = asyncio.get_running_loop()
    return Utc(loop), loop.time


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, default=str))


_TOLD = frozenset(
    {
        "hub.up",
        "hub.down",
        "loop.complaint",
        "mqtt.connected",
        "mqtt.lost",
        "mqtt.unreachable",
        "mqtt.refused",
        "dongle.fault",
        "radio.lost",
        "radio.back",
        "radio.unreachable",
        "keys.no-room",
        "network.formed",
        "network.resumed",
        "join.open",
        "join.refused",
        "join.failed",
        "device.joined",
        "device.removed",
        "keys.established",
        "keys.failed",
        "device.left",
        "device.refused",
        "slot.accepted",
        "slot.joined",
        "slot.stored",
        "slot.preempted",
        "slot.refused",
        "slot.discarded",
        "slot.expired",
        "ota.started",
        "ota.completed",
        "ota.failed",
        "ota.stalled",
        "ota.paused",
        "ota.resumed",
        "ota.turn-awaited",
        "ota.more-images-needed",
        "ota.paced",
        "ota.flooding",
        "ota.block-ignored",
        "ota.air-spent",
        "ota.refused",
        "activation.asked",
        "activation.delivered",
        "alert.raised",
        "alert.sent",
        "request.refused",
        "request.transfer",
        "request.configure",
    }
)
"""What people are told without asking for more."""


_ENDINGS = (signal.SIGINT, signal.SIGTERM)


async def _until_told_to_stop(program: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        task.cancel()
        for each in _ENDINGS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        with contextlib.suppress(OSError):  # nobody may be left to hear it
            click.echo("Stopping; once more stops at once.", err=True)

    for each in _ENDINGS:
        loop.add_signal_handler(each, stop)
    return await program


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The cause behind what a task group lets out."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _leave(error: BaseException) -> None:
    """Say what is wrong and leave; returns only for what is no known cause."""
    if isinstance(error, _BAD_INPUT):
        status = BAD_INPUT
    elif isinstance(error, _FAILED):
        status = FAILED
    elif isinstance(error, _SURROUNDINGS):
        status = SURROUNDINGS
    else:
        return
    click.echo(f"Error: {error}", err=True)
    raise SystemExit(status)
