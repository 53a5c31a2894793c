"""Who gets octets: the way from a block or page request to its answer.

A request is answered from what it says itself, so a client may resume anywhere, after a restart of the hub
too, without asking for the next image first.
"""

from __future__ import annotations

from ota.commands import ImageBlockAbort, ImageBlockRequest, ImageBlockResponse, ImagePageRequest
from ota.eui64 import Eui64
from ota.image import ImageKey
from ota.scheduler import Drop, Hold, Scheduler, Verdict, Wait
from ota.server_blocks import Blocks, OctetRequest
from ota.server_conversation import Conversation, Send
from ota.server_events import Refused, TransferStarted, TurnAwaited
from ota.server_pages import Pages
from ota.server_settings import DeviceSettings, ServerSettings
from ota.server_states import Signal, State
from ota.server_targets import Target, Targets
from ota.status import Status


class Octets:
    """Answers block and page requests, or says why not, or when."""

    def __init__(
        self, settings: ServerSettings, talk: Conversation, targets: Targets, scheduler: Scheduler
    ) -> None:
        self._settings = settings
        self._talk = talk
        self._targets = targets
        self._scheduler = scheduler
        self._blocks = Blocks(settings, talk, scheduler)
        self._pages = Pages(talk, scheduler, self._blocks)
        self._devices: dict[Eui64, DeviceSettings] = {}
        self._held: dict[Eui64, tuple[float, OctetRequest, int]] = {}

    def configure(self, peer: Eui64, settings: DeviceSettings, now: float) -> None:
        """From now on treat this client so."""
        self._devices[peer] = settings
        self._blocks.configure(peer, settings)
        self._scheduler.configure(peer, settings)
        for target in self._targets.of(peer, State.SERVING):
            self._targets.wake(target, now + self._stall_after(peer))

    def asked(self, peer: Eui64, request: OctetRequest, sequence: int, now: float) -> None:
        """Take a request for octets."""
        target = self._targets.find(
            peer, ImageKey(request.manufacturer, request.image_type, request.file_version)
        )
        if target is None:
            self._no_such_image(peer, request, sequence)
        elif self._is_sound(target, request, sequence):
            verdict = self._verdict(target, request, sequence, now)
            if verdict is None:
                self._give(target, request, sequence, now)
            else:
                self._put_off(target, request, sequence, verdict, now)

    def sent(self, send: Send, *, delivered: bool, now: float) -> None:
        """A block has left the radio."""
        if self._pages.is_mine(send):
            self._pages.sent(send, delivered=delivered, now=now)
        else:
            self._blocks.sent(send, delivered=delivered)

    def too_long(self, send: Send, now: float) -> None:
        """The radio refused this block as too long: shrink, and send the same octets again."""
        block = send.command
        if isinstance(block, ImageBlockResponse) and self._blocks.too_long(send.peer, len(block.data)):
            if self._pages.is_mine(send):
                self._pages.too_long(block, send.peer)
            else:
                self._blocks.again(send.peer, now)

    def rest(self, target: Target, now: float) -> None:
        """The user pauses it: a page that is under way ends with the word to wait."""
        self._leave(target)
        page = self._pages.close(target.peer)
        if page is not None:
            self._talk.wait(target.peer, page[1], self._settings.pause_wait, 0, now)

    def end(self, target: Target, status: Status | None) -> None:
        """It gets no more octets. A page that is under way ends with this status, None: without a word."""
        self._leave(target)
        self._blocks.forget(target)
        page = self._pages.close(target.peer)
        if page is None or status is None:
            return
        if status == Status.ABORT:
            self._talk.say(target.peer, ImageBlockAbort(), page[1])
        else:
            self._talk.refuse(target.peer, page[0], page[1], f"image {target.key} was withdrawn", status)

    def stalled(self, target: Target, now: float) -> bool:
        """Whether a target whose time is up is silent indeed; if not, it gets the rest of its time."""
        until = target.heard + self._stall_after(target.peer)
        if until > now:
            self._targets.wake(target, until)
            return False
        self._leave(target)
        return True

    def tick(self, now: float) -> None:
        """Answer what was held back, and send the blocks of pages whose time has come."""
        for peer, (due, request, sequence) in list(self._held.items()):
            if due <= now:
                del self._held[peer]
                self._release(peer, request, sequence, now)
        self._pages.tick(now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called."""
        page = self._pages.timer()
        if not self._held:
            return page
        held = min(due for due, _, _ in self._held.values())
        return held if page is None else min(held, page)

    def _leave(self, target: Target) -> None:
        self._held.pop(target.peer, None)
        self._scheduler.leave(target.peer)

    def _release(self, peer: Eui64, request: OctetRequest, sequence: int, now: float) -> None:
        key = ImageKey(request.manufacturer, request.image_type, request.file_version)
        target = self._targets.find(peer, key)
        if target is not None and target.state in (State.SERVING, State.DONE):
            self._scheduler.held(peer, now)
            self._give(target, request, sequence, now)

    def _stall_after(self, peer: Eui64) -> float:
        device = self._devices.get(peer)
        own = None if device is None else device.stall_after
        return self._settings.stall_after if own is None else own

    def _is_sound(self, target: Target, request: OctetRequest, sequence: int) -> bool:
        """Whether there is anything to give; if not, the answer has been given."""
        peer, size = target.peer, len(target.offer.data)
        page = request if isinstance(request, ImagePageRequest) else None
        if page is not None and not self._serves_pages(peer):
            why, status = "page requests are not served", Status.UNSUP_CLUSTER_COMMAND
        elif target.state is State.BARRED:
            if target.owes_abort:
                target.owes_abort = False
                self._talk.tell(Refused(peer, "the user has aborted the download", Status.ABORT))
                self._talk.say(peer, ImageBlockAbort(), sequence)
                return False
            why, status = "this device gets this image no more", Status.NO_IMAGE_AVAILABLE
        elif request.file_offset >= size:
            why = f"offset {request.file_offset} is past the end of an image of {size} octets"
            status = Status.NO_IMAGE_AVAILABLE
        elif request.maximum_data_size == 0:
            why, status = "a block of no octets", Status.MALFORMED_COMMAND
        elif page is not None and page.page_size == 0:
            why, status = "a page of no octets", Status.MALFORMED_COMMAND
        elif request.file_offset > 0 and not target.has_begun:
            why = (
                f"the device would go on at octet {request.file_offset} of an image that it never began:"
                " what it has is of another file with the same version"
            )
            self._talk.tell(Refused(peer, why, Status.ABORT))
            self._talk.say(peer, ImageBlockAbort(), sequence)
            return False
        else:
            return True
        self._talk.refuse(peer, request, sequence, why, status)
        return False

    def _serves_pages(self, peer: Eui64) -> bool:
        device = self._devices.get(peer)
        own = None if device is None else device.serves_pages
        return self._settings.serves_pages if own is None else own

    def _verdict(self, target: Target, request: OctetRequest, sequence: int, now: float) -> Verdict:
        """Whether it is served now, or what else."""
        peer = target.peer
        if self._blocks.is_repeat(peer, request, sequence):
            verdict = self._scheduler.repeated(peer, now)
            if verdict is not None:
                return verdict
        if target.state is not State.SERVING and (wait := self._turn(target, request.file_offset, now)):
            return wait
        reported = request.minimum_block_period if isinstance(request, ImageBlockRequest) else None
        return self._scheduler.octets(peer, reported, now)

    def _turn(self, target: Target, offset: int, now: float) -> Wait | None:
        """Let it begin, unless it has to wait for that."""
        if target.state is State.DONE:  # it may want a part again, and that is soon over
            return None
        if target.state is State.PAUSED:
            target.furthest = max(target.furthest, offset)
            return Wait(self._settings.pause_wait)
        wait = self._scheduler.turn(target.peer, now)
        if wait is not None:
            if target.state is not State.QUEUED:
                self._talk.tell(TurnAwaited(target.peer, target.image_id))
            target.move(Signal.TURN_IS_OTHERS)
            self._targets.wake(target, now + wait.seconds + self._stall_after(target.peer))
            return wait
        target.move(Signal.TURN_COMES)
        target.heard = now
        self._targets.wake(target, now + self._stall_after(target.peer))
        self._talk.tell(TransferStarted(target.peer, target.image_id, offset))
        return None

    def _give(self, target: Target, request: OctetRequest, sequence: int, now: float) -> None:
        target.has_begun = True
        target.heard = now
        if isinstance(request, ImageBlockRequest):
            self._pages.is_done_with(target.peer, request.file_offset)
            self._blocks.serve(target, request, sequence, now)
        else:
            self._pages.open(target, request, sequence, now)

    def _put_off(
        self, target: Target, request: OctetRequest, sequence: int, verdict: Verdict, now: float
    ) -> None:
        peer = target.peer
        target.heard = now
        self._pages.close(peer)  # it asks for something else
        match verdict:
            case Wait(seconds=seconds, period=period):
                if period is None and isinstance(request, ImageBlockRequest):
                    period = request.minimum_block_period
                target.heard += self._talk.wait(peer, sequence, seconds, period or 0, now)
            case Hold(until=until):
                self._held[peer] = (until, request, sequence)
            case Drop() | None:
                pass

    def _no_such_image(self, peer: Eui64, request: OctetRequest, sequence: int) -> None:
        key = ImageKey(request.manufacturer, request.image_type, request.file_version)
        gone = self._targets.farewell(peer, key)
        if gone is not None and gone.owed:
            gone.owed = False
            if self._settings.preempted_answer == Status.ABORT:
                self._talk.tell(Refused(peer, f"image {key} was withdrawn in mid-download", Status.ABORT))
                self._talk.say(peer, ImageBlockAbort(), sequence)
                return
        why = (
            f"image {key} was withdrawn"
            if gone is not None
            else f"image {key} is not on offer to this device"
        )
        self._talk.refuse(peer, request, sequence, why, Status.NO_IMAGE_AVAILABLE)
