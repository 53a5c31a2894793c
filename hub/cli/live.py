"""Captures that somebody follows while they grow: on standard output, or as ZEP datagrams."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from han.errors import SurroundingsError
from han.sim.house import House
from hub.cli.options import STANDARD_OUTPUT
from hub.mqtt import IN_WORDS, is_loopback


@dataclass(frozen=True, slots=True)
class Live:
    """Where frames go while they are heard; ``zep`` is a host and a port."""

    on_standard_output: bool = False
    zep: tuple[str, int] | None = None

    @classmethod
    def read(cls, pcap: Path | None, zep: tuple[str, int] | None, insecure: str, *, as_json: bool) -> Self:
        """What the options say.

        Raises:
            click.UsageError: if it cannot be; the message says what to do.
        """
        on_standard_output = pcap == STANDARD_OUTPUT
        if on_standard_output and as_json:
            raise click.UsageError("--pcap - and --json both want standard output: give the capture a file")
        if on_standard_output and sys.stdout.isatty():
            raise click.UsageError("--pcap - wants a pipe: write | wireshark -k -i - behind it")
        if zep is not None and not is_loopback(zep[0]) and insecure != IN_WORDS:
            raise click.UsageError(
                f"--zep sends every frame to {zep[0]}, another machine: say --insecure {IN_WORDS!r}"
                " in so many words"
            )
        return cls(on_standard_output, zep)

    @contextmanager
    def follow(self, house: House) -> Iterator[None]:
        """Let the frames of a house go where they are wanted, for the length of the block.

        When nobody reads standard output any more, the task that this is called in is cancelled: whoever
        closes Wireshark has seen enough.

        Raises:
            SurroundingsError: if there is no such host.
        """
        task = asyncio.current_task()
        assert task is not None
        with ExitStack() as stack:
            if self.on_standard_output:
                house.capture(Pipe(sys.stdout.fileno(), task.cancel))
            if self.zep is not None:
                house.stream(stack.enter_context(_datagrams(*self.zep)))
            yield


class Pipe:
    """A file descriptor that holds nothing back; ``gone`` is called, once, when nobody reads it any more."""

    def __init__(self, descriptor: int, gone: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._gone = gone
        self._is_read = True

    def write(self, octets: bytes) -> None:
        """Return when all of it is in the pipe, or nobody reads it."""
        view = memoryview(octets)
        try:
            while view and self._is_read:
                view = view[os.write(self._descriptor, view) :]
        except BrokenPipeError:
            self._is_read = False
            self._gone()

    def flush(self) -> None:
        """Nothing was held back."""


@contextmanager
def _datagrams(host: str, port: int) -> Iterator[Callable[[bytes], None]]:
    """What sends a UDP datagram there."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        udp = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise SurroundingsError(f"--zep {host}:{port} leads nowhere: {error.strerror or error}") from error

    def send(octets: bytes) -> None:
        # Nobody promises that a datagram arrives: a network that is away for a while costs some.
        with suppress(OSError):
            udp.sendto(octets, address)

    with udp:
        yield send
