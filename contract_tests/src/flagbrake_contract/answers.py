"""Answers belong to the caller, and the async getters give the same ones."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from openfeature.exception import ErrorCode

from flagbrake.model.values import FlagKind
from flagbrake_contract.ask import DEFAULTS, SOMEBODY, ask, ask_async, fails_with, run, shown, succeeds
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Broken, Said, add, area, holds, rule, same

area("aliasing", "Answers belong to the caller", repair="hand out a copy: copy.deepcopy of containers, a new "
     "FlagResolutionDetails, metadata that is read-only or new")  # fmt: skip
area("async", "Async calls", repair="serve the async getters with the same code as the sync ones")


# --- aliasing ----------------------------------------------------------------------------------------------


@rule(Cap.OBJECT)
def aliasing_object(h: Harness) -> None:
    """A caller may change the object it was given: the next answer is untouched."""
    value = {"list": [1, {"deep": 1}], "n": 1}
    flag = h.serving(copy.deepcopy(value))
    answer: Any = ask(h.provider, flag.key, {}).value
    answer["list"][1]["deep"] = "spoilt"
    answer["list"].append("spoilt")
    answer.clear()
    same(ask(h.provider, flag.key, {}).value, value)


@rule(Cap.OBJECT)
def aliasing_list(h: Harness) -> None:
    """A caller may change the list it was given."""
    flag = h.serving([1, [2]])
    answer: Any = ask(h.provider, flag.key, []).value
    answer[1].append("spoilt")
    answer.append("spoilt")
    same(ask(h.provider, flag.key, []).value, [1, [2]])


@rule()
def aliasing_details(h: Harness) -> None:
    """A caller may change the details it was given: each answer is its own."""
    flag = h.serving("x")
    answer = ask(h.provider, flag.key, "default")
    answer.value, answer.variant, answer.reason, answer.error_code = "spoilt", "spoilt", "SPOILT", ErrorCode.GENERAL
    again = succeeds(ask(h.provider, flag.key, "default"))
    same(again.value, "x")
    holds(again.variant != "spoilt" and again.reason != "SPOILT", expected="a fresh answer", came=shown(again))


@rule()
def aliasing_metadata(h: Harness) -> None:
    """A caller may change the metadata it was given, or cannot: the next answer is untouched."""
    flag = h.serving("x")
    metadata: Any = ask(h.provider, flag.key, "default").flag_metadata
    try:
        metadata["spoilt"] = True
    except TypeError:
        return
    holds(
        "spoilt" not in ask(h.provider, flag.key, "default").flag_metadata,
        expected="fresh or read-only metadata",
        came="the caller's change",
    )


@rule(Cap.OBJECT)
def aliasing_default(h: Harness) -> None:
    """The caller's default object is answered unchanged."""
    default = {"list": [1]}
    ask(h.provider, h.key("missing"), default)
    same(default, {"list": [1]})


# --- async ---------------------------------------------------------------------------------------------------


def _async_rows() -> None:
    samples = {"boolean": True, "string": "x", "integer": 3, "float": 2.75, "object": {"a": [1]}}
    for name, value in samples.items():

        def parity(h: Harness, value: Any = value, name: str = name) -> None:
            kind = FlagKind(name)
            flag = h.serving(value)
            for key, default in ((flag.key, DEFAULTS[kind]), (h.key("missing"), DEFAULTS[kind])):
                now = ask(h.provider, key, default, kind=kind)
                later = run(ask_async(h.provider, key, default, kind=kind))
                same(later.value, now.value, f"async value of {key}")
                same(str(later.reason), str(now.reason), f"async reason of {key}")
                same(later.variant, now.variant, f"async variant of {key}")
                holds(later.error_code == now.error_code, expected=now.error_code, came=later.error_code)

        add(f"async.{name}", parity, spec="1.4.12", needs=(Cap.OBJECT,) if name == "object" else (),
            text=f"The async {name} getter answers what the sync one does, for a flag and for none.")  # fmt: skip


_async_rows()


@rule(Cap.FULLY_TYPED_VALUES, spec="1.4.10")
def async_mismatch_default(h: Harness) -> None:
    """An async type mismatch carries the caller's default: the SDK's async client does not put it back.

    Repair: return the default yourself on every error; openfeature-sdk 0.10 passes a wrong value through.
    """
    flag = h.serving("text")
    fails_with(run(ask_async(h.provider, flag.key, True)), ErrorCode.TYPE_MISMATCH, True)
    same(run(h.client.get_boolean_value_async(flag.key, True, SOMEBODY)), True, "through the client")


@rule()
def async_many(h: Harness) -> None:
    """A thousand async calls at once all answer."""
    flag = h.serving("x")

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(ask_async(h.provider, flag.key, "default") for _ in range(1000)))

    wrong = [shown(a) for a in run(all_at_once()) if a.value != "x"]
    holds(not wrong, expected="x, 1000 times", came=f"{len(wrong)} others: {wrong[:3]}")


@rule()
def async_cancellation(h: Harness) -> None:
    """Cancelling a task in the middle of a call cancels it: the provider swallows no CancelledError."""
    flag = h.serving("x")

    async def call() -> None:
        await ask_async(h.provider, flag.key, "default")
        # A provider may deliver the cancellation here: openfeature-sdk 0.10 breaks on one that leaves a provider.
        await asyncio.sleep(0.2)

    async def cancelled() -> bool:
        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        return task.cancelled()

    holds(run(cancelled()), expected="a cancelled task", came="a task that goes on")


@rule()
def async_timeout(h: Harness) -> None:
    """An async call answers within a generous timeout, so that no caller's timeout cuts it off inside the SDK."""
    flag = h.serving("x")

    async def timed() -> Any:
        return await asyncio.wait_for(ask_async(h.provider, flag.key, "default"), 2)

    try:
        answer = run(timed())
    except TimeoutError:
        raise Broken(Said("an answer from memory within 2 s"), Said("none")) from None
    same(answer.value, "x")
