"""How a device gets the octets of an image: block by block, or in pages whose gaps it fills afterwards.

Block mode asks for the block behind what is stored, and for the next one when it is there. Page mode asks for
many blocks at once, which come without APS acknowledgement; those that stay away are fetched like single
blocks. A server without pages says so, or says nothing; then the download goes on block by block.

Nothing counts as stored before all in front of it is: what came early waits in memory, and is lost with the
power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ota.client_conversation import Conversation
from ota.client_events import BlockReceived, DownloadStarted, FellBack, GaveUp, Ignored
from ota.client_flash import Flash
from ota.client_settings import ClientSettings
from ota.commands import (
    DefaultResponse,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImagePageRequest,
)
from ota.status import Status

_ENDS_DOWNLOAD = (Status.ABORT, Status.NO_IMAGE_AVAILABLE)
_LONGEST_SPACING = 0xFFFF
"""Milliseconds: the field has 16 bits."""


@dataclass(slots=True)
class _Page:
    """A page that has been asked for."""

    end: int  # the offset behind it
    early: dict[int, bytes] = field(default_factory=dict)  # blocks with a gap in front of them, by offset
    is_heard: bool = False  # a block of it has come
    is_over: bool = False  # no more blocks are expected: the gaps are being filled


class Fetch:
    """Fills the flash. Whether the server lets it is told to whoever asked for it.

    Args:
        whole: called with the time when the file is whole.
        refused: called with ABORT, NO_IMAGE_AVAILABLE or UNSUP_CLUSTER_COMMAND and the time when the server
            gives no more of it.
        given_up: called with the time after too many requests in a row that came to nothing.
    """

    def __init__(
        self,
        settings: ClientSettings,
        talk: Conversation,
        flash: Flash,
        *,
        whole: Callable[[float], None],
        refused: Callable[[Status, float], None],
        given_up: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._talk = talk
        self._flash = flash
        self._whole = whole
        self._refused = refused
        self._given_up = given_up
        self.restart()

    def restart(self) -> None:
        """Forget what is forgotten without power: the pace, the page, and what the server cannot do."""
        self.period = 0
        """Attribute MinimumBlockPeriod, in the unit of the cluster revision."""
        self.has_gained = False
        """Whether anything has been stored since the download began, or went on."""
        self._page: _Page | None = None
        self._by_page = self._settings.page_size is not None
        self._silent_pages = 0  # in a row
        self._asked = 0.0  # when the newest request for octets left
        self._set_pace(0)

    def begin(self, now: float) -> None:
        """Ask for what is missing in the flash."""
        self._talk.errors = 0
        self._page = None
        self.has_gained = False
        self._talk.tell(DownloadStarted(self._flash.key, self._flash.size, len(self._flash.data)))
        self._ask(now)

    def block(self, block: ImageBlockResponse, sequence: int, now: float) -> Status:
        """Take a block; the status that its sender deserves."""
        flash = self._flash
        if self._page is not None:
            return self._page_block(self._page, block, sequence, now)
        if not self._talk.is_answer(block.COMMAND_ID, sequence) or not self._is_ours(block):
            return Status.SUCCESS
        at = len(flash.data)
        if block.file_offset != at:
            self._talk.tell(Ignored(f"a block at offset {block.file_offset}, not {at}"))
            return Status.SUCCESS
        if not self._fits(block):
            self._talk.close()
            self._missing(now)
            return Status.MALFORMED_COMMAND
        self._talk.errors = 0
        self._store(block.data)
        self._go_on(now)
        return Status.SUCCESS

    def told_to_wait(self, wait: ImageBlockWait, sequence: int, now: float) -> None:
        """Ask again later, and no sooner from now on than the server wants. A page is over with that."""
        if not self._talk.is_answer(wait.COMMAND_ID, sequence):
            return
        self._talk.errors = 0
        self._talk.close()
        if self._page is not None and not self._page.is_over:
            self._page = None
        if wait.minimum_block_period is not None:
            self._set_pace(wait.minimum_block_period)
        delay = self._settings.delay(wait.current_time, wait.request_time, now)
        if delay is None:
            delay = self._settings.invalid_wait
        delay = max(min(delay, self._settings.wait_at_most), self._period_seconds)
        # A server that says "wait" and "0 seconds" in one breath would otherwise be asked without end.
        self._talk.at(now + (delay or self._settings.back_off), self._ask)

    def refused(self, status: Status, sequence: int, now: float) -> None:
        """The server answers with this status instead of a block."""
        if self._talk.is_answer(ImageBlockResponse.COMMAND_ID, sequence):
            self._no_octets(status, now)

    def default_response(self, answer: DefaultResponse, sequence: int, now: float) -> None:
        """The server answers a request for a block or a page with a status alone."""
        awaits_page = self._page is not None and not self._page.is_over
        asked = ImagePageRequest.COMMAND_ID if awaits_page else ImageBlockRequest.COMMAND_ID
        if not self._talk.is_answer(ImageBlockResponse.COMMAND_ID, sequence):
            return
        if answer.command_id != asked or answer.status == Status.SUCCESS:
            self._talk.tell(Ignored(f"a Default Response {answer.status.name} to {answer.command_id:#04x}"))
        elif awaits_page and answer.status not in _ENDS_DOWNLOAD:
            self._fall_back(f"the server answers a page request with {answer.status.name}")
            self._ask_block(now)
        else:
            self._no_octets(answer.status, now)

    def _no_octets(self, status: Status, now: float) -> None:
        if status in _ENDS_DOWNLOAD or status == Status.UNSUP_CLUSTER_COMMAND:
            self._page = None
            self._refused(status, now)
        else:
            self._talk.close()
            self._missing(now)

    def _is_ours(self, block: ImageBlockResponse) -> bool:
        key = self._flash.key
        if (
            block.file_version == key.file_version
            and block.image_type == key.image_type
            and block.manufacturer == key.manufacturer
        ):
            return True
        self._talk.tell(Ignored("a block of another image"))
        return False

    def _fits(self, block: ImageBlockResponse) -> bool:
        """Not empty, no more than was asked for, and not past the end of the file."""
        size = len(block.data)
        if 0 < size <= self._settings.maximum_data_size and block.file_offset + size <= self._flash.size:
            return True
        self._talk.tell(Ignored(f"a block of {size} octets at offset {block.file_offset}"))
        return False

    def _store(self, data: bytes) -> None:
        self._talk.tell(BlockReceived(len(self._flash.data), len(data)))
        self._flash.data += data
        self.has_gained = True

    def _go_on(self, now: float) -> None:
        """What was asked for is there: end, or ask for what is next."""
        if self._flash.is_whole:
            self._page = None
            self._whole(now)
            return
        due = max(now + self._settings.pause_between_blocks, self._asked + self._period_seconds)
        if due > now:
            self._talk.close()
            self._talk.at(due, self._ask)
        else:
            self._ask(now)

    def _ask(self, now: float) -> None:
        if self._by_page and self._page is None:
            self._ask_page(now)
        else:
            self._ask_block(now)

    def _ask_block(self, now: float) -> None:
        key, at, settings = self._flash.key, len(self._flash.data), self._settings
        self._asked = now
        self._talk.ask(
            ImageBlockRequest(
                key.manufacturer,
                key.image_type,
                key.file_version,
                at,
                settings.maximum_data_size if self._page is None else self._gap(self._page, at),
                None,
                self.period if settings.reports_block_period else None,
            ),
            ImageBlockResponse.COMMAND_ID,
            acknowledged=settings.acknowledged,
        )
        self._talk.at(now + settings.answer_timeout, self._missing)

    def _gap(self, page: _Page, at: int) -> int:
        """How much to ask for at this offset of a page without asking for anything twice."""
        behind = min((early for early in page.early if early > at), default=page.end)
        return min(self._settings.maximum_data_size, behind - at)

    def _missing(self, now: float) -> None:
        """No answer, or a useless one: ask again at the same offset after a while, but not for ever."""
        if self._page is not None and not self._page.is_over:
            self._end_page(self._page, now)
            return
        self._talk.errors += 1
        if self._talk.errors < self._settings.errors_allowed:
            self._talk.at(now + self._talk.pause(self._settings.back_off_at_most), self._ask)
            return
        self._page = None
        at = len(self._flash.data)
        self._talk.tell(GaveUp(f"{self._talk.errors} requests in a row for offset {at} came to nothing"))
        self._given_up(now)

    def _ask_page(self, now: float) -> None:
        key, at, settings = self._flash.key, len(self._flash.data), self._settings
        size = min(settings.page_size or self._flash.size, self._flash.size - at)
        self._asked = now
        self._page = _Page(at + size)
        self._talk.ask(
            ImagePageRequest(
                key.manufacturer,
                key.image_type,
                key.file_version,
                at,
                settings.maximum_data_size,
                size,
                min(round(1000 * self._spacing), _LONGEST_SPACING),
            ),
            ImageBlockResponse.COMMAND_ID,
            acknowledged=settings.acknowledged,
        )
        self._talk.at(now + settings.page_timeout, self._missing)

    def _page_block(self, page: _Page, block: ImageBlockResponse, sequence: int, now: float) -> Status:
        """Take a block while a page is open. Its place is known by its offset, so its number is not asked."""
        if not self._is_ours(block):
            return Status.SUCCESS
        at, stored = block.file_offset, len(self._flash.data)
        if not self._fits(block):
            if self._talk.is_answer(block.COMMAND_ID, sequence):
                self._talk.close()
                self._missing(now)
            return Status.MALFORMED_COMMAND
        if not stored <= at < page.end or at in page.early:
            self._talk.tell(Ignored(f"a block at offset {at}, which is not missing"))
            return Status.SUCCESS
        page.is_heard = True
        self._talk.errors = 0
        page.early[at] = block.data
        while (data := page.early.pop(len(self._flash.data), None)) is not None:
            self._store(data)
        if len(self._flash.data) >= page.end:
            if not page.is_over:
                self._silent_pages = 0
            self._page = None
            self._go_on(now)
        elif not page.is_over:
            self._await_next(page, at + len(block.data), now)
        elif at == stored:
            self._go_on(now)
        return Status.SUCCESS

    def _await_next(self, page: _Page, offset: int, now: float) -> None:
        """Wait for the block at this offset, unless the page ends there: then what is missing is lost."""
        if offset >= page.end:
            self._end_page(page, now)
        else:
            self._talk.at(now + self._settings.answer_timeout + self._spacing, self._missing)

    def _end_page(self, page: _Page, now: float) -> None:
        """No more blocks come by themselves: fetch those that stayed away."""
        page.is_over = True
        self._silent_pages = 0 if page.is_heard else self._silent_pages + 1
        if self._silent_pages >= self._settings.page_tries:
            self._fall_back(f"{self._silent_pages} page requests in a row brought no block")
        self._ask_block(now)

    def _fall_back(self, why: str) -> None:
        self._by_page = False
        self._page = None
        self._talk.tell(FellBack(why))

    def _set_pace(self, period: int) -> None:
        self.period = period
        self._period_seconds: float = period * self._settings.block_period_unit
        self._spacing = max(self._settings.page_spacing, self._period_seconds)
