"""How a download ends: what a device reports, and when it is told to upgrade."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ota.commands import (
    ANY_IMAGE_TYPE,
    ANY_MANUFACTURER,
    ANY_VERSION,
    WAIT_FOR_ACTIVATION,
    DefaultResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import ImageKey
from ota.server_conversation import Conversation
from ota.server_events import MoreImagesNeeded, TransferCompleted, TransferFailed, TransferInterrupted
from ota.server_octets import Octets
from ota.server_queries import Queries
from ota.server_settings import Activation, ServerSettings
from ota.server_states import Signal, State
from ota.server_targets import Farewell, Target, Targets
from ota.status import Status


@dataclass(slots=True)
class _Release:
    """When a device that holds an image is to upgrade."""

    at: float
    counts_down: bool = False
    """It knows the time itself."""


class Ending:
    """Answers Upgrade End Requests, and ends the waiting of devices that hold an image."""

    def __init__(
        self,
        settings: ServerSettings,
        talk: Conversation,
        targets: Targets,
        octets: Octets,
        queries: Queries,
    ) -> None:
        self._settings = settings
        self._talk = talk
        self._targets = targets
        self._octets = octets
        self._queries = queries
        self._releases: dict[tuple[Eui64, ImageKey], _Release] = {}

    def asked(self, peer: Eui64, request: UpgradeEndRequest, sequence: int, now: float) -> None:
        """Take an Upgrade End Request."""
        key = ImageKey(request.manufacturer, request.image_type, request.file_version)
        target = self._targets.find(peer, key)
        if target is None:
            self._late(peer, request, sequence, now)
        elif request.status == Status.SUCCESS:
            self._completed(target, request, sequence, now)
        else:
            if request.status == Status.REQUIRE_MORE_IMAGE:
                self._more_needed(target)
            else:
                self._broken_off(target, request.status, now)
            self._talk.say(peer, DefaultResponse(request.COMMAND_ID, Status.SUCCESS), sequence)

    def activate(self, peer: Eui64, now: float, at: float | None) -> None:
        """Tell a device that holds an image to upgrade, now or at a time of the machine's clock.

        Raises:
            OurError: if the device reported no image as complete.
        """
        held = self._targets.held(peer)
        if not held:
            raise OurError(f"{peer} holds no image to activate: it has not reported one as complete")
        for key, holding in held:
            if at is None or at <= now:
                self._release(peer, key, holding)
            else:
                self._releases[peer, key] = _Release(at)
                self._talk.say(peer, self._answer(peer, key, holding, now), None)

    def tick(self, now: float) -> None:
        """Release those whose time has come: an Upgrade End Response that they did not ask for."""
        for (peer, key), release in list(self._releases.items()):
            if release.at > now:
                continue
            del self._releases[peer, key]
            holding = self._targets.find(peer, key) or self._targets.farewell(peer, key)
            if holding is not None and release.counts_down:
                holding.released = True
            elif holding is not None:
                self._release(peer, key, holding)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called."""
        return min((each.at for each in self._releases.values()), default=None) if self._releases else None

    def _release(self, peer: Eui64, key: ImageKey, holding: Target | Farewell) -> None:
        self._releases.pop((peer, key), None)
        holding.released = True
        self._talk.say(peer, _upgrade_at(key, 0, 0), None)

    def _answer(
        self, peer: Eui64, key: ImageKey, holding: Target | Farewell, now: float
    ) -> UpgradeEndResponse:
        """When the device is to upgrade."""
        activation, at = holding.activation, holding.upgrade_at
        release = self._releases.get((peer, key))
        if release is None and activation is Activation.NOW and at is not None and at > now:
            release = self._releases[peer, key] = _Release(at)
        if release is not None and not holding.released:
            delay = math.ceil(release.at - now)
            release.counts_down = delay <= self._settings.countdown_at_most
            if release.counts_down:
                current = 0 if self._settings.utc is None else self._settings.utc(now)
                return _upgrade_at(key, current, current + max(delay, 0))
        elif activation is Activation.NOW or holding.released:
            return _upgrade_at(key, 0, 0)
        if self._settings.gbcs_wait:
            wait = WAIT_FOR_ACTIVATION
            return UpgradeEndResponse(ANY_MANUFACTURER, ANY_IMAGE_TYPE, ANY_VERSION, wait, wait)
        return _upgrade_at(key, 0, WAIT_FOR_ACTIVATION)

    def _completed(self, target: Target, request: UpgradeEndRequest, sequence: int, now: float) -> None:
        peer = target.peer
        if target.state is State.BARRED:
            why = "this device gets this image no more"
            self._talk.refuse(peer, request, sequence, why, Status.ABORT)
            return
        if not target.has_begun:
            why = "the device never asked for this file from its beginning: what it has is of another one"
            self._talk.refuse(peer, request, sequence, why, Status.ABORT)
            return
        if target.state is not State.DONE:
            for each in (target, *self._targets.of(peer, State.MORE_WANTED)):
                if each.state is not State.DONE:
                    self._finish(each, Signal.FILE_GOOD)
                    self._talk.tell(TransferCompleted(peer, each.image_id))
        self._talk.say(peer, self._answer(peer, target.key, target, now), sequence)

    def _finish(self, target: Target, signal: Signal) -> None:
        target.move(signal)
        self._targets.wake(target, None)
        self._octets.end(target, None)

    def _more_needed(self, target: Target) -> None:
        if target.state in (State.DONE, State.BARRED, State.MORE_WANTED):
            return
        self._finish(target, Signal.MORE_NEEDED)
        self._talk.tell(MoreImagesNeeded(target.peer, target.image_id))

    def _broken_off(self, target: Target, status: Status, now: float) -> None:
        if target.state is State.BARRED:
            return
        if self._may_try_again(target, status):
            self._octets.end(target, None)
            target.move(Signal.BROKE_OFF)
            self._queries.spoke(target, now)
            self._talk.tell(TransferInterrupted(target.peer, target.image_id, status))
        else:
            self._finish(target, Signal.FAILED)
            asked, notified = target.asked, target.notified
            self._talk.tell(TransferFailed(target.peer, target.image_id, status, asked, notified))

    def _may_try_again(self, target: Target, status: Status) -> bool:
        """Whether what a target ended with may be mended by taking the image once more."""
        if status == Status.INVALID_IMAGE and target.state is State.SERVING:  # not turned down unseen
            target.refusals += 1
            return target.refusals < self._settings.invalid_images_allowed
        target.aborts += 1
        return status == Status.ABORT and target.aborts < self._settings.aborts_allowed

    def _late(self, peer: Eui64, request: UpgradeEndRequest, sequence: int, now: float) -> None:
        """An Upgrade End Request for an image that is gone, or that was never here."""
        key = ImageKey(request.manufacturer, request.image_type, request.file_version)
        gone = self._targets.farewell(peer, key)
        if request.status != Status.SUCCESS:
            self._talk.say(peer, DefaultResponse(request.COMMAND_ID, Status.SUCCESS), sequence)
        elif gone is not None and gone.held:
            # The slot was given away, but this device has its copy: it must go on holding it.
            self._talk.say(peer, self._answer(peer, key, gone, now), sequence)
        elif gone is not None:
            gone.owed = False
            self._talk.refuse(peer, request, sequence, f"image {key} was withdrawn", Status.ABORT)
        else:
            # Not ABORT: after a restart this may be a device that rightly holds an image we forgot.
            why = f"image {key} is not on offer to this device"
            self._talk.refuse(peer, request, sequence, why, Status.NO_IMAGE_AVAILABLE)


def _upgrade_at(key: ImageKey, current: int, then: int) -> UpgradeEndResponse:
    return UpgradeEndResponse(key.manufacturer, key.image_type, key.file_version, current, then)
