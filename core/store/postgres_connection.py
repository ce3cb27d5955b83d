"""Connections to PostgreSQL: the settings of the hub's sessions, and the failures that mean: away."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg

from core.errors import Unavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]

SESSION = {
    "application_name": "crossdock",
    "timezone": "UTC",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "jit": "off",
}

_AWAY = (
    Unavailable,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
)


def is_away(error: BaseException) -> bool:
    """Whether the server is gone, stopping, full or stuck, so that the same call may succeed later."""
    # The driver's refusal of an argument is an InterfaceError, too, and a ValueError.
    return isinstance(error, _AWAY) and not isinstance(error, ValueError)


async def connect(url: str, **settings: str) -> Connection:
    """A connection with the hub's session settings, whose commits are durable.

    Raises:
        Unavailable: the server cannot be reached.
    """
    try:
        connection = await asyncpg.connect(
            url,
            timeout=5,
            command_timeout=10,
            statement_cache_size=512,
            max_cached_statement_lifetime=0,
            server_settings={**SESSION, **settings},
        )
        try:
            if await connection.fetchval("SHOW synchronous_commit") == "off":
                await connection.execute("SET synchronous_commit = on")
        except BaseException:
            connection.terminate()
            raise
    except Exception as error:
        if is_away(error):
            raise Unavailable("The database cannot be reached.") from error
        raise
    return connection


async def close(connection: Connection) -> None:
    """Close politely, or else at once."""
    try:
        await connection.close(timeout=2)
    except Exception:  # closing is all that is wanted of it
        connection.terminate()
