"""Values that go into every call of a server: where they go, and how the secret ones are kept."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Invalid
from core.mcp.ports import Value
from core.mcp.words import Placement, ValueKind
from core.push import Seals
from core.sealing import Place, Secret
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_parameter
from core.store.tx import Tx
from core.store.types import Id

KEPT: Final = "redacted://remote-mcp-secret"
"""Given as a value beside an id, it means: what is stored."""
MOST: Final = 64
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = frozenset(
    {
        "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection",
        "accept", "accept-encoding", "cookie", "expect", "te", "trailer", "upgrade", "last-event-id",
        "proxy-authorization",
    }
)  # fmt: skip
"""Headers that the hub itself writes."""


@dataclass(frozen=True)
class GivenParameter:
    """A parameter as it is given. Without a value, or with `KEPT`, the stored one of that id stays."""

    placement: Placement
    key: str
    value_kind: ValueKind = ValueKind.STATIC
    value: str | None = field(default=None, repr=False)
    parameter_id: UUID | None = None

    @property
    def keeps(self) -> bool:
        """Whether it means what is stored."""
        return self.value is None or self.value == KEPT


@dataclass(frozen=True)
class Parameter:
    """A parameter as its readers see it. `value` of a secret is None."""

    id: UUID
    placement: Placement
    key: str
    value_kind: ValueKind
    value: str | None
    has_stored_secret: bool


_p = mcp_parameter.c
_SERVER = sa.bindparam("p_server_id", type_=Id())
_OF_SERVERS = Statement(
    sa.select(*_p)
    .where(
        _p.server_id.in_(sa.bindparam("p_server_ids", type_=Id(), expanding=True)),
        access.within_tenant(mcp_parameter),
    )
    .order_by(_p.server_id, _p.position)
)
_INSERT = Statement(sa.insert(mcp_parameter))
_DELETE = Statement(
    sa.delete(mcp_parameter).where(_p.server_id == _SERVER, access.within_tenant(mcp_parameter))
)


async def parameters_of(tx: Tx, server_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Parameter]]:
    """The parameters of some servers, without secrets."""
    found: dict[UUID, list[Parameter]] = {server_id: [] for server_id in server_ids}
    for row in await tx.all(_OF_SERVERS, p_server_ids=list(server_ids)):
        found[row.server_id].append(
            Parameter(
                row.id,
                Placement(row.placement),
                row.key,
                ValueKind(row.value_kind),
                row.value,
                row.secret is not None,
            )
        )
    return found


async def open_values(tx: Tx, server_id: UUID) -> Mapping[UUID, Value]:
    """The values of a server's parameters by their ids, secrets opened.

    Raises:
        Unsealable: a secret cannot be opened any more.
    """
    rows = await tx.all(_OF_SERVERS, p_server_ids=[server_id])
    return {row.id: Value(Placement(row.placement), row.key, _opened(tx, row)) for row in rows}


async def write_parameters(tx: Tx, server_id: UUID, given: Sequence[GivenParameter]) -> None:
    """Put these in place of what was there. A secret stays sealed under the id that it has.

    Raises:
        Invalid: one keeps a value that is not stored.
    """
    known = await open_values(tx, server_id)
    values = merged(known, given)
    await tx.run(_DELETE, p_server_id=server_id)
    for position, (parameter, value) in enumerate(zip(given, values, strict=True)):
        kept = parameter.parameter_id
        parameter_id = kept if kept is not None and kept in known else tx.new_id()
        secret = parameter.value_kind is ValueKind.SECRET
        place = _place(tx.caller.tenant_id, parameter_id)
        tx.add(
            _INSERT,
            id=parameter_id,
            tenant_id=tx.caller.tenant_id,
            server_id=server_id,
            position=position,
            placement=parameter.placement.value,
            key=parameter.key,
            value_kind=parameter.value_kind.value,
            value=None if secret else value.text.reveal(),
            secret=tx.memory(Seals).sealer.seal(value.text, place) if secret else None,
            updated_at=tx.now,
        )
    await tx.flush()


async def drop_parameters(tx: Tx, server_id: UUID) -> None:
    """Forget all of a server's."""
    await tx.run(_DELETE, p_server_id=server_id)


def merged(known: Mapping[UUID, Value], given: Sequence[GivenParameter]) -> list[Value]:
    """The values of parameters, some of which keep what is stored. A placeholder is never a value.

    Raises:
        Invalid: one keeps a value that is not stored.
    """
    found = []
    for parameter in given:
        if not parameter.keeps:
            assert parameter.value is not None
            found.append(Value(parameter.placement, parameter.key, Secret(parameter.value)))
            continue
        stored = None if parameter.parameter_id is None else known.get(parameter.parameter_id)
        if stored is None:
            raise Invalid(
                f"the parameter {parameter.key} has no value",
                details={"reason_code": "parameter_value_missing", "key": parameter.key},
                hint="a stored value is kept only under the id of its parameter",
            )
        found.append(Value(parameter.placement, parameter.key, stored.text))
    return found


def check_parameters(given: Sequence[GivenParameter], endpoint_url: str) -> None:
    """Pass only parameters that can be put where they are to go.

    Raises:
        Invalid: one cannot.
    """
    if len(given) > MOST:
        raise Invalid(f"a server has at most {MOST} parameters")
    seen: set[tuple[Placement, str]] = set()
    for parameter in given:
        place = (parameter.placement, parameter.key.lower())
        if place in seen:
            raise _wrong(parameter, "is there twice")
        seen.add(place)
        _check_place(parameter)
    in_url = set(re.findall(r"\{([^{}]*)\}", endpoint_url))
    of_path = {parameter.key for parameter in given if parameter.placement is Placement.PATH}
    if in_url != of_path:
        missing = ", ".join(sorted(in_url ^ of_path))
        raise Invalid(
            f"the places in braces of endpoint_url and the path parameters differ: {missing}",
            details={"reason_code": "path_parameters_differ"},
        )


def _check_place(parameter: GivenParameter) -> None:
    placement, key, value = parameter.placement, parameter.key, parameter.value
    if placement in _HEADERS:
        lower = key.lower()
        if not _TOKEN.fullmatch(key) or lower in _OURS or lower.startswith("mcp-"):
            raise _wrong(parameter, "is no header that a parameter may set")
        if value is not None and not all(" " <= char <= "~" or char == "\t" for char in value):
            raise _wrong(parameter, "has a value that no header can carry")
    elif placement is Placement.COOKIE:
        if not _TOKEN.fullmatch(key):
            raise _wrong(parameter, "is no cookie name")
        if value is not None and not all("!" <= char <= "~" and char not in '",;\\' for char in value):
            raise _wrong(parameter, "has a value that no cookie can carry")
    elif placement is Placement.PATH:
        if not _NAME.fullmatch(key) or value in ("", ".", ".."):
            raise _wrong(parameter, "cannot stand in a path")
    elif placement is Placement.ENVIRONMENT:
        if not _NAME.fullmatch(key) or (value is not None and "\0" in value):
            raise _wrong(parameter, "is no environment variable")
    elif placement is Placement.INITIALIZE_PARAM and key in ("protocolVersion", "capabilities", "clientInfo"):
        raise _wrong(parameter, "is what the hub itself says")


_HEADERS: Final = (
    Placement.HEADER,
    Placement.DEVICE_REQUEST_HEADER,
    Placement.TOKEN_REQUEST_HEADER,
)


def _wrong(parameter: GivenParameter, what: str) -> Invalid:
    details: dict[str, Any] = {"reason_code": "bad_parameter", "key": parameter.key}
    return Invalid(f"the {parameter.placement} parameter {parameter.key!r} {what}", details=details)


def _place(tenant_id: UUID, parameter_id: UUID) -> Place:
    return Place(tenant_id, mcp_parameter.name, parameter_id, "secret")


def _opened(tx: Tx, row: Row) -> Secret:
    if row.secret is None:
        return Secret(row.value or "")
    return tx.memory(Seals).sealer.open(row.secret, _place(row.tenant_id, row.id))
