"""Cards are signed (specification §8.4): JWS (RFC 7515) over the card's canonical form (RFC 8785).

What a card leaves out as a default must not be there when it is signed either; `card.py` writes no empty
members, so that every reader comes to the same form. Each key of the card's tenant makes one signature.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import rfc8785
from jwt.api_jws import PyJWS

from core.caller import SYSTEM
from core.platform import Platform
from core.signing_keys import Signer, SigningKey, open_signers, signing

KEY_SET: Final = "/.well-known/jwks.json"
"""Below the hub's address: the keys of every card."""
ENTRIES: Final = 256
Signatures = Sequence[Mapping[str, str]]


class CardSigner:
    """Signs cards with the keys that their tenants have now. What it remembers can be made anew."""

    def __init__(self, platform: Platform, public_url: str) -> None:
        self._platform = platform
        self._key_set = public_url.rstrip("/") + KEY_SET
        self._made: OrderedDict[tuple[bytes, tuple[str, ...]], Signatures] = OrderedDict()

    async def keys(self, tenant_id: UUID) -> Sequence[SigningKey]:
        """The keys that sign the cards of a tenant."""
        return await self._platform.read(SYSTEM(tenant_id), signing, None)

    async def signed(
        self, card: Mapping[str, Any], tenant_id: UUID, keys: Sequence[SigningKey]
    ) -> dict[str, Any]:
        """The card with its signatures; as it is where the tenant has no key."""
        if not keys:
            return dict(card)
        payload = rfc8785.dumps(dict(card))
        known = (hashlib.sha256(payload).digest(), tuple(key.kid for key in keys))
        signatures = self._made.get(known)
        if signatures is None:
            signers = await self._platform.read(SYSTEM(tenant_id), open_signers, None)
            signatures = [self._signature(payload, signer) for signer in signers]
            self._made[known] = signatures
            if len(self._made) > ENTRIES:
                self._made.popitem(last=False)
        return {**card, "signatures": list(signatures)} if signatures else dict(card)

    def _signature(self, payload: bytes, signer: Signer) -> Mapping[str, str]:
        headers = {"kid": signer.key.kid, "typ": "JOSE", "jku": self._key_set}
        token = PyJWS().encode(payload, signer.private.reveal(), signer.key.algorithm, headers=headers)
        protected, _, signature = token.split(".")
        return {"protected": protected, "signature": signature}


def key_set_of(keys: Sequence[SigningKey]) -> dict[str, Any]:
    """The public keys as a JWK set (RFC 7517 §5)."""
    return {"keys": [dict(key.public) for key in keys]}
