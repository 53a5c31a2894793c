"""What the hub answers for, as a state machine: anything may be asked, and power and clock obey nobody.

The model knows the promises and none of the code's ways. It looks at what is held before and after each step,
asks whether that step may do this, and keeps the ledger of what every target was to be told.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hub_faulty_disk import FaultyDisk, PowerCutError
from hub_world import ESME, GSME, HCALCS, HUB, KINDS, OTHER, PPMID, image_for, image_id
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from han.errors import TheirError
from han.facts import Facts
from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import activate_firmware, firmware_activated, future_dated_alert, payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from hub import messages
from hub.activation import Activation, TooBusy
from hub.alerts import failed, hardware_mismatch, transferred
from hub.correspondence import Letter
from hub.custody import Custody
from hub.flash import Flash
from hub.limits import Limits
from hub.memory import KnownDevice
from hub.messages import ActivateRequest, Alert, Envelopes, ImageChunk, ImageOffer, Target, decode
from hub.reckoning import Moment
from hub.slot import (
    DAY,
    MINIMUM_RETENTION,
    SLOT_TYPES,
    WITHDRAWN_RETENTION,
    Accepted,
    DeleteWhen,
    Fate,
    Held,
    Joined,
    KeepTheWaiting,
    LatestWins,
    Refused,
    SlotName,
    SlotSettings,
    Stage,
)
from hub.steady import SteadySettings
from ota.eui64 import Eui64

CAPACITY = 700
EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
TOLERANCE = 5.0
LIMITS = Limits(alerts_waiting=512)
HOUR = 3600.0


class File:
    """An upgrade file, and what it says at its end."""

    def __init__(self, kind: str, version: int, size: int, force: int = 0) -> None:
        self.kind, self.says_force = kind, force == 1
        self.data = image_for(kind, version, size, force_replace=force)
        self.id = image_id(self.data)


FILES = [
    *(File(kind, version, 300) for kind in ("PPMID", "HCALCS", "GSME", "ESME") for version in (2, 3)),
    *(File(kind, 4, 300, force=1) for kind in ("HCALCS", "GSME", "ESME")),
    File("PPMID", 5, CAPACITY),
]
BY_ID = {each.id: each for each in FILES}
DEVICES = {"PPMID": (PPMID, OTHER), "HCALCS": (HCALCS,), "GSME": (GSME,), "ESME": (ESME,)}
SLOT_OF = {kind: slot for slot, kinds in SLOT_TYPES.items() for kind in kinds}
REPORTS = [transferred(), hardware_mismatch("the hardware"), failed("aborted by the user")]
POLICIES = st.builds(
    SlotSettings,
    capacity=st.just(CAPACITY),
    retention=st.just(MINIMUM_RETENTION),
    delete_when=st.sampled_from(DeleteWhen),
    equal_priority=st.sampled_from([KeepTheWaiting(), LatestWins()]),
    honours_force_replace=st.booleans(),
) | st.just(SlotSettings(capacity=CAPACITY, retention=WITHDRAWN_RETENTION, then_in_memory=True))


def is_gas(held: Held) -> bool:
    return any(each.device_type == "GSME" for each in held.assignments)


class Post:
    """Where commands for devices are put, until somebody delivers them."""

    def __init__(self) -> None:
        self.listeners = {}
        self.waiting = []

    def listen(self, kind, listener) -> None:
        self.listeners[kind] = listener

    def deliver(self, device, message, delivered=None) -> None:
        self.waiting.append((device, message, delivered))

    def withdraw(self, device, message) -> None:
        self.waiting = [each for each in self.waiting if each[:2] != (device, message)]

    def forget(self, device) -> None:
        self.waiting = [each for each in self.waiting if each[0] != device]


@dataclass(frozen=True)
class Asked:
    """A CS06 command that the hub has taken."""

    request: ActivateRequest
    device: Eui64
    counter: int
    when: str

    @property
    def command(self) -> Envelope:
        return Envelope.parse(bytes.fromhex(self.request.gbcs))


class CustodyMachine(RuleBasedStateMachine):
    """Offers, arrivals, downloads, activations, power, clock: see the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.true = 0.0  # seconds that have really passed
        self.set_by = 0.0  # by how much the clock is wrong
        self.booted = 0.0
        self.uncounted = 0.0  # that may not have counted: off, with a clock that went back
        self.kept_at = 0.0  # when the last steady second was kept
        self.disk = FaultyDisk(random.Random(1))
        self.requests = 0
        self.offers: list[ImageOffer] = []
        self.ends: dict[SlotName, float] = {}  # of the retention, in true seconds
        self.owed: dict[tuple[str, str, str], int] = {}  # image, request, device: what it is to be told
        self.told: Counter[str] = Counter()  # alerts by id, at the far end
        self.known: dict[str, Alert] = {}
        self.counter = 0
        self.asked: list[Asked] = []  # every command that was ever taken
        self.pending: dict[str, Asked] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()  # what was to be told of which request

    @initialize(settings=POLICIES)
    def begin_life(self, settings: SlotSettings) -> None:
        self.settings = settings
        self.open()
        devices = tuple(KnownDevice(eui64=each, device_type=KINDS[each]) for each in KINDS)
        self.custody.change(hub=HUB, devices=devices)

    # --- the surroundings ---

    def utc(self) -> datetime:
        return EPOCH + timedelta(seconds=self.true + self.set_by)

    def open(self) -> None:
        numbers = iter(range(10**9))
        self.booted = self.true
        self.uncounted += self.true - self.kept_at
        self.custody = Custody(
            Flash(self.disk),
            self.settings,
            limits=LIMITS,
            steady=SteadySettings(),
            predates_secmp0007=False,
            hub=HUB,
            facts=Facts(lambda: self.true),
            envelopes=Envelopes(self.utc, lambda: f"id-{self.true}-{next(numbers)}"),
            now=lambda: Moment(self.true - self.booted, self.utc()),
        )
        self.post = Post()
        self.activation = Activation(
            self.custody,
            self.post,
            hub=HUB,
            facts=Facts(lambda: self.true),
            envelopes=Envelopes(self.utc, lambda: f"id-{self.true}-{next(numbers)}"),
            now=lambda: Moment(self.true - self.booted, self.utc()),
            owed=lambda: None,
            version=lambda *_: None,
        )
        self.activation.resume()

    def do(self, act, *, candidate: ImageOffer | None = None):
        """Do something; the power may go under it. Then judge what has become of the slots."""
        before = self.slots()
        steady = self.custody.memory.steady
        result = None
        try:
            result = act()
        except PowerCutError:
            self.come_back()
        if self.custody.memory.steady != steady:
            self.kept_at = self.true
        self.judge(before, candidate)
        return result

    def come_back(self, off: float = 1.0) -> None:
        """Power returns, perhaps to be lost again at once."""
        self.true += off
        self.disk.power_back()
        self.open()

    def slots(self) -> dict[SlotName, Held]:
        held = {each.image_id: each for each in self.custody.images()}
        return {SLOT_OF[each.assignments[0].device_type]: each for each in held.values()}

    # --- the model ---

    def judge(self, before: dict[SlotName, Held], candidate: ImageOffer | None) -> None:
        after = self.slots()
        for slot in SlotName:
            old, new = before.get(slot), after.get(slot)
            stays = old is not None and new is not None and old.image_id == new.image_id
            if old is not None and not stays:
                self.may_go(slot, old, candidate)
                for each in old.unfinished:
                    self.owe(old, each, 1)
            if stays:
                assert (new.size, new.force_replace) == (old.size, old.force_replace)
                self.follow(old, new)
            self.note_retention(slot, old if stays else None, new)

    def may_go(self, slot: SlotName, old: Held, candidate: ImageOffer | None) -> None:
        """Whether an image may leave its slot now, and for this."""
        if not old.unfinished or not self.is_promised(slot):
            return
        if old.stage is Stage.ARRIVING and (candidate is None or candidate.image_id == old.image_id):
            assert not self.arrives_well(old), "a good image was refused at its arrival"
            return
        assert candidate is not None, "a needed image left though nobody wanted its place"
        gas = candidate.targets[0].device_type == "GSME"
        if is_gas(old):
            assert gas, "a gas image went for another device's"
        forced = candidate.force_replace and self.settings.honours_force_replace
        latest = isinstance(self.settings.equal_priority, LatestWins)
        assert (gas and not is_gas(old)) or forced or latest, "a needed image went for one of its own rank"

    def is_promised(self, slot: SlotName) -> bool:
        kept = self.settings.delete_when is DeleteWhen.NEVER and not self.settings.then_in_memory
        return kept or self.true < self.ends[slot] - TOLERANCE

    def arrives_well(self, held: Held) -> bool:
        return (
            held.force_replace is BY_ID[held.image_id].says_force or not self.settings.honours_force_replace
        )

    def follow(self, old: Held, new: Held) -> None:
        """What became of the targets of an image that stayed."""
        for was in old.assignments:
            now = new.assignment(was.device)
            assert now is not None, "a target was forgotten"
            if now.request_id == was.request_id:
                assert now.fate is was.fate or was.fate is Fate.WAITING, "a fate changed"

    def note_retention(self, slot: SlotName, old: Held | None, new: Held | None) -> None:
        if new is None:
            self.ends.pop(slot, None)
            return
        is_renewed = old is not None and {(each.device, each.request_id) for each in old.assignments} != {
            (each.device, each.request_id) for each in new.assignments
        }
        is_new = old is None or old.stage is not new.stage or (is_renewed and not new.is_in_memory)
        if is_new:
            self.ends[slot] = self.true + self.settings.retention
        self.uncounted = 0.0 if not self.ends else self.uncounted

    def owe(self, held: Held, to, response: int) -> None:
        key = (held.image_id, to.request_id, str(to.device))
        assert key not in self.owed, "a target's story ended twice"
        self.owed[key] = response

    # --- what may happen ---

    @rule(file=st.sampled_from(FILES), both=st.booleans(), lies=st.integers(0, 7), repeats=st.integers(0, 3))
    def offer(self, file: File, both: bool, lies: int, repeats: int) -> None:  # noqa: FBT001 - hypothesis
        if repeats == 0 and self.offers:
            self.make(self.offers[lies % len(self.offers)])
            return
        self.requests += 1
        devices = DEVICES[file.kind] if both else DEVICES[file.kind][-1:]
        self.make(
            ImageOffer(
                request_id=f"r{self.requests}",
                service_request="11.4" if file.kind == "PPMID" else "11.1",
                image_id=file.id,
                size=len(file.data),
                chunk_size=200,
                force_replace=file.says_force ^ (lies == 0),
                targets=tuple(Target(device=str(each), device_type=file.kind) for each in devices),
                id="an-offer",
                utc=self.utc(),
                seq=1,
            )
        )

    def make(self, offer: ImageOffer) -> None:
        before, was_cut = self.slots(), self.disk.steps_left is not None
        kind = offer.targets[0].device_type
        old = before.get(SLOT_OF[kind])
        ended = offer.request_id in self.custody.memory.ended
        promised = old is not None and bool(old.unfinished) and self.is_promised(SLOT_OF[kind])
        decisions = self.do(lambda: self.custody.offer(offer), candidate=offer)
        if decisions is None:
            assert was_cut
            return
        self.offers = [*self.offers[-9:], offer]
        last = decisions[-1]
        if offer.size > CAPACITY or ended or (offer.force_replace and kind == "PPMID"):
            assert isinstance(last, Refused)
        elif old is not None and old.image_id == offer.image_id:
            assert isinstance(last, Joined if old.force_replace is offer.force_replace else Refused)
        elif old is None or (kind == "GSME" and not is_gas(old)):
            assert isinstance(last, Accepted), "a gas image always gets in, and an empty slot takes any"
        elif promised and not (
            (offer.force_replace and self.settings.honours_force_replace and (kind == "GSME") >= is_gas(old))
            or (isinstance(self.settings.equal_priority, LatestWins) and (kind == "GSME") >= is_gas(old))
        ):
            assert isinstance(last, Refused)
            assert last.code == "too-busy"
        elif not old.unfinished:
            assert isinstance(last, Accepted), "an image that nobody needs holds up another"

    @rule(
        slot=st.sampled_from(SlotName), what=st.sampled_from(["next", "spoilt", "repeated", "ahead", "rest"])
    )
    def send(self, slot: SlotName, what: str) -> None:
        held = self.slots().get(slot)
        if held is None or held.stage is Stage.STORED:
            return
        data = BY_ID[held.image_id].data
        offset = self.custody.stand(held.image_id).offset
        if what == "repeated":
            offset = max(0, offset - 100)
        elif what == "ahead":
            offset += 1
        piece = data[offset:] if what == "rest" else data[offset : offset + 200]
        if not piece:
            return
        sha = hashlib.sha256(b"" if what == "spoilt" else piece).hexdigest()
        chunk = ImageChunk(
            image_id=held.image_id, offset=offset, data=piece, sha256=sha, id="c", utc=self.utc(), seq=1
        )
        self.do(lambda: self.custody.take(chunk))

    @rule(device=st.sampled_from(sorted(KINDS)), report=st.sampled_from(REPORTS))
    def conclude(self, device: Eui64, report) -> None:
        found = self.custody.held_for(device)
        if found is None or found[0].stage is not Stage.STORED:
            return
        held, assignment = found
        was_waiting = assignment.fate is Fate.WAITING
        done = self.do(lambda: self.custody.conclude(device, held.image_id, report))
        if done is None:  # the power went: either all of it has happened, or nothing
            now = self.custody.held_for(device)
            done = was_waiting and now is not None and now[1].fate is not Fate.WAITING
        else:
            assert done is was_waiting
        if done:
            self.owe(held, assignment, report.response)

    @rule(device=st.sampled_from([ESME, GSME, HCALCS]), when=st.sampled_from(["now", "dated", "cancel"]))
    def activate(self, device: Eui64, when: str) -> None:
        self.counter += 1
        at = {"now": None, "dated": EPOCH + timedelta(days=30), "cancel": CANCEL}[when]
        command = activate_firmware(device, ActivateFirmwareCommand(bytes(32), self.counter, at))
        request = ActivateRequest(
            request_id=f"a{self.counter}",
            device=str(device),
            gbcs=command.to_bytes().hex(),
            id="an-activation",
            utc=self.utc(),
            seq=1,
        )
        is_full = sum(each.device == device for each in self.pending.values()) >= LIMITS.commands_of_device
        result = self.do(lambda: self.activation.activate(request))
        assert isinstance(result, TooBusy) is is_full, "a device has its share of commands, and no more"
        if is_full:
            return
        kept = [each.request_id for each in self.custody.memory.activations]
        if result is None and request.request_id not in kept:
            return  # the power went before it was taken: nobody has said that it was
        assert result in {None, "sent"}
        asked = Asked(request, device, self.counter, when)
        self.asked.append(asked)
        self.pending[request.request_id] = asked

    @rule(index=st.integers(0, 50))
    def ask_again(self, index: int) -> None:
        if self.asked:
            again = self.asked[index % len(self.asked)].request
            known = "repeated" if again.request_id in self.pending else "ended"
            assert self.do(lambda: self.activation.activate(again)) == known

    @rule()
    def deliver_the_commands(self) -> None:
        waiting, self.post.waiting = self.post.waiting, []
        for _, _, delivered in waiting:
            self.do(delivered)

    @rule(index=st.integers(0, 50), code=st.sampled_from(ActivateImageResponseCode), accepts=st.booleans())
    def answer(self, index: int, code: ActivateImageResponseCode, accepts: bool) -> None:  # noqa: FBT001 - hypothesis
        """A device answers one of the commands that it ever got, in its time or out of it."""
        if not self.asked:
            return
        asked = self.asked[index % len(self.asked)]
        says_no_more = asked.when == "cancel" or (asked.when == "dated" and accepts)
        letter, what = self.letter(asked, None if says_no_more else ActivationOutcome(code, 2))
        listener = self.post.listeners[type(letter.said)]
        if asked.request.request_id not in self.pending:
            before = self.custody.memory
            with pytest.raises(TheirError):
                listener(letter)
            assert self.custody.memory == before
            return
        raised = self.custody.memory.raised

        def hear() -> bool:
            listener(letter)
            return True

        if self.do(hear) is None and self.custody.memory.raised == raised:
            is_kept = asked.request.request_id in {
                each.request_id for each in self.custody.memory.activations
            }
            assert is_kept, "a command is gone, and nobody is told"
            return  # the power went first, or it had been told that the device agrees
        self.outcomes[asked.request.request_id, what] = 1
        void = [
            name
            for name, each in self.pending.items()
            if each.device == asked.device and each.counter < asked.counter
        ]
        if what == "done" or asked.when == "cancel":
            void.append(asked.request.request_id)
        for name in void:
            del self.pending[name]

    def letter(self, asked: Asked, outcome: ActivationOutcome | None) -> tuple[Letter, str]:
        """What the device sends, and what it comes to."""
        if asked.when == "dated" and outcome is not None:
            is_done = outcome.response is ActivateImageResponseCode.SUCCESS
            alert_code = AlertCode.FUTURE_DATED_DONE if is_done else AlertCode.FUTURE_DATED_FAILED
            said = ActivateFirmwareAlert(alert_code, self.utc(), asked.counter, outcome)
            message = future_dated_alert(asked.device, asked.counter, said)
        else:
            message = firmware_activated(asked.command, ActivateFirmwareResponse(outcome), self.utc())
        told = Letter(asked.device, message, payload_of(message), message.to_bytes())
        return told, "accepted" if outcome is None else "done"

    @rule(device=st.sampled_from(sorted(KINDS)))
    def begin(self, device: Eui64) -> None:
        found = self.custody.held_for(device)
        if found is not None and found[0].stage is Stage.STORED:
            self.do(lambda: self.custody.begin(device, found[0].image_id))

    @rule(device=st.sampled_from(sorted(KINDS)), paused=st.booleans())
    def pause(self, device: Eui64, paused: bool) -> None:  # noqa: FBT001 - hypothesis
        self.do(lambda: self.custody.pause(device, paused=paused))

    @rule(seconds=st.sampled_from([1.0, HOUR, DAY, 6.9 * DAY, 7 * DAY, 13.9 * DAY, 14 * DAY]))
    def let_time_pass(self, seconds: float) -> None:
        self.true += seconds
        self.do(self.custody.tick)

    @rule(step=st.sampled_from([-400 * DAY, -15 * DAY, -HOUR, HOUR, 15 * DAY, 400 * DAY]))
    def set_the_clock(self, step: float) -> None:
        if step > 0:
            # Ahead in the very moment of a power cut is the same to the hub as a long time without power.
            self.disk.steps_left = None
        self.set_by += step
        self.do(self.custody.tick)

    @rule(off=st.sampled_from([1.0, HOUR, 3 * DAY]), back=st.sampled_from([0.0, 0.0, HOUR, 30 * DAY]))
    def lose_power(self, off: float, back: float) -> None:
        def fall() -> None:
            self.set_by -= back
            self.come_back(off)

        self.do(fall)

    @rule()
    def restart_in_order(self) -> None:
        self.do(self.open)

    @rule(steps=st.integers(1, 9))
    def let_power_go_soon(self, steps: int) -> None:
        self.disk.steps_left = steps

    @rule(many=st.integers(1, 3))
    def acknowledge(self, many: int) -> None:
        for each in self.custody.memory.alerts[:many]:
            self.do(lambda each=each: self.custody.acknowledged(each.id))
            if all(other.id != each.id for other in self.custody.memory.alerts):
                self.told[each.id] += 1

    # --- what always holds ---

    def alerts(self) -> list[Alert]:
        """All that was ever owed: what waits, and what was told."""
        for each in self.custody.memory.alerts:
            kind = messages.MESSAGES[each.topic.split("/", 4)[-1]]
            self.known[each.id] = decode(each.payload, kind)
        told = Counter(each.id for each in self.custody.memory.alerts) + self.told
        assert all(times == 1 for times in told.values()), "an alert twice"
        return [self.known[each] for each in told]

    @invariant()
    def every_alert_is_owed_once_and_none_is_forgotten(self) -> None:
        if not hasattr(self, "custody"):
            return
        transfers = [each for each in self.alerts() if isinstance(each, messages.FirmwareTransferAlert)]
        said = {(each.image_id, each.request_id, each.device): each.response for each in transfers}
        assert len(said) == len(transfers), "two alerts about one thing"
        assert said == self.owed, "what was told is not what was owed"

    @invariant()
    def every_activation_is_pending_or_has_one_outcome(self) -> None:
        if not hasattr(self, "custody"):
            return
        kept = [each.request_id for each in self.custody.memory.activations]
        assert sorted(kept) == sorted(self.pending), "a command was forgotten, or kept beyond its end"
        told = Counter(
            (each.request_id, "accepted" if each.response is None else "done")
            for each in self.alerts()
            if isinstance(each, messages.ActivationOutcome)
        )
        assert told == self.outcomes, "what was told of an activation is not what came of it"

    @invariant()
    def images_are_whole_and_fit_and_nothing_else_lies_about(self) -> None:
        if not hasattr(self, "custody"):
            return
        files = {"memory.json"}
        for slot, held in self.slots().items():
            assert held.size <= CAPACITY
            assert all(SLOT_OF[each.device_type] is slot for each in held.assignments)
            stored = held.stage is Stage.STORED
            assert self.custody.image(held.image_id) == (BY_ID[held.image_id].data if stored else None)
            if not held.is_in_memory:
                files.add(f"{held.image_id}.{'ota' if stored else 'part'}")
        assert {each for each in self.disk.names() if not each.endswith(".part")} <= files
        assert {each for each in files if not each.endswith(".part")} <= {*self.disk.names(), "memory.json"}

    @invariant()
    def retention_neither_shrinks_nor_grows(self) -> None:
        if not hasattr(self, "custody"):
            return
        for slot in self.slots():
            shown = self.custody.picture(slot).retained_until
            left = (shown - self.utc()).total_seconds()
            due = self.ends[slot] - self.true
            assert due - TOLERANCE <= left <= due + self.uncounted + TOLERANCE
