"""Whether the platform can serve: a read that needs nothing but the database."""

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx

_ANY = Statement(sa.select(t.meta.c.key).limit(sa.literal_column("1")))


async def ping(tx: Tx, _: None) -> None:
    """Return when the database answers.

    Raises:
        Unavailable: it is away.
    """
    await tx.one(_ANY)
