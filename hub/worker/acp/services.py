"""Files and terminals for an agent; see agentclientprotocol.com/protocol/file-system and /terminals.

Everything stays in the session's workspace. What is not switched on is not there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.jsonrpc import INVALID_PARAMS
from adapters.jsonrpc_peer import RpcError
from hub.worker.acp.connection import Answer
from hub.worker.acp.jail import Jail, Missing, Outside, Unfit
from hub.worker.acp.terminals import Terminals, TooMany, Unknown

NOT_FOUND: Final = -32002
REFUSED: Final = -32603
MOST_ARGUMENTS: Final = 10_000


class Services:
    """The services of one session."""

    def __init__(
        self,
        directories: Sequence[str],
        environ: Mapping[str, str],
        *,
        files: bool = False,
        terminals: bool = False,
    ) -> None:
        """Raises:
        OSError: a directory of the workspace is not there.
        """
        self._jail = Jail(directories)
        self._cwd = directories[0]
        self._terminals = Terminals(self._jail, environ)
        self.files = files
        self.terminals = terminals

    @property
    def capabilities(self) -> dict[str, Any]:
        """What the agent is told of them."""
        return {"fs": {"readTextFile": self.files, "writeTextFile": self.files}, "terminal": self.terminals}

    def answers(self) -> dict[str, Answer]:
        """The methods that the agent may call."""
        found: dict[str, Answer] = {}
        if self.files:
            found |= {"fs/read_text_file": self._read, "fs/write_text_file": self._write}
        if self.terminals:
            found |= {
                "terminal/create": self._create,
                "terminal/output": self._output,
                "terminal/wait_for_exit": self._wait,
                "terminal/kill": self._kill,
                "terminal/release": self._release,
            }
        return found

    def kill(self) -> None:
        """End all commands at once."""
        self._terminals.kill()

    async def close(self) -> None:
        """End all commands, and let the workspace go."""
        await self._terminals.close()
        self._jail.close()

    async def _read(self, params: dict[str, Any]) -> Any:
        path, line, limit = _text(params, "path"), _number(params, "line"), _number(params, "limit")
        try:
            text = await asyncio.to_thread(self._jail.read, path)
        except (Outside, Missing, Unfit) as error:
            raise _refusal(error, path) from None
        if line is not None or limit is not None:
            lines = text.splitlines(keepends=True)
            start = max((line or 1) - 1, 0)
            text = "".join(lines[start : None if limit is None else start + limit])
        return {"content": text}

    async def _write(self, params: dict[str, Any]) -> Any:
        path, content = _text(params, "path"), params.get("content")
        if type(content) is not str:
            raise _invalid("content", "must be a string")
        try:
            await asyncio.to_thread(self._jail.write, path, content)
        except (Outside, Missing, Unfit) as error:
            raise _refusal(error, path) from None
        return {}

    async def _create(self, params: dict[str, Any]) -> Any:
        command, directory = _text(params, "command"), params.get("cwd") or self._cwd
        args, given = params.get("args") or [], params.get("env") or []
        if not _texts(args) or len(args) > MOST_ARGUMENTS:
            raise _invalid("args", "must be an array of strings")
        if type(directory) is not str:
            raise _invalid("cwd", "must be a string")
        try:
            variables = {str(pair["name"]): str(pair["value"]) for pair in given}
        except (TypeError, KeyError):
            raise _invalid("env", "must be an array of name and value") from None
        if any("\0" in text or "=" in name for name, text in variables.items()):
            raise _invalid("env", "has a name or a value that no system takes")
        try:
            return {
                "terminalId": await self._terminals.create(
                    command,
                    args,
                    directory=directory,
                    variables=variables,
                    most=_number(params, "outputByteLimit"),
                )
            }
        except (Outside, Missing, Unfit) as error:
            raise _refusal(error, directory) from None
        except TooMany as error:
            raise RpcError(REFUSED, str(error)) from None
        except (OSError, ValueError) as error:
            raise RpcError(REFUSED, f"The command cannot be started: {error}") from None

    async def _output(self, params: dict[str, Any]) -> Any:
        with _known(params) as terminal_id:
            return self._terminals.get(terminal_id).shown()

    async def _wait(self, params: dict[str, Any]) -> Any:
        with _known(params) as terminal_id:
            return await self._terminals.wait(terminal_id)

    async def _kill(self, params: dict[str, Any]) -> Any:
        with _known(params) as terminal_id:
            self._terminals.get(terminal_id).kill()
            return {}

    async def _release(self, params: dict[str, Any]) -> Any:
        with _known(params) as terminal_id:
            await self._terminals.release(terminal_id)
            return {}


class _known:
    """The id of a terminal, for a block in which it may turn out to be unknown."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._id = _text(params, "terminalId")

    def __enter__(self) -> str:
        return self._id

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Unknown):
            raise RpcError(NOT_FOUND, "There is no such terminal", {"terminalId": self._id}) from None


def _refusal(error: Exception, path: str) -> RpcError:
    if isinstance(error, Missing):
        return RpcError(NOT_FOUND, "There is no such file", {"uri": f"file://{path}"})
    code = INVALID_PARAMS if isinstance(error, Outside) else REFUSED
    return RpcError(code, f"The file cannot be used: {error}", {"path": path})


def _invalid(field: str, rule: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"{field} {rule}", {"field": field})


def _text(params: Mapping[str, Any], field: str) -> str:
    value = params.get(field)
    if type(value) is not str or not value or "\0" in value:
        raise _invalid(field, "must be a string that is not empty")
    return value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is str and "\0" not in item for item in value)


def _number(params: Mapping[str, Any], field: str) -> int | None:
    value = params.get(field)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise _invalid(field, "must be a whole number")
    return value
