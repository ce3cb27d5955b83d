"""The typed client of Crossdock's API, for programs that run outside the hub.

    async with Crossdock() as hub:
        task = await hub.tasks.create("say hello", input={"text": "hello"})
        print((await hub.tasks.wait(task.id, timeout=60)).output)

It speaks `/api/v1` and nothing else, and imports nothing of the hub but its vocabulary.
"""

from hub.client.api import Crossdock
from hub.client.errors import (
    AgentBusy,
    ApiError,
    BadGateway,
    Conflict,
    CrossdockError,
    Forbidden,
    Gone,
    Invalid,
    InvalidTransition,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    SchemaInvalid,
    ServerFault,
    Unauthorized,
    Unavailable,
    Unreachable,
    UnsupportedMediaType,
    WaitTimeout,
)
from hub.client.records import (
    FINAL,
    Agent,
    Approval,
    Artifact,
    Brief,
    Claim,
    Event,
    Lease,
    Message,
    Page,
    Task,
    text_of,
)

__all__ = [
    "FINAL",
    "Agent",
    "AgentBusy",
    "ApiError",
    "Approval",
    "Artifact",
    "BadGateway",
    "Brief",
    "Claim",
    "Conflict",
    "Crossdock",
    "CrossdockError",
    "Event",
    "Forbidden",
    "Gone",
    "Invalid",
    "InvalidTransition",
    "Lease",
    "Message",
    "MethodNotAllowed",
    "NotFound",
    "Page",
    "PayloadTooLarge",
    "RateLimited",
    "SchemaInvalid",
    "ServerFault",
    "Task",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "UnsupportedMediaType",
    "WaitTimeout",
    "text_of",
]
