"""The binary curves: a group as the books have it, and a door that lets only good points in."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from han.security.binary_curve import SECT163K1, SECT283K1, Point
from han.security.errors import PointError
from han.security.key_pair import KeyPair

CURVES = [SECT163K1, SECT283K1]
few = settings(max_examples=6)
on_both = pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
numbers = st.integers(0, 1 << 300)


def element(field, bits):
    return field.stretch(bits % (1 << field.degree))


def slow_product(field, a, b):
    """Schoolbook: shift and add, one bit at a time, on ordinary integers."""
    modulus = {163: 1 << 163 | 0xC9, 283: 1 << 283 | 0x10A1}[field.degree]
    total = 0
    for at in range(field.degree):
        if b >> at & 1:
            total ^= a << at
    for at in reversed(range(field.degree, 2 * field.degree)):
        if total >> at & 1:
            total ^= modulus << at - field.degree
    return total


def any_point(curve, seed):
    """Some point of the curve, of any order but two."""
    dice, f = random.Random(seed), curve.field
    while True:
        number = dice.getrandbits(f.degree)
        x = f.stretch(number)
        right = x ^ curve.a ^ f.square(f.invert(x))
        z = f.half_trace(right)
        if f.square(z) ^ z == right:
            return Point(number, f.squeeze(f.multiply(z, x)))


@on_both
@given(a=numbers, b=numbers)
def test_the_field_multiplies_as_by_hand(curve, a, b):
    f = curve.field
    a, b = a % (1 << f.degree), b % (1 << f.degree)

    assert f.squeeze(f.multiply(f.stretch(a), f.stretch(b))) == slow_product(f, a, b)
    assert f.squeeze(f.square(f.stretch(a))) == slow_product(f, a, a)


@on_both
def test_the_field_counts_past_an_octet_without_a_carry(curve):
    full = (1 << curve.field.degree) - 1
    f = curve.field

    assert f.squeeze(f.multiply(f.stretch(full), f.stretch(full))) == slow_product(f, full, full)


@on_both
@few
@given(a=numbers)
def test_what_is_inverted_multiplies_to_one(curve, a):
    f = curve.field
    a = element(f, a)

    assert f.multiply(a, f.invert(a)) == (1 if a else 0)


@on_both
@few
@given(a=numbers)
def test_the_trace_is_the_sum_of_all_conjugates_and_says_what_has_a_half_trace(curve, a):
    f = curve.field
    a = element(f, a)
    total, conjugate = 0, a
    for _ in range(f.degree):
        total ^= conjugate
        conjugate = f.square(conjugate)
    z = f.half_trace(a)

    assert f.trace(a) == total
    assert (f.square(z) ^ z == a) == (total == 0)


@on_both
def test_the_generator_has_the_order_of_the_standard(curve):
    assert curve.contains(curve.generator)
    assert curve.multiply(curve.order, curve.generator) is None
    assert curve.multiply(curve.order - 1, curve.generator) == curve.negate(curve.generator)
    assert curve.multiply(curve.order + 1, curve.generator) == curve.generator
    assert all(pow(base, curve.order - 1, curve.order) == 1 for base in (2, 3, 5, 7, 11))
    # Hasse: with this cofactor nothing else fits.
    assert (
        abs(curve.order * curve.cofactor - (1 << curve.field.degree) - 1) < 1 << curve.field.degree // 2 + 2
    )


@on_both
def test_the_ladder_climbs_the_same_steps_as_repeated_addition(curve):
    total = None
    for scalar in range(1, 10):
        total = curve.add(total, curve.generator)
        assert curve.multiply(scalar, curve.generator) == total
        assert curve.multiply_secret(scalar, curve.generator) == total
        assert curve.multiply(-scalar, curve.generator) == curve.negate(total)


@on_both
@few
@given(a=numbers, b=numbers)
def test_multiples_add_up(curve, a, b):
    first, second = curve.multiply(a, curve.generator), curve.multiply(b, curve.generator)
    both = curve.multiply_secret(a + b, curve.generator)

    assert curve.add(first, second) == curve.add(second, first) == both
    assert both is None or curve.contains(both)


@on_both
@few
@given(scalar=numbers)
def test_a_point_survives_its_compressed_form(curve, scalar):
    point = curve.multiply_secret(scalar % (curve.order - 1) + 1, curve.generator)
    octets = curve.encode(point)

    assert len(octets) == curve.point_size
    assert curve.decode(octets) == point
    assert curve.decode(bytes((octets[0] ^ 1,)) + octets[1:]) == curve.negate(point)


@on_both
def test_the_quick_test_of_the_order_agrees_with_the_ladder_on_good_and_bad_points(curve):
    verdicts = []
    for seed in range(12):
        point = any_point(curve, seed)
        verdicts.append(curve.has_prime_order(point))
        assert verdicts[-1] == (curve.multiply(curve.order, point) is None)
        assert curve.has_prime_order(curve.multiply(curve.cofactor, point))

    assert {True, False} == set(verdicts)


@on_both
def test_small_groups_are_refused_and_so_is_whatever_is_shifted_by_them(curve):
    order_two = Point(0, 1)
    small = [order_two]
    if curve.cofactor == 4:
        small += [Point(1, 0), Point(1, 1)]

    for point in small:
        assert curve.contains(point)
        assert curve.multiply(curve.cofactor, point) is None
        for bad in (point, curve.add(curve.generator, point)):
            with pytest.raises(PointError, match="prime order"):
                curve.check(bad)
    assert curve.multiply(2, order_two) is None
    assert curve.multiply(3, order_two) == order_two


@on_both
def test_a_point_off_the_curve_is_refused(curve):
    beyond = 1 << curve.field.degree
    good = curve.generator
    for bad in (
        Point(good.x, good.y ^ 1),
        Point(good.x ^ 1, good.y),
        Point(0, 0),
        Point(good.x | beyond, good.y),
        Point(good.x, good.y | beyond),
        Point(-1, good.y),
    ):
        with pytest.raises(PointError, match="not on"):
            curve.check(bad)


@on_both
def test_malformed_octets_are_no_point(curve):
    good = curve.encode(curve.generator)
    zero_x = b"\x02" + bytes(curve.coordinate_size)
    beyond = b"\x02\x08" + good[2:]
    for octets, why in (
        (b"", "octets"),
        (good[:-1], "octets"),
        (good + b"\x00", "octets"),
        (b"\x00" + good[1:], "02 or 03"),
        (b"\x04" + good[1:], "02 or 03"),
        (b"\x00" * curve.point_size, "02 or 03"),
        (zero_x, "order two"),
        (b"\x03" + zero_x[1:], "order two"),
        (b"\x02" + b"\xff" * curve.coordinate_size, "beyond"),
        (beyond, "beyond"),
    ):
        with pytest.raises(PointError, match=why):
            curve.decode(octets)


def test_a_point_of_the_other_suite_is_no_point_of_this_one():
    for ours, theirs in (CURVES, reversed(CURVES)):
        with pytest.raises(PointError):
            ours.decode(theirs.encode(theirs.generator))
        with pytest.raises(PointError):
            SECT163K1.check(SECT283K1.generator)


@on_both
@settings(max_examples=30)
@given(data=st.data())
def test_any_octets_are_either_refused_or_a_point_of_prime_order(curve, data):
    octets = data.draw(st.binary(min_size=curve.point_size, max_size=curve.point_size))
    octets = bytes((2 | octets[0] & 1, octets[1] & 7)) + octets[2:]
    try:
        point = curve.decode(octets)
    except PointError:
        return

    assert curve.encode(point) == octets
    assert curve.multiply(curve.order, point) is None


@on_both
def test_a_private_key_is_taken_modulo_the_order_and_is_never_zero(curve):
    size = curve.coordinate_size
    assert curve.decode_scalar((curve.order + 5).to_bytes(size, "big")) == 5
    assert curve.encode_scalar(curve.order + 5) == (5).to_bytes(size, "big")
    for octets in (bytes(size), curve.order.to_bytes(size, "big"), bytes(size - 1), bytes(size + 1)):
        with pytest.raises(PointError, match="private key"):
            curve.decode_scalar(octets)
    with pytest.raises(PointError, match="zero"):
        KeyPair.of(curve, 2 * curve.order)


@on_both
def test_a_key_pair_repeats_under_a_seed_and_shows_no_private_key(curve):
    pair = KeyPair.draw(curve, random.Random(7))

    assert pair == KeyPair.draw(curve, random.Random(7))
    assert pair != KeyPair.draw(curve, random.Random(8))
    assert f"{pair.private}" not in repr(pair)
    assert f"{pair.private:x}" not in repr(pair)
