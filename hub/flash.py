"""The hub's flash: its memory and the image in each slot, safe against power loss at any instant.

* ``memory.json`` is replaced whole: written beside, synchronised, renamed. It carries a checksum.
* ``<image id>.part`` grows while an image arrives. Its octets are synchronised before the memory says that
  they are there, and the memory carries the hash of them, so an arrival goes on exactly where it is safe.
* ``<image id>.ota`` appears by one rename when the last octet is safe and the hash of the whole is right:
  an image is there whole or not at all.

An image is in one slot or in none, so a file's name need not say which. A file that nothing refers to is what
a power cut left over; opening the flash removes it.
"""

from __future__ import annotations

import errno
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec

from hub import memory as memories
from hub.disk import Disk
from hub.errors import OurError, SurroundingsError
from hub.memory import Arrival, Kept, Memory
from hub.slot import Held, SlotName, Stage

P = ParamSpec("P")
R = TypeVar("R")

MEMORY: Final = "memory.json"
BESIDE: Final = "memory.new"
_AFRESH: Final = "restore it from a copy, or remove it and admit the devices again"


class FlashError(SurroundingsError):
    """The disk refuses, or what lies on it is not what we wrote."""


class ImageDamagedError(FlashError):
    """A stored image is not there any more, or has other octets than it had: it cannot be served."""


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in ``memory.json``."""

    sha256: str
    memory: msgspec.Raw


@dataclass(slots=True)
class _Growing:
    """How far the image of one slot has arrived."""

    received: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def take(self, data: bytes) -> None:
        self.hash.update(data)
        self.received += len(data)


def _translated(
    method: Callable[Concatenate[Flash, P], R],
) -> Callable[Concatenate[Flash, P], R]:
    """Let a disk's refusal out as FlashError, and tell whoever watches over the flash."""

    @functools.wraps(method)
    def translating(flash: Flash, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(flash, *args, **kwargs)
        except OSError as error:
            refusal = FlashError(f"the state directory cannot be used: {error}; {_remedy(error)}")
            flash.on_refusal(refusal)
            raise refusal from error

    return translating


class Flash:
    """Memory and images on a disk. Opening it brings it into a consistent state.

    Raises:
        FlashError: if the disk refuses, or its memory is damaged, which no power cut does.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.on_refusal: Callable[[FlashError], None] = _nobody_watches
        """Told before a refusal is raised: where it is raised in a callback, nobody may catch it."""
        self._memory = self._load()
        self._growing = {name: _Growing() for name in SlotName}
        self._settle()

    @property
    def memory(self) -> Memory:
        """What is kept."""
        return self._memory

    def received(self, slot: SlotName) -> int:
        """Octets of the slot's arriving image that are safe."""
        return self._growing[slot].received

    def free(self) -> int | None:
        """Octets that the disk still takes; None if it does not tell. Nothing fails for that."""
        try:
            return self._disk.free()
        except OSError:
            return None

    @_translated
    def keep(self, memory: Memory) -> None:
        """Replace the memory; safe when this returns. An unchanged memory costs nothing."""
        if memory == self._memory:
            return
        raw = memories.to_bytes(memory)
        sealed = _Sealed(sha256=hashlib.sha256(raw).hexdigest(), memory=msgspec.Raw(raw))
        self._disk.write(BESIDE, msgspec.json.encode(sealed))
        self._disk.sync(BESIDE)
        self._disk.rename(BESIDE, MEMORY)
        self._disk.sync_names()
        self._memory = memory

    def change(self, **changes: object) -> None:
        """Keep the memory with these fields changed."""
        self.keep(msgspec.structs.replace(self._memory, **changes))

    @_translated
    def begin(self, slot: SlotName, memory: Memory) -> None:
        """Keep a memory whose held image now starts to arrive; a former image of the slot goes."""
        kept = memory.slot(slot)
        rivals = [other.image_id for _, other in memory.holding() if other is not kept.held]
        if kept.held is not None and kept.held.image_id in rivals:
            raise OurError(f"image {kept.held.image_id} lies in another slot: it has one place")
        self.keep(memory.with_slot(slot, msgspec.structs.replace(kept, arrival=Arrival())))
        self._growing[slot] = _Growing()
        self._sweep()

    @_translated
    def append(self, slot: SlotName, offset: int, data: bytes) -> int:
        """Add the next octets of the arriving image; safe when this returns. Gives how many are there now."""
        held, growing = self._held(slot), self._growing[slot]
        if held is None or held.stage is not Stage.ARRIVING or offset != growing.received:
            raise OurError(f"octets from {offset} do not follow the {growing.received} that have arrived")
        name = _part(held.image_id)
        self._disk.write_at(name, offset, data)
        self._disk.sync(name)
        if offset == 0:
            self._disk.sync_names()
        growing.take(data)
        self._note(slot, Arrival(received=growing.received, prefix_sha256=growing.hash.hexdigest()))
        return growing.received

    @_translated
    def arrived_image(self, slot: SlotName) -> bytes:
        """All octets of the arriving image, for checking before it is stored."""
        held = self._held(slot)
        data = None if held is None else self._disk.read(_part(held.image_id))
        if data is None:
            raise OurError("no image is arriving")
        return data

    def is_whole(self, slot: SlotName) -> bool:
        """Whether all octets have arrived and their hash is the image's id."""
        held, growing = self._held(slot), self._growing[slot]
        return (
            held is not None and growing.received == held.size and growing.hash.hexdigest() == held.image_id
        )

    @_translated
    def store(self, slot: SlotName, memory: Memory) -> None:
        """Turn the whole arrival into the stored image and keep the memory that says so."""
        held = self._held(slot)
        if not self.is_whole(slot) or held is None:
            raise OurError("the image is not whole: it cannot be stored")
        self._disk.rename(_part(held.image_id), _whole(held.image_id))
        self._disk.sync_names()
        # A power cut here leaves a whole file and a memory that says "arriving": _settle knows that case.
        self.keep(memory.with_slot(slot, msgspec.structs.replace(memory.slot(slot), arrival=None)))

    @_translated
    def image(self, slot: SlotName) -> bytes | None:
        """The slot's stored image, if one is stored."""
        held = self._held(slot)
        if held is None or held.stage is not Stage.STORED or held.is_in_memory:
            return None
        data = self._disk.read(_whole(held.image_id))
        if data is None or hashlib.sha256(data).hexdigest() != held.image_id:
            raise ImageDamagedError(
                f"the stored image {held.image_id[:12]} is damaged on the flash: offer it again"
            )
        return data

    @_translated
    def release(self, memory: Memory) -> None:
        """Keep a memory that says of a stored image that it is in memory now, then remove its file."""
        self.keep(memory)
        self._sweep()

    @_translated
    def clear(self, slot: SlotName, memory: Memory) -> None:
        """Keep a memory without an image in this slot, then remove the image's file."""
        self.keep(memory.with_slot(slot, Kept()))
        self._growing[slot] = _Growing()
        self._sweep()

    @_translated
    def _load(self) -> Memory:
        raw = self._disk.read(MEMORY)
        if raw is None:
            return Memory()
        try:
            sealed = msgspec.json.decode(raw, type=_Sealed)
            if hashlib.sha256(sealed.memory).hexdigest() != sealed.sha256:
                raise FlashError(f"{MEMORY} in the state directory fails its checksum: {_AFRESH}")
            return memories.from_bytes(bytes(sealed.memory))
        except (msgspec.DecodeError, ValueError) as error:
            raise FlashError(
                f"{MEMORY} in the state directory cannot be read ({error}): {_AFRESH}"
            ) from error

    @_translated
    def _settle(self) -> None:
        """Finish or undo what a power cut interrupted."""
        for slot in SlotName:
            held = self._held(slot)
            if held is None or held.stage is not Stage.ARRIVING:
                continue
            if (
                self._disk.read(_part(held.image_id)) is None
                and self._disk.read(_whole(held.image_id)) is not None
            ):
                # Cut off inside ``store``: back to "arriving, all there", and the owner stores it again.
                self._disk.rename(_whole(held.image_id), _part(held.image_id))
                self._disk.sync_names()
            self._resume(slot, held.image_id, self._memory.slot(slot).arrival or Arrival())
        self._sweep()

    def _resume(self, slot: SlotName, image_id: str, arrival: Arrival) -> None:
        """Go on after the octets that the memory vouches for; start afresh if they are not what they were."""
        prefix = (self._disk.read(_part(image_id)) or b"")[: arrival.received]
        found = _Growing()
        found.take(prefix)
        if found.received == arrival.received and (
            not prefix or found.hash.hexdigest() == arrival.prefix_sha256
        ):
            self._growing[slot] = found
        else:
            self._note(slot, Arrival())

    def _note(self, slot: SlotName, arrival: Arrival) -> None:
        kept = msgspec.structs.replace(self._memory.slot(slot), arrival=arrival)
        self.keep(self._memory.with_slot(slot, kept))

    def _held(self, slot: SlotName) -> Held | None:
        return self._memory.slot(slot).held

    def _sweep(self) -> None:
        """Remove every file that the memory does not refer to."""
        wanted = {MEMORY}
        for _, held in self._memory.holding():
            if held.is_in_memory:
                continue
            wanted.add(_whole(held.image_id) if held.stage is Stage.STORED else _part(held.image_id))
        ours = [name for name in self._disk.names() if name.endswith((".part", ".ota", ".new"))]
        leftovers = [name for name in ours if name not in wanted]
        for name in leftovers:
            self._disk.remove(name)
        if leftovers:
            self._disk.sync_names()


def _remedy(error: OSError) -> str:
    """What to do about a disk that refuses; nothing that was kept is lost meanwhile."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "free some space there, or raise the limit, and start the hub again"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "let the user who runs the hub read and write there, and start it again"
    if error.errno in {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY}:
        return "move away what has taken that file's place, and start the hub again"
    return "mend the disk, and start the hub again"


def _nobody_watches(refusal: FlashError) -> None:
    del refusal


def _part(image_id: str) -> str:
    return f"{image_id}.part"


def _whole(image_id: str) -> str:
    return f"{image_id}.ota"
