"""Mutation testing of the reference provider: ``python -m tests.contract.mutation [--write | MODULE ...]``.

Every mutant of the code that all providers of ours share (``ports.provider``, ``model.values``) and of
MemoryProvider is run against the contract, in a forked process, until a rule fails. ``--write`` stores the score
with its date in ``mutation.json``; ``python -m tests.bench contract`` prints the stored one.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import logging
import os
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails

from flagbrake.ports.provider import FlagProvider
from flagbrake.testing import MemoryProvider
from flagbrake_contract import Harness, Outcome, all_rules, judge
from tests.contract.harnesses import memory
from tests.contract.reference import reference

TARGETS = ("flagbrake.ports.provider", "flagbrake.model.values", "flagbrake.testing.provider")
#: Functions of the targets that are no part of answering: percentages as text, and the words of reprs.
LEFT_OUT = ("share_of", "percent_of", "__repr__", "_serving", "_made_up", "set", "put_segment", "remove_segment")
STORED = Path(__file__).with_name("mutation.json")
#: Seconds for one mutant; one that hangs counts as caught.
DEADLINE = 90

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.LtE,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def variations(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:  # noqa: C901 - one case per kind of mutant
    """What may stand in a node's place, with a word for each."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=right) if type(op) in _SWAPS:
            yield "swapped comparison", ast.Compare(left, [_SWAPS[type(op)]()], right)
        case ast.BoolOp(op=op, values=values):
            yield "swapped and/or", ast.BoolOp(_SWAPS[type(op)](), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "dropped not", operand
        case ast.Constant(value=bool() as value):
            yield "flipped constant", ast.Constant(not value)
        case ast.If(test=test, body=body, orelse=orelse):
            yield "negated if", ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "swapped if", ast.IfExp(test, orelse, body)
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "returned None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield "dropped call", ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]):
            yield "dropped assignment", ast.Pass()
        case ast.With(body=body):
            yield "dropped with", ast.If(ast.Constant(value=True), body, [])
        case ast.Raise():
            yield "dropped raise", ast.Pass()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def mutants(source: str) -> Iterator[tuple[str, ast.Module]]:
    """Every mutant of a module, with its description."""
    tree = ast.parse(source)
    for function in [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]:
        if function.name in LEFT_OUT:
            continue
        body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        for place, node in enumerate(n for statement in body for n in ast.walk(statement)):
            for choice, (word, _) in enumerate(variations(node)):
                yield f"{function.name}:{getattr(node, 'lineno', 0)} {word}", _changed(tree, function, place, choice)


def _changed(tree: ast.Module, function: Any, place: int, choice: int) -> ast.Module:
    fresh = copy.deepcopy(tree)
    twin = next(n for n in ast.walk(fresh) if getattr(n, "lineno", 0) == function.lineno and type(n) is type(function))
    body = [s for s in twin.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    target = [n for statement in body for n in ast.walk(statement)][place]
    new = list(variations(target))[choice][1]

    class Put(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return ast.copy_location(new, node) if node is target else self.generic_visit(node)

    return ast.fix_missing_locations(Put().visit(fresh))


def functions(module: types.ModuleType) -> Iterator[Any]:
    """Every function of a module and of its classes."""
    for thing in vars(module).values():
        if inspect.isfunction(thing) and thing.__module__ == module.__name__:
            yield thing
        if inspect.isclass(thing) and thing.__module__ == module.__name__:
            for member in vars(thing).values():
                plain = member.fget if isinstance(member, property) else member
                if inspect.isfunction(plain):
                    yield plain


def install(module: types.ModuleType, tree: ast.Module) -> None:
    """Put the mutant's code into the functions that everybody holds already."""
    code = {c.co_qualname: c for c in _codes(compile(tree, str(module.__file__), "exec"))}
    for function in functions(module):
        new = code.get(function.__code__.co_qualname)
        if new is not None and new.co_freevars == function.__code__.co_freevars:
            function.__code__ = new


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


class Returning(MemoryProvider):
    """Returns its errors instead of raising them."""

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """As an adapter of a vendor that has error answers."""
        try:
            return super().resolve(flag_key, context)
        except OpenFeatureError as error:
            return FlagResolutionDetails("junk", error.error_code, error.error_message)


class Bare(MemoryProvider):
    """Cannot tell what a flag serves when off, nor the value of a variant: many vendors' SDKs cannot."""

    off_value = FlagProvider.off_value
    value_of = FlagProvider.value_of


def harnesses() -> Iterator[tuple[Callable[[], Harness], tuple[str, ...]]]:
    """What a mutant has to pass: all in memory, all with a vendor, errors that are returned, and a bare adapter."""
    yield memory, ()
    yield reference, ()
    yield (lambda: memory(kind=Returning)), ("errors", "defaults", "async", "coercion")
    yield (lambda: memory(kind=Bare)), ("kills",)


def first_broken() -> str:
    """The first rule that fails, ``""`` if the contract does not notice."""
    for make, areas in harnesses():
        for rule in all_rules():
            if areas and rule.area not in areas:
                continue
            try:
                with make() as harness:
                    harness.patience = 1.0
                    if judge(rule, harness).outcome is Outcome.FAILED:
                        return rule.id
            except Exception as error:  # noqa: BLE001 - the harness itself cannot live with the mutant
                return f"{rule.id}: {type(error).__name__}"
    return ""


def run_apart(work: Callable[[], str]) -> str:
    """Run in a forked process; ``hangs`` when it does not end in time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(DEADLINE)
        said = "crash"
        try:
            said = work()
        finally:
            os.write(writing, said.encode()[:2000])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return "hangs" if os.WIFSIGNALED(status) else said


def measure(targets: Sequence[str] = TARGETS) -> dict[str, Any]:
    """Run all mutants; the caught and the survivors."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    survivors, total = [], 0
    clean = run_apart(first_broken)
    if clean:
        raise SystemExit(f"The reference itself breaks {clean}.")
    for name in targets:
        module = importlib.import_module(name)
        for described, tree in mutants(inspect.getsource(module)):
            total += 1

            def broken(module: types.ModuleType = module, tree: ast.Module = tree) -> str:
                install(module, tree)
                return first_broken()

            caught = run_apart(broken)
            print(f"{name} {described}: {caught or 'SURVIVED'}", flush=True)
            if not caught:
                survivors.append(f"{name} {described}")
    score = round(1 - len(survivors) / total, 3)
    return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "mutants": total, "score": score, "survivors": survivors}


if __name__ == "__main__":
    named = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    found = measure(named or TARGETS)
    print(json.dumps(found, indent=2))
    if "--write" in sys.argv and not named:
        STORED.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
