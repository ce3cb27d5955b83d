"""Artifacts as files over REST: put whole, read whole or in part, shown or saved."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core import files
from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Answer, Hub

Json = Mapping[str, Any]
BYTES = bytes(range(256)) * 40


async def put(
    hub: Hub,
    agent: Json,
    task: Json,
    body: bytes = BYTES,
    name: str = "a1",
    query: str = "",
    **headers: Any,
) -> Answer:
    """Put a file as the executor."""
    sent = {"content-type": "image/png", **{k.replace("_", "-"): v for k, v in headers.items()}}
    path = f"/api/v1/tasks/{task['id']}/artifacts/{name}/content?lease_id={task['lease_id']}{query}"
    return await hub.send("PUT", path, key=agent["api_key"], body=body, headers=sent)


async def get(hub: Hub, task: Json, name: str = "a1", what: str = "content", **headers: str) -> Answer:
    """Read it as the admin who asked for the task."""
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    return await hub.get(f"/tasks/{task['id']}/artifacts/{name}/{what}", headers=sent)


def stored(directory: Path) -> list[Path]:
    return [path for path in (directory / "files").rglob("*") if path.is_file()]


async def test_a_file_comes_back_as_it_went_up(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    made = await put(hub, agent, task, query="&path=out/pic.png&name=picture")
    assert made.status == 201
    assert made.data["checksum_sha256"] == hashlib.sha256(BYTES).hexdigest()
    assert (made.data["size_bytes"], made.data["logical_path"]) == (len(BYTES), "out/pic.png")
    (part,) = made.data["parts"]
    assert part["url"].endswith(made.data["download_url"])
    assert (part["filename"], part["media_type"]) == ("pic.png", "image/png")
    down = await hub.send("GET", made.data["download_url"])
    assert (down.status, down.body) == (200, BYTES)
    assert down.headers["content-disposition"].startswith('attachment; filename="pic.png"')
    assert down.headers["content-type"] == "image/png"
    assert down.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in down.headers["content-security-policy"]
    head = await hub.send("HEAD", made.data["download_url"])
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(BYTES))


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, len(BYTES)),
        ("bytes=-5", 206, len(BYTES) - 5, len(BYTES)),
        ("bytes=10000-99999999", 206, 10000, len(BYTES)),
        ("bytes=0-1,5-6", 200, 0, len(BYTES)),
        ("bytes=9-3", 200, 0, len(BYTES)),
        ("lines=1-2", 200, 0, len(BYTES)),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
async def test_one_range_of_a_file_can_be_read(
    hub: Hub, asked: str, status: int, start: int, end: int
) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    await put(hub, agent, task)
    answer = await get(hub, task, range=asked)
    assert (answer.status, answer.body) == (status, BYTES[start:end])
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BYTES)}"


async def test_a_file_that_the_caller_has_is_not_sent_again(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    await put(hub, agent, task)
    tag = (await get(hub, task)).headers["etag"]
    assert (await get(hub, task, if_none_match=tag)).status == 304
    assert (await get(hub, task, range="bytes=0-0", if_range=tag)).status == 206
    assert (await get(hub, task, range="bytes=0-0", if_range='"other"')).status == 200


async def test_a_file_takes_the_place_of_what_was_there_and_that_is_removed(hub: Hub, tmp_path: Path) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    assert (await put(hub, agent, task)).status == 201
    assert (await put(hub, agent, task, b"new")).status == 200
    assert (await get(hub, task)).body == b"new"
    assert len(stored(tmp_path)) == 2
    storage = hub.app.files
    assert await files.remove_due(hub.platform, storage) == 1
    assert await files.remove_due(hub.platform, storage) == 0
    assert len(stored(tmp_path)) == 1
    assert (await get(hub, task)).body == b"new"
    gone = f"/api/v1/tasks/{task['id']}/artifacts/a1?lease_id={task['lease_id']}"
    assert (await hub.send("DELETE", gone, key=agent["api_key"])).status == 204
    assert await files.remove_due(hub.platform, storage) == 1
    assert stored(tmp_path) == []
    assert (await get(hub, task)).status == 404


async def test_an_upload_that_nobody_uses_is_removed_in_a_day(
    hub: Hub, tmp_path: Path, clock: FakeClock
) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    wrong = await put(hub, agent, task, content_md5=base64.b64encode(b"0" * 16).decode())
    assert (wrong.status, wrong.code) == (422, "SCHEMA_VALIDATION_FAILED")
    assert (await get(hub, task)).status == 404
    assert await files.remove_due(hub.platform, hub.app.files) == 0
    clock.advance(86_401)
    assert await files.remove_due(hub.platform, hub.app.files) == 1
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    ("header", "digest"),
    [
        ("content_md5", "{md5}"),
        ("digest", "sha-256={sha}"),
        ("content_digest", "sha-256=:{sha}:"),
        ("digest", "md5={md5}"),
    ],
)
async def test_a_digest_is_compared_with_what_arrived(hub: Hub, header: str, digest: str) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    md5 = base64.b64encode(hashlib.md5(BYTES, usedforsecurity=False).digest()).decode()
    sha = base64.b64encode(hashlib.sha256(BYTES).digest()).decode()
    right = digest.format(md5=md5, sha=sha)
    assert (await put(hub, agent, task, BYTES, **{header: right})).status == 201
    assert (await put(hub, agent, task, b"else", **{header: right})).status == 422
    assert (await put(hub, agent, task, b"else", content_md5="not base64")).status == 400


async def test_only_the_executor_puts_files_and_only_readers_read_them(hub: Hub, tmp_path: Path) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    stranger = {"api_key": await hub.key(Scope.AGENT)}
    assert (await put(hub, stranger, task)).status == 404
    assert (await put(hub, agent, {**task, "lease_id": UNLIKELY})).status == 403
    assert stored(tmp_path) == []
    await put(hub, agent, task)
    for what in ("content", "preview"):
        path = f"/tasks/{task['id']}/artifacts/a1/{what}"
        assert (await hub.get(path, key=stranger["api_key"])).status == 404
    done = {"lease_id": task["lease_id"], "output": 1}
    assert (await hub.post(f"/tasks/{task['id']}/complete", done, key=agent["api_key"])).status == 200
    assert (await put(hub, agent, task)).status == 409


async def test_a_path_that_leads_elsewhere_and_a_type_that_is_none_are_refused(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    for path in ("/etc/passwd", "a/../../b", "..%5Cx"):
        assert (await put(hub, agent, task, query=f"&path={path}")).status == 400
    assert (await put(hub, agent, task, content_type="nonsense")).status == 400


async def test_what_is_inline_is_read_as_bytes_too(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    path = f"/tasks/{task['id']}/artifacts"
    for name, parts, body, kind in (
        ("t", [{"text": "grüß "}, {"text": "dich"}], "grüß dich".encode(), "text/plain"),
        ("r", [{"raw": "aGk=", "media_type": "image/gif"}], b"hi", "image/gif"),
        ("d", [{"data": {"a": 1}}], b'{"a":1}', "application/json"),
    ):
        put_it = {"lease_id": task["lease_id"], "artifact_id": name, "parts": parts}
        assert (await hub.post(path, put_it, key=agent["api_key"])).status == 201
        answer = await get(hub, task, name)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, body, kind)
    elsewhere = {
        "lease_id": task["lease_id"],
        "artifact_id": "u",
        "parts": [{"url": "https://x.example/y"}],
    }
    await hub.post(path, elsewhere, key=agent["api_key"])
    assert (await get(hub, task, "u")).status == 404


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("text/html", "text/plain; charset=utf-8"),
        ("image/svg+xml", "text/plain; charset=utf-8"),
        ("application/json; charset=utf-8", "text/plain; charset=utf-8"),
        ("image/png", "image/png"),
        ("application/pdf", "application/pdf"),
        ("application/zip", None),
    ],
)
async def test_what_a_browser_could_run_is_shown_as_text(hub: Hub, kind: str, shown: str | None) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    made = (await put(hub, agent, task, b"<script>1</script>", content_type=kind)).data
    answer = await get(hub, task, what="preview")
    assert made["preview_eligible"] is (shown is not None)
    if shown is None:
        assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    else:
        assert (answer.status, answer.headers["content-type"]) == (200, shown)
        assert answer.headers["content-disposition"].startswith("inline")


async def test_nothing_is_appended_to_a_file(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    await put(hub, agent, task)
    more = {"lease_id": task["lease_id"], "artifact_id": "a1", "append": True, "parts": [{"text": "x"}]}
    answer = await hub.post(f"/tasks/{task['id']}/artifacts", more, key=agent["api_key"])
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert (await get(hub, task)).body == BYTES


async def test_a_tenant_without_room_is_told_before_its_bytes_are_read(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    monkeypatch.setattr(files, "TENANT_BYTES", len(BYTES) + 10)
    assert (await put(hub, agent, task)).status == 201
    assert (await put(hub, agent, task, b"x" * 11, name="a2")).status == 413
    assert (await put(hub, agent, task, b"x" * 10, name="a2")).status == 201
    assert (await put(hub, agent, task, b"x", name="a3")).status == 413
