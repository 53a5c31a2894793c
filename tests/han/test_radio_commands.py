"""What the hub tells a dongle, command for command, about who may join and with which key."""

from __future__ import annotations

import asyncio

import pytest
from bellows.ezsp.protocol import ProtocolHandler
from bellows.types import EzspDecisionBitmask, EzspPolicyId
from dongle_house import CODE, PPMID, DongleHouse, Ears, registered, start

from han.security.install_code import link_key
from han.sim.node.service import SendRequest
from han.sim.wire import zdo
from han.zcl import SMART_ENERGY_PROFILE

WELL_KNOWN = b"ZigBeeAlliance09"
INSTALL_CODES_ONLY = int(EzspDecisionBitmask.ALLOW_JOINS | EzspDecisionBitmask.JOINS_USE_INSTALL_CODE_KEY)
REJOINS_ONLY = int(EzspDecisionBitmask.ALLOW_UNSECURED_REJOINS)


class Commands:
    """Everything that bellows sends to the dongle: names, and arguments as they are given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[object]]] = []

    def about(self, name: str) -> list[list[object]]:
        """The arguments of each command of this name."""
        return [arguments for sent, arguments in self.sent if sent == name]

    @property
    def trust_centre_policies(self) -> list[int]:
        """What the Trust Centre was told, in order."""
        policies = self.about("setPolicy")
        return [int(decision) for policy, decision in policies if policy == EzspPolicyId.TRUST_CENTER_POLICY]

    @property
    def keys(self) -> list[list[object]]:
        """Every key for joining that the dongle was given, with what stands beside it."""
        giving = {"importTransientKey", "addTransientLinkKey", "importLinkKey", "addOrUpdateKeyTableEntry"}
        return [arguments for name, arguments in self.sent if name in giving]


@pytest.fixture
def commands(monkeypatch):
    """Listens in between bellows and its serial line; changes nothing."""
    heard = Commands()
    send = ProtocolHandler.command

    async def listening(self, name, *args, **kwargs):
        heard.sent.append((name, [*args, *kwargs.values()]))
        return await send(self, name, *args, **kwargs)

    monkeypatch.setattr(ProtocolHandler, "command", listening)
    return heard


@pytest.mark.parametrize("ezsp", [13, 17])
@pytest.mark.parametrize("how", ["formed", "resumed", "adopted", "replaced"])
async def test_however_a_hub_starts_joining_stays_closed_and_no_key_is_given(
    rebound, commands, tmp_path, how, ezsp
):
    with registered(DongleHouse(ezsp=ezsp)) as house:
        if how != "formed":
            await (await start(house, Ears(), state=tmp_path / "first")).close()
            commands.sent.clear()
        state = tmp_path / ("first" if how in {"formed", "resumed"} else "second")
        hub = await start(house, Ears(), state=state, adopt=how == "adopted", reform=how == "replaced")
        await asyncio.sleep(300.0)  # bellows would keep joining open for two seconds behind our back
        await hub.close()

    assert commands.about("permitJoining") == [[0]]
    assert set(commands.trust_centre_policies) == {REJOINS_ONLY}
    assert commands.keys == []


@pytest.mark.parametrize("ezsp", [13, 17])
async def test_an_admission_gives_the_dongle_one_key_and_takes_the_permission_back(rebound, commands, ezsp):
    with registered(DongleHouse(ezsp=ezsp)) as house:
        hub = await start(house, Ears())
        commands.sent.clear()
        await hub.admit(PPMID, CODE, "PPMID", 60)
        await asyncio.sleep(61.0)
        await hub.close()

    ((device, key, *_),) = commands.keys
    assert (device.serialize(), key.serialize()) == (PPMID.wire, link_key(CODE))
    assert commands.trust_centre_policies == [
        INSTALL_CODES_ONLY,  # bellows'
        INSTALL_CODES_ONLY | REJOINS_ONLY,
        REJOINS_ONLY,
    ]
    assert commands.about("permitJoining") == [[60], [0]]


async def test_the_well_known_key_opens_nothing_in_a_whole_life_of_a_hub(rebound, commands, tmp_path):
    with registered(DongleHouse()) as house:
        for _ in range(2):
            hub = await start(house, Ears(), state=tmp_path)
            await hub.admit(PPMID, CODE, "PPMID", 60)
            await house.join(house.new_device(), link_key(CODE))
            await asyncio.sleep(100.0)
            await hub.close()

    given = [argument for _, arguments in commands.sent for argument in arguments]
    assert not any(WELL_KNOWN in _octets(argument) for argument in given)
    assert any(link_key(CODE) in _octets(argument) for argument in given)


@pytest.mark.parametrize("ezsp", [13, 17])
@pytest.mark.parametrize(
    ("inputs", "outputs", "endpoints"),
    [((0x0019,), (), (1,)), ((0x0704,), (), (1,)), ((0x0702,), (), ()), ((), (0x0019,), ())],
    ids=["OTA server", "tunnel server", "no metering server", "no OTA client"],
)
@pytest.mark.usefixtures("rebound")
async def test_a_device_that_looks_for_a_server_gets_one_answer_and_a_right_one(
    commands, ezsp, inputs, outputs, endpoints
):
    """Left to itself, zigpy would answer too, that nothing of the kind is here, and interview the device."""
    answers = []
    with registered(DongleHouse(ezsp=ezsp)) as house:
        hub = await start(house, Ears())
        await hub.admit(PPMID, CODE, "PPMID", 60)
        device = house.new_device()
        await house.join(device, link_key(CODE))
        await asyncio.sleep(60.0)
        sent_before = len(commands.about("sendUnicast"))
        device.on_zdo = lambda heard: answers.append(zdo.decode(heard.cluster, heard.payload))
        question = zdo.MatchDescriptorRequest(0x0000, SMART_ENERGY_PROFILE, inputs, outputs)
        cluster = zdo.cluster_of(question)
        device.send(SendRequest(0x0000, 0, cluster, 0, 0, zdo.encode(0x5A, question)), lambda _: None)
        house.pump.wake()
        await asyncio.sleep(60.0)
        await hub.close()

    assert answers == [(0x5A, zdo.MatchDescriptorResponse(zdo.Status.SUCCESS, 0, endpoints))]
    assert len(commands.about("sendUnicast")) == sent_before
    to_the_device = [
        arguments for arguments in commands.about("sendUnicast") if _are_for(arguments, device.nwk)
    ]
    assert to_the_device == [], "nobody interviews a device that has joined"


def _are_for(arguments: list[object], nwk: int) -> bool:
    """Whether a sendUnicast goes there: as fields, or in octets behind that of its type."""
    return nwk in arguments or _octets(arguments[0])[1:3] == nwk.to_bytes(2, "little")


def _octets(argument: object) -> bytes:
    """An argument as it goes over the serial line; empty for a number or a name."""
    return argument.serialize() if hasattr(argument, "serialize") else b""
