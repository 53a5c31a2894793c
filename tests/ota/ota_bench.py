"""A device on a bench: the test plays its server by hand, one command at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ota_pair import RUNNING, upgrade_file

from ota.client import ClientSettings, Identity, OtaClient, Send, State, StoredDownload
from ota.commands import (
    ImageBlockResponse,
    ImageNotify,
    QueryNextImageResponse,
    Status,
    UpgradeEndResponse,
)
from ota.image import ImageKey

FILE = upgrade_file(200)
KEY = ImageKey(0x121D, 0x0084, 2)
OFFERED = QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, len(FILE))
WAIT = 0xFFFFFFFF


def block_at(offset: int, size: int = 65) -> ImageBlockResponse:
    """A block of FILE."""
    return ImageBlockResponse(0x121D, 0x0084, 2, offset, FILE[offset : offset + size])


class Bench:
    """A device on a bench: the test plays the server by hand."""

    def __init__(
        self,
        stored: StoredDownload | None = None,
        *,
        aside: Sequence[StoredDownload] = (),
        identity: Identity = RUNNING,
        **settings,
    ) -> None:
        usual = {"first_query_within": 0.0, "resume_within": 0.0}
        self.now = 0.0
        self.client = OtaClient(
            ClientSettings(**(usual | settings)), identity, random.Random(1), stored, aside
        )
        self.sent: list[Send] = []
        self.told: list[object] = []
        self.client.start(self.now)
        self.wait()

    def _collect(self) -> None:
        self.sent, self.told = [], []
        for item in self.client.drain():
            (self.sent if isinstance(item, Send) else self.told).append(item)

    def wait(self) -> None:
        """Let the device's next deadline come."""
        due = self.client.timer()
        assert due is not None
        self.now = max(self.now, due)
        self.client.tick(self.now)
        self._collect()

    def hears(self, command, sequence: int | None = None, *, broadcast: bool = False):
        """Give the device a command, by default as an answer to what it sent last; what it sends then."""
        if sequence is None:
            sequence = self.client._talk.sequence
        asks = isinstance(command, ImageNotify)
        self.client.receive(command, sequence, self.now, broadcast=broadcast, confirm=asks)
        self._collect()
        return [send.command for send in self.sent]

    @property
    def asked(self):
        """The one command that the device sent last."""
        (send,) = self.sent
        return send.command

    def block(self, size: int = 65) -> ImageBlockResponse:
        """The right answer to the block request that was sent last."""
        return block_at(len(self.client.stored.data), size)


def downloading(**settings) -> Bench:
    bench = Bench(**settings)
    bench.hears(OFFERED)
    assert bench.client.state is State.DOWNLOADING
    return bench


def complete(**settings) -> Bench:
    bench = downloading(**settings)
    while bench.client.state is State.DOWNLOADING:
        bench.hears(bench.block())
    assert bench.client.state is State.COMPLETE
    return bench


def waiting(**settings) -> Bench:
    bench = complete(**settings)
    bench.hears(UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, WAIT, WAIT))
    return bench
