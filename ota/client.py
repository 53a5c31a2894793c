"""The device's side of the OTA Upgrade cluster.

A machine: it is told what came and what time it is, answers with values (``drain``) and says when it wants to
be called again (``timer``). What may follow what stands in ``ota.client_states``; a command that would cause
anything else is ignored.

How octets are fetched stands in ``ota.client_fetch``, what becomes of a whole image in ``ota.client_ending``;
here is what begins a download and what a restart makes of it.

Nothing counts as received before it is stored: ``stored`` is what a device's flash holds, and whoever loses
power gives it back to a new machine, which goes on from there without a query.
"""

from __future__ import annotations

import random
from dataclasses import replace

from ota.client_conversation import Conversation, Send
from ota.client_ending import Ending
from ota.client_events import (
    Aborted,
    Activated,
    Activating,
    BlockReceived,
    DownloadComplete,
    DownloadStarted,
    Event,
    FellBack,
    GaveUp,
    Ignored,
    Queried,
    WaitingToActivate,
)
from ota.client_fetch import Fetch
from ota.client_flash import Flash
from ota.client_settings import ClientSettings, Identity, StoredDownload
from ota.client_states import BUSY, HOLDS_IMAGE, TRANSITIONS, Signal, Standing, State
from ota.commands import (
    ANY_IMAGE_TYPE,
    ANY_MANUFACTURER,
    Command,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    ImagePageRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.image import SMALLEST_HEADER, ImageKey
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
    "FellBack",
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
        self._standing = Standing()
        self._talk = Conversation(dice.randrange(256), settings.back_off)
        self._flash = Flash(stored)
        self._fetch = Fetch(
            settings,
            self._talk,
            self._flash,
            whole=self._finish,
            refused=self._end_download,
            given_up=self._give_up,
        )
        self._ending = Ending(
            settings, self._standing, self._talk, self._flash, take_over=self._take_over, rest=self._rest
        )

    @property
    def state(self) -> State:
        """Where the device stands."""
        return self._standing.state

    @property
    def identity(self) -> Identity:
        """What the device is and runs now."""
        return self._identity

    @property
    def stored(self) -> StoredDownload | None:
        """What the device's flash holds at this moment."""
        return self._flash.stored

    @property
    def held(self) -> ImageKey | None:
        """The image that is whole, good and not yet activated."""
        return self._flash.holds if self.state in HOLDS_IMAGE else None

    def start(self, now: float) -> None:
        """Power on: go on with what is stored, or ask for the next image soon."""
        self._talk.rest()
        self._fetch.restart()
        if self._flash.holds is None:
            self._standing.move(Signal.POWER_BACK_EMPTY)
            self._talk.at(now + self._dice.uniform(0, self._settings.first_query_within), self._query)
            return
        soon = now + self._dice.uniform(0, self._settings.resume_within)
        if not self._flash.is_whole:
            self._standing.move(Signal.POWER_BACK_PARTIAL)
            self._talk.at(soon, self._fetch.begin)
        elif self._flash.fault(self._settings.verify) is not None:
            self._flash.erase()
            self._talk.tell(Aborted(Status.INVALID_IMAGE))
            self._standing.move(Signal.POWER_BACK_EMPTY)
            self._talk.at(soon, self._query)
        else:
            self._standing.move(Signal.POWER_BACK_COMPLETE)
            self._talk.at(soon, self._ending.ask)

    def reboot(self, now: float) -> None:
        """Lose everything but the flash, and start again."""
        self._talk.drain()
        self.start(now)

    def ask_now(self, now: float) -> None:
        """Query at once: the server said by other means that it has something. No effect while busy."""
        if self.state not in BUSY:
            self._talk.errors = 0
            self._query(now)

    def activate(self, now: float) -> None:
        """Let the held image take over at once: the out-of-band command has come.

        Raises:
            OurError: if no whole image is held.
        """
        if self.state not in HOLDS_IMAGE:
            raise OurError("no whole image is held: nothing to activate")
        self._take_over(now)

    def receive(
        self,
        command: Command,
        sequence: int,
        now: float,
        *,
        broadcast: bool = False,
        confirm: bool = False,
    ) -> None:
        """Take a command from the server.

        Args:
            command: what it says.
            sequence: of the ZCL frame that it came in.
            now: the present moment.
            broadcast: as the network layer delivered it. Nothing but an Image Notify may come so.
            confirm: whether the server wants to hear of success by a Default Response; of errors it always
                hears, unless it asked everybody (ZCL7 2.5.12).
        """
        if broadcast and not isinstance(command, ImageNotify):
            self._talk.tell(Ignored(f"a broadcast {type(command).__name__}"))
            return
        if isinstance(command, DefaultResponse):
            self._default_response(command, sequence, now)
            return
        status = self._take(command, sequence, now, broadcast=broadcast)
        if not broadcast and (confirm or status is not Status.SUCCESS):
            self._talk.respond(command.COMMAND_ID, sequence, status)

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
        self._talk.tell(Ignored(str(error)))
        if not broadcast:
            self._talk.respond(command_id, sequence, error.status)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._talk.tick(now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return self._talk.due

    def drain(self) -> list[Send | Event]:
        """What came of it since the last call, in order."""
        return self._talk.drain()

    def attributes(self, server: Eui64 | None = None) -> dict[int, int]:
        """The cluster's client attributes by id (ZCL7 11.10); ``server`` is whom the device asks."""
        downloading = self.state is State.DOWNLOADING
        held = self.held
        return {
            0x0000: 0xFFFFFFFFFFFFFFFF if server is None else server,
            0x0001: len(self._flash.data) if self._flash.holds is not None else 0xFFFFFFFF,
            0x0002: self._identity.file_version,
            0x0003: 0x0002,
            0x0004: 0xFFFFFFFF if held is None else held.file_version,
            0x0005: 0xFFFF if held is None else 0x0002,
            0x0006: self.state.value,
            0x0007: self._identity.manufacturer,
            0x0008: self._identity.image_type if downloading else 0xFFFF,
            0x0009: self._fetch.period,
            0x000A: 0xFFFFFFFF,
            0x000B: int(self._settings.out_of_band_only),
            0x000C: int(not self._settings.apply_after_timeout),
        }

    def _take(self, command: Command, sequence: int, now: float, *, broadcast: bool) -> Status:
        """Act on a command; the status that its sender deserves."""
        match command:
            case ImageBlockResponse():
                return self._fetch.block(command, sequence, now)
            case ImageNotify():
                return self._notified(command, now, broadcast=broadcast)
            case QueryNextImageResponse():
                self._next_image(command, sequence, now)
            case ImageBlockWait():
                self._fetch.told_to_wait(command, sequence, now)
            case ImageBlockAbort():
                self._fetch.refused(command.status, sequence, now)
            case UpgradeEndResponse():
                return self._ending.told_when(command, now)
            case _:
                self._talk.tell(Ignored(f"{type(command).__name__} is nothing that this client takes"))
                return Status.UNSUP_CLUSTER_COMMAND
        return Status.SUCCESS

    def _default_response(self, answer: DefaultResponse, sequence: int, now: float) -> None:
        match answer.command_id:
            case ImageBlockRequest.COMMAND_ID | ImagePageRequest.COMMAND_ID:
                self._fetch.default_response(answer, sequence, now)
            case UpgradeEndRequest.COMMAND_ID:
                self._ending.default_response(answer, sequence, now)
            case QueryNextImageRequest.COMMAND_ID:
                if self._talk.is_answer(QueryNextImageResponse.COMMAND_ID, sequence):
                    self._rest(now)
            case _:
                self._talk.tell(Ignored(f"a Default Response to {answer.command_id:#04x}"))

    def _rest(self, now: float) -> None:
        """Nothing is under way: wait for what the state waits for."""
        self._talk.rest()
        if self.state in (State.COMPLETE, State.WAITING):
            self._talk.at(now + self._settings.hold_repeat, self._ending.ask)
        else:
            self._talk.at(now + self._settings.query_every, self._query)

    def _notified(self, notify: ImageNotify, now: float, *, broadcast: bool) -> Status:
        if broadcast:
            if not self._concerns_us(notify):
                self._talk.tell(Ignored("a broadcast Image Notify that does not concern this device"))
                return Status.SUCCESS
        elif self.state in BUSY:
            self._talk.tell(Ignored("an Image Notify while busy with an image"))
            return Status.FAILURE
        self.ask_now(now)
        return Status.SUCCESS

    def _concerns_us(self, notify: ImageNotify) -> bool:
        """For a broadcast one: what it names must be ours, and then the dice decide (ZCL7 11.13.3)."""
        ours = self._identity
        if not 1 <= notify.query_jitter <= 100:
            return False
        if notify.manufacturer not in (None, ANY_MANUFACTURER, ours.manufacturer):
            return False
        if notify.image_type not in (None, ANY_IMAGE_TYPE, ours.image_type):
            return False
        known = (ours.file_version, None if self.held is None else self.held.file_version)
        if notify.file_version is not None and notify.file_version in known:
            return False
        return self._dice.randint(1, 100) <= notify.query_jitter

    def _query(self, now: float) -> None:
        us = self._identity
        request = QueryNextImageRequest(us.manufacturer, us.image_type, us.file_version, us.hardware_version)
        self._talk.ask(request, QueryNextImageResponse.COMMAND_ID)
        self._talk.tell(Queried())
        self._talk.at(now + self._settings.answer_timeout, self._query_unanswered)

    def _query_unanswered(self, now: float) -> None:
        self._talk.errors += 1
        if self._talk.errors < self._settings.query_tries:
            self._talk.at(now + self._talk.pause(self._settings.back_off_at_most), self._query)
        else:
            self._rest(now)

    def _next_image(self, answer: QueryNextImageResponse, sequence: int, now: float) -> None:
        if not self._talk.is_answer(answer.COMMAND_ID, sequence):
            return
        us = self._identity
        if answer.status != Status.SUCCESS or answer.file_version is None or answer.image_size is None:
            self._rest(now)
            return
        key = ImageKey(us.manufacturer, us.image_type, answer.file_version)
        if (answer.manufacturer, answer.image_type) != (us.manufacturer, us.image_type):
            self._talk.tell(Ignored("the image named is for another manufacturer or type"))
            self._rest(now)
        elif key.file_version == us.file_version and not self._settings.accepts_running_version:
            self._talk.tell(Ignored("the image named has the version that runs"))
            self._rest(now)
        elif key == self.held:
            # The server does not know, or forgot: say again that the image is here.
            self._talk.errors = 0
            self._ending.ask(now)
        elif answer.image_size < SMALLEST_HEADER:
            self._turn_down(key, Status.INVALID_IMAGE, now)
        elif answer.image_size > self._settings.storage:
            self._turn_down(key, Status.INSUFFICIENT_SPACE, now)
        elif key.file_version < us.file_version and not self._settings.accepts_downgrade:
            self._turn_down(key, Status.INVALID_IMAGE, now)
        else:
            self._flash.make_room(key, answer.image_size)
            self._standing.move(Signal.IMAGE_FOUND)
            self._fetch.begin(now)

    def _turn_down(self, key: ImageKey, status: Status, now: float) -> None:
        self._ending.report(key, status)
        self._talk.tell(Aborted(status))
        self._rest(now)

    def _finish(self, now: float) -> None:
        """The file is whole: it is good, or it is nothing."""
        key = self._flash.key
        if self._flash.fault(self._settings.verify) is not None:
            self._ending.report(key, Status.INVALID_IMAGE)
            self._flash.erase()
            self._talk.tell(Aborted(Status.INVALID_IMAGE))
            self._standing.move(Signal.DOWNLOAD_OVER)
            self._rest(now)
            return
        self._standing.move(Signal.FILE_GOOD)
        self._talk.tell(DownloadComplete(key, bytes(self._flash.data)))
        self._ending.ask(now)

    def _end_download(self, status: Status, now: float) -> None:
        """The server gives no more of it."""
        if not self._settings.keeps_aborted:
            self._flash.erase()
        self._talk.tell(Aborted(status))
        self._standing.move(Signal.DOWNLOAD_OVER)
        self._rest(now)

    def _give_up(self, now: float) -> None:
        """The server cannot be reached. What is stored is good for the next attempt."""
        self._ending.report(self._flash.key, Status.ABORT)
        self._standing.move(Signal.DOWNLOAD_OVER)
        self._rest(now)

    def _take_over(self, now: float) -> None:
        version = self._flash.key.file_version
        self._identity = replace(self._identity, file_version=version)
        self._flash.erase()
        self._standing.move(Signal.ACTIVATED)
        self._talk.tell(Activated(version))
        self._rest(now)
