"""What GitHub, Gitea and GitLab send, read into one form. Unknown shapes say nothing; nothing here raises.

See https://docs.github.com/webhooks, https://docs.gitea.com/usage/webhooks and
https://docs.gitlab.com/user/project/integrations/webhook_events/.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

Header = Callable[[bytes], str | None]
"""A request header by its lower-case name."""

_UUID: Final = re.compile(
    r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE
)
_MOST_NAMED: Final = 20
_MOST_TEXT: Final = 100_000
_ADDRESSES: Final = (
    "clone_url", "html_url", "ssh_url", "git_url", "url",
    "git_http_url", "git_ssh_url", "http_url", "web_url", "homepage",
)  # fmt: skip


@dataclass(frozen=True)
class Signed:
    """Who says to have sent it, what it is called there, and how to prove it."""

    provider: str
    event_type: str
    signature: str | None
    delivery: str | None

    def proved(self, secret: str, body: bytes) -> bool:
        """Whether the secret signed this body; takes as long whatever is wrong."""
        given = (self.signature or "").removeprefix("sha256=")
        if self.provider == "gitlab":
            return hmac.compare_digest(given.encode(), secret.encode())
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given.lower().encode(), expected.encode())

    def keys(self, body: bytes) -> Sequence[str]:
        """What it is known by: its contents, and the server's own name for it, which nothing signs."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        named = hashlib.sha256((self.delivery or "").encode()).hexdigest()
        return [digest, f"id:{named}"] if self.delivery else [digest]


@dataclass(frozen=True)
class Said:
    """What a payload says: of which task perhaps, and what. `kind` is None when it is nothing to tell of."""

    kind: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    named: Sequence[UUID] = ()


def signed(header: Header) -> Signed | None:
    """Who sent it, by its headers; None when it is nobody known. Gitea sends GitHub's headers, too."""
    for provider, event, signature, delivery in (
        ("gitea", b"x-gitea-event", b"x-gitea-signature", b"x-gitea-delivery"),
        ("github", b"x-github-event", b"x-hub-signature-256", b"x-github-delivery"),
        ("gitlab", b"x-gitlab-event", b"x-gitlab-token", b"x-gitlab-event-uuid"),
    ):
        name = header(event)
        if name is not None:
            return Signed(provider, name[:100], header(signature), header(delivery))
    return None


def addresses(payload: Mapping[str, Any]) -> Sequence[str]:
    """How the repository may be written down in a workspace, in lower case."""
    found: set[str] = set()
    for part in (_map(payload, "repository"), _map(payload, "project")):
        for name in _ADDRESSES:
            address = _text(part, name).lower().rstrip("/").removesuffix(".git")
            if address and len(address) <= 2048:
                found |= {address, f"{address}.git", f"{address}/"}
    return sorted(found)


def read(provider: str, event_type: str, payload: Mapping[str, Any]) -> Said:
    """What the payload says."""
    if provider == "gitlab":
        return _gitlab(event_type, payload)
    request = _map(payload, "pull_request")
    if event_type == "pull_request" and request:
        action, head = _text(payload, "action"), _map(request, "head")
        merged = request.get("merged") is True
        data: dict[str, Any] = {
            "number": _number(request, "number") or _number(payload, "number"),
            "title": _text(request, "title"),
            "url": _text(request, "html_url"),
            "state": "merged" if merged else _text(request, "state"),
            "branch": _text(head, "ref"),
            "commit": _text(head, "sha"),
        }
        texts = [data["title"], _text(request, "body"), data["branch"]]
        return Said(_request_kind(action, merged), data, _named(texts))
    for name in ("check_run", "check_suite", "workflow_run", "workflow_job"):
        check = _map(payload, name)
        if event_type == name and check:
            return _github_check(name, check)
    if event_type == "status":
        commit = _map(_map(payload, "commit"), "commit") or _map(payload, "commit")
        branches = payload.get("branches")
        named = (
            [_text(one, "name") for one in branches if isinstance(one, dict)]
            if isinstance(branches, list)
            else []
        )
        data = {
            "name": _text(payload, "context"),
            "status": _text(payload, "state"),
            "url": _text(payload, "target_url"),
            "commit": _text(payload, "sha"),
            "branch": named[0] if named else "",
        }
        texts = [*named, _text(commit, "message"), _text(payload, "description")]
        return Said("ci_status_updated", data, _named(texts))
    return Said(None, {}, _named(_commits(payload)))


def _github_check(name: str, check: Mapping[str, Any]) -> Said:
    suite = _map(check, "check_suite")
    data: dict[str, Any] = {
        "name": _text(check, "name") or name,
        "status": _text(check, "conclusion") or _text(check, "status"),
        "url": _text(check, "html_url") or _text(check, "url"),
        "commit": _text(check, "head_sha"),
        "branch": _text(check, "head_branch") or _text(suite, "head_branch"),
    }
    requests = check.get("pull_requests")
    heads = (
        [_text(_map(one, "head"), "ref") for one in requests if isinstance(one, dict)]
        if isinstance(requests, list)
        else []
    )
    texts = [
        data["branch"], *heads, _text(_map(check, "head_commit"), "message"), _text(check, "display_title")
    ]  # fmt: skip
    return Said("ci_status_updated", data, _named(texts))


def _gitlab(event_type: str, payload: Mapping[str, Any]) -> Said:
    about = _map(payload, "object_attributes")
    kind = _text(payload, "object_kind") or event_type.removesuffix(" Hook").lower().replace(" ", "_")
    if kind == "merge_request" and about:
        action, state = _text(about, "action"), _text(about, "state")
        data: dict[str, Any] = {
            "number": _number(about, "iid"),
            "title": _text(about, "title"),
            "url": _text(about, "url"),
            "state": {"opened": "open"}.get(state, state),
            "branch": _text(about, "source_branch"),
            "commit": _text(_map(about, "last_commit"), "id"),
        }
        texts = [
            data["title"], _text(about, "description"), data["branch"],
            _text(_map(about, "last_commit"), "message"),
        ]  # fmt: skip
        return Said(_request_kind(action, action == "merge" or state == "merged"), data, _named(texts))
    if kind == "pipeline" and about:
        request = _map(payload, "merge_request")
        data = {
            "name": _text(about, "name") or "pipeline",
            "status": _text(about, "status"),
            "url": _text(about, "url"),
            "commit": _text(about, "sha"),
            "branch": _text(about, "ref"),
        }
        texts = [
            data["branch"], _text(request, "title"), _text(request, "source_branch"),
            _text(_map(payload, "commit"), "message"),
        ]  # fmt: skip
        return Said("ci_status_updated", data, _named(texts))
    if kind in ("build", "job"):
        data = {
            "name": _text(payload, "build_name"),
            "status": _text(payload, "build_status"),
            "url": "",
            "commit": _text(payload, "sha"),
            "branch": _text(payload, "ref"),
        }
        texts = [data["branch"], _text(_map(payload, "commit"), "message")]
        return Said("ci_status_updated", data, _named(texts))
    return Said(None, {}, _named(_commits(payload)))


def _request_kind(action: str, merged: bool) -> str:
    if action in ("opened", "reopened", "open", "reopen"):
        return "pr_opened"
    if action in ("closed", "merge", "close"):
        return "pr_merged" if merged else "pr_closed"
    return "pr_updated"


def _commits(payload: Mapping[str, Any]) -> Iterator[str]:
    yield _text(payload, "ref")
    commits = payload.get("commits")
    for commit in commits[:100] if isinstance(commits, list) else ():
        if isinstance(commit, dict):
            yield _text(commit, "message")


def _named(texts: Iterator[str] | Sequence[str]) -> Sequence[UUID]:
    found: dict[UUID, None] = {}
    for text in texts:
        for match in _UUID.finditer(text[:_MOST_TEXT]):
            found[UUID(match.group())] = None
            if len(found) >= _MOST_NAMED:
                return list(found)
    return list(found)


def _map(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    inner = value.get(name)
    return inner[:_MOST_TEXT].replace("\0", "") if isinstance(inner, str) else ""


def _number(value: Mapping[str, Any], name: str) -> int | None:
    inner = value.get(name)
    return inner if isinstance(inner, int) and not isinstance(inner, bool) and abs(inner) < 2**53 else None
