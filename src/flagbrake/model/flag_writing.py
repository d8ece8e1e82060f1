"""Flags and segments to JSON data: the canonical form. What is empty or default is left out."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from flagbrake.model.clause import DIALECTS, USER, Clause, OffFlag, Semantics
from flagbrake.model.flag import (
    Bucketing,
    Flag,
    KeySet,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Serve,
    Targets,
    Variant,
)
from flagbrake.model.values import USE_DEFAULT, WHOLE

_DEFAULT: Final = Bucketing()
_SEMANTICS: Final = ("on_missing", "coercion", "list_mode", "case", "regex", "semver", "dates", "off_flag", "contexts")


def flag_to_data(flag: Flag) -> dict[str, Any]:
    """A flag as JSON data; what is empty is left out."""
    data: dict[str, Any] = {
        "key": flag.key,
        "kind": flag.kind.value,
        "on": flag.on,
        "variants": [_variant_to(v) for v in flag.variants],
        "default": _serve_to(flag.default),
        "version": flag.version,
    }
    if flag.off_variant is not None:
        data["off"] = flag.off_variant
    if flag.targets:
        data["targets"] = [{"variant": t.variant, **_keys_to(t)} for t in flag.targets]
    if flag.rules:
        data["rules"] = [_rule_to(r) for r in flag.rules]
    if flag.prerequisites:
        data["prerequisites"] = [_prerequisite_to(p) for p in flag.prerequisites]
    if flag.tags:
        data["tags"] = list(flag.tags)
    if flag.description:
        data["description"] = flag.description
    if flag.archived:
        data["archived"] = True
    return data


def _variant_to(variant: Variant) -> dict[str, Any]:
    return {"name": variant.name} if variant.value is USE_DEFAULT else {"name": variant.name, "value": variant.value}


def segment_to_data(segment: Segment) -> dict[str, Any]:
    """A segment as JSON data; what is empty is left out."""
    data: dict[str, Any] = {"key": segment.key, "version": segment.version}
    if segment.included:
        data["included"] = [_keys_to(k) for k in segment.included]
    if segment.excluded:
        data["excluded"] = [_keys_to(k) for k in segment.excluded]
    if segment.excluded_segments:
        data["excluded_segments"] = list(segment.excluded_segments)
    if segment.rules:
        data["rules"] = [_segment_rule_to(r) for r in segment.rules]
    if segment.description:
        data["description"] = segment.description
    return data


def _keys_to(keys: Targets | KeySet) -> dict[str, Any]:
    listed = {"keys": list(keys.keys)}
    return listed if keys.kind == USER else {**listed, "kind": keys.kind}


def _prerequisite_to(asked: Prerequisite) -> dict[str, Any]:
    data: dict[str, Any] = {"flag": asked.flag, "variants": list(asked.variants)}
    return data if asked.off_flag is OffFlag.UNMET else {**data, "off_flag": asked.off_flag.value}


def _rule_to(rule: Rule) -> dict[str, Any]:
    data = {"id": rule.id, "when": [_clause_to(c) for c in rule.clauses], "serve": _serve_to(rule.serve)}
    if rule.description:
        data["description"] = rule.description
    return data


def _segment_rule_to(rule: SegmentRule) -> dict[str, Any]:
    data: dict[str, Any] = {"when": [_clause_to(c) for c in rule.clauses]}
    if rule.share != WHOLE:
        data["share"] = rule.share
    if rule.bucketing != _DEFAULT:
        data["bucketing"] = _bucketing_to(rule.bucketing)
    return data


def _serve_to(serve: Serve) -> Any:
    if isinstance(serve, str):
        return serve
    data: dict[str, Any] = {"split": [{"variant": w.variant, "share": w.share} for w in serve.weights]}
    if serve.bucketing != _DEFAULT:
        data["bucketing"] = _bucketing_to(serve.bucketing)
    if serve.gate is not None:
        gate = serve.gate
        data["gate"] = {"share": gate.share, "outside": gate.outside, "bucketing": _bucketing_to(gate.bucketing)}
        if gate.outside is None:
            del data["gate"]["outside"]
    return data


def _bucketing_to(bucketing: Bucketing) -> dict[str, Any]:
    data: dict[str, Any] = {"algorithm": bucketing.algorithm}
    if bucketing.salt:
        data["salt"] = bucketing.salt
    if bucketing.seed is not None:
        data["seed"] = bucketing.seed
    if bucketing.group is not None:
        data["group"] = bucketing.group
    if bucketing.attribute != _DEFAULT.attribute:
        data["attribute"] = str(bucketing.attribute)
    if bucketing.override is not None:
        data["override"] = str(bucketing.override)
    if bucketing.buckets is not None:
        data["buckets"] = bucketing.buckets
    return data


def _clause_to(clause: Clause) -> dict[str, Any]:
    data: dict[str, Any] = {
        "attribute": str(clause.attribute),
        "op": clause.op.value,
        "values": list(clause.values),
        **_semantics_to(clause.semantics),
    }
    if clause.negate:
        data["negate"] = True
    return data


@lru_cache(maxsize=256)
def _semantics_to(semantics: Semantics) -> dict[str, str]:
    def overrides(preset: Semantics) -> dict[str, str]:
        return {n: getattr(semantics, n).value for n in _SEMANTICS if getattr(semantics, n) != getattr(preset, n)}

    name = min(DIALECTS, key=lambda d: (len(overrides(DIALECTS[d])), d != "ours"))
    return {**({} if name == "ours" else {"dialect": name}), **overrides(DIALECTS[name])}
