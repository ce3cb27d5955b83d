"""Tasks, their artifacts and workflows as resources: `crossdock://tasks/{id}`, `…/artifacts/{artifact_id}`,
`crossdock://workflows/{id}`.

They show what REST shows to the same caller.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote
from uuid import UUID

from adapters.mcp import shown, workflow_resources
from adapters.mcp.errors import RESOURCE_NOT_FOUND, McpError, invalid
from adapters.mcp.exchange import Call, Result
from core.caller import Caller
from core.errors import NotFound
from core.events import Event
from core.platform import Platform
from core.tasks.artifacts import GetArtifact, get_artifact
from core.tasks.read import GetTask, ListTasks, list_tasks, view_task
from core.tasks.task import Artifact
from schemas.strict_json import dump_json

TEMPLATES: Final[Sequence[Mapping[str, str]]] = (
    {
        "uriTemplate": shown.TASK_URI + "{id}",
        "name": "task",
        "title": "Task",
        "description": "A task: state, output, questions, approvals, artifacts and messages.",
        "mimeType": "application/json",
    },
    {
        "uriTemplate": shown.TASK_URI + "{id}/artifacts/{artifact_id}",
        "name": "artifact",
        "title": "Artifact",
        "description": "The content of an artifact of a task.",
    },
    workflow_resources.TEMPLATE,
)
_PER_PAGE: Final = 50
_URI: Final = re.compile(re.escape(shown.TASK_URI) + r"([0-9a-fA-F-]{36})(?:/artifacts/([^/?#]{1,800}))?")


async def listed(platform: Platform, call: Call) -> Result:
    """`resources/list`: the tasks that the caller may see, newest first, and then the workflows."""
    kind, page = _page_of(call.params.get("cursor"))
    if kind == "workflows":
        return await _workflows(platform, call, page)
    query = ListTasks(page=page, per_page=_PER_PAGE)
    found = await platform.read(_full(call.caller), list_tasks, query)
    said: Result = {
        "resources": [
            {
                "uri": shown.task_uri(task.id),
                "name": str(task.id),
                "title": task.title,
                "description": f"A task, {task.state.wire}.",
                "mimeType": "application/json",
            }
            for task in found.items
        ]
    }
    if page * _PER_PAGE < found.total:
        said["nextCursor"] = _cursor("page", page + 1)
    elif (await workflow_resources.listed(platform, _full(call.caller), 1, 1))[1]:
        said["nextCursor"] = _cursor("workflows", 1)
    return said


async def _workflows(platform: Platform, call: Call, page: int) -> Result:
    found, total = await workflow_resources.listed(platform, _full(call.caller), page, _PER_PAGE)
    said: Result = {"resources": list(found)}
    if page * _PER_PAGE < total:
        said["nextCursor"] = _cursor("workflows", page + 1)
    return said


async def read(platform: Platform, call: Call, uri: str) -> Result:
    """`resources/read`.

    Raises:
        McpError: no such resource, or not the caller's to see.
    """
    try:
        if uri.startswith(workflow_resources.ROOT):
            return {"contents": list(await workflow_resources.read(platform, _full(call.caller), uri))}
        task_id, artifact_id = _parsed(uri)
        if artifact_id is None:
            view = await platform.read(_full(call.caller), view_task, GetTask(task_id))
            text = dump_json(shown.whole(view)).decode()
            return {"contents": [{"uri": uri, "mimeType": "application/json", "text": text}]}
        query = GetArtifact(task_id, artifact_id)
        return {"contents": _contents(uri, await platform.read(_full(call.caller), get_artifact, query))}
    except NotFound:
        if call.modern:
            raise invalid("Resource not found", {"uri": uri[:1000]}) from None
        raise McpError(RESOURCE_NOT_FOUND, "Resource not found", {"uri": uri[:1000]}) from None


def touched(event: Event, uris: frozenset[str]) -> list[str]:
    """Those of the resources that an event has changed."""
    workflow = workflow_resources.touched(event)
    found = [] if workflow is None else [workflow]
    if event.task_id is None:
        return [uri for uri in found if uri in uris]
    found.append(shown.task_uri(event.task_id))
    artifact_id = event.data.get("artifact_id")
    if event.kind.startswith("task.artifact") and type(artifact_id) is str:
        found.append(shown.artifact_uri(event.task_id, artifact_id))
    return [uri for uri in found if uri in uris]


def _parsed(uri: str) -> tuple[UUID, str | None]:
    found = _URI.fullmatch(uri)
    if found is None:
        raise NotFound("no such resource")
    try:
        return UUID(found[1]), None if found[2] is None else unquote(found[2], errors="strict")
    except ValueError:
        raise NotFound("no such resource") from None


def _full(caller: Caller) -> Caller:
    return replace(caller, full=True)


def _contents(uri: str, artifact: Artifact) -> list[dict[str, Any]]:
    said = []
    for part in artifact.parts:
        kind = part.get("media_type") or artifact.content_type
        if "raw" in part:
            said.append({"uri": uri, "mimeType": kind or "application/octet-stream", "blob": part["raw"]})
        elif "data" in part:
            text = dump_json(part["data"]).decode()
            said.append({"uri": uri, "mimeType": kind or "application/json", "text": text})
        elif "url" in part:
            said.append({"uri": uri, "mimeType": "text/uri-list", "text": part["url"]})
        else:
            said.append({"uri": uri, "mimeType": kind or "text/plain", "text": part["text"]})
    return said


def _cursor(kind: str, page: int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{page}".encode()).decode()


def _page_of(cursor: object) -> tuple[str, int]:
    if cursor is None:
        return "page", 1
    try:
        prefix, _, number = base64.urlsafe_b64decode(str(cursor)).decode().partition(":")
        page = int(number)
    except (binascii.Error, ValueError):
        prefix, page = "", 0
    if prefix not in ("page", "workflows") or not 1 <= page <= 1_000_000:
        raise invalid("cursor is none that this server gave.")
    return prefix, page
