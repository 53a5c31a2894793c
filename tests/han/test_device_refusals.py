"""What a device's GBCS end does not believe: it says why, answers nothing and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from han.facts import Fact, Facts
from han.gbcs.codes import USE_CASES, MessageCode
from han.gbcs.der import encode
from han.gbcs.envelope import Envelope, MessageKind, Supplementary
from han.gbcs.messages import activate_firmware, payload_of, read_firmware_version
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, lab_party
from han.gbcs.payloads import CANCEL, ActivateFirmwareCommand
from han.gbcs.protection import signed, with_mac
from han.sim.air.timeline import Timeline
from han.sim.devices.activation import Decision, HeldImage, decide
from han.sim.devices.kinds import nature_of
from han.sim.devices.memory import Memory
from han.sim.devices.remote_party import RemoteParty
from han.sim.home import DeviceDescription, InstallCode, Kind
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64

DEVICE = Eui64.parse("00-DB-12-34-56-78-90-A5")
NEIGHBOUR = Eui64.parse("00-DB-12-34-56-78-90-A1")
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HASH = bytes(range(32))
OLD, NEW = 0x00010000, 0x00020000
PENDING = 5
"""The counter of the command that the device has accepted before."""


class HoldsAnImage:
    """Firmware that holds one image until it is activated."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held: HeldImage | None = HeldImage(NEW, HASH)

    def decide(self, wanted_hash: bytes) -> Decision:
        return decide(self.held, wanted_hash, self._memory.file_version)

    def activate(self) -> None:
        self.held, self._memory.file_version = None, NEW


class Desk:
    """The GBCS end of one device, without a radio. A dated activation is pending, unless it knows none."""

    def __init__(self, kind: Kind = Kind.HCALCS, *, silent: bool = False) -> None:
        self.timeline = Timeline()
        self.told: list[bytes] = []
        self.facts: list[Fact] = []
        facts = Facts(lambda: self.timeline.now)
        facts.subscribe(self.facts.append)
        self.memory = Memory(NodeStore(), OLD)
        self.firmware = HoldsAnImage(self.memory)
        code = InstallCode(bytes.fromhex("8468461acbac55e2222d2939821412e59593"))
        self.party = RemoteParty(
            eui64=DEVICE,
            nature=nature_of(
                DeviceDescription(
                    kind=kind,
                    name="device",
                    eui64=DEVICE,
                    install_code=code,
                    image_type=1,
                    file_version=OLD,
                    silent=silent,
                )
            ),
            memory=self.memory,
            firmware=self.firmware,
            timeline=self.timeline,
            facts=facts,
            name="device",
            utc=self.clock,
            clock=self.clock,
            tell=self.told.append,
        )
        self.party.attached()
        if self.party._nature.two_stage:
            self.party.hear(cs06(PENDING, NOW + timedelta(hours=1)).to_bytes())
            self.told.clear()

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.timeline.now)

    def state(self) -> object:
        return self.memory.to_dict(), self.firmware.held, self.timeline.timer()

    def refuses(self, octets: bytes) -> str | None:
        """Why it dropped the message; None if it did not, or if anything else came of it."""
        before, said = self.state(), len(self.facts)
        self.party.hear(octets)
        drops = [fact.why for fact in self.facts[said:] if fact.what == "gbcs.dropped"]
        is_clean = len(drops) == len(self.facts) - said == 1 and not self.told and self.state() == before
        return drops[0] if is_clean else None


@pytest.fixture
def desk() -> Desk:
    return Desk()


def cs06(counter: int = 9, at: datetime | None = None) -> Envelope:
    return activate_firmware(DEVICE, ActivateFirmwareCommand(HASH, counter, at))


def cs08() -> Envelope:
    return read_firmware_version(DEVICE, 9)


def protected(message: Envelope, *, by: Eui64 = SUPPLIER, mac_of: Eui64 = ACCESS_CONTROL_BROKER) -> Envelope:
    """The message signed and with a MAC, both right for whoever does them."""
    bare = replace(message, signature=None, mac=None)
    return with_mac(
        signed(bare, lab_party(by).signing),
        lab_party(mac_of).agreement,
        lab_party(DEVICE).agreement.public_key(),
    )


def only_mac(message: Envelope, mac_of: Eui64 = ACCESS_CONTROL_BROKER) -> Envelope:
    bare = replace(message, signature=None, mac=None)
    return with_mac(bare, lab_party(mac_of).agreement, lab_party(DEVICE).agreement.public_key())


VALID = {
    "CS06 now": cs06(),
    "CS06 dated": cs06(at=NOW + timedelta(hours=2)),
    "CS06 cancel": cs06(at=CANCEL),
    "CS08": cs08(),
}


@pytest.mark.parametrize("name", VALID)
def test_each_valid_command_is_taken_as_it_is(desk, name):
    assert desk.refuses(VALID[name].to_bytes()) is None


@pytest.mark.parametrize("name", VALID)
def test_a_command_with_any_one_bit_flipped_is_refused_and_changes_nothing(desk, name):
    whole = VALID[name].to_bytes()
    for bit in range(8 * len(whole)):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        assert desk.refuses(bytes(spoilt)), bit
    assert desk.refuses(whole) is None, "and the command itself is still good"


@pytest.mark.parametrize("name", VALID)
def test_a_command_cut_short_or_prolonged_anywhere_is_refused(desk, name):
    whole = VALID[name].to_bytes()
    for spoilt in [*(whole[:size] for size in range(len(whole))), whole + b"\x00", whole + whole]:
        assert desk.refuses(spoilt)


@pytest.mark.parametrize("name", VALID)
def test_a_command_with_an_octet_missing_or_doubled_anywhere_is_refused(desk, name):
    whole = VALID[name].to_bytes()
    for at in range(len(whole)):
        assert desk.refuses(whole[:at] + whole[at + 1 :]), at
        assert desk.refuses(whole[: at + 1] + whole[at:]), at


FORGED = [
    (protected(cs06(), by=ACCESS_CONTROL_BROKER), "signature", "signed by the ACB"),
    (protected(cs06(), by=DEVICE), "signature", "signed by the device itself"),
    (only_mac(cs06()), "signature", "not signed"),
    (protected(cs06(), mac_of=SUPPLIER), "MAC", "the Supplier's MAC"),
    (protected(cs06(), mac_of=NEIGHBOUR), "MAC", "a neighbour's MAC"),
    (replace(cs06(), mac=None), "MAC", "without a MAC"),
    (replace(cs06(), mac=None, signature=None, is_finished=False), "MAC", "a pre-command"),
    (protected(replace(cs06(), originator=ACCESS_CONTROL_BROKER)), "signature", "from the ACB"),
    (
        protected(replace(cs06(), originator=NEIGHBOUR), by=NEIGHBOUR),
        "signature",
        "from a neighbour who signs it",
    ),
    (protected(replace(cs06(), recipient=NEIGHBOUR)), "for 00-DB", "for a neighbour"),
    (protected(replace(cs06(), kind=MessageKind.RESPONSE)), "response", "a response"),
    (protected(replace(cs06(), kind=MessageKind.ALERT)), "alert", "an alert"),
    (protected(cs06(PENDING)), "counter", "an equal counter"),
    (protected(cs06(PENDING - 1)), "counter", "a lower counter"),
    (protected(cs06(0)), "counter", "no counter"),
    (protected(cs06(PENDING, CANCEL)), "counter", "a cancellation with an equal counter"),
    (protected(replace(cs06(), counter=10)), "counters", "another counter outside than inside"),
    (protected(replace(cs06(), counter=(1 << 64) - 1)), "counters", "the greatest counter outside"),
    (only_mac(cs08(), mac_of=SUPPLIER), "MAC", "CS08 with the Supplier's MAC"),
    (replace(cs08(), mac=None), "MAC", "CS08 without a MAC"),
    (only_mac(replace(cs08(), originator=SUPPLIER)), "only the ACB", "CS08 from the Supplier"),
    (only_mac(replace(cs08(), recipient=NEIGHBOUR)), "for 00-DB", "CS08 for a neighbour"),
    (only_mac(replace(cs08(), kind=MessageKind.ALERT)), "alert", "CS08 as an alert"),
]


@pytest.mark.parametrize(("message", "why", "what"), FORGED, ids=[what for _, _, what in FORGED])
def test_a_command_that_is_not_what_it_should_be_is_refused_with_the_reason(desk, message, why, what):
    told = desk.refuses(message.to_bytes())
    assert told is not None
    assert why in told, what


def test_a_command_that_was_carried_out_cannot_be_played_again(desk):
    command = cs06().to_bytes()
    desk.party.hear(command)
    desk.timeline.run(10.0)
    assert desk.memory.file_version == NEW
    desk.firmware.held = HeldImage(OLD, HASH)
    before = desk.state()
    desk.party.hear(command)
    desk.timeline.run(20.0)

    assert desk.state() == before
    assert desk.told[0] == desk.told[1], "the same answer, and nothing else"


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"", "nothing"),
        (encode(None), "the payload of another command"),
        (encode((HASH, 9))[:-1], "cut DER"),
        (encode((HASH, 9)) + b"\x00", "an octet behind the DER"),
        (encode((HASH[1:], 9)), "a hash of 31 octets"),
        (encode((HASH,)), "no counter"),
        (encode((9, HASH)), "the fields in another order"),
        (encode((HASH, 9, NOW, NOW)), "two times"),
        (encode((HASH, 9, b"20260105120000Z")), "a time that is a string"),
        (encode((HASH, 9, None)), "a NULL in place of the time"),
        (encode((HASH, -9)), "a counter below zero"),
        (bytes.fromhex("308125") + encode((HASH, 9))[2:], "a length in needless octets"),
        (encode((HASH, 9, NOW)).replace(b"0105", b"1305"), "a month 13"),
        (encode((HASH, 9, NOW)).replace(b"Z", b"A"), "a time without Z"),
        (encode(((HASH, 9),)), "one nest too many"),
    ],
    ids=str,
)
def test_a_well_protected_command_whose_payload_is_none_is_refused(desk, payload, what):
    assert desk.refuses(protected(replace(cs06(), payload=payload)).to_bytes()), what


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x00\x00", b"\x05\x01\x00", encode((HASH, 9))])
def test_a_well_protected_question_for_the_version_whose_payload_is_not_null_is_refused(desk, payload):
    assert desk.refuses(only_mac(replace(cs08(), payload=payload)).to_bytes())


UNKNOWN = [0x0000, 0x0013, 0x00CA, 0x00CE, 0x00CF, 0x0059, 0x0084, 0x0128, 0x012B, 0x1000, 0x1001, 0xFFFF]


@pytest.mark.parametrize("code", UNKNOWN)
def test_a_command_under_a_code_that_is_none_of_its_own_is_refused(desk, code):
    assert code not in (MessageCode.ACTIVATE_FIRMWARE, MessageCode.READ_PPMID_OR_HCALCS_VERSION)
    why = desk.refuses(protected(replace(cs06(), code=code)).to_bytes())
    assert why is not None
    assert f"{code:#06x}" in why


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.PPMID, "CS06 now"),
        (Kind.PPMID, "CS06 dated"),
        (Kind.PPMID, "CS06 cancel"),
        (Kind.GSME, "CS08"),
        (Kind.ESME, "CS08"),
    ],
)
def test_a_command_for_another_kind_of_device_is_refused(kind, name):
    desk = Desk(kind)
    assert "not for a device of this kind" in desk.refuses(VALID[name].to_bytes())


@pytest.mark.parametrize("message", VALID.values(), ids=VALID)
def test_a_ppmid_from_before_secmp0007_answers_no_command(message):
    desk = Desk(Kind.PPMID, silent=True)
    assert "not for a device of this kind" in desk.refuses(message.to_bytes())


def test_a_ppmid_from_before_secmp0007_never_says_anything_by_itself():
    desk = Desk(Kind.PPMID, silent=True)
    for is_good in (True, False):
        desk.party.tried_new_firmware(activated=is_good)
        desk.party.checked_image(HASH, is_authentic=is_good)
    assert (desk.told, desk.facts, desk.memory.originator_counter) == ([], [], 0)


def test_a_version_is_read_under_any_counter_and_a_supplementary_party_may_be_named(desk):
    third = replace(cs08(), supplementary=Supplementary(SUPPLIER, 7, 8))
    for message in (cs08(), cs08(), only_mac(third)):
        assert desk.refuses(message.to_bytes()) is None
    assert {payload_of(Envelope.parse(octets)).file_version for octets in desk.told} == {OLD}
    assert all(Envelope.parse(octets).code in USE_CASES for octets in desk.told)
