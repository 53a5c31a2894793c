"""``gbhan image``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hub.cli import main

FIXTURES = Path(__file__).parents[2] / "fixtures" / "images"
GOOD = FIXTURES / "ppmid-00000002.ota"
SIGNED = FIXTURES / "hcalcs-00000002.ota"


def gbhan(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["image", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("command", [[], ["build"], ["inspect"], ["verify"], ["sign"], ["diff"]])
def test_every_help_has_an_example(command):
    assert "Example: gbhan image" in gbhan(*command, "--help").stdout


def test_a_file_that_is_built_is_the_same_every_time_and_good(tmp_path):
    made = []
    for name in ("one.ota", "two.ota"):
        built = gbhan(
            "build", "--for", "PPMID", "--file-version", "0x2", "--seed", 7, "--json", "-o", tmp_path / name
        )
        assert built.exit_code == 0
        made.append(json.loads(built.stdout))
        assert gbhan("verify", tmp_path / name).exit_code == 0
    assert made[0] == made[1]
    assert made[0]["image_id"] == hashlib.sha256((tmp_path / "one.ota").read_bytes()).hexdigest()
    assert made[0]["file_version"] == "00000002"


def test_a_manufacturer_image_of_one_s_own_is_wrapped_as_it_is(tmp_path):
    (tmp_path / "firmware.bin").write_bytes(b"my firmware")
    built = gbhan(
        "build",
        "--for",
        "PPMID",
        "--file-version",
        "ACDCACDC",
        "--hardware",
        "1111",
        "1211",
        "--name",
        "mine",
        "--destination",
        "00-DB-12-34-56-78-90-A4",
        "--manufacturer-image",
        tmp_path / "firmware.bin",
        "-o",
        tmp_path / "mine.ota",
        "--json",
    )
    facts = json.loads(built.stdout)
    assert facts["hardware_versions"] == ["1111", "1211"]
    assert facts["destination"] == "00-DB-12-34-56-78-90-A4"
    assert facts["manufacturer_image_hash"] == hashlib.sha256(b"my firmware").hexdigest()
    assert (tmp_path / "mine.ota").read_bytes().endswith(b"my firmware")


def test_inspect_explains_a_good_file_in_json():
    facts = json.loads(gbhan("inspect", "--json", GOOD).stdout)
    assert facts["manufacturer"] == "121D"
    assert facts["total_size"] == facts["size"] == GOOD.stat().st_size
    assert facts["layout"] == "manufacturer image"
    assert facts["findings"] == []


def test_inspect_tells_people_and_programs_the_same():
    shown = gbhan("inspect", SIGNED).stdout
    facts = json.loads(gbhan("inspect", "--json", SIGNED).stdout)
    assert facts["signed"] is True
    for key in ("image_id", "file_version", "manufacturer_image_hash"):
        assert facts[key] in shown
    for part in facts["parts"]:
        assert any(part["name"] in line and part["value"] in line for line in shown.splitlines()), part


@pytest.mark.parametrize("name", ["truncated", "oversized", "size-in-header", "hardware-range"])
def test_inspect_explains_a_spoilt_file_as_far_as_it_can_be_read(name):
    result = gbhan("inspect", "--json", FIXTURES / f"spoilt-{name}.ota")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["file_version"] == "00000002"
    assert facts["findings"]


@pytest.mark.parametrize("layout", [(), ("--for", "HCALCS"), ("--for", "PPMID")])
@pytest.mark.parametrize("name", ["wrong-magic", "header-cut", "header-length"])
def test_inspect_names_what_is_wrong_with_a_file_that_cannot_be_read(name, layout):
    file = FIXTURES / f"spoilt-{name}.ota"
    result = gbhan("inspect", file, *layout)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert str(file) in result.stderr
    as_json = gbhan("inspect", "--json", file, *layout)
    assert as_json.exit_code == 2
    assert json.loads(as_json.stdout)["findings"]


def test_verify_passes_good_files():
    assert gbhan("verify", GOOD).exit_code == 0
    assert gbhan("verify", "--for", "HCALCS", "--key", FIXTURES / "supplier.pem", SIGNED).exit_code == 0
    assert json.loads(gbhan("verify", "--json", GOOD).stdout) == {
        "file": str(GOOD),
        "ok": True,
        "findings": [],
    }


@pytest.mark.parametrize(
    "name",
    [
        "truncated",
        "oversized",
        "wrong-magic",
        "header-cut",
        "size-in-header",
        "header-length",
        "hardware-range",
    ],
)
def test_verify_fails_a_spoilt_file_and_says_why(name):
    file = FIXTURES / f"spoilt-{name}.ota"
    shown = gbhan("verify", file)
    assert shown.exit_code == 1
    assert str(file) in shown.stdout
    told = json.loads(gbhan("verify", "--json", file).stdout)
    assert told["ok"] is False
    assert told["findings"][0]["problem"] in shown.stdout


@pytest.mark.parametrize("name", ["signature", "signature-length"])
def test_verify_fails_a_spoilt_authorisation(name):
    file = FIXTURES / f"spoilt-{name}.ota"
    assert gbhan("verify", "--for", "HCALCS", "--key", FIXTURES / "supplier.pem", file).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "/no/such/file"],
        ["inspect", "/no/such/file"],
        ["verify", "--key", GOOD, SIGNED],
        ["verify", "--for", "IHD", GOOD],
        ["build", "--file-version", "not-hex", "-o", "x"],
        ["build", "--file-version", "100000000", "-o", "x"],
        ["build", "--file-version", "2", "-o", "/no/such/directory/x"],
        ["build", "--file-version", "2", "--name", "x" * 33, "-o", "x"],
        ["build", "--file-version", "2", "--hardware", "1211", "1111", "-o", "x"],
        ["build", "--file-version", "2", "--destination", "00-DB", "-o", "x"],
        ["build", "--file-version", "2", "--for", "PPMID", "--force-replace", "-o", "x"],
        ["build", "--file-version", "2", "--for", "HCALCS", "--sign", FIXTURES / "supplier.pem", "-o", "x"],
    ],
)
def test_wrong_usage_and_bad_input_are_named_and_make_nothing(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = gbhan(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert list(tmp_path.iterdir()) == []


# --- files with sub-elements, signatures, differences ------------------------------------------------------

SIGNER = "00-DB-12-34-56-78-90-A2"


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A folder to work in, with a plain file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture").write_bytes(b"PNG")
    built = gbhan(
        *("build", "--sub-elements", "--file-version", 2, "--element", "4=picture", "--integrity-code"),
        *("--credential-version", "02", "--stack-version", "3", "-o", "plain.ota", "--json"),
    )
    assert built.exit_code == 0, built.output
    return tmp_path


def test_a_file_is_built_with_sub_elements_and_every_header_option(at):
    facts = json.loads(gbhan("inspect", "plain.ota", "--json").stdout)
    assert facts["layout"] == "sub-elements"
    assert facts["sub_elements"] == [
        "UPGRADE_IMAGE: 2048 octets",
        "PICTURE: 3 octets",
        "INTEGRITY_CODE: 16 octets",
    ]
    assert (facts["stack_version"], facts["findings"]) == ("0003", [])
    assert sum(part["size"] for part in facts["parts"]) == (at / "plain.ota").stat().st_size


@pytest.mark.parametrize("suite", [1, 2])
def test_a_file_is_signed_in_either_suite_and_only_by_who_may(at, suite):
    signed = ("sign", "plain.ota", "--lab", "--signer", SIGNER, "--suite", suite, "-o")
    assert gbhan(*signed, "one.ota").exit_code == 0
    assert gbhan(*signed, "two.ota").exit_code == 0
    assert (at / "one.ota").read_bytes() == (at / "two.ota").read_bytes()
    assert gbhan("verify", "one.ota", "--lab").exit_code == 0
    assert gbhan("verify", "one.ota", "--lab", "--signer", SIGNER).exit_code == 0
    stranger = gbhan("verify", "one.ota", "--lab", "--signer", "00-DB-12-34-56-78-90-A3")
    assert stranger.exit_code == 1
    assert "none of those who may sign" in stranger.stdout
    shown = gbhan("inspect", "one.ota").stdout
    assert f"by {SIGNER}" in shown
    assert f"of {SIGNER}" in shown


def test_a_file_is_signed_by_an_authority_of_ones_own(at):
    def keys(*arguments):
        return CliRunner().invoke(main, ["keys", *map(str, arguments)])

    assert keys("ca", "my-ca").exit_code == 0
    assert keys("issue", "my-ca", SIGNER).exit_code == 0
    assert gbhan("sign", "plain.ota", "--keys", "my-ca", "--signer", SIGNER, "-o", "mine.ota").exit_code == 0
    assert gbhan("verify", "mine.ota", "--authority", "my-ca").exit_code == 0
    assert gbhan("verify", "mine.ota", "--lab").exit_code == 1
    spoilt = bytearray((at / "mine.ota").read_bytes())
    spoilt[100] ^= 1
    (at / "spoilt.ota").write_bytes(spoilt)
    told = json.loads(gbhan("verify", "spoilt.ota", "--authority", "my-ca", "--json").stdout)
    assert {each["field"] for each in told["findings"]} == {"integrity code", "signature"}


@pytest.mark.usefixtures("at")
def test_inspect_says_which_device_would_refuse_a_file():
    facts = json.loads(
        gbhan("inspect", GOOD, "--hardware-version", "0001", "--running", "2", "--json").stdout
    )
    assert [each["field"] for each in facts["refused"]] == ["hardware versions", "file version"]
    assert "refused: hardware versions" in gbhan("inspect", GOOD, "--hardware-version", "0001").stdout


def test_diff_tells_fields_and_octets(at):
    assert gbhan("build", "--file-version", 2, "-o", "a.ota").exit_code == 0
    assert gbhan("build", "--file-version", 3, "-o", "b.ota").exit_code == 0
    assert gbhan("diff", "a.ota", "a.ota").exit_code == 0
    told = gbhan("diff", "a.ota", "b.ota", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout) == {
        "same": False,
        "fields": [{"name": "file version", "first": "00000002", "second": "00000003"}],
        "octets": [{"start": 14, "stop": 15}],
    }
    shown = gbhan("diff", "a.ota", "b.ota").stdout
    assert "file version: 00000002 -> 00000003" in shown
    assert "octets 14 to 14 differ (1)" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["sign", "plain.ota", "--signer", SIGNER, "-o", "x"],
        ["sign", "plain.ota", "--lab", "--keys", "nowhere", "--signer", SIGNER, "-o", "x"],
        ["sign", GOOD, "--lab", "--signer", SIGNER, "-o", "x"],
        ["sign", "plain.ota", "--lab", "--signer", "00-DB", "-o", "x"],
        ["verify", "plain.ota", "--signer", SIGNER],
        ["diff", "plain.ota", "picture"],
        ["build", "--file-version", "2", "--element", "4=picture", "-o", "x"],
        ["build", "--file-version", "2", "--sub-elements", "--element", "4", "-o", "x"],
        ["build", "--file-version", "2", "--sub-elements", "--element", "4=absent", "-o", "x"],
        ["build", "--file-version", "2", "--sub-elements", "--element", "3=picture", "-o", "x"],
        ["build", "--file-version", "2", "--sub-elements", "--for", "PPMID", "-o", "x"],
        ["build", "--file-version", "2", "--sub-elements", "--force-replace", "-o", "x"],
    ],
)
def test_wrong_usage_of_sub_elements_and_signatures_is_named(at, arguments):
    result = gbhan(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert not (at / "x").exists()


def test_a_folder_of_keys_that_is_not_there_is_named(at):
    result = gbhan("sign", "plain.ota", "--keys", "nowhere", "--signer", SIGNER, "-o", "x")
    assert result.exit_code == 3
    assert "nowhere" in result.stderr
    assert not (at / "x").exists()


def test_a_file_larger_than_any_upgrade_file_is_not_read(at):
    with (at / "huge.ota").open("wb") as file:
        file.truncate(2 << 30)  # sparse: takes no room
    for command in ("inspect", "verify"):
        result = gbhan(command, "huge.ota")
        assert result.exit_code == 2
        assert "larger than any upgrade file" in result.stderr


def test_a_wrapped_file_is_refused_with_what_to_do(at):
    (at / "wrapped").write_bytes(b"NGIS" + bytes(12) + GOOD.read_bytes())
    result = gbhan("inspect", "wrapped")
    assert result.exit_code == 2
    assert "tail -c +17" in result.stderr
