"""Successes that no story of their rooms comes by."""

from tests.hub.api.hub import Hub
from tests.hub.api.test_workflows import Show


async def test_a_workflow_that_is_over_is_removed(hub: Hub) -> None:
    show = await Show(hub).open()
    workflow = (await show.start()).data
    path = f"/workflows/{workflow['id']}"
    await hub.post(f"{path}/cancel", {"request_id": "r"})
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 200
    assert (await hub.get(path)).status == 404


async def test_a_workspace_forgets_what_it_remembered(hub: Hub) -> None:
    place = (await hub.post("/workspaces", {"name": "w", "slug": "w"})).data
    path = f"/api/v1/workspaces/{place['id']}/memory"
    assert (await hub.send("PATCH", path, json={"key": "k", "value": [1]})).status == 200
    forgotten = await hub.send("DELETE", f"{path}/k")
    assert (forgotten.status, forgotten.data["memory"]) == (200, {})


async def test_a_batch_of_files_under_one_replay_key_keeps_each_as_it_is(hub: Hub) -> None:
    place = (await hub.post("/workspaces", {"name": "w", "slug": "w"})).data
    files = [
        {"file_name": name, "content_type": "text/plain", "content_base64": content}
        for name, content in (("a.txt", "YQ=="), ("b.txt", "Yg=="))
    ]
    path = f"/workspaces/{place['id']}/files"
    again = {"headers": {"idempotency-key": "k"}}
    await hub.post(f"{path}/batch", {"files": files}, **again)
    put = await hub.post(f"{path}/batch", {"files": files}, **again)
    assert put.status == 201, put.body
    for one, content in zip(put.data, (b"a", b"b"), strict=True):
        assert (await hub.get(f"{path}/{one['id']}/content")).body == content
