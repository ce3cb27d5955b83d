"""Webhook triggers over REST: whoever proves itself is heard once, and nobody else learns anything."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from core.jobs.runner import SWEEPS, Clockwork
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Answer, Hub

RULE = {"name": "deploy", "kind": "webhook", "task": {"title": "deploy {{ payload.ref }}"}}
BODY = json.dumps({"ref": "main"}).encode()
OTHER = json.dumps({"ref": "next"}).encode()


def signed(secret: str, body: bytes = BODY, id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, at, body.decode()),
    }


async def ring(hub: Hub, rule: Mapping[str, Any], headers: Mapping[str, str], body: bytes = BODY) -> Answer:
    sent = {"content-type": "application/json", **headers}
    return await hub.send("POST", f"/api/v1/hooks/{rule['id']}", key=None, body=body, headers=sent)


async def made(hub: Hub, **fields: Any) -> Mapping[str, Any]:
    rule: Mapping[str, Any] = (await hub.post("/triggers", {**RULE, **fields})).data
    return rule


async def titles(hub: Hub) -> list[str]:
    """What there is to do, once everything that was taken is started."""
    jobs = Clockwork(hub.platform)
    await jobs.sweep(next(sweep for sweep in SWEEPS if sweep.name == "occasions"))
    return sorted(task["title"] for task in (await hub.get("/tasks")).data)


async def test_a_signed_call_is_taken_and_starts_one_task_however_often_it_comes(hub: Hub) -> None:
    rule = await made(hub)
    assert rule["url"].endswith(f"/api/v1/hooks/{rule['id']}")
    headers = signed(rule["secret"])
    first = await ring(hub, rule, headers)
    assert first.status == 202
    assert (await ring(hub, rule, headers)).data["id"] == first.data["id"]
    assert await titles(hub) == ["deploy main"]
    assert (await ring(hub, rule, headers)).data == {"id": first.data["id"], "status": "started"}
    (start,) = (await hub.get(f"/triggers/{rule['id']}/starts")).data
    assert start["key"] == "msg_1"


async def test_its_secret_is_shown_once_and_a_new_one_replaces_it(hub: Hub) -> None:
    rule = await made(hub)
    assert (await hub.get(f"/triggers/{rule['id']}")).data["secret"] is None
    path = f"/api/v1/triggers/{rule['id']}"
    new = (await hub.send("PATCH", path, json={"rotate_secret": True})).data["secret"]
    assert (await ring(hub, rule, signed(rule["secret"]))).status == 401
    assert (await ring(hub, rule, signed(new))).status == 202


async def test_whoever_does_not_prove_itself_learns_nothing(hub: Hub) -> None:
    rule = await made(hub)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    event = (await hub.post("/triggers", {"name": "e", "event_types": ["x"], "task": {"title": "x"}})).data
    answers = [
        await ring(hub, rule, {}),
        await ring(hub, rule, signed(rule["secret"], OTHER)),
        await ring(hub, rule, signed(rule["secret"], at=old)),
        await ring(hub, {"id": UNLIKELY}, signed(rule["secret"])),
        await ring(hub, event, signed(rule["secret"])),
        await ring(hub, rule, {"authorization": f"Bearer {rule['secret']}"}),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.json["error"]["message"] for answer in answers}) == 1
    assert await titles(hub) == []


async def test_a_hub_signature_counts_each_body_once(hub: Hub) -> None:
    rule = await made(hub, auth="hmac")

    def header(body: bytes) -> dict[str, str]:
        digest = hmac.new(rule["secret"].encode(), body, hashlib.sha256).hexdigest()
        return {"x-hub-signature-256": f"sha256={digest}"}

    for body in (BODY, BODY, OTHER):
        assert (await ring(hub, rule, header(body), body)).status == 202
    assert (await ring(hub, rule, header(OTHER), BODY)).status == 401
    assert await titles(hub) == ["deploy main", "deploy next"]


async def test_a_bearer_counts_each_key_once(hub: Hub) -> None:
    rule = await made(hub, auth="bearer")
    token = {"authorization": f"Bearer {rule['secret']}"}
    for key in ("a", "a", "b"):
        assert (await ring(hub, rule, {**token, "idempotency-key": key})).status == 202
    assert (await ring(hub, rule, {"authorization": "Bearer wrong"})).status == 401
    assert len(await titles(hub)) == 2


async def test_a_token_of_a_trigger_opens_nothing_else(hub: Hub) -> None:
    rule = await made(hub, auth="bearer")
    assert (await hub.get("/tasks", key=rule["secret"])).status == 401
    assert (await hub.send("GET", f"/api/v1/hooks/{rule['id']}", key=None)).status in (401, 405)


async def test_what_is_too_large_no_json_paused_or_too_often_is_refused(hub: Hub) -> None:
    rule = await made(hub, auth="bearer")
    token = {"authorization": f"Bearer {rule['secret']}"}
    assert (await ring(hub, rule, token, b'"' + b"x" * 300_000 + b'"')).status == 413
    assert (await ring(hub, rule, token, b"{")).status == 400
    await hub.send("PATCH", f"/api/v1/triggers/{rule['id']}", json={"is_active": False})
    assert (await ring(hub, rule, token)).reason == "trigger_paused"
    statuses = [(await ring(hub, rule, {})).status for _ in range(300)]
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "event"},
        {"event_types": ["task.*"]},
        {"task": None},
        {"auth": "hmac", "secret": "whsec_" + "A" * 32},
    ],
)
async def test_what_does_not_belong_together_is_refused(hub: Hub, fields: dict[str, Any]) -> None:
    assert (await hub.post("/triggers", {**RULE, **fields})).status == 422


async def test_triggers_are_for_operators(hub: Hub) -> None:
    key = await hub.key(Scope.WORKER)
    assert (await hub.post("/triggers", RULE, key=key)).status == 403
