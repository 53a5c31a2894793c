"""The hub's side of the OTA Upgrade cluster, for all its devices at once.

A machine: told what came and what time it is, it answers with values (``drain``) and says when it wants to
be called again (``timer``). It is stateless by offset (`ota.server_octets`); what is kept for each target is
only how far the conversation has come (`ota.server_states`), to tell the story and to remind the silent. Who
is served when is decided by `ota.scheduler`.

Only the targets of an offer are served. A device that is none, or whose hardware does not suit, hears
NO_IMAGE_AVAILABLE.
"""

from __future__ import annotations

from ota.commands import (
    Command,
    DefaultResponse,
    ImageBlockRequest,
    ImagePageRequest,
    QueryDeviceSpecificFileRequest,
    QueryNextImageRequest,
    UpgradeEndRequest,
)
from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.scheduler import Scheduler
from ota.server_conversation import EVERYBODY, Conversation, Send
from ota.server_ending import Ending
from ota.server_events import (
    AirSpent,
    AlreadyRunning,
    BlockPeriodFound,
    BlockServed,
    BlockShrunk,
    ClientIgnoresBlock,
    DeviceEvent,
    Event,
    Flooding,
    HardwareMismatch,
    MoreImagesNeeded,
    Notified,
    Paced,
    Paused,
    PeerRefused,
    Refused,
    Resumed,
    TransferAborted,
    TransferCompleted,
    TransferFailed,
    TransferInterrupted,
    TransferStalled,
    TransferStarted,
    TurnAwaited,
    VersionSeen,
)
from ota.server_octets import Octets
from ota.server_queries import Queries
from ota.server_settings import Activation, DeviceSettings, Offer, ServerSettings
from ota.server_states import UNFINISHED, Signal, State
from ota.server_targets import Target, Targets
from ota.status import Status

__all__ = [
    "EVERYBODY",
    "Activation",
    "AirSpent",
    "AlreadyRunning",
    "BlockPeriodFound",
    "BlockServed",
    "BlockShrunk",
    "ClientIgnoresBlock",
    "DeviceEvent",
    "DeviceSettings",
    "Event",
    "Flooding",
    "HardwareMismatch",
    "MoreImagesNeeded",
    "Notified",
    "Offer",
    "OtaServer",
    "Paced",
    "Paused",
    "PeerRefused",
    "Refused",
    "Resumed",
    "Send",
    "ServerSettings",
    "TransferAborted",
    "TransferCompleted",
    "TransferFailed",
    "TransferInterrupted",
    "TransferStalled",
    "TransferStarted",
    "TurnAwaited",
    "VersionSeen",
]


class OtaServer:
    """The machine. One instance serves every device of a hub."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._talk = talk = Conversation(settings)
        self._targets = targets = Targets(settings.notify_every)
        scheduler = Scheduler(settings, talk.tell)
        self._octets = Octets(settings, talk, targets, scheduler)
        self._queries = Queries(settings, talk, targets, scheduler)
        self._ending = Ending(settings, talk, targets, self._octets, self._queries)
        # Offered and not notified: unless `finished` or `pause` comes before the next drain.
        self._fresh: list[Target] = []

    def offer(self, offer: Offer, now: float) -> None:
        """Hold this image ready for its targets and notify each of them.

        The same image again adds targets: those that are being served go on, those that were done or had
        failed start afresh.

        Raises:
            OurError: if the file and its header disagree on the size, or another file with the same
                manufacturer, type and version is on offer to one of the targets: their requests could not be
                told apart.
        """
        key = offer.header.key
        if offer.header.total_size != len(offer.data):
            raise OurError(
                f"image {key}: the header says {offer.header.total_size} octets,"
                f" the file has {len(offer.data)}: check it before it is offered"
            )
        for target in self._targets.add(offer):
            self._targets.wake(target, now)
            self._fresh.append(target)

    def withdraw(self, image_id: str, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """Offer this image no more. Whoever is in mid-download hears so at its next request, or in a page."""
        for target in self._targets.withdraw(image_id):
            target.due = None
            self._octets.end(target, self._settings.preempted_answer)

    def finished(self, peer: Eui64, image_id: str) -> None:
        """This target needs nothing more of this image: no reminder, no second report.

        After a restart, and where it is in the network no more.
        """
        for target in self._targets.of(peer):
            if target.image_id == image_id:
                target.state = State.DONE
                self._targets.wake(target, None)
                self._octets.end(target, None)

    def activate(self, peer: Eui64, now: float, at: float | None = None) -> None:
        """Tell a device that holds an image to upgrade: an Upgrade End Response that it did not ask for.

        ``at`` is a time of the machine's clock; None: now. A device that would cut a long countdown short is
        told to wait, and released when the time has come.

        Raises:
            OurError: if the device reported no image as complete.
        """
        self._ending.activate(peer, now, at)

    def configure(self, peer: Eui64, settings: DeviceSettings, now: float) -> None:
        """From now on treat this device so, in mid-download too."""
        self._octets.configure(peer, settings, now)

    def pause(self, peer: Eui64, now: float) -> None:
        """Let this target's downloads rest until they are resumed.

        Raises:
            OurError: if there is nothing to pause.
        """
        resting = self._targets.of(peer, State.OFFERED, State.QUEUED, State.SERVING)
        if not resting:
            raise OurError(f"{peer} has no download that could be paused")
        for target in resting:
            target.move(Signal.PAUSE)
            self._targets.wake(target, None)
            self._octets.rest(target, now)
            self._talk.tell(Paused(peer, target.image_id))

    def resume(self, peer: Eui64, now: float) -> None:
        """Let this target's paused downloads go on: it is notified, unless it comes back by itself before.

        Raises:
            OurError: if nothing is paused.
        """
        paused = self._targets.of(peer, State.PAUSED)
        if not paused:
            raise OurError(f"{peer} has no paused download")
        for target in paused:
            has_asked = target.furthest >= 0
            target.move(Signal.RESUME)
            # In mid-download it turns a notification down, and asks for octets as it was told.
            self._targets.wake(target, now + 2 * self._settings.pause_wait if has_asked else now)
            self._talk.tell(Resumed(peer, target.image_id))

    def abort(self, peer: Eui64, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """End this target's downloads: it hears ABORT at its next request, and gets the image no more.

        Raises:
            OurError: if there is nothing to abort.
        """
        ending = self._targets.of(peer, *UNFINISHED)
        if not ending:
            raise OurError(f"{peer} has no download that could be aborted")
        for target in ending:
            target.owes_abort = target.furthest >= 0
            target.move(Signal.ABORT)
            self._targets.wake(target, None)
            self._octets.end(target, Status.ABORT)
            self._talk.tell(TransferAborted(peer, target.image_id, target.asked, target.notified))

    def sent(self, send: Send, delivered: bool, now: float) -> None:  # noqa: FBT001 - one outcome, one wire bit
        """The radio has got rid of a `Send` that ``tells_outcome``; ``delivered`` as far as it knows."""
        self._octets.sent(send, delivered=delivered, now=now)

    def too_long(self, send: Send, now: float) -> None:
        """The radio refused this block as too long: shrink, and send the same octets again.

        If the block ``tells_outcome``, `sent` is still to be called, afterwards.
        """
        self._octets.too_long(send, now)

    def receive(self, peer: Eui64, command: Command, sequence: int, now: float) -> None:
        """Take a command from a device. ``sequence`` is its ZCL sequence number, which the answer repeats."""
        match command:
            case ImageBlockRequest() | ImagePageRequest():
                self._octets.asked(peer, command, sequence, now)
            case QueryNextImageRequest() | QueryDeviceSpecificFileRequest():
                self._queries.asked(peer, command, sequence, now)
            case UpgradeEndRequest():
                self._ending.asked(peer, command, sequence, now)
            case DefaultResponse():
                if command.status != Status.SUCCESS:
                    self._talk.tell(PeerRefused(peer, command.command_id, command.status))
            case _:
                why = f"{type(command).__name__} is for a server to send"
                self._talk.refuse(peer, command, sequence, why, Status.UNSUP_CLUSTER_COMMAND)

    def receive_malformed(
        self,
        peer: Eui64,
        command_id: int,
        sequence: int,
        error: TheirError,
        now: float,  # noqa: ARG002 - machines are always told the time
    ) -> None:
        """Take note of a command that could not be read, and answer it with the status of its error."""
        self._talk.tell(Refused(peer, str(error), error.status))
        self._talk.say(peer, DefaultResponse(command_id, error.status), sequence)

    def tick(self, now: float) -> None:
        """Do what is due: remind the silent, notice who fell silent, go on with pages."""
        self._octets.tick(now)
        self._queries.tick(now)
        self._ending.tick(now)
        due = self._targets.timer()
        if due is None or due > now:
            return
        for target in self._targets:
            if target.due is not None and target.due <= now and target not in self._fresh:
                self._remind(target, now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None. Perhaps sooner than there is anything to do."""
        due = self._targets.timer()
        for part in (self._octets, self._queries, self._ending):
            other = part.timer()
            if other is not None and (due is None or other < due):
                due = other
        return due

    def drain(self) -> list[Send | Event]:
        """What came of it since the last call, in order."""
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._queries.announce(
                [each for each in fresh if each.state is State.OFFERED and each.due is not None]
            )
        return self._talk.drain()

    def _remind(self, target: Target, now: float) -> None:
        if target.state in (State.SERVING, State.QUEUED):
            if not self._octets.stalled(target, now):
                return
            if target.state is State.SERVING:
                self._talk.tell(TransferStalled(target.peer, target.image_id, target.offset))
            target.move(Signal.FELL_SILENT)
            target.notify_gap = self._settings.notify_every
        self._queries.notify(target, now)
