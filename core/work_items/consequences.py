"""What follows, in the same transaction, from a task's move for what the task is about."""

from core.store.statement import Row
from core.store.tx import Tx
from core.work_items.following import concerns, follow
from schemas.vocabulary import TaskState


async def draw(tx: Tx, row: Row) -> None:
    """Take note in its work item; apply an assessment's outcome; answer an escalation."""
    if row.work_item_id is not None and concerns(row):
        await follow(tx, row)
    if row.state != TaskState.COMPLETED:
        return
    if row.extras.get("task_kind") == "assessment":
        from core.work_items.outcomes import settle  # it moves tasks, which has consequences in turn

        await settle(tx, row)
    if "escalates_task_id" in row.extras:
        from core.tasks.escalate import answer  # as above

        await answer(tx, row)
