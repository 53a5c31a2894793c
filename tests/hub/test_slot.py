import pytest

from hub.errors import OurError
from hub.slot import (
    DAY,
    WITHDRAWN_RETENTION,
    Accepted,
    Assignment,
    Candidate,
    DeleteWhen,
    Expired,
    Fate,
    Joined,
    LatestWins,
    Lost,
    MovedToMemory,
    Preempted,
    Priority,
    Refused,
    Slot,
    SlotName,
    SlotSettings,
    Stage,
    slot_for,
)
from ota.eui64 import Eui64

GSME = Eui64.parse("00-DB-12-34-56-78-90-A1")
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
HCALCS = Eui64.parse("00-DB-12-34-56-78-90-A5")
OTHER_PPMID = Eui64.parse("00-DB-12-34-56-78-90-B4")
TYPES = {GSME: "GSME", PPMID: "PPMID", HCALCS: "HCALCS", OTHER_PPMID: "PPMID"}


def image(
    name: str, *devices: Eui64, request: str = "", size: int = 1000, force_replace: bool = False
) -> Candidate:
    service = "11.4" if TYPES[devices[0]] == "PPMID" else "11.1"
    request = request or f"request-{name}"
    targets = tuple(Assignment(each, TYPES[each], request, service) for each in devices)
    return Candidate(name, size, targets, force_replace)


def slot_holding(candidate: Candidate, **settings) -> Slot:
    slot = Slot(SlotSettings(**settings))
    slot.offer(candidate, now=0.0)
    slot.complete(now=0.0)
    return slot


def test_an_empty_slot_takes_what_comes():
    [accepted] = Slot(SlotSettings()).offer(image("a", PPMID), now=5.0)
    assert isinstance(accepted, Accepted)
    assert (accepted.image.stage, accepted.image.since) == (Stage.ARRIVING, 5.0)


def test_a_gas_image_takes_the_place_of_the_waiting_one():
    slot = slot_holding(image("a", PPMID, OTHER_PPMID))
    preempted, accepted = slot.offer(image("g", GSME), now=10.0)
    assert isinstance(preempted, Preempted)
    assert preempted.stage is Stage.STORED
    assert [each.device for each in preempted.unfinished] == [PPMID, OTHER_PPMID]
    assert isinstance(accepted, Accepted)
    assert accepted.image.priority is Priority.GAS


def test_a_gas_image_takes_the_place_of_one_that_is_still_arriving():
    slot = Slot(SlotSettings())
    slot.offer(image("a", HCALCS), now=0.0)
    preempted, _ = slot.offer(image("g", GSME), now=1.0)
    assert isinstance(preempted, Preempted)
    assert preempted.stage is Stage.ARRIVING


def test_a_target_that_has_finished_is_owed_no_discard_alert():
    slot = slot_holding(image("a", PPMID, OTHER_PPMID))
    slot.conclude(PPMID, Fate.FINISHED)
    preempted, _ = slot.offer(image("g", GSME), now=10.0)
    assert isinstance(preempted, Preempted)
    assert [each.device for each in preempted.unfinished] == [OTHER_PPMID]


@pytest.mark.parametrize("device", [PPMID, HCALCS])
def test_nothing_displaces_a_gas_image_that_is_still_needed(device):
    slot = slot_holding(image("g", GSME))
    [refused] = slot.offer(image("a", device), now=14 * DAY - 1)
    assert isinstance(refused, Refused)
    assert refused.code == "too-busy"
    assert slot.held is not None
    assert slot.held.image_id == "g"


@pytest.mark.parametrize("fate", [Fate.FINISHED, Fate.FAILED])
def test_a_gas_image_whose_targets_are_done_makes_room(fate):
    slot = slot_holding(image("g", GSME))
    slot.conclude(GSME, fate)
    preempted, accepted = slot.offer(image("a", PPMID), now=60.0)
    assert isinstance(preempted, Preempted)
    assert preempted.unfinished == ()
    assert isinstance(accepted, Accepted)


def test_an_image_nobody_collects_is_held_on_day_15_and_displaced_on_day_20():
    slot = slot_holding(image("a", PPMID))
    assert slot.tick(15 * DAY) == []
    assert slot.held is not None
    preempted, _ = slot.offer(image("b", OTHER_PPMID), now=20 * DAY)
    assert isinstance(preempted, Preempted)
    assert preempted.why == "its retention had passed"
    assert [each.device for each in preempted.unfinished] == [PPMID]


def test_retention_counts_from_the_moment_the_image_was_complete():
    slot = Slot(SlotSettings())
    slot.offer(image("a", PPMID), now=0.0)
    slot.complete(now=3 * DAY)
    assert slot.retained_until() == 17 * DAY
    assert slot.is_needed(16 * DAY)
    assert not slot.is_needed(17 * DAY)


def test_a_slot_can_be_set_to_let_go_by_itself():
    slot = slot_holding(image("a", PPMID), delete_when=DeleteWhen.AT_EXPIRY)
    assert slot.timer() == 14 * DAY
    assert slot.tick(14 * DAY - 1) == []
    [expired] = slot.tick(14 * DAY)
    assert isinstance(expired, Expired)
    assert slot.held is None


def test_an_image_that_is_never_deleted_outlasts_its_retention_while_somebody_waits():
    slot = slot_holding(image("a", PPMID, OTHER_PPMID), delete_when=DeleteWhen.NEVER)
    slot.conclude(PPMID, Fate.FINISHED)
    assert slot.timer() is None
    [refused] = slot.offer(image("b", HCALCS), now=400 * DAY)
    assert isinstance(refused, Refused)
    assert refused.code == "too-busy"
    assert slot.retained_until() == 14 * DAY, "more than that was never promised"
    slot.conclude(OTHER_PPMID, Fate.FAILED)
    assert isinstance(slot.offer(image("b", HCALCS), now=400 * DAY)[0], Preempted)


WITHDRAWN = {"retention": WITHDRAWN_RETENTION, "then_in_memory": True}


def test_the_withdrawn_policy_takes_the_image_out_of_flash_after_a_week_and_loses_it_at_a_restart():
    slot = slot_holding(image("a", PPMID, OTHER_PPMID), **WITHDRAWN)
    assert slot.restarted() == []
    assert slot.timer() == 7 * DAY
    assert slot.tick(7 * DAY - 1) == []
    [moved] = slot.tick(7 * DAY)
    assert isinstance(moved, MovedToMemory)
    assert (slot.is_in_memory, slot.timer()) == (True, None)
    slot.conclude(PPMID, Fate.FINISHED)
    [lost] = slot.restarted()
    assert isinstance(lost, Lost)
    assert [each.device for each in lost.image.unfinished] == [OTHER_PPMID]
    assert slot.held is None


def test_whoever_wants_the_space_overwrites_what_is_in_memory():
    slot = slot_holding(image("a", PPMID), **WITHDRAWN)
    assert isinstance(slot.offer(image("b", HCALCS), now=6 * DAY)[0], Refused)
    slot.tick(7 * DAY)
    assert isinstance(slot.offer(image("b", HCALCS), now=7 * DAY)[0], Preempted)
    assert not slot.is_in_memory


def test_a_new_request_for_what_is_in_memory_is_served_but_promised_nothing():
    slot = slot_holding(image("a", PPMID), **WITHDRAWN)
    slot.tick(7 * DAY)
    [joined] = slot.offer(image("a", OTHER_PPMID, request="later"), now=8 * DAY)
    assert isinstance(joined, Joined)
    assert slot.timer() is None
    assert isinstance(slot.offer(image("b", HCALCS), now=8 * DAY)[0], Preempted)


def test_an_image_that_arrives_slowly_is_not_taken_out_of_flash_half():
    slot = Slot(SlotSettings(**WITHDRAWN))
    slot.offer(image("a", PPMID), now=0.0)
    assert slot.timer() is None
    assert slot.tick(10 * DAY) == []


def test_a_gas_image_takes_the_place_even_of_one_that_is_never_deleted():
    slot = slot_holding(image("a", PPMID), delete_when=DeleteWhen.NEVER)
    preempted, accepted = slot.offer(image("g", GSME), now=400 * DAY)
    assert isinstance(preempted, Preempted)
    assert isinstance(accepted, Accepted)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(
    ("held", "forced"), [(PPMID, HCALCS), (HCALCS, HCALCS), (GSME, GSME), (HCALCS, GSME)]
)
def test_a_forced_image_takes_the_place_of_one_of_its_own_or_lower_priority(held, forced, stage):
    slot = Slot(SlotSettings())
    slot.offer(image("a", held), now=0.0)
    if stage is Stage.STORED:
        slot.complete(now=0.0)
    preempted, accepted = slot.offer(image("f", forced, force_replace=True), now=1.0)
    assert isinstance(preempted, Preempted)
    assert [each.device for each in preempted.unfinished] == [held]
    assert isinstance(accepted, Accepted)
    assert accepted.image.force_replace


def test_no_force_takes_the_place_of_a_gas_image_but_another_gas_images():
    slot = slot_holding(image("g", GSME))
    [refused] = slot.offer(image("f", HCALCS, force_replace=True), now=1.0)
    assert isinstance(refused, Refused)
    assert refused.code == "too-busy"


def test_force_can_be_ignored():
    slot = slot_holding(image("a", HCALCS), honours_force_replace=False)
    [refused] = slot.offer(image("f", HCALCS, force_replace=True), now=1.0)
    assert isinstance(refused, Refused)
    assert refused.code == "too-busy"


def test_one_image_is_not_offered_now_with_and_now_without_force():
    slot = slot_holding(image("a", HCALCS))
    [refused] = slot.offer(image("a", HCALCS, request="again", force_replace=True), now=1.0)
    assert isinstance(refused, Refused)
    assert refused.code == "invalid-image"


def test_equal_priority_keeps_the_waiting_image_by_default():
    [refused] = slot_holding(image("a", PPMID)).offer(image("b", HCALCS), now=60.0)
    assert isinstance(refused, Refused)
    assert refused.code == "too-busy"


def test_equal_priority_can_be_decided_for_the_latest():
    slot = slot_holding(image("g", GSME), equal_priority=LatestWins())
    assert isinstance(slot.offer(image("h", GSME), now=1.0)[0], Preempted)
    [refused] = slot.offer(image("a", PPMID), now=2.0)
    assert isinstance(refused, Refused)


def test_a_repeated_offer_changes_nothing():
    slot = slot_holding(image("a", PPMID))
    before = slot.held
    [joined] = slot.offer(image("a", PPMID), now=60.0)
    assert isinstance(joined, Joined)
    assert joined.added == ()
    assert slot.held == before


def test_a_new_request_for_the_held_image_adds_its_targets():
    slot = slot_holding(image("a", PPMID))
    slot.conclude(PPMID, Fate.FAILED)
    [joined] = slot.offer(image("a", PPMID, OTHER_PPMID, request="again"), now=DAY)
    assert isinstance(joined, Joined)
    assert [(each.device, each.fate) for each in joined.image.unfinished] == [
        (PPMID, Fate.WAITING),
        (OTHER_PPMID, Fate.WAITING),
    ]
    assert slot.retained_until() == 15 * DAY


def test_a_fate_is_told_once():
    slot = slot_holding(image("a", PPMID))
    assert slot.conclude(PPMID, Fate.FINISHED) is not None
    assert slot.conclude(PPMID, Fate.FAILED) is None
    assert slot.conclude(GSME, Fate.FINISHED) is None


@pytest.mark.parametrize(
    ("device_types", "slot"),
    [
        (["ESME"], SlotName.ESME),
        (["ESME", "ESME"], SlotName.ESME),
        (["GSME"], SlotName.SHARED),
        (["PPMID"], SlotName.SHARED),
        (["GSME", "HCALCS", "PPMID"], SlotName.SHARED),
    ],
)
def test_an_image_goes_to_the_slot_of_its_targets(device_types, slot):
    assert slot_for(device_types) is slot


@pytest.mark.parametrize("device_types", [["IHD"], ["CAD"], [""], ["PPMID", "IHD"], ["ESME", "CHF"]])
def test_there_is_no_slot_for_other_device_types(device_types):
    refused = slot_for(device_types)
    assert isinstance(refused, Refused)
    assert refused.code == "unsupported-device-type"
    assert device_types[-1] in refused.why


@pytest.mark.parametrize("other", ["GSME", "HCALCS", "PPMID"])
def test_targets_of_two_slots_are_told_apart_by_name(other):
    for device_types in ([other, "ESME"], ["ESME", other], ["ESME", other, "ESME"]):
        refused = slot_for(device_types)
        assert isinstance(refused, Refused)
        assert refused.code == "unsupported-device-type"
        assert "ESME in the esme slot" in refused.why
        assert f"{other} in the shared slot" in refused.why


def test_both_slots_are_as_large_unless_it_is_said_otherwise():
    assert SlotSettings(capacity=7).of(SlotName.ESME).capacity == 7
    larger = SlotSettings(capacity=7, esme_capacity=9)
    assert (larger.of(SlotName.SHARED).capacity, larger.of(SlotName.ESME).capacity) == (7, 9)


def test_an_image_larger_than_the_slot_is_refused_even_for_gas():
    slot = slot_holding(image("a", PPMID))
    [refused] = slot.offer(image("g", GSME, size=750 * 1024 + 1), now=1.0)
    assert isinstance(refused, Refused)
    assert refused.code == "too-large"


def test_the_same_image_with_another_size_is_refused():
    [refused] = slot_holding(image("a", PPMID)).offer(image("a", PPMID, size=7), now=1.0)
    assert isinstance(refused, Refused)
    assert refused.code == "invalid-image"


def test_an_empty_slot_has_nothing_to_complete():
    slot = Slot(SlotSettings())
    assert slot.timer() is None
    for act in (slot.discard, lambda: slot.complete(0.0), lambda: slot.conclude(PPMID, Fate.FAILED)):
        with pytest.raises(OurError):
            act()
