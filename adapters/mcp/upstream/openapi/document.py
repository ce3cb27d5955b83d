"""An OpenAPI document: where it is, and what is in it. References are followed inside it and nowhere else.

See https://spec.openapis.org/oas/v3.1.1 and, for 3.0, https://spec.openapis.org/oas/v3.0.4.
"""

from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

from adapters.mcp.upstream.failures import BadAnswer, NeedsAuth, failure_of
from adapters.mcp.upstream.http import refusal
from adapters.outbound import MCP, Outbound, OutboundError
from schemas.strict_json import InvalidJson, parse_json

FETCH_SECONDS: Final = 20.0
_HOPS: Final = 32


class BadDocument(BadAnswer):
    """It is no OpenAPI document that the hub can use."""


async def fetched(outbound: Outbound, url: str) -> Mapping[str, Any]:
    """The document at an address; without a credential.

    Raises:
        UpstreamError: it is not there, or is none.
    """
    try:
        answer = await outbound.fetch(
            "GET", url, purpose=MCP, headers={"Accept": "application/json"}, seconds=FETCH_SECONDS, hops=2
        )
    except OutboundError as error:
        raise failure_of(error) from error
    if answer.status in (401, 403):
        raise NeedsAuth(f"the document is not public (HTTP status {answer.status}): give it as document")
    if answer.status != 200:
        raise refusal(answer.status)
    try:
        found = parse_json(answer.body)
    except InvalidJson as error:
        raise BadDocument(f"the document is not JSON: {error.message}") from error
    return checked(found)


def checked(document: Any) -> Mapping[str, Any]:
    """The document, if it is one of a version that the hub reads.

    Raises:
        BadDocument: it is not.
    """
    version = document.get("openapi") if type(document) is dict else None
    if type(version) is not str or not version.startswith(("3.0.", "3.1.")):
        raise BadDocument("it is no OpenAPI document of version 3.0 or 3.1")
    if type(document.get("paths")) is not dict or not document["paths"]:
        raise BadDocument("the document has no paths")
    return dict(document)


def base_url(document: Mapping[str, Any], document_url: str | None) -> str:
    """Where the calls go: the first server that the document names, with the defaults of its variables.

    Raises:
        BadDocument: it names none that can be called.
    """
    servers = document.get("servers")
    first = servers[0] if type(servers) is list and servers and type(servers[0]) is dict else {}
    url = first.get("url", "/")
    variables = first.get("variables")
    for name, variable in variables.items() if type(variables) is dict else ():
        default = variable.get("default") if type(variable) is dict else None
        if type(url) is str and type(default) is str:
            url = url.replace("{" + name + "}", default)
    try:
        found = URL(url)
        if not found.absolute and document_url is not None:
            found = URL(document_url).join(found)
    except (TypeError, ValueError):
        raise BadDocument("the document names no server that can be called") from None
    if not found.absolute:
        raise BadDocument("the document names no server: give endpoint_url")
    return str(found.with_query(None).with_fragment(None)).rstrip("/")


def resolved(document: Mapping[str, Any], value: Any) -> Any:
    """A value, with the references that it is followed.

    Raises:
        BadDocument: a reference leads outside of the document, to nothing, or in a circle.
    """
    for _ in range(_HOPS):
        if type(value) is not dict or type(value.get("$ref")) is not str:
            return value
        value = at(document, value["$ref"])
    raise BadDocument("its references go in a circle")


def at(document: Mapping[str, Any], reference: str) -> Any:
    """What a reference names.

    Raises:
        BadDocument: it leads outside of the document, or to nothing.
    """
    if not reference.startswith("#/"):
        raise BadDocument("it refers outside of itself")
    found: Any = document
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if type(found) is not dict or key not in found:
            raise BadDocument("it refers to what it does not have")
        found = found[key]
    return found
