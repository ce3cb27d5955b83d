"""What both forms of 0.3 share: small words, and how a call is asked and told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a import wire
from adapters.a2a.protojson import Params

ENDING: Final = wire.TERMINAL | {wire.INPUT_REQUIRED}
"""The states whose status update is the last of its stream (`final`)."""
WRAPPED: Final = "data_part_compat"
"""The metadata key by which the SDKs say that a data part is no object: it holds it as `value`."""
ROLES: Final[Mapping[str, str]] = MappingProxyType({"user": "ROLE_USER", "agent": "ROLE_AGENT"})


Told = Callable[[Mapping[str, Any]], Any]
"""How a result of 1.0, or a frame of a stream, is told in 0.3."""


def as_it_is(result: Mapping[str, Any]) -> Any:
    """How 1.0 tells its own."""
    return result


@dataclass(frozen=True, slots=True)
class Asked:
    """A call in the words of 1.0, and how what comes of it is told."""

    operation: str
    params: Params
    told: Told


def member(given: Mapping[str, Any], name: str) -> Any:
    """A member by its JSON name, or by the name that it has in the `.proto` file, as ProtoJSON allows."""
    value = given.get(name)
    if value is None:
        value = given.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))
    return value


def length(value: Any) -> Any:
    """A history length. In 0.3 zero cannot be told from none, and means as much as the server gives."""
    return None if value in (0, "0") else value


def chosen(source: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The members of those names that are there."""
    return {name: source[name] for name in names if source.get(name) is not None}


def unwrapped(data: Any, metadata: Any) -> tuple[Any, Any]:
    """A data part's value and metadata; what an SDK wrapped comes out again."""
    if type(metadata) is dict and metadata.get(WRAPPED) is True and type(data) is dict and "value" in data:
        return data["value"], {name: value for name, value in metadata.items() if name != WRAPPED}
    return data, metadata


def wrapped(data: Any, metadata: Any) -> tuple[Any, Any]:
    """The inverse: 0.3 knows only objects."""
    if isinstance(data, Mapping):
        return data, metadata
    return {"value": data}, {**(metadata or {}), WRAPPED: True}


def push_config(given: Any, *, task_id: str | None = None) -> Any:
    """A `PushNotificationConfig` of 0.3 as 1.0's. One without an id has its task's, so that there is one."""
    if type(given) is not dict:
        return given
    made = chosen(given, "id", "url", "token")
    if task_id is not None:
        made["taskId"] = task_id
        made.setdefault("id", task_id)
    authentication = given.get("authentication")
    if type(authentication) is dict:
        schemes = authentication.get("schemes")
        scheme = schemes[0] if type(schemes) is list and schemes else schemes
        made["authentication"] = {"scheme": scheme, "credentials": authentication.get("credentials")}
    elif authentication is not None:
        made["authentication"] = authentication
    return made


def push_config_told(config: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse."""
    told = chosen(config, "id", "url", "token")
    authentication = config.get("authentication")
    if authentication is not None:
        told["authentication"] = {"schemes": [authentication["scheme"]]}
    return told
