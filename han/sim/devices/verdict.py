"""What a device makes of a file that it has downloaded. Pure.

A two-stage device checks the Supplier's signature behind the Manufacturer Image, and tells what it found with
the hash that it computed (GBCS 11.2.6). That hash exists even where the trailer cannot be read: it is then
that of whatever stands in the image's place.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from han.sim.home import DeviceDescription
from ota.gbcs_image import TRAILER_SIZE, GbcsImage, Layout, check, manufacturer_image_hash
from ota.image import Image


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the check.

    Attributes:
        manufacturer_image_hash: as computed from the file.
        is_authentic: whether it is whole and, if the device knows the Supplier's key, signed with it.
        fault: why the device does not take it; None if it does. An authentic image may be for other hardware.
    """

    manufacturer_image_hash: bytes
    is_authentic: bool
    fault: str | None


def judge(data: bytes, description: DeviceDescription, layout: Layout) -> Verdict:
    """Look at a downloaded file with the eyes of this device.

    Raises:
        ota.image.ImageFormatError: if it does not even begin as an upgrade file.
    """
    key = None
    if description.supplier_key is not None:
        key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), bytes.fromhex(description.supplier_key))
    findings = check(data, layout, key)
    if findings:
        body = Image.read(data).body
        inside = body[:-TRAILER_SIZE] if layout is Layout.AUTHORISED else body
        return Verdict(manufacturer_image_hash(inside), is_authentic=False, fault=str(findings[0]))
    image = GbcsImage.read(data, layout)
    hardware = image.header.hardware_versions
    fault = None
    ours = description.hardware_version
    if hardware is not None and ours is not None and ours not in hardware:
        fault = f"hardware_versions: {ours:04X} is outside the image's range"
    return Verdict(image.manufacturer_image_hash, is_authentic=True, fault=fault)
