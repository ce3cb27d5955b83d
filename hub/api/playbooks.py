"""Playbooks: how something is done, in versions; and the schema of their definition."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from core import playbooks as core
from core.playbooks import Playbook, PlaybookId
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.playbook import json_schema
from schemas.v1 import playbooks as v1
from schemas.v1.fields import stamp, stamp_or_none
from schemas.v1.workspaces import Deleted
from schemas.vocabulary import Scope

_EXAMPLE: Mapping[str, Any] = {
    "name": "Answer a question",
    "outcome": "The question is answered, and somebody has agreed.",
    "definition": {
        "parameters": [{"slug": "question", "title": "Question", "required": True}],
        "stages": [
            {
                "name": "answer",
                "tasks": [{"name": "answer", "input": {"text": "{{ parameters.question }}"}}],
                "gate": {"summary": "Is that an answer?"},
            }
        ],
        "output": "{{ tasks.answer.output }}",
    },
}
_NULLABLE = ("description",)


@route(
    "POST",
    "/playbooks",
    scope=Scope.ADMIN,
    body=v1.PlaybookCreate,
    returns=v1.Playbook,
    status=201,
    errors=(409,),
    summary="Create a playbook",
    operation_id="playbooks_create",
    example=_EXAMPLE,
)
async def create_playbook(call: Call, body: v1.PlaybookCreate) -> Reply:
    """The definition is checked as a whole; a refusal says where it is wrong, and how."""
    command = core.CreatePlaybook(
        body.name, body.outcome, body.definition, body.slug, body.description, body.lifecycle
    )
    return Reply(playbook(await call.write(core.create_playbook, command)))


@route(
    "GET",
    "/playbooks",
    scope=Scope.AGENT,
    returns=list[v1.Playbook],
    summary="List playbooks",
    operation_id="playbooks_list",
)
async def list_playbooks(call: Call) -> Reply:
    """The versions in use, newest first, at most 500."""
    return Reply([playbook(item) for item in await call.read(core.list_playbooks, None)])


@route(
    "GET",
    "/playbooks/{id}",
    scope=Scope.AGENT,
    returns=v1.Playbook,
    errors=(404,),
    summary="Read a playbook",
    operation_id="playbooks_get",
)
async def get_playbook(call: Call) -> Reply:
    """One version of it."""
    return Reply(playbook(await call.read(core.get_playbook, PlaybookId(call.id))))


@route(
    "PATCH",
    "/playbooks/{id}",
    scope=Scope.ADMIN,
    body=v1.PlaybookPatch,
    returns=v1.Playbook,
    errors=(404, 409),
    summary="Make the next version of a playbook",
    operation_id="playbooks_update",
    example={"description": "Now with a second opinion."},
)
async def patch_playbook(call: Call, body: v1.PlaybookPatch) -> Reply:
    """A new row with a new id, made from this version; workflows that run keep theirs."""
    sent = {name: getattr(body, name) for name in body.model_fields_set - {"request_id"}}
    changes = {name: value for name, value in sent.items() if value is not None or name in _NULLABLE}
    return Reply(playbook(await call.write(core.change_playbook, core.ChangePlaybook(call.id, changes))))


@route(
    "PUT",
    "/playbooks/{id}",
    scope=Scope.ADMIN,
    body=v1.PlaybookCreate,
    returns=v1.Playbook,
    errors=(404, 409),
    summary="Write the next version of a playbook",
    operation_id="playbooks_replace",
    example=_EXAMPLE,
)
async def put_playbook(call: Call, body: v1.PlaybookCreate) -> Reply:
    """As PATCH, but says everything anew."""
    changes = body.model_dump(exclude={"request_id"})
    if body.slug is None:
        del changes["slug"]
    return Reply(playbook(await call.write(core.change_playbook, core.ChangePlaybook(call.id, changes))))


@route(
    "PATCH",
    "/playbooks/{id}/archive",
    scope=Scope.ADMIN,
    body=v1.PlaybookArchive,
    returns=v1.Playbook,
    errors=(404,),
    summary="Archive a playbook, or restore it",
    operation_id="playbooks_archive",
    example={"archived": True},
)
async def archive_playbook(call: Call, body: v1.PlaybookArchive) -> Reply:
    """No workflow is made from an archived one. Restoring makes this version the one in use."""
    command = core.ArchivePlaybook(call.id, body.archived)
    return Reply(playbook(await call.write(core.archive_playbook, command)))


@route(
    "DELETE",
    "/playbooks/{id}",
    scope=Scope.ADMIN,
    returns=Deleted,
    errors=(404, 409),
    summary="Remove a version of a playbook",
    operation_id="playbooks_delete",
)
async def delete_playbook(call: Call) -> Reply:
    """Only one from which no workflow was made."""
    await call.write(core.remove_playbook, PlaybookId(call.id))
    return Reply(Deleted(id=call.id, deleted=True))


@route(
    "GET",
    "/schemas/playbook",
    public=True,
    returns=dict[str, Any],
    summary="The JSON Schema of a playbook's definition",
    operation_id="schemas_playbook",
)
async def playbook_schema(call: Call) -> Reply:
    """JSON Schema 2020-12, as editors and generators read it."""
    return Reply(_schema())


@cache
def _schema() -> dict[str, Any]:
    return json_schema()


def playbook(value: Playbook) -> v1.Playbook:
    """A version of a playbook."""
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "slug": value.slug,
        "version": value.version,
        "name": value.name,
        "description": value.description,
        "outcome": value.outcome,
        "lifecycle": value.lifecycle,
        "definition": dict(value.definition),
        "is_active": value.is_active,
        "archived_at": stamp_or_none(value.archived_at),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }
