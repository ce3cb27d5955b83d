"""What the hub as an ACP agent says of itself, and the keys that it and its launcher put into `_meta`.

Both ends of a connection use it: the hub to say it, the launcher while it cannot reach the hub. Plain data,
quick to import.
"""

from typing import Any, Final

PROTOCOL_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A longer message is refused."""

LOGIN: Final = "hub-login"
TOKEN: Final = "hub-token"

META: Final = "_meta"
IDEMPOTENCY_KEY: Final = "crossdock/idempotencyKey"
"""Of a request: it happens once under this key."""
AFTER: Final = "crossdock/afterSeq"
"""Of `session/load` and `session/resume`: what is up to this cursor has been told."""
CLIENT: Final = "crossdock/clientId"
"""Of `initialize`: who is not told what it said itself."""
AGENT: Final = "crossdock/agent"
"""Of `session/new`: the agent that is to do the turns."""
TAGS: Final = "crossdock/tags"
"""Of `session/new`: what an agent must offer."""
SEQ: Final = "crossdock/seq"
"""Of an update and of the answers that open a session: the cursor up to which everything has been told."""
SESSION: Final = "crossdock/sessionId"
"""Of an update about a session below another: that other session."""
TASK: Final = "crossdock/taskId"
APPROVAL: Final = "crossdock/approvalId"
INPUT: Final = "crossdock/inputId"
PENDING: Final = "crossdock/pending"
"""Of the answers to load and resume: the ids of what is being asked."""


def initialized(version: str, *, terminal_login: bool) -> dict[str, Any]:
    """The result of `initialize`. `terminal_login`: the client can open a terminal to log in."""
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "agentCapabilities": {
            "loadSession": True,
            "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
            "mcpCapabilities": {"http": True, "sse": True},
            "sessionCapabilities": {
                "list": {},
                "resume": {},
                "close": {},
                "delete": {},
                "fork": {},
                "additionalDirectories": {},
            },
            "auth": {"logout": {}},
            "_meta": {"crossdock": {"resumeAfter": True, "idempotency": True, "attach": True}},
        },
        "authMethods": auth_methods(terminal_login=terminal_login),
        "agentInfo": {"name": "crossdock", "title": "Crossdock", "version": version},
    }


def auth_methods(*, terminal_login: bool) -> list[dict[str, Any]]:
    """How a client may prove who it is; in a terminal only where it can open one."""
    token = {
        "id": TOKEN,
        "name": "Key of the hub",
        "description": "The key that the connection was opened with (CROSSDOCK_API_KEY).",
    }
    login = {
        "id": LOGIN,
        "type": "terminal",
        "name": "Log in to the hub",
        "description": "Asks for the hub's address and a key, and keeps them for this user.",
        "args": ["login"],
        "env": {},
    }
    return [login, token] if terminal_login else [token]
