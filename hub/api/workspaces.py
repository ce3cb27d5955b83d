"""Workspaces: what workflows have in common, their memory and what they offer."""

from collections.abc import Mapping
from typing import Any

from core import workspaces as core
from core.workspaces import MEMORY_MOST, Spec, Workspace, WorkspaceId
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import workspaces as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope

_EXAMPLE: Mapping[str, Any] = {
    "name": "Website",
    "slug": "website",
    "repository_url": "https://git.example.com/website.git",
    "settings": {"workspace_storage_type": "git_remote", "workspace_brief": "The shop's website."},
}


@route(
    "POST",
    "/workspaces",
    scope=Scope.ADMIN,
    body=v1.WorkspaceCreate,
    returns=v1.Workspace,
    status=201,
    errors=(409,),
    summary="Create a workspace",
    operation_id="workspaces_create",
    example=_EXAMPLE,
)
async def create_workspace(call: Call, body: v1.WorkspaceCreate) -> Reply:
    """A git token among its settings is kept sealed and never read back."""
    settings, token = _settings(body.settings)
    command = core.CreateWorkspace(
        body.name, body.slug, body.description, body.repository_url, settings, token, body.memory
    )
    return Reply(workspace(await call.write(core.create_workspace, command)))


@route(
    "GET",
    "/workspaces",
    scope=Scope.AGENT,
    query=v1.WorkspaceQuery,
    returns=list[v1.Workspace],
    meta=PageMeta,
    summary="List workspaces",
    operation_id="workspaces_list",
)
async def list_workspaces(call: Call, query: v1.WorkspaceQuery) -> Reply:
    """The tenant's workspaces, newest first."""
    wanted = core.ListWorkspaces(query.q, query.is_active, query.page, query.per_page)
    found = await call.read(core.list_workspaces, wanted)
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([workspace(item) for item in found.items], meta)


@route(
    "GET",
    "/workspaces/{id}",
    scope=Scope.AGENT,
    returns=v1.Workspace,
    errors=(404,),
    summary="Read a workspace",
    operation_id="workspaces_get",
)
async def get_workspace(call: Call) -> Reply:
    """One workspace of the tenant."""
    return Reply(workspace(await call.read(core.get_workspace, WorkspaceId(call.id))))


@route(
    "PATCH",
    "/workspaces/{id}",
    scope=Scope.ADMIN,
    body=v1.WorkspacePatch,
    returns=v1.Workspace,
    errors=(404, 409),
    summary="Change a workspace",
    operation_id="workspaces_update",
    example={"description": "The shop's website, and its blog."},
)
async def patch_workspace(call: Call, body: v1.WorkspacePatch) -> Reply:
    """A field that is not sent stays; `null` empties the ones that may be empty."""
    sent = body.model_fields_set - {"request_id"}
    changes = {name: getattr(body, name) for name in sent}
    needed = ("name", "slug", "settings", "memory", "is_active")
    changes = {name: value for name, value in changes.items() if value is not None or name not in needed}
    token = None
    if body.settings is not None:
        changes["settings"], token = _settings(body.settings)
    command = core.ChangeWorkspace(call.id, changes, token)
    return Reply(workspace(await call.write(core.change_workspace, command)))


@route(
    "DELETE",
    "/workspaces/{id}",
    scope=Scope.ADMIN,
    query=v1.RemoveQuery,
    returns=v1.Deleted,
    errors=(404, 409),
    summary="Remove a workspace",
    operation_id="workspaces_delete",
)
async def delete_workspace(call: Call, query: v1.RemoveQuery) -> Reply:
    """One in use stays; with `cascade` its workflows go with it, when all of them are over."""
    await call.write(core.remove_workspace, core.RemoveWorkspace(call.id, query.cascade))
    return Reply(v1.Deleted(id=call.id, deleted=True))


@route(
    "PATCH",
    "/workspaces/{id}/memory",
    scope=Scope.AGENT,
    body=v1.MemoryPatch,
    returns=v1.Workspace,
    errors=(404,),
    summary="Remember something in a workspace",
    operation_id="workspaces_remember",
    example={"key": "style", "value": "British spelling"},
)
async def patch_memory(call: Call, body: v1.MemoryPatch) -> Reply:
    """One key; what it held before is replaced."""
    command = core.Remember(call.id, {body.key: body.value})
    return Reply(workspace(await call.write(core.remember, command)))


@route(
    "DELETE",
    "/workspaces/{id}/memory/{key:text}",
    scope=Scope.AGENT,
    returns=v1.Workspace,
    errors=(404,),
    summary="Forget something in a workspace",
    operation_id="workspaces_forget",
)
async def delete_memory(call: Call) -> Reply:
    """One key."""
    command = core.Remember(call.id, {}, [call.texts["key"]])
    return Reply(workspace(await call.write(core.remember, command)))


@route(
    "GET",
    "/workspaces/{id}/spec",
    scope=Scope.AGENT,
    query=v1.SpecQuery,
    returns=v1.Spec,
    errors=(404,),
    summary="Read what a workspace offers",
    operation_id="workspaces_spec",
)
async def get_spec(call: Call, query: v1.SpecQuery) -> Reply:
    """The present version, or an earlier one."""
    return Reply(_spec(await call.read(core.get_spec, core.GetSpec(call.id, query.version))))


@route(
    "PUT",
    "/workspaces/{id}/spec",
    scope=Scope.ADMIN,
    body=v1.SpecPut,
    returns=v1.Spec,
    errors=(404,),
    summary="Say what a workspace offers",
    operation_id="workspaces_put_spec",
    example={"resources": {"code": {"type": "repository"}}, "tools": {"available": ["shell"]}},
)
async def put_spec(call: Call, body: v1.SpecPut) -> Reply:
    """Makes the next version; earlier ones stay."""
    spec = body.model_dump(exclude={"request_id"})
    return Reply(_spec(await call.write(core.put_spec, core.PutSpec(call.id, spec))))


@route(
    "GET",
    "/workspaces/{id}/resources",
    scope=Scope.AGENT,
    query=v1.ResourceQuery,
    returns=list[v1.Resource],
    errors=(404,),
    summary="List a workspace's resources",
    operation_id="workspaces_resources",
)
async def list_resources(call: Call, query: v1.ResourceQuery) -> Reply:
    """Those of the present spec, by name."""
    spec = (await call.read(core.get_spec, core.GetSpec(call.id))).spec
    found: list[v1.Resource] = []
    for name, said in sorted(spec["resources"].items()):
        kind = said.get("type") if isinstance(said, dict) and isinstance(said.get("type"), str) else None
        if query.type in (None, kind):
            found.append({"name": name, "type": kind, "spec": said})
    return Reply(found)


@route(
    "GET",
    "/workspaces/{id}/tools",
    scope=Scope.AGENT,
    returns=v1.WorkspaceTools,
    errors=(404,),
    summary="List a workspace's tools",
    operation_id="workspaces_tools",
)
async def list_tools(call: Call) -> Reply:
    """Those of the present spec."""
    tools = (await call.read(core.get_spec, core.GetSpec(call.id))).spec["tools"]
    return Reply(v1.WorkspaceTools(available=list(tools["available"]), blocked=list(tools["blocked"])))


def workspace(value: Workspace) -> v1.Workspace:
    """A workspace."""
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "slug": value.slug,
        "description": value.description,
        "repository_url": value.repository_url,
        "settings": dict(value.settings),
        "has_git_token": value.has_git_token,
        "git_webhook_provider": value.git_webhook_provider,
        "memory": dict(value.memory),
        "memory_size_bytes": value.memory_size_bytes,
        "memory_max_bytes": MEMORY_MOST,
        "current_spec_version": value.current_spec_version,
        "is_active": value.is_active,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def _spec(value: Spec) -> v1.Spec:
    said = value.spec
    return {
        "workspace_id": value.workspace_id,
        "version": value.version,
        "resources": said["resources"],
        "documents": said["documents"],
        "tools": said["tools"],
        "config": said["config"],
        "instructions": said["instructions"],
        "created_at": stamp(value.created_at),
    }


def _settings(given: v1.Settings) -> tuple[dict[str, Any], str | None]:
    token = given.credentials.git_token
    settings = given.model_dump(exclude={"credentials"}, exclude_none=True)
    return settings, None if token is None else token.get_secret_value()
