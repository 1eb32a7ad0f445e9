"""Our messages as pydantic-ai's, and its answers as our parts. Its message format exists only during a call.

Knows both message formats and no provider's wire. State of another provider is left out: nobody else can verify it.
"""

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_ai import messages as pai
from pydantic_ai.models import Model

from letta.models import images, names, repair
from letta.models.history import as_user_parts, repaired
from letta.models.openai_messages import sendable_arguments
from letta.models.pydantic_ai.kinds import Kind
from letta.models.pydantic_ai.state import State, packed, unpacked
from letta.schemas.messages import (
    Base64Image,
    ImagePart,
    Message,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

_log = logging.getLogger(__name__)
_REDACTED = "redacted_thinking"
_BEGIN = "[The conversation starts earlier.]"
_CONTINUE = "[Continue.]"


def conversation(messages: Sequence[Message], model: Model[Any], provider: str, kind: Kind) -> list[pai.ModelMessage]:
    """The history as pydantic-ai takes it: requests and responses in turn, every call answered.

    Args:
        provider: the provider part of the request's handle; only its own messages keep their provider state.
        kind: what the API accepts; call ids it would refuse are replaced, the same way in call and result.
    """
    out: list[pai.ModelMessage] = []
    tools: dict[str, str] = {}
    for message in repaired(messages):
        if message.role in (Role.ASSISTANT, Role.APPROVAL):
            tools |= {call.id: call.name for call in message.tool_calls}
            said = list(_said(message, model, kind, own=names.provider_of(message.model) == provider))
            if said and out and isinstance(out[-1], pai.ModelResponse):
                said = [*out.pop().parts, *said]
            if said:
                out.append(_response(said, model))
        else:
            parts = _results(message, tools, kind) if message.role is Role.TOOL else _asked(message)
            if out and isinstance(out[-1], pai.ModelRequest):
                out[-1] = pai.ModelRequest(parts=[*out[-1].parts, *parts])
            elif parts:
                out.append(pai.ModelRequest(parts=parts))
    if not out or (kind.takes_turns and isinstance(out[0], pai.ModelResponse)):
        out.insert(0, pai.ModelRequest(parts=[pai.UserPromptPart(content=_BEGIN)]))
    if kind.takes_turns and isinstance(out[-1], pai.ModelResponse):
        out.append(pai.ModelRequest(parts=[pai.UserPromptPart(content=_CONTINUE)]))
    return out


def _response(parts: list[Any], model: Model[Any]) -> pai.ModelResponse:
    own = any(part.provider_name for part in parts)
    return pai.ModelResponse(
        parts=parts,
        provider_name=model.system if own else None,
        canonical_system=model.canonical_system if own else None,
    )


def _asked(message: Message) -> list[pai.ModelRequestPart]:
    content = _content(as_user_parts(message))
    if not content:
        return []
    only_text = len(content) == 1 and isinstance(content[0], str)
    return [pai.UserPromptPart(content=content[0] if only_text else content)]


def _content(parts: Iterable[Part]) -> list[Any]:
    found: list[Any] = []
    for part in parts:
        if isinstance(part, TextPart) and part.text:
            found.append(part.text)
        elif isinstance(part, ImagePart):
            found.append(_image(part))
    return found


def _image(part: ImagePart) -> pai.BinaryContent | pai.ImageUrl | str:
    detail = images.detail(part)
    metadata = {"detail": detail} if detail else None
    if inline := images.base64(part):
        media_type, text = inline
        try:
            data = base64.b64decode(text)
        except binascii.Error:
            return images.MISSING
        return pai.BinaryContent(data=data, media_type=media_type, vendor_metadata=metadata)
    address = images.url(part)
    return pai.ImageUrl(url=address, vendor_metadata=metadata) if address else images.MISSING


def _results(message: Message, tools: Mapping[str, str], kind: Kind) -> list[pai.ModelRequestPart]:
    return [
        pai.ToolReturnPart(
            tool_name=names.tool_name(part.name or tools.get(part.tool_call_id, "unknown")),
            tool_call_id=names.call_id(part.tool_call_id, kind.call_id),
            content=part.content if isinstance(part.content, str) else _result_content(part),
            outcome="failed" if part.status == "error" and kind.marks_errors else "success",
        )
        for part in message.tool_returns
    ]


def _result_content(part: ToolReturnPart) -> Any:
    content = _content(item for item in part.content if not isinstance(item, str))
    return content[0] if len(content) == 1 and isinstance(content[0], str) else content or ""


def _said(
    message: Message, model: Model[Any], kind: Kind, *, own: bool
) -> Iterable[pai.TextPart | pai.ThinkingPart | pai.ToolCallPart]:
    name = model.system if own else None
    for part in message.parts:
        match part:
            case TextPart(text=text) if text:
                state = unpacked(part.signature) if own else State()
                yield pai.TextPart(
                    content=text,
                    provider_name=name,
                    provider_details=state.get("provider_details"),
                )
            case ToolCallPart():
                state = unpacked(part.signature) if own else State()
                yield pai.ToolCallPart(
                    tool_name=names.tool_name(part.name),
                    args=sendable_arguments(part),
                    tool_call_id=names.call_id(part.id, kind.call_id),
                    provider_name=name,
                    provider_details=state.get("provider_details"),
                )
            case _ if own:
                yield from _thoughts(part, model.system)


def _thoughts(part: Part, system: str) -> Iterable[pai.ThinkingPart]:
    match part:
        case ReasoningPart(reasoning=text, is_native=True, signature=signature):
            # Reasoning that is only raw text beside an id (see `_raw`) goes back as details, not as content.
            state = unpacked(signature)
            raw = "raw_content" in state.get("provider_details", {})
            yield pai.ThinkingPart(content="" if raw else text, provider_name=system, **state)
        case RedactedReasoningPart(data=data):
            yield pai.ThinkingPart(content="", id=_REDACTED, signature=data, provider_name=system)
        case OmittedReasoningPart(signature=signature) if signature:
            yield pai.ThinkingPart(content="", provider_name=system, **unpacked(signature))
        # Nothing is stored at the provider: reasoning it did not hand out in encrypted form cannot be referred to.
        case SummarizedReasoningPart(id=id_, summary=summary, encrypted_content=encrypted) if encrypted:
            for number, text in enumerate(summary or ("",)):
                yield pai.ThinkingPart(
                    content=text, id=id_, signature=encrypted if number == 0 else None, provider_name=system
                )


def answer_parts(response: pai.ModelResponse, renamed: Mapping[str, str], *, cut_off: bool) -> tuple[Part, ...]:
    """The parts of an answer as ours, in the model's order.

    Args:
        renamed: tool names that were changed for the provider, changed name to original.
        cut_off: the answer ended at its output limit.
    """
    out: list[Part] = []
    for part in response.parts:
        match part:
            case pai.TextPart(content=text) if text:
                out.append(TextPart(text=whole(text), signature=packed(part)))
            case pai.ThinkingPart():
                _add_thought(out, part)
            case pai.ToolCallPart():
                read = repair.arguments(written(part.args), cut_off=cut_off)
                out.append(
                    ToolCallPart(
                        id=part.tool_call_id,
                        name=renamed.get(part.tool_name, part.tool_name),
                        arguments=read.text,
                        error=read.error,
                        signature=packed(part),
                    )
                )
            case pai.FilePart(content=file) if file.is_image:
                data = base64.b64encode(file.data).decode()
                out.append(ImagePart(source=Base64Image(media_type=file.media_type, data=data)))
            case pai.TextPart():
                pass  # empty text says nothing
            case _:
                # Minor releases add kinds of parts; an answer is worth more than its unknown ornaments.
                _log.warning("a part of kind %r in the answer is not understood and left out", part.part_kind)
    return tuple(out)


def written(args: Any) -> str:
    """The arguments of a call as JSON text, whichever way the SDK holds them."""
    return whole(args if isinstance(args, str) else json.dumps(args or {}, ensure_ascii=False))


def whole(text: str) -> str:
    """The text without half surrogates, which some models send and no UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _add_thought(out: list[Part], part: pai.ThinkingPart) -> None:
    raw = (part.provider_details or {}).get("raw_content")
    last = out[-1] if out else None
    if part.id == _REDACTED:
        out.append(RedactedReasoningPart(data=part.signature or ""))
    elif raw and not part.content:
        out.append(ReasoningPart(reasoning="\n".join(str(text) for text in raw), signature=packed(part, with_id=True)))
    elif part.id and (part.id.startswith("rs_") or part.signature) and not part.provider_details:
        summary = (whole(part.content),) if part.content else ()
        if isinstance(last, SummarizedReasoningPart) and last.id == part.id:
            encrypted = last.encrypted_content or part.signature
            out[-1] = SummarizedReasoningPart(id=part.id, summary=last.summary + summary, encrypted_content=encrypted)
        else:
            out.append(SummarizedReasoningPart(id=part.id, summary=summary, encrypted_content=part.signature))
    elif part.content:
        out.append(ReasoningPart(reasoning=whole(part.content), signature=packed(part, with_id=True)))
    elif part.signature or part.provider_details:
        out.append(OmittedReasoningPart(signature=packed(part, with_id=True)))
