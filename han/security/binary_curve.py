"""The binary Koblitz curves of Smart Energy, sect163k1 and sect283k1: the one place of our own curve code.

``cryptography`` no longer has binary curves, so field and group are written out here, checked with the
published vectors and against BouncyCastle. Curves and constants: SEC 2 version 2, 3.2 and 3.4.

**The field.** A polynomial over GF(2) is held *stretched*: one octet of an integer for each coefficient. An
ordinary product of two such integers then counts, in each octet, how often a power occurs, and the lowest
bit of that count is the coefficient of the product. CPython's multiplication is in C, so this is far faster
than any loop over bits. A count must stay below 256: factors longer than 255 coefficients are halved first
(Karatsuba), which saves time as well.

**The group.** A Montgomery ladder with López and Dahab's coordinates: the same steps for each bit of the
scalar, and for secret scalars the same number of steps. Python's integers take a time that depends on their
value, so this narrows what a stopwatch on the same machine could learn, but does not end it.
"""

from __future__ import annotations

from dataclasses import dataclass

from han.security.errors import PointError

__all__ = ["SECT163K1", "SECT283K1", "BinaryField", "Curve", "Point"]

_HALVE_FROM = 256  # coefficients: from here on a count could overflow its octet


class BinaryField:
    """GF(2^degree) modulo x^degree + 1 + the sum of x^tap; elements are *stretched* integers.

    Args:
        degree: odd.
        taps: the three middle powers of the modulus, all below half the degree.
        trace_powers: the powers of x whose trace is 1; the trace of an element is the sum of its coefficients
            there.
    """

    def __init__(self, degree: int, taps: tuple[int, int, int], trace_powers: tuple[int, ...]) -> None:
        self.degree = degree
        self._ones = int.from_bytes(b"\x01" * (2 * degree), "little")
        self._zeros_as_digits = int.from_bytes(b"0" * degree, "big")
        self._width = 8 * degree
        self._mask = (1 << self._width) - 1
        self._taps = (8 * taps[0], 8 * taps[1], 8 * taps[2])
        self._modulus = 1 << degree | 1 | sum(1 << tap for tap in taps)
        self._trace_shifts = tuple(8 * power for power in trace_powers)
        self._halved = degree >= _HALVE_FROM
        self._half = 8 * ((degree + 1) // 2)
        self._half_mask = (1 << self._half) - 1

    def stretch(self, bits: int) -> int:
        """One octet for each bit of an ordinary integer of at most ``degree`` bits."""
        return int.from_bytes(f"{bits:b}".encode(), "big") & self._ones

    def squeeze(self, element: int) -> int:
        """The reverse of ``stretch``."""
        return int((element | self._zeros_as_digits).to_bytes(self.degree, "big"), 2)

    def _reduce(self, product: int) -> int:
        """Bring a product below the degree. Its octets are 0 or 1 already."""
        width = self._width
        tap, tip, top = self._taps
        high = product >> width
        # What the shifts below would lift over the edge again is folded into it beforehand.
        high ^= high >> width - tap ^ high >> width - tip ^ high >> width - top
        return (product ^ high ^ high << tap ^ high << tip ^ high << top) & self._mask

    def multiply(self, a: int, b: int) -> int:
        """The product of two elements."""
        if not self._halved:
            return self._reduce(a * b & self._ones)
        half, mask = self._half, self._half_mask
        a_low, a_high, b_low, b_high = a & mask, a >> half, b & mask, b >> half
        low, high = a_low * b_low, a_high * b_high
        # Only the lowest bit of each count matters, and the exclusive or of counts adds those bits.
        middle = (a_low ^ a_high) * (b_low ^ b_high) ^ low ^ high
        return self._reduce((low ^ (middle ^ high << half) << half) & self._ones)

    def square(self, a: int) -> int:
        """The square: each coefficient moves to twice its power."""
        doubled = bytearray(2 * self.degree)
        doubled[::2] = a.to_bytes(self.degree, "little")
        return self._reduce(int.from_bytes(doubled, "little"))

    def invert(self, a: int) -> int:
        """1/a by Euclid's algorithm, on ordinary integers. Zero gives zero."""
        if a == 0:
            return 0
        u, v, by_u, by_v = self.squeeze(a), self._modulus, 1, 0  # u = by_u * a and v = by_v * a, all along
        while u != 1:
            lead = u.bit_length() - v.bit_length()
            if lead < 0:
                u, v, by_u, by_v, lead = v, u, by_v, by_u, -lead
            u ^= v << lead
            by_u ^= by_v << lead
        return self.stretch(by_u)

    def trace(self, a: int) -> int:
        """The sum of all conjugates of ``a``: 0 or 1."""
        return sum(a >> shift for shift in self._trace_shifts) & 1

    def half_trace(self, a: int) -> int:
        """A z with z^2 + z = a, if the trace of ``a`` is 0 (the degree is odd). The other one is z + 1."""
        total = a
        for _ in range((self.degree - 1) // 2):
            total = self.square(self.square(total)) ^ a
        return total


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve in affine coordinates, as ordinary integers. The point at infinity is ``None``."""

    x: int
    y: int


@dataclass(frozen=True, repr=False)
class Curve:
    """y^2 + xy = x^3 + ax^2 + 1, with a generator of prime order ``order``."""

    name: str
    field: BinaryField
    a: int
    generator: Point
    order: int
    cofactor: int

    def __repr__(self) -> str:
        return f"Curve({self.name})"

    @property
    def coordinate_size(self) -> int:
        """Octets of a coordinate, and of a scalar: 21 or 36."""
        return (self.field.degree + 7) // 8

    @property
    def point_size(self) -> int:
        """Octets of a compressed point: 22 or 37."""
        return 1 + self.coordinate_size

    def contains(self, point: Point) -> bool:
        """Whether the coordinates are field elements that satisfy the curve's equation."""
        if point.x < 0 or point.y < 0 or (point.x | point.y) >> self.field.degree:
            return False
        f = self.field
        x, y = f.stretch(point.x), f.stretch(point.y)
        return f.multiply(y, x ^ y) == f.multiply(f.square(x), x ^ self.a) ^ 1

    def has_prime_order(self, point: Point) -> bool:
        """Whether a point of the curve lies in the group that the generator makes. Cheap: no ladder.

        The group of the curve is that group times a cyclic one of 2 (a = 1) or 4 (a = 0) points, so a point
        lies in it if it can be halved once or twice. It can be halved if the trace of its x is that of a;
        the half has (lambda^2 + lambda = x + a) the square of its x in y + x(lambda + 1).
        """
        f = self.field
        x, y = f.stretch(point.x), f.stretch(point.y)
        if x == 0 or f.trace(x) != self.a:  # the trace of 1 is 1: the degree is odd
            return False
        if self.cofactor == 2:
            return True
        slope = f.half_trace(x ^ self.a)
        return f.trace(y ^ f.multiply(x, slope ^ 1)) == self.a  # squaring leaves a trace as it is

    def check(self, point: Point) -> Point:
        """The point itself, if one may compute with it.

        Raises:
            PointError: if it is not on the curve, or generates less than the prime order or more.
        """
        if not self.contains(point):
            raise PointError(f"a point that is not on {self.name}")
        if not self.has_prime_order(point):
            raise PointError(f"a point of {self.name} outside the group of prime order")
        return point

    def encode(self, point: Point) -> bytes:
        """The compressed form: 02 or 03, then x, most significant octet first (SEC 1, 2.3.3)."""
        f = self.field
        ratio = f.multiply(f.stretch(point.y), f.invert(f.stretch(point.x)))
        return bytes((2 | ratio & 1,)) + point.x.to_bytes(self.coordinate_size, "big")

    def decode(self, octets: bytes) -> Point:
        """Read a compressed point and check it in full.

        Raises:
            PointError: if the length or first octet is wrong, x is no field element or no point has it, or
                the point has not the prime order (nor is infinity, which has no compressed form here).
        """
        if len(octets) != self.point_size:
            raise PointError(f"a point of {self.name} has {self.point_size} octets, not {len(octets)}")
        if octets[0] not in (2, 3):
            raise PointError(f"a compressed point starts with 02 or 03, not {octets[0]:02x}")
        number = int.from_bytes(octets[1:], "big")
        if number >> self.field.degree:
            raise PointError(f"a coordinate beyond the {self.field.degree} bits of {self.name}")
        if number == 0:
            raise PointError(f"the point of order two of {self.name}")
        f = self.field
        x = f.stretch(number)
        right = x ^ self.a ^ f.square(f.invert(x))  # of z^2 + z = right, where z = y/x
        z = f.half_trace(right)
        if f.square(z) ^ z != right:
            raise PointError(f"no point of {self.name} has this x")
        if z & 1 != octets[0] & 1:
            z ^= 1
        return self.check(Point(number, f.squeeze(f.multiply(z, x))))

    def decode_scalar(self, octets: bytes) -> int:
        """Read a private key. One beyond the order, as a published vector has it, is reduced.

        Raises:
            PointError: if it has a wrong length, or is a multiple of the order.
        """
        if len(octets) != self.coordinate_size:
            raise PointError(
                f"a private key of {self.name} has {self.coordinate_size} octets, not {len(octets)}"
            )
        scalar = int.from_bytes(octets, "big") % self.order
        if scalar == 0:
            raise PointError("a private key of zero")
        return scalar

    def encode_scalar(self, scalar: int) -> bytes:
        """A scalar in as many octets as a coordinate."""
        return (scalar % self.order).to_bytes(self.coordinate_size, "big")

    def negate(self, point: Point | None) -> Point | None:
        """The point that adds up with this one to infinity."""
        return None if point is None else Point(point.x, point.x ^ point.y)

    def add(self, p: Point | None, q: Point | None) -> Point | None:
        """The sum of any two points of the curve."""
        if p is None or q is None:
            return q if p is None else p
        f = self.field
        x1, y1, x2, y2 = f.stretch(p.x), f.stretch(p.y), f.stretch(q.x), f.stretch(q.y)
        if x1 == x2:
            if y1 != y2 or x1 == 0:
                return None
            slope = x1 ^ f.multiply(y1, f.invert(x1))
            x3 = f.square(slope) ^ slope ^ self.a
        else:
            slope = f.multiply(y1 ^ y2, f.invert(x1 ^ x2))
            x3 = f.square(slope) ^ slope ^ x1 ^ x2 ^ self.a
        y3 = f.multiply(slope, x1 ^ x3) ^ x3 ^ y1
        return Point(f.squeeze(x3), f.squeeze(y3))

    def multiply(self, scalar: int, point: Point | None) -> Point | None:
        """``scalar`` times a point of the curve, for public numbers: takes longer for longer ones."""
        if scalar < 0:
            scalar, point = -scalar, self.negate(point)
        return self._ladder(scalar, point)

    def multiply_secret(self, scalar: int, point: Point) -> Point | None:
        """``scalar`` modulo the order times a point of prime order, in the same number of steps for each."""
        scalar = scalar % self.order + self.order
        if scalar.bit_length() == self.order.bit_length():
            scalar += self.order
        return self._ladder(scalar, point)

    def _ladder(self, scalar: int, point: Point | None) -> Point | None:
        if point is None or scalar == 0:
            return None
        if point.x == 0:  # the point of order two, where the formulas end
            return point if scalar & 1 else None
        f = self.field
        multiply, square = f.multiply, f.square
        x, y = f.stretch(point.x), f.stretch(point.y)
        # Two neighbours, low = k * point and high = low + point, each as a fraction of x over z.
        low_x, low_z = x, 1
        high_z = square(x)
        high_x = square(high_z) ^ 1
        for bit in f"{scalar:b}"[1:]:
            left, right = multiply(low_x, high_z), multiply(high_x, low_z)
            sum_z = square(left ^ right)
            sum_x = multiply(x, sum_z) ^ multiply(left, right)
            if bit == "1":
                high_x, high_z = square(high_x), square(high_z)
                high_x, high_z = square(high_x ^ high_z), multiply(high_x, high_z)
                low_x, low_z = sum_x, sum_z
            else:
                low_x, low_z = square(low_x), square(low_z)
                low_x, low_z = square(low_x ^ low_z), multiply(low_x, low_z)
                high_x, high_z = sum_x, sum_z
        if low_z == 0:
            return None
        if high_z == 0:
            return self.negate(point)
        # y from the two neighbours and their difference, with one inversion for all.
        both_z = multiply(low_z, high_z)
        inverse = f.invert(multiply(x, both_z))
        result_x = multiply(multiply(low_x, multiply(x, high_z)), inverse)
        crossed = multiply(low_x ^ multiply(x, low_z), high_x ^ multiply(x, high_z))
        crossed ^= multiply(square(x) ^ y, both_z)
        result_y = multiply(multiply(x ^ result_x, crossed), inverse) ^ y
        return Point(f.squeeze(result_x), f.squeeze(result_y))


SECT163K1 = Curve(
    name="sect163k1",
    field=BinaryField(degree=163, taps=(7, 6, 3), trace_powers=(0, 157)),
    a=1,
    generator=Point(
        0x02FE13C0537BBC11ACAA07D793DE4E6D5E5C94EEE8,
        0x0289070FB05D38FF58321F2E800536D538CCDAA3D9,
    ),
    order=0x04000000000000000000020108A2E0CC0D99F8A5EF,
    cofactor=2,
)
"""The curve of cryptographic suite 1."""

SECT283K1 = Curve(
    name="sect283k1",
    field=BinaryField(degree=283, taps=(12, 7, 5), trace_powers=(0, 271)),
    a=0,
    generator=Point(
        0x0503213F78CA44883F1A3B8162F188E553CD265F23C1567A16876913B0C2AC2458492836,
        0x01CCDA380F1C9E318D90F95D07E5426FE87E45C0E8184698E45962364E34116177DD2259,
    ),
    order=0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE9AE2ED07577265DFF7F94451E061E163C61,
    cofactor=4,
)
"""The curve of cryptographic suite 2."""
