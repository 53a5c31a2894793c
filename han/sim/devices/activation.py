"""How a device answers an Activate Firmware command (CS06). Pure.

A two-stage device (ESME, GSME, HCALCS) holds an image until its Supplier names it by its Manufacturer Image
Hash. Either it holds no image, or another one than is named, or the named one: then it tries to run it. The
answer carries the version that runs *afterwards* (GBCS 11.5).
"""

from __future__ import annotations

from dataclasses import dataclass

from han.gbcs.payloads import ActivateImageResponseCode


@dataclass(frozen=True, slots=True)
class HeldImage:
    """A complete, verified image that waits for its activation."""

    file_version: int
    manufacturer_image_hash: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """What to answer, the version to report, and whether to boot the held image."""

    response: ActivateImageResponseCode
    file_version: int

    @property
    def activates(self) -> bool:
        """Whether the held image is to run from now on."""
        return self.response is ActivateImageResponseCode.SUCCESS


def decide(
    held: HeldImage | None, wanted_hash: bytes, running_version: int, *, boots: bool = True
) -> Decision:
    """Decide about a CS06 command that is to be acted on now.

    Args:
        held: the image that waits, if any.
        wanted_hash: the Manufacturer Image Hash that the command names, 32 octets.
        running_version: the OTA file version that runs now.
        boots: whether the hardware manages to start the new firmware; a fault on demand.
    """
    if held is None:
        return Decision(ActivateImageResponseCode.NO_IMAGE_HELD, running_version)
    if held.manufacturer_image_hash != wanted_hash:
        return Decision(ActivateImageResponseCode.HASH_MISMATCH, running_version)
    if not boots:
        return Decision(ActivateImageResponseCode.ACTIVATION_FAILURE, running_version)
    return Decision(ActivateImageResponseCode.SUCCESS, held.file_version)
