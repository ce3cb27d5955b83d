"""Workspaces, roles, tools and playbooks over REST."""

from collections.abc import AsyncIterator

import pytest

from core.store import open_store
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub, running
from tests.hub.api.test_mcp_grants import server


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A running hub."""
    async with running(open_store(database_url)) as hub:
        yield hub


async def test_a_workspace_is_made_read_changed_and_removed(hub: Hub) -> None:
    token = "a git token that nobody reads back"
    body = {"name": "Site", "slug": "site", "settings": {"credentials": {"git_token": token}}}
    answer = await hub.post("/workspaces", body)
    assert answer.status == 201
    made = answer.data
    assert (made["has_git_token"], made["memory_max_bytes"], made["current_spec_version"]) == (
        True,
        1 << 20,
        0,
    )
    path = f"/workspaces/{made['id']}"
    agent = await hub.key(Scope.AGENT)
    assert (await hub.get(path, key=agent)).data == made
    assert (await hub.post("/workspaces", body)).reason == "slug_taken"
    changed = (await hub.send("PATCH", f"/api/v1{path}", json={"name": "Shop", "description": None})).data
    assert (changed["name"], changed["slug"], changed["has_git_token"]) == ("Shop", "site", True)
    assert [found["id"] for found in (await hub.get("/workspaces?q=SHO")).data] == [made["id"]]
    assert (await hub.get("/workspaces?q=nothing%25")).data == []
    events = (await hub.get("/events?per_page=100")).data
    for text in (answer.body.decode(), str(changed), str(events)):
        assert token not in text
    assert (await hub.send("DELETE", f"/api/v1{path}")).data == {"id": made["id"], "deleted": True}
    assert (await hub.get(path)).status == 404


async def test_the_memory_of_a_workspace_grows_shrinks_and_is_bounded(hub: Hub) -> None:
    made = (await hub.post("/workspaces", {"name": "a", "slug": "a"})).data
    path = f"/workspaces/{made['id']}/memory"
    agent = await hub.key(Scope.AGENT)
    told = await hub.send("PATCH", f"/api/v1{path}", json={"key": "k/1", "value": [1]}, key=agent)
    assert told.data["memory"] == {"k/1": [1]}
    large = await hub.send("PATCH", f"/api/v1{path}", json={"key": "x", "value": "y" * (1 << 20)})
    assert large.status in (400, 413)
    assert (await hub.send("DELETE", f"/api/v1{path}/none")).status == 404
    assert (await hub.send("DELETE", f"/api/v1{path}/k")).status == 404


async def test_a_spec_has_versions(hub: Hub) -> None:
    made = (await hub.post("/workspaces", {"name": "a", "slug": "a"})).data
    path = f"/workspaces/{made['id']}"
    assert (await hub.get(f"{path}/spec")).data["version"] == 0
    spec = {
        "resources": {"code": {"type": "repository"}, "web": {"type": "search"}},
        "tools": {"available": ["sh"]},
    }
    assert (await hub.send("PUT", f"/api/v1{path}/spec", json=spec)).data["version"] == 1
    assert (await hub.send("PUT", f"/api/v1{path}/spec", json={})).data["version"] == 2
    assert (await hub.get(f"{path}/resources")).data == []
    assert (await hub.get(f"{path}/spec?version=1")).data["resources"] == spec["resources"]
    assert (await hub.get(f"{path}/spec?version=3")).status == 404
    await hub.send("PUT", f"/api/v1{path}/spec", json=spec)
    found = (await hub.get(f"{path}/resources?type=search")).data
    assert found == [{"name": "web", "type": "search", "spec": {"type": "search"}}]
    assert (await hub.get(f"{path}/tools")).data == {"available": ["sh"], "blocked": []}


async def test_tool_tags_come_and_go(hub: Hub) -> None:
    made = (await hub.post("/tools", {"id": "sh", "name": "Shell"})).data
    assert (await hub.post("/tools", {"id": "sh", "name": "Other"})).status == 409
    changed = (await hub.send("PATCH", "/api/v1/tools/sh", json={"category": "code"})).data
    assert (changed["name"], changed["category"]) == ("Shell", "code")
    assert [tag["id"] for tag in (await hub.get("/tools")).data] == [made["id"]]
    assert (await hub.send("DELETE", "/api/v1/tools/sh")).status == 204
    assert (await hub.send("DELETE", "/api/v1/tools/sh")).status == 404


async def test_a_role_takes_both_spellings_and_grows_its_version(hub: Hub) -> None:
    answer = await hub.post(
        "/config/roles", {"name": "dev", "systemPrompt": "code", "escalation_target": "human"}
    )
    made = answer.data
    assert (made["system_prompt"], made["max_escalation_depth"], made["version"]) == ("code", 5, 1)
    path = f"/config/roles/{made['id']}"
    assert (await hub.post("/config/roles", {"name": "dev"})).reason == "name_taken"
    assert (await hub.post("/config/roles", {"name": "x", "escalationTarget": "nobody"})).status == 400
    changed = (await hub.send("PUT", f"/api/v1{path}", json={"isActive": False, "name": "developer"})).data
    assert (changed["name"], changed["is_active"], changed["version"]) == ("developer", False, 2)
    assert (await hub.get(path)).data == changed
    assert [role["name"] for role in (await hub.get("/config/roles")).data] == ["developer"]
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(path)).status == 404


async def test_an_edit_of_any_version_makes_the_next_and_takes_the_others_out_of_use(hub: Hub) -> None:
    first = (await hub.post("/playbooks", {"name": "Ship It!", "outcome": "shipped"})).data
    assert (first["slug"], first["version"], first["lifecycle"]) == ("ship-it", 1, "planned")
    assert (await hub.post("/playbooks", {"name": "ship it", "outcome": "x"})).reason == "slug_taken"
    for number in (2, 3):  # both from the first: an old id is as good as a new one
        made = (
            await hub.send("PATCH", f"/api/v1/playbooks/{first['id']}", json={"outcome": f"v{number}"})
        ).data
        assert (made["version"], made["outcome"], made["name"]) == (number, f"v{number}", "Ship It!")
    (current,) = (await hub.get("/playbooks")).data
    assert current["version"] == 3
    assert (await hub.get(f"/playbooks/{first['id']}")).data["is_active"] is False
    body = {"name": "Ship", "outcome": "o", "definition": {"lifecycle": "ongoing", "stages": [{"name": "s"}]}}
    put = (await hub.send("PUT", f"/api/v1/playbooks/{current['id']}", json=body)).data
    assert (put["version"], put["lifecycle"], put["slug"]) == (4, "ongoing", "ship-it")


async def test_a_playbook_is_archived_restored_and_removed(hub: Hub) -> None:
    made = (await hub.post("/playbooks", {"name": "a", "outcome": "b"})).data
    path = f"/playbooks/{made['id']}"
    archived = (await hub.send("PATCH", f"/api/v1{path}/archive", json={"archived": True})).data
    assert archived["archived_at"] is not None
    assert (await hub.get("/playbooks")).data == []
    restored = (await hub.send("PATCH", f"/api/v1{path}/archive", json={"archived": False})).data
    assert (restored["archived_at"], restored["is_active"]) == (None, True)
    assert (await hub.send("DELETE", f"/api/v1{path}")).data["deleted"] is True
    assert (await hub.get(path)).status == 404
    assert (await hub.send("DELETE", f"/api/v1/playbooks/{UNLIKELY}")).status == 404


async def test_a_definition_is_refused_with_where_and_what(hub: Hub) -> None:
    wrong = {"stages": [{"name": "s", "tasks": [{"name": "a", "depends_on": ["b"]}]}]}
    answer = await hub.post("/playbooks", {"name": "a", "outcome": "b", "definition": wrong})
    assert (answer.status, answer.code, answer.reason) == (400, "VALIDATION_ERROR", "invalid_definition")
    issues = answer.json["error"]["details"]["issues"]["fieldErrors"]
    assert issues == {"/stages/0/tasks/0/depends_on/0": ["there is no task 'b'"]}
    unknown = await hub.post("/playbooks", {"name": "a", "outcome": "b", "definition": {"roles": ["dev"]}})
    assert "there is no active role 'dev'" in unknown.json["error"]["message"]
    await hub.post("/config/roles", {"name": "dev"})
    known = await hub.post("/playbooks", {"name": "a", "outcome": "b", "definition": {"roles": ["dev"]}})
    assert known.status == 201


async def test_the_schema_of_a_playbook_is_public(hub: Hub) -> None:
    schema = (await hub.get("/schemas/playbook", key=None)).data
    assert schema["title"] == "Crossdock playbook"


async def test_repeating_a_creation_with_its_key_makes_nothing_twice(hub: Hub) -> None:
    for path, body in (
        ("/workspaces", {"name": "a", "slug": "a"}),
        ("/playbooks", {"name": "a", "outcome": "b"}),
        ("/config/roles", {"name": "a"}),
        ("/tools", {"id": "a", "name": "a"}),
    ):
        answers = [await hub.post(path, {**body, "request_id": "once"}) for _ in range(2)]
        assert [answer.status for answer in answers] == [201, 201]
        assert answers[0].data == answers[1].data
        assert answers[1].headers["idempotency-replayed"] == "true"


async def test_the_mcp_servers_of_a_role_are_grants_to_it(hub: Hub) -> None:
    await server(hub, "files")
    await server(hub, "web")

    async def granted() -> list[tuple[str, str]]:
        found = (await hub.get("/mcp-grants?subject_kind=role")).data
        return sorted((grant["subject"]["name"], grant["server"]) for grant in found)

    wrong = await hub.post("/config/roles", {"name": "dev", "mcpServerIds": ["nothing"]})
    assert (wrong.status, await granted()) == (400, [])
    made = (await hub.post("/config/roles", {"name": "dev", "mcpServerIds": ["files", "web"]})).data
    path = f"/api/v1/config/roles/{made['id']}"
    assert await granted() == [("dev", "files"), ("dev", "web")]
    await hub.send("PUT", path, json={"name": "coder", "mcp_server_ids": ["web"]})
    assert await granted() == [("coder", "web")]
    await hub.send("DELETE", path)
    assert await granted() == []
