"""The pump around the OTA server: each slot's image to its targets, and what became of it to the custody.

A target's fate is on the flash before its device is answered: if the power goes in between, the device asks
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from han.coordinator import PayloadTooLong
from han.errors import HanError
from han.facts import Facts
from han.zcl import OTA_CLUSTER, ZclFrame, decode_ota, encode_ota
from hub.alerts import Report, failed, hardware_mismatch, transferred
from hub.custody import Custody
from hub.line import Line
from hub.progress import State
from hub.slot import Assignment, Fate, Held, Stage
from hub.transfers import Transfers
from ota.commands import ImageBlockResponse
from ota.errors import TheirError
from ota.eui64 import Eui64
from ota.server import (
    EVERYBODY,
    Activation,
    AirSpent,
    AlreadyRunning,
    BlockPeriodFound,
    BlockServed,
    BlockShrunk,
    ClientIgnoresBlock,
    DeviceEvent,
    DeviceSettings,
    Event,
    Flooding,
    HardwareMismatch,
    MoreImagesNeeded,
    Notified,
    Offer,
    OtaServer,
    Paced,
    Paused,
    PeerRefused,
    Refused,
    Resumed,
    Send,
    ServerSettings,
    TransferAborted,
    TransferCompleted,
    TransferFailed,
    TransferInterrupted,
    TransferStalled,
    TransferStarted,
    TurnAwaited,
    VersionSeen,
)
from ota.status import Status

ABORTED = "aborted by the user"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom the pump tells."""

    transfers: Transfers
    """Measures what goes out."""
    version: Callable[[Eui64, int], None]
    """Device, the file version that it says it runs."""
    concluded: Callable[[], None]
    """A target has finished or failed, and an alert is owed."""


class Serving:
    """Serves the stored images to their targets.

    Args:
        settings: the OTA server's.
        custody: holds the images; hears each target's fate.
        line: into the house.
        facts: where "ota.*" is said.
        listeners: see Listeners.
    """

    def __init__(
        self, settings: ServerSettings, custody: Custody, line: Line, facts: Facts, listeners: Listeners
    ) -> None:
        self._server = OtaServer(settings)
        self._custody = custody
        self._line = line
        self._facts = facts
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None

    def offer(self, held: Held, to: Iterable[Assignment]) -> None:
        """Offer the stored image to these targets; of those that have it, only that is remembered."""
        data = self._custody.image(held.image_id)
        assert data is not None, "only a stored image is offered"
        targets = tuple(to)
        self._listeners.transfers.offered(held, targets)
        wanted = [each for each in targets if each.fate is not Fate.FAILED]
        for activation in Activation:
            alike = [each for each in wanted if _activation(each) is activation]
            if alike:
                devices = [each.device for each in alike]
                begun = [each.device for each in alike if each.has_begun]
                self._server.offer(Offer.of(data, devices, activation, begun), self._loop.time())
            for each in alike:
                if each.fate is Fate.FINISHED:
                    self._server.finished(each.device, held.image_id)
                elif each.is_paused:
                    self._server.pause(each.device, self._loop.time())
        self._settle()

    def withdraw(self, image_id: str) -> None:
        """The image is gone from the slot: whoever downloads it is told so at its next request."""
        self._server.withdraw(image_id, self._loop.time())
        self._settle()

    def removed(self, device: Eui64) -> None:
        """The device is in this HAN no more: an image that waits for it fails."""
        for held in self._custody.images():
            if any(each.device == device for each in held.unfinished):
                self._server.finished(device, held.image_id)
                self._conclude(device, held.image_id, failed("the device was removed from the HAN"))
        self._settle()

    def configure(self, device: Eui64, settings: DeviceSettings) -> None:
        """From now on treat this device so, in mid-download too."""
        self._server.configure(device, settings, self._loop.time())
        self._settle()

    def pause(self, device: Eui64) -> None:
        """Let the download of a target rest, begun or not. Raises OurError if there is none."""
        self._custody.pause(device, paused=True)
        if self._has_stored(device):  # else it is offered so, once it has arrived
            self._server.pause(device, self._loop.time())
            self._settle()

    def resume(self, device: Eui64) -> None:
        """Let a paused download go on. Raises OurError if there is none."""
        self._custody.pause(device, paused=False)
        if self._has_stored(device):
            self._server.resume(device, self._loop.time())
            self._settle()

    def abort(self, device: Eui64) -> None:
        """End the download of a target; it has failed. Raises OurError if there is none."""
        waiting = self._custody.held_for(device)
        if waiting is None or waiting[0].stage is Stage.STORED:
            self._server.abort(device, self._loop.time())
            self._settle()
        else:
            self._conclude(device, waiting[0].image_id, failed(ABORTED))

    def _has_stored(self, device: Eui64) -> bool:
        waiting = self._custody.held_for(device)
        return waiting is not None and waiting[0].stage is Stage.STORED

    def receive(self, sender: Eui64, frame: ZclFrame) -> None:
        """Take a frame of the OTA Upgrade cluster from a device."""
        now = self._loop.time()
        try:
            command = decode_ota(frame)
        except TheirError as error:
            self._server.receive_malformed(sender, frame.command_id, frame.sequence, error, now)
        else:
            self._server.receive(sender, command, frame.sequence, now)
        self._settle()

    def stop(self) -> None:
        """Set no more timers."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _settle(self) -> None:
        for item in self._server.drain():
            if isinstance(item, Send):
                self._send(item)
            else:
                self._tell(item)
        due, alarm = self._server.timer(), self._alarm
        if alarm is not None:
            if due is not None and alarm.when() <= due:
                return  # as with almost every block: it finds out what is due then when it rings
            alarm.cancel()
        self._alarm = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._alarm = None
        self._server.tick(self._loop.time())
        self._settle()

    def _send(self, send: Send) -> None:
        sequence = self._line.next_sequence() if send.sequence is None else send.sequence
        frame = encode_ota(send.command, sequence)
        if send.peer == EVERYBODY:
            self._line.broadcast(OTA_CLUSTER, frame)
            return
        # A block that does not fit is made smaller: in fragments it would cost three frames for two.
        then = partial(self._gone, send)
        self._line.post(send.peer, OTA_CLUSTER, frame, then, aps_ack=send.acknowledged, fragments=False)

    def _gone(self, send: Send, error: HanError | None) -> None:
        """The radio has got rid of what the machine sent."""
        if isinstance(error, PayloadTooLong) and isinstance(send.command, ImageBlockResponse):
            self._server.too_long(send, self._loop.time())
            self._settle()
        if send.tells_outcome:
            self._server.sent(send, error is None, self._loop.time())
            self._settle()

    def _tell(self, event: Event) -> None:
        match event:
            case BlockServed(peer=peer, image_id=image, offset=offset, size=size):
                self._facts.say("hub", "ota.block", device=str(peer), image=image, offset=offset, size=size)
                self._listeners.transfers.served(peer, image, offset, size)
            case VersionSeen(peer=peer, file_version=file_version):
                self._say("ota.query", event, {"version": f"{file_version:08X}"})
                self._listeners.version(peer, file_version)
            case AirSpent(wait=wait):
                self._facts.say("hub", "ota.air-spent", wait=wait)
            case TransferAborted(peer=peer, image_id=image):
                self._conclude(peer, image, failed(f"{ABORTED}: {_how_far(event)}"))
            case TransferCompleted() | AlreadyRunning() | HardwareMismatch() | TransferFailed():
                self._conclude(event.peer, event.image_id, self._report(event))
            case _:
                if isinstance(event, TransferStarted):
                    self._custody.begin(event.peer, event.image_id)
                fields = {field: getattr(event, field) for field in type(event).__slots__ if field != "peer"}
                self._say(_NAMES[type(event)], event, fields)
                self._measure(event)

    def _measure(self, event: Event) -> None:
        """Let the transfer's meter know what an event means for it."""
        transfers = self._listeners.transfers
        match event:
            case TransferStarted(peer=peer, image_id=image, offset=offset):
                transfers.began(peer, image, offset)
            case TransferStalled(peer=peer, image_id=image):
                transfers.became(peer, image, State.STALLED)
            case TransferInterrupted(peer=peer, image_id=image):
                transfers.became(peer, image, State.INTERRUPTED)
            case Paused(peer=peer, image_id=image):
                transfers.became(peer, image, State.PAUSED)
            case Resumed(peer=peer, image_id=image) | TurnAwaited(peer=peer, image_id=image):
                transfers.became(peer, image, State.WAITING)
            case _:
                pass

    def _report(
        self, event: TransferCompleted | AlreadyRunning | HardwareMismatch | TransferFailed
    ) -> Report:
        """How the transfer ended."""
        match event:
            case TransferCompleted():
                return transferred()
            case AlreadyRunning():
                held = self._custody.held(event.image_id)
                assignment = None if held is None else held.assignment(event.peer)
                if assignment is not None and assignment.has_begun:
                    # It took the image, and its Upgrade End was lost with our power.
                    return transferred("the device runs this version already")
                return failed("the device ran this version before: nothing was transferred")
            case HardwareMismatch(hardware_version=version):
                shown = "no hardware version" if version is None else f"hardware version {version:04X}"
                return hardware_mismatch(f"{shown}, outside the image's range")
            case TransferFailed(status=status):
                return failed(f"the device ended with {status_name(status)}: {_how_far(event)}")

    def _say(self, what: str, event: DeviceEvent, fields: dict[str, Any]) -> None:
        shown = {
            ("image" if name == "image_id" else name): status_name(value)
            if isinstance(value, Status)
            else value
            for name, value in fields.items()
        }
        if isinstance(image_id := fields.get("image_id"), str):
            shown |= self._request(event.peer, image_id)
        self._facts.say("hub", what, device=str(event.peer), **shown)

    def _request(self, device: Eui64, image_id: str) -> dict[str, str]:
        """In whose name a device gets an image, as a field of a fact; nothing if it is no target any more."""
        held = self._custody.held(image_id)
        assignment = None if held is None else held.assignment(device)
        return {} if assignment is None else {"request": assignment.request_id}

    def _conclude(self, device: Eui64, image_id: str, report: Report) -> None:
        request = self._request(device, image_id)
        if self._custody.conclude(device, image_id, report):
            is_finished = report.fate is Fate.FINISHED
            state = State.COMPLETE if is_finished else State.FAILED
            self._listeners.transfers.became(device, image_id, state)
            what = "ota.completed" if is_finished else "ota.failed"
            self._facts.say("hub", what, device=str(device), image=image_id, why=report.why, **request)
            self._listeners.concluded()


_NAMES: dict[type[Any], str] = {
    Notified: "ota.notify",
    TransferStarted: "ota.started",
    TransferStalled: "ota.stalled",
    TransferInterrupted: "ota.interrupted",
    Paused: "ota.paused",
    Resumed: "ota.resumed",
    BlockShrunk: "ota.shrunk",
    ClientIgnoresBlock: "ota.block-ignored",
    TurnAwaited: "ota.turn-awaited",
    MoreImagesNeeded: "ota.more-images-needed",
    Paced: "ota.paced",
    BlockPeriodFound: "ota.block-period-found",
    Flooding: "ota.flooding",
    Refused: "ota.refused",
    PeerRefused: "ota.peer-refused",
}
"""What the machine's events are called among the facts."""


def status_name(status: Status) -> str:
    """A status as people read it in a log."""
    return f"{status.name} (0x{status:02X})"


def _how_far(event: TransferFailed | TransferAborted) -> str:
    """What is known of a device that did not take its image."""
    times = "once" if event.notified == 1 else f"{event.notified} times"
    if event.asked is None:
        return f"it was notified {times} and asked for none of the image"
    return f"it was notified {times} and had come to octet {event.asked}"


def _activation(assignment: Assignment) -> Activation:
    """A PPMID upgrades at once (11.4); everybody else holds the image until Activate Firmware (11.3)."""
    return Activation.NOW if assignment.service_request == "11.4" else Activation.WAIT
