"""Whatever a device says, wherever it stands: the status that the specification names, never an error."""

from __future__ import annotations

import random

import pytest
from mutation import mutated
from ota_pair import HCALCS, PPMID, image_id, upgrade_file

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
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
    parse_command,
)
from ota.errors import TheirError
from ota.server import Activation, Offer, OtaServer, Send, ServerSettings
from ota.server_states import State

FILE = upgrade_file(1000)
OURS = (0x121D, 0x0084, 2)
FROM_CLIENT: list[Command] = [
    QueryNextImageRequest(0x121D, 0x0084, 1),
    QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150),
    ImageBlockRequest(*OURS, 0, 65),
    ImageBlockRequest(*OURS, 130, 65, PPMID, 200),
    ImagePageRequest(*OURS, 0, 65, 512, 0),
    ImagePageRequest(*OURS, 0, 65, 512, 50, PPMID),
    UpgradeEndRequest(Status.SUCCESS, *OURS),
    UpgradeEndRequest(Status.ABORT, *OURS),
    UpgradeEndRequest(Status.INVALID_IMAGE, *OURS),
    UpgradeEndRequest(Status.REQUIRE_MORE_IMAGE, *OURS),
    QueryDeviceSpecificFileRequest(PPMID, 0x121D, 0xFFC1, 1, 2),
]
FROM_SERVER: list[Command] = [
    ImageNotify(),
    QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE),
    ImageBlockResponse(*OURS, 0, bytes(20)),
    ImageBlockWait(0, 60, 0),
    ImageBlockAbort(),
    UpgradeEndResponse(*OURS, 0, 0),
]


def hears(server: OtaServer, command_id: int, payload: bytes, *, from_server: bool = False) -> list[Send]:
    """Give the server a frame of the PPMID as its pump does; what it sends."""
    server.drain()
    try:
        command = parse_command(command_id, from_server, payload)
    except TheirError as error:
        server.receive_malformed(PPMID, command_id, 77, error, 5.0)
    else:
        server.receive(PPMID, command, 77, 5.0)
    return [item for item in server.drain() if isinstance(item, Send)]


def offered(**settings) -> OtaServer:
    server = OtaServer(ServerSettings(**settings))
    server.offer(Offer.of(FILE, [PPMID, HCALCS], Activation.WAIT), 0.0)
    server.drain()
    return server


def queued() -> OtaServer:
    server = offered(downloads_at_once=1)
    server.receive(HCALCS, ImageBlockRequest(*OURS, 0, 65), 1, 1.0)
    server.receive(PPMID, ImageBlockRequest(*OURS, 0, 65), 1, 1.0)
    return server


def told(command: Command) -> OtaServer:
    server = offered()
    server.receive(PPMID, command, 1, 1.0)
    return server


def paused() -> OtaServer:
    server = told(ImageBlockRequest(*OURS, 0, 65))
    server.pause(PPMID, 2.0)
    return server


def aborted() -> OtaServer:
    server = told(ImageBlockRequest(*OURS, 0, 65))
    server.abort(PPMID, 2.0)
    return server


def withdrawn() -> OtaServer:
    server = told(ImageBlockRequest(*OURS, 0, 65))
    server.withdraw(image_id(FILE), 2.0)
    return server


PLACES = {
    "nothing on offer": (None, lambda: OtaServer(ServerSettings())),
    "offered": (State.OFFERED, offered),
    "queued": (State.QUEUED, queued),
    "asks for blocks": (State.SERVING, lambda: told(ImageBlockRequest(*OURS, 0, 65))),
    "gets a page": (State.SERVING, lambda: told(ImagePageRequest(*OURS, 0, 65, 512, 0))),
    "paused": (State.PAUSED, paused),
    "wants more": (State.MORE_WANTED, lambda: told(UpgradeEndRequest(Status.REQUIRE_MORE_IMAGE, *OURS))),
    "done": (State.DONE, lambda: told(UpgradeEndRequest(Status.SUCCESS, *OURS))),
    "failed": (State.BARRED, lambda: told(UpgradeEndRequest(Status.INVALID_IMAGE, *OURS))),
    "aborted": (State.BARRED, aborted),
    "withdrawn": (None, withdrawn),
}


def state(server: OtaServer) -> list[State]:
    return [target.state for target in server._targets.of(PPMID)]


def cut_short(command: Command) -> list[bytes]:
    """Each beginning of the command's octets that is no command."""
    payload, cuts = command.payload(), []
    for length in range(len(payload)):
        try:
            parse_command(command.COMMAND_ID, False, payload[:length])
        except TheirError:
            cuts.append(payload[:length])
    return cuts


def test_the_places_are_all_the_states_there_are():
    assert {place[0] for place in PLACES.values()} - {None} == set(State)
    for standing, place in PLACES.values():
        assert state(place()) == ([] if standing is None else [standing])


@pytest.mark.parametrize("place", PLACES)
def test_a_command_that_is_cut_short_is_malformed_and_changes_nothing(place):
    server = PLACES[place][1]()
    before = state(server), server.timer()
    for command in FROM_CLIENT:
        for payload in cut_short(command):
            sent = hears(server, command.COMMAND_ID, payload)
            refusal = DefaultResponse(command.COMMAND_ID, Status.MALFORMED_COMMAND)
            assert sent == [Send(PPMID, refusal, 77)], (command, len(payload))
    assert (state(server), server.timer()) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_command_that_nobody_knows_or_that_is_for_a_client_is_unsupported_and_changes_nothing(place):
    server = PLACES[place][1]()
    before = state(server), server.timer()
    for command_id in range(256):
        if command_id not in (0x01, 0x03, 0x04, 0x06, 0x08):
            for payload in (b"", bytes(20)):
                refusal = DefaultResponse(command_id, Status.UNSUP_CLUSTER_COMMAND)
                assert hears(server, command_id, payload) == [Send(PPMID, refusal, 77)]
    for command in FROM_SERVER:
        refusal = DefaultResponse(command.COMMAND_ID, Status.UNSUP_CLUSTER_COMMAND)
        sent = hears(server, command.COMMAND_ID, command.payload(), from_server=True)
        assert sent == [Send(PPMID, refusal, 77)]
    assert (state(server), server.timer()) == before


IMPOSSIBLE = [
    (ImageBlockRequest(*OURS, 0, 0), Status.MALFORMED_COMMAND),
    (ImagePageRequest(*OURS, 0, 0, 512, 0), Status.MALFORMED_COMMAND),
    (ImagePageRequest(*OURS, 0, 65, 0, 0), Status.MALFORMED_COMMAND),
    (ImageBlockRequest(*OURS, len(FILE), 65), Status.NO_IMAGE_AVAILABLE),
    (ImageBlockRequest(*OURS, 0xFFFFFFFF, 65), Status.NO_IMAGE_AVAILABLE),
    (ImagePageRequest(*OURS, len(FILE), 65, 512, 0), Status.NO_IMAGE_AVAILABLE),
    (ImageBlockRequest(0xFFF0, 0x0000, 0xFFFFFFF0, 100, 65), Status.NO_IMAGE_AVAILABLE),
    (UpgradeEndRequest(Status.SUCCESS, 0xFFF0, 0, 1), Status.NO_IMAGE_AVAILABLE),
]


@pytest.mark.parametrize("place", ["offered", "queued", "asks for blocks", "paused", "wants more", "done"])
@pytest.mark.parametrize(("command", "status"), IMPOSSIBLE)
def test_what_cannot_be_given_is_refused_with_the_status_that_says_why(place, command, status):
    server = PLACES[place][1]()
    before = state(server)
    sent = hears(server, command.COMMAND_ID, command.payload())
    assert sent == [Send(PPMID, DefaultResponse(command.COMMAND_ID, status), 77)]
    assert state(server) == before


@pytest.mark.parametrize("place", PLACES)
def test_every_status_of_an_upgrade_end_is_answered_once(place):
    for value in range(256):
        command = UpgradeEndRequest(Status(value), *OURS)
        sent = hears(PLACES[place][1](), 0x06, command.payload())
        (answer,) = [send.command for send in sent if send.sequence == 77]
        assert isinstance(answer, UpgradeEndResponse | DefaultResponse)


@pytest.mark.parametrize("place", PLACES)
def test_whatever_is_refused_by_a_device_is_never_answered(place):
    server = PLACES[place][1]()
    for command_id in range(10):
        for status in range(256):
            refusal = DefaultResponse(command_id, Status(status), from_server=False)
            server.drain()
            server.receive(PPMID, refusal, 77, 5.0)
            assert not [item for item in server.drain() if isinstance(item, Send)]


@pytest.mark.parametrize("seed", range(40))
def test_a_talk_of_damaged_commands_never_ends_in_an_error(seed):
    """Blocks are of the image, answers can be written down, and an honest device is served afterwards."""
    dice = random.Random(seed)
    server = offered()
    now = 1.0
    for _ in range(200):
        now += dice.choice((0.0, 0.01, 1.0, 100.0, 4000.0))
        command = dice.choice(FROM_CLIENT)
        payload = mutated(command.payload(), dice) if dice.random() < 0.7 else command.payload()
        try:
            heard = parse_command(command.COMMAND_ID, False, payload)
        except TheirError as error:
            server.receive_malformed(PPMID, command.COMMAND_ID, 77, error, now)
        else:
            server.receive(PPMID, heard, 77, now)
        server.tick(now)
        for item in server.drain():
            if not isinstance(item, Send):
                continue
            item.command.payload()
            assert item.peer in (PPMID, HCALCS)
            if isinstance(item.command, ImageBlockResponse):
                at, data = item.command.file_offset, item.command.data
                assert data
                assert FILE[at : at + len(data)] == data
            if item.tells_outcome:
                server.sent(item, dice.random() < 0.8, now)
    server.receive(HCALCS, ImageBlockRequest(*OURS, 130, 65), 9, now)
    blocks = [item.command for item in server.drain() if isinstance(item, Send) and item.peer == HCALCS]
    assert [block.data for block in blocks if isinstance(block, ImageBlockResponse)] == [FILE[130:195]]
