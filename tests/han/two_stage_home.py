"""A house of the three kinds of device that take an image and wait, each with the Supplier's key of the lab.

Its hub tells the time: to all devices alike, and right unless a test sets it otherwise.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from house_esi import EnergyServices
from house_world import PlainHub, World, home_with

from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.messages import Payload, activate_firmware, payload_of
from han.gbcs.parties import SUPPLIER, lab_party
from han.gbcs.payloads import (
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.gbcs.protection import is_signed_by
from han.sim.home import Home
from ota.gbcs_image import Authorisation, GbcsImage, authorise, manufacturer_image_hash
from ota.image import HardwareRange, Header
from ota.server import Activation

OLD, NEW, NEWER = 0x00010000, 0x00020000, 0x00030000
METERS = ("esme", "gsme")
TWO_STAGE = (*METERS, "hcalcs")
DAY = 86_400.0
START = datetime(2026, 1, 5, tzinfo=UTC)
"""What UTC it is when a house's timeline begins."""

_CODES = {
    "esme": ("00-DB-12-34-56-78-90-A0", "83fed3407a939723a5c639b26916d505c3b5"),
    "gsme": ("00-DB-12-34-56-78-90-A1", "1d25dd990495199fe9a67a8ee26bad6bf3aa"),
    "hcalcs": ("00-DB-12-34-56-78-90-A5", "8468461acbac55e2222d2939821412e59593"),
}
_KEY = lab_party(SUPPLIER).signing


def two_stage_home(more: str = "") -> Home:
    """The home; ``more`` is added to each device's description."""
    point = _KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex()
    return home_with(
        "".join(
            f"""
[[devices]]
kind = "{name.upper()}"
name = "{name}"
eui64 = "{eui64}"
install_code = "{code}"
image_type = {place}
file_version = {OLD}
hardware_version = 0x1111
query_period = 900.0
supplier_key = "{point}"
{more}
"""
            for place, (name, (eui64, code)) in enumerate(_CODES.items())
        )
    )


class Clockwork(EnergyServices):
    """The energy services of a hub whose clock goes."""

    ahead: timedelta | None = timedelta()
    """Of the right time; None: it knows no time."""

    def __init__(self, hub: PlainHub) -> None:
        self._timeline = hub.timeline
        super().__init__(hub)

    @property
    def utc(self) -> datetime | None:
        """What the hub's clock says."""
        if self.ahead is None:
            return None
        return START + timedelta(seconds=self._timeline.now) + self.ahead

    @utc.setter
    def utc(self, moment: datetime | None) -> None:
        """It is set through ``ahead`` alone."""


class TwoStageWorld(World):
    """The house of these devices with its hub, moved into."""

    def __init__(self, home: Home | None = None, *, tells_time: bool = True, **options: object) -> None:
        super().__init__(home or two_stage_home(), **options)
        self.clock = Clockwork(self.hub) if tells_time else None
        self.counter = 0

    @property
    def now(self) -> datetime:
        """The right UTC."""
        return START + timedelta(seconds=self.house.timeline.now)

    def soon(self, seconds: float = 3600.0) -> datetime:
        """A whole second that is so far ahead."""
        return (self.now + timedelta(seconds=seconds)).replace(microsecond=0)

    def run_to(self, moment: datetime) -> None:
        """Let time pass until then, by the right UTC."""
        self.run(max(0.0, (moment - self.now).total_seconds()))

    def image(
        self,
        name: str,
        version: int = NEW,
        *,
        authorisation: Authorisation | None = None,
        hardware: HardwareRange | None = None,
    ) -> tuple[bytes, bytes]:
        """A file for the device and its Manufacturer Image Hash; signed by the Supplier by default."""
        description = self[name].description
        body = random.Random(f"{name} {version}").randbytes(1500)
        header = Header(
            manufacturer=description.manufacturer,
            image_type=description.image_type,
            file_version=version,
            total_size=0,
            hardware_versions=hardware,
        )
        image = GbcsImage.build(header, body, authorisation or authorise(body, _KEY))
        return image.to_bytes(), manufacturer_image_hash(body)

    def hold(self, name: str, version: int = NEW) -> bytes:
        """Let the device take an image and hold it; its Manufacturer Image Hash."""
        data, image_hash = self.image(name, version)
        self.hub.offer(data, name, activation=Activation.WAIT)
        self.run_until("ota.held", name)
        self.run(1.0)
        return image_hash

    def command(
        self, name: str, image_hash: bytes, execute_at: datetime | None = None, counter: int | None = None
    ) -> bytes:
        """A CS06 command with the next counter, or with this one."""
        self.counter = self.counter + 1 if counter is None else counter
        command = ActivateFirmwareCommand(image_hash, self.counter, execute_at)
        return activate_firmware(self[name].eui64, command).to_bytes()

    def activate(self, name: str, image_hash: bytes, execute_at: datetime | None = None) -> bytes:
        """Tell the device a new CS06 command, and give it; its answer, if it is NULL, is there afterwards."""
        command = self.command(name, image_hash, execute_at)
        self.hub.tell(name, command)
        self.run(1.0)
        return command

    def heard(self, name: str) -> list[Payload | None]:
        """What the device said of activation, in order: all signed, alerts under counters that grow."""
        messages = [Envelope.parse(octets) for octets in self.hub.messages_of(name)]
        key = lab_party(self[name].eui64).signing.public_key()
        assert all(is_signed_by(each, key) and each.recipient == SUPPLIER for each in messages)
        alerts = [each for each in messages if each.kind is MessageKind.ALERT]
        by_counter = {each.counter: each for each in alerts}
        assert list(by_counter) == sorted(by_counter), "the device's own counter grows"
        assert all(by_counter[each.counter] == each for each in alerts), "and names one alert"
        return [payload_of(each) for each in messages if each.code in (0x0012, 0x00CA)]


def outcome(code: ActivateImageResponseCode, version: int) -> ActivateFirmwareResponse:
    return ActivateFirmwareResponse(ActivationOutcome(code, version))


ACCEPTED = ActivateFirmwareResponse()
