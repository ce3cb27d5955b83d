"""Push notification configurations (specification §3.1.7 to §3.1.10, §4.3): the four operations, and the one
that comes with a send.

What a configuration holds beside its URL is never shown again. Sending is not here (`notify.py`).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from adapters.a2a import errors
from adapters.a2a.dispatch import Call, Dispatcher, Operation, check_tenant, task_id_of
from adapters.a2a.errors import A2AError, Violation
from adapters.a2a.protojson import Params, Reader
from core.base64url import NotBase64Url, decode, encode
from core.egress import BadTarget, Blocked
from core.ports import Receivers
from core.push import (
    ListConfigs,
    Notify,
    OneConfig,
    PushConfig,
    PutConfig,
    delete_config,
    get_config,
    list_configs,
    put_config,
)

MAX_ID: Final = 255
MAX_SECRET: Final = 4096
PAGE_SIZE: Final = 100
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
"""RFC 9110 §5.6.2: what may name an authentication scheme."""
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")


async def create(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """CreateTaskPushNotificationConfig: from the task's next event on. An id that exists is replaced."""
    request = Reader(params, [])
    receivers = _receivers(dispatcher, call, request)
    task_id = request.text("taskId", required=True) or ""
    read = _read(request)
    request.finish()
    notify = await _admitted(receivers, call, read)
    config = await dispatcher.platform.write(call.caller, put_config, PutConfig(task_id_of(task_id), notify))
    return told(config)


async def get(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """GetTaskPushNotificationConfig."""
    wanted = _one(dispatcher, call, params)
    return told(await dispatcher.platform.read(call.caller, get_config, wanted))


async def list_(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """ListTaskPushNotificationConfigs: by id."""
    request = Reader(params, [])
    _receivers(dispatcher, call, request)
    task_id = request.text("taskId", required=True) or ""
    size = request.number("pageSize", least=0) or PAGE_SIZE
    page = request.text("pageToken")
    request.finish()
    size = min(size, PAGE_SIZE)
    query = ListConfigs(task_id_of(task_id), after=_place(page), limit=size + 1)
    found = await dispatcher.platform.read(call.caller, list_configs, query)
    shown = found[:size]
    onward = encode(shown[-1].config_id.encode()) if len(found) > size else ""
    return {"configs": [told(config) for config in shown], "nextPageToken": onward}


async def delete(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """DeleteTaskPushNotificationConfig: what is gone already is deleted, too."""
    await dispatcher.platform.write(call.caller, delete_config, _one(dispatcher, call, params))
    return {}


async def inline(dispatcher: Dispatcher, call: Call, given: Params, task_id: str | None) -> Notify:
    """The configuration that came with a send.

    Raises:
        A2AError: PushNotificationNotSupported, or InvalidParams with every field that is wrong.
    """
    request = Reader(given, [], "configuration.taskPushNotificationConfig.")
    receivers = _receivers(dispatcher, call, request)
    named = request.text("taskId")
    if named is not None and named != task_id:
        request.refuse("taskId", "must be empty: the configuration belongs to the task of this message")
    read = _read(request)
    request.finish()
    return await _admitted(receivers, call, read, request.at)


def told(config: PushConfig) -> dict[str, Any]:
    """A `TaskPushNotificationConfig`, without its secrets."""
    made: dict[str, Any] = {"id": config.config_id, "taskId": str(config.task_id), "url": config.url}
    if config.scheme is not None:
        made["authentication"] = {"scheme": config.scheme}
    return made


def _receivers(dispatcher: Dispatcher, call: Call, request: Reader) -> Receivers:
    check_tenant(call, request.text("tenant"))
    receivers = dispatcher.config.receivers
    if receivers is None:
        raise A2AError(errors.PUSH_NOT_SUPPORTED, "This agent sends no push notifications.")
    return receivers


def _one(dispatcher: Dispatcher, call: Call, params: Params) -> OneConfig:
    request = Reader(params, [])
    _receivers(dispatcher, call, request)
    task_id = request.text("taskId", required=True) or ""
    config_id = request.text("id", required=True) or ""
    request.finish()
    return OneConfig(task_id_of(task_id), config_id)


def _place(token: str | None) -> str:
    """The id that a page token names: the page begins after it."""
    try:
        return "" if token is None else decode(token).decode()
    except (NotBase64Url, UnicodeDecodeError):
        raise errors.invalid("pageToken", "is not a token that this operation gave out") from None


def _read(request: Reader) -> Mapping[str, Any]:
    given = request.object("authentication")
    authentication = Reader(given or {}, request.wrong, f"{request.at}authentication.")
    scheme = authentication.text("scheme", required=given is not None)
    if scheme is not None and _TOKEN.fullmatch(scheme) is None:
        authentication.refuse("scheme", "must be the name of an HTTP authentication scheme")
    return {
        "url": request.text("url", required=True),
        "config_id": request.text("id", longest=MAX_ID),
        "scheme": scheme,
        "credentials": _secret(authentication, "credentials"),
        "token": _secret(request, "token"),
    }


def _secret(request: Reader, name: str) -> str | None:
    text = request.text(name, longest=MAX_SECRET)
    if text is not None and _VISIBLE.fullmatch(text) is None:
        request.refuse(name, "must be visible ASCII: it travels in a header")
    return text


async def _admitted(receivers: Receivers, call: Call, read: Mapping[str, Any], at: str = "") -> Notify:
    try:
        address = await receivers.admit(read["url"])
    except BadTarget as bad:
        why = bad.reason
    except Blocked:
        why = "the hub does not call this address"
    else:
        return Notify(
            **{**read, "url": address.url}, endpoint=address.endpoint, protocol_version=call.protocol_version
        )
    raise A2AError(errors.INVALID_PARAMS, f"{at}url: {why}", violations=[Violation(f"{at}url", why)])


OPERATIONS: Final = (
    Operation("CreateTaskPushNotificationConfig", answer=create),
    Operation("GetTaskPushNotificationConfig", answer=get),
    Operation("ListTaskPushNotificationConfigs", answer=list_),
    Operation("DeleteTaskPushNotificationConfig", answer=delete),
)
