"""The pages of an image: each a stream of blocks that answers one Image Page Request.

The blocks want no acknowledgement end to end; the client asks for those that stay away afterwards, one by
one (ZCL7 11.13.7). Where the client wants them back to back, the radio sets the pace: a small window of them
is in the dongle, and each one that has left makes room for the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.commands import ImageBlockResponse, ImagePageRequest
from ota.eui64 import Eui64
from ota.scheduler import Scheduler
from ota.server_blocks import Blocks
from ota.server_conversation import Conversation, Send
from ota.server_events import BlockServed
from ota.server_targets import Target

_LOST_IN_A_ROW = 8
"""A client that is not even heard to acknowledge at the first hop is not there: the page ends."""


@dataclass(slots=True, eq=False)
class _Page:
    target: Target
    request: ImagePageRequest
    sequence: int
    next: int
    end: int
    due: float
    lost: int = 0


class Pages:
    """The pages that are being sent: at most one for each client."""

    def __init__(self, talk: Conversation, scheduler: Scheduler, blocks: Blocks) -> None:
        self._talk = talk
        self._scheduler = scheduler
        self._blocks = blocks
        self._pages: dict[Eui64, _Page] = {}
        self._in_dongle: dict[Eui64, list[Send]] = {}  # of an earlier page too

    def open(self, target: Target, request: ImagePageRequest, sequence: int, now: float) -> None:
        """Begin a page. It takes the place of one that the client no longer waits for."""
        end = min(request.file_offset + request.page_size, len(target.offer.data))
        page = _Page(target, request, sequence, request.file_offset, end, now)
        self._pages[target.peer] = page
        self._go_on(page, now)

    def is_done_with(self, peer: Eui64, offset: int) -> None:
        """The client asks for a single block: if the page has not come so far, it waits for it no more."""
        page = self._pages.get(peer)
        if page is not None and offset >= page.next:
            del self._pages[peer]

    def close(self, peer: Eui64) -> tuple[ImagePageRequest, int] | None:
        """End the client's page here; gives the request and its sequence number, to say so."""
        page = self._pages.pop(peer, None)
        return None if page is None or page.next >= page.end else (page.request, page.sequence)

    def is_mine(self, send: Send) -> bool:
        """Whether this block is one of a page."""
        return send in self._in_dongle.get(send.peer, ())

    def sent(self, send: Send, *, delivered: bool, now: float) -> None:
        """A block of a page has left the dongle: the next one, please."""
        self._in_dongle[send.peer].remove(send)
        page = self._pages.get(send.peer)
        if page is None:
            return
        page.lost = 0 if delivered else page.lost + 1
        if page.lost >= _LOST_IN_A_ROW:
            del self._pages[send.peer]
        else:
            self._go_on(page, now)

    def too_long(self, block: ImageBlockResponse, peer: Eui64) -> None:
        """A block did not fit: the page goes on, in smaller ones, with the same octets."""
        page = self._pages.get(peer)
        if page is not None:
            page.next = min(page.next, block.file_offset)
            page.lost = -1

    def tick(self, now: float) -> None:
        """Send the blocks whose time has come."""
        for page in [page for page in self._pages.values() if page.due <= now]:
            self._go_on(page, now)

    def timer(self) -> float | None:
        """When the next block is due that does not wait for the radio."""
        if not self._pages:
            return None
        window = self._scheduler.page_window
        return min(
            (
                page.due
                for peer, page in self._pages.items()
                if page.next < page.end and len(self._in_dongle.get(peer, ())) < window
            ),
            default=None,
        )

    def _go_on(self, page: _Page, now: float) -> None:
        target, request = page.target, page.request
        peer = target.peer
        in_dongle = self._in_dongle.setdefault(peer, [])
        window, gap = self._scheduler.page_window, None
        while page.next < page.end and len(in_dongle) < window and page.due <= now:
            if wait := self._scheduler.air_wait(now):
                del self._pages[peer]
                target.heard = now + self._talk.wait(peer, page.sequence, wait, 0, now)
                return
            block = self._blocks.cut(target, request, page.next, page.end)
            target.heard = now
            target.offset = page.next
            if page.next > target.furthest:
                target.furthest, target.aborts = page.next, 0
            send = Send(peer, block, page.sequence, acknowledged=False, tells_outcome=True)
            in_dongle.append(send)
            self._talk.send(send)
            self._talk.tell(BlockServed(peer, target.image_id, page.next, len(block.data)))
            self._scheduler.spent(len(block.data), acknowledged=False, asked=False, now=now)
            page.next += len(block.data)
            if gap is None:
                gap = max(request.response_spacing / 1000, self._scheduler.page_period(peer))
            page.due = now + gap
        if page.next >= page.end and not in_dongle:
            self._pages.pop(peer, None)
