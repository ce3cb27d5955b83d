"""Files of workspaces and the artifact explorer over REST."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub

Json = Mapping[str, Any]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def workspace(hub: Hub, slug: str = "w") -> str:
    made: str = (await hub.post("/workspaces", {"name": slug, "slug": slug})).data["id"]
    return made


async def test_a_file_comes_back_as_it_was_put_until_it_is_deleted(hub: Hub) -> None:
    path = f"/workspaces/{await workspace(hub)}/files"
    content = bytes(range(256)) * 10
    made = await hub.post(path, {"file_name": "a.bin", "key": "k", "content_base64": encoded(content)})
    assert made.status == 201, made.body
    assert made.data["checksum_sha256"] == hashlib.sha256(content).hexdigest()
    down = await hub.send("GET", made.data["download_url"])
    assert (down.body, down.headers["content-type"]) == (content, "application/octet-stream")
    part = await hub.send("GET", made.data["download_url"], headers={"range": "bytes=3-6"})
    assert (part.status, part.body) == (206, content[3:7])
    assert (await hub.get(path)).data == [made.data]
    assert (await hub.send("DELETE", f"/api/v1{path}/{made.data['id']}")).status == 204
    assert (await hub.send("GET", made.data["download_url"])).status == 404
    assert (await hub.get(path)).data == []


async def test_the_same_key_again_replaces_the_file_and_keeps_its_id(hub: Hub) -> None:
    path = f"/workspaces/{await workspace(hub)}/files"
    first, second = [
        (await hub.post(path, {"file_name": "a.txt", "content_base64": encoded(body)})).data
        for body in (b"one", b"two")
    ]
    assert (first["id"], first["key"]) == (second["id"], "a.txt")
    assert (await hub.send("GET", first["download_url"])).body == b"two"


async def test_a_batch_is_kept_as_a_whole_or_not_at_all(hub: Hub) -> None:
    path = f"/workspaces/{await workspace(hub)}/files"
    good = [{"file_name": f"{n}.txt", "content_base64": encoded(b"x")} for n in range(10)]
    assert len((await hub.post(f"{path}/batch", {"files": good})).data) == 10
    for files, status in (
        ([*good, good[0]], 422),
        (
            [{"file_name": "new.txt", "content_base64": encoded(b"x")}, {**good[0], "content_base64": "?"}],
            422,
        ),
        ([{"file_name": f"{n}", "content_base64": encoded(b"x" * 5_300_000)} for n in range(2)], 413),
        ([{"file_name": "../x", "content_base64": ""}], 422),
    ):
        assert (await hub.post(f"{path}/batch", {"files": files})).status == status
    assert len((await hub.get(path)).data) == 10


async def test_files_are_the_tenants_and_only_operators_change_them(hub: Hub) -> None:
    path = f"/workspaces/{await workspace(hub)}/files"
    made = (await hub.post(path, {"file_name": "a", "content_base64": ""})).data
    worker = await hub.key(Scope.WORKER)
    assert (await hub.get(path, key=worker)).status == 200
    assert (await hub.post(path, {"file_name": "b", "content_base64": ""}, key=worker)).status == 403
    foreign = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    for method, one in (
        ("GET", path),
        ("GET", f"{path}/{made['id']}/content"),
        ("DELETE", f"{path}/{made['id']}"),
    ):
        assert (await hub.send(method, f"/api/v1{one}", key=foreign)).status == 404
    elsewhere = made["download_url"].replace(path.split("/")[2], await workspace(hub, "other"))
    assert (await hub.send("GET", elsewhere)).status == 404


async def test_a_workspace_takes_its_files_with_it(hub: Hub) -> None:
    workspace_id = await workspace(hub)
    made = (
        await hub.post(f"/workspaces/{workspace_id}/files", {"file_name": "a", "content_base64": ""})
    ).data
    assert (await hub.send("DELETE", f"/api/v1/workspaces/{workspace_id}")).status == 200
    assert (await hub.send("GET", made["download_url"])).status == 404


async def explored(hub: Hub, workspace_id: str, query: str = "", **options: Any) -> list[str]:
    answer = await hub.get(f"/workspaces/{workspace_id}/artifacts?{query}", **options)
    assert answer.status == 200, answer.body
    return [one["name"] for one in answer.data]


async def test_artifacts_of_a_workspaces_tasks_are_explored_by_every_filter(hub: Hub) -> None:
    workspace_id = await workspace(hub)
    kinds = {
        "a.txt": "text/plain; charset=utf-8",
        "b.png": "image/png",
        "c.pdf": "application/pdf",
        "d": None,
    }
    agent = await hub.agent(routing_tags=[f"role:r-{name}" for name in kinds])
    tasks = []
    for name, kind in kinds.items():
        task = await hub.claimed(agent, workspace_id=workspace_id, role=f"r-{name}")
        tasks.append(task)
        body = {
            "lease_id": task["lease_id"],
            "name": name,
            "path": f"out/{name}",
            "parts": [{"text": "x" * 9}],
        }
        await hub.post(f"/tasks/{task['id']}/artifacts", {**body, "content_type": kind}, key=agent["api_key"])
        await hub.post(f"/tasks/{task['id']}/complete", {"lease_id": task["lease_id"]}, key=agent["api_key"])
    assert await explored(hub, workspace_id, "sort=name&order=asc") == ["a.txt", "b.png", "c.pdf", "d"]
    assert await explored(hub, workspace_id, "sort=name&order=asc&per_page=2&page=2") == ["c.pdf", "d"]
    assert await explored(hub, workspace_id, "q=OUT%2Fb") == ["b.png"]
    assert await explored(hub, workspace_id, f"task_id={tasks[2]['id']}") == ["c.pdf"]
    assert await explored(hub, workspace_id, "role=r-d") == ["d"]
    assert await explored(hub, workspace_id, "content_type=image/png") == ["b.png"]
    for mode, name in (("text", "a.txt"), ("image", "b.png"), ("pdf", "c.pdf"), ("unsupported", "d")):
        assert await explored(hub, workspace_id, f"preview_mode={mode}") == [name]
    assert await explored(hub, workspace_id, "created_to=2000-01-01T00:00:00Z") == []
    assert await explored(hub, workspace_id, f"workflow_id={UNLIKELY}") == []
    assert await explored(hub, await workspace(hub, "other")) == []
    assert await explored(hub, workspace_id, key=await hub.key(Scope.WORKER)) == []
    assert (await hub.get(f"/workspaces/{UNLIKELY}/artifacts")).status == 404


@pytest.mark.parametrize(
    "query", ["sort=color", "per_page=0", "preview_mode=video", "created_from=yesterday"]
)
async def test_a_filter_that_means_nothing_is_refused(hub: Hub, query: str) -> None:
    assert (await hub.get(f"/workspaces/{await workspace(hub)}/artifacts?{query}")).status == 400
