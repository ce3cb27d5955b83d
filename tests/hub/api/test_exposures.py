"""Exposures over REST: who may make them, what they say, and that they are there at run time."""

from typing import Any
from uuid import uuid4

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub

PATH = "/exposures"
ROLE = {"kind": "role", "name": "translator"}
SKILL = {
    "id": "t",
    "name": "Translate",
    "description": "Into any language.",
    "tags": ["text"],
    "examples": [],
}


async def test_an_exposure_is_made_read_changed_and_removed(hub: Hub) -> None:
    answer = await hub.post(PATH, {"slug": "tr", "target": ROLE, "skills": [SKILL]})
    assert answer.status == 201
    made = answer.data
    assert made["target"] == {"kind": "role", "id": None, "name": "translator", "workspace_id": None}
    assert (made["name"], made["is_active"], made["skills"]) == ("translator", True, [SKILL])
    assert made["url"] == "http://127.0.0.1:8080/agents/tr/a2a"
    assert made["card_url"] == "http://127.0.0.1:8080/agents/tr/.well-known/agent-card.json"
    path = f"{PATH}/{made['id']}"
    assert (await hub.get(path)).data == made
    listed = await hub.get(PATH)
    assert (listed.data, listed.json["meta"]["total"]) == ([made], 1)
    body = {"name": "Tra", "input_modes": ["text/plain"], "is_active": False}
    changed = (await hub.send("PATCH", f"/api/v1{path}", json=body)).data
    assert changed == {**made, **body, "updated_at": changed["updated_at"]}
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(path)).status == 404
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 404


async def test_its_events_are_in_the_log(hub: Hub) -> None:
    made = (await hub.post(PATH, {"slug": "tr", "target": ROLE})).data
    await hub.send("PATCH", f"/api/v1{PATH}/{made['id']}", json={"name": "Tra"})
    await hub.send("DELETE", f"/api/v1{PATH}/{made['id']}")
    async with hub.stream(f"/events/stream?after=0&entity_type=exposure&entity_id={made['id']}") as stream:
        await stream.until("exposure.deleted")
    told = [(event["type"], event["data"]["slug"], event["data"]["name"]) for event in stream.events()]
    assert told == [
        ("exposure.created", "tr", "translator"),
        ("exposure.updated", "tr", "Tra"),
        ("exposure.deleted", "tr", "Tra"),
    ]


async def test_an_exposed_agent_must_exist_and_takes_its_exposures_with_it(hub: Hub) -> None:
    agent = await hub.agent(name="Ada")
    target = {"kind": "agent", "id": agent["id"]}
    missing = await hub.post(PATH, {"slug": "x", "target": {"kind": "agent", "id": UNLIKELY}})
    assert missing.status == 404
    made = (await hub.post(PATH, {"slug": "ada", "target": target})).data
    assert (made["name"], made["target"]) == ("Ada", {**target, "name": None, "workspace_id": None})
    card = "/agents/ada/.well-known/agent-card.json"
    assert (await hub.send("GET", card, key=None)).status == 200
    assert (await hub.send("DELETE", f"/api/v1/agents/{agent['id']}")).status == 204
    assert (await hub.get(f"{PATH}/{made['id']}")).status == 404
    assert (await hub.send("GET", card, key=None)).status == 404


async def test_a_slug_is_taken_once_and_for_all_tenants(hub: Hub) -> None:
    elsewhere = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    first = await hub.post(PATH, {"slug": "tr", "target": ROLE, "request_id": "once"})
    again = await hub.post(PATH, {"slug": "tr", "target": ROLE, "request_id": "once"})
    assert again.data == first.data
    for key in (None, elsewhere):
        options = {} if key is None else {"key": key}
        refused = await hub.post(PATH, {"slug": "tr", "target": ROLE}, **options)
        assert (refused.status, refused.reason) == (409, "slug_taken")


async def test_only_admins_change_them_and_a_tenant_sees_its_own(hub: Hub) -> None:
    made = (await hub.post(PATH, {"slug": "tr", "target": ROLE})).data
    path = f"{PATH}/{made['id']}"
    agent, worker = await hub.key(Scope.AGENT), await hub.key(Scope.WORKER)
    for key in (agent, worker):
        assert (await hub.post(PATH, {"slug": "z", "target": ROLE}, key=key)).status == 403
        assert (await hub.send("PATCH", f"/api/v1{path}", json={}, key=key)).status == 403
        assert (await hub.send("DELETE", f"/api/v1{path}", key=key)).status == 403
        assert (await hub.get(path, key=key)).data == made
    foreign = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    assert (await hub.get(path, key=foreign)).status == 404
    assert (await hub.get(PATH, key=foreign)).data == []
    assert (await hub.send("PATCH", f"/api/v1{path}", json={"name": "x"}, key=foreign)).status == 404
    assert (await hub.send("DELETE", f"/api/v1{path}", key=foreign)).status == 404
    assert (await hub.get(path)).data == made


NO_SLUGS = ("", "A", "a_b", "-a", "a-", "a/b", "..", "x" * 64, UNLIKELY, UNLIKELY.replace("-", ""))
NO_TARGETS: tuple[Any, ...] = (
    {},
    {"kind": "playbook", "id": UNLIKELY},
    {"kind": "agent"},
    {"kind": "role", "name": ""},
)
NO_MODES: tuple[Any, ...] = ([], ["text"], ["text/"], ["a/b/c"], ["text/plain; charset=utf-8"])
NO_SKILLS: tuple[Any, ...] = ({}, {**SKILL, "tags": []}, {**SKILL, "description": ""}, {**SKILL, "more": 1})


async def test_what_would_make_no_card_is_refused(hub: Hub) -> None:
    good = {"slug": "a", "target": ROLE}
    bad = [
        *({**good, "slug": slug} for slug in NO_SLUGS),
        *({**good, "target": target} for target in NO_TARGETS),
        *({**good, "input_modes": modes} for modes in NO_MODES),
        *({**good, "output_modes": modes} for modes in NO_MODES),
        *({**good, "skills": [skill]} for skill in NO_SKILLS),
    ]
    for body in bad:
        refused = await hub.post(PATH, body)
        assert (refused.status, refused.code) == (422, "SCHEMA_VALIDATION_FAILED"), body
    assert (await hub.get(PATH)).data == []
