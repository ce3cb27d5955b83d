"""Looks at a server: everything that it offers, page by page, or the reason why there is nothing.

An error is never an empty list. Either all that a server lists is found, or the look has failed.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from adapters import jsonrpc
from adapters.mcp.upstream.client import Upstream
from adapters.mcp.upstream.failures import BadAnswer, NeedsAuth, TimedOut, Unreachable, UpstreamError
from adapters.mcp.upstream.headers import wrong_annotation
from adapters.mcp.upstream.interface import Client, Message, RpcError, Session, Target
from adapters.mcp.upstream.openapi import BadDocument, OpenApiSession, base_url, fetched
from adapters.mcp.upstream.target import NO_CREDENTIALS, Credentials, filled, target_of
from adapters.outbound import Outbound
from core.egress import BadTarget, Blocked
from core.mcp.definitions import FoundItem
from core.mcp.ports import Fault, ServerFound, ServerRefused, ServerWanted
from core.mcp.upkeep import tells
from core.mcp.words import AuthMode, Era, ItemKind, ServerKind
from core.platform import Platform
from schemas.strict_json import InvalidJson, dump_json, parse_json

LOOK_SECONDS: Final = 60.0
PAGE_SECONDS: Final = 20.0
PROBE_SECONDS: Final = 10.0
MOST_PAGES: Final = 200
MOST_ITEMS: Final = 1_000
"""Of each kind."""
MOST_TEXT: Final = 8 * 1024
"""Bytes of a description."""
MOST_DEFINITION: Final = 256 * 1024
MOST_INSTRUCTIONS: Final = 64 * 1024
MOST_WARNINGS: Final = 50
_LISTS: Final = (
    (ItemKind.TOOL, "tools", "tools/list", "tools", "name"),
    (ItemKind.RESOURCE, "resources", "resources/list", "resources", "uri"),
    (ItemKind.TEMPLATE, "resources", "resources/templates/list", "resourceTemplates", "uriTemplate"),
    (ItemKind.PROMPT, "prompts", "prompts/list", "prompts", "name"),
)
"""By kind: the capability, the method, the member of its result, and what names an entry."""


class ServerReader:
    """`core.mcp.ports.Servers` for servers of MCP over HTTP."""

    def __init__(
        self,
        outbound: Outbound,
        info: Mapping[str, Any],
        credentials: Credentials = NO_CREDENTIALS,
        platform: Platform | None = None,
    ) -> None:
        self._outbound = outbound
        self._upstream = Upstream(outbound, platform)
        self._client = Client(info)
        self._credentials = credentials

    async def look(self, wanted: ServerWanted) -> ServerFound:
        """All that the server offers, within a minute.

        Raises:
            ServerRefused: why there is nothing.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if wanted.kind is ServerKind.OPENAPI:
                    wanted = await self._documented(wanted)
                return await self._look(self._target(wanted), wanted)
        except NeedsAuth as error:
            raise ServerRefused(error.message, Fault.NEEDS_AUTH, challenge=error.challenge) from error
        except (Unreachable, TimedOut) as error:
            raise ServerRefused(error.message, Fault.UNREACHABLE) from error
        except UpstreamError as error:
            raise ServerRefused(error.message) from error
        except TimeoutError:
            reason = f"it did not list everything within {LOOK_SECONDS:g} s"
            raise ServerRefused(reason, Fault.UNREACHABLE) from None

    async def watch(
        self, wanted: ServerWanted, capabilities: Mapping[str, Any], changed: Callable[[], None]
    ) -> None:
        """Listen to a server's lists until its stream ends.

        Raises:
            ServerRefused: the stream broke, or there was no session.
        """
        listens = {f"{name}ListChanged": True for name in tells(capabilities)}

        async def heard(message: Message) -> None:
            if message.id is None and message.method.endswith("/list_changed"):
                changed()

        try:
            session = await self._upstream.open(self._target(wanted), self._client)
            try:
                await session.listen(heard, listens)
            finally:
                await session.close()
        except UpstreamError as error:
            raise ServerRefused(error.message, Fault.UNREACHABLE) from error

    def _target(self, wanted: ServerWanted) -> Target:
        self._check(wanted)
        credential = None
        if wanted.auth_mode is AuthMode.OAUTH:
            credential = self._credentials(wanted.tenant_id, wanted.server_id, wanted.endpoint_url)
        return target_of(wanted, credential)

    def _check(self, wanted: ServerWanted) -> None:
        if wanted.kind is ServerKind.HOSTED:
            return
        if "?" in wanted.endpoint_url or "#" in wanted.endpoint_url:
            raise ServerRefused("the endpoint's URL has a query or a fragment: give parameters instead")
        self._called(filled(wanted.endpoint_url, wanted.values), "the endpoint")

    def _called(self, url: str, what: str) -> None:
        try:
            self._outbound.check(url)
        except BadTarget as bad:
            raise ServerRefused(f"{what} is not called: {bad.reason}") from bad
        except Blocked as blocked:
            raise ServerRefused(f"{what} is not called: blocked") from blocked

    async def _documented(self, wanted: ServerWanted) -> ServerWanted:
        """An API with its document, and with where the calls go, which the document may say."""
        document = wanted.document
        if wanted.document_url is not None:
            self._called(wanted.document_url, "the document")
            document = await fetched(self._outbound, wanted.document_url)
        if document is None:
            raise BadDocument("there is no document: give document or document_url")
        url = wanted.endpoint_url or base_url(document, wanted.document_url)
        return replace(wanted, document=document, endpoint_url=url)

    async def _look(self, target: Target, wanted: ServerWanted) -> ServerFound:
        session = await self._upstream.open(target, self._client)
        try:
            items, warnings = await everything(session)
            if isinstance(session, OpenApiSession):
                warnings = [*session.warnings, *warnings]
            versions = await self._versions(target, session)
            verdict = session.verdict
            return ServerFound(
                transport=verdict.transport,
                era=verdict.era,
                version=verdict.version,
                versions=versions,
                capabilities=_plain(session.capabilities),
                info=_plain(session.info),
                items=items,
                warnings=warnings[:MOST_WARNINGS],
                document=wanted.document,
                endpoint_url=wanted.endpoint_url,
            )
        finally:
            await session.close()

    async def _versions(self, target: Target, session: Session) -> list[str]:
        """The revisions that a server speaks; one of the modern era is asked whether it knows the other."""
        found = [session.verdict.version]
        if session.verdict.era is Era.MODERN and target.document is None:
            try:
                other = await self._upstream.open(target, self._client, era=Era.LEGACY, seconds=PROBE_SECONDS)
            except UpstreamError:
                return found
            found.append(other.verdict.version)
            await other.close()
        return found


async def everything(session: Session) -> tuple[list[FoundItem], list[str]]:
    """All that a server lists, and what was left out of it.

    Raises:
        UpstreamError: it does not list all of it.
    """
    capabilities = session.capabilities
    declared = {name for name in ("tools", "resources", "prompts") if type(capabilities.get(name)) is dict}
    items: list[FoundItem] = []
    warnings: list[str] = []
    for kind, capability, method, member, named_by in _LISTS:
        if declared and capability not in declared:
            continue
        entries = await _listed(session, method, member, must=capability in declared)
        items += _items(kind, entries, named_by, warnings)
    if not declared and not items:
        raise BadAnswer("it offers neither tools nor resources nor prompts")
    told = session.instructions
    if told:
        items.append(
            FoundItem(ItemKind.INSTRUCTIONS, "instructions", {"text": _clean(told, MOST_INSTRUCTIONS)})
        )
    return items, warnings


async def _listed(session: Session, method: str, member: str, *, must: bool) -> list[Any]:
    """Every entry of a list, over all its pages."""
    entries: list[Any] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        params = {} if cursor is None else {"cursor": cursor}
        reply = await session.request(method, params, seconds=PAGE_SECONDS)
        try:
            reply.result()
        except RpcError as refused:
            if cursor is None and (refused.code == jsonrpc.METHOD_NOT_FOUND or not must):
                return []
            raise BadAnswer(f"{method} fails with the JSON-RPC error {refused.code}") from refused
        try:
            page = parse_json(reply.raw)["result"]
        except InvalidJson as error:
            raise BadAnswer(f"the result of {method} is not strict JSON: {error.message}") from error
        found = page.get(member)
        if type(found) is not list:
            raise BadAnswer(f"the result of {method} has no list of {member}")
        entries += found
        cursor = page.get("nextCursor")
        if cursor is None:
            return entries
        if type(cursor) is not str or cursor in seen:
            raise BadAnswer(f"{method} never comes to its last page")
        if len(entries) > MOST_ITEMS:
            raise BadAnswer(f"{method} lists more than {MOST_ITEMS}")
        seen.add(cursor)
    raise BadAnswer(f"{method} has more than {MOST_PAGES} pages")


def _items(kind: ItemKind, entries: list[Any], named_by: str, warnings: list[str]) -> list[FoundItem]:
    if len(entries) > MOST_ITEMS:
        raise BadAnswer(f"it lists more than {MOST_ITEMS} of {kind}")
    found: dict[str, FoundItem] = {}
    for entry in entries:
        name = entry.get(named_by) if type(entry) is dict else None
        if type(name) is not str or not 0 < len(name) <= 2048:
            warnings.append(f"a {kind} without a usable {named_by} was left out")
            continue
        wrong = _wrong(kind, entry)
        if name in found:
            wrong = "its name is there twice"
        if wrong is not None:
            warnings.append(f"{kind} {name[:200]} was left out: {wrong}")
            continue
        found[name] = FoundItem(kind, name, entry)
    return list(found.values())


def _wrong(kind: ItemKind, entry: Mapping[str, Any]) -> str | None:
    description = entry.get("description")
    if type(description) is str and len(description.encode()) > MOST_TEXT:
        return f"its description is longer than {MOST_TEXT} bytes"
    if len(dump_json(entry)) > MOST_DEFINITION:
        return f"its definition is longer than {MOST_DEFINITION} bytes"
    if kind is ItemKind.TOOL:
        schema = entry.get("inputSchema")
        if type(schema) is not dict:
            return "it has no input schema"
        return wrong_annotation(schema)
    return None


def _plain(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is stored of a server's word about itself: strict JSON, and not too much of it."""
    raw = dump_json(value)
    if len(raw) > MOST_DEFINITION:
        raise BadAnswer("it says too much about itself")
    try:
        found = parse_json(raw)
    except InvalidJson as error:
        raise BadAnswer(f"what it says about itself is not strict JSON: {error.message}") from error
    return dict(found)


def _clean(text: str, most: int) -> str:
    return text.replace("\0", "")[:most]


def client_info(version: str) -> Mapping[str, Any]:
    """How the hub introduces itself when it speaks for nobody else."""
    return {"name": "crossdock", "title": "Crossdock", "version": version}
