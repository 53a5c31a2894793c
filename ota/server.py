"""The hub's side of the OTA Upgrade cluster, for all its devices at once.

A machine: told what came and what time it is, it answers with values (``drain``) and says when it wants to be
called again (``timer``). It is stateless by offset: each Image Block Request is answered from what it says
itself, so a client may resume anywhere, after a restart of the hub too, without asking for the next image
first. What is kept for each target is only how far the conversation has come, to tell the story and to remind
the silent.

Only the targets of an offer are served. A device that is none, or whose hardware does not suit, hears
NO_IMAGE_AVAILABLE.

    IDLE -> notified, or asking          SERVING -> asks for blocks          PAUSED -> by the user
    DONE -> reported the image as good   BARRED  -> gets it no more: failed, or the wrong hardware
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

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
    ImagePageRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.image import Header, ImageKey
from ota.pacing import BlockSize
from ota.server_events import (
    AlreadyRunning,
    BlockServed,
    BlockShrunk,
    Event,
    HardwareMismatch,
    Notified,
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
    VersionSeen,
)
from ota.server_settings import Activation, DeviceSettings, Offer, ServerSettings
from ota.status import Status

__all__ = [
    "Activation",
    "AlreadyRunning",
    "BlockServed",
    "BlockShrunk",
    "DeviceSettings",
    "Event",
    "HardwareMismatch",
    "Notified",
    "Offer",
    "OtaServer",
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
    "VersionSeen",
]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command to a device. ``sequence`` None: unsolicited, the pump picks a ZCL sequence number.

    ``acknowledged``: whether it wants an APS acknowledgement. ``tells_outcome``: whether `OtaServer.sent`
    wants to hear when the radio has got rid of it.
    """

    peer: Eui64
    command: Command
    sequence: int | None
    acknowledged: bool = True
    tells_outcome: bool = False


class _Phase(enum.Enum):
    IDLE = "idle"
    SERVING = "serving"
    PAUSED = "paused"
    DONE = "done"
    BARRED = "barred"


@dataclass(slots=True, eq=False)
class _Transfer:
    """How far one target has come with one image."""

    peer: Eui64
    offer: Offer
    key: ImageKey
    notify_gap: float
    phase: _Phase = _Phase.IDLE
    due: float | None = None  # when to remind it (IDLE) or to call it stalled (SERVING)
    notified: int = 0
    aborts: int = 0  # since the last progress
    has_begun: bool = True  # what it has of the image is of this very file, as far as anybody knows
    furthest: int = -1  # the highest offset asked for
    offset: int = 0  # of the block asked for last
    abort_owed: bool = False  # ended by the user in mid-download, and not told yet
    released: bool = False  # activated by us: an Upgrade End Request asked again is answered "now"


@dataclass(slots=True)
class _Farewell:
    """What is remembered of a target of a withdrawn image (not its octets)."""

    activation: Activation
    held: bool  # it had the whole image: it goes on waiting for its activation
    owed: bool  # it was in mid-download and has not been told yet
    released: bool = False


class OtaServer:
    """The machine. One instance serves every device of a hub."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._transfers: dict[Eui64, dict[ImageKey, _Transfer]] = {}
        self._farewells: dict[Eui64, dict[ImageKey, _Farewell]] = {}
        self._sizes: dict[Eui64, BlockSize] = {}
        self._devices: dict[Eui64, DeviceSettings] = {}
        self._last_block: dict[Eui64, tuple[ImageBlockRequest, int]] = {}
        self._fresh: list[
            _Transfer
        ] = []  # offered, not notified: unless `finished` comes before the next drain
        self._out: list[Send | Event] = []

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
        targets = sorted(offer.targets)
        for peer in targets:
            rival = self._transfers.get(peer, {}).get(key)
            if rival is not None and rival.offer.image_id != offer.image_id:
                raise OurError(f"another file is on offer to {peer} as {key}: withdraw it first")
        for peer in targets:
            transfer = self._find(peer, key)
            if transfer is not None and transfer.phase in (_Phase.IDLE, _Phase.SERVING):
                transfer.offer = offer
                continue
            transfer = _Transfer(peer, offer, key, self._settings.notify_every)
            transfer.has_begun = offer.begun is None or peer in offer.begun
            self._transfers.setdefault(peer, {})[key] = transfer
            self._farewells.get(peer, {}).pop(key, None)
            transfer.due = now
            self._fresh.append(transfer)

    def withdraw(self, image_id: str, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """Offer this image no more. A client in mid-download hears of it at its next request."""
        for peer, transfers in self._transfers.items():
            for key in [key for key, transfer in transfers.items() if transfer.offer.image_id == image_id]:
                gone = transfers.pop(key)
                gone.due = None
                self._farewells.setdefault(peer, {})[key] = _Farewell(
                    gone.offer.activation,
                    gone.phase is _Phase.DONE,
                    gone.phase is _Phase.SERVING,
                    gone.released,
                )
        self._last_block = {
            peer: last
            for peer, last in self._last_block.items()
            if self._find(peer, _key_of(last[0])) is not None
        }

    def finished(self, peer: Eui64, image_id: str) -> None:
        """This target needs nothing more of this image: no reminder, no second report.

        After a restart, and where it is in the network no more.
        """
        for transfer in self._transfers.get(peer, {}).values():
            if transfer.offer.image_id == image_id:
                transfer.phase, transfer.due = _Phase.DONE, None

    def activate(self, peer: Eui64, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """Tell a device that holds an image to upgrade now: an Upgrade End Response that it did not ask for.

        Raises:
            OurError: if the device reported no image as complete.
        """
        held: list[tuple[ImageKey, _Transfer | _Farewell]] = [
            (key, transfer)
            for key, transfer in self._transfers.get(peer, {}).items()
            if transfer.phase is _Phase.DONE
        ]
        held += [(key, gone) for key, gone in self._farewells.get(peer, {}).items() if gone.held]
        if not held:
            raise OurError(f"{peer} holds no image to activate: it has not reported one as complete")
        for key, holding in held:
            holding.released = True
            self._out.append(Send(peer, _activate_now(key), None))

    def configure(self, peer: Eui64, settings: DeviceSettings, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """From now on treat this device so, in mid-download too."""
        self._devices[peer] = settings
        if settings.block_ceiling is not None:
            self._sizes[peer] = BlockSize(settings.block_ceiling)

    def pause(self, peer: Eui64, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """Let this target's downloads rest until they are resumed.

        Raises:
            OurError: if there is nothing to pause.
        """
        resting = self._in_phase(peer, _Phase.IDLE, _Phase.SERVING)
        if not resting:
            raise OurError(f"{peer} has no download that could be paused")
        for transfer in resting:
            transfer.phase, transfer.due = _Phase.PAUSED, None
            self._out.append(Paused(peer, transfer.offer.image_id))

    def resume(self, peer: Eui64, now: float) -> None:
        """Let this target's paused downloads go on: it is notified, unless it comes back by itself before.

        Raises:
            OurError: if nothing is paused.
        """
        paused = self._in_phase(peer, _Phase.PAUSED)
        if not paused:
            raise OurError(f"{peer} has no paused download")
        for transfer in paused:
            has_begun = transfer.furthest >= 0
            transfer.phase = _Phase.SERVING if has_begun else _Phase.IDLE
            transfer.due = now + self._settings.pause_wait + self._stall_after(peer) if has_begun else now
            self._out.append(Resumed(peer, transfer.offer.image_id))

    def abort(self, peer: Eui64, now: float) -> None:  # noqa: ARG002 - machines are always told the time
        """End this target's downloads: it hears ABORT at its next request, and gets the image no more.

        Raises:
            OurError: if there is nothing to abort.
        """
        ending = self._in_phase(peer, _Phase.IDLE, _Phase.SERVING, _Phase.PAUSED)
        if not ending:
            raise OurError(f"{peer} has no download that could be aborted")
        for transfer in ending:
            transfer.abort_owed = transfer.furthest >= 0
            self._bar(transfer)
            self._out.append(TransferAborted(peer, transfer.offer.image_id))

    def sent(self, send: Send, delivered: bool, now: float) -> None:  # noqa: FBT001 - one outcome, one wire bit
        """The radio has got rid of a `Send` that ``tells_outcome``; ``delivered`` as far as it knows."""

    def too_long(self, peer: Eui64, size: int) -> None:
        """The radio refused a block of ``size`` octets of data: shrink, and answer the last request again."""
        blocks = self._sizes.setdefault(peer, BlockSize(self._settings.block_ceiling))
        if not blocks.too_long(size):
            self._out.append(
                Refused(peer, f"the radio carries not even {size} octets of an image", Status.FAILURE)
            )
            return
        self._out.append(BlockShrunk(peer, blocks.limit))
        last = self._last_block.get(peer)
        transfer = None if last is None else self._find(peer, _key_of(last[0]))
        if last is not None and transfer is not None:
            self._serve(transfer, *last)

    def receive(self, peer: Eui64, command: Command, sequence: int, now: float) -> None:
        """Take a command from a device. ``sequence`` is its ZCL sequence number, which the answer repeats."""
        match command:
            case ImageBlockRequest():
                self._block_request(peer, command, sequence, now)
            case QueryNextImageRequest():
                self._query(peer, command, sequence, now)
            case UpgradeEndRequest():
                self._upgrade_end(peer, command, sequence, now)
            case DefaultResponse():
                if command.status != Status.SUCCESS:
                    self._out.append(PeerRefused(peer, command.command_id, command.status))
            case ImagePageRequest():
                self._refuse(
                    peer, command, sequence, "page requests are not served", Status.UNSUP_CLUSTER_COMMAND
                )
            case _:
                why = f"{type(command).__name__} is for a server to send"
                self._refuse(peer, command, sequence, why, Status.UNSUP_CLUSTER_COMMAND)

    def receive_malformed(
        self,
        peer: Eui64,
        command_id: int,
        sequence: int,
        error: TheirError,
        now: float,  # noqa: ARG002 - machines are always told the time
    ) -> None:
        """Take note of a command that could not be read, and answer it with the status of its error."""
        self._out.append(Refused(peer, str(error), error.status))
        self._out.append(Send(peer, DefaultResponse(command_id, error.status), sequence))

    def tick(self, now: float) -> None:
        """Do what is due: remind targets that stay silent, notice clients that fell silent."""
        for transfer in self._all():
            if transfer.due is None or transfer.due > now or transfer in self._fresh:
                continue
            if transfer.phase is _Phase.SERVING:
                self._out.append(TransferStalled(transfer.peer, transfer.offer.image_id, transfer.offset))
                transfer.phase, transfer.notify_gap = _Phase.IDLE, self._settings.notify_every
            self._notify(transfer, now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return min((transfer.due for transfer in self._all() if transfer.due is not None), default=None)

    def drain(self) -> list[Send | Event]:
        """What came of it since the last call, in order."""
        for transfer in self._fresh:
            if transfer.phase is _Phase.IDLE and transfer.due is not None:
                self._notify(transfer, transfer.due)
        self._fresh.clear()
        out, self._out = self._out, []
        return out

    def _all(self) -> Iterator[_Transfer]:
        for transfers in self._transfers.values():
            yield from transfers.values()

    def _find(self, peer: Eui64, key: ImageKey) -> _Transfer | None:
        return self._transfers.get(peer, {}).get(key)

    def _in_phase(self, peer: Eui64, *phases: _Phase) -> list[_Transfer]:
        return [each for each in self._transfers.get(peer, {}).values() if each.phase in phases]

    def _stall_after(self, peer: Eui64) -> float:
        device = self._devices.get(peer)
        if device is None or device.stall_after is None:
            return self._settings.stall_after
        return device.stall_after

    def _notify(self, transfer: _Transfer, now: float) -> None:
        transfer.notified += 1
        transfer.due = now + transfer.notify_gap
        transfer.notify_gap = min(2 * transfer.notify_gap, self._settings.notify_every_at_most)
        self._out.append(Send(transfer.peer, ImageNotify(), None))
        self._out.append(Notified(transfer.peer, transfer.offer.image_id, transfer.notified))

    def _heard(self, transfer: _Transfer, now: float) -> None:
        """A target that is not silent needs no reminder for a while."""
        if transfer.phase is _Phase.IDLE:
            transfer.notify_gap = self._settings.notify_every
            transfer.due = now + transfer.notify_gap
        elif transfer.phase is _Phase.SERVING:
            transfer.due = now + self._stall_after(transfer.peer)

    def _refuse(self, peer: Eui64, command: Command, sequence: int, why: str, status: Status) -> None:
        self._out.append(Refused(peer, why, status))
        self._out.append(Send(peer, DefaultResponse(command.COMMAND_ID, status), sequence))

    def _query(self, peer: Eui64, query: QueryNextImageRequest, sequence: int, now: float) -> None:
        self._out.append(
            VersionSeen(
                peer, query.manufacturer, query.image_type, query.file_version, query.hardware_version
            )
        )
        why = "no image is on offer to this device"
        for transfer in self._transfers.get(peer, {}).values():
            objection = self._objection(transfer, query)
            if objection is None:
                self._heard(transfer, now)
                key, size = transfer.key, len(transfer.offer.data)
                answer = QueryNextImageResponse(
                    Status.SUCCESS, key.manufacturer, key.image_type, key.file_version, size
                )
                self._out.append(Send(peer, answer, sequence))
                return
            why = objection
        status = self._settings.nothing_for_you
        self._out.append(Refused(peer, why, status))
        self._out.append(Send(peer, QueryNextImageResponse(status), sequence))

    def _objection(self, transfer: _Transfer, query: QueryNextImageRequest) -> str | None:
        """Why this image is not for the device that asks so, or None if it is."""
        if transfer.phase is _Phase.DONE:
            return "the device has reported the image as complete"
        if transfer.phase is _Phase.BARRED:
            return "the device has failed to take the image, or it does not suit its hardware"
        return _not_meant(transfer, query) or self._does_not_suit(transfer, query)

    def _does_not_suit(self, transfer: _Transfer, query: QueryNextImageRequest) -> str | None:
        header = transfer.offer.header
        if not self._hardware_suits(header, query.hardware_version):
            self._bar(transfer)
            self._out.append(HardwareMismatch(transfer.peer, transfer.offer.image_id, query.hardware_version))
            return "the device's hardware version is outside the image's range"
        if query.file_version == transfer.key.file_version and not self._settings.reinstall:
            transfer.phase, transfer.due = _Phase.DONE, None
            self._out.append(AlreadyRunning(transfer.peer, transfer.offer.image_id))
            return "the device runs this version already"
        return None

    def _hardware_suits(self, header: Header, hardware_version: int | None) -> bool:
        if header.hardware_versions is None:
            return True
        if hardware_version is None:
            return not self._settings.hardware_version_needed
        return hardware_version in header.hardware_versions

    def _bar(self, transfer: _Transfer) -> None:
        transfer.phase, transfer.due = _Phase.BARRED, None

    def _block_request(self, peer: Eui64, request: ImageBlockRequest, sequence: int, now: float) -> None:
        transfer = self._find(peer, _key_of(request))
        if transfer is None:
            self._no_such_image(peer, request, sequence)
        elif transfer.phase is _Phase.BARRED:
            if transfer.abort_owed:
                transfer.abort_owed = False
                self._out.append(Send(peer, ImageBlockAbort(), sequence))
                return
            self._refuse(
                peer, request, sequence, "this device gets this image no more", Status.NO_IMAGE_AVAILABLE
            )
        elif request.file_offset >= len(transfer.offer.data):
            size = len(transfer.offer.data)
            why = f"offset {request.file_offset} is past the end of an image of {size} octets"
            self._refuse(peer, request, sequence, why, Status.NO_IMAGE_AVAILABLE)
        elif request.maximum_data_size == 0:
            self._refuse(peer, request, sequence, "a block of no octets", Status.MALFORMED_COMMAND)
        elif request.file_offset > 0 and not transfer.has_begun:
            why = (
                f"the device would go on at octet {request.file_offset} of an image that it never began:"
                " what it has is of another file with the same version"
            )
            self._out.append(Refused(peer, why, Status.ABORT))
            self._out.append(Send(peer, ImageBlockAbort(), sequence))
        elif transfer.phase is _Phase.PAUSED:
            transfer.furthest = max(transfer.furthest, request.file_offset)
            wait = ImageBlockWait(0, round(self._settings.pause_wait), request.minimum_block_period or 0)
            self._out.append(Send(peer, wait, sequence))
        else:
            transfer.has_begun = True
            if transfer.phase is _Phase.IDLE:
                transfer.phase = _Phase.SERVING
                self._out.append(TransferStarted(peer, transfer.offer.image_id, request.file_offset))
            self._heard(transfer, now)
            self._last_block[peer] = (request, sequence)
            self._serve(transfer, request, sequence)

    def _serve(self, transfer: _Transfer, request: ImageBlockRequest, sequence: int) -> None:
        blocks = self._sizes.get(transfer.peer)
        ceiling = self._settings.block_ceiling if blocks is None else blocks.limit
        offset = transfer.offset = request.file_offset
        if offset > transfer.furthest:
            transfer.furthest, transfer.aborts = offset, 0
        data = transfer.offer.data[offset : offset + min(request.maximum_data_size, ceiling)]
        block = ImageBlockResponse(
            request.manufacturer, request.image_type, request.file_version, offset, data
        )
        device = self._devices.get(transfer.peer)
        acknowledged = self._settings.acknowledged_blocks
        if device is not None and device.acknowledged_blocks is not None:
            acknowledged = device.acknowledged_blocks
        self._out.append(Send(transfer.peer, block, sequence, acknowledged))
        self._out.append(BlockServed(transfer.peer, transfer.offer.image_id, offset, len(data)))

    def _no_such_image(self, peer: Eui64, request: ImageBlockRequest, sequence: int) -> None:
        key = _key_of(request)
        gone = self._farewells.get(peer, {}).get(key)
        if gone is not None and gone.owed:
            gone.owed = False
            if self._settings.preempted_answer == Status.ABORT:
                self._out.append(Refused(peer, f"image {key} was withdrawn in mid-download", Status.ABORT))
                self._out.append(Send(peer, ImageBlockAbort(), sequence))
                return
        why = (
            f"image {key} was withdrawn"
            if gone is not None
            else f"image {key} is not on offer to this device"
        )
        self._refuse(peer, request, sequence, why, Status.NO_IMAGE_AVAILABLE)

    def _upgrade_end(self, peer: Eui64, request: UpgradeEndRequest, sequence: int, now: float) -> None:
        transfer = self._find(peer, _key_of(request))
        if transfer is None:
            self._late_upgrade_end(peer, request, sequence)
        elif request.status == Status.SUCCESS:
            self._completed(transfer, request, sequence)
        else:
            self._broken_off(transfer, request.status, now)
            self._out.append(Send(peer, DefaultResponse(request.COMMAND_ID, Status.SUCCESS), sequence))

    def _completed(self, transfer: _Transfer, request: UpgradeEndRequest, sequence: int) -> None:
        why = None
        if transfer.phase is _Phase.BARRED:
            why = "this device gets this image no more"
        elif not transfer.has_begun:
            why = "the device has an image that it never began: it is of another file with the same version"
        if why is not None:
            self._refuse(transfer.peer, request, sequence, why, Status.ABORT)
            return
        if transfer.phase is not _Phase.DONE:
            transfer.phase, transfer.due = _Phase.DONE, None
            self._out.append(TransferCompleted(transfer.peer, transfer.offer.image_id))
        answer = self._when(transfer.offer.activation, transfer.key, released=transfer.released)
        self._out.append(Send(transfer.peer, answer, sequence))

    def _broken_off(self, transfer: _Transfer, status: Status, now: float) -> None:
        if transfer.phase is _Phase.BARRED:
            return
        transfer.aborts += 1
        if status == Status.ABORT and transfer.aborts < self._settings.aborts_allowed:
            transfer.phase = _Phase.IDLE
            self._heard(transfer, now)
            self._out.append(TransferInterrupted(transfer.peer, transfer.offer.image_id, status))
        else:
            self._bar(transfer)
            self._out.append(TransferFailed(transfer.peer, transfer.offer.image_id, status))

    def _late_upgrade_end(self, peer: Eui64, request: UpgradeEndRequest, sequence: int) -> None:
        """An Upgrade End Request for an image that is gone, or that was never here."""
        key = _key_of(request)
        gone = self._farewells.get(peer, {}).get(key)
        if request.status != Status.SUCCESS:
            self._out.append(Send(peer, DefaultResponse(request.COMMAND_ID, Status.SUCCESS), sequence))
        elif gone is not None and gone.held:
            # The slot was given away, but this device has its copy: it must go on holding it.
            self._out.append(Send(peer, self._when(gone.activation, key, released=gone.released), sequence))
        elif gone is not None:
            gone.owed = False
            self._refuse(peer, request, sequence, f"image {key} was withdrawn", Status.ABORT)
        else:
            # Not ABORT: after a restart this may be a device that rightly holds an image we forgot.
            why = f"image {key} is not on offer to this device"
            self._refuse(peer, request, sequence, why, Status.NO_IMAGE_AVAILABLE)

    def _when(self, activation: Activation, key: ImageKey, *, released: bool) -> UpgradeEndResponse:
        if activation is Activation.NOW or released:
            return _activate_now(key)
        if self._settings.gbcs_wait:
            wait = WAIT_FOR_ACTIVATION
            return UpgradeEndResponse(ANY_MANUFACTURER, ANY_IMAGE_TYPE, ANY_VERSION, wait, wait)
        return UpgradeEndResponse(key.manufacturer, key.image_type, key.file_version, 0, WAIT_FOR_ACTIVATION)


def _not_meant(transfer: _Transfer, query: QueryNextImageRequest) -> str | None:
    key, destination = transfer.key, transfer.offer.header.destination
    if (query.manufacturer, query.image_type) != (key.manufacturer, key.image_type):
        return (
            f"the image is for manufacturer {key.manufacturer:04X} type {key.image_type:04X},"
            f" the device is {query.manufacturer:04X} type {query.image_type:04X}"
        )
    if destination is not None and destination != transfer.peer:
        return f"the image is for {destination} alone"
    return None


def _activate_now(key: ImageKey) -> UpgradeEndResponse:
    return UpgradeEndResponse(key.manufacturer, key.image_type, key.file_version, 0, 0)


def _key_of(request: ImageBlockRequest | UpgradeEndRequest) -> ImageKey:
    return ImageKey(request.manufacturer, request.image_type, request.file_version)
