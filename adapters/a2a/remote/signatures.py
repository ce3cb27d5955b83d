"""The signatures of an agent card (specification §8.4): JWS over its canonical form (RFC 7515, RFC 8785).

A signature tells who made the card. With keys that the operator trusts it must be one of theirs; without, the
key set that the signature names shows at least that card and keys come from the same place.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import jwt
import rfc8785
from jwt.api_jws import PyJWS

from core.ports import CardRefused, Signature
from schemas.strict_json import InvalidJson, parse_json

ALGORITHMS: Final = ("EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "RS256", "RS384")
"""Asymmetric ones only: whoever can check a card must not be able to sign one."""
MOST: Final = 8
"""Signatures of one card that are looked at."""

KeySet = Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
"""Fetches the keys that a `jku` names. Raises CardRefused."""


async def judge(
    card: Mapping[str, Any], trusted: Sequence[Mapping[str, Any]], fetch_keys: KeySet
) -> Signature:
    """What the signatures of a card are worth. One that holds is enough, since keys rotate.

    Raises:
        CardRefused: none holds; or none is of a trusted key, where there are trusted keys.
    """
    signatures = card.get("signatures")
    if type(signatures) is not list or not signatures:
        if trusted:
            raise CardRefused("the card is not signed, though keys are trusted for it")
        return Signature.NONE
    forms = _forms(card)
    checked = False
    for signature in signatures[:MOST]:
        protected = _header(signature)
        if protected is None:
            continue
        keys = trusted
        if not trusted:
            jku = protected.get("jku")
            if type(jku) is not str:
                continue
            keys = await fetch_keys(jku)
        checked = True
        if any(_holds(signature, form, key) for key in _named(keys, protected) for form in forms):
            return Signature.VALID
    if not checked:
        return Signature.UNKNOWN
    raise CardRefused("no signature of the card holds")


def keys_of(document: Any) -> Sequence[Mapping[str, Any]]:
    """The keys of a JWK set (RFC 7517 §5); none of what is no such set."""
    keys = document.get("keys") if type(document) is dict else None
    return [key for key in keys if type(key) is dict] if type(keys) is list else ()


def _header(signature: Any) -> Mapping[str, Any] | None:
    if type(signature) is not dict:
        return None
    protected = signature.get("protected")
    if type(protected) is not str or type(signature.get("signature")) is not str:
        return None
    try:
        header = parse_json(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
    except (InvalidJson, binascii.Error, ValueError):
        return None
    return header if type(header) is dict and header.get("alg") in ALGORITHMS else None


def _named(keys: Sequence[Mapping[str, Any]], protected: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kid = protected.get("kid")
    return [key for key in keys if kid is None or key.get("kid") in (None, kid)]


def _holds(signature: Mapping[str, Any], payload: bytes, key: Mapping[str, Any]) -> bool:
    encoded = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    token = f"{signature['protected']}.{encoded}.{signature['signature'].rstrip('=')}"
    try:
        PyJWS().decode(token, jwt.PyJWK(dict(key)), algorithms=list(ALGORITHMS))
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return True


def _forms(card: Mapping[str, Any]) -> list[bytes]:
    """The canonical forms under which a card may have been signed: as it is served, without what is empty,
    and both without the members that 0.3 has beside 1.0's, which are added after signing."""
    plain = {name: value for name, value in card.items() if name != "signatures"}
    newer = _newer(plain)
    made = []
    for form in (plain, newer, _filled(plain), _filled(newer)):
        try:
            canonical = rfc8785.dumps(form)
        except rfc8785.CanonicalizationError:
            continue
        if canonical not in made:
            made.append(canonical)
    return made


_LEGACY: Final = frozenset(
    {
        "protocolVersion",
        "url",
        "preferredTransport",
        "additionalInterfaces",
        "supportsAuthenticatedExtendedCard",
        "security",
    }
)


_SCHEMES: Final = frozenset(
    {
        "apiKeySecurityScheme",
        "httpAuthSecurityScheme",
        "oauth2SecurityScheme",
        "openIdConnectSecurityScheme",
        "mtlsSecurityScheme",
    }
)
"""All that a security scheme of 1.0 has."""


def _newer(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card without the members of 0.3, at whatever depth."""
    newer = {name: value for name, value in card.items() if name not in _LEGACY}
    schemes, skills = newer.get("securitySchemes"), newer.get("skills")
    if isinstance(schemes, Mapping):
        newer["securitySchemes"] = {
            name: _without(one, lambda m: m in _SCHEMES) for name, one in schemes.items()
        }
    if isinstance(skills, list):
        newer["skills"] = [_without(skill, lambda m: m != "security") for skill in skills]
    return newer


def _without(value: Any, kept: Callable[[str], bool]) -> Any:
    return {name: held for name, held in value.items() if kept(name)} if isinstance(value, Mapping) else value


def _filled(value: Any) -> Any:
    """Without empty members, as protobuf leaves defaults out."""
    if isinstance(value, Mapping):
        kept = {name: _filled(held) for name, held in value.items()}
        return {name: held for name, held in kept.items() if held not in ("", [], {}, None, False, 0)}
    if isinstance(value, list):
        return [_filled(held) for held in value]
    return value
