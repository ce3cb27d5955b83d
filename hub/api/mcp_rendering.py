"""MCP servers as the API shows them: without any secret."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from core.mcp.parameters import KEPT, Parameter
from core.mcp.records import Item, McpServer
from core.mcp.snapshot import Difference, Drift
from core.mcp.words import AuthMode, ItemKind, ItemState, ValueKind
from schemas.v1 import remote_mcp_servers as v1
from schemas.v1.fields import stamp, stamp_or_none
from schemas.vocabulary import Health


def remote_mcp_server(value: McpServer, items: Sequence[Item] | None = None) -> v1.RemoteMcpServer:
    """A server, with what it offers where that was read."""
    counts = value.counts
    told = [one for one in items or () if one.kind is ItemKind.INSTRUCTIONS and one.state is ItemState.ACTIVE]
    listed = None if items is None else [one for one in items if one.state is not ItemState.GONE]
    quarantined = None if listed is None else [one for one in listed if one.state is ItemState.QUARANTINED]
    templates = counts.get(ItemKind.TEMPLATE, 0)
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "slug": value.slug,
        "description": value.description,
        "kind": cast(Any, value.kind.value),
        "endpoint_url": value.endpoint_url,
        "document_url": value.document_url,
        "transport_preference": cast(Any, value.transport_preference.value),
        "call_timeout_seconds": value.call_timeout_seconds,
        "auth_mode": cast(Any, value.auth_mode.value),
        "pinning": cast(Any, value.pinning.value),
        "reverify_seconds": value.reverify_seconds or 0,
        "is_archived": value.is_archived,
        "registered_by": value.registered_by,
        "worker_id": value.worker_id,
        "verification_status": value.verification_status,
        "verification_error": value.verification_error,
        "verification_contract_version": "remote-mcp-v1",
        "verified_transport": cast(Any, value.verified_transport and value.verified_transport.value),
        "verified_era": cast(Any, value.verified_era and value.verified_era.value),
        "verified_version": value.verified_version,
        "supported_versions": list(value.versions),
        "verified_at": stamp_or_none(value.verified_at),
        "next_verification_at": stamp_or_none(value.verify_at),
        "verified_capability_summary": {
            "tool_count": counts.get(ItemKind.TOOL, 0),
            "resource_count": counts.get(ItemKind.RESOURCE, 0),
            "resource_template_count": templates,
            "prompt_count": counts.get(ItemKind.PROMPT, 0),
        },
        "capabilities": dict(value.capabilities),
        "server_info": dict(value.server_info),
        "instructions": told[0].definition["text"] if told else None,
        "verification_warnings": list(value.warnings),
        "discovered_tool_count": counts.get(ItemKind.TOOL, 0),
        "discovered_resource_count": counts.get(ItemKind.RESOURCE, 0) + templates,
        "discovered_prompt_count": counts.get(ItemKind.PROMPT, 0),
        "discovered_tools_snapshot": _each(listed, _tool, ItemKind.TOOL),
        "discovered_resources_snapshot": _each(listed, _resource, ItemKind.RESOURCE, ItemKind.TEMPLATE),
        "discovered_prompts_snapshot": _each(listed, _prompt, ItemKind.PROMPT),
        "quarantined_count": None if quarantined is None else len(quarantined),
        "health": value.health,
        "health_error": value.health_error,
        "health_changed_at": stamp(value.health_at),
        "retry_at": stamp_or_none(value.retry_at),
        "oauth_needs_reauth": value.auth_mode is AuthMode.OAUTH and value.health is Health.NEEDS_REAUTH,
        "parameters": [_parameter(one) for one in value.parameters],
        "revision": value.revision,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def drift_report(value: Drift) -> v1.DriftReport:
    """How a server differs from what was approved."""
    states = [one.item.state for one in value.differences]
    return {
        "server_id": value.server.id,
        "slug": value.server.slug,
        "verification_status": value.server.verification_status,
        "verified_at": stamp_or_none(value.server.verified_at),
        "quarantined_count": states.count(ItemState.QUARANTINED),
        "gone_count": states.count(ItemState.GONE),
        "items": [_difference(one) for one in value.differences],
    }


def _difference(value: Difference) -> v1.DifferenceOut:
    item = value.item
    return {
        "id": item.id,
        "kind": cast(Any, item.kind.value),
        "name": item.name,
        "change": cast(Any, value.change),
        "state": cast(Any, item.state.value),
        "paths": list(value.paths),
        "approved": None if item.approved is None else dict(item.approved),
        "approved_hash": item.approved_hash,
        "definition": dict(item.definition),
        "definition_hash": item.definition_hash,
        "flags": list(item.flags),
        "seen_at": stamp(item.seen_at),
    }


def _tool(item: Item) -> v1.ToolOut:
    said = item.definition
    return {
        "id": item.id,
        "original_name": item.name,
        "title": _text(said, "title"),
        "description": _text(said, "description"),
        "input_schema": _object(said, "inputSchema") or {},
        "output_schema": _object(said, "outputSchema"),
        "annotations": _object(said, "annotations"),
        "state": cast(Any, item.state.value),
        "definition_hash": item.definition_hash,
        "flags": list(item.flags),
    }


def _resource(item: Item) -> v1.ResourceOut:
    said = item.definition
    return {
        "id": item.id,
        "uri": _text(said, "uri"),
        "uri_template": _text(said, "uriTemplate"),
        "name": _text(said, "name"),
        "title": _text(said, "title"),
        "description": _text(said, "description"),
        "mime_type": _text(said, "mimeType"),
        "annotations": _object(said, "annotations"),
        "state": cast(Any, item.state.value),
        "definition_hash": item.definition_hash,
    }


def _prompt(item: Item) -> v1.PromptOut:
    said = item.definition
    arguments = said.get("arguments")
    return {
        "id": item.id,
        "original_name": item.name,
        "title": _text(said, "title"),
        "description": _text(said, "description"),
        "arguments": [one for one in arguments if type(one) is dict] if type(arguments) is list else [],
        "state": cast(Any, item.state.value),
        "definition_hash": item.definition_hash,
        "flags": list(item.flags),
    }


def _parameter(value: Parameter) -> v1.ParameterOut:
    return {
        "id": value.id,
        "placement": cast(Any, value.placement.value),
        "key": value.key,
        "value_kind": cast(Any, value.value_kind.value),
        "value": KEPT if value.value_kind is ValueKind.SECRET else value.value,
        "has_stored_secret": value.has_stored_secret,
    }


def _each(items: Sequence[Item] | None, shown: Any, *kinds: ItemKind) -> list[Any] | None:
    return None if items is None else [shown(one) for one in items if one.kind in kinds]


def _text(said: Mapping[str, Any], key: str) -> str | None:
    value = said.get(key)
    return value if type(value) is str else None


def _object(said: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    value = said.get(key)
    return value if type(value) is dict else None
