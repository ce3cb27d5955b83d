"""What git servers say: proved, taken once, kept for the task that it names, and for nobody else's."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import Answer, Hub

Json = Mapping[str, Any]
SECRET = "a secret that both know"
REPOSITORY = "https://git.example.com/shop/website.git"


def pull_request(title: str, action: str = "opened", *, merged: bool = False, number: int = 7) -> Json:
    """As GitHub and Gitea send it."""
    return {
        "action": action,
        "number": number,
        "pull_request": {
            "number": number,
            "state": "closed" if action == "closed" else "open",
            "merged": merged,
            "title": title,
            "body": None,
            "html_url": f"https://git.example.com/shop/website/pull/{number}",
            "head": {"ref": "feature", "sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821"},
        },
        "repository": {
            "full_name": "shop/website",
            "html_url": "https://git.example.com/shop/website",
            "clone_url": REPOSITORY,
            "ssh_url": "git@git.example.com:shop/website.git",
        },
        "sender": {"login": "octocat"},
    }


def merge_request(title: str, action: str = "open") -> Json:
    """As GitLab sends it."""
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "project": {
            "path_with_namespace": "shop/website",
            "web_url": "https://git.example.com/shop/website",
            "git_http_url": REPOSITORY,
            "git_ssh_url": "git@git.example.com:shop/website.git",
        },
        "object_attributes": {
            "iid": 3,
            "title": title,
            "description": "",
            "state": {"open": "opened", "merge": "merged", "close": "closed"}.get(action, "opened"),
            "action": action,
            "source_branch": "feature",
            "url": "https://git.example.com/shop/website/-/merge_requests/3",
            "last_commit": {"id": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "message": "fixed readme"},
        },
    }


def headers(provider: str, event: str, body: bytes, delivery: str, secret: str = SECRET) -> dict[str, str]:
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "github": {
            "x-github-event": event, "x-hub-signature-256": f"sha256={signed}",
            "x-github-delivery": delivery,
        },
        "gitea": {
            "x-gitea-event": event, "x-gitea-signature": signed, "x-gitea-delivery": delivery,
            "x-github-event": event, "x-hub-signature-256": f"sha256={signed}",
        },
        "gitlab": {"x-gitlab-event": event, "x-gitlab-token": secret, "x-gitlab-event-uuid": delivery},
    }[provider]  # fmt: skip


async def sent(
    hub: Hub, provider: str, event: str, payload: Json, *, delivery: str | None = None, secret: str = SECRET
) -> Answer:
    body = json.dumps(payload).encode()
    sent = headers(provider, event, body, delivery or str(uuid4()), secret)
    return await hub.send("POST", "/api/v1/webhooks/git", key=None, body=body, headers=sent)


async def listening(hub: Hub, provider: str = "github", secret: str = SECRET, slug: str = "website") -> Json:
    """A workspace that listens."""
    body = {"name": slug, "slug": slug, "repository_url": REPOSITORY}
    made = (await hub.post("/workspaces", body)).data
    path = f"/api/v1/workspaces/{made['id']}/git-webhook"
    answer = await hub.send("PUT", path, json={"provider": provider, "secret": secret})
    assert answer.data["git_webhook_provider"] == provider
    assert secret.encode() not in answer.body
    data: Json = made
    return data


async def types(hub: Hub, task_id: str, count: int) -> list[str]:
    """The types of the git events of a task, once there are so many."""
    async with asyncio.timeout(10):
        while True:
            events = (await hub.get(f"/events?after=0&limit=100&entity_id={task_id}")).data
            found = [event["type"] for event in events if event["type"].startswith("task.git.")]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("provider", ["github", "gitea"])
async def test_a_pull_request_is_told_of_the_task_that_its_title_names(hub: Hub, provider: str) -> None:
    await listening(hub, provider)
    task = (await hub.post("/tasks", {"title": "x"})).data
    for action, merged in (("opened", False), ("synchronize", False), ("closed", True)):
        payload = pull_request(f"Fix {task['id']}", action, merged=merged)
        answer = await sent(hub, provider, "pull_request", payload)
        assert answer.status == 202, answer.body
        assert answer.data["mapped_task_id"] == task["id"]
        assert (answer.data["mapped_task_found"], answer.data["provider"]) == (True, provider)
    assert await types(hub, task["id"], 3) == [
        "task.git.pr_opened", "task.git.pr_updated", "task.git.pr_merged",
    ]  # fmt: skip
    git = (await hub.get(f"/tasks/{task['id']}/git")).data
    assert [(one["number"], one["state"]) for one in git["pull_requests"]] == [(7, "merged")]
    assert len(git["activity"]) == 3


async def test_gitlab_says_the_same_in_its_own_words(hub: Hub) -> None:
    await listening(hub, "gitlab")
    task = (await hub.post("/tasks", {"title": "x"})).data
    for action in ("open", "update", "merge"):
        answer = await sent(
            hub, "gitlab", "Merge Request Hook", merge_request(f"Draft: {task['id']}", action)
        )
        assert answer.data["mapped_task_found"], answer.body
    pipeline = {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 31, "status": "success", "ref": f"task/{task['id']}", "sha": "bcbb5ec", "source": "push",
            "url": "https://git.example.com/shop/website/-/pipelines/31",
        },
        "merge_request": None,
        "project": merge_request("x")["project"],
        "commit": {"id": "bcbb5ec", "message": "test\n"},
    }  # fmt: skip
    assert (await sent(hub, "gitlab", "Pipeline Hook", pipeline)).data["mapped_task_found"]
    assert await types(hub, task["id"], 4) == [
        "task.git.pr_opened", "task.git.pr_updated", "task.git.pr_merged", "task.git.ci_status_updated",
    ]  # fmt: skip
    assert (await hub.get(f"/tasks/{task['id']}/git")).data["ci"][0]["status"] == "success"


async def test_checks_and_requests_are_added_to_one_another(hub: Hub) -> None:
    await listening(hub)
    task = (await hub.post("/tasks", {"title": "x"})).data
    for number in (1, 2):
        await sent(hub, "github", "pull_request", pull_request(task["id"], number=number))
    for name in ("lint", "test"):
        check = {
            "action": "completed",
            "check_run": {
                "name": name, "status": "completed", "conclusion": "failure", "head_sha": "ce587453",
                "html_url": "https://github.com/x", "check_suite": {"head_branch": f"task/{task['id']}"},
                "pull_requests": [],
            },
            "repository": pull_request("x")["repository"],
        }  # fmt: skip
        assert (await sent(hub, "github", "check_run", check)).data["mapped_task_found"]
    git = (await hub.get(f"/tasks/{task['id']}/git")).data
    assert [one["number"] for one in git["pull_requests"]] == [1, 2]
    assert [(one["name"], one["status"]) for one in git["ci"]] == [("lint", "failure"), ("test", "failure")]


@pytest.mark.parametrize("again", ["delivery", "body"])
async def test_the_same_again_does_nothing(hub: Hub, clock: FakeClock, again: str) -> None:
    await listening(hub)
    task = (await hub.post("/tasks", {"title": "x"})).data
    first = await sent(hub, "github", "pull_request", pull_request(task["id"]), delivery="d1")
    other = pull_request(task["id"], "edited") if again == "delivery" else pull_request(task["id"])
    second = await sent(hub, "github", "pull_request", other, delivery="d1" if again == "delivery" else "d2")
    assert (first.data["duplicate"], second.data["duplicate"]) == (False, True)
    assert len((await hub.get(f"/tasks/{task['id']}/git")).data["activity"]) == 1


async def test_a_task_of_another_tenant_or_workspace_is_not_found(hub: Hub) -> None:
    await listening(hub)
    elsewhere = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    foreign = (await hub.post("/tasks", {"title": "x"}, key=elsewhere)).data
    other = (await hub.post("/workspaces", {"name": "o", "slug": "o"})).data
    apart = (await hub.post("/tasks", {"title": "x", "workspace_id": other["id"]})).data
    for task, key in ((foreign, elsewhere), (apart, None)):
        answer = await sent(hub, "github", "pull_request", pull_request(task["id"]))
        assert (answer.status, answer.data["mapped_task_found"]) == (202, False)
        options = {} if key is None else {"key": key}
        assert (await hub.get(f"/tasks/{task['id']}/git", **options)).data["activity"] == []
    assert (await hub.get(f"/tasks/{foreign['id']}/git")).status == 404


async def test_the_secret_decides_between_workspaces_of_one_repository(hub: Hub) -> None:
    await listening(hub, secret="the secret of the first", slug="first")
    second = await listening(hub, slug="second")
    task = (await hub.post("/tasks", {"title": "x", "workspace_id": second["id"]})).data
    answer = await sent(hub, "github", "pull_request", pull_request(task["id"]))
    assert answer.data["mapped_task_found"]


async def test_what_is_not_proved_is_refused(hub: Hub) -> None:
    assert (await sent(hub, "github", "pull_request", pull_request("x"))).status == 404
    await listening(hub)
    assert (await sent(hub, "github", "pull_request", pull_request("x"), secret="another")).status == 401
    assert (await sent(hub, "gitlab", "Merge Request Hook", merge_request("x"))).status == 404
    unsigned = await hub.send("POST", "/api/v1/webhooks/git", key=None, json=pull_request("x"))
    assert unsigned.status == 401
    for body in (b"{", b"[]", b'{"a":1,"a":2}'):
        sent_with = headers("github", "push", body, "d")
        answer = await hub.send("POST", "/api/v1/webhooks/git", key=None, body=body, headers=sent_with)
        assert answer.status == 400


@pytest.mark.parametrize(
    "payload", [{"pull_request": 1}, {"action": {}, "pull_request": {"head": []}}, {"commits": 5}]
)
async def test_what_is_shaped_strangely_is_taken_and_says_nothing(hub: Hub, payload: Json) -> None:
    await listening(hub)
    for event in ("pull_request", "status", "check_run", "push", "nothing"):
        answer = await sent(hub, "github", event, {**payload, "repository": pull_request("x")["repository"]})
        assert answer.status == 202, answer.body


async def test_so_many_calls_a_minute_are_taken_from_one_address(hub: Hub) -> None:
    answers = [
        await hub.send("POST", "/api/v1/webhooks/git", key=None, body=b"{}", headers={}) for _ in range(121)
    ]
    assert answers[-1].status == 429
    assert "retry-after" in answers[-1].headers
