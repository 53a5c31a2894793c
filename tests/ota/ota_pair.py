"""A client, a server, and the only clock either of them knows."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Any

from ota import client as device
from ota import server as hub
from ota.commands import Command, DefaultResponse, ImageNotify, parse_command
from ota.eui64 import Eui64
from ota.image import HardwareRange, Header, Image

PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
HCALCS = Eui64.parse("00-DB-12-34-56-78-90-A5")
GSME = Eui64.parse("00-DB-12-34-56-78-90-A1")

FRAME_TIME = 0.006
"""Seconds until a radio has got rid of a block."""

RUNNING = device.Identity(0x121D, 0x0084, 0x00000001, 0x1150)
SUITS_RUNNING = HardwareRange(0x1111, 0x1211)


def upgrade_file(
    size: int = 1000,
    *,
    version: int = 2,
    seed: int = 1,
    manufacturer: int = 0x121D,
    image_type: int = 0x0084,
    hardware: HardwareRange | None = SUITS_RUNNING,
    destination: Eui64 | None = None,
) -> bytes:
    """A small file for RUNNING, with a body of ``size`` octets that never repeats itself."""
    header = Header(
        manufacturer=manufacturer,
        image_type=image_type,
        file_version=version,
        total_size=0,
        header_string=b"made for tests",
        hardware_versions=hardware,
        destination=destination,
    )
    return Image.build(header, random.Random(seed).randbytes(size)).to_bytes()


def image_id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def over_the_wire(command: Command) -> Command:
    """What the other side makes of a command's octets."""
    if isinstance(command, DefaultResponse):
        return DefaultResponse.parse(command.payload(), from_server=command.from_server)
    return parse_command(command.COMMAND_ID, command.FROM_SERVER, command.payload())


class Pair:
    """Both ends, joined by an air that may lose, repeat and delay."""

    def __init__(
        self,
        *,
        client: device.ClientSettings | None = None,
        server: hub.ServerSettings | None = None,
        identity: device.Identity = RUNNING,
        peer: Eui64 = PPMID,
        loss: float = 0.0,
        repeats: float = 0.0,
        jitter: float = 0.01,
        seed: int = 1,
    ) -> None:
        self.dice = random.Random(seed)
        self.loss, self.repeats, self.jitter = loss, repeats, jitter
        self.now = 0.0
        self.peer = peer
        self.client_settings = client or device.ClientSettings(first_query_within=1.0)
        self.server_settings = server or hub.ServerSettings()
        self.client = device.OtaClient(self.client_settings, identity, random.Random(seed))
        self.server = hub.OtaServer(self.server_settings)
        self.server_is_up = True
        self.heard: list[Any] = []  # events of both sides, in order
        self.crossed: list[
            tuple[float, bool, Command]
        ] = []  # (when, from the server, what), delivered or not
        self._flying: list[tuple[float, int, bool, Command, int]] = []
        self._leaving: deque[tuple[float, hub.Send, hub.OtaServer]] = deque()  # until the radio is rid of it
        self._order = count()
        self._server_sequence = count(100)

    def offer(
        self,
        data: bytes,
        activation: hub.Activation = hub.Activation.NOW,
        targets: Iterable[Eui64] | None = None,
    ) -> str:
        self.server.offer(hub.Offer.of(data, targets or [self.peer], activation), self.now)
        return image_id(data)

    def restart_server(self, *offers: hub.Offer) -> None:
        """The hub loses power and comes back with nothing but what is on its flash."""
        self.server = hub.OtaServer(self.server_settings)
        for offer in offers:
            self.server.offer(offer, self.now)

    def restart_client(self) -> None:
        """The device loses power and comes back as a new machine with what its flash held."""
        self.client = device.OtaClient(
            self.client_settings,
            self.client.identity,
            random.Random(self.dice.random()),
            self.client.stored,
            self.client.aside,
        )
        self.client.start(self.now)

    def exchange(self) -> None:
        """Put what both ends want to say on the air."""
        for item in self.client.drain():
            if isinstance(item, device.Send):
                self._fly(item.command, item.sequence, from_server=False)
            else:
                self.heard.append(item)
        for item in self.server.drain():
            if isinstance(item, hub.Send):
                sequence = next(self._server_sequence) % 256 if item.sequence is None else item.sequence
                self._fly(item.command, sequence, from_server=True)
                if item.tells_outcome:
                    self._leaving.append((self.now + FRAME_TIME, item, self.server))
            else:
                self.heard.append(item)

    def _fly(self, command: Command, sequence: int, *, from_server: bool) -> None:
        self.crossed.append((self.now, from_server, command))
        for _ in range(2 if self.dice.random() < self.repeats else 1):
            if self.dice.random() >= self.loss:
                at = self.now + self.dice.uniform(0.01, 0.01 + self.jitter)
                heapq.heappush(self._flying, (at, next(self._order), from_server, command, sequence))

    def step(self, until: float) -> bool:
        """Jump to the next thing that happens by ``until``. False if there is none."""
        self.exchange()
        times = [self._flying[0][0] if self._flying else None, self.client.timer(), self.server.timer()]
        times.append(self._leaving[0][0] if self._leaving else None)
        due = [time for time in times if time is not None]
        if not due or min(due) > until:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, min(due))
        while self._flying and self._flying[0][0] <= self.now:
            _, _, from_server, command, sequence = heapq.heappop(self._flying)
            self._deliver(over_the_wire(command), sequence, from_server=from_server)
        while self._leaving and self._leaving[0][0] <= self.now:
            _, send, server = self._leaving.popleft()
            server.sent(send, True, self.now)
        self.client.tick(self.now)
        self.server.tick(self.now)
        self.exchange()
        return True

    def _deliver(self, command: Command, sequence: int, *, from_server: bool) -> None:
        if from_server:
            self.client.receive(command, sequence, self.now, confirm=isinstance(command, ImageNotify))
        elif self.server_is_up:
            self.server.receive(self.peer, command, sequence, self.now)

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        until = self.now + seconds
        while self.step(until):
            pass

    def run_until(self, kind: type, *, within: float = 86400.0) -> Any:
        """Let time pass until an event of this kind is heard; the event."""
        until, seen = self.now + within, len(self.heard)
        while True:
            for event in self.heard[seen:]:
                seen += 1
                if isinstance(event, kind):
                    return event
            if not self.step(until):
                found = [event for event in self.heard[seen:] if isinstance(event, kind)]
                assert found, f"no {kind.__name__} within {within} s"
                return found[0]

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]

    def commands(self, kind: type) -> list[Any]:
        return [command for _, _, command in self.crossed if isinstance(command, kind)]
