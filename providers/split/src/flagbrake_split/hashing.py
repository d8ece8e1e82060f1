"""Pure: partitions, traffic allocation and seeds <-> distributions, gates and bucketings."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from flagbrake.model.clause import Attribute
from flagbrake.model.flag import Bucketing, Distribution, Flag, Gate, Serve, Weight
from flagbrake.model.loss import Loss, Severity
from flagbrake.model.values import WHOLE, percent_of

JSON = dict[str, Any]

#: The attribute of an OpenFeature context that holds Split's bucketing key; without it the targeting key is hashed.
BUCKETING_KEY: Final = "bucketingKey"
MURMUR: Final = "split-murmur3"
LEGACY: Final = "split-legacy"
#: One percent, Split's smallest step.
_STEP: Final = WHOLE // 100


@dataclass(frozen=True, slots=True)
class Hashing:
    """What the vendor assigns to a flag in an environment and shows to SDKs only. ``None`` is unknown."""

    seed: int | None = None
    allocation_seed: int | None = None
    algo: int = 2

    @classmethod
    def of(cls, split: Mapping[str, Any]) -> Hashing:
        """What a split in the SDK's form says; any other algorithm than 2 is the legacy one, as for the SDK."""
        return cls(split.get("seed"), split.get("trafficAllocationSeed"), 2 if split.get("algo") == 2 else 1)

    @property
    def bucketing(self) -> Bucketing:
        """For partitions."""
        return _bucketing(self.algo, self.seed)

    @property
    def gate_bucketing(self) -> Bucketing:
        """For the traffic allocation."""
        return _bucketing(self.algo, self.allocation_seed)


def _bucketing(algo: int, seed: int | None) -> Bucketing:
    return Bucketing(MURMUR if algo == 2 else LEGACY, seed=seed, override=Attribute((BUCKETING_KEY,)))


def made_up_seed(key: str, purpose: str) -> int:
    """A seed for a flag that never had one: the same for the same name, in 31 bits, not 0 (an SDK replaces 0)."""
    return zlib.crc32(f"{key}/{purpose}".encode()) % (2**31 - 1) + 1


def allocation(document: Mapping[str, Any]) -> float:
    """The traffic allocation in percent: what is absent or out of bounds is 100, as for the SDK."""
    found = document.get("trafficAllocation")
    return found if isinstance(found, (int, float)) and 0 <= found <= 100 else 100


def gate_of(document: Mapping[str, Any], hashing: Hashing) -> Gate | None:
    """The traffic allocation as a gate, ``None`` where it lets everybody in. Buckets are whole percents."""
    percent = allocation(document)
    if percent >= 100:
        return None
    return Gate(math.floor(percent) * _STEP, hashing.gate_bucketing, document["defaultTreatment"])


def serve_of(
    partitions: Iterable[Mapping[str, Any]], *, where: str, default: str, hashing: Hashing, gate: Gate | None
) -> tuple[Serve, list[Loss]]:
    """What a condition serves. Sizes are cut to whole percents, cumulatively, as buckets 1 to 100 do it."""
    listed = list(partitions)
    losses: list[Loss] = []
    if not listed:
        losses.append(Loss(where, "no partitions", f"'{default}' is served where the SDK answers control"))
    if len(listed) == 1 and listed[0]["size"] == 100:
        only: str = listed[0]["treatment"]
        return (only, losses) if gate is None else (_alone(only, hashing, gate), losses)
    weights = []
    upto: float = 0
    before = 0
    for part in listed:
        upto += part["size"]
        end = min(math.floor(upto), 100)
        weights.append(Weight(part["treatment"], (end - before) * _STEP))
        before = end
        if part["size"] != int(part["size"]):
            losses.append(Loss(where, f"{part['size']} % of '{part['treatment']}'", _IN_FACT, Severity.NOTE))
    if upto > 100:
        losses.append(Loss(where, f"partitions of {upto} %", "none: what is over 100 % is never served", Severity.NOTE))
    if before < 100:
        effect = f"the rest gets '{default}' where the SDK answers control"
        losses.append(Loss(where, f"partitions of {upto} %", effect))
        weights.append(Weight(default, (100 - before) * _STEP))
    return Distribution(tuple(weights), hashing.bucketing, gate), losses


_IN_FACT: Final = "none: buckets are whole percents, the shares are what is served"


def _alone(variant: str, hashing: Hashing, gate: Gate) -> Distribution:
    return Distribution((Weight(variant, WHOLE),), hashing.bucketing, gate)


def no_match(default: str, *, hashing: Hashing, gate: Gate | None) -> Serve:
    """What is served where no condition matches."""
    return default if gate is None else _alone(default, hashing, gate)


# --- the other way ---------------------------------------------------------------------------------------


def partitions_of(serve: Serve, *, where: str) -> tuple[list[JSON], list[Loss]]:
    """A serve as partitions in whole percents; what is finer is cut cumulatively and said."""
    if isinstance(serve, str):
        return [{"treatment": serve, "size": 100}], []
    parts = []
    losses = []
    upto = before = 0
    for weight in serve.weights:
        upto += weight.share
        end = upto // _STEP
        parts.append({"treatment": weight.variant, "size": end - before})
        if weight.share != (end - before) * _STEP:
            fact = f"{percent_of(weight.share)} % of '{weight.variant}'"
            losses.append(Loss(where, fact, f"{end - before} %: Split has whole percents", Severity.ANSWERS))
        before = end
    return parts, losses


@dataclass(frozen=True, slots=True)
class Hashed:
    """One hashing and one gate for a whole flag, and how many of its rules stand before the gate."""

    hashing: Hashing
    allocation: float
    ungated: int
    losses: tuple[Loss, ...]


def hashed(flag: Flag, *, base: Hashing | None, default: str) -> Hashed:
    """What a flag's distributions say together, as Split has it once for each flag.

    ``base`` is the flag's hashing in the environment it is written to, where it has one; what it does not know
    is taken from the flag, and made up from the flag's key where the flag does not know either.
    """
    losses: list[Loss] = []
    serves = [(f"rules[{i}].serve", rule.serve) for i, rule in enumerate(flag.rules)] + [("default", flag.default)]
    splits = [(where, serve) for where, serve in serves if isinstance(serve, Distribution)]
    own = [s.bucketing for _, s in splits if _is_split(s.bucketing)]
    gates = [(where, s.gate) for where, s in splits if s.gate is not None]
    algo = 1 if own and own[0].algorithm == LEGACY else 2
    seed = own[0].seed if own else None
    allocation_seed = gates[0][1].bucketing.seed if gates and _is_split(gates[0][1].bucketing) else None
    found = Hashing(seed, allocation_seed, algo)
    if base is not None and base.seed is not None:
        found = replace(base, allocation_seed=base.allocation_seed or allocation_seed)
    elif base is not None and not own:
        found = replace(found, algo=base.algo)
    found = Hashing(
        made_up_seed(flag.key, "partitions") if found.seed is None else found.seed,
        made_up_seed(flag.key, "allocation") if found.allocation_seed is None else found.allocation_seed,
        found.algo,
    )
    for where, split in splits:
        shares = [w.share for w in split.weights if w.share]
        if len(shares) > 1:
            losses.extend(_moved(split.bucketing, found.bucketing, f"{where}.bucketing"))
        if split.gate is not None and 0 < split.gate.share < WHOLE:
            losses.extend(_moved(split.gate.bucketing, found.gate_bucketing, f"{where}.gate.bucketing"))
    percent, ungated = _one_gate(flag, serves, default, losses)
    return Hashed(found, percent, ungated, tuple(losses))


def _is_split(bucketing: Bucketing) -> bool:
    return bucketing.algorithm in {MURMUR, LEGACY}


def _moved(there: Bucketing, here: Bucketing, where: str) -> list[Loss]:
    if there == here or (_is_split(there) and there.seed is None):
        return []
    parts = []
    if (there.algorithm, there.seed) != (here.algorithm, here.seed):
        parts.append(f"{there.algorithm} instead of {here.algorithm} with seed {here.seed}")
    if there.attribute != here.attribute:
        parts.append(f"by '{there.attribute}'")
    elif there.override != here.override:
        parts.append(
            f"without the bucketing key '{BUCKETING_KEY}'" if there.override is None else f"'{there.override}'"
        )
    severity = Severity.EDGE if len(parts) == 1 and "bucketing key" in parts[0] else Severity.UNITS
    effect = "contexts with a bucketing key get another share" if severity is Severity.EDGE else "other units are in it"
    return [Loss(where, "hashed " + ", ".join(parts), effect, severity)] if parts else []


def _one_gate(flag: Flag, serves: list[tuple[str, Serve]], default: str, losses: list[Loss]) -> tuple[float, int]:
    """The traffic allocation in percent, and how many rules stand before it."""
    gates = [serve.gate if isinstance(serve, Distribution) else None for _, serve in serves]
    first = next((i for i, gate in enumerate(gates) if gate is not None), None)
    if first is None:
        return 100, 0
    gate = gates[first]
    assert gate is not None
    for (where, serve), other in list(zip(serves, gates, strict=True))[first:]:
        if other != gate and serve != default:
            losses.append(Loss(f"{where}.gate", "not the gate of the rules before it", "Split has one for all of them"))
    if gate.outside != default:
        fact = "the next rule" if gate.outside is None else f"'{gate.outside}'"
        fact += " outside the gate"
        losses.append(Loss(f"{serves[first][0]}.gate", fact, f"Split serves '{default}' there, as when it is killed"))
    if gate.share % _STEP:
        fact = f"a gate of {percent_of(gate.share)} %"
        losses.append(Loss(f"{serves[first][0]}.gate", fact, f"{gate.share // _STEP} %: Split has whole percents"))
    return gate.share // _STEP, min(first, len(flag.rules))
