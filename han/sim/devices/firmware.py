"""What firmware a device runs, which image it holds, and what becomes of that image.

How an image is fetched is the business of `ota.client`; what is decided here is whether a file suits the
device, when the held image may run, and what is remembered of it when the power fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from functools import partial
from hashlib import sha256

from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.devices.activation import Decision, HeldImage, decide
from han.sim.devices.kinds import Nature
from han.sim.devices.memory import Memory
from han.sim.devices.personalities import Peculiar, machine_for
from han.sim.devices.port import Port
from han.sim.devices.time_of_day import EPOCH
from han.sim.devices.upgrade import Upgrade
from han.sim.devices.verdict import judge
from han.sim.home import DeviceDescription
from han.zcl import OTA_CLUSTER, AttributeValue
from ota.client import ClientSettings, Identity, Part
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
from ota.commands import Command
from ota.errors import TheirError
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, Layout
from ota.pacing import largest_block


class Firmware:
    """The firmware of one device.

    Args:
        server: whom the device asks.
        utc: what its own clock says, if that is set.
        verified: called when a downloaded file was found good, or not to be the Supplier's: with its
            Manufacturer Image Hash, and with which of the two. In the same step the file is kept or thrown
            away: no power cut falls between.
        started: called when an image has taken over, or failed to: with whether it did, and with the event's
            consequences still ahead (the device restarts).
    """

    def __init__(
        self,
        *,
        description: DeviceDescription,
        nature: Nature,
        memory: Memory,
        port: Port,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        server: Callable[[], Eui64 | None],
        utc: Callable[[], datetime | None],
        verified: Callable[[bytes, bool], None],
        started: Callable[[bool], None],
    ) -> None:
        self._description = description
        self._nature = nature
        self._layout = Layout.AUTHORISED if nature.two_stage else Layout.MANUFACTURER_IMAGE
        self._memory = memory
        self._port = port
        self._timeline = timeline
        self._dice = dice
        self._facts = facts
        self._name = description.name
        self._server = server
        self._utc = utc
        self._verified = verified
        self._started = started
        self._upgrade = self._fresh()

    @property
    def held(self) -> HeldImage | None:
        """The verified image that waits for its activation, if there is one."""
        machine = self._upgrade.machine
        if machine.held is None or (stored := machine.stored) is None:
            return None
        image = GbcsImage.read(stored.data, self._layout)
        return HeldImage(machine.held.file_version, image.manufacturer_image_hash)

    def power_on(self) -> None:
        """Begin anew with what the memory holds."""
        self._upgrade = self._fresh()

    def start(self) -> None:
        """The hub can be reached: go on with the stored download, or ask for one now and then."""
        self._upgrade.start()

    def stop(self) -> None:
        """The hub or the power is gone. What was stored so far stays stored."""
        self._upgrade.stop()
        self.remember()

    def remember(self) -> None:
        """Bring the memory up to date with the download that is under way."""
        machine = self._upgrade.machine
        self._memory.download, self._memory.aside = machine.stored, machine.aside

    def ask_now(self) -> None:
        """The hub is said to have an image: query it at once, unless one is under way."""
        self._upgrade.ask_now()

    def attributes(self) -> dict[int, AttributeValue]:
        """The OTA cluster's client attributes as they stand."""
        return dict(self._upgrade.machine.attributes(self._server()))

    def command(
        self, command: Command, sequence: int, *, broadcast: bool = False, confirm: bool = False
    ) -> None:
        """Take a command of the OTA cluster from the hub, which may want success confirmed too."""
        self._upgrade.receive(command, sequence, broadcast=broadcast, confirm=confirm)

    def malformed_command(
        self, command_id: int, sequence: int, error: TheirError, *, broadcast: bool
    ) -> None:
        """Take note of a command of the OTA cluster that could not be read."""
        self._upgrade.receive_malformed(command_id, sequence, error, broadcast=broadcast)

    def decide(self, wanted_hash: bytes) -> Decision:
        """What is to become of a CS06 command that is to be acted on now."""
        return decide(self.held, wanted_hash, self._memory.file_version, boots=self._description.activates)

    def activate(self) -> None:
        """Run the held image. The device has gone dark on return.

        Raises:
            ota.errors.OurError: if none is held.
        """
        self._upgrade.activate()

    def _fresh(self) -> Upgrade:
        us = self._description
        settings = ClientSettings(
            maximum_data_size=largest_block(aps_secured=us.establishes_keys),
            page_size=us.page_size,
            page_spacing=us.seconds_between_page_blocks,
            acknowledged=us.acknowledged,
            storage=us.storage,
            first_query_within=us.first_query_within,
            query_every=us.seconds_between_queries,
            out_of_band_only=self._nature.two_stage,
            cluster_revision=us.cluster_revision,
            upgrades_together=us.upgrades_together,
            utc=self._utc_seconds,
            verify=self._accepts,
        )
        memory = self._memory
        machine = machine_for(
            us.personality, settings, self._identity(), self._dice, memory.download, aside=memory.aside
        )
        in_plain = isinstance(machine, Peculiar) and machine.in_plain
        return Upgrade(
            machine=machine,
            timeline=self._timeline,
            send=partial(self._send, in_plain=in_plain),
            on_event=self._happened,
        )

    def _identity(self) -> Identity:
        us, memory = self._description, self._memory
        return Identity(
            us.manufacturer,
            us.image_type,
            memory.file_version,
            us.hardware_version,
            stack_version=memory.stack_version,
            image_stamp=memory.image_stamp,
            address=us.eui64,
            parts=tuple(
                Part(
                    part.image_type,
                    memory.part_versions.get(part.image_type, part.file_version),
                    part.device_specific,
                )
                for part in us.parts
            ),
        )

    def _send(self, zcl: bytes, acknowledged: bool, *, in_plain: bool) -> None:  # noqa: FBT001 - as the pump passes it
        self._port.send(OTA_CLUSTER, zcl, acknowledged=acknowledged, in_plain=in_plain)

    def _utc_seconds(self, now: float) -> float | None:  # noqa: ARG002 - the clock knows what time it is
        utc = self._utc()
        return None if utc is None else (utc - EPOCH).total_seconds()

    def _accepts(self, data: bytes) -> bool:
        verdict = judge(data, self._description, self._layout)
        if verdict.fault is not None:
            self._say("ota.refused", why=verdict.fault)
        if not verdict.is_authentic:
            self._verified(verdict.manufacturer_image_hash, False)
        return verdict.fault is None

    def _is_good(self, data: bytes) -> None:
        """The file was found good, for the first time: at a later power on nobody is told again."""
        self._verified(GbcsImage.read(data, self._layout).manufacturer_image_hash, True)

    def _happened(self, event: Event) -> None:
        match event:
            case BlockReceived(offset=offset, size=size):
                self._say("ota.block", offset=offset, size=size)
            case Activated(file_version=version, part=None):
                self._take_over(version)
            case Activated(file_version=version, part=part):
                self._take_over_part(part, version)
            case Aborted(status=status):
                self._say("ota.aborted", why=status.name)
            case FellBack(why=why):
                self._say("ota.fell-back", why=why)
            case GaveUp(why=why):
                self._say("ota.gave-up", why=why)
            case Ignored(why=why):
                self._say("ota.ignored", why=why)
            case Queried():
                self._say("ota.query")
            case _:
                self._progressed(event)

    def _progressed(
        self, event: DownloadStarted | DownloadComplete | MoreNeeded | Activating | WaitingToActivate
    ) -> None:
        version = f"{event.key.file_version:08X}"
        match event:
            case DownloadStarted(size=size, offset=offset):
                self._say("ota.started", version=version, size=size, offset=offset)
            case DownloadComplete(data=data):
                self._say("ota.complete", version=version, size=len(data), image=sha256(data).hexdigest())
                self._is_good(data)
            case MoreNeeded(data=data):
                self._say("ota.more-needed", version=version, size=len(data), image=sha256(data).hexdigest())
                self._is_good(data)
            case Activating(at=at):
                self._say("ota.activating", version=version, due=at)
            case WaitingToActivate():
                self._say("ota.held", version=version)

    def _take_over(self, version: int) -> None:
        before = f"{self._memory.file_version:08X}"
        if self._description.activates:
            runs = self._upgrade.machine.identity
            self._memory.file_version = version
            self._memory.stack_version, self._memory.image_stamp = runs.stack_version, runs.image_stamp
            self._say("device.activated", version=f"{version:08X}", before=before)
        else:
            self._say(
                "device.activation-failed", version=before, image=f"{version:08X}", why="a fault on demand"
            )
        self._started(self._description.activates)

    def _take_over_part(self, part: int | None, version: int) -> None:
        if self._description.activates and part is not None:
            self._memory.part_versions[part] = version
            self._say("device.part-activated", part=part, version=f"{version:08X}")

    def _say(self, what: str, **fields: object) -> None:
        self._facts.say(self._name, what, **fields)
