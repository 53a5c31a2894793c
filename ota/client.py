"""The device's side of the OTA Upgrade cluster.

A machine: it is told what came and what time it is, answers with values (``drain``) and says when it wants to
be called again (``timer``). What may follow what stands in ``ota.client_states``; a command that would cause
anything else is ignored.

Nothing counts as received before it is stored: ``stored`` is what a device's flash holds, and whoever loses
power gives it back to a new machine, which goes on from there without a query.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from ota.client_events import (
    Aborted,
    Activated,
    Activating,
    BlockReceived,
    DownloadComplete,
    DownloadStarted,
    Event,
    GaveUp,
    Ignored,
    Queried,
    WaitingToActivate,
)
from ota.client_settings import ClientSettings, Identity, StoredDownload
from ota.client_states import TRANSITIONS, Signal, State
from ota.commands import (
    ANY_IMAGE_TYPE,
    ANY_MANUFACTURER,
    ANY_VERSION,
    WAIT_FOR_ACTIVATION,
    Command,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    QueryNextImageRequest,
    QueryNextImageResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.image import SMALLEST_HEADER, Image, ImageFormatError, ImageKey
from ota.status import Status

__all__ = [
    "TRANSITIONS",
    "Aborted",
    "Activated",
    "Activating",
    "BlockReceived",
    "ClientSettings",
    "DownloadComplete",
    "DownloadStarted",
    "Event",
    "GaveUp",
    "Identity",
    "Ignored",
    "OtaClient",
    "Queried",
    "Send",
    "Signal",
    "State",
    "StoredDownload",
    "WaitingToActivate",
]


_BUSY = (State.DOWNLOADING, State.COMPLETE, State.COUNT_DOWN)
_HOLDS_IMAGE = (State.COMPLETE, State.WAITING, State.EXTERNAL, State.COUNT_DOWN)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command to the server, with this ZCL sequence number."""

    command: Command
    sequence: int


class OtaClient:
    """The machine of one device. ``dice`` spreads its queries; ``stored`` is what its flash held."""

    def __init__(
        self,
        settings: ClientSettings,
        identity: Identity,
        dice: random.Random,
        stored: StoredDownload | None = None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._dice = dice
        self._state = State.NORMAL
        self._key: ImageKey | None = None if stored is None else stored.key
        self._size = 0 if stored is None else stored.size
        self._data = bytearray() if stored is None else bytearray(stored.data)
        self._sequence = dice.randrange(256)  # of the newest request
        self._awaits: int | None = None  # the command id of the answer that is owed
        self._errors = 0  # in a row
        self._period = 0  # minimum block period, in the units of the cluster revision
        self._due: float | None = None
        self._then: Callable[[float], None] = self._query
        self._out: list[Send | Event] = []

    @property
    def state(self) -> State:
        """Where the device stands."""
        return self._state

    @property
    def identity(self) -> Identity:
        """What the device is and runs now."""
        return self._identity

    @property
    def stored(self) -> StoredDownload | None:
        """What the device's flash holds at this moment."""
        return None if self._key is None else StoredDownload(self._key, self._size, bytes(self._data))

    @property
    def held(self) -> ImageKey | None:
        """The image that is whole, good and not yet activated."""
        return self._key if self._state in _HOLDS_IMAGE else None

    def start(self, now: float) -> None:
        """Power on: go on with what is stored, or ask for the next image soon."""
        self._awaits, self._errors, self._due = None, 0, None
        if self._key is None:
            self._move(Signal.POWER_BACK_EMPTY)
            self._at(now + self._dice.uniform(0, self._settings.first_query_within), self._query)
            return
        soon = now + self._dice.uniform(0, self._settings.resume_within)
        if len(self._data) < self._size:
            self._move(Signal.POWER_BACK_PARTIAL)
            self._at(soon, self._resume)
        elif self._fault() is not None:
            self._forget()
            self._out.append(Aborted(Status.INVALID_IMAGE))
            self._move(Signal.POWER_BACK_EMPTY)
            self._at(soon, self._query)
        else:
            self._move(Signal.POWER_BACK_COMPLETE)
            self._at(soon, self._ask_when)

    def reboot(self, now: float) -> None:
        """Lose everything but the flash, and start again."""
        self._out.clear()
        self._period = 0
        self.start(now)

    def ask_now(self, now: float) -> None:
        """Query at once: the server said by other means that it has something. No effect while busy."""
        if self._state not in _BUSY:
            self._errors = 0
            self._query(now)

    def activate(self, now: float) -> None:
        """Let the held image take over at once: the out-of-band command has come.

        Raises:
            OurError: if no whole image is held.
        """
        if self._state not in _HOLDS_IMAGE:
            raise OurError("no whole image is held: nothing to activate")
        self._take_over(now)

    def receive(
        self,
        command: Command,
        sequence: int,
        now: float,
        *,
        broadcast: bool = False,
        confirm: bool = True,
    ) -> None:
        """Take a command from the server.

        Args:
            command: what it says.
            sequence: of the ZCL frame that it came in.
            now: the present moment.
            broadcast: as the network layer delivered it.
            confirm: whether the server wants to hear of success by a Default Response; of errors it always
                hears (ZCL7 2.5.12).
        """
        match command:
            case ImageBlockResponse():
                self._block(command, sequence, now)
            case ImageNotify():
                self._notified(command, sequence, now, broadcast=broadcast, confirm=confirm)
            case QueryNextImageResponse():
                self._next_image(command, sequence, now)
            case ImageBlockWait():
                self._told_to_wait(command, sequence, now)
            case ImageBlockAbort():
                self._block_refused(command.status, sequence, now)
            case UpgradeEndResponse():
                self._told_when(command, sequence, now)
            case DefaultResponse():
                self._default_response(command, sequence, now)
            case _:
                self._out.append(Ignored(f"{type(command).__name__} is for a client to send"))
                if not broadcast:
                    self._respond(command.COMMAND_ID, sequence, Status.UNSUP_CLUSTER_COMMAND)

    def receive_malformed(
        self,
        command_id: int,
        sequence: int,
        error: TheirError,
        now: float,  # noqa: ARG002 - machines are always told the time
        *,
        broadcast: bool = False,
    ) -> None:
        """Take note of a command that could not be read. An invalid broadcast is never answered."""
        self._out.append(Ignored(str(error)))
        if not broadcast:
            self._respond(command_id, sequence, error.status)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._due is not None and self._due <= now:
            self._due = None
            self._then(now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return self._due

    def drain(self) -> list[Send | Event]:
        """What came of it since the last call, in order."""
        out, self._out = self._out, []
        return out

    def attributes(self, server: Eui64 | None = None) -> dict[int, int]:
        """The cluster's client attributes by id (ZCL7 11.10); ``server`` is whom the device asks."""
        downloading = self._state is State.DOWNLOADING
        held = self.held
        return {
            0x0000: 0xFFFFFFFFFFFFFFFF if server is None else server,
            0x0001: len(self._data) if self._key is not None else 0xFFFFFFFF,
            0x0002: self._identity.file_version,
            0x0003: 0x0002,
            0x0004: 0xFFFFFFFF if held is None else held.file_version,
            0x0005: 0xFFFF if held is None else 0x0002,
            0x0006: self._state.value,
            0x0007: self._identity.manufacturer,
            0x0008: self._identity.image_type if downloading else 0xFFFF,
            0x0009: self._period,
            0x000A: 0xFFFFFFFF,
            0x000B: int(self._settings.out_of_band_only),
            0x000C: int(not self._settings.apply_after_timeout),
        }

    def _move(self, signal: Signal) -> None:
        try:
            self._state = TRANSITIONS[self._state][signal]
        except KeyError:
            raise OurError(f"in state {self._state.name} there is no {signal.name}") from None

    def _at(self, due: float, then: Callable[[float], None]) -> None:
        self._due, self._then = due, then

    def _ask(self, command: Command, answer_id: int) -> None:
        """Send a request with a fresh sequence number; only its own answer will do."""
        self._sequence = (self._sequence + 1) & 0xFF
        self._awaits = answer_id
        self._out.append(Send(command, self._sequence))

    def _is_answer(self, answer_id: int, sequence: int) -> bool:
        """Whether this answers the newest request. Late and repeated answers do not, and change nothing."""
        if self._awaits == answer_id and sequence == self._sequence:
            return True
        self._out.append(Ignored(f"nobody awaits an answer {answer_id:#04x} numbered {sequence}"))
        return False

    def _respond(self, command_id: int, sequence: int, status: Status) -> None:
        self._out.append(Send(DefaultResponse(command_id, status, from_server=False), sequence))

    def _pause(self, at_most: float) -> float:
        """How long to wait after the errors so far."""
        doubled: float = self._settings.back_off * 2 ** min(self._errors - 1, 16)
        return min(doubled, at_most)

    def _forget(self) -> None:
        self._key, self._size = None, 0
        self._data = bytearray()

    def _rest(self, now: float) -> None:
        """Nothing is under way: wait for what the state waits for."""
        self._awaits, self._errors = None, 0
        if self._state in (State.COMPLETE, State.WAITING):
            self._at(now + self._settings.hold_repeat, self._ask_when)
        else:
            self._at(now + self._settings.query_every, self._query)

    def _notified(
        self, notify: ImageNotify, sequence: int, now: float, *, broadcast: bool, confirm: bool
    ) -> None:
        if broadcast:
            if not self._concerns_us(notify):
                self._out.append(Ignored("a broadcast Image Notify that does not concern this device"))
                return
        elif self._state in _BUSY:
            self._out.append(Ignored("an Image Notify while busy with an image"))
            self._respond(notify.COMMAND_ID, sequence, Status.FAILURE)
            return
        elif confirm:
            self._respond(notify.COMMAND_ID, sequence, Status.SUCCESS)
        self.ask_now(now)

    def _concerns_us(self, notify: ImageNotify) -> bool:
        """For a broadcast one: what it names must be ours, and then the dice decide (ZCL7 11.13.3)."""
        ours = self._identity
        if not 1 <= notify.query_jitter <= 100:
            return False
        if notify.manufacturer not in (None, ANY_MANUFACTURER, ours.manufacturer):
            return False
        if notify.image_type not in (None, ANY_IMAGE_TYPE, ours.image_type):
            return False
        known = (ours.file_version, None if self._key is None else self._key.file_version)
        if notify.file_version is not None and notify.file_version in known:
            return False
        return self._dice.randint(1, 100) <= notify.query_jitter

    def _query(self, now: float) -> None:
        us = self._identity
        request = QueryNextImageRequest(us.manufacturer, us.image_type, us.file_version, us.hardware_version)
        self._ask(request, QueryNextImageResponse.COMMAND_ID)
        self._out.append(Queried())
        self._at(now + self._settings.answer_timeout, self._query_unanswered)

    def _query_unanswered(self, now: float) -> None:
        self._errors += 1
        if self._errors < self._settings.query_tries:
            self._at(now + self._pause(self._settings.back_off_at_most), self._query)
        else:
            self._rest(now)

    def _next_image(self, answer: QueryNextImageResponse, sequence: int, now: float) -> None:
        if not self._is_answer(answer.COMMAND_ID, sequence):
            return
        us = self._identity
        if answer.status != Status.SUCCESS or answer.file_version is None or answer.image_size is None:
            self._rest(now)
            return
        key = ImageKey(us.manufacturer, us.image_type, answer.file_version)
        if (answer.manufacturer, answer.image_type) != (us.manufacturer, us.image_type):
            self._out.append(Ignored("the image named is for another manufacturer or type"))
            self._rest(now)
        elif key.file_version == us.file_version and not self._settings.accepts_running_version:
            self._out.append(Ignored("the image named has the version that runs"))
            self._rest(now)
        elif self._state in _HOLDS_IMAGE and key == self._key:
            # The server does not know, or forgot: say again that the image is here.
            self._errors = 0
            self._ask_when(now)
        elif answer.image_size < SMALLEST_HEADER:
            self._turn_down(key, Status.INVALID_IMAGE, now)
        elif answer.image_size > self._settings.storage:
            self._turn_down(key, Status.INSUFFICIENT_SPACE, now)
        elif key.file_version < us.file_version and not self._settings.accepts_downgrade:
            self._turn_down(key, Status.INVALID_IMAGE, now)
        else:
            self._begin(key, answer.image_size, now)

    def _turn_down(self, key: ImageKey, status: Status, now: float) -> None:
        self._tell_end(key, status)
        self._out.append(Aborted(status))
        self._rest(now)

    def _begin(self, key: ImageKey, size: int, now: float) -> None:
        if (key, size) != (self._key, self._size) or len(self._data) >= size:
            self._forget()
            self._key, self._size = key, size
        self._move(Signal.IMAGE_FOUND)
        self._resume(now)

    def _resume(self, now: float) -> None:
        self._errors = 0
        self._out.append(DownloadStarted(self._downloading(), self._size, len(self._data)))
        self._ask_block(now)

    def _downloading(self) -> ImageKey:
        if self._key is None:
            raise OurError("no image is being taken")
        return self._key

    def _ask_block(self, now: float) -> None:
        key = self._downloading()
        request = ImageBlockRequest(
            key.manufacturer,
            key.image_type,
            key.file_version,
            len(self._data),
            self._settings.maximum_data_size,
            None,
            self._period if self._settings.reports_block_period else None,
        )
        self._ask(request, ImageBlockResponse.COMMAND_ID)
        self._at(now + self._settings.answer_timeout, self._block_missing)

    def _block_missing(self, now: float) -> None:
        """No answer, or a useless one: ask again at the same offset after a while, but not for ever."""
        self._errors += 1
        if self._errors < self._settings.errors_allowed:
            self._at(now + self._pause(self._settings.back_off_at_most), self._ask_block)
            return
        at = len(self._data)
        self._out.append(GaveUp(f"{self._errors} requests in a row for offset {at} came to nothing"))
        self._tell_end(self._downloading(), Status.ABORT)
        self._move(Signal.DOWNLOAD_OVER)
        self._rest(now)

    def _block(self, block: ImageBlockResponse, sequence: int, now: float) -> None:
        if self._state is not State.DOWNLOADING or not self._is_answer(block.COMMAND_ID, sequence):
            return
        if ImageKey(block.manufacturer, block.image_type, block.file_version) != self._key:
            self._out.append(Ignored("a block of another image"))
        elif block.file_offset != len(self._data):
            self._out.append(Ignored(f"a block at offset {block.file_offset}, not {len(self._data)}"))
        elif not self._fits(block.data):
            self._awaits = None
            self._out.append(Ignored(f"a block of {len(block.data)} octets at offset {block.file_offset}"))
            self._respond(block.COMMAND_ID, sequence, Status.MALFORMED_COMMAND)
            self._block_missing(now)
        else:
            self._store(block, now)

    def _fits(self, data: bytes) -> bool:
        """Not empty, no more than was asked for, and not past the end of the file."""
        return 0 < len(data) <= min(self._settings.maximum_data_size, self._size - len(self._data))

    def _store(self, block: ImageBlockResponse, now: float) -> None:
        self._errors, self._awaits = 0, None
        self._data += block.data
        self._out.append(BlockReceived(block.file_offset, len(block.data)))
        if len(self._data) == self._size:
            self._finish(now)
            return
        pause = max(self._settings.pause_between_blocks, self._period * self._settings.block_period_unit)
        if pause > 0:
            self._at(now + pause, self._ask_block)
        else:
            self._ask_block(now)

    def _told_to_wait(self, wait: ImageBlockWait, sequence: int, now: float) -> None:
        if self._state is not State.DOWNLOADING or not self._is_answer(wait.COMMAND_ID, sequence):
            return
        self._errors, self._awaits = 0, None
        if wait.minimum_block_period is not None:
            self._period = wait.minimum_block_period
        delay: float = wait.request_time - wait.current_time
        if delay < 0:
            delay = self._settings.invalid_wait
        delay = max(min(delay, self._settings.wait_at_most), self._period * self._settings.block_period_unit)
        # A server that says "wait" and "0 seconds" in one breath would otherwise be asked without end.
        self._at(now + (delay or self._settings.back_off), self._ask_block)

    def _block_refused(self, status: Status, sequence: int, now: float) -> None:
        if self._state is not State.DOWNLOADING or not self._is_answer(ImageBlockAbort.COMMAND_ID, sequence):
            return
        self._awaits = None
        if status in (Status.ABORT, Status.NO_IMAGE_AVAILABLE):
            self._end_download(status, now)
        else:
            self._block_missing(now)

    def _end_download(self, status: Status, now: float) -> None:
        if not self._settings.keeps_aborted:
            self._forget()
        self._out.append(Aborted(status))
        self._move(Signal.DOWNLOAD_OVER)
        self._rest(now)

    def _fault(self) -> str | None:
        """What is wrong with the stored file, or None."""
        data = bytes(self._data)
        try:
            header = Image.read(data).header
        except ImageFormatError as error:
            return str(error)
        if header.key != self._key:
            return f"the file is {header.key}, not the image that was named"
        if self._settings.verify is not None and not self._settings.verify(data):
            return "the device's own check failed"
        return None

    def _finish(self, now: float) -> None:
        key = self._downloading()
        if self._fault() is not None:
            self._tell_end(key, Status.INVALID_IMAGE)
            self._forget()
            self._out.append(Aborted(Status.INVALID_IMAGE))
            self._move(Signal.DOWNLOAD_OVER)
            self._rest(now)
            return
        self._move(Signal.FILE_GOOD)
        self._out.append(DownloadComplete(key, bytes(self._data)))
        self._ask_when(now)

    def _tell_end(self, key: ImageKey, status: Status) -> None:
        """Report a download that ended badly; its answer is not waited for."""
        self._ask(
            UpgradeEndRequest(status, key.manufacturer, key.image_type, key.file_version),
            UpgradeEndResponse.COMMAND_ID,
        )
        self._awaits = None

    def _ask_when(self, now: float) -> None:
        key = self._downloading()
        request = UpgradeEndRequest(Status.SUCCESS, key.manufacturer, key.image_type, key.file_version)
        self._ask(request, UpgradeEndResponse.COMMAND_ID)
        self._at(now + self._settings.answer_timeout, self._end_unanswered)

    def _end_unanswered(self, now: float) -> None:
        self._errors += 1
        if self._errors < self._settings.end_tries:
            self._at(now + self._pause(self._settings.end_back_off_at_most), self._ask_when)
        elif self._state is not State.COMPLETE:
            self._rest(now)  # it was told to hold once, and goes on holding
        elif self._settings.out_of_band_only or not self._settings.apply_after_timeout:
            self._hold(now)
        else:
            self._out.append(GaveUp("nobody says when to activate: going ahead"))
            self._count_down(0, now)

    def _told_when(self, answer: UpgradeEndResponse, sequence: int, now: float) -> None:
        if self._state not in _HOLDS_IMAGE or not self._names_ours(answer):
            self._out.append(Ignored("an Upgrade End Response for no image that is held"))
            return
        if answer.upgrade_time == WAIT_FOR_ACTIVATION:
            self._hold(now)
            return
        if self._settings.out_of_band_only:
            self._out.append(Ignored("an Upgrade End Response that would activate what only a command may"))
            self._respond(answer.COMMAND_ID, sequence, Status.NOT_AUTHORIZED)
            self._hold(now)
            return
        delay = answer.upgrade_time - answer.current_time
        if delay < 0:
            self._out.append(Ignored("an upgrade time before the current time"))
            self._respond(answer.COMMAND_ID, sequence, Status.INVALID_VALUE)
        else:
            self._count_down(delay, now)

    def _names_ours(self, answer: UpgradeEndResponse) -> bool:
        key = self._downloading()
        return (
            answer.manufacturer in (ANY_MANUFACTURER, key.manufacturer)
            and answer.image_type in (ANY_IMAGE_TYPE, key.image_type)
            and answer.file_version in (ANY_VERSION, key.file_version)
        )

    def _hold(self, now: float) -> None:
        held = self._state in (State.WAITING, State.EXTERNAL)
        self._move(Signal.HOLD_FOR_COMMAND if self._settings.out_of_band_only else Signal.HOLD)
        if not held:
            self._out.append(WaitingToActivate(self._downloading()))
        self._rest(now)

    def _count_down(self, delay: float, now: float) -> None:
        self._awaits, self._errors = None, 0
        self._move(Signal.ACTIVATE_AT)
        at = now + max(delay, self._settings.activation_delay)
        self._out.append(Activating(self._downloading(), at))
        self._at(at, self._take_over)

    def _take_over(self, now: float) -> None:
        version = self._downloading().file_version
        self._identity = replace(self._identity, file_version=version)
        self._forget()
        self._move(Signal.ACTIVATED)
        self._out.append(Activated(version))
        self._rest(now)

    def _default_response(self, answer: DefaultResponse, sequence: int, now: float) -> None:
        if sequence != self._sequence or self._awaits is None:
            return
        match answer.command_id:
            case QueryNextImageRequest.COMMAND_ID if self._awaits == QueryNextImageResponse.COMMAND_ID:
                self._rest(now)
            case ImageBlockRequest.COMMAND_ID if self._state is State.DOWNLOADING:
                self._block_refused(answer.status, sequence, now)
            case UpgradeEndRequest.COMMAND_ID if (
                answer.status == Status.ABORT and self._state in _HOLDS_IMAGE
            ):
                self._forget()
                self._out.append(Aborted(answer.status))
                self._move(Signal.DOWNLOAD_OVER)
                self._rest(now)
            case _:
                self._out.append(Ignored(f"a Default Response to {answer.command_id:#04x}"))
