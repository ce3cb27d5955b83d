"""Every method that a client may call: check, command, render. See agentclientprotocol.com/protocol/overview.

A session is seen here only by its owner; core sees to that by the caller's face. Unknown, foreign and deleted
look alike. Nothing here knows what carries a connection.
"""

import base64
import binascii
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar
from uuid import UUID

from adapters.acp import options, wire
from adapters.acp.attachment import Attachment, Begin
from adapters.acp.connection import Connection, Method
from adapters.acp.content import parts_of, text_of
from adapters.acp.errors import describe, invalid, no_session
from adapters.acp.offers import config_options
from adapters.jsonrpc_peer import LATER, Call, RpcError
from core.errors import HubError, NotFound
from core.sessions.choices import Configure, configure
from core.sessions.ending import close, delete
from core.sessions.opening import AttachSession, ForkSession, OpenSession, attach, fork, open_session
from core.sessions.session import ListSessions, OneSession, Session, get_session, list_sessions
from core.sessions.transcript import OpenQuestions
from core.sessions.turns import PromptSession, StopTurns, prompt, stop_turns
from core.trace import told_by
from schemas.acp import TOKEN

T = TypeVar("T")

PAGE: Final = 50
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def authenticate(connection: Connection, call: Call) -> dict[str, Any]:
    """The connection's credential was proven when it was opened; this only says that it is meant."""
    if call.params["methodId"] != TOKEN:
        raise invalid("methodId", "is not one that this agent offers")
    connection.logged_in = True
    return {}


async def logout(connection: Connection, call: Call) -> dict[str, Any]:
    """Nothing more on this connection until it authenticates again. Turns go on."""
    connection.logged_in = False
    return {}


async def new(connection: Connection, call: Call) -> Any:
    """session/new. Its updates come after the answer, which tells what it is called."""
    params = call.params
    agent = wire.meta(params, wire.AGENT)
    command = OpenSession(
        cwd=params["cwd"],
        transport=connection.wire.transport,
        additional_directories=params.get("additionalDirectories") or (),
        mcp_servers=params["mcpServers"],
        required_tags=wire.texts(params, wire.TAGS),
        agent=agent if type(agent) is str else None,
    )
    session = await connection.platform.write(connection.keyed(params), open_session, command)
    return await _opened(connection, call, session)


async def fork_session(connection: Connection, call: Call) -> Any:
    """session/fork: a new session with the same past. Its past is not told; whoever forks has it."""
    params = call.params
    command = ForkSession(
        params["sessionId"], params.get("cwd"), params.get("additionalDirectories"), params.get("mcpServers")
    )
    session = await _of(params, connection.platform.write(connection.keyed(params), fork, command))
    return await _opened(connection, call, session)


async def _opened(connection: Connection, call: Call, session: Session) -> Any:
    result = {"sessionId": session.session_id, **await _offers(connection, session)}

    async def answer(_: OpenQuestions, place: tuple[int, int]) -> None:
        connection.wire.announce(session.session_id)
        await call.respond({**result, wire.META: {wire.SEQ: wire.cursor_of(place)}})

    await connection.attach(session, Begin(answer=answer))
    return LATER


async def load(connection: Connection, call: Call) -> Any:
    """session/load: the whole past, then the answer, then what happens."""
    return await _attach(connection, call, replay=True)


async def resume(connection: Connection, call: Call) -> Any:
    """session/resume: the answer, then what happens; with a cursor, what has happened since."""
    return await _attach(connection, call, replay=False)


async def _attach(connection: Connection, call: Call, *, replay: bool) -> Any:
    params, after = call.params, wire.cursor(call.params)
    directories = params.get("additionalDirectories") or []
    command = AttachSession(params["sessionId"], params["cwd"], directories, params.get("mcpServers"))
    session = await _of(params, connection.platform.write(connection.caller, attach, command))
    offers = await _offers(connection, session)

    async def answer(questions: OpenQuestions, place: tuple[int, int]) -> None:
        pending = [str(id) for id in questions.ids]
        await connection.wire.settle(session.session_id)
        call.route = connection.wire.route_of(session.session_id)
        told = {wire.PENDING: pending, wire.SEQ: wire.cursor_of(place)}
        await call.respond({**offers, wire.META: told})

    begin = Begin((0, 0) if replay and after is None else after, replay, answer)
    await connection.attach(session, begin)
    return LATER


async def _offers(connection: Connection, session: Session) -> dict[str, Any]:
    offered = await config_options(connection.platform, connection.caller, session, connection.client)
    return {"modes": options.modes(session), "configOptions": offered}


async def list_own(connection: Connection, call: Call) -> dict[str, Any]:
    """session/list: what changed last comes first."""
    cursor = call.params.get("cursor")
    query = ListSessions(call.params.get("cwd"), None if cursor is None else _position(cursor), PAGE + 1)
    found = await connection.platform.read(connection.caller, list_sessions, query)
    result: dict[str, Any] = {"sessions": [_info(session) for session in found[:PAGE]]}
    if len(found) > PAGE:
        result["nextCursor"] = _cursor(found[PAGE - 1])
    return result


def _info(session: Session) -> dict[str, Any]:
    info: dict[str, Any] = {
        "sessionId": session.session_id,
        "cwd": session.cwd,
        "updatedAt": session.updated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        wire.META: {"crossdock/status": session.status.value},
    }
    if session.title is not None:
        info["title"] = session.title
    if session.additional_directories:
        info["additionalDirectories"] = list(session.additional_directories)
    return info


def _cursor(session: Session) -> str:
    at = (session.updated_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{at}.{session.id.hex}".encode()).decode()


def _position(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, _, row_id = base64.b64decode(cursor.encode(), b"-_", validate=True).decode().partition(".")
        return _EPOCH + timedelta(microseconds=int(at)), UUID(row_id)
    except (binascii.Error, UnicodeError, ValueError, OverflowError):
        raise invalid("cursor", "is none of ours") from None


async def close_session(connection: Connection, call: Call) -> dict[str, Any]:
    """session/close: its turns are cancelled; its past stays."""
    one = OneSession(call.params["sessionId"])
    await _of(call.params, connection.platform.write(connection.caller, close, one))
    connection.detach(one.session_id)
    return {}


async def delete_session(connection: Connection, call: Call) -> dict[str, Any]:
    """session/delete: gone from every list. What is not there is deleted."""
    one = OneSession(call.params["sessionId"])
    await connection.platform.write(connection.caller, delete, one)
    connection.detach(one.session_id)
    return {}


async def prompt_session(connection: Connection, call: Call) -> Any:
    """session/prompt: a turn, behind those that wait. It is answered when the turn is over."""
    params = call.params
    session_id: str = params["sessionId"]
    blocks = params["prompt"]
    caller, parts = told_by(connection.keyed(params), params.get(wire.META)), parts_of(blocks)
    attachment = await _following(connection, session_id)
    command = PromptSession(
        session_id,
        blocks,
        parts,
        text_of(blocks),
        answers=not connection.client.elicitation_form,
        client=connection.client_id,
        meta={"acp": params[wire.META]} if type(params.get(wire.META)) is dict else {},
    )
    asked = await _of(params, connection.platform.write(caller, prompt, command))
    call.route = session_id
    call.on_cancel = partial(_cancel, connection, session_id, asked.task_id)
    await attachment.expect(asked.task_id, call)
    return LATER


async def _following(connection: Connection, session_id: str) -> Attachment:
    """The session, which is followed from now on if it was not before."""
    attachment = connection.attached(session_id)
    if attachment is None:
        one = OneSession(session_id)
        try:
            session = await connection.platform.read(connection.caller, get_session, one)
        except NotFound:
            raise no_session(session_id) from None
        attachment = await connection.attach(session, Begin())
    await attachment.ready()
    return attachment


async def _cancel(connection: Connection, session_id: str, task_id: UUID | None) -> None:
    try:
        await connection.platform.write(connection.caller, stop_turns, StopTurns(session_id, task_id))
    except HubError as error:
        raise describe(error) from error


async def cancel(connection: Connection, call: Call) -> None:
    """session/cancel: every turn of the session. Their prompts are answered as cancelled."""
    try:
        await _cancel(connection, call.params["sessionId"], None)
    except RpcError:
        if not call.notification:
            raise


async def set_mode(connection: Connection, call: Call) -> dict[str, Any]:
    """session/set_mode: how freely the agent may act from now on."""
    await _configure(connection, call, "autonomy", call.params["modeId"])
    return {}


async def set_config_option(connection: Connection, call: Call) -> dict[str, Any]:
    """session/set_config_option: answered with all options as they are now."""
    option = call.params["configId"]
    name = "autonomy" if option == options.MODE else option
    session = await _configure(connection, call, name, call.params["value"])
    offered = await config_options(connection.platform, connection.caller, session, connection.client)
    return {"configOptions": offered}


async def _configure(connection: Connection, call: Call, option: str, value: Any) -> Session:
    command = Configure(call.params["sessionId"], option, value)
    call.route = connection.wire.route_of(command.session_id)
    return await _of(call.params, connection.platform.write(connection.caller, configure, command))


async def _of(params: dict[str, Any], calling: Awaitable[T]) -> T:
    """What core says of a session that the client named.

    Raises:
        RpcError: -32002, it is not there for this client.
    """
    try:
        return await calling
    except NotFound:
        raise no_session(params["sessionId"]) from None


METHODS: Final[MappingProxyType[str, Method]] = MappingProxyType(
    {
        "authenticate": authenticate,
        "logout": logout,
        "session/new": new,
        "session/load": load,
        "session/resume": resume,
        "session/fork": fork_session,
        "session/list": list_own,
        "session/close": close_session,
        "session/delete": delete_session,
        "session/cancel": cancel,
        "session/prompt": prompt_session,
        "session/set_mode": set_mode,
        "session/set_config_option": set_config_option,
    }
)
assert set(METHODS) == set(wire.REQUESTS)
