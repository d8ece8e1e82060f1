"""Writes docs/comparison.md from docs/proofs/comparison.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from flagbrake_contract import all_rules
from flagbrake_contract.catalogue import CONTRACTS
from flagbrake_contract.rules import AREAS, Level, Rule
from tests.peers.highlights import HIGHLIGHTS

_INTRODUCTION = """\
# Published OpenFeature providers against the contract

```
{command}
```

makes this page: {rules} rules of the [contract](contract.md) (the `ProviderContract` and the `EventsContract`) on each
provider, on {date}, Python {python}, openfeature-sdk {sdk}. No vendor's cloud was asked: each provider ran against
files or a server on the loopback interface, as its section says. Raw results: `docs/proofs/comparison.json`.

How to read it, in fairness:

- **MUST** and **SHOULD** are the OpenFeature specification's, v0.9.0, with its number. Most of these providers were
  written for an earlier version, and openfeature-sdk 0.10 does itself what v0.9.0 asks of providers.
- **flagbrake** marks what we demand on top, of ourselves first: our targeting dialect, reasons, off values, threads,
  forks, secrets. A provider that does not keep such a rule breaks no promise it ever made.
- `yes` kept, `**no**` a MUST broken, `no` a SHOULD or a rule of ours broken, `-` its vendor cannot (with the reason in
  its section) or the comparison has no means to ask it, `n/e` the flag that the rule needs has no counterpart in its
  format, so nothing could be asked.
- A rule counts as broken when any part of it is: one that asks five questions and gets four right answers is broken.
- What our own providers are known to break is broken here too.
"""


_FIRST = """\
Only rules that somebody breaks are listed. Providers that a row does not name keep the rule, or could not be asked:
the tables below say which.
"""


def page(result: dict[str, Any]) -> str:
    """The page."""
    providers = result["providers"]
    known = {rule.id: rule for rule in all_rules()}
    asked = [rule for rule in known.values() if any(rule.id in p["rules"] for p in providers.values())]
    parts = [
        _INTRODUCTION.format(
            command=result["command"],
            rules=len(asked),
            date=result["date"][:10],
            python=result["python"],
            sdk=result["openfeature-sdk"],
        ),
        "## Summary\n",
        *_summary(providers, asked),
        "\n## The differences that an application notices first\n",
        _FIRST,
        *_highlights(providers, known),
        "## Every rule\n",
        *_themes(providers, asked),
        "## How each provider ran\n",
        *(line for provider in providers.values() for line in _provider(provider, known)),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _summary(providers: dict[str, Any], asked: list[Rule]) -> Iterable[str]:
    columns = ("MUST kept", "MUST broken", "SHOULD kept", "SHOULD broken", "ours kept", "ours broken", "cannot", "n/e")
    yield f"| provider | {' | '.join(columns)} |"
    yield "| --- " + "| ---: " * len(columns) + "|"
    for provider in providers.values():
        count = Counter((rule.level, provider["rules"].get(rule.id, {}).get("outcome")) for rule in asked)
        cells = [
            str(count[level, outcome])
            for level in (Level.MUST, Level.SHOULD, Level.OURS)
            for outcome in ("passed", "failed")
        ]
        rest = [sum(count[level, outcome] for level in Level) for outcome in ("cannot", "not expressible")]
        yield f"| {provider['title']} | {' | '.join(cells)} | {rest[0]} | {rest[1]} |"
    partly = [p["title"] for p in providers.values() if len(p["rules"]) < len(asked)]
    if partly:
        yield f"\nAsked about some rules only, as their sections say: {'; '.join(partly)}."


def _highlights(providers: dict[str, Any], known: dict[str, Rule]) -> Iterable[str]:
    for question, rules in HIGHLIGHTS:
        rows = [row for rule in rules if rule in known for row in _row(providers, known[rule])]
        if rows:
            yield f"### {question}\n"
            yield "| rule | from | what came instead |"
            yield "| --- | --- | --- |"
            yield from rows
            yield ""


def _row(providers: dict[str, Any], rule: Rule) -> Iterable[str]:
    outcomes = {p["title"]: p["rules"].get(rule.id, {}) for p in providers.values()}
    broken = {title: found for title, found in outcomes.items() if found.get("outcome") == "failed"}
    if not broken:
        return
    instead = "<br>".join(f"{title}: {_cell(found['came'])}" for title, found in broken.items())
    yield f"| {_text(rule.text)} (`{rule.id}`) | {_source(rule)} | {instead} |"


_VOLATILE = (
    (re.compile(r"contract-[\w.-]*?\d+-[0-9a-f]{6}", re.IGNORECASE), "KEY"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"port=\d+"), "port=PORT"),
    (re.compile(r", loopback\b"), ""),
    (re.compile(r" at 0x[0-9a-f]+"), ""),
    (re.compile(r"/\S*/tmp\w+"), "FOLDER"),
)


def _cell(text: str, limit: int = 160) -> str:
    for pattern, instead in _VOLATILE:
        text = pattern.sub(instead, text)
    text = " ".join(text.split())
    if len(text) > limit:
        text = text[: limit - 4] + " ..."
    fence = "``" if "`" in text else "`"
    return f"{fence}{text.replace('|', chr(92) + '|')}{fence}" if text else "nothing"


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def _themes(providers: dict[str, Any], asked: list[Rule]) -> Iterable[str]:
    titles = " | ".join(p["title"] for p in providers.values())
    # In the order of docs/contract.md: that of AREAS depends on what was imported first.
    for name in dict.fromkeys(name for contract in CONTRACTS for name in contract.areas):
        area = AREAS[name]
        rules = [rule for rule in asked if rule.area == name]
        if not rules:
            continue
        yield f"### {area.title}\n"
        yield f"| rule | from | {titles} |"
        yield "| --- | --- " + "| --- " * len(providers) + "|"
        for rule in rules:
            marks = " | ".join(_mark(rule, p["rules"].get(rule.id, {})) for p in providers.values())
            yield f"| {_text(rule.text)} | {_source(rule)} | {marks} |"
        yield ""


def _source(rule: Rule) -> str:
    return f"{rule.level} {rule.spec}".strip()


def _mark(rule: Rule, found: dict[str, Any]) -> str:
    match found.get("outcome"):
        case "passed":
            return "yes"
        case "failed":
            return "**no**" if rule.level is Level.MUST else "no"
        case "cannot":
            return "-"
        case "not expressible":
            return "n/e"
        case _:
            return ""


def _provider(provider: dict[str, Any], known: dict[str, Rule]) -> Iterable[str]:
    packages = ", ".join(f"{name} {version}" for name, version in provider["packages"].items())
    yield f"### {provider['title']}\n"
    yield f"{packages}. Ran {provider['how']}.\n"
    for capability, why in provider["cannot"].items():
        yield f"- cannot: {capability}: {why}"
    reasons = Counter(found["came"] for found in provider["rules"].values() if found["outcome"] == "not expressible")
    for why, times in reasons.most_common():
        yield f"- not expressible: {why} ({times} {'rule' if times == 1 else 'rules'})"
    if provider["cannot"] or reasons:
        yield ""
    broken = [(known[rule], found) for rule, found in provider["rules"].items() if found["outcome"] == "failed"]
    if not broken:
        yield "Broken: nothing.\n"
        return
    yield "| broken | from | expected | came |"
    yield "| --- | --- | --- | --- |"
    for rule, found in broken:
        tracked = f" (tracked: {_text(found['tracked'])})" if "tracked" in found else ""
        yield f"| `{rule.id}` | {_source(rule)} | {_cell(found['expected'])} | {_cell(found['came'])}{tracked} |"
    yield ""
