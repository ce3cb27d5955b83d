"""Every setting of Crossdock, read once from the environment.

Nothing else in the product reads the environment. This module checks each value by itself and the
rules between values; it opens no database and makes no file (that is `hub/secret_file.py`).
"""

import dataclasses
import difflib
import ipaddress
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from hub import setting_values as values
from hub.setting import Setting as Setting
from hub.setting import SettingsError as SettingsError
from hub.setting import setting, value_of, variables

PREFIX = "CROSSDOCK_"

# What the tests, the demo and the worker's child processes say to each other. No settings of the hub.
NOT_SETTINGS = re.compile(r"CROSSDOCK_(TEST_.*|REQUIRE_PEERS|TASK_.*|LEASE_.*)")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator decides. Every field documents itself; the README's table is made from here."""

    database_url: str = setting(
        "Where everything is kept: `sqlite:///FILE` (a relative FILE is in the working directory) "
        "or `postgresql://…`. Several hubs may share one PostgreSQL database.",
        parse=values.database,
        default="sqlite:///crossdock.db",
        example="postgresql://crossdock@db.internal/crossdock",
    )
    files: str | None = setting(
        "Directory for what is too large for the database, such as uploaded artifacts; or "
        "`s3://BUCKET/PREFIX`, with the extra `s3`, and the endpoint and credentials where AWS SDKs look for "
        "them. Hubs that share a database share it.",
        parse=values.files,
        default_text="`crossdock-files`, beside the database file or in the working directory",
        example="/var/lib/crossdock/files",
    )
    host: str = setting(
        "Address to listen on. Any but loopback also needs `CROSSDOCK_SECRET_KEY` and an https "
        "`CROSSDOCK_PUBLIC_URL`.",
        parse=values.text,
        default="127.0.0.1",
        example="0.0.0.0",  # noqa: S104 - an example to read, never a default
    )
    port: int = setting(
        "Port to listen on; 0 takes a free one and prints it.",
        parse=values.port,
        default=8080,
        example="8080",
    )
    grpc_port: int | None = setting(
        "Port for A2A over gRPC; needs the extra `grpc`. Cards say that it is reached at the host of the "
        "public address, where the proxy that ends TLS must pass it on.",
        parse=values.port,
        default_text="off",
        example="50051",
    )
    public_url: str | None = setting(
        "The address by which others reach this hub; links, cards and tokens carry it. May end in a path.",
        parse=values.web_address,
        default_text="http://HOST:PORT",
        example="https://hub.example.com",
    )
    secret_key: str | None = setting(
        "At least 32 bytes. All keys of the hub are derived from it; the same for every replica.",
        parse=values.secret_key,
        default_text="a file `crossdock.secret`, made at first start with mode 0600, beside the database",
        example="$(openssl rand -base64 48)",
        secret=True,
    )
    secret_key_previous: str | None = setting(
        "The secret before the last change: still read, never written.",
        parse=values.secret_key,
        example="$(cat old.secret)",
        secret=True,
    )
    admin_api_key: str | None = setting(
        "An admin key of at least 24 characters that always works, besides the keys in the database.",
        parse=values.admin_key,
        default_text="made at first start and shown once",
        example="$(openssl rand -base64 32)",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = setting(
        "Further `Host` names to answer to, separated by commas.",
        parse=values.items,
        default=(),
        default_text="the public address, and loopback",
        example="hub.internal,hub.internal:8080",
    )
    allowed_origins: tuple[str, ...] = setting(
        "Further web origins whose pages may call the hub, separated by commas.",
        parse=values.origins,
        default=(),
        default_text="the hub's own",
        example="https://app.example.com",
    )
    trusted_proxies: tuple[str, ...] = setting(
        "Addresses or networks whose `X-Forwarded-*` headers are believed, separated by commas.",
        parse=values.networks,
        default=(),
        default_text="none",
        example="10.0.0.0/8",
    )
    outbound_allow: tuple[str, ...] = setting(
        "Hosts, `host:port` or networks that the hub may call though they are private or plain http, "
        "separated by commas.",
        parse=values.outbound,
        default=(),
        default_text="none",
        example="10.0.0.7,tools.internal:9000",
    )
    mcp_issuers: tuple[str, ...] = setting(
        "Issuers of the authorization servers whose access tokens are taken at `/mcp`, separated by commas.",
        parse=values.issuers,
        default=(),
        default_text="none: API keys and the hub's own tokens",
        example="https://login.example.com",
    )
    mcp_scope: str = setting(
        "The scope that such a token needs.", parse=values.text, default="mcp", example="mcp:tools"
    )
    oauth_client_url: str | None = setting(
        "Where the document is that tells authorization servers of MCP servers who this hub is, if it is "
        "published elsewhere because they cannot reach the hub.",
        parse=values.web_address,
        default_text="PUBLIC_URL/.well-known/oauth/mcp-client.json",
        example="https://www.example.com/crossdock/mcp-client.json",
    )
    delivery_retries: tuple[float, ...] = setting(
        "How long to wait before each further try to notify a receiver that did not accept it; after the "
        "last one the notification is given up.",
        parse=values.pauses,
        default=(5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0),
        default_text="5s,30s,2m,10m,1h,6h",
        example="5s,1m,10m",
    )
    allow_http: bool = setting(
        "1 lets a hub that listens beyond loopback have a plain http public address.",
        parse=values.flag,
        default=False,
        default_text="0",
        example="1",
    )
    cookies: bool = setting(
        "1 lets `POST /api/v1/auth/token` also start a cookie session, for pages in a browser.",
        parse=values.flag,
        default=False,
        default_text="0",
        example="1",
    )
    drain_seconds: float = setting(
        "How long a stopping hub waits for requests in flight before it closes them.",
        parse=values.seconds,
        default=25.0,
        default_text="25",
        example="25",
    )
    log_level: str = setting(
        "`debug`, `info`, `warning` or `error`.",
        parse=values.level,
        default="INFO",
        default_text="info",
        example="debug",
    )
    log_format: str = setting(
        "`text` for people, `json` for collectors.", parse=values.log_format, default="text", example="json"
    )
    a2a_blocking_seconds: float | None = setting(
        "Caps how long a blocking A2A send waits; after that the task comes back in its present state.",
        parse=values.seconds,
        default_text="as long as the caller does",
        example="60",
    )
    url: str | None = setting(
        "For the programs that call a hub (`crossdock worker`, the client): where it is.",
        parse=values.web_address,
        default_text="http://127.0.0.1:8080",
        example="https://hub.example.com",
    )
    api_key: str | None = setting(
        "For the programs that call a hub: the key to call it with.",
        parse=values.text,
        example="$(cat agent.key)",
        secret=True,
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings that `environ` has; the others keep their defaults. An empty value is no value.

        Raises:
            SettingsError: a value cannot be used, or a secret is given twice, or its file cannot be read.
        """
        given: dict[str, Any] = {}
        for one in documented():
            value = value_of(one, environ)
            if value is None:
                continue
            try:
                given[one.name] = one.parse(value)
            except values.BadValue as bad:
                raise SettingsError(one.variable, str(bad), one.example) from None
        return cls(**given)

    @classmethod
    def from_process(cls) -> Self:
        """The settings of this process. Raises as `from_env`."""
        return cls.from_env(os.environ)

    def with_flags(self, **flags: str | None) -> Self:
        """The same settings with what the command line says instead; None leaves a field as it is.

        Raises:
            SettingsError: a flag's value cannot be used.
        """
        by_name = {one.name: one for one in documented()}
        changed: dict[str, Any] = {}
        for name, value in flags.items():
            if value is None:
                continue
            try:
                changed[name] = by_name[name].parse(value)
            except values.BadValue as bad:
                raise SettingsError(by_name[name].variable, str(bad), by_name[name].example) from None
        return dataclasses.replace(self, **changed)

    @property
    def database_path(self) -> Path | None:
        """The SQLite file, or None on PostgreSQL."""
        if not self.database_url.startswith("sqlite:///"):
            return None
        return Path(self.database_url.removeprefix("sqlite:///")).absolute()

    @property
    def secret_path(self) -> Path:
        """Where the secret is when no setting brings it: beside the database, else the working directory."""
        beside = self.database_path
        return (beside.parent if beside else Path.cwd()) / "crossdock.secret"

    @property
    def files_bucket(self) -> str | None:
        """The `s3://` address where files are kept, or None when it is a directory."""
        return self.files if self.files is not None and self.files.startswith("s3://") else None

    @property
    def files_path(self) -> Path:
        """The directory where files are kept, unless they are in a bucket."""
        beside = self.database_path
        return Path(self.files or (beside.parent if beside else Path.cwd()) / "crossdock-files")

    def sockets(self, port: int | None = None) -> Sequence[tuple[str, int]]:
        """Where the hub listens, as addresses: it never calls itself there."""
        host = self.host.strip("[]")
        hosts = ["127.0.0.1", "::1"] if host == "localhost" else [host]
        try:
            return [(str(ipaddress.ip_address(one)), self.port if port is None else port) for one in hosts]
        except ValueError:  # a name: every address that is this machine's counts
            return [("0.0.0.0", port or self.port), ("::", port or self.port)]  # noqa: S104 - nothing listens

    def all_sockets(self, port: int | None = None) -> Sequence[tuple[str, int]]:
        """As `sockets`, with those of gRPC."""
        return [*self.sockets(port), *(self.sockets(self.grpc_port) if self.grpc_port else ())]

    @property
    def binds_loopback(self) -> bool:
        """Whether only this machine can reach the hub."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def grpc_address(self) -> str | None:
        """Where others reach A2A over gRPC, as `host:port`; None when it is off."""
        if not self.grpc_port:
            return None
        host = urlsplit(self.address()).hostname or ""
        return f"[{host}]:{self.grpc_port}" if ":" in host else f"{host}:{self.grpc_port}"

    def address(self, port: int | None = None) -> str:
        """The hub's public address, without a trailing slash; `port` is the one really taken."""
        if self.public_url is not None:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return f"http://{host}:{self.port if port is None else port}"

    def check_binding(self, *, demo: bool = False) -> None:
        """Refuse to be reachable from elsewhere on settings that are only good for one's own machine.

        Raises:
            SettingsError: the host is not loopback, and the secret is the automatic one, the public
                address is missing or plain http, a key is the published example, or `demo` is on.
        """
        if self.binds_loopback:
            return
        if demo:
            raise SettingsError(
                "CROSSDOCK_HOST", "must be loopback for --demo, whose keys are shown", "127.0.0.1"
            )
        by_name = {one.name: one for one in documented()}
        beyond = f"must be set when CROSSDOCK_HOST is {self.host}"
        if self.secret_key is None:
            raise SettingsError("CROSSDOCK_SECRET_KEY", beyond, by_name["secret_key"].example)
        for name in ("secret_key", "admin_api_key"):
            if getattr(self, name) == by_name[name].example:
                raise SettingsError(
                    by_name[name].variable, "is the example that everybody can read", by_name[name].example
                )
        if self.public_url is None:
            raise SettingsError("CROSSDOCK_PUBLIC_URL", beyond, by_name["public_url"].example)
        if not self.public_url.startswith("https://") and not self.allow_http:
            raise SettingsError(
                "CROSSDOCK_PUBLIC_URL",
                f"must be https when CROSSDOCK_HOST is {self.host} (or set CROSSDOCK_ALLOW_HTTP=1)",
                by_name["public_url"].example,
            )

    @property
    def logging_level(self) -> int:
        """`log_level` as the standard library counts it."""
        return logging.getLevelNamesMapping()[self.log_level]


def documented() -> Sequence[Setting]:
    """Every setting, in the order of the documentation."""
    return [
        Setting(
            name=f.name,
            variable=PREFIX + f.name.upper(),
            doc=f.metadata["doc"],
            default=f.metadata["default_text"],
            example=f.metadata["example"],
            secret=f.metadata["secret"],
            parse=f.metadata["parse"],
        )
        for f in dataclasses.fields(Settings)
    ]


def unknown(environ: Mapping[str, str] | None = None) -> Sequence[str]:
    """One warning for each `CROSSDOCK_*` variable that nobody reads, with the nearest name that exists.

    Without `environ`, those of this process.
    """
    environ = os.environ if environ is None else environ
    known = {name for one in documented() for name in variables(one)}
    warnings = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or NOT_SETTINGS.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean {nearest[0]}?" if nearest else "no setting has a name like it"
        warnings.append(f"{name} is not a setting; {hint}")
    return warnings
