"""The demo as its user gets it, and as Wireshark reads the capture that it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tshark import Row, Tshark

from han.gbcs.envelope import Envelope
from han.gbcs.reading import explain
from han.sim.air.capture import read_keys

_BLOCK = "zbee_zcl_general.ota.cmd.srv_tx.id == 0x05 && zbee_zcl_general.ota.status == 0x00"
_FIELDS = (
    "zbee_nwk.dst",
    "zbee_zcl_general.ota.manufacturer_code",
    "zbee_zcl_general.ota.image.type",
    "zbee_zcl_general.ota.file.version",
    "zbee_zcl_general.ota.file.offset",
    "zbee_zcl_general.ota.data_size",
    "zbee_zcl_general.ota.image.data",
    "zbee_aps.counter",
    "frame.time_relative",
)


@dataclass(frozen=True)
class Run:
    """One run of the demo: what it printed and what it left."""

    document: dict[str, Any]
    capture: Path
    keys: Path
    facts: list[dict[str, Any]]
    images: dict[str, bytes]

    def said(self, what: str, who: str = "hub") -> list[dict[str, Any]]:
        return [fact for fact in self.facts if fact["what"] == what and fact["who"] == who]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", "demo", "--seed", "7", "--json", "--evidence", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        env={name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"},
    )
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    facts = [json.loads(line) for line in (folder / "facts.jsonl").read_text().splitlines()]
    images = {
        hashlib.sha256(data).hexdigest(): data
        for data in (path.read_bytes() for path in sorted((folder / "images").iterdir()))
    }
    return Run(json.loads(done.stdout), folder / "demo.pcap", folder / "demo.keys", facts, images)


def test_the_demo_keeps_every_promise_of_its_story(run):
    assert run.document["unmet"] == []
    assert run.document["ok"] is True
    assert run.document["seed"] == 7


def test_the_ppmid_gets_a_350_kb_image_activates_it_and_says_so(run):
    row = run.document["requests"][0]

    assert (row["service_request"], row["device_type"], row["outcome"]) == ("11.4", "PPMID", "activated")
    assert (row["version_before"], row["version_after"]) == ("00010000", "00020000")
    assert row["bytes"] == 350 * 1024
    assert row["blocks"] >= 350 * 1024 / 56
    assert 90 < row["download_seconds"] < 600


def test_every_request_ends_once_and_every_alert_stands_once(run):
    ended = [(row["request_id"], row["device"]) for row in run.document["requests"]]
    alerts = [alert["id"] for alert in run.document["alerts"]]

    assert len(ended) == len(set(ended))
    assert all(row["outcome"] for row in run.document["requests"])
    assert len(alerts) == len(set(alerts))
    assert len(run.said("request.ended", "dsp")) == len(run.document["requests"])


def test_a_gas_image_preempts_on_the_han_and_on_the_wan_with_one_discard_alert_each(run):
    images = {row["image"]: row["device_type"] for row in run.document["requests"] if row["image"]}
    by_gas = [row for row in run.document["preemptions"] if images[row["by"]] == "GSME"]
    failures = [alert for alert in run.document["alerts"] if alert["code"] == "0x8F89"]
    discards = [alert for alert in failures if alert["response"] == 1]

    assert [row["stage"] for row in by_gas] == ["han", "wan"]
    assert len(discards) == 3
    assert [alert["response"] for alert in failures if alert not in discards] == [3], "the forged image"
    assert len({alert["device"] for alert in discards[:2]}) == 2


def signature_of(message: Envelope) -> bytes:
    assert message.signature is not None
    return encode_dss_signature(
        *(int.from_bytes(half, "big") for half in (message.signature[:32], message.signature[32:]))
    )


def test_openssl_finds_every_signature_in_the_evidence_good_from_the_evidence_alone(run, program, tmp_path):
    openssl, folder = program("openssl"), run.capture.parent
    files = sorted((folder / "gbcs").iterdir())
    assert [path.read_text().strip() for path in files] == [row["gbcs"] for row in run.document["messages"]]
    assert {alert["gbcs"] for alert in run.document["alerts"]} <= {path.read_text().strip() for path in files}
    messages = [Envelope.parse(bytes.fromhex(path.read_text())) for path in files]
    signed = [message for message in messages if message.signature]
    assert len(signed) >= len(run.document["alerts"])
    for message in signed:
        certificate = folder / "parties" / f"{message.originator.hex}-signing.pem"
        public, signature = tmp_path / "public.pem", tmp_path / "signature"
        signature.write_bytes(signature_of(message))
        for command, octets in (
            (["verify", "-CAfile", str(folder / "parties" / "authority.pem"), str(certificate)], b""),
            (["x509", "-in", str(certificate), "-pubkey", "-noout", "-out", str(public)], b""),
            (
                ["dgst", "-sha256", "-verify", str(public), "-signature", str(signature)],
                message.signed_octets,
            ),
        ):
            done = subprocess.run(
                [str(openssl), *map(str, command)], input=octets, capture_output=True, check=False
            )
            assert done.returncode == 0, (message, done.stderr)


def test_every_gbcs_message_of_the_evidence_is_explained(run):
    unsigned = {"cs08-command", "cs08-response"}
    for path in sorted((run.capture.parent / "gbcs").iterdir()):
        fields = {field.name: field.meaning for field in explain(bytes.fromhex(path.read_text()))}
        assert fields.get("payload", "NULL") == "NULL", path.name
        assert (fields["signature"] == "none") is any(kind in path.name for kind in unsigned), path.name


def test_the_evidence_holds_commands_and_answers_of_every_use_case(run):
    kinds = {row["kind"] for row in run.document["messages"]}
    assert kinds == {
        "activation",
        "cs06-command",
        "cs08-command",
        "cs08-response",
        "firmware-transfer",
        "firmware-verification",
        "ppmid-activation",
    }


def test_the_esme_refuses_a_forged_image_and_activates_the_good_one_on_its_second_date(run):
    esme = [row for row in run.document["requests"] if row["device_type"] == "ESME"]
    assert [(row["service_request"], row["outcome"]) for row in esme] == [
        ("11.1", "file transfer failure"),
        ("11.1", "transferred"),
        ("11.3", "cancelled"),
        ("11.3", "cancellation accepted"),
        ("11.3", "activated"),
    ]
    codes = [alert["code"] for alert in run.document["alerts"] if alert["device"] == esme[0]["device"]]
    assert codes.count("0x8F66") == 1
    assert codes.index("0x8F1C") < codes.index("0x8F72") < codes.index("0x8F66")


def test_the_download_goes_on_where_it_stood_when_the_hub_loses_its_power(run):
    crashes = run.said("hub.crashed")
    assert len(crashes) == 1
    ppmid = run.document["requests"][0]["device"]
    before = [
        fact for fact in run.said("ota.block") if fact["device"] == ppmid and fact["at"] < crashes[0]["at"]
    ]
    after = [
        fact for fact in run.said("ota.block") if fact["device"] == ppmid and fact["at"] > crashes[0]["at"]
    ]
    assert abs(after[0]["offset"] - before[-1]["offset"]) <= 4 * 65, "a block or two were on their way"


def test_the_silent_ppmid_sends_no_activation_alert_and_none_is_invented(run):
    rows = [row for row in run.document["requests"] if "unreported" in (row["outcome"] or "")]

    assert len(rows) == 1
    (row,) = rows
    about = [alert for alert in run.document["alerts"] if alert["device"] == row["device"]]
    assert [alert["code"] for alert in about] == ["0x8F8A"]
    assert row["version_after"] == "00020000", "an 11.2 confirms it afterwards"


def test_an_uncollected_image_is_held_on_day_15_and_displaced_on_day_20(run):
    retention = run.document["retention"]

    assert retention["held"] is True
    assert retention["day"] == 15
    assert 20 <= retention["displaced_on_day"] < 21


def test_no_key_that_opens_the_capture_is_in_a_fact_or_in_the_report(run):
    told = json.dumps([run.facts, run.document]).lower()
    keys = [key for key, _ in read_keys(run.keys)]

    assert len(keys) >= 9, "a network key, and each device's before and after it proved itself"
    for key in keys:
        for form in (
            key.hex(),
            key[::-1].hex(),
            key.hex(":"),
            key.hex("-"),
            key.hex(" "),
        ):
            assert form not in told


@pytest.mark.oracle
def test_wireshark_decrypts_every_frame_and_finds_nothing_wrong(run, tshark: Tshark):
    assert tshark.faults(run.capture, run.keys) == []
    assert len(tshark.rows(run.capture, ["frame.number"])) == run.document["frames"]


@pytest.fixture(scope="module")
def blocks(run, tshark: Tshark) -> list[Row]:
    return tshark.rows(run.capture, _FIELDS, keys=run.keys, where=_BLOCK)


@pytest.mark.oracle
def test_every_image_block_is_under_aps_security_and_carries_56_octets_but_the_last(
    run, blocks, tshark: Tshark
):
    sizes = {fact["image"]: fact["size"] for fact in run.said("slot.stored")}
    ends = {size - 56 * (size // 56) for size in sizes.values()}
    assert {int(row[_FIELDS[5]][0], 0) for row in blocks} == {56} | (ends - {0})

    # Within the APS layer: a security header of its own, under the link key (key id 0).
    sealed = tshark.rows(
        run.capture, ["zbee.sec.key_id"], keys=run.keys, where=f"({_BLOCK}) && zbee_aps.security == 1"
    )
    assert len(sealed) == len(blocks)
    assert {tuple(row["zbee.sec.key_id"]) for row in sealed} == {("0x01", "0x00")}


@pytest.mark.oracle
def test_wireshark_sees_each_device_establish_its_key_in_suite_2(run, tshark: Tshark):
    confirmed, named = (
        tshark.rows(run.capture, ["zbee_nwk.src", "zbee_zcl_se.ke.cert.curve"], keys=run.keys, where=where)
        for where in ("zbee_zcl_se.ke.macu", "zbee_zcl_se.ke.cert.subject && zbee_nwk.dst == 0x0000")
    )
    joined = {fact["device"]: fact["nwk"] for fact in run.said("device.joined")}
    established = {joined[fact["device"]] for fact in run.said("keys.established")}

    assert established == set(joined.values())
    for rows in (confirmed, named):
        assert {int(row["zbee_nwk.src"][0], 0) for row in rows} == established
    assert {row["zbee_zcl_se.ke.cert.curve"][0] for row in named} == {"0x0d"}, "sect283k1"


@pytest.mark.oracle
def test_the_images_that_wireshark_sees_are_the_files_served(run, blocks):
    files: dict[tuple[str, ...], dict[int, bytes]] = defaultdict(dict)
    for row in blocks:
        key = tuple(row[field][-1] for field in _FIELDS[:4])
        offset, data = int(row[_FIELDS[4]][0], 0), bytes.fromhex(row[_FIELDS[6]][0].replace(":", ""))
        assert len(data) == int(row[_FIELDS[5]][0], 0)
        assert files[key].setdefault(offset, data) == data
    rebuilt = set()
    for pieces in files.values():
        whole = b""
        for offset, data in sorted(pieces.items()):
            assert offset == len(whole)
            whole += data
        rebuilt.add(hashlib.sha256(whole).hexdigest())
    finished = {row["image"] for row in run.document["requests"] if row["ok"] and row["blocks"]}

    assert finished <= rebuilt
    assert finished <= run.images.keys()


@pytest.mark.oracle
def test_offsets_and_sizes_that_wireshark_reads_are_those_of_the_facts(run, blocks):
    addresses = {fact["device"]: fact["nwk"] for fact in run.said("device.joined")}
    told = [(addresses[fact["device"]], fact["offset"], fact["size"]) for fact in run.said("ota.block")]
    # A frame that the radio repeats is one block to whoever sent it: the APS counter tells them apart, until
    # it comes round.
    seen, last = [], {}
    for row in blocks:
        block = int(row["zbee_nwk.dst"][0], 0), int(row[_FIELDS[4]][0], 0), int(row[_FIELDS[5]][0], 0)
        at, key = float(row["frame.time_relative"][0]), (block, row["zbee_aps.counter"][0])
        if at - last.get(key, -60.0) >= 60.0:
            seen.append(block)
        last[key] = at

    assert sorted(told) == sorted(seen)
    assert sum(row["blocks"] for row in run.document["requests"]) == len(told)
