"""Column types that mean the same on both databases.

| Type | Python | PostgreSQL | SQLite |
| --- | --- | --- | --- |
| `Id` | `UUID` | `uuid` | 32 hexadecimal digits, which sort as UUIDs do |
| `Instant` | aware UTC `datetime` | `timestamptz` | microseconds since 1970 |
| `Json` | what JSON can say | `jsonb` | text |
| `Real` | `float` | `double precision` | real |

`Json` columns write SQL NULL for None. `jsonb` does not keep the order of keys.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, SafeUUID

import sqlalchemy as sa
from pydantic_core import from_json, to_json
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_new_uuid = UUID.__new__
_set_int = UUID.__dict__["int"].__set__
_set_safe = UUID.__dict__["is_safe"].__set__
_UNKNOWN = SafeUUID.unknown


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def _unhex(value: str | None) -> UUID | None:
    # UUID(value) spends ten times as long on forms that the column cannot hold.
    if value is None:
        return None
    made = _new_uuid(UUID)
    _set_int(made, int(value, 16))
    _set_safe(made, _UNKNOWN)
    return made


def microseconds(value: datetime | None) -> int | None:
    """An aware datetime as whole microseconds since 1970."""
    if value is None:
        return None
    since = value - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant(value: int | None) -> datetime | None:
    """The inverse of `microseconds`, in UTC."""
    return None if value is None else EPOCH + timedelta(microseconds=value)


class Encoded(bytes):
    """JSON that is encoded already; a `Json` column takes it as it is."""

    __slots__ = ()


def _encode(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is Encoded:
        return value.decode()
    return to_json(value, inf_nan_mode="null").decode()


def _decode(value: str | bytes | None) -> Any:
    return None if value is None else from_json(value)


class Id(TypeDecorator[UUID]):
    """A UUID."""

    impl = sa.Uuid
    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        """None on PostgreSQL, whose driver speaks UUID."""
        return _hex if dialect.name == "sqlite" else None

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """None on PostgreSQL, whose driver speaks UUID."""
        return _unhex if dialect.name == "sqlite" else None


class Instant(TypeDecorator[datetime]):
    """A moment. Naive datetimes are refused by both databases' processors."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """An integer on SQLite, so that moments compare and subtract exactly."""
        return dialect.type_descriptor(
            sa.BigInteger() if dialect.name == "sqlite" else sa.DateTime(timezone=True)
        )

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        """None on PostgreSQL, whose driver speaks aware datetimes."""
        return microseconds if dialect.name == "sqlite" else None

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """None on PostgreSQL, whose driver speaks aware datetimes."""
        return instant if dialect.name == "sqlite" else None


class Real(TypeDecorator[float]):
    """A floating-point number."""

    impl = sa.Double
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """None: both drivers speak float."""
        return None


class Json(TypeDecorator[Any]):
    """Any JSON value; None is SQL NULL."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """`jsonb` on PostgreSQL, text on SQLite."""
        return dialect.type_descriptor(
            JSONB(none_as_null=True) if dialect.name == "postgresql" else sa.Text()
        )

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        """Encoded by pydantic-core, which knows dataclasses, UUIDs and datetimes."""
        return _encode

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """Decoded by pydantic-core."""
        return _decode
