"""The content of artifacts as files: put in one piece of any size, read whole, in part, or at a glance."""

import base64
import binascii
import re
from functools import partial

from core import files
from core.errors import Invalid, Unavailable, Unprocessable
from core.ports import Files, Kept
from core.tasks import artifacts, contents
from hub.answers import UnsupportedMediaType
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.octets import Octets, of_bytes
from hub.api.previews import MOST_SHOWN, essence, shown_as
from hub.api.routing import route
from schemas.v1 import content as v1
from schemas.vocabulary import Scope

_DIGEST = re.compile(r"(sha-256|md5)=:?([A-Za-z0-9+/=]+):?", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+\s*(;.{0,200})?", re.ASCII)
_NO_CONTENT = (404,)


@route(
    "PUT",
    "/tasks/{id}/artifacts/{artifact_id:text}/content",
    scope=Scope.AGENT,
    query=v1.ContentQuery,
    raw=True,
    returns=v1.Artifact,
    also={201: "A new artifact."},
    errors=(404, 409),
    max_bytes=files.MOST_BYTES,
    summary="Put a file",
    operation_id="artifacts_put_content",
)
async def put_content(call: Call, query: v1.ContentQuery) -> Reply:
    """Any bytes under their `Content-Type`, in place of what the artifact had.

    `Content-Digest`, `Digest` (sha-256 or md5) or `Content-MD5` is compared with what arrived.
    """
    kind = call.header(b"content-type") or "application/octet-stream"
    if not _MEDIA_TYPE.fullmatch(kind):
        raise Invalid("Content-Type is no media type")
    artifact_id = call.texts["artifact_id"]
    claimed = _claimed(call)
    await call.read(contents.may_put, contents.MayPut(call.id, query.lease_id))
    file_id, kept = await files.receive(call.platform, _storage(call), call.caller, call.chunks())
    _compare(claimed, kept)
    here = rendering.artifact_path(call.id, artifact_id)
    command = contents.PutContent(
        call.id,
        artifact_id,
        file_id,
        kept,
        url=f"{call.shared.public_url}{here}/content",
        content_type=kind,
        name=query.name,
        path=query.path,
        lease_id=query.lease_id,
    )
    stored = await call.platform.write(call.without_key(), contents.put_content, command)
    return Reply(rendering.artifact(stored.artifact), status=201 if stored.created else 200)


@route(
    "GET",
    "/tasks/{id}/artifacts/{artifact_id:text}/content",
    scope=Scope.AGENT,
    gives="*/*",
    also={206: "The range that was asked for.", 304: "You have it.", 416: "The range is past the end."},
    errors=_NO_CONTENT,
    summary="Download an artifact",
    operation_id="artifacts_get_content",
)
async def get_content(call: Call) -> Octets:
    """Its bytes, with `ETag` and one `Range`; to be saved, never to be run."""
    return await _content(call, inline=False)


@route(
    "GET",
    "/tasks/{id}/artifacts/{artifact_id:text}/preview",
    scope=Scope.AGENT,
    gives="*/*",
    also={206: "The range that was asked for.", 304: "You have it.", 416: "The range is past the end."},
    errors=(404, 415),
    summary="Look at an artifact",
    operation_id="artifacts_preview",
)
async def preview(call: Call) -> Octets:
    """Text, images and PDF of up to 1 MiB, to be shown. HTML and SVG come as the text that they are."""
    return await _content(call, inline=True)


@route(
    "GET",
    "/tasks/{id}/artifacts/{artifact_id:text}/permalink",
    scope=Scope.AGENT,
    returns=v1.Permalink,
    errors=(404,),
    summary="Where an artifact stays",
    operation_id="artifacts_permalink",
)
async def permalink(call: Call) -> Reply:
    """An address to hand on: that of the content, which stays over every change of it."""
    found = await call.read(artifacts.get_artifact, artifacts.GetArtifact(call.id, call.texts["artifact_id"]))
    path = rendering.artifact(found)["download_url"]
    data: v1.Permalink = {"url": f"{call.shared.public_url.rstrip('/')}{path}"}
    return Reply(data)


async def _content(call: Call, *, inline: bool) -> Octets:
    query = artifacts.GetArtifact(call.id, call.texts["artifact_id"])
    found = await call.read(contents.get_content, query)
    kind = found.content_type
    if inline:
        mode = shown_as(kind)
        if mode == "unsupported" or found.size_bytes > MOST_SHOWN:
            raise UnsupportedMediaType("nothing of this is shown; download it")
        kind = "text/plain; charset=utf-8" if mode == "text" else essence(kind)
    read = (
        partial(of_bytes, found.inline)
        if found.file_id is None
        else partial(_storage(call).read, found.file_id)
    )
    return Octets(read, found.size_bytes, found.sha256, kind, found.filename, inline=inline)


def _storage(call: Call) -> Files:
    if call.shared.files is None:
        raise Unavailable("This hub keeps no files.")
    return call.shared.files


def _claimed(call: Call) -> dict[str, bytes]:
    """The digests that the caller says, by algorithm."""
    said: list[tuple[str, str]] = []
    for header in (b"content-digest", b"digest", b"repr-digest"):
        said += _DIGEST.findall(call.header(header) or "")
    md5 = call.header(b"content-md5")
    if md5 is not None:
        said.append(("md5", md5))
    try:
        return {name.lower(): base64.b64decode(value, validate=True) for name, value in said}
    except binascii.Error:
        raise Invalid("a digest is no base64") from None


def _compare(claimed: dict[str, bytes], kept: Kept) -> None:
    for name, arrived in (("sha-256", kept.sha256), ("md5", kept.md5)):
        if name in claimed and claimed[name] != arrived:
            raise Unprocessable(f"what arrived has another {name} digest; nothing was changed")
