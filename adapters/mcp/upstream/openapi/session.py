"""A session with an HTTP API, in the words of MCP: it lists its operations as tools, and calls them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

from adapters import jsonrpc
from adapters.mcp import wire
from adapters.mcp.upstream.failures import TimedOut
from adapters.mcp.upstream.http import Leg, body_of, kind_of
from adapters.mcp.upstream.interface import NOTHING, OnMessage, Reply, Verdict
from adapters.mcp.upstream.openapi.calling import BadArguments, failed, result_of, written
from adapters.mcp.upstream.openapi.document import checked
from adapters.mcp.upstream.openapi.operations import Operation, operations_of
from core.mcp.words import Era, VerifiedTransport
from schemas.strict_json import dump_json
from schemas.validation import InvalidSchema, validate

_LISTED_MS: Final = 0


class OpenApiSession:
    """Operations of a document, called over HTTP. It holds nothing open."""

    def __init__(self, leg: Leg) -> None:
        """Raises BadDocument: the target's document is none."""
        self._leg = leg
        self._document = checked(leg.target.document)
        target = leg.target
        filled = {
            *(("header", name.lower()) for name in target.headers),
            *(("query", name.lower()) for name in target.query),
            *(("cookie", name.lower()) for name in target.cookies),
        }
        self._operations, self.warnings = operations_of(self._document, filled)

    @property
    def verdict(self) -> Verdict:
        """It answers as a server of the modern era would."""
        return Verdict(VerifiedTransport.OPENAPI, Era.MODERN, wire.MODERN[0])

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """Tools, and nothing else."""
        return {"tools": {}}

    @property
    def info(self) -> Mapping[str, Any]:
        """What the document says about itself."""
        said = self._document.get("info")
        about = said if type(said) is dict else {}
        title, version = about.get("title"), about.get("version")
        return {"name": str(title or "openapi")[:200], "version": str(version or "0")[:100]}

    @property
    def instructions(self) -> str | None:
        """The document's description is for people; nothing is told to models."""
        return None

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: jsonrpc.Id = None,
        on_message: OnMessage | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] = NOTHING,
    ) -> Reply:
        """As `Session.request`. What an API refuses is a result with `isError`."""
        number = 1 if id is None else id
        if method == "tools/call":
            limit = self._leg.target.seconds if seconds is None else seconds
            try:
                async with asyncio.timeout(limit):
                    return await self._called(params or {}, number)
            except TimeoutError:
                raise TimedOut(f"no answer within {limit:g} s") from None
        if method == "tools/list":
            tools = [dict(one.definition) for one in self._operations.values()]
            kept = {"ttlMs": _LISTED_MS, "cacheScope": "private"}
            return _reply(number, {"resultType": "complete", "tools": tools, **kept})
        if method == "ping":
            return _reply(number, {"resultType": "complete"})
        return _refused(number, jsonrpc.METHOD_NOT_FOUND, "Method not found")

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Nobody is there to hear it."""

    async def listen(self, on_message: OnMessage, wanted: Mapping[str, Any] = NOTHING) -> None:
        """An API tells nothing by itself."""

    async def close(self) -> None:
        """There is nothing to end."""

    async def _called(self, params: Mapping[str, Any], number: jsonrpc.Id) -> Reply:
        operation = self._operations.get(str(params.get("name")))
        if operation is None:
            return _refused(number, jsonrpc.INVALID_PARAMS, f"Unknown tool: {str(params.get('name'))[:100]}")
        arguments = params.get("arguments")
        if arguments is not None and type(arguments) is not dict:
            return _refused(number, jsonrpc.INVALID_PARAMS, "arguments must be an object")
        return _reply(number, await self._result(operation, arguments or {}))

    async def _result(self, operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            issues = validate(operation.definition["inputSchema"], dict(arguments))
        except InvalidSchema:
            issues = []  # too large or too odd to check: the API itself has the last word
        if issues:
            return failed("\n".join(f"{issue.path or '/'}: {issue.message}" for issue in issues))
        try:
            call = written(operation, arguments)
        except BadArguments as bad:
            return failed(str(bad))
        base = self._leg.target.url.rstrip("/")
        url = self._leg.addressed(URL(base + call.path, encoded=False).extend_query(list(call.query)))
        headers = {"Accept": "application/json, */*;q=0.5", **call.headers}
        if call.cookies:
            said = {**self._leg.target.cookies, **call.cookies}
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in said.items())
        response = await self._leg.send(operation.method, headers, call.body, url=url, refusing=(401,))
        try:
            body = await body_of(response)
        except BaseException:
            response.close()
            raise
        finally:
            response.release()
        return result_of(response.status, kind_of(response), body, f"tool://{operation.tool}")


def _reply(number: jsonrpc.Id, result: Mapping[str, Any]) -> Reply:
    message = {"jsonrpc": "2.0", "id": number, "result": result}
    return Reply(dump_json(message), message)


def _refused(number: jsonrpc.Id, code: int, text: str) -> Reply:
    return Reply(jsonrpc.error(number, code, text))
