"""An agent on the official Python SDK, which uses all that its client offers and says what came of it."""

import asyncio
import json
from typing import Any, cast
from uuid import uuid4

import acp
from acp import schema
from acp.helpers import update_agent_message_text


class EverythingAgent:
    """One prompt: leave, a file written and read, a command, a question."""

    def on_connect(self, conn: acp.Client) -> None:
        """Whom to ask."""
        self._client = conn

    async def initialize(
        self, protocol_version: int, client_capabilities: Any = None, client_info: Any = None, **_: Any
    ) -> schema.InitializeResponse:
        """What the client can is kept."""
        self._can: schema.ClientCapabilities = client_capabilities
        return schema.InitializeResponse(protocol_version=1)

    async def new_session(self, cwd: str, *_: Any, **__: Any) -> schema.NewSessionResponse:
        """A session in a directory."""
        self._cwd = cwd
        return schema.NewSessionResponse(session_id=uuid4().hex)

    async def prompt(self, session_id: str, *_: Any, **__: Any) -> schema.PromptResponse:
        """Use everything."""
        client, told = self._client, dict[str, Any]()
        assert self._can.fs is not None
        told["can"] = [self._can.fs.read_text_file, self._can.fs.write_text_file, self._can.terminal]
        option = schema.PermissionOption(option_id="go", name="Go", kind="allow_once")
        call = schema.ToolCallUpdate(tool_call_id="c1", title="everything", kind="other")
        allowed = await client.request_permission(session_id=session_id, tool_call=call, options=[option])
        told["allowed"] = allowed.outcome.model_dump(by_alias=True)
        path = f"{self._cwd}/made/by.txt"
        await client.write_text_file(session_id=session_id, path=path, content="one\ntwo\nthree\n")
        read = await client.read_text_file(session_id=session_id, path=path, line=2, limit=1)
        told["read"] = read.content
        try:
            await client.read_text_file(session_id=session_id, path="/etc/passwd")
        except acp.RequestError as error:
            told["outside"] = error.code
        terminal = await client.create_terminal(session_id=session_id, command="cat", args=[path])
        which = {"session_id": session_id, "terminal_id": terminal.terminal_id}
        told["exit"] = (await client.wait_for_terminal_exit(**which)).exit_code
        told["output"] = (await client.terminal_output(**which)).output
        await client.kill_terminal(**which)
        await client.release_terminal(**which)
        await client.session_update(session_id, update_agent_message_text(json.dumps(told)))
        return schema.PromptResponse(stop_reason="end_turn")


if __name__ == "__main__":
    asyncio.run(acp.run_agent(cast(acp.Agent, EverythingAgent()), use_unstable_protocol=True))
