"""What git servers say: the webhook that they call, who listens, and what is known of a task."""

from typing import Any, Final

from core import git_webhooks as core
from core.caller import SYSTEM
from core.errors import NotFound, TooLarge, Unauthenticated
from core.git_webhooks import FindHooks, GitHook, SetGitWebhook, TakeGit
from hub import git_payloads
from hub.answers import Unreadable
from hub.api.call import Call, Reply
from hub.api.routing import MIB, route
from hub.api.workspaces import workspace
from hub.authentication import NOBODY
from hub.limits import network_of
from schemas.strict_json import InvalidJson, parse_json
from schemas.v1 import git as v1
from schemas.v1 import workspaces as v1_workspaces
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope

MOST_BYTES: Final = 5 * MIB


@route(
    "POST",
    "/webhooks/git",
    public=True,
    returns=v1.GitTaken,
    status=202,
    errors=(401, 404, 413, 429),
    max_bytes=MOST_BYTES,
    summary="Hear from a git server",
    operation_id="hooks_git",
)
async def take(call: Call) -> Reply:
    """GitHub and Gitea sign the body with the workspace's secret, GitLab sends it. A task is named by its id
    in a title, a text, a branch or a commit. The same again does nothing."""
    client = call.scope.get("client")
    call.shared.git.take(network_of(client[0]) if client else "")
    sender = git_payloads.signed(call.header)
    if sender is None or not sender.signature:
        raise Unauthenticated("this is signed by no git server that the hub knows")
    body = await _body(call)
    payload = _payload(body)  # says only whose secret to try: nothing else is believed yet
    wanted = FindHooks(sender.provider, git_payloads.addresses(payload))
    hooks = await call.platform.read(NOBODY, core.find_hooks, wanted) if wanted.addresses else ()
    if not hooks:
        raise NotFound("no workspace listens to this repository")
    hook = _proved(sender, hooks, body)
    said = git_payloads.read(sender.provider, sender.event_type, payload)
    command = TakeGit(hook.workspace_id, sender.provider, sender.keys(body), said.named, said.kind, said.data)
    taken = await call.platform.write(SYSTEM(hook.tenant_id), core.take_git, command)
    return Reply(
        {
            "accepted": True,
            "provider": sender.provider,
            "event_type": sender.event_type,
            "mapped_task_id": taken.task_id or next(iter(said.named), None),
            "mapped_task_found": taken.task_id is not None,
            "duplicate": taken.duplicate,
        }
    )


async def _body(call: Call) -> bytes:
    pieces = bytearray()
    async for piece in call.chunks():
        pieces += piece
        if len(pieces) > MOST_BYTES:
            raise TooLarge(f"the body is longer than {MOST_BYTES} bytes")
    return bytes(pieces)


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = parse_json(body)
    except InvalidJson as error:
        raise Unreadable(f"the body cannot be read: {error.message}") from None
    if not isinstance(payload, dict):
        raise Unreadable("the body is no JSON object")
    return payload


def _proved(sender: git_payloads.Signed, hooks: Any, body: bytes) -> GitHook:
    """The workspace whose secret it was signed with. All are tried, so that time tells nothing."""
    found: list[GitHook] = [hook for hook in hooks if sender.proved(hook.secret.reveal(), body)]
    if not found:
        raise Unauthenticated("the signature is not that of a workspace of this repository")
    return found[0]


@route(
    "PUT",
    "/workspaces/{id}/git-webhook",
    scope=Scope.ADMIN,
    body=v1.GitWebhookPut,
    returns=v1_workspaces.Workspace,
    errors=(404,),
    summary="Let a workspace hear from its git server",
    operation_id="workspaces_git_webhook",
    example={"provider": "github", "secret": "a long secret that both know"},
)
async def put_git_webhook(call: Call, body: v1.GitWebhookPut) -> Reply:
    """Of the repository at its `repository_url`. The secret is kept sealed and never read back."""
    command = SetGitWebhook(call.id, body.provider, body.secret.get_secret_value())
    return Reply(workspace(await call.write(core.set_git_webhook, command)))


@route(
    "GET",
    "/tasks/{id}/git",
    scope=Scope.AGENT,
    returns=v1.GitOfTask,
    errors=(404,),
    summary="Read a task's git activity",
    operation_id="tasks_git",
)
async def task_git(call: Call) -> Reply:
    """Its pull requests and checks as they stand, and all that was said of them."""
    found = await call.read(core.git_of_task, call.id)
    requests: dict[Any, dict[str, Any]] = {}
    checks: dict[Any, dict[str, Any]] = {}
    for one in found.activities:
        said = {**one.data, "provider": one.provider, "updated_at": stamp(one.at)}
        if one.kind == "ci_status_updated":
            checks[one.provider, one.data.get("name"), one.data.get("commit")] = said
        else:
            requests[one.provider, one.data.get("number")] = said
    activity = [
        {
            "id": one.id,
            "provider": one.provider,
            "type": f"task.git.{one.kind}",
            "data": dict(one.data),
            "created_at": stamp(one.at),
        }
        for one in found.activities
    ]
    return Reply(
        {
            "task_id": found.task_id,
            "git_info": found.reported,
            "pull_requests": list(requests.values()),
            "ci": list(checks.values()),
            "activity": activity,
        }
    )
