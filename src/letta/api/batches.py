"""Messages for many agents at once: `batches` of SDKs 1.0 to 1.6."""

from typing import Annotated, Any

from fastapi import Depends, Path, Response

from letta.api import routes
from letta.api.arrival import Marked, arrival_of_batch, note_answered
from letta.api.context import Page, Paging, Parts, paging, reply
from letta.api.sending import check_callback_url, refuse_unbuilt
from letta.schemas.batches import (
    Batch,
    BatchMessages,
    CalledFunction,
    CreateBatch,
    InternalMessage,
    InternalToolCall,
    InternalToolReturn,
)
from letta.schemas.common import UUID4_PATTERN
from letta.schemas.messages import Message, TextPart, ToolCallPart, ToolReturnPart
from letta.store import batches

router = routes.router(prefix="/v1/messages/batches", tags=["batches"], deprecated=True)

BatchId = Annotated[str, Path(pattern=f"^job-{UUID4_PATTERN}$", description="`job-` and a lower-case UUID4")]
Messages = Annotated[Page, Depends(paging(limit=100))]


@router.post("", response_model=Batch)
async def create_batch(parts: Parts, body: CreateBatch, marks: Marked) -> Response:
    """Send messages to up to 1,000 agents. All requests are accepted, or none; they are worked on in the background."""
    if body.callback_url is not None:
        await check_callback_url(parts, body.callback_url)
    made = await parts.batches.create(body, refuse_unbuilt, arrival_of_batch(parts, body, marks))
    await note_answered(parts, marks, made.id)
    return reply(made)


@router.get("", response_model=list[Batch])
async def list_batches(parts: Parts, page: Paging) -> Response:
    """Batches, newest first."""
    return reply(await parts.database.read(batches.list_page, **page.arguments()))


@router.get("/{batch_id}", response_model=Batch)
async def retrieve_batch(parts: Parts, batch_id: BatchId) -> Response:
    """How far a batch is, with the ids of its runs in the order of the requests."""
    return reply(await parts.database.read(batches.get, batch_id))


@router.patch("/{batch_id}/cancel", response_model=Batch)
async def cancel_batch(parts: Parts, batch_id: BatchId) -> Response:
    """Stop the runs that have not ended."""
    return reply(await parts.batches.cancel(batch_id))


@router.get("/{batch_id}/messages", response_model=BatchMessages)
async def list_messages_for_batch(
    parts: Parts, batch_id: BatchId, page: Messages, agent_id: str | None = None
) -> Response:
    """What the agents and their tools said, newest first, in V1's internal form of messages."""
    found = await parts.database.read(batches.said, batch_id, agent_id, **page.arguments())
    return reply(BatchMessages(messages=[_internal(message) for message in found]))


def _internal(message: Message) -> InternalMessage:
    returns = [_tool_return(part) for part in message.tool_returns]
    calls = [
        InternalToolCall(id=part.id, function=CalledFunction(name=part.name, arguments=part.arguments))
        for part in message.tool_calls
    ]
    content: list[Any] = [part for part in message.parts if not isinstance(part, ToolCallPart | ToolReturnPart)]
    content += [TextPart(text=one.func_response) for one in returns if one.func_response]
    return InternalMessage(
        id=message.id,
        role=message.role,
        agent_id=message.agent_id,
        content=content or None,
        model=message.model,
        name=message.name or next((part.name for part in message.tool_returns), None),
        tool_calls=calls or None,
        tool_call_id=returns[0].tool_call_id if returns else None,
        tool_returns=returns or None,
        otid=message.otid,
        sender_id=message.sender_id,
        group_id=message.group_id,
        step_id=message.step_id,
        run_id=message.run_id,
        is_err=message.is_err,
        created_at=message.created_at,
    )


def _tool_return(part: ToolReturnPart) -> InternalToolReturn:
    texts = (
        part.content
        if isinstance(part.content, str)
        else "\n".join(one.text for one in part.content if isinstance(one, TextPart))
    )
    return InternalToolReturn(
        tool_call_id=part.tool_call_id,
        status=part.status,
        stdout=list(part.stdout) or None,
        stderr=list(part.stderr) or None,
        func_response=texts,
    )
