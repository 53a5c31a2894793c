"""Whatever a server says, and whenever: the status that the specification names, or silence; never an error.

What a pump does with a frame is done here in two lines: read the command, and tell the machine of it, or of
what is wrong with it.
"""

from __future__ import annotations

import random

import pytest
from mutation import mutated
from ota_bench import FILE, KEY, Bench, block_at
from ota_pair import PPMID
from ota_states import PLACES

from ota.client import TRANSITIONS, DownloadComplete, Send
from ota.commands import (
    Command,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    ImagePageRequest,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
    parse_command,
)
from ota.errors import TheirError
from ota.image import Image

OURS = (KEY.manufacturer, KEY.image_type, KEY.file_version)
FROM_SERVER: list[Command] = [
    ImageNotify(),
    ImageNotify(1, 50, 0x121D),
    ImageNotify(2, 50, 0x121D, 0x0084),
    ImageNotify(3, 50, 0x121D, 0x0084, 2),
    QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE),
    QueryNextImageResponse(Status.SUCCESS, *OURS, len(FILE)),
    block_at(0, 20),
    block_at(65),
    ImageBlockWait(0, 300),
    ImageBlockWait(0, 300, 500),
    ImageBlockAbort(),
    UpgradeEndResponse(*OURS, 0, 0),
    UpgradeEndResponse(0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    QueryDeviceSpecificFileResponse(Status.NO_IMAGE_AVAILABLE),
    QueryDeviceSpecificFileResponse(Status.SUCCESS, 0x121D, 0xFFC1, 4, 4096),
]
FROM_CLIENT: list[Command] = [
    QueryNextImageRequest(0x121D, 0x0084, 1),
    ImageBlockRequest(*OURS, 0, 65),
    ImagePageRequest(*OURS, 0, 65, 1024, 50),
    UpgradeEndRequest(Status.SUCCESS, *OURS),
    QueryDeviceSpecificFileRequest(PPMID, 0x121D, 0xFFC1, 1, 2),
]


def hears_octets(
    bench: Bench,
    command_id: int,
    payload: bytes,
    *,
    from_server: bool = True,
    sequence: int = 77,
    broadcast: bool = False,
    confirm: bool = False,
) -> list[Send]:
    """Give the device a frame's command id and payload; what it sends."""
    client = bench.client
    try:
        command = parse_command(command_id, from_server, payload)
    except TheirError as error:
        client.receive_malformed(command_id, sequence, error, bench.now, broadcast=broadcast)
    else:
        client.receive(command, sequence, bench.now, broadcast=broadcast, confirm=confirm)
    bench._collect()
    return bench.sent


def standing(bench: Bench) -> tuple:
    """All that a useless command must leave as it is."""
    client = bench.client
    return client.state, client.stored, client.aside, client.identity, client.timer(), client.attributes()


def refusal(command_id: int, status: Status) -> list[Send]:
    return [Send(DefaultResponse(command_id, status, from_server=False), 77)]


def cut_short(command: Command) -> list[bytes]:
    """Each beginning of the command's octets that is no command."""
    payload, cuts = command.payload(), []
    for length in range(len(payload)):
        try:
            parse_command(command.COMMAND_ID, True, payload[:length])
        except TheirError:
            cuts.append(payload[:length])
    return cuts


MALFORMED = [(command.COMMAND_ID, cut) for command in FROM_SERVER for cut in cut_short(command)] + [
    (0x00, bytes.fromhex(octets)) for octets in ("0464", "ff64", "006400", "0332 1d12 8400 dcacdc")
]


@pytest.mark.parametrize("place", PLACES)
def test_a_malformed_command_is_answered_so_and_changes_nothing(place):
    bench = PLACES[place][1]()
    before = standing(bench)
    for command_id, payload in MALFORMED:
        sent = hears_octets(bench, command_id, payload)
        assert sent == refusal(command_id, Status.MALFORMED_COMMAND), (command_id, payload.hex())
        assert hears_octets(bench, command_id, payload, broadcast=True) == []
    assert standing(bench) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_command_that_nobody_knows_is_answered_so_and_changes_nothing(place):
    bench = PLACES[place][1]()
    before = standing(bench)
    unknown = [id_ for id_ in range(256) if id_ not in (0x00, 0x02, 0x05, 0x07, 0x09)]
    for command_id in unknown:
        for payload in (b"", bytes(20)):
            sent = hears_octets(bench, command_id, payload)
            assert sent == refusal(command_id, Status.UNSUP_CLUSTER_COMMAND)
            assert hears_octets(bench, command_id, payload, broadcast=True) == []
    assert standing(bench) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_command_for_a_server_is_answered_so_and_changes_nothing(place):
    bench = PLACES[place][1]()
    before = standing(bench)
    for command in FROM_CLIENT:
        octets = command.payload()
        sent = hears_octets(bench, command.COMMAND_ID, octets, from_server=False)
        assert sent == refusal(command.COMMAND_ID, Status.UNSUP_CLUSTER_COMMAND)
        assert hears_octets(bench, command.COMMAND_ID, octets, from_server=False, broadcast=True) == []
    assert standing(bench) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_broadcast_of_what_only_one_may_be_told_changes_nothing(place):
    bench = PLACES[place][1]()
    before = standing(bench)
    for command in FROM_SERVER:
        if not isinstance(command, ImageNotify):
            newest = bench.client._talk.sequence
            bench.client.receive(command, newest, bench.now, broadcast=True)
            bench._collect()
            assert bench.sent == []
    assert standing(bench) == before


@pytest.mark.parametrize("place", PLACES)
def test_an_answer_with_the_number_of_another_question_changes_nothing(place):
    bench = PLACES[place][1]()
    before = standing(bench)
    stray = bench.client._talk.sequence + 100 & 0xFF
    for command in [
        QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 9, len(FILE)),
        QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE),
        ImageBlockResponse(0x121D, 0x0084, 9, 0, FILE[:20]),
        ImageBlockWait(0, 300, 500),
        ImageBlockAbort(),
        *(DefaultResponse(id_, Status.ABORT) for id_ in range(0x0C)),
    ]:
        bench.client.receive(command, stray, bench.now)
        bench._collect()
        assert bench.sent == []
    assert standing(bench) == before


AWAITS_OCTETS = ("asks for a block", "in a page", "fills gaps")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [0, 66, 255])
def test_a_block_that_cannot_be_is_malformed_where_octets_are_awaited_and_not_stored_anywhere(place, size):
    bench = PLACES[place][1]()
    stored = bench.client.stored
    at = 0 if stored is None else len(stored.data)
    block = ImageBlockResponse(0x121D, 0x0084, 2, at, bytes(size))
    bench.client.receive(block, bench.client._talk.sequence, bench.now)
    bench._collect()
    answers = [send.command.status for send in bench.sent if isinstance(send.command, DefaultResponse)]
    assert answers == ([Status.MALFORMED_COMMAND] if place in AWAITS_OCTETS else [])
    assert bench.client.stored == stored


@pytest.mark.parametrize("place", PLACES)
def test_any_default_response_to_the_newest_question_is_survived(place):
    for command_id in range(0x0D):
        for status in [*Status, Status(0xC1)]:
            bench = PLACES[place][1]()
            newest = bench.client._talk.sequence
            bench.client.receive(DefaultResponse(command_id, status), newest, bench.now)
            bench._collect()
            assert not any(isinstance(send.command, DefaultResponse) for send in bench.sent)


@pytest.mark.parametrize("place", PLACES)
def test_a_command_that_wants_to_be_confirmed_is_confirmed_once_and_a_refused_one_refused_once(place):
    for command in FROM_SERVER:
        bench = PLACES[place][1]()
        bench.client.receive(command, 77, bench.now, confirm=True)
        bench._collect()
        answers = [send for send in bench.sent if isinstance(send.command, DefaultResponse)]
        assert [(send.sequence, send.command.command_id) for send in answers] == [(77, command.COMMAND_ID)]


def something_else_happens(bench: Bench, dice: random.Random) -> None:
    """Time passes, the server refuses, the power fails, somebody activates: each now and then."""
    if bench.client.timer() is not None and dice.random() < 0.1:
        bench.wait()
    if dice.random() < 0.03:
        refusal = DefaultResponse(dice.randrange(10), dice.choice([Status.ABORT, Status.SUCCESS]))
        bench.client.receive(refusal, bench.client._talk.sequence, bench.now)
    if dice.random() < 0.01:
        bench.client.reboot(bench.now)
    if dice.random() < 0.01:
        bench.client.ask_now(bench.now)
    if dice.random() < 0.01 and bench.client.held is not None:
        bench.client.activate(bench.now)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("place", PLACES)
def test_no_rubbish_makes_a_device_stumble_or_hold_a_file_that_is_none(place, seed):
    dice = random.Random(f"{place} {seed}")
    bench = PLACES[place][1]()
    for _ in range(400):
        command = dice.choice(FROM_SERVER)
        if isinstance(command, ImageBlockResponse) and (stored := bench.client.stored) is not None:
            command = block_at(len(stored.data), dice.choice((20, 65)))
        payload = command.payload() if dice.random() < 0.3 else mutated(command.payload(), dice)
        newest = bench.client._talk.sequence
        sent = hears_octets(
            bench,
            command.COMMAND_ID if dice.random() < 0.9 else dice.randrange(256),
            payload,
            from_server=dice.random() < 0.95,
            sequence=newest if dice.random() < 0.8 else dice.randrange(256),
            broadcast=(broadcast := dice.random() < 0.1),
            confirm=dice.random() < 0.2,
        )
        if broadcast:
            assert not any(isinstance(send.command, DefaultResponse) for send in sent)
        for event in bench.told:
            if isinstance(event, DownloadComplete):
                assert Image.read(event.data).header.key == event.key
        assert bench.client.state in TRANSITIONS
        something_else_happens(bench, dice)
