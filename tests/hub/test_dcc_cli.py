"""``gbhan request`` and ``gbhan dsp``: what they take, print and exit with."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar

import msgspec
import pytest
from click.testing import CliRunner
from dcc_world import HCALCS, IHD, PPMID, upgrade_file

from hub.cli import main
from hub.cli import request as command
from hub.dcc import contract
from hub.dcc.requests import ActivateFirmware, ReadFirmwareVersion, UpdatePpmidFirmware
from hub.messages import TransferEntry
from ota.gbcs_image import GbcsImage, likely_layout

IMAGE = upgrade_file()

ANSWER = contract.Answered(
    ok=True,
    request_id="R",
    service_request="11.4",
    code="W110401",
    reason="accepted for 1, left out 1",
    accepted=(str(PPMID),),
    lists={"NotApplicableFirmwareDeviceIDList": (str(IHD),)},
    reasons={str(IHD): "an IHD takes no firmware"},
    advice=("wait longer",),
)


def standing(outcome: str | None, *, ok: bool) -> contract.Standing:
    device = contract.DeviceStanding(
        device=str(PPMID),
        device_type="PPMID",
        hub="h",
        stage="ended" if outcome else "delivered",
        outcome=outcome,
        ok=ok,
        version_before="01000000",
        version_after="02000000" if ok else None,
        accepted_at=0.0,
        ended_at=1.0,
    )
    told = contract.Told(at=0.0, event="accepted", code="I99", text="accepted", device=None)
    return contract.Standing(
        request_id="R",
        service_request="11.4",
        finished=outcome is not None,
        ok=ok,
        image_id=None,
        version=None,
        devices=(device,),
        story=(told,),
    )


class FakeDsp:
    """A DSP stub's client that answers from a script and remembers what it was asked."""

    asked: ClassVar[list[object]] = []
    meanwhile: ClassVar[list[contract.Standing]] = []
    answer = ANSWER
    outcome = standing("activated", ok=True)

    def __init__(self, address):
        self.address = address

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def submit(self, request):
        self.asked.append(request)
        return self.answer

    async def finished(self, request_id, *, watch, look_every):
        for each in (*self.meanwhile, self.outcome):
            watch(each)
        return self.outcome

    async def standing(self, request_id):
        return self.outcome


@pytest.fixture
def dsp(monkeypatch):
    fake = type("Scripted", (FakeDsp,), {"asked": [], "meanwhile": []})
    monkeypatch.setattr(command, "DspClient", fake)
    return fake


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ppmid.ota"
    path.write_bytes(IMAGE)
    return str(path)


def gbhan(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_an_11_4_prints_who_was_left_out_and_how_it_ended(dsp, file):
    result = gbhan("request", "11.4", "--image", file, "--device", PPMID, "--device", IHD, "--wait")

    assert result.exit_code == 0
    assert dsp.asked == [UpdatePpmidFirmware(image=IMAGE, devices=(PPMID, IHD))]
    assert f"left out {IHD}: an IHD takes no firmware" in result.output
    assert f"{PPMID} PPMID: activated, version 02000000" in result.output
    assert "note: wait longer" in result.output


def test_an_11_3_may_cancel_what_is_pending(dsp):
    result = gbhan("request", "11.3", "--cancel", "--hash", "ab" * 32, "--device", HCALCS)

    assert result.exit_code == 0, result.output
    assert dsp.asked == [
        ActivateFirmware(device=HCALCS, manufacturer_image_hash=bytes.fromhex("ab" * 32), cancels=True)
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("11.2", "--cancel"), "11.2 has no --cancel"),
        (("11.3", "--cancel", "--hash", "ab" * 32, "--at", "2026-01-05T12:00:00Z"), "cancellation"),
        (("11.3", "--cancel"), "needs --hash or --image"),
    ],
)
def test_a_cancellation_that_makes_no_sense_is_bad_input(dsp, arguments, why):
    result = gbhan("request", *arguments, "--device", HCALCS)

    assert result.exit_code == 2
    assert why in result.output
    assert dsp.asked == []


def test_json_is_one_document_on_stdout(dsp, file):
    result = gbhan("request", "11.4", "--image", file, "--device", PPMID, "--wait", "--json")

    document = json.loads(result.stdout)
    assert document["response"]["lists"] == {"NotApplicableFirmwareDeviceIDList": [str(IHD)]}
    assert document["standing"]["devices"][0]["outcome"] == "activated"


def test_whoever_waits_sees_how_the_download_goes(dsp, file):
    open_still = standing(None, ok=False)
    for percent in (10, 10, 55):
        entry = TransferEntry(
            image_id="0" * 64, state="downloading", offset=percent, size=100, percent=percent
        )
        device = msgspec.structs.replace(open_still.devices[0], transfer=entry)
        dsp.meanwhile.append(msgspec.structs.replace(open_still, devices=(device,)))
    result = gbhan("request", "11.4", "--image", file, "--device", PPMID, "--wait")

    assert [line for line in result.stderr.splitlines() if "%" in line] == [
        f"{PPMID}  downloading, 10 %",
        f"{PPMID}  downloading, 55 %",
    ]
    assert "activated" in result.stdout


def test_a_request_that_ends_badly_exits_with_1(dsp, file):
    dsp.outcome = standing("image discarded", ok=False)

    assert gbhan("request", "11.4", "--image", file, "--device", PPMID, "--wait").exit_code == 1
    assert gbhan("request", "11.4", "--image", file, "--device", PPMID).exit_code == 0


def test_an_11_3_takes_the_hash_from_the_file_or_in_hex(dsp, file):
    gbhan("request", "11.3", "--device", HCALCS, "--image", file)
    gbhan("request", "11.3", "--device", HCALCS, "--hash", "ab" * 32, "--at", "2026-02-01T00:00:00Z")

    from_file, in_hex = dsp.asked
    assert isinstance(from_file, ActivateFirmware)
    assert (
        from_file.manufacturer_image_hash
        == GbcsImage.read(IMAGE, likely_layout(IMAGE)).manufacturer_image_hash
    )
    assert in_hex.manufacturer_image_hash == bytes.fromhex("ab" * 32)
    assert in_hex.execution_time.isoformat() == "2026-02-01T00:00:00+00:00"


def test_an_11_2_and_a_status_need_little(dsp):
    assert gbhan("request", "11.2", "--device", PPMID, "--id", "mine").exit_code == 0
    assert dsp.asked == [ReadFirmwareVersion(device=PPMID, request_id="mine")]
    assert "activated" in gbhan("request", "status", "--id", "mine").output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("11.9",), "11.9"),
        (("11.4", "--device", PPMID), "--image"),
        (("11.4", "--image", "FILE"), "DeviceIDList is empty"),
        (("11.4", "--image", "/no/such/file", "--device", PPMID), "does not exist"),
        (("11.4", "--image", "FILE", "--device", "here"), "EUI-64"),
        (("11.4", "--image", "FILE", "--device", PPMID, "--version", "latest"), "FirmwareVersion"),
        (("11.4", "--image", "FILE", "--device", PPMID, "--hash", "00"), "no --hash"),
        (("11.2", "--device", PPMID, "--image", "FILE"), "no --image"),
        (("11.2",), "one --device"),
        (("11.2", "--device", PPMID, "--device", IHD), "one --device"),
        (("11.3", "--device", HCALCS), "--hash or --image"),
        (("11.3", "--device", HCALCS, "--hash", "xyz"), "hex"),
        (("11.3", "--device", HCALCS, "--hash", "abcd"), "FirmwareHash"),
        (("11.3", "--device", HCALCS, "--hash", "ab" * 32, "--at", "tomorrow"), "--at"),
        (("status",), "--id"),
        (("11.2", "--device", PPMID, "--token-file", "/no/such/token"), "token"),
    ],
)
def test_wrong_usage_is_named_and_nothing_is_sent(dsp, file, arguments, hint):
    result = gbhan("request", *(file if argument == "FILE" else argument for argument in arguments))

    assert result.exit_code == 2
    assert hint in result.output
    assert dsp.asked == []


def test_an_11_3_from_a_file_that_is_none_is_bad_input(dsp, tmp_path):
    (tmp_path / "notes").write_text("notes")
    result = gbhan("request", "11.3", "--device", HCALCS, "--image", tmp_path / "notes")

    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "hint"),
    [
        (("--listen", "nowhere"), 2, "HOST:PORT"),
        (("--listen", "0.0.0.0:8417"), 2, "--token-file"),
        (("--mqtt", "mqtt://192.0.2.1"), 2, "not this machine"),
        (("--mqtt", "carrier-pigeon://x"), 2, "mqtt://host:port"),
        (("--expiry", "soon"), 2, "14d"),
        (("--wan-rate", "0"), 2, "WAN"),
        (("--batch-size", "5"), 2, "batch"),
        (("--db", "nonsense"), 2, "sqlite:///"),
        (("--db", "sqlite:////no/such/folder/x.db"), 3, "--db"),
        (("--facts", "/no/such/folder/facts"), 2, "--facts"),
        (("--hub", "here"), 2, "EUI-64"),
    ],
)
def test_a_dsp_that_cannot_start_says_what_to_do(arguments, status, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = gbhan("dsp", "--mqtt", "mqtt://127.0.0.1:1", *arguments)

    assert result.exit_code == status
    assert hint in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_both_commands_help_with_an_example():
    for name in ("dsp", "request"):
        assert "Example: gbhan" in gbhan(name, "--help").output


def test_the_image_that_is_sent_is_the_file(dsp, file):
    gbhan("request", "11.4", "--image", file, "--device", PPMID)

    assert hashlib.sha256(dsp.asked[0].image).digest() == hashlib.sha256(IMAGE).digest()


def test_a_folder_without_certificates_is_named_before_anything_starts(tmp_path):
    result = gbhan("dsp", "--parties", tmp_path, "--mqtt", "mqtt://127.0.0.1:1")

    assert result.exit_code == 2
    assert "has no certificate: expected files EUI64-signing.pem" in result.output
