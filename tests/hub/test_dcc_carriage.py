"""How one errand is carried to one hub, without a loop or a broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from dcc_world import HUB

from hub.dcc.carriage import (
    CarriageSettings,
    CommandCarriage,
    Finished,
    ImageCarriage,
    Line,
    Postponed,
    SendChunk,
    SendCommand,
    SendOffer,
)
from hub.dcc.controls import DAY, HOUR, Service
from hub.dcc.lifecycle import Happening
from hub.dcc.records import Errand
from hub.messages import Envelopes, ImageWanted, Response

SETTINGS = CarriageSettings(chunk_size=400, octets_per_second=100.0, latency=1.0, answer_wait=60.0)
STAMPS = Envelopes(lambda: datetime(2026, 1, 5, tzinfo=UTC), lambda: "id")


def errand(service: Service, image_id: str | None = None, **more) -> Errand:
    fields = {"first_at": 0.0, "next_at": 0.0, **more}
    return Errand(errand_id="E", request_id="R", hub=HUB, service=service, image_id=image_id, **fields)


def image_carriage(**more) -> ImageCarriage:
    return ImageCarriage(errand(Service.UPDATE_PPMID_FIRMWARE, "i", **more), 1000, SETTINGS, Line(SETTINGS))


def command_carriage(service: Service = Service.READ_FIRMWARE_VERSION) -> CommandCarriage:
    return CommandCarriage(errand(service), SETTINGS)


def wanted(offset: int, code: str = "ok", *, complete: bool = False) -> ImageWanted:
    return ImageWanted(image_id="0" * 64, offset=offset, code=code, complete=complete, **STAMPS.stamp())


def response(code: str = "ok", file_version: str | None = None) -> Response:
    return Response(
        verb="offer",
        in_reply_to="id",
        request_id="R",
        ok=code == "ok",
        code=code,
        file_version=file_version,
        **STAMPS.stamp(),
    )


def offered(carriage: ImageCarriage, now: float = 0.0) -> ImageCarriage:
    """The carriage after its offer has gone out."""
    carriage.tick(now)
    assert carriage.drain() == [SendOffer()]
    return carriage


def run_out(carriage) -> Iterator[float]:
    """The times at which a carriage asks, against a hub that never answers."""
    while not carriage.is_over:
        now = carriage.timer()
        carriage.tick(now)
        for said in carriage.drain():
            if isinstance(said, SendOffer | SendCommand):
                yield now
            elif isinstance(said, Finished):
                assert said.happening is Happening.NOT_DELIVERED


def test_an_image_goes_piece_by_piece_as_the_hub_wants_it():
    carriage = offered(image_carriage())
    carriage.receive_response(response(), 0.0)
    sent = []
    offset, now = 0, 0.0
    while offset < 1000:
        carriage.receive_wanted(wanted(offset), now)
        now = carriage.timer()
        carriage.tick(now)
        (chunk,) = carriage.drain()
        sent.append((chunk.offset, chunk.length, now))
        offset += chunk.length
    carriage.receive_wanted(wanted(1000, complete=True), now)

    assert sent == [(0, 400, 5.0), (400, 400, 10.0), (800, 200, 13.0)]
    assert carriage.drain() == [Finished(happening=Happening.DELIVERED)]
    assert carriage.timer() is None


def test_a_hub_may_say_what_it_wants_before_it_answers_the_offer():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(400), 0.0)
    carriage.receive_response(response(), 0.1)
    carriage.tick(carriage.timer())

    assert carriage.drain() == [SendChunk(400, 400)]


def test_a_hub_that_has_the_image_already_gets_no_piece_of_it():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(1000, complete=True), 0.5)

    assert carriage.drain() == [Finished(happening=Happening.DELIVERED)]


def test_what_is_wanted_twice_while_it_is_on_its_way_goes_once():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(0), 0.0)
    due = carriage.timer()
    carriage.receive_wanted(wanted(0), 0.2)

    assert carriage.timer() == due


def test_a_hub_that_steps_back_is_followed():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(800), 0.0)
    carriage.tick(carriage.timer())
    carriage.receive_wanted(wanted(0, "out-of-order"), 10.0)
    carriage.tick(carriage.timer())

    assert carriage.drain() == [SendChunk(800, 200), SendChunk(0, 400)]


def test_two_images_to_one_hub_share_its_line():
    line = Line(SETTINGS)

    assert [line.arrival(100, 0.0), line.arrival(100, 0.0), line.arrival(100, 10.0)] == [2.0, 3.0, 12.0]


@pytest.mark.parametrize("code", ["too-busy", "radio-down"])
def test_a_hub_without_time_is_asked_again_at_once_and_then_hourly(code):
    carriage = offered(image_carriage())
    carriage.receive_response(response(code), 1.0)
    first, again = carriage.drain()
    assert (first.failures, first.next_at, first.code) == (1, 1.0, code)
    assert again == SendOffer()

    carriage.receive_response(response(code), 2.0)
    (second,) = carriage.drain()
    assert (second.failures, second.next_at) == (2, HOUR)
    assert carriage.timer() == HOUR


@pytest.mark.parametrize("code", ["too-large", "unsupported-device-type", "unknown-device", "invalid-image"])
def test_a_refusal_for_good_ends_the_errand_with_its_code(code):
    carriage = offered(image_carriage())
    carriage.receive_response(response(code), 1.0)

    (end,) = carriage.drain()
    assert (end.happening, end.code) == (Happening.NOT_DELIVERED, code)


@pytest.mark.parametrize("code", ["discarded", "invalid-image"])
def test_a_hub_that_stops_taking_an_image_owes_an_alert(code):
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(0, code), 1.0)

    assert carriage.drain()[0].happening is Happening.STOPPED


def test_a_hub_that_forgot_the_offer_is_offered_it_again():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(0), 0.0)
    carriage.tick(carriage.timer())
    carriage.drain()
    carriage.receive_wanted(wanted(0, "not-offered"), 6.0)

    postponed, again = carriage.drain()
    assert (postponed.code, again) == ("not-offered", SendOffer())


def test_silence_is_tried_again_for_a_day_and_then_given_up():
    times = list(run_out(image_carriage()))

    assert times[:3] == [0.0, 60.0, HOUR]
    assert times[-1] == DAY


def test_progress_gives_the_hub_a_new_day():
    carriage = offered(image_carriage(failures=20))
    carriage.receive_wanted(wanted(400), 23 * HOUR)
    carriage.tick(carriage.timer())
    carriage.drain()

    assert list(run_out(carriage))[-1] > 46 * HOUR


def test_the_count_of_failures_goes_on_after_a_restart():
    before = offered(image_carriage())
    for now in (1.0, 2.0):
        before.receive_response(response("too-busy"), now)
    *_, kept = (said for said in before.drain() if isinstance(said, Postponed))
    after = image_carriage(failures=kept.failures, next_at=kept.next_at, round=kept.round)

    assert after.timer() == HOUR
    after.tick(HOUR - 1)
    assert after.drain() == []
    after.tick(HOUR)
    assert after.drain() == [SendOffer()]


def test_a_hub_that_appears_is_not_interrupted_in_a_chunk():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(0), 0.0)
    carriage.hub_appeared(0.5)

    assert carriage.drain() == []


def test_a_command_keeps_its_round_through_silence_and_changes_it_after_an_answer():
    carriage = command_carriage()
    carriage.tick(0.0)
    carriage.tick(60.0)
    carriage.receive_response(response("too-busy"), 61.0)
    carriage.tick(HOUR)

    sent = [said for said in carriage.drain() if isinstance(said, SendCommand)]
    assert sent == [SendCommand(0), SendCommand(0), SendCommand(1)]


@pytest.mark.parametrize(
    ("code", "happening"),
    [
        ("unreachable", Happening.UNREACHABLE),
        ("refused", Happening.UNREACHABLE),
        ("unknown-device", Happening.NOT_DELIVERED),
        ("malformed", Happening.NOT_DELIVERED),
    ],
)
def test_a_command_that_fails_says_how_far_it_came(code, happening):
    carriage = command_carriage(Service.ACTIVATE_FIRMWARE)
    carriage.tick(0.0)
    carriage.receive_response(response(code), 1.0)

    assert carriage.drain()[-1].happening is happening


def test_a_command_that_the_hub_had_passed_on_before_counts_as_delivered():
    carriage = command_carriage(Service.ACTIVATE_FIRMWARE)
    carriage.tick(0.0)
    carriage.receive_response(response("ended"), 1.0)

    assert carriage.drain()[-1].happening is Happening.DELIVERED


def test_an_answer_to_an_11_2_without_a_version_reads_nothing():
    carriage = command_carriage()
    carriage.tick(0.0)
    carriage.receive_response(response(), 1.0)

    assert carriage.drain()[-1].happening is Happening.UNREACHABLE


def test_nothing_moves_a_carriage_that_is_over():
    carriage = offered(image_carriage())
    carriage.receive_wanted(wanted(0, "discarded"), 1.0)
    carriage.drain()
    carriage.receive_wanted(wanted(0), 2.0)
    carriage.receive_response(response(), 3.0)
    carriage.hub_appeared(4.0)
    carriage.tick(5 * DAY)

    assert carriage.drain() == []


@pytest.mark.parametrize(
    "wrong", [{"chunk_size": 0}, {"octets_per_second": 0.0}, {"latency": -1.0}, {"answer_wait": 0.0}]
)
def test_a_wan_that_carries_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="the WAN needs"):
        CarriageSettings(**wrong)
