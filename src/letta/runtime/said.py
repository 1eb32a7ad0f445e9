"""The messages a step makes: the answer, what its calls returned, and what the model is told so that it goes on."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from letta.runtime.scene import Scene, Step
from letta.runtime.styles import heartbeat_text
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, TextPart, ToolCallPart, ToolReturnPart
from letta.store import conversations
from letta.store.query import now
from letta.store.runs import Work


def answer(step: Step, waiting: frozenset[str] = frozenset()) -> list[Message]:
    """The messages before the answer, and the answer; calls that wait are marked."""
    scene = step.scene
    parts = [
        part.model_copy(update={"pending": True}) if isinstance(part, ToolCallPart) and part.id in waiting else part
        for part in step.answer.parts
    ]
    reply = scene.style.reply(step.calls)
    made = _message(scene, step.id, Role.ASSISTANT, parts, {"reply": reply} if reply else {})
    made.id, made.model, made.created_at = step.message_id, step.resolved.handle, scene.timing.step_started_at
    return [*(given.model_copy(update={"step_id": step.id}) for given in step.inputs), made]


def results(scene: Scene, step_id: str, returns: Sequence[ToolReturnPart]) -> list[Message]:
    """The message with what calls returned; none where nothing did."""
    return [_message(scene, step_id, Role.TOOL, returns, {})] if returns else []


def prompt_place(work: Work, earliest: datetime) -> Message:
    """Where a conversation's compiled prompt is shown; an agent's own thread has it from the start."""
    return Message(
        id=new_id("message"),
        role=Role.SYSTEM,
        parts=[],
        agent_id=work.agent_id,
        conversation_id=work.conversation_id,
        created_at=earliest - timedelta(microseconds=1),
        position=conversations.FIRST_POSITION - 1,
        data={"compiled": True},
    )


def nudges(scene: Scene, step_id: str, nudge: str | None) -> list[Message]:
    """What the model is told so that it goes on."""
    if nudge is None:
        return []
    moment = now().astimezone(ZoneInfo(scene.agent.timezone or "UTC")).strftime("%Y-%m-%d %I:%M:%S %p %Z%z")
    text = heartbeat_text(nudge, moment) if scene.style.name == "heartbeat" else nudge
    return [_message(scene, step_id, Role.USER, [TextPart(text=text)], {"packed": True, "nudge": True})]


def _message(scene: Scene, step_id: str, role: Role, parts: Sequence[Any], data: dict[str, Any]) -> Message:
    style = {"style": scene.style.name} if scene.style.name == "heartbeat" and role is not Role.USER else {}
    return Message(
        id=new_id("message"),
        role=role,
        parts=list(parts),
        agent_id=scene.work.agent_id,
        conversation_id=scene.work.conversation_id,
        created_at=now(),
        run_id=scene.work.id,
        step_id=step_id,
        group_id=scene.work.request.get("group_id"),
        data={**style, **data} or None,
    )
