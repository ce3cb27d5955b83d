"""Replay keys: the second of two equal calls gets the result of the first.

The row in `idem` is written in the command's own transaction, so that a call and its memory commit together
and a failure leaves neither. Of calls that race, one has an effect: SQLite has one writer; on PostgreSQL the
primary key refuses the second, whose transaction is run again and then finds the first. Nothing here expires
rows.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from core.caller import Caller
from core.errors import Conflict
from core.store.statement import Row, Statement
from core.store.tables import idem
from core.store.tx import Tx
from core.store.types import Encoded

T = TypeVar("T")

FIND = Statement(
    sa.select(idem.c.body_hash, idem.c.answer).where(
        *(column == sa.bindparam(column.name) for column in idem.primary_key)
    )
)
REMEMBER = Statement(sa.insert(idem))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """The identity of one repeatable call, and how to keep its result."""

    key: Mapping[str, Any]
    """The primary key in `idem`."""
    digest: bytes
    """SHA-256 of the canonical argument."""
    codec: "Codec"

    @classmethod
    def of(cls, caller: Caller, command: Callable[..., Any], argument: Any) -> "Replay | None":
        """The replay identity of a call, or None when its caller brought no key."""
        if caller.replay_key is None:
            return None
        key = {
            "tenant_id": caller.tenant_id,
            "principal_id": caller.principal_id,
            "command": f"{command.__module__}.{command.__qualname__}",
            "target": _at(caller, target_of(argument)),
            "key": caller.replay_key,
        }
        return cls(key, digest(argument), codec_of(command))

    async def find(self, tx: Tx) -> Row | None:
        """What an earlier call left."""
        return await tx.one(FIND, **self.key)

    def recall(self, row: Row) -> Any:
        """The earlier call's result.

        Raises:
            Conflict: that call had another argument.
        """
        if bytes(row.body_hash) != self.digest:
            raise Conflict(
                "This replay key was used with another request.", details={"reason_code": "request_id_reused"}
            )
        return self.codec.load(row.answer)

    def remember(self, tx: Tx, result: Any) -> None:
        """Keep the result in the transaction that made it.

        One that calls itself `void` is not kept: nothing was done, so the same key may try again.
        """
        if getattr(result, "void", False):
            return
        tx.add(REMEMBER, **self.key, body_hash=self.digest, answer=self.codec.dump(result), at=tx.now)


def _at(caller: Caller, target: str) -> str:
    """The target as a key space of its own for each exposed agent: callers take them for different hubs."""
    return target if caller.exposure_id is None else f"{caller.exposure_id}/{target}"


class Beside(Generic[T]):
    """What a command needs though its caller did not say it: no part of what makes two calls equal."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Beside(…)"


def digest(argument: Any) -> bytes:
    """SHA-256 of the argument as JSON with sorted keys."""
    canonical = json.dumps(
        to_jsonable_python(argument, fallback=_unsaid), sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode()).digest()


def _unsaid(value: Any) -> None:
    if not isinstance(value, Beside):
        raise TypeError(f"a command's argument cannot hold a {type(value).__qualname__}")


def target_of(argument: Any) -> str:
    """The id of what a command is about: its `task_id`, else its first field in `_id`, else nothing."""
    name = _target_field(cast(Any, type(argument)))
    value = getattr(argument, name) if name else None
    return "" if value is None else str(value)


@lru_cache(maxsize=1024)
def _target_field(kind: type) -> str | None:
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if "task_id" in names:
        return "task_id"
    return next((name for name in names if name.endswith("_id")), None)


class Codec:
    """A command's results as JSON and back. Fields marked `{"secret": True}` are kept as null."""

    def __init__(self, result_type: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(result_type)
        self._secret = _has_secret(result_type, set())

    def dump(self, result: Any) -> Encoded:
        """The result as it is kept."""
        return Encoded(
            self._adapter.dump_json(_without_secrets(result) if self._secret else result, warnings=False)
        )

    def load(self, answer: Any) -> Any:
        """The result that was kept."""
        return self._adapter.validate_python(answer)


@lru_cache(maxsize=1024)
def codec_of(command: Callable[..., Coroutine[Any, Any, Any]]) -> Codec:
    """The codec of a command's return annotation.

    Raises:
        TypeError: the annotation is missing, or has a secret field that cannot be None.
    """
    hints = typing.get_type_hints(command)
    if "return" not in hints:
        raise TypeError(f"{command.__qualname__} does not say what it returns")
    return Codec(hints["return"])


def _is_secret(field: "dataclasses.Field[Any]") -> bool:
    return bool(field.metadata.get("secret"))


def _has_secret(kind: Any, seen: set[Any]) -> bool:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if kind in seen:
            return False
        seen.add(kind)
        declared = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if _is_secret(field) and type(None) not in typing.get_args(declared[field.name]):
                raise TypeError(f"{kind.__qualname__}.{field.name} is secret and so must allow None")
        return any(_is_secret(f) or _has_secret(declared[f.name], seen) for f in dataclasses.fields(kind))
    return any(
        _has_secret(part, seen)
        for part in typing.get_args(kind)
        if isinstance(part, type | types.GenericAlias | types.UnionType) or typing.get_origin(part)
    )


def _without_secrets(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value,
            **{
                field.name: None if _is_secret(field) else _without_secrets(getattr(value, field.name))
                for field in dataclasses.fields(value)
                if field.init
            },
        )
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_secrets(item) for name, item in value.items()}
    return value
