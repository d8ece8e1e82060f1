"""Bucketing: stable vectors, fair shares, and nobody ever moves back while a percentage grows."""

from __future__ import annotations

from itertools import pairwise

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.evaluate.bucketing import Algorithm, algorithm, cbor_text, register
from flagbrake.model.flag import Bucketing, Distribution, Flag, Variant, Weight, ramp
from flagbrake.model.values import WHOLE, FlagKind

ALGORITHMS = ["flagbrake-1", "flagd-2"]
shares = st.integers(0, WHOLE)
unit_texts = st.text(st.characters(codec="utf-8"), min_size=1)


def bucket(name, unit, *, key="checkout", **inputs):
    """A unit's bucket of 100,000, read through the public door."""
    made = algorithm(name)
    return made.bucket(made.locate(Bucketing(name, **inputs), key)(unit))


def variants_of(distribution, units, key="checkout"):
    names = {w.variant for w in distribution.weights}
    flag = Flag(key, FlagKind.STRING, tuple(Variant(n, n) for n in sorted(names)), distribution)
    rules = Ruleset({key: flag})
    return [rules.evaluate(key, EvaluationContext(unit)).variant for unit in units]


def test_vectors():
    """These never change: a user's variant must outlive every release. Computed with mmh3 and cbor2."""
    assert [bucket("flagbrake-1", u) for u in ("user-1", "user-2", "ünïcode", "日本")] == VECTORS["flagbrake-1"]
    assert [bucket("flagd-2", u) for u in ("user-1", "user-2", "ünïcode", "日本")] == VECTORS["flagd-2"]
    assert bucket("flagbrake-1", "user-1", salt="other") == VECTORS["salted"]
    assert bucket("flagbrake-1", "user-1", seed=61) == VECTORS["seeded"]


VECTORS = {
    "flagbrake-1": [19574, 8955, 87710, 40691],
    "flagd-2": [72508, 69805, 1288, 76509],
    "salted": 95411,
    "seeded": 50417,
}


def test_the_formula():
    """flagbrake-1 is murmur3_x86_32("salt/unit") * 100000 >> 32; the reference is written out here."""
    for unit in ("user-1", "ü", "", "x" * 100):
        assert bucket("flagbrake-1", unit) == murmur3_32(f"checkout/{unit}".encode()) * WHOLE >> 32
        assert bucket("flagd-2", unit) == murmur3_32(cbor2.dumps(["checkout", unit])) * WHOLE >> 32


def murmur3_32(data, seed=0):
    """MurmurHash3_x86_32 as its author published it."""
    mask = 0xFFFFFFFF

    def mixed(k):
        k = k * 0xCC9E2D51 & mask
        return (k << 15 | k >> 17) * 0x1B873593 & mask

    h, whole = seed, len(data) // 4 * 4
    for i in range(0, whole, 4):
        h ^= mixed(int.from_bytes(data[i : i + 4], "little"))
        h = ((h << 13 | h >> 19) & mask) * 5 + 0xE6546B64 & mask
    if data[whole:]:
        h ^= mixed(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    return h ^ h >> 16


@given(st.text(st.characters(codec="utf-8"), max_size=400))
def test_cbor_text(text):
    """Our CBOR of a text is canonical CBOR."""
    assert cbor_text(text) == cbor2.dumps(text, canonical=True)


def test_long_cbor_text():
    """Also where the length needs two and four bytes."""
    for size in (23, 24, 255, 256, 65_535, 65_536):
        assert cbor_text("y" * size) == cbor2.dumps("y" * size)


@given(
    st.sampled_from(ALGORITHMS), shares, shares, st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1)
)
def test_growing_a_ramp_never_moves_a_unit_back(name, one, other, units):
    """Whoever has v2 at a smaller share has it at every larger one."""
    small, large = sorted((one, other))
    before = variants_of(ramp("v2", small, "v1", Bucketing(name)), units)
    after = variants_of(ramp("v2", large, "v1", Bucketing(name)), units)
    assert all(b == "v1" or a == "v2" for b, a in zip(before, after, strict=True))


@given(st.data())
@settings(max_examples=60)
def test_growing_the_first_weight_never_moves_a_unit_out_of_it(data):
    """With any number of variants: raising the first one's share only adds units to it."""
    count = data.draw(st.integers(2, 5))
    small, large = sorted(data.draw(st.tuples(shares, shares)))
    units = [f"u{i}" for i in range(200)]

    def split(first):
        cuts = sorted(data.draw(st.lists(st.integers(first, WHOLE), min_size=count - 2, max_size=count - 2)))
        ends = [first, *cuts, WHOLE]
        sizes = [first, *(b - a for a, b in pairwise(ends))]
        return Distribution(tuple(Weight(f"v{i}", size) for i, size in enumerate(sizes)))

    before, after = variants_of(split(small), units), variants_of(split(large), units)
    assert all(b != "v0" or a == "v0" for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_shares_are_exact_to_the_bucket(name):
    """Every step of 0.001 % counts: a unit in bucket b has v2 from the share b + 1 on, not before."""
    for i in range(300):
        at = bucket(name, f"u{i}")
        assert variants_of(ramp("v2", at, "v1", Bucketing(name)), [f"u{i}"]) == ["v1"]
        assert variants_of(ramp("v2", at + 1, "v1", Bucketing(name)), [f"u{i}"]) == ["v2"]


def test_every_slice_begins_at_its_bound():
    """Of several variants each has the buckets from its bound up to, without, the next one's."""
    register(Algorithm("test-identity", lambda _b, _k: int, lambda share: share, lambda position: position))
    weights = (Weight("a", 10), Weight("b", 20), Weight("c", 30), Weight("d", WHOLE - 60))
    units = ["0", "9", "10", "29", "30", "59", "60", "99999"]
    got = variants_of(Distribution(weights, Bucketing("test-identity")), units)
    assert "".join(got) == "aabbccdd"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_bound_is_the_bucket_rule(name):
    """The bound on positions says the same as the bucket, at both of its sides, for shares of all sizes."""
    made = algorithm(name)
    for share in [*range(200), *range(0, WHOLE, 777), *range(WHOLE - 200, WHOLE + 1)]:
        bound = made.bound(share)
        assert share == 0 or made.bucket(bound - 1) < share
        assert bound == 2**32 or made.bucket(bound) >= share


@pytest.mark.parametrize("name", ALGORITHMS)
def test_shares_are_fair(name):
    """Of 60,000 units each variant of 50/30/20 gets its share within four standard deviations."""
    weights = (Weight("a", 50_000), Weight("b", 30_000), Weight("c", 20_000))
    got = variants_of(Distribution(weights, Bucketing(name)), [f"user-{i}" for i in range(60_000)])
    for variant, share in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
        deviation = (60_000 * share * (1 - share)) ** 0.5
        assert abs(got.count(variant) - 60_000 * share) < 4 * deviation


def test_flags_are_independent():
    """The same units fall differently under another key or salt."""
    units = [f"u{i}" for i in range(1000)]
    half = ramp("v2", 50_000, "v1")
    one, other = variants_of(half, units, "one"), variants_of(half, units, "other")
    both = sum(a == b == "v2" for a, b in zip(one, other, strict=True))
    assert 190 < both < 310
    shared = ramp("v2", 50_000, "v1", Bucketing(salt="shared"))
    assert variants_of(shared, units, "one") == variants_of(shared, units, "other")


def test_zero_shares_get_nobody():
    """Also in the middle and at the end."""
    weights = (Weight("a", 0), Weight("b", 50_000), Weight("c", 0), Weight("d", 50_000), Weight("e", 0))
    assert set(variants_of(Distribution(weights), [f"u{i}" for i in range(500)])) == {"b", "d"}


def test_registry():
    """An adapter may add its algorithm once; an unknown id is refused with the known ones."""
    with pytest.raises(InvalidInput, match=r"'flagbrake-2' is not known here\. Try: one of flagbrake-1, flagd-2"):
        algorithm("flagbrake-2")
    with pytest.raises(InvalidInput, match="exists already"):
        register(Algorithm("flagd-2", lambda _b, _k: len, int, int))
    register(algorithm("flagd-2"))
