"""Bad days of the data plane on the real server: what applications are told, and what they are served meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ProviderFatalError, ProviderNotReadyError

from flagbrake_unleash.provider import UnleashProvider
from tests.support.waiting import wait_until
from tests.unleash.harnesses import Vendor, vendor
from tests.unleash.intercepting import Fault, Interceptor
from tests.unleash.servers import needed
from tests.unleash.test_provider import feature, heard, started, strategy, variant

ANN = EvaluationContext("ann")
STALE, READY, ERROR = ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_ERROR


@pytest.fixture(scope="module")
def own() -> Iterator[Vendor]:
    """A server that this file may stop."""
    needed()
    with vendor() as made:
        yield made


@contextmanager
def between(here: Vendor) -> Iterator[Interceptor]:
    with closing(Interceptor(here.server.port)) as made:
        yield made


def on(provider: UnleashProvider, key: str) -> bool | None:
    answer = provider.resolve_boolean_details(key, default_value=False, evaluation_context=ANN)
    return answer.value if answer.error_code is None else None


def standings(told: list) -> list[ProviderEvent]:
    return [event for event, _ in told if event is not ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", ["server", "database"])
def test_the_server_is_away_for_a_while(own: Vendor, what: str) -> None:
    """Its process, or its database, crashes and comes back: what is known is served all the time, and a change that
    was made meanwhile arrives by itself."""
    with started(own, feature(f"away-{what}", strategy(), enabled=False)) as provider:
        told = heard(provider)
        if what == "server":
            own.server.kill()
            wait_until(lambda: standings(told) == [STALE], timeout=15, why="STALE")
            assert on(provider, "away-server") is False
            own.back.write(feature("away-server", strategy()))
            own.server.start()
            wait_until(lambda: standings(told) == [STALE, READY], timeout=30, why="READY")
        else:
            own.database.stop()
            provider.refresh()
            assert on(provider, "away-database") is False
            own.database.start()
            own.back.close()
            own.back.write(feature("away-database", strategy()))
        wait_until(lambda: on(provider, f"away-{what}"), timeout=30, why="the change")
        wait_until(lambda: standings(told)[-1:] in ([], [READY]), timeout=30, why="READY at the end")


@pytest.mark.timeout(120)
def test_a_start_without_a_server(own: Vendor) -> None:
    """PROVIDER_NOT_READY with the reason, in time; the SDK tries on and READY is told when the server is there."""
    own.back.write(feature("later", strategy()))
    own.server.stop()
    provider = own.provider(url=f"{own.server.url}/api", timeout=1.0)
    told = heard(provider)
    try:
        with pytest.raises(ProviderNotReadyError, match="does not answer"):
            provider.initialize(EvaluationContext())
        assert on(provider, "later") is None
        own.server.start()
        wait_until(lambda: standings(told) == [READY], timeout=30, why="READY")
        assert on(provider, "later") is True
    finally:
        provider.shutdown()


@pytest.mark.parametrize("fault", [Fault.FAILS, Fault.BROKEN, Fault.LOST, Fault.GARBAGE, Fault.HANGS])
def test_an_answer_that_is_none(quick_vendor: Vendor, tmp_path: Path, fault: Fault) -> None:
    """5xx, a cut line, a page of somebody else's, silence: STALE once, the known flags meanwhile, nothing of it in the
    copy on disk; then READY and what has changed."""
    key, kept = f"none-{fault.value}", {"cache_directory": str(tmp_path), "app_name": fault.value}
    with (
        between(quick_vendor) as proxy,
        started(
            quick_vendor, feature(key, strategy(), enabled=False), url=f"{proxy.url}/api", timeout=0.5, **kept
        ) as one,
    ):
        told = heard(one)
        quick_vendor.back.write(feature(key, strategy()))
        quick_vendor.seen()
        proxy.always(fault)
        one.refresh()
        one.refresh()
        assert standings(told) == [STALE]
        assert on(one, key) is False
        with closing(_Shut(quick_vendor.provider(url=f"{proxy.url}/api", timeout=0.5, **kept))) as other:
            other.provider.initialize(EvaluationContext())
            assert on(other.provider, key) is False  # what the first one keeps is a copy of flags
        proxy.let_go()
        proxy.always(None)
        one.refresh()
        assert standings(told) == [STALE, READY]
        assert on(one, key) is True


def test_a_token_that_is_revoked(own: Vendor) -> None:
    """Refused from one day to the next: ERROR, the known flags meanwhile, and FATAL for who starts with it now. The
    server itself looks for revoked tokens once a minute; it is started anew here instead."""
    admin = {"Authorization": own.server.admin_token}
    asked = {"tokenName": "for-a-day", "type": "backend", "environment": "development", "projects": ["default"]}
    made = httpx.post(f"{own.server.url}/api/admin/api-tokens", json=asked, headers=admin)
    token = made.raise_for_status().json()["secret"]
    with started(own, feature("revoked", strategy()), token=token) as provider:
        told = heard(provider)
        httpx.delete(f"{own.server.url}/api/admin/api-tokens/{token}", headers=admin).raise_for_status()
        own.server.stop()
        own.server.start()
        wait_until(lambda: standings(told)[-1:] == [ERROR], timeout=20, why="ERROR")
        assert set(standings(told)) <= {STALE, ERROR}
        assert on(provider, "revoked") is True
        assert token not in str(told[-1][1])
        again = own.provider(token=token)
        with pytest.raises(ProviderFatalError, match="refuses the backend token"):
            again.initialize(EvaluationContext())
        again.shutdown()


_AGENT = """
import sys
from openfeature.evaluation_context import EvaluationContext
from flagbrake_unleash.provider import UnleashProvider
from flagbrake_unleash.sdk import SdkSettings

url, token, folder = sys.argv[1:]
settings = SdkSettings(url, token, app_name="agent", refresh_interval=0.2, metrics_interval=0, cache_directory=folder)
provider = UnleashProvider(settings)
provider.attach(lambda _, event, details: print(event.name, flush=True))
provider.initialize(EvaluationContext())
print(provider.resolve_string_details("restarted", "default", EvaluationContext("ann")).value, flush=True)
sys.stdin.read()
provider.shutdown()
"""


def test_a_process_that_crashed_starts_on_what_it_kept(quick_vendor: Vendor, tmp_path: Path) -> None:
    """Killed, and started again without the server: it serves the copy on disk and says that it is old."""
    quick_vendor.back.write(feature("restarted", strategy(variants=[variant("blue", type="string", value="b")])))
    quick_vendor.seen()
    with between(quick_vendor) as proxy:
        command = [sys.executable, "-c", _AGENT, f"{proxy.url}/api", quick_vendor.token, str(tmp_path)]
        for crash in (True, False):
            agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert agent.stdout is not None
            try:
                said = agent.stdout.readline().strip()
                assert said == "b"
                if not crash:
                    assert agent.stdout.readline().strip() == "PROVIDER_STALE"
            finally:
                agent.send_signal(signal.SIGKILL if crash else signal.SIGTERM)
                agent.communicate(timeout=30)
            proxy.always(Fault.LOST)


@pytest.mark.parametrize("left", [b"", b"not a pickle", b"\x80\x05]."])
def test_a_copy_that_a_crash_left_torn(quick_vendor: Vendor, tmp_path: Path, left: bytes) -> None:
    """It is not used, and is no reason not to start."""
    kept = {"cache_directory": str(tmp_path), "app_name": "torn"}
    with started(quick_vendor, feature("torn-copy", strategy()), **kept):
        pass
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(left)
    with started(quick_vendor, **kept) as provider:
        assert on(provider, "torn-copy") is True


@pytest.mark.parametrize("text", ["", "<html>", '{"features": 3}', '{"features": [{"nom": "x"}]}'])
def test_a_bootstrap_file_that_is_none(quick_vendor: Vendor, tmp_path: Path, text: str) -> None:
    """A mistake of whoever deployed it is FATAL at the start, with its name, not a surprise at the next outage."""
    file = tmp_path / "features.json"
    file.write_text(text)
    provider = quick_vendor.provider(bootstrap=str(file))
    with pytest.raises(ProviderFatalError, match=r"features\.json.*no feature state"):
        provider.initialize(EvaluationContext())
    assert not provider._connected


def test_one_feature_that_nobody_can_read(quick_vendor: Vendor, tmp_path: Path) -> None:
    """It is left out, with a word in the log, and takes no other with it."""
    bad = {**feature("bad"), "strategies": [{"name": "flexibleRollout", "parameters": 3, "variants": [{"name": "x"}]}]}
    file = tmp_path / "features.json"
    file.write_text(json.dumps({"version": 2, "features": [bad, feature("good", strategy())]}))
    with closing(_Shut(quick_vendor.provider(bootstrap=str(file), url="http://127.0.0.1:1/api"))) as one:
        one.provider.initialize(EvaluationContext())
        assert (on(one.provider, "good"), on(one.provider, "bad")) == (True, None)


def test_a_copy_of_another_environment(quick_vendor: Vendor, tmp_path: Path) -> None:
    """One folder, one program, two environments: without the server each has its own flags or none."""
    kept = {"cache_directory": str(tmp_path), "app_name": "both"}
    production = quick_vendor.server.backend_tokens["production"]
    with between(quick_vendor) as proxy:
        with started(quick_vendor, feature("here-only", strategy()), url=f"{proxy.url}/api", **kept):
            pass
        proxy.always(Fault.LOST)
        with closing(_Shut(quick_vendor.provider(url=f"{proxy.url}/api", token=production, **kept))) as other:
            with pytest.raises(ProviderNotReadyError):
                other.provider.initialize(EvaluationContext())
            assert on(other.provider, "here-only") is None


def test_several_clients_in_one_process(quick_vendor: Vendor) -> None:
    """Each has an SDK of its own: one that is cut off, or shut down, changes nothing for the other."""
    with (
        between(quick_vendor) as proxy,
        started(quick_vendor, feature("shared", strategy(), enabled=False)) as one,
        started(quick_vendor, url=f"{proxy.url}/api") as two,
    ):
        told, told_too = heard(one), heard(two)
        proxy.always(Fault.LOST)
        quick_vendor.back.write(feature("shared", strategy()))
        quick_vendor.settle()
        assert (on(one, "shared"), on(two, "shared")) == (True, False)
        assert (standings(told), standings(told_too)) == ([], [STALE])
        two.shutdown()
        quick_vendor.back.write(feature("shared", strategy(), enabled=False))
        quick_vendor.settle()
        assert (on(one, "shared"), on(two, "shared")) == (False, None)


def test_a_shutdown_leaves_nothing(quick_vendor: Vendor) -> None:
    """No thread and no file or socket, after a start that went well, one that failed, and one that was refused."""
    files, threads = _files(), set(threading.enumerate())
    with started(quick_vendor, feature("clean", strategy())) as provider:
        assert on(provider, "clean")
    for settings in ({"url": "http://127.0.0.1:1/api"}, {"token": "default:development.wrong"}):
        provider = quick_vendor.provider(**settings)
        with pytest.raises((ProviderNotReadyError, ProviderFatalError)):
            provider.initialize(EvaluationContext())
        provider.shutdown()
    ours = ("unleash", "apscheduler", "sse")
    left = [t.name for t in set(threading.enumerate()) - threads if t.name.lower().startswith(ours)]
    assert not left
    wait_until(lambda: _files() <= files, why=f"files to close: {_files()} of {files}")


def _files() -> int:
    there = Path("/proc/self/fd")  # of Linux
    return len(list(there.iterdir())) if there.exists() else 0


class _Shut:
    def __init__(self, provider: UnleashProvider) -> None:
        self.provider = provider

    def close(self) -> None:
        self.provider.shutdown()
