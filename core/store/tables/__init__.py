"""The tables, declared once, one module a domain. Nothing here runs a statement.

Every table is created on both databases with the same names. The tables of the foundation have their names
here; those of another domain are read from its module: `from core.store.tables import workflows`.
"""

import sqlalchemy as sa
from sqlmodel import SQLModel

from core.store.tables import (
    exposures,
    foundation,
    mcp_calls,
    mcp_registry,
    operations,
    records,
    triggers,
    work_items,
    workers,
    workflows,
)
from core.store.tables.declaring import table

METADATA: sa.MetaData = SQLModel.metadata
tenant = table("tenant")
principal = table("principal")
api_key = table("api_key")
refresh_session = table("refresh_session")
agent = table("agent")
route = table("route")
conversation = table("conversation")
task = table("task")
dependency = table("dependency")
attempt = table("attempt")
lease = table("lease")
message = table("message")
artifact = table("artifact")
artifact_chunk = table("artifact_chunk")
input_request = table("input_request")
approval = table("approval")
approval_decider = table("approval_decider")
event = table("event")
event_outbox = table("event_outbox")
event_head = table("event_head")
idem = table("idem")
consumer = table("consumer")
push_config = table("push_config")
delivery = table("delivery")
delivery_queue = table("delivery_queue")
remote_agent = table("remote_agent")
delegation = table("delegation")
mcp_session = table("mcp_session")
acp_session = table("acp_session")
meta = table("meta")

__all__ = [
    "METADATA",
    "acp_session",
    "agent",
    "api_key",
    "approval",
    "approval_decider",
    "artifact",
    "artifact_chunk",
    "attempt",
    "consumer",
    "conversation",
    "delegation",
    "delivery",
    "delivery_queue",
    "dependency",
    "event",
    "event_head",
    "event_outbox",
    "exposures",
    "foundation",
    "idem",
    "input_request",
    "lease",
    "mcp_calls",
    "mcp_registry",
    "mcp_session",
    "message",
    "meta",
    "operations",
    "principal",
    "push_config",
    "records",
    "refresh_session",
    "remote_agent",
    "route",
    "task",
    "tenant",
    "triggers",
    "work_items",
    "workers",
    "workflows",
]
