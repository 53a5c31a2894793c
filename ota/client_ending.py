"""What a device does with an image that is whole and good: it asks the server when to activate it, and obeys.

What the server says is one of three things: at a time, or hold it until you are told, or drop it. A server
that says nothing is asked again, and then the device's own policy decides.
"""

from __future__ import annotations

from collections.abc import Callable

from ota.client_conversation import Conversation
from ota.client_events import Aborted, Activating, GaveUp, Ignored, WaitingToActivate
from ota.client_flash import Flash
from ota.client_settings import ClientSettings
from ota.client_states import HOLDS_IMAGE, Signal, Standing, State
from ota.commands import (
    ANY_IMAGE_TYPE,
    ANY_MANUFACTURER,
    ANY_VERSION,
    WAIT_FOR_ACTIVATION,
    DefaultResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.image import ImageKey
from ota.status import Status


class Ending:
    """Brings a download to its end.

    Args:
        take_over: called with the time when the image is to run.
        go_on: called with the time when the server knows that further files are needed.
        rest: called with the time when nothing more is under way for now.
    """

    def __init__(
        self,
        settings: ClientSettings,
        standing: Standing,
        talk: Conversation,
        flash: Flash,
        *,
        take_over: Callable[[float], None],
        go_on: Callable[[float], None],
        rest: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._standing = standing
        self._talk = talk
        self._flash = flash
        self._take_over = take_over
        self._go_on = go_on
        self._rest = rest

    def report(self, key: ImageKey, status: Status) -> None:
        """Tell the server of a download that ended badly; its answer is not waited for."""
        self._talk.say(UpgradeEndRequest(status, key.manufacturer, key.image_type, key.file_version))

    def ask(self, now: float) -> None:
        """Report the image as good, and ask when it may run."""
        key = self._flash.key
        self._talk.ask(
            UpgradeEndRequest(Status.SUCCESS, key.manufacturer, key.image_type, key.file_version),
            UpgradeEndResponse.COMMAND_ID,
        )
        self._talk.at(now + self._settings.answer_timeout, self._unanswered)

    def need_more(self, now: float) -> None:
        """Report the file set aside last as good, and that others are needed before it may run."""
        key = self._flash.aside[-1].key
        self._talk.ask(
            UpgradeEndRequest(Status.REQUIRE_MORE_IMAGE, key.manufacturer, key.image_type, key.file_version),
            UpgradeEndResponse.COMMAND_ID,
        )
        self._talk.at(now + self._settings.answer_timeout, self._need_unanswered)

    def told_when(self, answer: UpgradeEndResponse, sequence: int, now: float) -> Status:
        """The server says when, asked or not; the status that it deserves."""
        if self._standing.state not in HOLDS_IMAGE or not self._names_ours(answer):
            self._talk.tell(Ignored("an Upgrade End Response for no image that is held"))
            # Some servers answer every Upgrade End Request so, whatever it says.
            if self._standing.state is State.WAIT_FOR_MORE and self._talk.is_answer(
                answer.COMMAND_ID, sequence
            ):
                self._go_on(now)
            return Status.SUCCESS
        if answer.upgrade_time == WAIT_FOR_ACTIVATION:
            self._hold(now)
            return Status.SUCCESS
        if self._settings.out_of_band_only:
            self._talk.tell(Ignored("an Upgrade End Response that would activate what only a command may"))
            self._hold(now)
            return Status.NOT_AUTHORIZED
        delay = self._settings.delay(answer.current_time, answer.upgrade_time, now)
        if delay is None:
            self._talk.tell(Ignored("an upgrade time before the current time"))
            return Status.INVALID_VALUE
        self._count_down(delay, now)
        return Status.SUCCESS

    def default_response(self, answer: DefaultResponse, sequence: int, now: float) -> None:
        """The server answers an Upgrade End Request with a status. Only ABORT makes the device let go."""
        if not self._talk.is_answer(UpgradeEndResponse.COMMAND_ID, sequence):
            return
        if answer.status == Status.ABORT:
            self._flash.erase()
            self._talk.tell(Aborted(answer.status))
            self._standing.move(Signal.DOWNLOAD_OVER)
            self._rest(now)
        elif self._standing.state is State.WAIT_FOR_MORE:
            self._go_on(now)
        else:
            self._talk.tell(Ignored(f"a Default Response {answer.status.name} to an Upgrade End Request"))

    def _names_ours(self, answer: UpgradeEndResponse) -> bool:
        return any(
            answer.manufacturer in (ANY_MANUFACTURER, key.manufacturer)
            and answer.image_type in (ANY_IMAGE_TYPE, key.image_type)
            and answer.file_version in (ANY_VERSION, key.file_version)
            for key in self._flash.keys
        )

    def _need_unanswered(self, now: float) -> None:
        self._talk.errors += 1
        if self._talk.errors < self._settings.query_tries:
            self._talk.at(now + self._talk.pause(self._settings.back_off_at_most), self.need_more)
        else:
            self._go_on(now)

    def _unanswered(self, now: float) -> None:
        settings, talk = self._settings, self._talk
        talk.errors += 1
        if talk.errors < settings.end_tries:
            talk.at(now + talk.pause(settings.end_back_off_at_most), self.ask)
        elif self._standing.state is not State.COMPLETE:
            self._rest(now)  # it was told to hold once, and goes on holding
        elif settings.out_of_band_only or not settings.apply_after_timeout:
            self._hold(now)
        else:
            talk.tell(GaveUp("nobody says when to activate: going ahead"))
            self._count_down(0, now)

    def _hold(self, now: float) -> None:
        held = self._standing.state in (State.WAITING, State.EXTERNAL)
        self._standing.move(Signal.HOLD_FOR_COMMAND if self._settings.out_of_band_only else Signal.HOLD)
        if not held:
            self._talk.tell(WaitingToActivate(self._flash.key))
        self._rest(now)

    def _count_down(self, delay: float, now: float) -> None:
        self._talk.rest()
        self._standing.move(Signal.ACTIVATE_AT)
        at = now + max(delay, self._settings.activation_delay)
        self._talk.tell(Activating(self._flash.key, at))
        self._talk.at(at, self._take_over)
