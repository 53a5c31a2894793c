"""The blocks of an image: cut to what the frame and the client can take, told, and made smaller if need be.

A block answers what the request says, never what was sent before. What is kept for each client is its last
request: to answer it again, smaller, and to notice who asks for the same octets over and over.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.commands import ImageBlockRequest, ImageBlockResponse, ImagePageRequest
from ota.eui64 import Eui64
from ota.pacing import BlockSize
from ota.scheduler import Scheduler
from ota.server_conversation import Conversation, Send
from ota.server_events import BlockServed, BlockShrunk, ClientIgnoresBlock, Refused
from ota.server_settings import DeviceSettings, ServerSettings
from ota.server_targets import Target
from ota.status import Status

OctetRequest = ImageBlockRequest | ImagePageRequest
"""Whatever asks for octets of an image."""


@dataclass(slots=True, eq=False)
class _Client:
    """How one client takes its blocks."""

    size: BlockSize
    acknowledged: bool
    offset: int = -1
    """Asked for last."""
    sequence: int = 0
    repeats: int = 0
    """How often it has asked for the same octets again."""
    delivered: int = 0
    """How many of those answers its radio has acknowledged."""
    target: Target | None = None
    """Served last, with this request."""
    request: ImageBlockRequest | None = None


class Blocks:
    """Serves single blocks, and cuts those of pages."""

    def __init__(self, settings: ServerSettings, talk: Conversation, scheduler: Scheduler) -> None:
        self._settings = settings
        self._talk = talk
        self._scheduler = scheduler
        self._clients: dict[Eui64, _Client] = {}

    def configure(self, peer: Eui64, settings: DeviceSettings) -> None:
        """From now on serve this client so."""
        client = self._client(peer)
        if settings.block_ceiling is not None:
            client.size = BlockSize(settings.block_ceiling)
        acknowledged = settings.acknowledged_blocks
        client.acknowledged = self._settings.acknowledged_blocks if acknowledged is None else acknowledged

    def is_repeat(self, peer: Eui64, request: OctetRequest, sequence: int) -> bool:
        """Take note of a request: whether it is for the same octets as the one before it."""
        client = self._clients.get(peer)
        if client is None:
            client = self._client(peer)
        client.sequence = sequence
        if client.offset != request.file_offset:
            client.offset = request.file_offset
            client.repeats = client.delivered = 0
            return False
        client.repeats += 1
        return True

    def cut(self, target: Target, request: OctetRequest, offset: int, end: int) -> ImageBlockResponse:
        """The next block from this offset on, as large as it can be."""
        size = min(request.maximum_data_size, self._clients[target.peer].size.limit)
        return ImageBlockResponse(
            request.manufacturer,
            request.image_type,
            request.file_version,
            offset,
            target.offer.data[offset : min(offset + size, end)],
        )

    def serve(self, target: Target, request: ImageBlockRequest, sequence: int, now: float) -> None:
        """Answer a request that is sound. `is_repeat` has been told of it."""
        peer = target.peer
        client = self._clients[peer]
        client.target, client.request = target, request
        if client.repeats and client.delivered >= self._settings.repeats_before_smaller - 1:
            self._try_smaller(target, client, request)
        offset = request.file_offset
        if offset > target.furthest:
            target.furthest, target.aborts = offset, 0
        target.offset = offset
        block = self.cut(target, request, offset, len(target.offer.data))
        # Only of an answer that was given before is it of interest whether it arrives.
        self._talk.send(Send(peer, block, sequence, client.acknowledged, bool(client.repeats)))
        self._talk.tell(BlockServed(peer, target.offer.image_id, offset, len(block.data)))
        self._scheduler.spent(len(block.data), acknowledged=client.acknowledged, asked=True, now=now)

    def sent(self, send: Send, *, delivered: bool) -> None:
        """A block that was asked for again has left."""
        client = self._client(send.peer)
        block = send.command
        if delivered and isinstance(block, ImageBlockResponse) and block.file_offset == client.offset:
            client.delivered += 1

    def too_long(self, peer: Eui64, size: int) -> bool:
        """The radio refused a block of this size: send smaller ones. False if there is nothing smaller."""
        blocks = self._client(peer).size
        before = blocks.limit
        if not blocks.too_long(size):
            why = f"the radio carries not even {size} octets of an image"
            self._talk.tell(Refused(peer, why, Status.FAILURE))
            return False
        if blocks.limit != before:
            self._talk.tell(BlockShrunk(peer, blocks.limit))
        return True

    def again(self, peer: Eui64, now: float) -> None:
        """Answer this client's last block request once more, if its image is still on offer."""
        client = self._client(peer)
        if client.target is not None and client.request is not None:
            self.serve(client.target, client.request, client.sequence, now)

    def forget(self, target: Target) -> None:
        """The image is gone: no answer is given again."""
        client = self._clients.get(target.peer)
        if client is not None and client.target is target:
            client.target = client.request = None

    def _client(self, peer: Eui64) -> _Client:
        client = self._clients.get(peer)
        if client is None:
            size = BlockSize(self._settings.block_ceiling)
            client = self._clients[peer] = _Client(size, self._settings.acknowledged_blocks)
        return client

    def _try_smaller(self, target: Target, client: _Client, request: ImageBlockRequest) -> None:
        """It goes on asking although the block reached it: it may not like blocks of this size."""
        client.repeats = client.delivered = 0
        if client.size.too_long(client.size.least(request.maximum_data_size)):
            self._talk.tell(
                ClientIgnoresBlock(target.peer, target.image_id, request.file_offset, client.size.limit)
            )
