"""Whatever is done to a work item, in whatever order: it moves as the table says, and the log tells it."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from core.errors import InvalidTransition
from core.platform import Platform
from core.store import tables as t
from core.store.tx import Tx
from core.work_items.records import WorkItem
from core.work_items.transitions import ITEM_OVER, ITEM_TRANSITIONS, ItemMove
from schemas.item_words import WorkItemState as S
from tests.core.work_items.bench import PLAIN, Bench
from tests.fakes import FakeClock

ACTS = ("finish", "hold", "let_go", "stop", "inbox", "active", "blocked", "done")
RUNS = 25
"""Items that are led through random acts, one after the other."""
Model = tuple[S, bool]
"""The state, and whether it is blocked behind a pause."""


def expected(model: Model, act: str, column: str) -> tuple[Model, str | None] | None:
    """The next state and the moves that lead there; None where it is refused."""
    state, blocked = model
    m: ItemMove | None = None
    match act, state:
        case ("finish", S.COMPLETED) | ("hold", S.PAUSED) | ("stop", S.CANCELLED):
            return model, None
        case ("finish", _):
            m = ItemMove.COMPLETE
        case ("hold", _):
            m = ItemMove.PAUSE
        case ("let_go", _):
            m = ItemMove.RESUME_BLOCKED if blocked else ItemMove.RESUME
        case ("stop", _):
            m = ItemMove.CANCEL
        case (_, _) if act == column:
            return model, None
        case ("done", _):
            m = ItemMove.COMPLETE
        case (_, S.CANCELLED):
            return None
        case ("blocked", S.COMPLETED):
            return (S.BLOCKED, True), "reopen block"
        case (_, S.COMPLETED):
            m = ItemMove.REOPEN
        case ("blocked", _):
            m = ItemMove.BLOCK
        case (_, S.BLOCKED):
            m = ItemMove.UNBLOCK
        case _:
            return model, None
    arc = ITEM_TRANSITIONS[m]
    if state not in arc.sources:
        return None
    still = blocked if m in (ItemMove.PAUSE, ItemMove.RESUME_BLOCKED) else m is ItemMove.BLOCK
    return (arc.target, still), m.value


async def perform(bench: Bench, item: WorkItem, act: str) -> WorkItem:
    if act in ("finish", "hold", "let_go", "stop"):
        done: WorkItem = await getattr(bench, act)(item)
        return done
    return await bench.update(item, column_id=act)


async def moves(bench: Bench, item: WorkItem) -> Sequence[str]:
    """The moves that the log tells of, in order."""
    await bench.numbered()

    async def query(tx: Tx, _: None) -> list[Any]:
        c = t.event.c
        return await tx.all(
            sa.select(c.data).where(c.entity_type == "work_item", c.entity_id == item.id).order_by(c.pos)
        )

    rows = await bench.platform.read(bench.admin, query, None)
    return [row.data["move"] for row in rows if "move" in row.data]


async def test_a_work_item_moves_as_the_table_says(platform: Platform, clock: FakeClock) -> None:
    bench = Bench(platform, clock)
    chance = random.Random(7)
    workflow = await bench.workflow({**PLAIN, "lifecycle": "ongoing"})
    tried: set[str] = set()
    for _ in range(RUNS):
        acts = chance.choices(ACTS, k=12)
        item, model, told = await bench.item(workflow), (S.OPEN, False), list[str]()
        for act in acts:
            wanted = expected(model, act, item.column_id)
            if wanted is None:
                with pytest.raises(InvalidTransition):
                    await perform(bench, item, act)
            else:
                model, m = wanted
                assert (await perform(bench, item, act)).state is model[0], (acts, act)
                told += m.split() if m else []
            item = await bench.look(item)
            assert item.state is model[0], (acts, act)
            assert (item.completed_at is not None) == (item.state in ITEM_OVER)
            assert (item.blocked_reason is not None) == model[1]
        assert await moves(bench, item) == told, acts
        tried |= {*told}
    assert tried == {m.value for m in ItemMove}, "every move was made"
