"""The route table of `/api/v1`, as data: what each route takes, gives, needs and may refuse.

From the table come the dispatcher, the scope checks, `openapi.json` and the tests that call every route. A
route that declares neither a scope nor `public=True` stops the start. Nothing here reads a request.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Final, TypedDict, TypeVar, Unpack, overload

from hub.api.call import Answer, Call
from schemas.v1.envelope import Meta
from schemas.v1.fields import Body, Query
from schemas.vocabulary import Scope

B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)

MIB: Final = 1024 * 1024
PREFIX: Final = "/api/v1"


class BadRoute(Exception):
    """A route is declared in a way that cannot be served."""


class Options(TypedDict, total=False):
    """What `route` may be told beside method, path and input."""

    scope: Scope
    """The least scope that may call it."""
    public: bool
    """No credential is needed."""
    returns: Any
    """Type of `data`; absent for a route that answers without a body."""
    meta: Any
    """Type of `meta`."""
    status: int
    also: Mapping[int, str]
    """Further successes, with their meaning."""
    errors: Sequence[int]
    """Refusals beyond those that its inputs imply."""
    summary: str
    operation_id: str
    example: Any
    """A body that works."""
    max_bytes: int
    rationed: bool
    """Few by nature: minting and proving credentials, registering. Paths without parameters only."""
    stream: bool
    """Answers `text/event-stream`."""
    raw: bool
    """Its body is a file: any bytes of any type, read piece by piece. Its path ends in `/content`."""
    gives: str
    """Answers bytes of this media type instead of an envelope."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One declared route."""

    method: str
    path: str
    handler: Callable[..., Awaitable[Answer]]
    scope: Scope | None
    body: type[Body] | None
    query: type[Query] | None
    returns: Any = None
    meta: Any = Meta
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    errors: Sequence[int] = ()
    summary: str
    description: str
    operation_id: str
    tag: str
    example: Any = None
    max_bytes: int = MIB
    rationed: bool = False
    stream: bool = False
    raw: bool = False
    gives: str | None = None

    @cached_property
    def params(self) -> Sequence[tuple[str, bool]]:
        """The path's parameters in order, each with whether it is a UUID (else free text)."""
        return [_param(segment) for segment in self.path.split("/") if segment.startswith("{")]

    @property
    def url_path(self) -> str:
        """The whole path as OpenAPI writes it."""
        return PREFIX + self.path.replace(":text}", "}")


def _param(segment: str) -> tuple[str, bool]:
    name = segment.strip("{}")
    return name.removesuffix(":text"), not name.endswith(":text")


@overload
def route(
    method: str, path: str, *, body: type[B], **options: Unpack[Options]
) -> Callable[[Callable[[Call, B], Awaitable[Answer]]], Callable[[Call, B], Awaitable[Answer]]]: ...


@overload
def route(
    method: str, path: str, *, query: type[Q], **options: Unpack[Options]
) -> Callable[[Callable[[Call, Q], Awaitable[Answer]]], Callable[[Call, Q], Awaitable[Answer]]]: ...


@overload
def route(
    method: str, path: str, **options: Unpack[Options]
) -> Callable[[Callable[[Call], Awaitable[Answer]]], Callable[[Call], Awaitable[Answer]]]: ...


def route(
    method: str,
    path: str,
    *,
    body: type[Body] | None = None,
    query: type[Query] | None = None,
    **options: Unpack[Options],
) -> Callable[[Callable[..., Awaitable[Answer]]], Callable[..., Awaitable[Answer]]]:
    """Declare a route. Path parameters are UUIDs; `{name:text}` is free text.

    The handler gets the call, and its parsed body or query as the second argument. Its docstring is the
    route's description.
    """

    def declare(handler: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
        declared = list(getattr(handler, "__routes__", ()))
        declared.append((method, path, body, query, options))
        handler.__routes__ = declared  # type: ignore[attr-defined]
        return handler

    return declare


def routes_of(module: ModuleType) -> Sequence[Route]:
    """The routes that a module declares, in the order in which they are written.

    Raises:
        BadRoute: one has neither a scope nor `public=True`, or lacks its summary, or cannot have a body.
    """
    found = []
    for handler in list(vars(module).values()):
        if getattr(handler, "__module__", None) != module.__name__:
            continue
        for declaration in reversed(getattr(handler, "__routes__", ())):
            found.append(_route(module, handler, *declaration))
    return found


def _route(
    module: ModuleType,
    handler: Callable[..., Awaitable[Answer]],
    method: str,
    path: str,
    body: type[Body] | None,
    query: type[Query] | None,
    options: Options,
) -> Route:
    here = f"{method} {path} ({module.__name__}.{handler.__name__})"
    public = options.get("public", False)
    scope = options.get("scope")
    if public == (scope is not None):
        raise BadRoute(f"{here} needs a scope, or public=True, and not both")
    if body is not None and method not in ("POST", "PUT", "PATCH"):
        raise BadRoute(f"{here} cannot have a body")
    if options.get("raw") and (body is not None or not path.endswith("/content")):
        raise BadRoute(f"{here} takes a file: it has no other body, and its path ends in /content")
    if "summary" not in options:
        raise BadRoute(f"{here} has no summary")
    given = {name: value for name, value in options.items() if name not in ("scope", "public", "summary")}
    given.setdefault("operation_id", handler.__name__)
    tag = module.__name__.rsplit(".", 1)[-1].replace("_", " ").capitalize()
    return Route(
        method=method,
        path=path,
        handler=handler,
        scope=scope,
        body=body,
        query=query,
        summary=options["summary"],
        description=" ".join((handler.__doc__ or "").split("Raises:")[0].split()),
        tag=tag,
        **given,  # type: ignore[arg-type]  # Options names fields of Route
    )


class _Node:
    __slots__ = ("literal", "methods", "param")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.param: tuple[str, bool, _Node] | None = None
        self.methods: dict[str, Route] = {}


class RouteTree:
    """Finds the route of a path by its segments: as many dictionary look-ups as there are segments."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        names: set[str] = set()
        for item in routes:
            if item.operation_id in names:
                raise BadRoute(f"operation_id {item.operation_id} is used twice")
            names.add(item.operation_id)
            self._add(item)

    def _add(self, item: Route) -> None:
        node = self._root
        for segment in item.path.strip("/").split("/"):
            if not segment.startswith("{"):
                node = node.literal.setdefault(segment, _Node())
                continue
            name, is_id = _param(segment)
            if node.param is None:
                node.param = (name, is_id, _Node())
            elif node.param[:2] != (name, is_id):
                raise BadRoute(f"{item.path}: the parameter is called {node.param[0]} on another route")
            node = node.param[2]
        if item.method in node.methods:
            raise BadRoute(f"{item.method} {item.path} is declared twice")
        node.methods[item.method] = item

    def find(self, path: str) -> tuple[Mapping[str, Route], Sequence[str]] | None:
        """The routes of a path by method, and the texts of its parameters in order; None if there is none."""
        node = self._root
        texts: list[str] = []
        for segment in path.split("/"):
            child = node.literal.get(segment)
            if child is None:
                if node.param is None or not segment:
                    return None
                child = node.param[2]
                texts.append(segment)
            node = child
        return (node.methods, texts) if node.methods else None

    def __iter__(self) -> Iterator[Route]:
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            yield from node.methods.values()
            waiting += [*node.literal.values(), *([node.param[2]] if node.param else ())]
