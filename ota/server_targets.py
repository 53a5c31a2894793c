"""Whom the hub has images for, and how far it has come with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ota.errors import OurError
from ota.eui64 import Eui64
from ota.image import ImageKey
from ota.server_settings import Activation, Offer
from ota.server_states import Signal, State, after


@dataclass(slots=True, eq=False)
class Target:
    """How far one device has come with one image."""

    peer: Eui64
    offer: Offer
    key: ImageKey
    notify_gap: float
    has_begun: bool
    """What it has of the image is of this very file, as far as anybody knows."""
    state: State = State.OFFERED
    due: float | None = None
    """When to remind it, to let it take its time no longer, or to call it stalled. Set by `Targets.wake`."""
    heard: float = 0.0
    """When it asked for octets last. Apart from ``due``, which does not move with every block."""
    notified: int = 0
    aborts: int = 0
    """Since the last progress."""
    refusals: int = 0
    """How often it found invalid what it had taken whole."""
    furthest: int = -1
    """The highest offset asked for."""
    offset: int = 0
    """Of the block asked for last."""
    owes_abort: bool = False
    """The user ended it in mid-download, and it has not been told yet."""
    released: bool = False
    """Activated by us: an Upgrade End Request asked again is answered "now"."""

    @property
    def image_id(self) -> str:
        """The file's SHA-256 in hex."""
        return self.offer.image_id

    @property
    def activation(self) -> Activation:
        """What it does once it has the image."""
        return self.offer.activation

    @property
    def upgrade_at(self) -> float | None:
        """When it may upgrade at the earliest."""
        return self.offer.upgrade_at

    @property
    def asked(self) -> int | None:
        """The highest offset asked for; None: it asked for nothing."""
        return None if self.furthest < 0 else self.furthest

    def move(self, signal: Signal) -> None:
        """Follow a signal. Raises OurError for one that cannot happen where it stands."""
        self.state = after(self.state, signal)


@dataclass(slots=True)
class Farewell:
    """What is remembered of a target of a withdrawn image (not its octets)."""

    activation: Activation
    upgrade_at: float | None
    held: bool
    """It had the whole image: it goes on waiting for its activation."""
    owed: bool
    """It was in mid-download and has not been told yet."""
    released: bool = False


class Targets:
    """The targets of all offers, in the order in which they came."""

    def __init__(self, notify_every: float) -> None:
        self._notify_every = notify_every
        self._of: dict[Eui64, dict[ImageKey, Target]] = {}
        self._farewells: dict[Eui64, dict[ImageKey, Farewell]] = {}
        self._earliest: float | None = None
        self._is_stale = False

    def __iter__(self) -> Iterator[Target]:
        for targets in self._of.values():
            yield from targets.values()

    def find(self, peer: Eui64, key: ImageKey) -> Target | None:
        """This device with this image, if it is on offer to it."""
        targets = self._of.get(peer)
        return None if targets is None else targets.get(key)

    def of(self, peer: Eui64, *states: State) -> list[Target]:
        """This device with all that is on offer to it; in these states only, if any are given."""
        return [each for each in self._of.get(peer, {}).values() if not states or each.state in states]

    def farewell(self, peer: Eui64, key: ImageKey) -> Farewell | None:
        """What is left of a withdrawn image."""
        return self._farewells.get(peer, {}).get(key)

    def held(self, peer: Eui64) -> list[tuple[ImageKey, Target | Farewell]]:
        """The images that this device has reported as complete, withdrawn ones too."""
        held: list[tuple[ImageKey, Target | Farewell]] = [
            (each.key, each) for each in self.of(peer, State.DONE)
        ]
        return held + [(key, gone) for key, gone in self._farewells.get(peer, {}).items() if gone.held]

    def add(self, offer: Offer) -> list[Target]:
        """Add an offer's targets; gives those that start afresh: not those with which it is under way.

        Raises:
            OurError: if another file with the same three numbers is on offer to one of them. Nothing changed.
        """
        key, peers = offer.header.key, sorted(offer.targets)
        for peer in peers:
            rival = self.find(peer, key)
            if rival is not None and rival.image_id != offer.image_id:
                raise OurError(f"another file is on offer to {peer} as {key}: withdraw it first")
        fresh = []
        for peer in peers:
            target = self.find(peer, key)
            if target is not None and target.state not in (State.DONE, State.BARRED):
                target.offer = offer
                continue
            has_begun = offer.begun is None or peer in offer.begun
            target = Target(peer, offer, key, self._notify_every, has_begun)
            self._of.setdefault(peer, {})[key] = target
            self._farewells.get(peer, {}).pop(key, None)
            fresh.append(target)
        return fresh

    def withdraw(self, image_id: str) -> list[Target]:
        """Forget all but the farewells of an image; gives its targets."""
        gone = [each for each in self if each.image_id == image_id]
        for target in gone:
            del self._of[target.peer][target.key]
            self._farewells.setdefault(target.peer, {})[target.key] = Farewell(
                target.offer.activation,
                target.offer.upgrade_at,
                held=target.state is State.DONE,
                owed=target.state not in (State.DONE, State.BARRED) and target.furthest >= 0,
                released=target.released,
            )
        self._is_stale = True
        return gone

    def wake(self, target: Target, due: float | None) -> None:
        """From now on something is due for this target then, and not before; None: nothing."""
        target.due = due
        self._is_stale = True

    def timer(self) -> float | None:
        """When the first of them is due."""
        if self._is_stale:
            self._is_stale = False
            self._earliest = min((each.due for each in self if each.due is not None), default=None)
        return self._earliest
