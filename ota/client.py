"""The device's side of the OTA Upgrade cluster.

A machine: it is told what came and what time it is, answers with values (``drain``) and says when it wants to
be called again (``timer``). What may follow what stands in ``ota.client_states``; a command that would cause
anything else is ignored.

How the next image is asked for stands in ``ota.client_search``, how its octets are fetched in
``ota.client_fetch``, and what becomes of it when it is whole in ``ota.client_ending``; here is what joins
them.

Nothing counts as received before it is stored: ``stored`` is what a device's flash holds, and whoever loses
power gives it back to a new machine, which goes on from there without a query.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from zlib import crc32

from ota.client_attributes import attributes_of
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
    MoreNeeded,
    Queried,
    WaitingToActivate,
)
from ota.client_fetch import Fetch
from ota.client_flash import Flash
from ota.client_search import Search
from ota.client_settings import ClientSettings, Identity, Part, StoredDownload
from ota.client_states import BUSY, HOLDS_IMAGE, TRANSITIONS, Signal, Standing, State
from ota.commands import (
    Command,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    ImagePageRequest,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    QueryNextImageResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.image import SMALLEST_HEADER, Header, ImageKey
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
    "MoreNeeded",
    "OtaClient",
    "Part",
    "Queried",
    "Send",
    "Signal",
    "State",
    "StoredDownload",
    "WaitingToActivate",
]


class OtaClient:
    """The machine of one device.

    Args:
        dice: spreads its queries.
        stored: what its flash held of the file that was being taken.
        aside: the whole files that waited for others, the oldest first. Files for nothing that the device has
            are let go.
    """

    def __init__(
        self,
        settings: ClientSettings,
        identity: Identity,
        dice: random.Random,
        stored: StoredDownload | None = None,
        aside: Sequence[StoredDownload] = (),
    ) -> None:
        self._settings = settings
        self._dice = dice
        self._standing = Standing()
        self._talk = Conversation(dice.randrange(256), settings.back_off)
        self._flash = Flash(stored, aside if settings.upgrades_together else ())
        self._flash.keep_only(identity)
        self._search = Search(
            settings, identity, self._standing, self._talk, self._flash, dice=dice, rest=self._rest
        )
        self._fetch = Fetch(
            settings,
            self._talk,
            self._flash,
            whole=self._finish,
            refused=self._end_download,
            given_up=self._give_up,
        )
        self._ending = Ending(
            settings,
            self._standing,
            self._talk,
            self._flash,
            take_over=self._take_over,
            go_on=self._search.begin,
            rest=self._rest,
        )

    @property
    def state(self) -> State:
        """Where the device stands."""
        return self._standing.state

    @property
    def identity(self) -> Identity:
        """What the device is and runs now."""
        return self._search.identity

    @property
    def stored(self) -> StoredDownload | None:
        """What the device's flash holds at this moment of the file that is being taken, or is whole."""
        return self._flash.stored

    @property
    def aside(self) -> tuple[StoredDownload, ...]:
        """The whole files in its flash that wait for others."""
        return self._flash.aside

    @property
    def held(self) -> ImageKey | None:
        """The image that is whole, good and not yet activated."""
        return self._flash.holds if self.state in HOLDS_IMAGE else None

    def start(self, now: float) -> None:
        """Power on: go on with what is stored, or ask for the next image soon."""
        self._talk.rest()
        self._fetch.restart()
        flash, settings = self._flash, self._settings
        is_blank = flash.holds is None and not flash.aside
        span = settings.first_query_within if is_blank else settings.resume_within
        soon = now + self._dice.uniform(0, span)
        if flash.is_whole and self._fault() is not None:
            flash.drop()
            self._talk.tell(Aborted(Status.INVALID_IMAGE))
        if flash.is_whole:
            self._standing.move(Signal.POWER_BACK_COMPLETE)
            self._talk.at(soon, self._ending.ask)
        elif flash.holds is not None:
            self._standing.move(Signal.POWER_BACK_PARTIAL)
            self._talk.at(soon, self._fetch.begin)
        elif flash.aside:
            self._standing.move(Signal.POWER_BACK_ASIDE)
            self._talk.at(soon, self._ending.need_more)
        else:
            self._standing.move(Signal.POWER_BACK_EMPTY)
            self._talk.at(soon, self._search.begin)

    def reboot(self, now: float) -> None:
        """Lose everything but the flash, and start again."""
        self._talk.drain()
        self.start(now)

    def ask_now(self, now: float) -> None:
        """Query at once: the server said by other means that it has something. No effect while busy."""
        self._search.soon(now)

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
        return attributes_of(
            self._settings, self.identity, self.state, self._flash, period=self._fetch.period, server=server
        )

    def _take(self, command: Command, sequence: int, now: float, *, broadcast: bool) -> Status:
        """Act on a command; the status that its sender deserves."""
        match command:
            case ImageBlockResponse():
                return self._fetch.block(command, sequence, now)
            case ImageNotify():
                return self._notified(command, now, broadcast=broadcast)
            case QueryNextImageResponse():
                self._next_file(command, sequence, now)
            case ImageBlockWait():
                self._fetch.told_to_wait(command, sequence, now)
            case ImageBlockAbort():
                self._fetch.refused(command.status, sequence, now)
            case UpgradeEndResponse():
                return self._ending.told_when(command, sequence, now)
            case QueryDeviceSpecificFileResponse() if any(
                part.is_device_specific for part in self.identity.parts
            ):
                self._next_file(command, sequence, now)
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
                self._not_answered(answer, QueryNextImageResponse.COMMAND_ID, sequence, now)
            case QueryDeviceSpecificFileRequest.COMMAND_ID:
                self._not_answered(answer, QueryDeviceSpecificFileResponse.COMMAND_ID, sequence, now)
            case _:
                self._talk.tell(Ignored(f"a Default Response to {answer.command_id:#04x}"))

    def _rest(self, now: float) -> None:
        """Nothing is under way: wait for what the state waits for."""
        self._talk.rest()
        if self.state in (State.COMPLETE, State.WAITING):
            self._talk.at(now + self._settings.hold_repeat, self._ending.ask)
        else:
            self._talk.at(now + self._settings.query_every, self._search.begin)

    def _notified(self, notify: ImageNotify, now: float, *, broadcast: bool) -> Status:
        if broadcast:
            if not self._search.concerns_us(notify):
                self._talk.tell(Ignored("a broadcast Image Notify that does not concern this device"))
                return Status.SUCCESS
        elif self.state in BUSY:
            self._talk.tell(Ignored("an Image Notify while busy with an image"))
            return Status.FAILURE
        self._search.soon(now)
        return Status.SUCCESS

    def _next_file(
        self, answer: QueryNextImageResponse | QueryDeviceSpecificFileResponse, sequence: int, now: float
    ) -> None:
        if not self._talk.is_answer(answer.COMMAND_ID, sequence):
            return
        us, part, settings = self.identity, self._search.part, self._settings
        if answer.status != Status.SUCCESS or answer.file_version is None or answer.image_size is None:
            self._search.nothing(now)
            return
        key = ImageKey(us.manufacturer, part.image_type, answer.file_version)
        if (answer.manufacturer, answer.image_type) != (us.manufacturer, part.image_type):
            self._talk.tell(Ignored("the image named is for another manufacturer or type"))
            self._search.nothing(now)
        elif key.file_version == part.file_version and not settings.accepts_running_version:
            self._talk.tell(Ignored("the image named has the version that runs"))
            self._search.nothing(now)
        elif self.state in HOLDS_IMAGE and key in self._flash.keys:
            # The server does not know, or forgot: say again that the image is here.
            self._talk.errors = 0
            self._ending.ask(now)
        elif answer.image_size < SMALLEST_HEADER:
            self._turn_down(key, Status.INVALID_IMAGE, now)
        elif answer.image_size > settings.storage - sum(file.size for file in self._flash.aside):
            self._turn_down(key, Status.INSUFFICIENT_SPACE, now)
        elif key.file_version < part.file_version and not settings.accepts_downgrade:
            self._turn_down(key, Status.INVALID_IMAGE, now)
        else:
            self._begin(key, answer.image_size, now)

    def _not_answered(self, answer: DefaultResponse, wanted_id: int, sequence: int, now: float) -> None:
        """A status where a file was asked for: there is none, unless it says that the answer will come."""
        if not self._talk.is_answer(wanted_id, sequence):
            return
        if answer.status == Status.SUCCESS:
            self._talk.tell(Ignored("a Default Response where an answer is wanted"))
        else:
            self._search.nothing(now)

    def _begin(self, key: ImageKey, size: int, now: float) -> None:
        if self.state in HOLDS_IMAGE:
            self._flash.erase()
        self._flash.make_room(key, size)
        self._standing.move(Signal.IMAGE_FOUND)
        self._fetch.begin(now)

    def _turn_down(self, key: ImageKey, status: Status, now: float) -> None:
        self._ending.report(key, status)
        self._talk.tell(Aborted(status))
        self._rest(now)

    def _fault(self) -> str | None:
        return self._flash.fault(self.identity.address, self._settings.verify)

    def _finish(self, now: float) -> None:
        """The file is whole: it is good, or it is nothing."""
        key = self._flash.key
        if self._fault() is not None:
            self._ending.report(key, Status.INVALID_IMAGE)
            self._flash.drop()
            self._talk.tell(Aborted(Status.INVALID_IMAGE))
            self._over(now)
        elif self._settings.upgrades_together and len(self._search.wanted) > 1:
            self._talk.tell(MoreNeeded(key, bytes(self._flash.data)))
            self._flash.set_aside()
            self._standing.move(Signal.MORE_NEEDED)
            self._ending.need_more(now)
        else:
            self._talk.tell(DownloadComplete(key, bytes(self._flash.data)))
            self._standing.move(Signal.FILE_GOOD)
            self._ending.ask(now)

    def _end_download(self, status: Status, now: float) -> None:
        """The server gives no more of it.

        What is stored may be good for another attempt. But where such an attempt is refused at once, the
        server has another file by that name, or none: then it is worth nothing.
        """
        if not self._settings.keeps_aborted or not self._fetch.has_gained:
            self._flash.drop()
        self._talk.tell(Aborted(status))
        self._over(now)

    def _give_up(self, now: float) -> None:
        """The server cannot be reached. What is stored is good for the next attempt."""
        self._ending.report(self._flash.key, Status.ABORT)
        self._over(now)

    def _over(self, now: float) -> None:
        self._standing.move(Signal.FURTHER_OVER if self._flash.aside else Signal.DOWNLOAD_OVER)
        self._rest(now)

    def _take_over(self, now: float) -> None:
        """Run what is held. The device's own firmware comes last: with it the device starts again."""
        own = self.identity.image_type
        for file in sorted(self._flash.files, key=lambda file: file.key.image_type == own):
            self._search.identity = self.identity.running(Header.parse(file.data), crc32(file.data))
            part = None if file.key.image_type == own else file.key.image_type
            self._talk.tell(Activated(file.key.file_version, part))
        self._flash.erase()
        self._standing.move(Signal.ACTIVATED)
        self._rest(now)
