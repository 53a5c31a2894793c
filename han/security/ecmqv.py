"""ECMQV with cofactor (SEC 1, 6.2): a secret that only the holders of both certified keys can compute."""

from __future__ import annotations

from han.security.binary_curve import Curve, Point
from han.security.errors import PointError
from han.security.key_pair import KeyPair


def shared_secret(own: KeyPair, own_ephemeral: KeyPair, peer: Point, peer_ephemeral: Point) -> bytes:
    """The secret Z: the x of a point, in 21 or 36 octets. Both sides get the same.

    Raises:
        PointError: if a point of the peer is not on our curve or not of prime order, if the peer's ephemeral
            key is our own thrown back, or if the secret would be the point at infinity.
    """
    curve = own.curve
    curve.check(peer)
    curve.check(peer_ephemeral)
    if peer_ephemeral == own_ephemeral.public:
        raise PointError("the peer's ephemeral key is our own")
    exponent = own_ephemeral.private + _bar(curve, own_ephemeral.public) * own.private
    base = curve.add(peer_ephemeral, curve.multiply(_bar(curve, peer_ephemeral), peer))
    # Checked points have prime order, and so does their sum: the cofactor may be reduced with the rest.
    secret = None if base is None else curve.multiply_secret(curve.cofactor * exponent, base)
    if secret is None:
        raise PointError("the shared secret would be the point at infinity")
    return secret.x.to_bytes(curve.coordinate_size, "big")


def _bar(curve: Curve, point: Point) -> int:
    """The lower half of a point's x, with a bit set above it."""
    half = 1 << (curve.order.bit_length() + 1) // 2
    return point.x % half + half
