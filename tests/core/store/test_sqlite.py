"""What only the SQLite store promises: group commit, one process, files of its owner's alone."""

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.caller import Caller
from core.errors import Unavailable
from core.platform import Platform
from core.store import Tx, open_store
from core.store.sqlite import SqliteStore, StoreInUse
from tests.core.store import ledger
from tests.core.store.ledger import Nothing, Open


@pytest.fixture
def path(sqlite_template: Path, tmp_path: Path) -> Path:
    """A file with empty tables."""
    return Path(shutil.copyfile(sqlite_template, tmp_path / "crossdock.db"))


@pytest.fixture
async def platform(path: Path) -> AsyncIterator[Platform]:
    """A started platform on that file."""
    platform = Platform(open_store(f"sqlite:///{path}"))
    await platform.start()
    yield platform
    await platform.stop()


async def test_commands_that_wait_together_share_commits(
    platform: Platform, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    commit = SqliteStore._commit

    def counting(self: SqliteStore, batch: list[object]) -> object:
        sizes.append(len(batch))
        return commit(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteStore, "_commit", counting)
    await asyncio.gather(*(platform.write(operator, ledger.open_one, Open(str(n))) for n in range(600)))
    assert sum(sizes) == 600
    assert len(sizes) < 60
    assert max(sizes) <= 256


async def test_a_command_that_suspends_is_an_error_that_names_it(
    platform: Platform, operator: Caller
) -> None:
    async def dawdle(tx: Tx, command: Open) -> None:
        await ledger.open_one(tx, command)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"dawdle suspended"):
        await platform.write(operator, dawdle, Open("a"))
    assert await platform.read(operator, ledger.titles, Nothing()) == []


async def test_a_command_that_raises_a_cancellation_does_not_take_the_writer_with_it(
    platform: Platform, operator: Caller
) -> None:
    async def cancel(tx: Tx, _: Nothing) -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="CancelledError"):
        await platform.write(operator, cancel, Nothing())
    await platform.write(operator, ledger.open_one, Open("a"))


async def test_a_query_sees_one_unchanging_view(platform: Platform, operator: Caller, path: Path) -> None:
    async def look_twice(tx: Tx, _: Nothing) -> tuple[int, int]:
        before = len(await ledger.titles(tx, Nothing()))
        with sqlite3.connect(path) as beside:
            beside.execute("DELETE FROM conversation")
        beside.close()
        return before, len(await ledger.titles(tx, Nothing()))

    await platform.write(operator, ledger.open_one, Open("a"))
    assert await platform.read(operator, look_twice, Nothing()) == (1, 1)
    assert await platform.read(operator, ledger.titles, Nothing()) == []


async def test_a_second_process_is_told_who_serves_the_file(platform: Platform, path: Path) -> None:
    with pytest.raises(StoreInUse, match=rf"^crossdock\.db is served by pid {os.getpid()}$"):
        await open_store(f"sqlite:///{path}").start()


async def test_the_file_may_be_served_again_after_a_stop(path: Path, operator: Caller) -> None:
    for name in "ab":
        platform = Platform(open_store(f"sqlite:///{path}"))
        await platform.start()
        await platform.write(operator, ledger.open_one, Open(name))
        await platform.stop()
    assert {entry.name for entry in os.scandir(path.parent)} == {"crossdock.db", "crossdock.db.lock"}


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'new.db'}")
    await store.start()
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    await store.stop()
    assert modes == dict.fromkeys(modes, 0o600)
    assert {"new.db", "new.db.lock"} <= set(modes)


async def test_a_commit_is_flushed(platform: Platform) -> None:
    store = platform.store
    assert isinstance(store, SqliteStore)
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_full_disk_is_told_as_unavailable_and_spoils_no_other_call(
    platform: Platform, operator: Caller
) -> None:
    store = platform.store
    assert isinstance(store, SqliteStore)
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count={pages + 20}")
    results = await asyncio.gather(
        *(
            platform.write(operator, ledger.open_one, Open("x" * 200_000 if n == 5 else str(n)))
            for n in range(10)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        Unavailable if n == 5 else ledger.Opened for n in range(10)
    ]
    store._writer.execute("PRAGMA max_page_count=1000000")
    await platform.write(operator, ledger.open_one, Open("y" * 200_000))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "mysql://x", "crossdock.db", "sqlite://x/y"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        open_store(url)
