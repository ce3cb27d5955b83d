"""The mark that a change leaves in a workflow, so that somebody looks at what follows from it.

It is written in the transaction of the change, as a row of its own, so that no crash loses it and no two
changes wait for one another. `core/workflows/advance.py` takes away what it has seen.
"""

from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx

CHANGED: Final = "workflows"
"""The topic that is woken when there is a new mark."""
_MARK = Statement(sa.insert(w.workflow_due))


def mark(tx: Tx, row: Row) -> None:
    """Mark the workflow of a task that has ended, was reopened or has just been made."""
    mark_workflow(tx, row.tenant_id, row.workflow_id)


def mark_workflow(tx: Tx, tenant_id: UUID, workflow_id: UUID) -> None:
    """Mark a workflow."""
    tx.add(_MARK, id=tx.new_id(), tenant_id=tenant_id, workflow_id=workflow_id)
    tx.wake(CHANGED)
