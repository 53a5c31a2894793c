"""A folder of keys: for its owner alone, never overwritten, and everything wrong in it said with its path."""

import random

import pytest
from certified import HUB, ISSUER, METER, OTHER, authority, credentials, draft

from han.errors import HanError, SurroundingsError
from han.key_folder import KeyFolder, KeyFolderError, KnownLinkKey
from han.private_file import read_private, write_private
from han.security.certificate import Authority, Credentials
from han.security.errors import SecurityError
from han.security.key_pair import KeyPair
from han.security.key_text import Request, write_answer, write_credentials
from han.security.suite import Suite

LINK_KEY = bytes(range(16))
both_suites = pytest.mark.parametrize("suite", list(Suite), ids=str)


@pytest.fixture
def folder(tmp_path):
    return KeyFolder.make(tmp_path / "keys")


def files(folder):
    return {path.name: path.read_text() for path in folder.path.iterdir()}


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_device_finds_what_was_kept_for_it_the_best_suite_first(folder):
    for suite in Suite:
        folder.add_credentials(credentials(suite, HUB))
    folder.add_credentials(credentials(Suite.TWO, METER))

    again = KeyFolder.open(folder.path)
    assert again.credentials_of(HUB) == (credentials(Suite.TWO, HUB), credentials(Suite.ONE, HUB))
    assert again.credentials_of(METER) == (credentials(Suite.TWO, METER),)
    assert again.credentials_of(OTHER) == ()


def test_a_link_key_is_known_for_its_peer_alone(folder):
    folder.add_link_key(METER, LINK_KEY)

    assert folder.link_key_of(METER) == LINK_KEY
    assert folder.link_key_of(HUB) is None


@both_suites
def test_an_authority_that_was_kept_issues_as_before(folder, suite):
    keys = KeyPair.draw(suite.curve, random.Random(1))
    made = folder.add_authority(suite, ISSUER, keys)
    kept = folder.authority(suite)

    assert kept.root == made.root
    asked = kept.enrol(draft(suite, HUB), random.Random(2))
    assert asked == made.enrol(draft(suite, HUB), random.Random(2))
    assert all(folder.authority(other) is None for other in Suite if other is not suite)


@both_suites
def test_a_request_is_the_same_until_its_answer_comes_and_then_its_secret_is_gone(folder, suite):
    first = folder.begin_request(suite, HUB, random.Random(1))
    assert folder.begin_request(suite, HUB, random.Random(2)) == first

    ca = authority(suite)
    certificate, contribution = ca.issue(draft(suite, HUB), first.point, random.Random(3))
    (taken,) = folder.take_in(write_answer(certificate, contribution, ca.root))

    assert folder.credentials_of(HUB) == (taken,)
    assert taken.keys.private != contribution
    assert list(files(folder)) == [f"{HUB.hex}-suite{suite:d}.key"]
    with pytest.raises(KeyFolderError, match="needs no other certificate"):
        folder.begin_request(suite, HUB, random.Random(1))


def test_an_answer_to_no_request_of_ours_changes_nothing(folder):
    folder.begin_request(Suite.TWO, HUB, random.Random(1))
    before = files(folder)
    ca, stranger = authority(Suite.TWO), KeyPair.draw(Suite.TWO.curve, random.Random(9))
    for subject in (HUB, METER):
        certificate, contribution = ca.issue(draft(Suite.TWO, subject), stranger.public, random.Random(3))
        with pytest.raises(SecurityError, match="does not belong"):
            folder.take_in(write_answer(certificate, contribution, ca.root))

    assert files(folder) == before


def test_what_is_there_is_never_overwritten_by_something_else(folder):
    folder.add_authority(Suite.TWO, ISSUER, KeyPair.draw(Suite.TWO.curve, random.Random(1)))
    folder.add_credentials(credentials(Suite.TWO, HUB))
    folder.add_link_key(METER, LINK_KEY)
    before = files(folder)

    folder.add_credentials(credentials(Suite.TWO, HUB))
    folder.add_link_key(METER, LINK_KEY)
    for add in (
        lambda: folder.add_authority(Suite.TWO, ISSUER, KeyPair.draw(Suite.TWO.curve, random.Random(2))),
        lambda: folder.add_credentials(credentials(Suite.TWO, HUB, seed=1)),
        lambda: folder.take_in(write_credentials(credentials(Suite.TWO, HUB, seed=1))),
        lambda: folder.add_link_key(METER, bytes(16)),
    ):
        with pytest.raises(KeyFolderError, match="remove it first"):
            add()

    assert files(folder) == before


def test_folder_and_files_are_for_their_owner_alone(tmp_path):
    folder = KeyFolder.make(tmp_path / "a" / "keys")
    folder.add_link_key(METER, LINK_KEY)
    folder.begin_request(Suite.TWO, HUB, random.Random(1))
    folder.add_credentials(credentials(Suite.ONE, HUB))

    assert mode(folder.path) == 0o700
    assert {mode(path) for path in folder.path.iterdir()} == {0o600}


@pytest.mark.parametrize("others", [0o040, 0o004, 0o020, 0o002, 0o010])
def test_a_folder_that_others_may_look_into_is_refused_with_what_to_say(folder, others):
    folder.path.chmod(0o700 | others)
    for use in (KeyFolder.open, KeyFolder.make):
        with pytest.raises(SurroundingsError, match=f"chmod 700 {folder.path}"):
            use(folder.path)


@pytest.mark.parametrize("others", [0o040, 0o004, 0o020, 0o002])
def test_a_file_that_others_may_read_or_write_is_refused_with_what_to_say(folder, others):
    paths = [folder.add_credentials(credentials(Suite.TWO, HUB)), folder.add_link_key(METER, LINK_KEY)]
    for path in paths:
        path.chmod(0o600 | others)

    with pytest.raises(SurroundingsError, match=f"chmod 600 {paths[0]}"):
        folder.credentials_of(HUB)
    with pytest.raises(SurroundingsError, match=f"chmod 600 {paths[1]}"):
        folder.link_key_of(METER)


def test_no_folder_and_what_is_none_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, why in ((tmp_path / "nowhere", "gbhan keys --help"), (tmp_path / "file", "no directory")):
        with pytest.raises(SurroundingsError, match=why):
            KeyFolder.open(path)
    with pytest.raises(SurroundingsError, match="cannot be made"):
        KeyFolder.make(tmp_path / "file" / "keys")


def test_a_certificate_under_a_wrong_name_is_refused(folder):
    path = folder.add_credentials(credentials(Suite.TWO, HUB))
    for name, ask in ((f"{METER.hex}-suite2.key", METER), (f"{HUB.hex}-suite1.key", HUB)):
        path = path.rename(folder.path / name)
        with pytest.raises(KeyFolderError, match=f"{name} holds the certificate of {HUB} in suite 2"):
            folder.credentials_of(ask)


@pytest.mark.parametrize("content", ["", "Device Implicit Cert: 00\n", "\x00\xff", "no label"])
def test_a_spoilt_file_is_named_and_its_content_is_not(folder, content):
    for name in (
        f"{HUB.hex}-suite2.key",
        f"{HUB.hex}.link-key",
        "authority-suite2.key",
        f"{HUB.hex}-suite2.request",
    ):
        write_private(folder.path / name, content)

    for ask in (
        lambda: folder.credentials_of(HUB),
        lambda: folder.link_key_of(HUB),
        lambda: folder.authority(Suite.TWO),
    ):
        with pytest.raises(KeyFolderError, match=str(folder.path)):
            ask()


def test_a_file_that_is_no_text_is_named(folder):
    path = folder.path / f"{HUB.hex}-suite2.key"
    write_private(path, "")
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(SurroundingsError, match="it is no text"):
        folder.credentials_of(HUB)


def test_everything_that_is_there_is_told_and_everything_wrong_too(folder):
    folder.add_authority(Suite.TWO, ISSUER, KeyPair.draw(Suite.TWO.curve, random.Random(1)))
    folder.add_credentials(credentials(Suite.ONE, HUB))
    folder.begin_request(Suite.TWO, HUB, random.Random(1))
    folder.add_link_key(METER, LINK_KEY)
    write_private(folder.path / f"{OTHER.hex}-suite2.key", "spoilt")
    write_private(folder.path / "authority-suite2.request", "")
    write_private(folder.path / "certificate.txt", "")

    told = {path.name: type(held) for path, held in folder.holdings()}

    assert told == {
        f"{HUB.hex}-suite1.key": Credentials,
        f"{HUB.hex}-suite2.request": Request,
        f"{METER.hex}.link-key": KnownLinkKey,
        f"{OTHER.hex}-suite2.key": KeyFolderError,
        "authority-suite2.key": Authority,
        "authority-suite2.request": KeyFolderError,
        "certificate.txt": KeyFolderError,
    }
    shown = " ".join(f"{held!r} {held}" for _, held in folder.holdings())
    assert LINK_KEY.hex() not in shown
    assert str(credentials(Suite.ONE, HUB).keys.private) not in shown


def test_a_write_that_a_power_cut_ended_leaves_the_file_as_it_was_and_the_next_write_works(tmp_path):
    path = tmp_path / "keys"
    write_private(path, "whole")
    (tmp_path / ".keys.new").write_text("hal")
    (tmp_path / ".keys.new").chmod(0o644)

    assert read_private(path) == "whole"
    write_private(path, "new")
    assert (read_private(path), mode(path)) == ("new", 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["keys"]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(HanError, match="cannot be written"):
        write_private(tmp_path / "file" / "key", "text")
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "nowhere")
    with pytest.raises(SurroundingsError, match="cannot be read"):
        read_private(tmp_path)
