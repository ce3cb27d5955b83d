"""An MCP server on stdin and stdout, made of nothing but the standard library."""

import json
import os
import subprocess
import sys
from typing import Any

if "FAMILY" in os.environ:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("pid", "env", "die", "flood")]


def said(name: str) -> str:
    """What a tool says."""
    if name == "die":
        os._exit(3)
    if name == "flood":
        return "x" * 1_000_000
    return str(os.getpid()) if name == "pid" else json.dumps(dict(os.environ))


print("starting up")  # which is no message
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    result: dict[str, Any]
    if method == "initialize":
        result = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "program", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": said(params["name"])}]}
    else:
        error = {"code": -32601, "message": "Method not found"}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
