"""What a device's flash holds of its upgrade files, and whether they are any good."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ota.client_settings import Identity, StoredDownload
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import Image, ImageFormatError, ImageKey


class Flash:
    """Room for the file that is being taken, filled from its first octet on, and for those set aside."""

    def __init__(self, stored: StoredDownload | None, aside: Sequence[StoredDownload]) -> None:
        self._key: ImageKey | None = None if stored is None else stored.key
        self.size = 0 if stored is None else stored.size
        """Of the whole file, in octets."""
        self.data = bytearray() if stored is None else bytearray(stored.data)
        """What is there so far: append to it, and nothing else."""
        self.aside = tuple(aside)
        """Whole files that wait for others, the oldest first."""

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
        """A copy of it, for whoever keeps it over a power cut."""
        return None if self._key is None else StoredDownload(self._key, self.size, bytes(self.data))

    @property
    def is_whole(self) -> bool:
        """Whether a file is there and nothing of it is missing."""
        return self._key is not None and len(self.data) == self.size

    @property
    def files(self) -> tuple[StoredDownload, ...]:
        """Every whole file, the oldest first."""
        newest = self.stored if self.is_whole else None
        return self.aside if newest is None else (*self.aside, newest)

    @property
    def keys(self) -> tuple[ImageKey, ...]:
        """What names the files that are whole, the oldest first."""
        aside = tuple(file.key for file in self.aside)
        return (*aside, self.key) if self.is_whole else aside

    def make_room(self, key: ImageKey, size: int) -> None:
        """Prepare for this image: what is there of it already stays, anything else but files aside goes."""
        if (key, size) != (self._key, self.size) or len(self.data) >= size:
            self.drop()
            self._key, self.size = key, size

    def set_aside(self) -> None:
        """Keep the whole file until others are there."""
        self.aside = self.files
        self.drop()

    def drop(self) -> None:
        """Let go of the file that is being taken."""
        self._key, self.size = None, 0
        self.data = bytearray()

    def keep_only(self, identity: Identity) -> None:
        """Let go of files that a device of this identity has no use for: it was another when they came."""
        if self._key is not None and not identity.has_use_for(self._key):
            self.drop()
        self.aside = tuple(file for file in self.aside if identity.has_use_for(file.key))
        if len(self.aside) > len(identity.parts):
            self.aside = ()  # then none would be missing, and one always is

    def erase(self) -> None:
        """Hold nothing."""
        self.aside = ()
        self.drop()

    def fault(self, address: Eui64 | None, verify: Callable[[bytes], bool] | None) -> str | None:
        """What is wrong with the whole file, by its header and by the device's own check; None if nothing.

        A file for one device alone is good for the one with that ``address``.
        """
        data = bytes(self.data)
        try:
            header = Image.read(data).header
        except ImageFormatError as error:
            return str(error)
        if header.key != self._key:
            return f"the file is {header.key}, not the image that was named"
        if header.destination is not None and address is not None and header.destination != address:
            return f"the file is for {header.destination} alone"
        if verify is not None and not verify(data):
            return "the device's own check failed"
        return None
