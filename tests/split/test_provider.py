"""The data plane over Split's SDK: what it relies on inside, and what it reports."""

from __future__ import annotations

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason
from splitio.client import factory as factories
from splitio.push import splitsse

from flagbrake.errors import ConfigError
from flagbrake_split.emulator import SplitEmulator
from flagbrake_split.sdk_options import SdkOptions
from flagbrake_split.translate import definition_from_flag
from tests.split.controlling import MISSET
from tests.split.sdk import factory
from tests.split.vendor import vendor
from tests.support.waiting import wait_until


def test_what_the_provider_relies_on_is_there(split: SplitEmulator) -> None:
    """The SDK's inside that Connection reaches into; a version without it must be noticed here and not at 3 a.m."""
    with factory(split) as made:
        client, manager, storages = made.client(), made._sync_manager, made._storages
        synchronizers = manager._synchronizer._split_synchronizers
        tasks = manager._synchronizer._split_tasks
        worker = manager._push._processor._feature_flag_worker
        relied_on = {
            "client": (client._context_factory.context_for, client._evaluator.eval_with_context),
            "records": (client._build_impression, client._record_stats),
            "pauses": (manager._synchronizer._backoff, synchronizers.split_sync._backoff, manager._backoff),
            "fetching": (synchronizers.split_sync._api.fetch_splits, manager._push._sse_client._client.start),
            "storages": (storages["splits"].update, storages["splits"].kill_locally, storages["segments"].put),
            "segments": (synchronizers.segment_sync._api.fetch_segment, synchronizers.segment_sync._worker_pool),
            "updates": (worker._handler, worker._segment_handler),
            "messages": (worker._apply_iff_if_needed, worker.is_running, splitsse.EventGroup().wait),
            "flushes": (storages["impressions"].set_queue_full_hook, tasks.impressions_task._task._messages.empty),
            "events": (storages["events"].set_queue_full_hook, tasks.events_task._task._messages.empty),
            "factories": (factories._INSTANTIATED_FACTORIES.clear, factories._INSTANTIATED_FACTORIES_LOCK),
            "ready": (made._sdk_internal_ready_flag, made._telemetry_submitter.synchronize_config),
        }
        assert all(part is not None for parts in relied_on.values() for part in parts)


def test_impressions_arrive_with_their_label() -> None:
    """Every evaluation is an impression with its label, sent at the latest when the provider ends."""
    with vendor() as made:
        made.emulator.put_definition(definition_from_flag(MISSET).result, "test")
        provider = made.provider(impressions="debug")
        provider.initialize(EvaluationContext())
        answer = provider.resolve("refunds", EvaluationContext("vip"))
        assert (answer.variant, answer.reason) == ("v2", Reason.TARGETING_MATCH)
        provider.shutdown()
        wait_until(lambda: "vip" in str(made.emulator.impressions()), why="the impression")
        assert str((answer.flag_metadata or {})["split_label"]) in str(made.emulator.impressions())


@pytest.mark.parametrize("name", ["back end", "-backend", "", "é", "b" * 51])
def test_a_flag_set_of_no_name(name: str) -> None:
    """The SDK would leave it out, and take all flags where no set is left."""
    with pytest.raises(ConfigError, match=f"flag_sets holds '{name}'"):
        SdkOptions.read({"sdk_key": "key", "flag_sets": ["ours", name]})
    assert SdkOptions.read({"sdk_key": "key", "flag_sets": ["Ours ", "b_2"]}).flag_sets == ("Ours ", "b_2")
