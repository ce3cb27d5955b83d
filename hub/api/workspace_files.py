"""Files of workspaces, and the artifacts that came of their tasks."""

import base64
import binascii
from collections.abc import Sequence
from functools import partial
from typing import Final

from core import files, workspace_files
from core.errors import TooLarge, Unavailable, Unprocessable
from core.ports import Files
from core.workspace_files import ExploreArtifacts, FoundArtifact, NewFile, OneFile, PutFiles, WorkspaceFile
from core.workspaces import WorkspaceId, get_workspace
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.octets import Octets, of_bytes
from hub.api.previews import IMAGES, TEXTS, shown_as
from hub.api.routing import MIB, PREFIX, route
from schemas.v1 import workspace_files as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope

MOST_BYTES: Final = 10 * MIB
"""Of the files of one call together."""
_EXAMPLE: Final = {"file_name": "style.md", "content_type": "text/markdown", "content_base64": "IyBTdHlsZQo="}


@route(
    "GET",
    "/workspaces/{id}/files",
    scope=Scope.AGENT,
    returns=list[v1.WorkspaceFile],
    errors=(404,),
    summary="List a workspace's files",
    operation_id="workspaces_files",
)
async def list_files(call: Call) -> Reply:
    """By key."""
    found = await call.read(workspace_files.list_files, WorkspaceId(call.id))
    return Reply([_file(one) for one in found])


@route(
    "POST",
    "/workspaces/{id}/files",
    scope=Scope.ADMIN,
    body=v1.FilePut,
    returns=v1.WorkspaceFile,
    status=201,
    errors=(404, 409),
    max_bytes=14 * MIB,
    summary="Put a file into a workspace",
    operation_id="workspaces_put_file",
    example=_EXAMPLE,
)
async def put_file(call: Call, body: v1.FilePut) -> Reply:
    """In place of what has its key, so that sending it twice leaves one file."""
    (made,) = await _put(call, [body])
    return Reply(_file(made))


@route(
    "POST",
    "/workspaces/{id}/files/batch",
    scope=Scope.ADMIN,
    body=v1.FileBatch,
    returns=list[v1.WorkspaceFile],
    status=201,
    errors=(404, 409),
    max_bytes=14 * MIB,
    summary="Put files into a workspace",
    operation_id="workspaces_put_files",
    example={"files": [_EXAMPLE]},
)
async def put_files(call: Call, body: v1.FileBatch) -> Reply:
    """All of them or none."""
    return Reply([_file(one) for one in await _put(call, body.files)])


async def _put(call: Call, given: Sequence[v1.FileFields]) -> Sequence[WorkspaceFile]:
    contents = [_decoded(one) for one in given]
    if sum(len(content) for content in contents) > MOST_BYTES:
        raise TooLarge(f"the files of one call have at most {MOST_BYTES} bytes together")
    await call.read(get_workspace, WorkspaceId(call.id))  # refused before anything is kept
    new: list[NewFile] = []
    for one, content in zip(given, contents, strict=True):
        pieces = of_bytes(content, 0, len(content))
        file_id, kept = await files.receive(call.platform, _storage(call), call.caller, pieces)
        key = one.key or one.file_name
        new.append(NewFile(key, one.file_name, one.content_type, file_id, kept, one.description))
    # Repeatable by nature: the same keys are put again.
    return await call.platform.write(call.without_key(), workspace_files.put_files, PutFiles(call.id, new))


def _decoded(one: v1.FileFields) -> bytes:
    try:
        return base64.b64decode(one.content_base64, validate=True)
    except (binascii.Error, ValueError):
        why = "should be base64"
        raise Unprocessable(
            f"Invalid request body: content_base64: {why}", fields={"content_base64": [why]}
        ) from None


@route(
    "GET",
    "/workspaces/{id}/files/{file_id}/content",
    scope=Scope.AGENT,
    gives="*/*",
    also={206: "The range that was asked for.", 304: "You have it.", 416: "The range is past the end."},
    errors=(404,),
    summary="Download a workspace's file",
    operation_id="workspaces_file_content",
)
async def get_content(call: Call) -> Octets:
    """Its bytes, with `ETag` and one `Range`; to be saved, never to be run."""
    found = await call.read(workspace_files.get_file, OneFile(call.id, call.ids["file_id"]))
    read = partial(_storage(call).read, found.file_id)
    return Octets(read, found.size_bytes, found.sha256, found.content_type, found.file_name)


@route(
    "DELETE",
    "/workspaces/{id}/files/{file_id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Delete a workspace's file",
    operation_id="workspaces_delete_file",
)
async def delete_file(call: Call) -> Reply:
    """With its content."""
    await call.write(workspace_files.delete_file, OneFile(call.id, call.ids["file_id"]))
    return Reply()


@route(
    "GET",
    "/workspaces/{id}/artifacts",
    scope=Scope.AGENT,
    query=v1.ArtifactQuery,
    returns=list[v1.WorkspaceArtifact],
    meta=PageMeta,
    errors=(404,),
    summary="Explore a workspace's artifacts",
    operation_id="workspaces_artifacts",
)
async def explore(call: Call, query: v1.ArtifactQuery) -> Reply:
    """Those of the tasks that you may see, newest first unless it is asked otherwise."""
    like, unlike = _patterns(query.preview_mode)
    wanted = ExploreArtifacts(
        call.id,
        query.q,
        query.workflow_id,
        query.work_item_id,
        query.task_id,
        query.stage_name,
        query.role,
        query.content_type,
        like,
        unlike,
        query.created_from,
        query.created_to,
        query.sort,
        query.order == "desc",
        query.page,
        query.per_page,
    )
    found = await call.read(workspace_files.explore_artifacts, wanted)
    return Reply(
        [_artifact(one) for one in found.items], rendering.page(found.total, query.page, query.per_page)
    )


def _patterns(mode: str | None) -> tuple[Sequence[str] | None, Sequence[str]]:
    """The content types that are shown in a way, as patterns: one must fit, and none may."""
    images = [pattern for kind in sorted(IMAGES) for pattern in (kind, f"{kind};%")]
    texts = ["text/%", *(p for kind in sorted(TEXTS) for p in (kind, f"{kind};%"))]
    texts += ["%+json", "%+json;%", "%+xml", "%+xml;%"]
    pdfs = ["application/pdf", "application/pdf;%"]
    known = {"image": images, "text": texts, "pdf": pdfs}
    if mode == "unsupported":
        return None, [*images, *texts, *pdfs]
    return (None if mode is None else known[mode]), ()


def _storage(call: Call) -> Files:
    if call.shared.files is None:
        raise Unavailable("This hub keeps no files.")
    return call.shared.files


def _file(value: WorkspaceFile) -> v1.WorkspaceFile:
    return {
        "id": value.id,
        "workspace_id": value.workspace_id,
        "key": value.key,
        "description": value.description,
        "file_name": value.file_name,
        "content_type": value.content_type,
        "size_bytes": value.size_bytes,
        "checksum_sha256": value.sha256.hex(),
        "download_url": f"{PREFIX}/workspaces/{value.workspace_id}/files/{value.id}/content",
        "created_at": stamp(value.created_at),
    }


def _artifact(value: FoundArtifact) -> v1.WorkspaceArtifact:
    here = rendering.artifact_path(value.task_id, value.artifact_id)
    mode = shown_as(value.content_type)
    return {
        "id": value.artifact_id,
        "task_id": value.task_id,
        "task_title": value.task_title,
        "workflow_id": value.workflow_id,
        "work_item_id": value.work_item_id,
        "workspace_id": value.workspace_id,
        "stage_name": value.stage_name,
        "role": value.role,
        "name": value.name,
        "description": value.description,
        "logical_path": value.path,
        "content_type": value.content_type,
        "size_bytes": value.size_bytes,
        "checksum_sha256": None if value.sha256 is None else value.sha256.hex(),
        "download_url": f"{here}/content",
        "preview_url": f"{here}/preview",
        "preview_mode": mode,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }
