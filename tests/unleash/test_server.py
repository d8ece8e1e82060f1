"""The real server is there, is the real one, and goes away."""

from __future__ import annotations

import json
import urllib.request

from tests.unleash.servers import needed, unleash


def test_the_server_starts_answers_its_clients_and_leaves_nothing():
    """A started server knows its tokens; a stopped one leaves no process and no folder."""
    needed()
    with unleash(quick=False) as (server, database):
        token = server.backend_tokens["development"]
        request = urllib.request.Request(f"{server.url}/api/client/features", headers={"Authorization": token})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["features"] == []
        process = server._process
        assert token not in repr(server)
    assert process is not None
    assert process.poll() is not None
    assert not database.folder.exists()
