"""What a device's flash holds of an upgrade file, and whether that is any good."""

from __future__ import annotations

from collections.abc import Callable

from ota.client_settings import StoredDownload
from ota.errors import OurError
from ota.image import Image, ImageFormatError, ImageKey


class Flash:
    """Room for one file, filled from its first octet on."""

    def __init__(self, stored: StoredDownload | None) -> None:
        self._key: ImageKey | None = None if stored is None else stored.key
        self.size = 0 if stored is None else stored.size
        """Of the whole file, in octets."""
        self.data = bytearray() if stored is None else bytearray(stored.data)
        """What is there so far: append to it, and nothing else."""

    @property
    def holds(self) -> ImageKey | None:
        """Which image it is for, in part or whole; None if it is for none."""
        return self._key

    @property
    def key(self) -> ImageKey:
        """Which image it is for. Raises OurError if it is for none."""
        if self._key is None:
            raise OurError("no image is being taken")
        return self._key

    @property
    def stored(self) -> StoredDownload | None:
        """A copy of it all, for whoever keeps it over a power cut."""
        return None if self._key is None else StoredDownload(self._key, self.size, bytes(self.data))

    @property
    def is_whole(self) -> bool:
        """Whether a file is there and nothing of it is missing."""
        return self._key is not None and len(self.data) == self.size

    def make_room(self, key: ImageKey, size: int) -> None:
        """Prepare for this image: what is there of it already stays, anything else goes."""
        if (key, size) != (self._key, self.size) or len(self.data) >= size:
            self.erase()
            self._key, self.size = key, size

    def erase(self) -> None:
        """Hold nothing."""
        self._key, self.size = None, 0
        self.data = bytearray()

    def fault(self, verify: Callable[[bytes], bool] | None) -> str | None:
        """What is wrong with the whole file, by its header and by the device's own check; None if nothing."""
        data = bytes(self.data)
        try:
            header = Image.read(data).header
        except ImageFormatError as error:
            return str(error)
        if header.key != self._key:
            return f"the file is {header.key}, not the image that was named"
        if verify is not None and not verify(data):
            return "the device's own check failed"
        return None
