"""Reading what a POST brings: one JSON body, or a stream that ends with the answer."""

from contextlib import aclosing

import aiohttp
from pydantic_core import from_json

from adapters import jsonrpc
from adapters.mcp.upstream.events import Events
from adapters.mcp.upstream.failures import BadAnswer
from adapters.mcp.upstream.hearing import Hearing
from adapters.mcp.upstream.http import JSON, SSE, body_of, events_of, kind_of, refusal
from adapters.mcp.upstream.interface import Reply, is_response, response_of


async def whole_reply(response: aiohttp.ClientResponse, id: jsonrpc.Id) -> Reply:
    """The answer in a JSON body, whatever the status.

    Raises:
        UpstreamError: there is none in it.
    """
    status = response.status
    if kind_of(response) != JSON:
        if status >= 300:
            raise refusal(status)
        raise BadAnswer("the answer is neither JSON nor an event stream", status=status)
    raw = await body_of(response)
    try:
        message = response_of(raw)
    except BadAnswer:
        if status >= 300:
            raise refusal(status) from None
        raise
    if message.get("id") != id and not (message.get("id") is None and "error" in message):
        raise BadAnswer("the answer is to another request")
    return Reply(raw, message)


async def streamed_reply(
    response: aiohttp.ClientResponse, id: jsonrpc.Id, events: Events, hearing: Hearing
) -> Reply | None:
    """The answer at the end of an event stream; None if the stream ends without it.

    Raises:
        UpstreamError: the stream breaks, or holds what it should not.
    """
    async with aclosing(events_of(response, events)) as stream:
        async for event in stream:
            if event.kind != "message" or not event.data:
                continue
            try:
                value = from_json(event.data, allow_inf_nan=False)
            except ValueError:
                raise BadAnswer("an event of the stream is not JSON") from None
            if type(value) is not dict:
                raise BadAnswer("an event of the stream is no JSON-RPC message")
            if not is_response(value):
                await hearing.take(value)
            elif value.get("id") == id or (value.get("id") is None and "error" in value):
                return Reply(event.data, value)
    return None


def is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether a response is an event stream."""
    return response.status == 200 and kind_of(response) == SSE
