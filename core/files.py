"""Files that are too large for the database: whose they are, how much they take, and when they go.

A file's row is there before the file is, marked for removal in a day; whoever uses the file takes the mark
away in the transaction that names it. So a crash at any point leaves neither a row in use without its file,
nor a file that nobody will ever remove.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.caller import SYSTEM, Caller
from core.errors import TooLarge, Unavailable
from core.fencing import P_NOW
from core.platform import Platform
from core.ports import Files, FilesAway, Kept, TooLong
from core.store.statement import Statement
from core.store.tables.operations import stored_file
from core.store.tx import Tx
from core.store.types import Id, Instant

MOST_BYTES: Final = 5 * 1024**3
"""Of one file."""
TENANT_BYTES: Final = 100 * 1024**3
"""Of all files of a tenant."""
UNUSED: Final = timedelta(days=1)
"""How long an upload may take before what came of it is removed."""
BATCH: Final = 100

_f = stored_file.c
_P_FILE = sa.bindparam("p_file_id", type_=Id())
_P_TENANT = sa.bindparam("p_tenant_id", type_=Id())
_INSERT = Statement(sa.insert(stored_file))
_TAKEN = Statement(sa.select(sa.func.sum(_f.size_bytes).label("bytes")).where(_f.tenant_id == _P_TENANT))
_ADOPT = Statement(
    sa.update(stored_file)
    .where(_f.id == _P_FILE, _f.tenant_id == _P_TENANT, _f.remove_at.is_not(None))
    .values(
        size_bytes=sa.bindparam("p_size", type_=sa.BigInteger()),
        sha256=sa.bindparam("p_sha256", type_=sa.LargeBinary()),
        remove_at=None,
    )
)
_DISMISS = Statement(
    sa.update(stored_file)
    .where(_f.id == _P_FILE, _f.remove_at.is_(None))
    .values(remove_at=sa.bindparam("p_remove_at", type_=Instant()))
)
_DUE = Statement(
    sa.select(_f.id, _f.tenant_id).where(_f.remove_at <= P_NOW).order_by(_f.remove_at).limit(BATCH)
)
_FORGET = Statement(sa.delete(stored_file).where(_f.id == _P_FILE, _f.remove_at <= P_NOW))


@dataclass(frozen=True)
class Begun:
    """A file that may now be received: its id, and how many bytes the tenant has left for it."""

    file_id: UUID
    most: int


async def begin(tx: Tx, _: None) -> Begun:
    """Make a place for a file of the caller's tenant. Unless it is adopted, it goes again in a day.

    Raises:
        TooLarge: the tenant has no room left.
    """
    row = await tx.one(_TAKEN, p_tenant_id=tx.caller.tenant_id)
    left = TENANT_BYTES - int((row and row.bytes) or 0)
    if left <= 0:
        raise TooLarge("the files of this tenant take all the room that it has; delete some")
    file_id = tx.new_id()
    tx.add(
        _INSERT,
        id=file_id,
        tenant_id=tx.caller.tenant_id,
        size_bytes=0,
        sha256=None,
        remove_at=tx.now + UNUSED,
        created_at=tx.now,
    )
    return Begun(file_id, min(left, MOST_BYTES))


async def adopt(tx: Tx, file_id: UUID, kept: Kept) -> None:
    """Use a file that was received: it stays until it is dismissed.

    Raises:
        Unavailable: it was removed since, because its upload took more than a day.
    """
    sizes = {"p_size": kept.size_bytes, "p_sha256": kept.sha256}
    if not await tx.run(_ADOPT, p_file_id=file_id, p_tenant_id=tx.caller.tenant_id, **sizes):
        raise Unavailable("the upload took too long, and what came was removed; send it again")


def dismiss(tx: Tx, file_id: UUID, *, after: timedelta = timedelta(0)) -> None:
    """Nothing refers to a file any more: it is removed soon. Doing it again changes nothing."""
    tx.add(_DISMISS, p_file_id=file_id, p_remove_at=tx.now + after)


async def receive(
    platform: Platform, files: Files, caller: Caller, content: AsyncIterator[bytes]
) -> tuple[UUID, Kept]:
    """Receive a file for the caller. It is removed in a day unless a command adopts it.

    Raises:
        TooLarge: it is larger than a file may be, or than the tenant's room.
        Unavailable: the storage takes nothing now.
    """
    # Each file gets an id of its own, also in a call that is repeated: that of the first time may be gone.
    begun = await platform.write(replace(caller, replay_key=None), begin, None)
    try:
        return begun.file_id, await files.keep(begun.file_id, content, begun.most)
    except TooLong as error:
        raise TooLarge(f"a file has at most {begun.most} bytes here") from error
    except FilesAway as error:
        raise Unavailable("The storage of files does not answer now.") from error


@dataclass(frozen=True)
class DueFile:
    """A file to be removed."""

    file_id: UUID
    tenant_id: UUID


async def due(tx: Tx, _: None) -> Sequence[DueFile]:
    """Files of all tenants whose time is over, some at a time."""
    return [DueFile(row.id, row.tenant_id) for row in await tx.all(_DUE, p_now=tx.now)]


async def forget(tx: Tx, item: DueFile) -> None:
    """Take away the row of a file that was removed."""
    await tx.run(_FORGET, p_file_id=item.file_id, p_now=tx.now)


async def remove_due(platform: Platform, storage: Files) -> int:
    """Remove the files whose time is over, some at a time; tells how many. Any replica may, at any time.

    Raises:
        Unavailable: the storage or the database does not answer; what is left goes with the next call.
    """
    found = await platform.read(SYSTEM(UUID(int=0)), due, None)
    for item in found:
        try:
            await storage.drop(item.file_id)
        except FilesAway as error:
            raise Unavailable(f"a file could not be removed: {error}") from error
        await platform.write(SYSTEM(item.tenant_id), forget, item)
    return len(found)
