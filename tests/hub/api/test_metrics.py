"""What operators watch: numbers for Prometheus and a tree for people, for admins only."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.errors import Unavailable
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub


async def scraped(hub: Hub) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels."""
    answer = await hub.send("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_what_is_open_is_counted(hub: Hub) -> None:
    agent = await hub.agent()
    await hub.claimed(agent)
    await hub.post("/tasks", {"title": "x"})
    await hub.post("/tasks", {"title": "y", "requires_approval": True})
    found = await scraped(hub)
    states = ("ready", "in_progress", "awaiting_approval", "pending")
    counts = [found["crossdock_tasks", (("state", state),)] for state in states]
    assert counts == [1, 1, 1, 0]
    assert found["crossdock_leases", ()] == found["crossdock_approvals_pending", ()] == 1
    assert found["crossdock_event_log_position", ()] >= 0
    assert found["crossdock_database_up", ()] == 1


async def test_requests_are_timed_by_their_route_and_never_by_their_path(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "x"})).data
    for path in (f"/tasks/{task['id']}", f"/tasks/{UNLIKELY}"):
        await hub.get(path)
    await hub.send("GET", "/nowhere/at/all", headers={})
    found = await scraped(hub)

    def count(route: str, status: str) -> float:
        labels = (("method", "GET"), ("route", route), ("status", status))
        return found["crossdock_http_request_seconds_count", labels]

    assert count("/api/v1/tasks/{id}", "200") == count("/api/v1/tasks/{id}", "404") == 1
    assert count("other", "404") == 1
    text = (await hub.send("GET", "/metrics")).body.decode()
    assert task["id"] not in text
    assert "nowhere" not in text


async def test_the_tree_names_every_part_and_the_worst_of_them(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = (await hub.send("GET", "/health/detail")).json
    assert (tree["status"], tree["components"]["database"]["status"]) == ("ok", "ok")
    assert tree["components"]["queue"]["ready"] == 0

    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    await scraped(hub)  # the key is known from here on
    monkeypatch.setattr(hub.platform, "read", away)
    answer = await hub.send("GET", "/health/detail")
    assert (answer.status, answer.json["status"]) == (503, "unavailable")
    assert (await scraped(hub))["crossdock_database_up", ()] == 0


@pytest.mark.parametrize("path", ["/metrics", "/health/detail"])
async def test_only_admins_see_them(hub: Hub, path: str) -> None:
    assert (await hub.send("GET", path, key=None)).status == 401
    for scope in (Scope.AGENT, Scope.WORKER):
        assert (await hub.send("GET", path, key=await hub.key(scope))).status == 403
    assert (await hub.send("GET", path, key=await hub.key(Scope.SERVICE))).status == 200
