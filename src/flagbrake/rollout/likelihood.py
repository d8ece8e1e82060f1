"""One window's likelihood ratio, exactly: Fisher's noncentral hypergeometric law."""

from __future__ import annotations

from functools import lru_cache
from math import lgamma, log, sqrt

#: Terms smaller than this share of the sum change nothing in a double.
_NEGLIGIBLE = 1e-18


@lru_cache(maxsize=4096)
def log_normaliser(a: int, b: int, s: int, odds: float) -> float:
    """``ln Z`` with ``Z = sum_x C(a, x) C(b, s - x) odds**x`` over ``x in [max(0, s - b), min(a, s)]``.

    Summed from the mode outwards in ratios of neighbouring terms, so that nothing overflows.

    Args:
        a: units of the first arm.
        b: units of the second arm.
        s: bad units of both arms together, at most ``a + b``.
        odds: the odds ratio, positive.
    """
    low, high = max(0, s - b), min(a, s)
    mode = _mode(a, b, s, odds, low, high)
    total = 1.0
    term = 1.0
    for x in range(mode, high):
        term *= (a - x) * (s - x) * odds / ((x + 1) * (b - s + x + 1))
        total += term
        if term < total * _NEGLIGIBLE:
            break
    term = 1.0
    for x in range(mode, low, -1):
        term *= x * (b - s + x) / ((a - x + 1) * (s - x + 1) * odds)
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return _log_choose(a, mode) + _log_choose(b, s - mode) + mode * log(odds) + log(total)


def log_likelihood_ratio(*, k: int, a: int, b: int, s: int, odds: float, null: float) -> float:
    """``ln P(k | odds) / P(k | null)``, given both arm sizes and the bad units ``s`` of both together.

    ``k`` of the ``a`` units of the first arm are bad. 0.0 when the window says nothing: an empty arm,
    no bad unit, or nothing but bad ones.
    """
    if not a or not b or not s or s == a + b:
        return 0.0
    return k * (log(odds) - log(null)) - log_normaliser(a, b, s, odds) + log_normaliser(a, b, s, null)


def _mode(a: int, b: int, s: int, odds: float, low: int, high: int) -> int:
    """The largest term's index: the floor of the smaller root of the quadratic ``term(x) = term(x - 1)``."""
    if odds == 1.0:
        return min(max((a + 1) * (s + 1) // (a + b + 2), low), high)
    quadratic = odds - 1.0
    linear = (a + s + 2) * odds + (b - s)
    constant = (a + 1.0) * (s + 1.0) * odds
    # The form of the root that does not cancel for odds above 1; below 1 the discriminant exceeds linear squared.
    root = 2.0 * constant / (linear + sqrt(max(linear * linear - 4.0 * quadratic * constant, 0.0)))
    return min(max(int(root), low), high)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
