"""What GB upgrade files put behind the OTA header.

There are no Zigbee sub-elements there. For a PPMID the Manufacturer Image is all. For the devices that a
Supplier activates later (ESME, GSME, HCALCS) an authorisation follows it: the force-replace octet, 0x40, and
64 octets of signature by the Supplier over the Manufacturer Image alone (ECDSA P-256, SHA-256; r, then s).
That the HCALCS takes the second form is deduced from its procedure, so it is an argument here, not a rule.

Nothing in a file tells which form it has: whoever reads one says which.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ota.errors import OurError
from ota.image import Finding, Header, Image, ImageFormatError
from ota.image import check as check_file

SIGNATURE_SIZE = 64
_SIGNATURE_LENGTH_OCTET = 0x40
TRAILER_SIZE = 2 + SIGNATURE_SIZE

NO_SIGNATURE = bytes(SIGNATURE_SIZE)
"""In the place of a signature when nobody signed. No key verifies it."""


class Layout(enum.Enum):
    """The two forms of what follows the header."""

    MANUFACTURER_IMAGE = "manufacturer image"
    AUTHORISED = "manufacturer image, force-replace octet, signature"


LAYOUTS = {
    "PPMID": Layout.MANUFACTURER_IMAGE,
    "HCALCS": Layout.AUTHORISED,
    "GSME": Layout.AUTHORISED,
    "ESME": Layout.AUTHORISED,
}
"""Which form the files for a type of device have."""


def layout_for(device_type: str) -> Layout:
    """The form of files for this type of device, such as "PPMID".

    Raises:
        OurError: for a type that gets no images; an IHD is one.
    """
    try:
        return LAYOUTS[device_type]
    except KeyError:
        raise OurError(
            f"there are no upgrade files for an {device_type}: only for {', '.join(LAYOUTS)}"
        ) from None


def manufacturer_image_hash(manufacturer_image: bytes) -> bytes:
    """The Manufacturer Image Hash (GBCS 11.2.4): SHA-256 of that image, not of the file around it."""
    return hashlib.sha256(manufacturer_image).digest()


@dataclass(frozen=True, slots=True)
class Authorisation:
    """The Supplier's word for a Manufacturer Image. ``force_replace`` concerns the hub, not the device."""

    force_replace: int
    signature: bytes

    @property
    def is_signed(self) -> bool:
        """Whether there is anything in the place of the signature."""
        return self.signature != NO_SIGNATURE

    def verify(self, manufacturer_image: bytes, key: EllipticCurvePublicKey) -> bool:
        """Whether this key's owner authorised this Manufacturer Image."""
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:32], self.signature[32:]))
        try:
            key.verify(encode_dss_signature(r, s), manufacturer_image, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def authorise(
    manufacturer_image: bytes, key: EllipticCurvePrivateKey | None, *, force_replace: int = 0
) -> Authorisation:
    """Sign a Manufacturer Image, the same key always in the same way; without a key, leave it unsigned.

    Raises:
        OurError: if the key is not on P-256.
    """
    if key is None:
        return Authorisation(force_replace, NO_SIGNATURE)
    if not isinstance(key.curve, SECP256R1):
        raise OurError(f"an authorisation is signed on P-256, this key is on {key.curve.name}")
    # RFC 6979: a file that is made twice is the same file.
    r, s = decode_dss_signature(key.sign(manufacturer_image, ECDSA(SHA256(), deterministic_signing=True)))
    return Authorisation(force_replace, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@dataclass(frozen=True, slots=True)
class GbcsImage:
    """An upgrade file as GBCS 11.2.2 builds it."""

    header: Header
    manufacturer_image: bytes
    authorisation: Authorisation | None = None

    @property
    def layout(self) -> Layout:
        """Which of the two forms this is."""
        return Layout.MANUFACTURER_IMAGE if self.authorisation is None else Layout.AUTHORISED

    @property
    def manufacturer_image_hash(self) -> bytes:
        """The 32 octets that an activate command names this image by."""
        return manufacturer_image_hash(self.manufacturer_image)

    @classmethod
    def build(
        cls, header: Header, manufacturer_image: bytes, authorisation: Authorisation | None = None
    ) -> Self:
        """An image whose header tells the size that the file will have, whatever ``header`` says of it."""
        sized = Image.build(header, _body(manufacturer_image, authorisation)).header
        return cls(sized, manufacturer_image, authorisation)

    @classmethod
    def read(cls, data: bytes, layout: Layout) -> Self:
        """Read a whole file.

        Raises:
            ImageFormatError: naming the field, if it is no upgrade file of this form.
        """
        image = Image.read(data)
        if layout is Layout.MANUFACTURER_IMAGE:
            return cls(image.header, image.body)
        body, trailer = image.body[:-TRAILER_SIZE], image.body[-TRAILER_SIZE:]
        if len(trailer) < TRAILER_SIZE:
            raise ImageFormatError(
                "signature", f"cut short: {len(trailer)} octets behind the header, 66 needed"
            )
        if trailer[1] != _SIGNATURE_LENGTH_OCTET:
            raise ImageFormatError("signature", f"its length octet is {trailer[1]:#04x} instead of 0x40")
        return cls(image.header, body, Authorisation(trailer[0], trailer[2:]))

    def to_bytes(self) -> bytes:
        """The file. Raises OurError if a header field does not fit or tells another size."""
        return Image(self.header, _body(self.manufacturer_image, self.authorisation)).to_bytes()


def _body(manufacturer_image: bytes, authorisation: Authorisation | None) -> bytes:
    if authorisation is None:
        return manufacturer_image
    if len(authorisation.signature) != SIGNATURE_SIZE or not 0 <= authorisation.force_replace <= 0xFF:
        raise OurError("an authorisation has one force-replace octet and 64 octets of signature")
    return (
        manufacturer_image
        + bytes((authorisation.force_replace, _SIGNATURE_LENGTH_OCTET))
        + authorisation.signature
    )


def replaces(data: bytes, device_type: str) -> bool:
    """Whether a whole file for this type of device asks the hub to replace the image it holds at once.

    Only the octet's value 1 is known to say so; a file without an authorisation says nothing.
    """
    try:
        authorisation = GbcsImage.read(data, layout_for(device_type)).authorisation
    except (ImageFormatError, OurError):
        return False
    return authorisation is not None and authorisation.force_replace == 1


def likely_layout(data: bytes) -> Layout:
    """A guess at the form of a good file, by where an authorisation would be; wrong once in 30,000 files."""
    trailer = data[Header.parse(data).length :][-TRAILER_SIZE:]
    if len(trailer) == TRAILER_SIZE and trailer[0] <= 1 and trailer[1] == _SIGNATURE_LENGTH_OCTET:
        return Layout.AUTHORISED
    return Layout.MANUFACTURER_IMAGE


def check(data: bytes, layout: Layout, key: EllipticCurvePublicKey | None = None) -> list[Finding]:
    """Everything that is wrong with a GB upgrade file of this form; with a key, its signature too."""
    findings = check_file(data)
    if findings:
        return findings
    try:
        image = GbcsImage.read(data, layout)
    except ImageFormatError as error:
        return [Finding(error.field, error.problem)]
    if not image.manufacturer_image:
        findings.append(Finding("manufacturer_image", "empty"))
    authorisation = image.authorisation
    if authorisation is None:
        if key is not None:
            findings.append(Finding("signature", "files of this form carry none"))
        return findings
    if authorisation.force_replace > 1:
        findings.append(
            Finding("force_replace", f"{authorisation.force_replace:#04x}, only 0 and 1 are known")
        )
    if key is not None and not authorisation.verify(image.manufacturer_image, key):
        findings.append(Finding("signature", "not made by the owner of this key over this image"))
    return findings
