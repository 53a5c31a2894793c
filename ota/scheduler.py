"""Who is served when: turns, paces, floods and the air. Pure, and it knows no command.

Whoever downloads alone is never held up. With several of them:

- so many at a time as the settings say; the others wait for their turn, first come, first served;
- a client with a pace keeps its distance between two requests: it is told so if it can be, else its answers
  are held back;
- a client that asks without end is answered now and then;
- and the radio of the hub stays within its air time per hour.

All those being served share the air evenly because each of them has one frame in the dongle at a time:
whoever asks for blocks one by one by nature, whoever asks for pages as `Scheduler.page_window` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ota.eui64 import Eui64
from ota.pacing import AirBudget, block_air_time
from ota.server_events import AirSpent, BlockPeriodFound, Event, Flooding, Paced
from ota.server_settings import DeviceSettings, ServerSettings


@dataclass(frozen=True, slots=True)
class Wait:
    """Tell the client to ask again in so many seconds, and to keep this block period, in its own unit."""

    seconds: float
    period: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Answer the request then, and not before."""

    until: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Do not answer: it asks so often that one answer of many will do."""


DROP: Final = Drop()

Verdict = Wait | Hold | Drop | None
"""What to do with a request; None: answer it."""


class Scheduler:
    """Decides for each request whether it is answered now.

    Args:
        settings: the server's.
        tell: takes the events.
    """

    def __init__(self, settings: ServerSettings, tell: Callable[[Event], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._turns = Turns(settings.downloads_at_once, settings.turn_wait)
        self._paces: dict[Eui64, Pace] = {}
        self._askers: dict[Eui64, _Asker] = {}
        self._budget = None if settings.air_time_per_hour is None else AirBudget(settings.air_time_per_hour)
        self._is_spent = False

    @property
    def page_window(self) -> int:
        """How many blocks of one page may be in the dongle at a time."""
        return self._settings.page_window if self._turns.being_served <= 1 else 1

    def configure(self, peer: Eui64, settings: DeviceSettings) -> None:
        """From now on keep this client to its own pace, or to none."""
        period = settings.minimum_block_period
        if period is not None or peer in self._paces:
            unit = None if settings.block_period_unit == "probe" else settings.block_period_unit
            known = self._paces.get(peer)
            self._paces[peer] = Pace(period or 0.0, unit or (None if known is None else known.unit))

    def turn(self, peer: Eui64, now: float) -> Wait | None:
        """Whether this client may download now, or when it is to ask again."""
        wait = self._turns.take(peer, now)
        return None if wait is None else Wait(wait)

    def leave(self, peer: Eui64) -> None:
        """This client downloads no more, or rests: somebody else's turn."""
        self._turns.leave(peer)

    def octets(self, peer: Eui64, reported: int | None, now: float) -> Verdict:
        """What to do with a request for octets of a client whose turn it is.

        ``reported``: the minimum block period that the client says it keeps.
        """
        asker = self._askers.get(peer)
        if asker is None:
            asker = self._asker(peer)
        if now - asker.since >= 1.0:
            asker.since, asker.asked = now, 0
        asker.asked += 1
        if asker.asked > self._settings.requests_per_second:
            return self._flood(peer, asker, "requests for octets", now)
        if self._budget is not None and (wait := self.air_wait(now)):
            return Wait(wait)
        pace = self._paces.get(peer)
        return None if pace is None else self._paced(peer, pace, reported, now)

    def repeated(self, peer: Eui64, now: float) -> Verdict:
        """What to do with a request for the octets that the client was given last."""
        asker = self._askers.get(peer) or self._asker(peer)
        if asker.repeats.take(now):
            return self._flood(peer, asker, "requests for the same octets", now)
        return None

    def query(self, peer: Eui64, now: float) -> Verdict:
        """What to do with a client's question for the next image."""
        asker = self._askers.get(peer) or self._asker(peer)
        wait = asker.queries.take(now)
        if not wait:
            return None
        self._say_flood(peer, asker, "queries", now)
        return Hold(now + wait)

    def held(self, peer: Eui64, now: float) -> None:
        """A request that was held is being answered now."""
        pace = self._paces.get(peer)
        if pace is not None:
            pace.last = now

    def page_period(self, peer: Eui64) -> float:
        """The least time between two blocks of a page for this client, in seconds."""
        pace = self._paces.get(peer)
        return self._settings.page_spacing if pace is None else max(pace.period, self._settings.page_spacing)

    def spent(self, size: int, *, acknowledged: bool, asked: bool, now: float) -> None:
        """A block of so many octets goes out."""
        if self._budget is not None:
            air_time = block_air_time(size, phy=self._settings.phy, acknowledged=acknowledged, asked=asked)
            self._budget.spend(air_time, now)

    def air_wait(self, now: float) -> float:
        """Seconds until the hub's radio may go on to send blocks; 0: now."""
        wait = 0.0 if self._budget is None else self._budget.wait(now)
        if bool(wait) is not self._is_spent:
            self._is_spent = bool(wait)
            if wait:
                self._tell(AirSpent(wait))
        return wait

    def _asker(self, peer: Eui64) -> _Asker:
        settings = self._settings
        return self._askers.setdefault(
            peer,
            _Asker(
                Allowance(settings.queries_per_minute, 60.0),
                Allowance(settings.repeats_per_minute, 60.0),
            ),
        )

    def _paced(self, peer: Eui64, pace: Pace, reported: int | None, now: float) -> Verdict:
        unit, told = pace.unit, pace.told
        verdict = pace.asked(reported, now)
        if pace.unit is not None and unit is None:
            self._tell(BlockPeriodFound(peer, pace.unit))
        if pace.told > told and told == 0:
            self._tell(Paced(peer, pace.period))
        return verdict

    def _flood(self, peer: Eui64, asker: _Asker, what: str, now: float) -> Verdict:
        """One WAIT_FOR_DATA a second, and silence for the rest."""
        self._say_flood(peer, asker, what, now)
        if now < asker.quiet_until:
            return DROP
        asker.quiet_until = now + 1.0
        return Wait(self._settings.flood_wait)

    def _say_flood(self, peer: Eui64, asker: _Asker, what: str, now: float) -> None:
        if now >= asker.told_until:
            self._tell(Flooding(peer, what))
        asker.told_until = now + 60.0


@dataclass(slots=True)
class _Asker:
    """How often one client has been asking."""

    queries: Allowance
    repeats: Allowance
    since: float = -math.inf
    asked: int = 0
    quiet_until: float = -math.inf
    told_until: float = -math.inf


class Allowance:
    """So many at once, and then so many in each ``seconds``."""

    def __init__(self, many: int, seconds: float) -> None:
        self._gap = seconds / many
        self._slack = seconds - self._gap + 1e-9  # sums of gaps are not exact
        self._next = -math.inf

    def take(self, now: float) -> float:
        """Take one: 0. Or, with none left, the seconds until there is one; nothing is taken."""
        free_at = max(self._next, now)
        if free_at - now > self._slack:
            return free_at - now - self._slack
        self._next = free_at + self._gap
        return 0.0


class Turns:
    """Who downloads, and who waits for a turn.

    Args:
        limit: how many may download at a time; None: all.
        wait: seconds until somebody who waits asks again. Who stays away twice as long has lost its place.
    """

    def __init__(self, limit: int | None, wait: float) -> None:
        self._limit = limit
        self._wait = wait
        self._served: dict[Eui64, None] = {}
        self._waiting: dict[Eui64, float] = {}  # in the order of their first asking; until when it is kept

    @property
    def being_served(self) -> int:
        """How many download."""
        return len(self._served)

    def take(self, peer: Eui64, now: float) -> float | None:
        """Take a turn, None; or wait for so many seconds, and ask again."""
        if peer in self._served:
            return None
        if self._limit is not None:
            for other in [other for other, until in self._waiting.items() if until < now]:
                del self._waiting[other]
            place = next((at for at, other in enumerate(self._waiting) if other == peer), len(self._waiting))
            if place >= self._limit - len(self._served):
                self._waiting[peer] = now + 2 * self._wait
                return self._wait
        self._waiting.pop(peer, None)
        self._served[peer] = None
        return None

    def leave(self, peer: Eui64) -> None:
        """Download no more, and wait no more."""
        self._served.pop(peer, None)
        self._waiting.pop(peer, None)


class Pace:
    """The least time between two requests of one client, and how it is brought about.

    A client that reports its minimum block period (attribute 0x0009) is told another one. Whether it counts
    milliseconds or seconds depends on its cluster revision. Where nobody knows, it is told to keep a period
    of 2 and timed: with 2 ms it asks at once, with 2 s it does not. Whoever reports none, or keeps to none,
    has its answers held back.

    Args:
        period: seconds; 0 ends a pace that the client has been told before.
        unit: "ms" or "s"; None: find out.
    """

    _TRIAL = 2
    _TRIALS = 3
    _TELLINGS = 3
    _HOLD_AT_MOST = 1.0
    """Longer than so a client may lose patience with an answer, so it is told to wait instead."""
    _SLACK = 0.002

    def __init__(self, period: float, unit: str | None) -> None:
        self.period = period
        self.unit = unit
        self.told = 0
        self.last = -math.inf
        """When the client was answered last."""
        self._trials = 0
        self._tried_at: float | None = None

    def asked(self, reported: int | None, now: float) -> Verdict:
        """What to do with its request for octets."""
        verdict = None if reported is None else self._tell(reported, now)
        if verdict is None:
            due = self.last + self.period
            if due - now > self._HOLD_AT_MOST:
                return Wait(math.ceil(due - now), reported)
            if due - now > self._SLACK:
                return Hold(due)
        self.last = now
        return verdict

    def _tell(self, reported: int, now: float) -> Wait | None:
        """Bring the client to the right period, if it is not there and listens."""
        if self.unit is None and self.period:
            return self._try(reported, now)
        wanted = self._wanted()
        if reported == wanted or self.told == self._TELLINGS:
            return None
        self.told += 1
        return Wait(0, wanted)

    def _wanted(self) -> int:
        if self.unit == "s":
            return min(math.ceil(self.period), 0xFFFF)
        return min(round(self.period * 1000), 0xFFFF)

    def _try(self, reported: int, now: float) -> Wait | None:
        """Find out the client's unit: give it a period, and see how long it takes to come back."""
        if self._tried_at is not None and reported == self._TRIAL:
            took = now - self._tried_at
            if took < 1.0:
                self.unit = "ms"
            elif self._TRIAL - 0.1 < took < self._TRIAL + 0.9:
                self.unit = "s"
            if self.unit is not None:
                return self._tell(reported, now)
        if self._trials == self._TRIALS:
            return None
        self._trials += 1
        self._tried_at = now
        return Wait(0, self._TRIAL)
