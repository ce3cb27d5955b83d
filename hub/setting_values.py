"""The forms that a setting's text may have: each function turns text into the value, or says what is wrong.

Only forms are judged here; rules between settings are in `hub/settings.py`.
"""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

MIN_SECRET_BYTES = 32


class BadValue(Exception):
    """What is wrong with one value, in words that follow the key's name."""


def text(value: str) -> str:
    return value


def items(value: str) -> tuple[str, ...]:
    return tuple(item for item in re.split(r"[,\s]+", value) if item)


def directory(value: str) -> str:
    path = Path(value)
    if path.exists() and not path.is_dir():
        raise BadValue(f"must be a directory, and {value!r} is a file")
    return str(path.absolute())


def files(value: str) -> str:
    if "://" not in value:
        return directory(value)
    parts = urlsplit(value)
    if parts.scheme != "s3" or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
        raise BadValue(f"must be a directory or s3://BUCKET/PREFIX, not {value!r}")
    if parts.query or parts.fragment:
        raise BadValue("must have no query or fragment; the endpoint is in AWS_ENDPOINT_URL")
    return value.rstrip("/")


def flag(value: str) -> bool:
    lowered = value.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise BadValue(f"must be 1 or 0, not {value!r}")


def port(value: str) -> int:
    if not value.isdecimal() or int(value) > 65535:
        raise BadValue(f"must be a number from 0 (any free port) to 65535, not {value!r}")
    return int(value)


def seconds(value: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", value)
    if match is None:
        raise BadValue(f"must be a duration such as 25, 25s or 2m, not {value!r}")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[match[2] or "s"]


def pauses(value: str) -> tuple[float, ...]:
    return tuple(seconds(item) for item in items(value))


def level(value: str) -> str:
    if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise BadValue(f"must be debug, info, warning or error, not {value!r}")
    return value.upper()


def log_format(value: str) -> str:
    if value not in {"text", "json"}:
        raise BadValue(f"must be text or json, not {value!r}")
    return value


def database(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in {"sqlite", "postgresql", "postgres"}:
        raise BadValue("must start with sqlite:/// or postgresql://")
    if scheme == "sqlite":
        path = rest.removeprefix("/")
        if not rest.startswith("/") or path in {"", ":memory:"}:
            raise BadValue("must name a file: what only one process holds in memory does not survive it")
        return f"sqlite:///{path}"
    return f"postgresql://{rest}"


def web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadValue(f"must be an http or https address, not {value!r}")
    if parts.query or parts.fragment or parts.username is not None:
        raise BadValue("must have no query, fragment or user name")
    return value.rstrip("/")


def issuers(value: str) -> tuple[str, ...]:
    found = tuple(item.strip() for item in value.split(",") if item.strip())
    for issuer in found:
        web_address(issuer)  # kept as it is written: issuers are compared as strings
    return found


def secret_key(value: str) -> str:
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise BadValue(f"must hold at least {MIN_SECRET_BYTES} bytes")
    return value


def admin_key(value: str) -> str:
    from core.keys import MalformedKey, check_form  # loads the cipher library, which most commands never need

    try:
        check_form(value)
    except MalformedKey as malformed:
        raise BadValue(f"cannot be used: {malformed}") from None
    return value


def networks(value: str) -> tuple[str, ...]:
    for item in items(value):
        try:
            ipaddress.ip_network(item)
        except ValueError:
            raise BadValue(f"must list addresses or networks; {item!r} is neither") from None
    return items(value)


def outbound(value: str) -> tuple[str, ...]:
    from core.egress import Allowed  # loads the URL library, which most commands never need

    try:
        Allowed.parse(items(value))
    except ValueError as wrong:
        raise BadValue(f"cannot be used: {wrong}") from None
    return items(value)


def origins(value: str) -> tuple[str, ...]:
    for item in items(value):
        parts = urlsplit(item)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query:
            raise BadValue(f"must list origins (scheme, host and port only); {item!r} is none")
    return items(value)
