"""What comes next for a device: its questions, and the word that there is something to ask for."""

from __future__ import annotations

from ota.commands import (
    ImageNotify,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    QueryNextImageResponse,
)
from ota.eui64 import Eui64
from ota.image import Header, ImageKey
from ota.scheduler import Hold, Scheduler
from ota.server_conversation import EVERYBODY, Conversation
from ota.server_events import AlreadyRunning, HardwareMismatch, Notified, Refused, VersionSeen
from ota.server_settings import ServerSettings
from ota.server_states import UNFINISHED, Signal, State
from ota.server_targets import Target, Targets
from ota.status import Status

_Question = QueryNextImageRequest | QueryDeviceSpecificFileRequest


class Queries:
    """Answers queries, and notifies targets."""

    def __init__(
        self, settings: ServerSettings, talk: Conversation, targets: Targets, scheduler: Scheduler
    ) -> None:
        self._settings = settings
        self._talk = talk
        self._targets = targets
        self._scheduler = scheduler
        self._held: dict[Eui64, tuple[float, _Question, int]] = {}

    def announce(self, fresh: list[Target]) -> None:
        """Notify targets of what is newly on offer to them, each by itself or all in one broadcast."""
        if self._settings.notify_by_broadcast:
            for key in dict.fromkeys(target.key for target in fresh):
                self._talk.say(EVERYBODY, self._notice(key), None)
        for target in fresh:
            assert target.due is not None
            self._note(target, target.due, is_spoken_to=not self._settings.notify_by_broadcast)

    def notify(self, target: Target, now: float) -> None:
        """Remind a target of what is on offer to it; each further time after twice as long, up to a limit."""
        self._note(target, now, is_spoken_to=True)

    def spoke(self, target: Target, now: float) -> None:
        """A target that is not silent needs no reminder for a while."""
        if target.state is State.OFFERED:
            target.notify_gap = self._settings.notify_every
            self._targets.wake(target, now + target.notify_gap)
        elif target.state is State.SERVING:
            target.heard = now

    def asked(self, peer: Eui64, query: _Question, sequence: int, now: float) -> None:
        """Take a question. One that asks too often is answered later, and once for all of them."""
        if isinstance(query, QueryNextImageRequest):
            self._talk.tell(
                VersionSeen(
                    peer, query.manufacturer, query.image_type, query.file_version, query.hardware_version
                )
            )
        verdict = self._scheduler.query(peer, now)
        if isinstance(verdict, Hold):
            self._held[peer] = (verdict.until, query, sequence)
        else:
            self._held.pop(peer, None)
            self._answer(peer, query, sequence, now)

    def tick(self, now: float) -> None:
        """Answer the questions that were held back."""
        for peer, (due, query, sequence) in list(self._held.items()):
            if due <= now:
                del self._held[peer]
                self._scheduler.query(peer, now)
                self._answer(peer, query, sequence, now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called."""
        return min((due for due, _, _ in self._held.values()), default=None) if self._held else None

    def _notice(self, key: ImageKey) -> ImageNotify:
        fields = (key.manufacturer, key.image_type, key.file_version)
        kind = self._settings.notify_type
        told = [field if at < kind else None for at, field in enumerate(fields)]
        return ImageNotify(kind, self._settings.notify_jitter, *told)

    def _note(self, target: Target, now: float, *, is_spoken_to: bool) -> None:
        target.notified += 1
        self._targets.wake(target, now + target.notify_gap)
        target.notify_gap = min(2 * target.notify_gap, self._settings.notify_every_at_most)
        if is_spoken_to:
            self._talk.say(target.peer, self._notice(target.key), None)
        self._talk.tell(Notified(target.peer, target.image_id, target.notified))

    def _answer(self, peer: Eui64, query: _Question, sequence: int, now: float) -> None:
        is_special = isinstance(query, QueryDeviceSpecificFileRequest)
        answer = QueryDeviceSpecificFileResponse if is_special else QueryNextImageResponse
        why, status = "no image is on offer to this device", self._settings.nothing_for_you
        if isinstance(query, QueryDeviceSpecificFileRequest) and query.node_address != peer:
            why, status = f"the device asks for a file of {query.node_address}", Status.NOT_AUTHORIZED
        else:
            for target in self._targets.of(peer):
                objection = self._objection(target, query)
                if objection is None:
                    self.spoke(target, now)
                    key, size = target.key, len(target.offer.data)
                    found = answer(Status.SUCCESS, key.manufacturer, key.image_type, key.file_version, size)
                    self._talk.say(peer, found, sequence)
                    return
                why = objection
        self._talk.tell(Refused(peer, why, status))
        self._talk.say(peer, answer(status), sequence)

    def _objection(self, target: Target, query: _Question) -> str | None:
        """Why this image is not for the device that asks so, or None if it is."""
        if target.state is State.DONE:
            return "the device has reported the image as complete"
        if target.state is State.MORE_WANTED:
            return "the device holds the image, and needs others before it upgrades"
        if target.state is State.BARRED:
            return "the device has failed to take the image, or it does not suit its hardware"
        return _not_meant(target, query) or self._does_not_suit(target, query)

    def _does_not_suit(self, target: Target, query: _Question) -> str | None:
        if isinstance(query, QueryNextImageRequest) and not self._hardware_suits(
            target.offer.header, query.hardware_version
        ):
            self._end(target, Signal.FAILED)
            self._talk.tell(HardwareMismatch(target.peer, target.image_id, query.hardware_version))
            return "the device's hardware version is outside the image's range"
        if query.file_version == target.key.file_version and not self._settings.reinstall:
            self._end(target, Signal.FILE_GOOD)
            self._talk.tell(AlreadyRunning(target.peer, target.image_id))
            return "the device runs this version already"
        return None

    def _hardware_suits(self, header: Header, hardware_version: int | None) -> bool:
        if header.hardware_versions is None:
            return True
        if hardware_version is None:
            return not self._settings.hardware_version_needed
        return hardware_version in header.hardware_versions

    def _end(self, target: Target, signal: Signal) -> None:
        assert target.state in UNFINISHED
        target.move(signal)
        self._targets.wake(target, None)
        self._scheduler.leave(target.peer)


def _not_meant(target: Target, query: _Question) -> str | None:
    key, destination = target.key, target.offer.header.destination
    if (query.manufacturer, query.image_type) != (key.manufacturer, key.image_type):
        return (
            f"the image is for manufacturer {key.manufacturer:04X} type {key.image_type:04X},"
            f" the device is {query.manufacturer:04X} type {query.image_type:04X}"
        )
    if destination is not None and destination != target.peer:
        return f"the image is for {destination} alone"
    if destination is None and isinstance(query, QueryDeviceSpecificFileRequest):
        return "the file is not made for this device alone"
    return None
