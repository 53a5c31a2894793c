"""``gbhan keys``: from an authority to a hub's certificate, what manufacturers deliver, what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from han.errors import SurroundingsError
from han.key_folder import KeyFolder
from han.security.certificate import draft
from han.security.lab_authority import LAB_ISSUER, lab_authority, lab_credentials
from han.security.suite import Suite
from han.sim.home import read_home
from hub.cli import main
from hub.cli.certificates import credentials_in
from ota.eui64 import Eui64

METER = "00-DB-12-34-56-78-90-A5"
DONGLE = read_home("demo").dongle.eui64
VECTORS = Path(__file__).parents[2] / "fixtures" / "vectors"
COMMANDS = ("answer", "ca", "check", "import", "issue", "lab", "link-key", "list", "parties", "request")


def gbhan(*arguments: object, text: str | None = None) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def keys(*arguments: object, text: str | None = None) -> Result:
    return gbhan("keys", *arguments, text=text)


def told(result: Result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def certicom(suite: int) -> str:
    vector = json.loads((VECTORS / f"cbke_suite{suite}.json").read_text())
    device = vector["initiator"]
    return (
        f"CA Pub Key:\n{vector['ca_public_key']}\nDevice Implicit Cert:\n{device['certificate']}\n"
        f"Private Key Reconstruction Data:\n{device['private_key']}\n"
    )


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A folder to work in, by names as short as in the help."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command):
    assert f"Example: gbhan keys {command}" in keys(command, "--help").stdout


@pytest.mark.parametrize("suite", [1, 2])
def test_the_four_steps_give_a_hub_a_certificate_for_its_dongle(at, suite):
    (authority,) = told(keys("ca", "my-ca", "--suite", suite, "--json"))
    asked = keys(
        "request", "hub-keys", "--radio", "sim://demo", "--suite", suite, "-o", "hub.request", "--json"
    )
    assert told(asked)[0]["subject"] == str(DONGLE)
    assert (
        told(keys("answer", "my-ca", "hub.request", "-o", "hub.answer", "--json"))[0]["kind"] == "certificate"
    )
    (taken,) = told(keys("import", "hub-keys", "hub.answer", "--json"))

    assert (taken["subject"], taken["issuer"], taken["suite"]) == (str(DONGLE), authority["issuer"], suite)
    (held,) = KeyFolder.open(at / "hub-keys").credentials_of(DONGLE)
    assert held.certificate.to_bytes().hex() == taken["certificate"]
    assert gbhan("keys", "check", "hub-keys", "--radio", "sim://demo").exit_code == 0
    probe = gbhan("radio", "probe", "sim://demo", "--keys", "hub-keys", "--json")
    assert told(probe)["certificates"] == [taken]


def test_a_device_gets_its_certificate_in_one_step(at):
    keys("ca", "my-ca")
    (made,) = told(keys("issue", "my-ca", METER, "--json"))
    (held,) = KeyFolder.open(at / "my-ca").credentials_of(Eui64.parse(METER))

    assert made["certificate"] == held.certificate.to_bytes().hex()
    assert made["uses"] == ["key agreement", "signing"]
    assert made["valid_until"] is None


def test_the_lab_authority_certifies_a_dongle_in_one_step_and_says_who_it_is(at):
    assert "public lab authority" in keys("lab", "hub-keys", "--radio", "sim://demo").stdout
    assert KeyFolder.open(at / "hub-keys").credentials_of(DONGLE) == (lab_credentials(DONGLE),)
    assert told(keys("list", "hub-keys", "--json"))[0]["issuer"] == str(LAB_ISSUER)


def test_the_parties_of_the_lab_get_their_certificates_and_only_on_demand_their_keys(at):
    written = told(keys("parties", "parties", METER, "--json"))
    assert len(written) == 1 + 2 * 3
    assert all(Path(name).read_text().startswith("-----BEGIN CERTIFICATE") for name in written)
    assert {path.name for path in (at / "parties").iterdir()} == {Path(name).name for name in written}

    more = told(keys("parties", "parties", METER, "--private", "--json"))
    secret = set(more) - set(written)
    assert len(secret) == 2 * 3
    assert all((at / name).stat().st_mode & 0o077 == 0 for name in secret)


def test_a_folder_for_the_parties_that_cannot_be_is_refused(at):
    (at / "file").write_text("")
    result = keys("parties", "file/parties")
    assert result.exit_code == 3
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("suite", [1, 2])
def test_what_an_authority_delivers_is_taken_in(at, suite):
    (at / "certicom.txt").write_text(certicom(suite))
    (taken,) = told(keys("import", "hub-keys", "certicom.txt", "--json"))
    again = told(keys("import", "hub-keys", "certicom.txt", "--json"))

    assert again == [taken]
    assert told(keys("list", "hub-keys", "--json"))[0]["suite"] == suite


@pytest.mark.parametrize(
    "write", [lambda octets: octets, lambda octets: octets.hex().encode()], ids=["raw", "hex"]
)
def test_three_files_are_taken_in_too(at, write):
    vector = json.loads((VECTORS / "cbke_suite2.json").read_text())
    parts = {
        "--ca-public-key": vector["ca_public_key"],
        "--certificate": vector["initiator"]["certificate"],
        "--private-key": vector["initiator"]["private_key"],
    }
    arguments = []
    for option, text in parts.items():
        file = at / option.strip("-")
        file.write_bytes(write(bytes.fromhex(text)))
        arguments += [option, file]

    assert told(keys("import", "hub-keys", *arguments, "--json"))[0]["suite"] == 2
    assert keys("import", "hub-keys", *arguments[:4]).exit_code == 2
    assert keys("import", "hub-keys", arguments[1], *arguments).exit_code == 2


def test_a_certificate_from_beyond_the_calendar_is_told_all_the_same(at):
    late = draft(Suite.TWO, DONGLE, valid_from=(1 << 40) - 1, valid_for=9)
    KeyFolder.make(at / "far").add_credentials(lab_authority(Suite.TWO).enrol(late, random.Random(1)))

    assert told(keys("list", "far", "--json"))[0]["valid_from"] == "1099511627775 s after 1970"
    assert "not valid now" in keys("check", "far").stdout


@pytest.mark.parametrize("arguments", [(), ("--file", "ppmid.key")])
def test_a_link_key_comes_by_file_or_standard_input_and_is_never_shown(at, arguments):
    key = "00112233445566778899aabbccddeeff"
    (at / "ppmid.key").write_text(key)
    kept = keys("link-key", "hub-keys", METER, *arguments, text=key if not arguments else None)

    assert kept.exit_code == 0
    assert KeyFolder.open(at / "hub-keys").link_key_of(Eui64.parse(METER)) == bytes.fromhex(key)
    shown = kept.output + keys("list", "hub-keys").output + keys("list", "--json", "hub-keys").output
    assert key not in shown.lower()


def test_no_command_takes_a_key_from_its_arguments_or_shows_a_private_one(at):
    said = [keys("ca", "my-ca", "--json").output, keys("issue", "my-ca", METER).output]
    said += [keys("list", "my-ca").output, keys("list", "my-ca", "--json").output]
    private = [
        line.rpartition(" ")[2]
        for path in (at / "my-ca").iterdir()
        for line in path.read_text().splitlines()
        if "Private Key:" in line
    ]

    assert len(private) == 2
    assert not any(secret in text for secret in private for text in said)


def test_what_is_wrong_in_a_folder_is_said_for_each_file(at):
    keys("lab", "hub-keys", METER)
    keys("ca", "my-ca")
    keys("issue", "my-ca", METER, "--valid-for", "0s")
    (at / "hub-keys" / "stray.txt").write_text("")
    (at / "hub-keys" / "stray.txt").chmod(0o600)
    good, stray, late = keys("list", "hub-keys"), keys("check", "hub-keys"), keys("check", "my-ca", "--json")

    assert good.exit_code == 0
    assert "stray.txt" in good.stdout
    assert (stray.exit_code, "stray.txt has no name" in stray.stdout) == (1, True)
    assert late.exit_code == 1
    (finding,) = json.loads(late.stdout)["findings"]
    assert "not valid now" in finding


def test_a_dongle_that_no_certificate_names_is_told_what_to_do(at):
    keys("lab", "hub-keys", METER)
    checked = keys("check", "hub-keys", "--radio", "sim://demo")
    probed = gbhan("radio", "probe", "sim://demo", "--keys", "hub-keys")
    listed = json.loads(gbhan("radio", "probe", "sim://demo", "--keys", "hub-keys", "--json").stdout)

    for result in (checked, probed):
        assert result.exit_code == 1
        assert f"names the dongle {DONGLE} (they name {METER})" in result.stdout
        assert "gbhan keys request hub-keys --radio sim://demo" in result.stdout
    assert listed["certificates"] == []
    keys("request", "hub-keys", DONGLE, "-o", "request")
    assert "gbhan keys import hub-keys ANSWER" in keys("check", "hub-keys", "--radio", "sim://demo").stdout


def test_a_hub_is_given_only_certificates_that_establish_keys_and_told_what_to_do_without(at):
    keys("lab", "hub-keys", DONGLE)
    ask = credentials_in(KeyFolder.open(Path("hub-keys")), "tcp://127.0.0.1:6638")

    assert ask(DONGLE) == (lab_credentials(DONGLE, Suite.TWO),)
    with pytest.raises(SurroundingsError, match="gbhan keys lab hub-keys --radio tcp:"):
        ask(Eui64.parse(METER))


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("issue", "nowhere", METER), 3, "no folder nowhere"),
        (("issue", "empty", METER), 2, "gbhan keys ca empty --suite 2"),
        (("issue", "empty", METER, "--suite", "1", "--valid-for", "1d"), 2, "no place for --valid-for"),
        (("issue", "empty", "5"), 2, "no EUI-64"),
        (("answer", "empty", "bad.txt", "-o", "x"), 2, "bad.txt: line 1"),
        (("answer", "empty", "nowhere", "-o", "x"), 2, "does not exist"),
        (("request", "empty", "-o", "x"), 2, "--radio URL"),
        (("request", "empty", METER, "--radio", "sim://demo", "-o", "x"), 2, "--radio URL"),
        (("request", "empty", METER, "-o", "bad.txt/x"), 3, "cannot be written"),
        (("request", "empty", "--radio", "tcp://127.0.0.1:1", "-o", "x"), 3, "cannot be opened"),
        (("import", "empty", "bad.txt"), 2, "bad.txt: line 1"),
        (("import", "empty"), 2, "give FILE"),
        (("link-key", "empty", METER, "--file", "bad.txt"), 2, "bad.txt: line 1"),
        (("link-key", "empty", METER), 2, "standard input"),
        (("lab", "loose", METER), 3, "chmod 700 loose"),
        (("list", "loose"), 3, "chmod 700 loose"),
        (("check", "bad.txt"), 2, "is a file"),
        (("ca", "full"), 2, "remove it first"),
    ],
)
def test_what_cannot_be_is_named_without_a_traceback(at, arguments, status, complaint):
    (at / "bad.txt").write_text("these are no keys\n")
    (at / "loose").mkdir(mode=0o755)
    (at / "empty").mkdir(mode=0o700)
    keys("ca", "full")

    result = keys(*arguments)

    assert result.exit_code == status
    assert complaint in result.stderr
    assert "Traceback" not in result.output
    assert not list((at / "empty").glob("*.key"))
