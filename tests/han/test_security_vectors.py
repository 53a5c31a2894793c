"""Every published vector of the Zigbee hash, its keyed form, install codes and CCM*."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.security import ccm
from han.security.crc import crc16_kermit, crc16_x25
from han.security.errors import InstallCodeError, SealError, SecurityError
from han.security.install_code import link_key, parse_install_code, with_crc
from han.security.mmo import keyed_hash, load_key, mmo_hash, transport_key, verify_hash

VECTORS = Path(__file__).parents[2] / "fixtures" / "vectors"


def vectors(name: str, part: str = "vectors") -> list[dict]:
    return json.loads((VECTORS / name).read_text())[part]


def message(vector: dict) -> bytes:
    if vector.get("message") is not None:
        return bytes.fromhex(vector["message"])
    size = int(re.match(r"(\d+) bytes", vector["message_rule"])[1])
    return bytes(at % 256 for at in range(size))


HASHES = vectors("mmo_hash.json")
CODES = vectors("install_codes.json")
PRIMITIVES = vectors("ccm_star.json", "primitives")


@pytest.mark.parametrize("vector", HASHES, ids=lambda vector: vector["name"])
def test_the_hash_gives_the_published_digest(vector):
    if "key" in vector:
        digest = keyed_hash(bytes.fromhex(vector["key"]), message(vector))
    else:
        digest = mmo_hash(message(vector))

    assert digest.hex() == vector["digest"]


def test_the_three_derived_keys_of_a_link_key_are_those_seen_on_the_air():
    derived = {vector["message"]: vector for vector in HASHES if vector.get("kind") == "keyed hash"}
    link = bytes.fromhex(derived["00"]["key"])

    assert transport_key(link).hex() == derived["00"]["digest"]
    assert load_key(link).hex() == derived["02"]["digest"]
    assert verify_hash(link).hex() == derived["03"]["digest"]


@pytest.mark.parametrize("size", [8190, 8191, 8192, 8193, 8200, 8201, 8202])
def test_the_padding_grows_to_its_long_form_at_2_to_the_16_bits_without_a_gap(size):
    assert len(mmo_hash(bytes(size))) == 16
    assert mmo_hash(bytes(size)) != mmo_hash(bytes(size + 1))


@pytest.mark.parametrize("vector", [v for v in CODES if v["valid"]], ids=lambda v: v["install_code_with_crc"])
def test_an_install_code_gives_the_published_link_key(vector):
    code = bytes.fromhex(vector["install_code_with_crc"])

    assert link_key(code).hex() == vector["link_key"]
    assert with_crc(code[:-2]) == code
    assert len(code) - 2 == vector["code_length"]


@pytest.mark.parametrize(
    "vector", [v for v in CODES if not v["valid"]], ids=lambda v: v["install_code_with_crc"]
)
def test_an_install_code_with_a_wrong_crc_is_refused_and_never_repeated_in_the_message(vector):
    code = vector["install_code_with_crc"]
    with pytest.raises(InstallCodeError, match="CRC") as refusal:
        link_key(bytes.fromhex(code))

    assert code not in str(refusal.value)


@pytest.mark.parametrize("size", [size for size in range(24) if size not in (8, 10, 14, 18)])
def test_an_install_code_of_any_other_length_is_refused(size):
    with pytest.raises(InstallCodeError, match="6, 8, 12 or 16"):
        link_key(bytes(size))


def test_an_install_code_is_read_as_labels_print_it():
    assert parse_install_code("83FE D340-7a93:9723 A5C6 39B2 6916 D505 C3B5").hex() == (
        "83fed3407a939723a5c639b26916d505c3b5"
    )


def test_text_that_is_no_install_code_is_refused_without_repeating_it():
    with pytest.raises(InstallCodeError, match="hex digits") as refusal:
        parse_install_code("83FE D340 my secret")

    assert "83FE" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@given(code=st.binary(min_size=8, max_size=8), at=st.integers(0, 79))
def test_one_wrong_bit_in_an_install_code_is_always_noticed(code, at):
    printed = bytearray(with_crc(code))
    printed[at // 8] ^= 1 << at % 8
    with pytest.raises(InstallCodeError):
        link_key(bytes(printed))


def test_the_crcs_give_the_catalogued_check_values():
    assert crc16_kermit(b"123456789") == 0x2189
    assert crc16_x25(b"123456789") == 0x906E


@pytest.mark.parametrize("vector", PRIMITIVES, ids=lambda vector: vector["name"])
def test_the_seal_gives_the_published_octets(vector):
    key, nonce, aad, plain = (bytes.fromhex(vector[part]) for part in ("key", "nonce", "aad", "plaintext"))
    sealed = bytes.fromhex(vector["ciphertext"] + vector["tag"])

    assert ccm.seal(key, nonce, aad, plain, mic=8) == sealed
    assert ccm.open_(key, nonce, aad, sealed, mic=8) == plain


@given(
    key=st.binary(min_size=16, max_size=16),
    nonce=st.binary(min_size=13, max_size=13),
    aad=st.binary(max_size=40),
    plain=st.binary(max_size=100),
)
def test_what_is_sealed_opens_again(key, nonce, aad, plain):
    sealed = ccm.seal(key, nonce, aad, plain)

    assert len(sealed) == len(plain) + 4
    assert ccm.open_(key, nonce, aad, sealed) == plain


@given(plain=st.binary(max_size=40), data=st.data())
def test_a_changed_octet_anywhere_breaks_the_seal(plain, data):
    key, nonce, aad = bytes(range(16)), bytes(13), b"header"
    whole = bytearray(aad + ccm.seal(key, nonce, aad, plain))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        ccm.open_(key, nonce, bytes(whole[:6]), bytes(whole[6:]))


@pytest.mark.parametrize("size", range(4))
def test_something_shorter_than_a_mic_is_no_sealed_message(size):
    with pytest.raises(SecurityError):
        ccm.open_(bytes(16), bytes(13), b"", bytes(size))


def test_a_key_or_nonce_of_a_wrong_length_is_our_mistake():
    with pytest.raises(ValueError, match="16 octets"):
        ccm.seal(bytes(15), bytes(13), b"", b"")
    with pytest.raises(ValueError, match="13 octets"):
        ccm.seal(bytes(16), bytes(12), b"", b"")
    with pytest.raises(ValueError, match="13 octets"):
        ccm.open_(bytes(16), bytes(12), b"", bytes(4))
