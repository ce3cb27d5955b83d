"""Reading a request: path ids, query, body and replay key, each refused in its documented way."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope

from core.errors import Invalid, TooLarge, Unprocessable
from hub.answers import Unreadable, UnsupportedMediaType
from hub.api.call import Disconnected, header_of
from hub.api.routing import Route
from schemas.strict_json import InvalidJson, parse_json
from schemas.v1.fields import MAX_REQUEST_ID, Query

M = TypeVar("M", bound=BaseModel)

MAX_ISSUES: Final = 50
_SHOWN_NAME: Final = 64


def path_parameters(route: Route, texts: Sequence[str]) -> tuple[Mapping[str, UUID], Mapping[str, str]]:
    """The path's ids and its free texts.

    Raises:
        Invalid: an id is not a UUID, or a text has a NUL in it.
    """
    ids: dict[str, UUID] = {}
    free: dict[str, str] = {}
    for (name, is_id), text in zip(route.params, texts, strict=True):
        if is_id:
            ids[name] = _uuid(text, name)
        elif "\0" in text or len(text) > 255:
            raise Invalid(f"{name} in the path is 1 to 255 characters, without NUL")
        else:
            free[name] = text
    return ids, free


def _uuid(text: str, name: str) -> UUID:
    if len(text) == 36:
        try:
            return UUID(text)
        except ValueError:
            pass
    raise Invalid(f"{name} in the path must be a UUID")


def query(route: Route, scope: Scope) -> Query:
    """The query, parsed. A parameter may be given once.

    Raises:
        Invalid: unknown, repeated, badly encoded or unsuitable parameters.
    """
    assert route.query is not None, "asked only of routes that have one"
    raw: bytes = scope["query_string"]
    pairs: list[tuple[str, str]] = []
    try:
        if raw:
            pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise Invalid("the query cannot be decoded") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Invalid("a query parameter is given twice")
    if any("\0" in value for value in values.values()):
        raise Invalid("a query parameter has a NUL in it")
    try:
        return route.query.model_validate_strings(values)
    except ValidationError as error:
        fields, form = issues(error)
        details = {"issues": {"fieldErrors": fields, "formErrors": form}}
        raise Invalid(f"Invalid query: {_first(fields, form)}", details=details) from None


def no_query(scope: Scope) -> None:
    """Refuse a query where none is known.

    Raises:
        Invalid: there is one.
    """
    if scope["query_string"]:
        raise Invalid("this route takes no query parameters")


async def body(model: type[M], max_bytes: int, scope: Scope, receive: Receive) -> M:
    """The body, parsed and checked. An empty one is an empty object.

    Raises:
        TooLarge: more than `max_bytes`, by its length header or by what arrives.
        UnsupportedMediaType: not JSON, compressed, or not UTF-8.
        Unreadable: not JSON as the hub accepts it.
        Unprocessable: not what the route takes.
        Disconnected: the caller hung up.
    """
    data = await _bytes(max_bytes, scope, receive)
    value: Any = {}
    if data:
        _check_type(scope)
        try:
            value = parse_json(data)
        except InvalidJson as error:
            raise Unreadable(f"the body cannot be read: {error.message}") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields, form = issues(error)
        message = f"Invalid request body: {_first(fields, form)}"
        raise Unprocessable(message, fields=fields, form=form) from None


def replay_key(parsed: object, scope: Scope) -> str | None:
    """The replay key of a mutation: `request_id` in the body or the header `Idempotency-Key`.

    Raises:
        Invalid: they differ, or the header is empty or longer than 255 characters.
    """
    said: str | None = getattr(parsed, "request_id", None)
    header = header_of(scope, b"idempotency-key")
    if header is None:
        return said
    if not 0 < len(header) <= MAX_REQUEST_ID:
        raise Invalid(f"Idempotency-Key is 1 to {MAX_REQUEST_ID} characters")
    if said is not None and said != header:
        raise Invalid("request_id and Idempotency-Key are one key, and differ")
    return header


def issues(error: ValidationError) -> tuple[dict[str, list[str]], list[str]]:
    """What is wrong, by top-level field and for the whole. Nothing that was sent is repeated but names."""
    fields: dict[str, list[str]] = {}
    form: list[str] = []
    for issue in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ISSUES]:
        message = issue["msg"].removeprefix("Value error, ")
        where = [str(step)[:_SHOWN_NAME] for step in issue["loc"]]
        if not where:
            form.append(message)
        else:
            inner = ".".join(where[1:])
            fields.setdefault(where[0], []).append(f"{inner}: {message}" if inner else message)
    return fields, form


def _first(fields: Mapping[str, list[str]], form: list[str]) -> str:
    for name, messages in fields.items():
        return f"{name}: {messages[0]}"
    return form[0]


async def _bytes(max_bytes: int, scope: Scope, receive: Receive) -> bytes:
    length = header_of(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > max_bytes:
        raise TooLarge(f"the body is longer than {max_bytes} bytes")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        whole: bytes = message.get("body", b"")
        if len(whole) > max_bytes:
            raise TooLarge(f"the body is longer than {max_bytes} bytes")
        return whole
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge(f"the body is longer than {max_bytes} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _check_type(scope: Scope) -> None:
    declared = header_of(scope, b"content-type")
    if declared != "application/json":
        media, _, parameters = (declared or "").partition(";")
        media = media.strip().lower()
        if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
            raise UnsupportedMediaType("send the body as application/json")
        charset = parameters.strip().lower().replace('"', "")
        if charset.startswith("charset=") and charset != "charset=utf-8":
            raise UnsupportedMediaType("send the body in UTF-8")
    encoding = header_of(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("send the body uncompressed")
