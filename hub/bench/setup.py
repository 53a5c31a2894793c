"""What is measured: one hub or many, their devices, the image, and how it travels."""

from __future__ import annotations

import random
from dataclasses import dataclass

from han.sim.home import Home, Profile, parse_home
from ota.elements import Element, Tag, build_elements
from ota.eui64 import Eui64
from ota.image import Header, Image

OLD, NEW = 0x00010000, 0x00020000
MANUFACTURER, IMAGE_TYPE = 0x121D, 0x0084
CHANNEL = 15
_ELEMENT_HEADER = 6
_INSTALL_CODE = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
_FIRST_EUI64 = 0x00DB_1234_5678_0000
_EUI64S_OF_A_HOME = 0x100


@dataclass(frozen=True, slots=True)
class Setup:
    """One hub and its devices, and how an image travels between them.

    Attributes:
        size: octets of the upgrade file.
        devices: how many PPMIDs fetch it at the same time, in each home.
        homes: how many hubs, each with a house of its own.
        baud: of the serial line; 0 takes no time.
        profile: on which the devices speak. Home Automation is what peers serve; it knows no certificates.
        is_secured: whether devices have certificates, and APS security on top of NWK security.
        acknowledged: whether block requests and responses are acknowledged by APS.
        page: octets that a device asks for at a time; None: block by block.
        seed: of everything that is left to chance.
    """

    size: int
    devices: int = 1
    homes: int = 1
    baud: int = 0
    profile: Profile = Profile.SMART_ENERGY
    is_secured: bool = True
    acknowledged: bool = True
    page: int | None = None
    seed: int = 1

    def image(self) -> bytes:
        """The upgrade file: one sub-element, since peers read no file without."""
        header = Header(
            manufacturer=MANUFACTURER, image_type=IMAGE_TYPE, file_version=NEW, total_size=self.size
        )
        body = random.Random(f"{self.seed} image").randbytes(self.size - header.length - _ELEMENT_HEADER)
        return Image(header, build_elements([Element(Tag.UPGRADE_IMAGE, body)])).to_bytes()

    def home(self, number: int = 0) -> Home:
        """The house; those with different numbers share no address."""
        return parse_home(self.toml(number).encode())

    def toml(self, number: int = 0) -> str:
        """The same as the text of a home file."""
        first = _FIRST_EUI64 + _EUI64S_OF_A_HOME * number
        lines = [
            f'name = "bench-{number}"',
            f"channel = {CHANNEL}",
            f"seed = {self.seed + number}",
            "[dongle]",
            f'eui64 = "{Eui64(first)}"',
            f"baud = {self.baud}",
            'behaves = "plain"',
            f"key_table = {max(16, self.devices)}",
        ]
        for place in range(self.devices):
            lines += [
                "[[devices]]",
                'kind = "PPMID"',
                f'name = "ppmid-{place}"',
                f'eui64 = "{Eui64(first + 1 + place)}"',
                f'install_code = "{_INSTALL_CODE}"',
                f"manufacturer = {MANUFACTURER}",
                f"image_type = {IMAGE_TYPE}",
                f"file_version = {OLD}",
                f'profile = "{self.profile.value}"',
                f'certificate = "{"lab" if self.is_secured else "none"}"',
                f"acknowledged = {str(self.acknowledged).lower()}",
                "first_query_within = 1",
                "join_retry = 1",
            ]
            if self.page is not None:
                lines += [f"page_size = {self.page}", "response_spacing = 0"]
        return "\n".join(lines)
