"""Who is served when, with many who ask."""

from __future__ import annotations

import pytest
from ota_crowd import Crowd
from ota_pair import upgrade_file

from ota.client import ClientSettings
from ota.client_events import DownloadComplete
from ota.commands import (
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImagePageRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
)
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.pacing import FSK_SUB_GHZ, O_QPSK_2400, AirBudget, block_air_time
from ota.scheduler import Allowance, Hold, Pace, Turns, Wait
from ota.server import (
    Activation,
    AirSpent,
    BlockPeriodFound,
    DeviceSettings,
    Flooding,
    Offer,
    OtaServer,
    Paced,
    Send,
    ServerSettings,
    TransferStalled,
    TransferStarted,
    TurnAwaited,
)

FILE = upgrade_file(4000)
DEVICES = [Eui64(0x00DB123456789000 + number) for number in range(10)]
FIRST, SECOND, THIRD = DEVICES[:3]


def block_request(offset: int = 0, period: int | None = None) -> ImageBlockRequest:
    return ImageBlockRequest(0x121D, 0x0084, 2, offset, 64, None, period)


class Hub:
    """A server that offers FILE to three devices; the test is all of them."""

    def __init__(self, **settings) -> None:
        self.server = OtaServer(ServerSettings(**settings))
        self.server.offer(Offer.of(FILE, DEVICES[:3], Activation.NOW), 0.0)
        self.server.drain()
        self.now = 1.0
        self.told: list[object] = []

    def hears(self, command, peer=FIRST):
        """What the server answers at once; None if nothing."""
        self.server.receive(peer, command, 7, self.now)
        return self._said(peer)

    def waits(self, peer=FIRST):
        """Let the server's next deadline come: what it says then."""
        due = self.server.timer()
        assert due is not None
        self.now = max(self.now, due)
        self.server.tick(self.now)
        return self._said(peer)

    def _said(self, peer):
        said = None
        for item in self.server.drain():
            if isinstance(item, Send):
                assert item.peer == peer
                said = item.command
            else:
                self.told.append(item)
        return said

    def heard_of(self, kind):
        return [item for item in self.told if isinstance(item, kind)]


# Turns.


def test_who_comes_first_downloads_and_the_next_waits_for_its_turn():
    hub = Hub(downloads_at_once=1)
    assert isinstance(hub.hears(block_request(), FIRST), ImageBlockResponse)
    assert hub.hears(block_request(), SECOND) == ImageBlockWait(0, 60, 0)
    assert hub.hears(block_request(), SECOND) == ImageBlockWait(0, 60, 0)
    assert [item.peer for item in hub.heard_of(TurnAwaited)] == [SECOND]
    assert [item.peer for item in hub.heard_of(TransferStarted)] == [FIRST]


def test_a_page_waits_for_its_turn_as_a_block_does():
    hub = Hub(downloads_at_once=1)
    hub.hears(block_request(), FIRST)
    page = ImagePageRequest(0x121D, 0x0084, 2, 0, 64, 512, 50)
    assert hub.hears(page, SECOND) == ImageBlockWait(0, 60, 0)


@pytest.mark.parametrize("how", ["paused", "aborted", "stalled", "withdrawn"])
def test_a_download_that_goes_on_no_more_makes_room(how):
    hub = Hub(downloads_at_once=1, stall_after=10.0)
    hub.hears(block_request(), FIRST)
    match how:
        case "paused":
            hub.server.pause(FIRST, hub.now)
        case "aborted":
            hub.server.abort(FIRST, hub.now)
        case "stalled":
            hub.waits(FIRST)
        case "withdrawn":
            hub.server.withdraw(Offer.of(FILE, [], Activation.NOW).image_id, hub.now)
            hub.server.offer(Offer.of(FILE, [SECOND], Activation.NOW), hub.now)
    hub.server.drain()
    assert isinstance(hub.hears(block_request(), SECOND), ImageBlockResponse)


def test_turns_are_given_in_the_order_of_the_first_asking():
    turns = Turns(1, 60.0)
    assert turns.take(FIRST, 0.0) is None
    assert turns.take(SECOND, 1.0) == 60.0
    assert turns.take(THIRD, 2.0) == 60.0
    turns.leave(FIRST)
    assert turns.take(THIRD, 30.0) == 60.0
    assert turns.take(SECOND, 61.0) is None
    turns.leave(SECOND)
    assert turns.take(THIRD, 90.0) is None


def test_who_does_not_come_back_loses_its_place():
    turns = Turns(1, 60.0)
    for device in (FIRST, SECOND, THIRD):
        turns.take(device, 0.0)
    turns.leave(FIRST)
    assert turns.take(THIRD, 60.0) == 60.0
    assert turns.take(THIRD, 121.0) is None


def test_without_a_limit_nobody_waits():
    turns = Turns(None, 60.0)
    assert [turns.take(device, 0.0) for device in DEVICES] == [None] * 10
    assert turns.being_served == 10


def test_a_client_that_waits_and_does_not_come_back_is_notified():
    hub = Hub(downloads_at_once=1, stall_after=10.0, turn_wait=30.0)
    hub.hears(block_request(), FIRST)
    hub.hears(block_request(), SECOND)
    while hub.now < 41.0:
        hub.server.receive(FIRST, block_request(64), 7, hub.now)
        hub.server.drain()
        hub.now += 5.0
    hub.server.tick(42.0)
    said = [item for item in hub.server.drain() if isinstance(item, Send)]
    assert [send.peer for send in said] == [SECOND]


# Paces.


def served(pace: Pace, reported: int | None, now: float):
    return pace.asked(reported, now)


def test_a_client_that_reports_its_period_is_told_another_one_and_then_left_alone():
    pace = Pace(0.25, "ms")
    assert served(pace, 0, 0.0) == Wait(0, 250)
    assert served(pace, 250, 0.25) is None
    assert served(pace, 250, 0.51) is None


def test_a_period_in_seconds_is_rounded_up():
    assert served(Pace(0.25, "s"), 0, 0.0) == Wait(0, 1)
    assert served(Pace(3.0, "s"), 0, 0.0) == Wait(0, 3)


def test_a_client_that_does_not_listen_is_told_three_times_and_then_held_back():
    pace = Pace(0.5, "ms")
    assert [served(pace, 0, at) for at in (0.0, 1.0, 2.0)] == [Wait(0, 500)] * 3
    assert served(pace, 0, 3.0) is None
    assert served(pace, 0, 3.1) == Hold(3.5)


def test_a_client_that_reports_nothing_is_held_back_or_told_to_wait():
    pace = Pace(0.5, None)
    assert served(pace, None, 0.0) is None
    assert served(pace, None, 0.1) == Hold(0.5)
    slow = Pace(30.0, None)
    assert served(slow, None, 0.0) is None
    assert served(slow, None, 0.1) == Wait(30, None)


@pytest.mark.parametrize(("took", "unit", "told"), [(0.03, "ms", 5000), (2.02, "s", 5)])
def test_the_unit_of_a_client_shows_in_how_soon_it_comes_back(took, unit, told):
    pace = Pace(5.0, None)
    assert served(pace, 0, 0.0) == Wait(0, 2)
    assert served(pace, 2, took) == Wait(0, told)
    assert pace.unit == unit


@pytest.mark.parametrize("took", [1.2, 3.5])
def test_a_client_whose_request_was_lost_on_the_way_is_tried_again(took):
    pace = Pace(5.0, None)
    served(pace, 0, 0.0)
    assert served(pace, 2, took) == Wait(0, 2)
    assert served(pace, 2, took + 0.02) == Wait(0, 5000)


def test_a_client_whose_unit_does_not_show_is_held_back():
    pace = Pace(0.9, None)
    assert [served(pace, 0, at) for at in (0.0, 5.0, 10.0)] == [Wait(0, 2)] * 3
    assert served(pace, 0, 15.0) is None
    assert served(pace, 0, 15.2) == Hold(15.9)


def test_a_pace_can_be_set_and_lifted_in_mid_download():
    hub = Hub()
    assert isinstance(hub.hears(block_request(0, 0)), ImageBlockResponse)
    hub.server.configure(FIRST, DeviceSettings(minimum_block_period=1.5, block_period_unit="ms"), hub.now)
    assert hub.hears(block_request(64, 0)) == ImageBlockWait(0, 0, 1500)
    hub.now += 1.5
    assert isinstance(hub.hears(block_request(64, 1500)), ImageBlockResponse)
    hub.server.configure(FIRST, DeviceSettings(), hub.now)
    assert hub.hears(block_request(128, 1500)) == ImageBlockWait(0, 0, 0)
    assert isinstance(hub.hears(block_request(128, 0)), ImageBlockResponse)
    assert hub.heard_of(Paced) == [Paced(FIRST, 1.5), Paced(FIRST, 0.0)]


def test_an_answer_that_is_held_back_goes_out_when_its_time_has_come():
    hub = Hub()
    hub.server.configure(FIRST, DeviceSettings(minimum_block_period=0.5), hub.now)
    hub.hears(block_request(0))
    hub.now = 1.2
    assert hub.hears(block_request(64)) is None
    assert hub.server.timer() == 1.5
    assert hub.waits().file_offset == 64


def test_the_newer_of_two_requests_that_are_held_back_is_answered():
    hub = Hub()
    hub.server.configure(FIRST, DeviceSettings(minimum_block_period=0.5), hub.now)
    hub.hears(block_request(0))
    hub.hears(block_request(64))
    hub.hears(block_request(128))
    assert hub.waits().file_offset == 128


def test_a_unit_that_was_found_is_told():
    hub = Hub()
    hub.server.configure(FIRST, DeviceSettings(minimum_block_period=1.0), hub.now)
    assert hub.hears(block_request(0, 0)) == ImageBlockWait(0, 0, 2)
    hub.now += 2.1
    assert hub.hears(block_request(0, 2)) == ImageBlockWait(0, 0, 1)
    assert hub.heard_of(BlockPeriodFound) == [BlockPeriodFound(FIRST, "s")]


# Floods.


def test_an_allowance_gives_so_many_at_once_and_then_one_at_a_time():
    allowance = Allowance(3, 60.0)
    assert [allowance.take(0.0) for _ in range(3)] == [0.0] * 3
    assert allowance.take(0.0) == pytest.approx(20.0)
    assert allowance.take(20.0) == 0.0
    assert allowance.take(20.0) == pytest.approx(20.0)


def test_a_flood_of_queries_is_answered_now_and_then_and_told_once():
    hub = Hub(queries_per_minute=3)
    query = QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150)
    answers = [hub.hears(query) for _ in range(50)]
    assert [isinstance(answer, QueryNextImageResponse) for answer in answers] == [True] * 3 + [False] * 47
    assert hub.heard_of(Flooding) == [Flooding(FIRST, "queries")]
    assert isinstance(hub.waits(), QueryNextImageResponse)
    assert hub.now == pytest.approx(21.0)
    assert isinstance(hub.hears(query, SECOND), QueryNextImageResponse)


def test_a_client_that_never_gets_past_an_offset_is_slowed_down():
    hub = Hub(repeats_per_minute=3)
    said = [hub.hears(block_request()) for _ in range(20)]
    assert sum(isinstance(answer, ImageBlockResponse) for answer in said) == 4
    assert sum(isinstance(answer, ImageBlockWait) for answer in said) == 1
    assert said[-1] is None
    assert hub.heard_of(Flooding) == [Flooding(FIRST, "requests for the same octets")]
    assert isinstance(hub.hears(block_request(64)), ImageBlockResponse)


def test_more_requests_than_the_air_carries_are_slowed_down():
    hub = Hub(requests_per_second=50)
    said = [hub.hears(block_request(at % len(FILE))) for at in range(0, 64 * 100, 64)]
    assert sum(isinstance(answer, ImageBlockResponse) for answer in said) == 50
    assert sum(isinstance(answer, ImageBlockWait) for answer in said) == 1
    hub.now += 1.0
    assert isinstance(hub.hears(block_request(64)), ImageBlockResponse)


def test_a_lone_download_at_the_speed_of_the_air_is_no_flood():
    hub = Hub()
    for at in range(3000):
        hub.now += 0.008
        assert isinstance(hub.hears(block_request(64 * at % 4000 // 64 * 64)), ImageBlockResponse)


# Air.


def test_the_air_time_of_a_block_is_that_of_the_reference():
    """350 KB in 6400 blocks of 56 octets on sub-GHz: 122 s of the hub's air with APS acks, 80 s without."""
    acknowledged = block_air_time(56, phy=FSK_SUB_GHZ, acknowledged=True)
    bare = block_air_time(56, phy=FSK_SUB_GHZ, acknowledged=False)
    assert 6400 * acknowledged == pytest.approx(122, abs=1)
    assert 6400 * bare == pytest.approx(80, abs=1)
    assert block_air_time(56, phy=O_QPSK_2400, acknowledged=False, asked=False) == pytest.approx(0.004256)


def test_air_that_was_spent_comes_back_after_an_hour_and_never_sooner():
    budget = AirBudget(10.0)
    budget.spend(9.0, 30.0)
    assert budget.wait(30.0) == 0.0
    budget.spend(2.0, 100.0)
    wait = budget.wait(100.0)
    assert 100.0 + wait == 3660.0
    assert budget.wait(3659.9) > 0.0
    assert budget.wait(3660.0) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_in_no_hour_is_more_air_spent_than_the_budget_and_one_block(seed):
    budget, spent, now = AirBudget(5.0), [], 0.0
    while now < 4 * 3600.0:
        if wait := budget.wait(now):
            now += wait
        else:
            budget.spend(0.05, now)
            spent.append(now)
            now += 0.1 + seed
    for start in spent[:: max(1, len(spent) // 50)]:
        assert sum(0.05 for at in spent if start <= at < start + 3600.0) <= 5.05 + 1e-9
    assert len(spent) > 250


def test_when_the_air_is_spent_whoever_asks_for_octets_is_told_to_wait_for_it():
    hub = Hub(air_time_per_hour=0.1, phy=FSK_SUB_GHZ)
    said = [hub.hears(block_request(at)) for at in range(0, 640, 64)]
    waits = [answer for answer in said if isinstance(answer, ImageBlockWait)]
    assert len(waits) == 4
    assert waits[0] == ImageBlockWait(0, 3600, 0)
    assert len(hub.heard_of(AirSpent)) == 1
    hub.now += 3700.0
    assert isinstance(hub.hears(block_request(640)), ImageBlockResponse)


def test_a_page_ends_when_the_air_is_spent():
    hub = Hub(air_time_per_hour=0.05, phy=FSK_SUB_GHZ, page_window=100)
    assert hub.hears(ImagePageRequest(0x121D, 0x0084, 2, 0, 64, 4000, 0)) == ImageBlockWait(0, 3600, 0)


def test_a_client_that_waits_for_air_is_not_called_stalled():
    hub = Hub(air_time_per_hour=0.01, phy=FSK_SUB_GHZ, stall_after=60.0)
    hub.hears(block_request(0))
    assert hub.hears(block_request(64)) == ImageBlockWait(0, 3600, 0)
    hub.server.tick(3000.0)
    assert not [item for item in hub.server.drain() if isinstance(item, TransferStalled)]
    hub.server.tick(3700.0)
    assert [item for item in hub.server.drain() if isinstance(item, TransferStalled)]


# Times.


def test_a_wait_can_be_told_in_utc():
    hub = Hub(downloads_at_once=1, utc=lambda now: 800_000_000 + int(now))
    hub.hears(block_request(), FIRST)
    assert hub.hears(block_request(), SECOND) == ImageBlockWait(800_000_001, 800_000_061, 0)


def test_nobody_is_told_to_wait_longer_than_an_hour():
    hub = Hub(downloads_at_once=1, turn_wait=10_000.0)
    hub.hears(block_request(), FIRST)
    assert hub.hears(block_request(), SECOND) == ImageBlockWait(0, 3600, 0)


# Many devices on one air.


def test_devices_that_ask_for_blocks_share_the_air_evenly():
    crowd = Crowd(DEVICES)
    crowd.offer(FILE)
    crowd.run_until_all(DownloadComplete)
    assert crowd.unevenness() < 0.1


def test_devices_that_ask_for_pages_leave_room_for_those_that_ask_for_blocks():
    pages = ClientSettings(first_query_within=0.1, page_size=1024, page_spacing=0.0)
    crowd = Crowd(DEVICES[:4], settings=dict.fromkeys(DEVICES[:2], pages))
    crowd.offer(upgrade_file(20_000))
    crowd.run_until_all(DownloadComplete)
    assert crowd.air_unevenness() < 0.4


def test_with_a_limit_all_devices_get_the_image_one_after_the_other():
    crowd = Crowd(DEVICES, server=ServerSettings(downloads_at_once=2, turn_wait=20.0))
    crowd.offer(FILE)
    crowd.run_until_all(DownloadComplete)
    assert crowd.most_at_once == 2


@pytest.mark.parametrize("many", [1, 10])
def test_a_request_waits_for_its_answer_at_most_twice_as_long_as_most_do(many):
    crowd = Crowd(DEVICES[:many])
    crowd.offer(upgrade_file(20_000))
    crowd.run_until_all(DownloadComplete)
    waits = sorted(crowd.waits)
    assert waits[len(waits) * 99 // 100] <= 2 * waits[len(waits) // 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"downloads_at_once": 0},
        {"turn_wait": 0.0},
        {"wait_at_most": 0.0},
        {"air_time_per_hour": 0.0},
        {"requests_per_second": 0},
        {"repeats_per_minute": 0},
        {"queries_per_minute": 0},
        {"page_window": 0},
        {"page_spacing": -0.1},
        {"repeats_before_smaller": 0},
        {"notify_type": 4},
        {"notify_jitter": 0},
        {"notify_jitter": 101},
        {"countdown_at_most": 0.0},
        {"flood_wait": 0.0},
    ],
)
def test_settings_that_no_schedule_keeps_are_refused(wrong):
    with pytest.raises(OurError):
        ServerSettings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"block_ceiling": 0},
        {"minimum_block_period": -1.0},
        {"minimum_block_period": 3601.0},
        {"stall_after": 0.0},
    ],
)
def test_device_settings_that_the_machine_cannot_keep_are_refused(wrong):
    with pytest.raises(OurError):
        DeviceSettings(**wrong)
