"""The upgrade files of the demo: made from its seed, the same every time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from han.gbcs.parties import SUPPLIER, lab_party
from han.sim.home import DeviceDescription
from ota.eui64 import Eui64
from ota.gbcs_image import TRAILER_SIZE, GbcsImage, Layout, authorise, layout_for
from ota.image import HardwareRange, Header

PPMID_IMAGE_SIZE = 350 * 1024
"""Octets of the PPMID's upgrade file: the average that the industry forecast."""

SMALL_IMAGE_SIZE = 6 * 1024
"""Octets of every later file: they show rules, not endurance."""

_HEADER_SIZE = 60


@dataclass(frozen=True, slots=True)
class UpgradeFile:
    """An upgrade file for one device of the house."""

    device: DeviceDescription
    version: int
    data: bytes
    kind: str = ""
    """Set off by a dash in its name, where the file is out of the ordinary."""

    @property
    def device_type(self) -> str:
        """The kind of device it is for."""
        return self.device.kind.value

    @property
    def image_id(self) -> str:
        """SHA-256 of the whole file, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def manufacturer_image_hash(self) -> bytes:
        """What an 11.3 names the image by."""
        return GbcsImage.read(self.data, layout_for(self.device_type)).manufacturer_image_hash

    def forged(self) -> UpgradeFile:
        """The same with one bit of the Manufacturer Image turned, and the trailer as it was."""
        image = GbcsImage.read(self.data, layout_for(self.device_type))
        body = image.manufacturer_image
        forged = GbcsImage.build(image.header, bytes((body[0] ^ 1,)) + body[1:], image.authorisation)
        return UpgradeFile(self.device, self.version, forged.to_bytes(), "-forged")

    @property
    def name(self) -> str:
        """What to call the file: whose it is, and its version."""
        return f"{self.device.name}-{self.version:08X}{self.kind}.zigbee"


class Supplier:
    """Who authorises the images of meters and load switches: a party of the lab, whose key is no secret.

    By default it is the one that signs CS06 too, so its certificate verifies image and command.
    """

    def __init__(self, eui64: Eui64 = SUPPLIER) -> None:
        self._key = lab_party(eui64).signing

    @property
    def public_key(self) -> str:
        """The uncompressed point in hex, as a home file's ``supplier_key`` has it."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return point.hex()

    def make(self, device: DeviceDescription, version: int, size: int, seed: int) -> UpgradeFile:
        """An upgrade file of exactly ``size`` octets that fits this device."""
        kind = device.kind.value
        authorised = layout_for(kind) is Layout.AUTHORISED
        body = Random(f"{seed} {device.name} {version}").randbytes(
            size - _HEADER_SIZE - (TRAILER_SIZE if authorised else 0)
        )
        hardware = device.hardware_version or 0
        header = Header(
            manufacturer=device.manufacturer,
            image_type=device.image_type,
            file_version=version,
            total_size=0,
            header_string=f"gbhan demo {kind}".encode(),
            hardware_versions=HardwareRange(hardware & 0xFF00, hardware | 0x00FF),
        )
        made = GbcsImage.build(header, body, authorise(body, self._key) if authorised else None)
        return UpgradeFile(device, version, made.to_bytes())
