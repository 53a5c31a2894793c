"""Many clients, one server, one air on which one frame follows the other, and one clock."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from ota_pair import RUNNING, over_the_wire

from ota import client as device
from ota import server as hub
from ota.commands import ImageBlockRequest, ImageBlockResponse, ImageBlockWait, ImageNotify
from ota.eui64 import Eui64

REQUEST, BLOCK, ACKNOWLEDGEMENT = 0.0045, 0.0062, 0.0039
"""Seconds on the air: mean backoff, frame, MAC acknowledgement."""


class Crowd:
    """Each frame waits until all before it have gone, as in a network where nobody collides."""

    def __init__(
        self,
        devices: Iterable[Eui64],
        *,
        server: hub.ServerSettings | None = None,
        settings: Mapping[Eui64, device.ClientSettings] | None = None,
    ) -> None:
        self.now = 0.0
        self.server = hub.OtaServer(server or hub.ServerSettings())
        usual = device.ClientSettings(first_query_within=0.1)
        self.clients = {
            each: device.OtaClient((settings or {}).get(each, usual), RUNNING, random.Random(each))
            for each in devices
        }
        self.finished: dict[Eui64, float] = {}
        self.octets: dict[Eui64, int] = defaultdict(int)
        self.air: dict[Eui64, float] = defaultdict(float)
        self.waits: list[float] = []
        """How long each Image Block Request waited from its arrival until its answer had left the hub."""
        self.most_at_once = 0
        self._busy: set[Eui64] = set()
        self._asked_at: dict[tuple[Eui64, int], float] = {}
        self._queue: deque[tuple[float, Eui64, Any, int, hub.Send | None]] = deque()
        self._free_at = 0.0
        self._sequence = count()

    def offer(self, data: bytes) -> None:
        self.server.offer(hub.Offer.of(data, self.clients, hub.Activation.NOW), self.now)
        for client in self.clients.values():
            client.start(self.now)

    def run_until_all(self, kind: type, *, within: float = 3600.0) -> None:
        """Let time pass until an event of this kind has come from every device."""
        self._kind = kind
        self._exchange()
        while len(self.finished) < len(self.clients):
            assert self.now < within, f"{len(self.finished)} of {len(self.clients)} are there"
            self._step()

    def unevenness(self) -> float:
        """How far apart the devices are in octets when the first one is there, as a share of the whole."""
        return _spread(self._octets_then)

    def air_unevenness(self) -> float:
        """The same in air time."""
        return _spread(self._air_then)

    def _step(self) -> None:
        times = [self._queue[0][0]] if self._queue else []
        machines = [self.server, *self.clients.values()]
        times += [due for due in (machine.timer() for machine in machines) if due is not None]
        self.now = max(self.now, min(times))
        while self._queue and self._queue[0][0] <= self.now:
            _, peer, command, sequence, send = self._queue.popleft()
            self._arrive(peer, over_the_wire(command), sequence, send)
        for machine in machines:
            machine.tick(self.now)
        self._exchange()

    def _arrive(self, peer: Eui64, command: Any, sequence: int, send: hub.Send | None) -> None:
        if send is None:
            if isinstance(command, ImageBlockRequest):
                self._asked_at[peer, sequence] = self.now
            self.server.receive(peer, command, sequence, self.now)
            return
        if isinstance(command, (ImageBlockResponse, ImageBlockWait)):
            asked_at = self._asked_at.pop((peer, sequence), None)
            if asked_at is not None:
                self.waits.append(self.now - asked_at)
        if send.tells_outcome:
            self.server.sent(send, True, self.now)
        confirm = isinstance(command, ImageNotify)
        self.clients[peer].receive(command, sequence, self.now, confirm=confirm)

    def _exchange(self) -> None:
        self._drain_server()
        for peer, client in self.clients.items():
            for item in client.drain():
                if isinstance(item, device.Send):
                    self._fly(peer, item.command, item.sequence, None)
                elif isinstance(item, device.BlockReceived):
                    self.octets[peer] += item.size
                elif isinstance(item, self._kind) and peer not in self.finished:
                    self._note_end(peer)

    def _note_end(self, peer: Eui64) -> None:
        if not self.finished:
            self._octets_then = dict(self.octets)
            self._air_then = dict(self.air)
        self.finished[peer] = self.now

    def _drain_server(self) -> None:
        for item in self.server.drain():
            if isinstance(item, hub.Send):
                sequence = next(self._sequence) % 256 if item.sequence is None else item.sequence
                self._fly(item.peer, item.command, sequence, item)
            elif isinstance(item, hub.TransferStarted):
                self._busy.add(item.peer)
                self.most_at_once = max(self.most_at_once, len(self._busy))
            elif isinstance(item, hub.TransferCompleted):
                self._busy.discard(item.peer)

    def _fly(self, peer: Eui64, command: Any, sequence: int, send: hub.Send | None) -> None:
        takes = BLOCK if isinstance(command, ImageBlockResponse) else REQUEST
        if send is None or send.acknowledged:
            takes += ACKNOWLEDGEMENT
        self._free_at = max(self._free_at, self.now) + takes
        self.air[peer] += takes
        self._queue.append((self._free_at, peer, command, sequence, send))


def _spread(of: Mapping[Eui64, float]) -> float:
    return (max(of.values()) - min(of.values())) / max(of.values())
