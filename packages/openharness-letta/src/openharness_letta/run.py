"""One run: a message to an agent, the client tools it calls, the approvals it asks for, until it stops.

Yields events and keeps what they amount to. A run may take several requests, since the server pauses whenever it wants
an answer; its events make one sequence all the same.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from letta_client import APIError, BadRequestError, ConflictError, UnprocessableEntityError

from openharness.adapter import AdapterExecutionResult
from openharness.types import ExecutionEvent, ThinkingEvent, ToolCall, UsageStats
from openharness_letta.connection import Connection, url_path, waits_for_approval
from openharness_letta.errors import RunFailed, about
from openharness_letta.frames import Call, FrameReader
from openharness_letta.leaving import release
from openharness_letta.pending import pending_calls
from openharness_letta.requests import Decision, RunOptions
from openharness_letta.tools import ClientTool, answer_text

GOOD_ENDS = {"end_turn", "max_steps", "tool_rule", "requires_approval"}
PAUSED = "requires_approval"
REFUSED_BY_MODEL = "llm_api_error"
LONGEST_RUN = 100  # requests; a client tool that is called over and over would never end otherwise


class Run:
    """A run of one agent. Iterate `events()` once; then `result()` and `usage` tell what it amounted to.

    `releases` holds, while it goes on, the work of freeing the agent after the run was left.
    """

    def __init__(
        self,
        connection: Connection,
        agent_id: str,
        client_tools: Mapping[str, ClientTool],
        options: RunOptions,
        *,
        stream_tokens: bool,
        calls: Iterable[Call] = (),
        releases: set[asyncio.Task[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._agent_id = agent_id
        self._tools = client_tools
        self._options = options
        self._stream_tokens = stream_tokens
        self._reader = FrameReader(calls)
        self._began = time.monotonic()
        self._refused: str | None = None
        self._releases = set() if releases is None else releases

    @property
    def usage(self) -> UsageStats:
        """The tokens of all requests, and the milliseconds since the run began."""
        spent = round((time.monotonic() - self._began) * 1000)
        return self._reader.usage.model_copy(update={"duration_ms": spent})

    @property
    def waiting(self) -> list[Call]:
        """The calls that wait for approval, if the run paused for it."""
        return [call for call in self._reader.calls.values() if call.waiting]

    @property
    def paused(self) -> bool:
        """Whether the run stopped because nobody decided about its calls."""
        return self._reader.stop_reason == PAUSED

    def result(self, metadata: Mapping[str, Any] | None = None) -> AdapterExecutionResult:
        """What the run amounted to so far."""
        reader = self._reader
        told: dict[str, Any] = {"agent_id": self._agent_id, "stop_reason": reader.stop_reason}
        if self.paused:
            told["pending_approvals"] = [
                {"id": call.id, "name": call.name, "input": call.input or {}} for call in self.waiting
            ]
        if reader.summaries:
            told["summaries"] = list(reader.summaries)
        if self._refused:
            told["refused"] = self._refused
        return AdapterExecutionResult(
            output=self._output(),
            tool_calls=[call.as_dict() for call in reader.calls.values()],
            usage=self.usage,
            metadata={**(metadata or {}), **told},
        )

    def _output(self) -> str:
        if not self._options.include_thinking:
            return self._reader.output
        return "\n".join(f"[Thinking: {text}]" if kind == "thinking" else text for kind, text in self._reader.said)

    async def events(
        self, messages: list[dict[str, Any]], *, model: str | None = None, may_be_refused: bool = False
    ) -> AsyncGenerator[ExecutionEvent, None]:
        """Send messages and yield everything but the last event, which is the caller's to say.

        With `may_be_refused` a server or model that does not take the message makes an empty run and not an error.

        Raises:
            APIError: the server refuses.
            RunFailed: the run ended badly; its `result` is what there was until then.
        """
        try:
            with about("Agent", self._agent_id):
                async with aclosing(self._left_in_order(messages, model)) as turns:
                    async for event in turns:
                        if self._options.include_thinking or not isinstance(event, ThinkingEvent):
                            yield event
        except RunFailed as failed:
            failed.stop_reason = failed.stop_reason or self._reader.stop_reason
            if may_be_refused and failed.stop_reason == REFUSED_BY_MODEL and not self._reader.said:
                self._refused = str(failed)
                return
            for event in self._reader.end_all(f"the run ended before the tool did: {failed}"):
                yield event
            error = RunFailed(f"Agent {self._agent_id}: {failed}", failed.stop_reason)
            error.result = self.result()
            raise error from failed
        except (BadRequestError, UnprocessableEntityError) as error:
            if not may_be_refused:
                raise
            with about("Agent", self._agent_id):
                # The message may be refused; the agent still has to be there.
                await self._connection.get(url_path("agents", self._agent_id))
            self._refused = str(error)
        except ConflictError as error:
            if waits_for_approval(error):
                hint = f"a tool call waits for approval; decide about it with {await self._way_on()}"
                raise type(error)(f"{error} ({hint})", response=error.response, body=error.body) from error
            raise

    async def _way_on(self) -> str:
        """How to answer the calls that the agent waits with."""
        try:
            calls = await pending_calls(self._connection, self._agent_id)
        except APIError:  # the error that is being explained says more
            calls = []
        decisions = ", ".join(f'"{call.id}": True' for call in calls) or "..."
        names = ", ".join(call.name for call in calls)
        return f'answer_approvals("{self._agent_id}", {{{decisions}}})' + (f": {names}" if names else "")

    async def resumed(self, decisions: Mapping[str, Decision]) -> AsyncGenerator[ExecutionEvent, None]:
        """Go on with a run that paused: decide about its calls, which are those the run was made with.

        Raises:
            APIError, RunFailed: as `events` does.
        """
        for event in self._reader.settle():
            yield event
        by_tool = {call_id: None if self._runs_here(call_id, made) else made for call_id, made in decisions.items()}
        answers: list[dict[str, Any]] = []
        async with aclosing(self._answered(by_tool, answers)) as answering:
            async for event in answering:
                yield event
        async with aclosing(self.events(_approvals(answers))) as events:
            async for event in events:
                yield event

    def _runs_here(self, call_id: str, decision: Decision) -> bool:
        return decision is True and self._reader.calls[call_id].name in self._tools

    async def _left_in_order(
        self, messages: list[dict[str, Any]], model: str | None
    ) -> AsyncGenerator[ExecutionEvent, None]:
        """The turns; however they are left, the agent does not go on waiting for a tool of this process."""
        try:
            async with aclosing(self._turns(messages, model)) as turns:
                async for event in turns:
                    yield event
        except BaseException:  # also a cancelled task and a closed generator; it is raised again
            if self._reader.run_id is not None and self._may_wait_for_us():
                releasing = asyncio.create_task(
                    release(self._connection, self._agent_id, self._reader.run_id, set(self._tools))
                )
                self._releases.add(releasing)
                releasing.add_done_callback(self._releases.discard)
                await asyncio.shield(releasing)
            raise

    def _may_wait_for_us(self) -> bool:
        """Whether the agent waits for a client tool, or may yet come to call one."""
        reason = self._reader.stop_reason
        return bool(self._tools) and (
            reason is None or (reason == PAUSED and any(call.name in self._tools for call in self.waiting))
        )

    async def _turns(self, messages: list[dict[str, Any]], model: str | None) -> AsyncGenerator[ExecutionEvent, None]:
        for done in range(1, LONGEST_RUN + 1):
            async with aclosing(self._turn(messages, model)) as turn:
                async for event in turn:
                    yield event
            decisions = await self._decisions() if self._reader.stop_reason == PAUSED else None
            if not decisions:
                break
            if done == LONGEST_RUN:
                raise RunFailed(f"no end after {LONGEST_RUN} rounds of client tools")
            answers: list[dict[str, Any]] = []
            async with aclosing(self._answered(decisions, answers)) as answering:
                async for event in answering:
                    yield event
            messages = _approvals(answers)
        for event in self._closed():
            yield event

    async def _turn(self, messages: list[dict[str, Any]], model: str | None) -> AsyncGenerator[ExecutionEvent, None]:
        self._reader.stop_reason = None
        path = url_path("agents", self._agent_id, "messages", "stream")
        async with aclosing(self._connection.frames(path, self._body(messages, model))) as frames:
            async for frame in frames:
                for event in self._reader.read(frame):
                    yield event
        for event in self._reader.settle():
            yield event
        if self._reader.stop_reason is None:
            raise RunFailed("the stream ended before the run did")

    def _body(self, messages: list[dict[str, Any]], model: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": messages,
            "streaming": True,
            "stream_tokens": self._stream_tokens,
            # Pings tell a slow model from a dead server.
            "include_pings": True,
            "include_compaction_messages": True,
        }
        if self._tools:
            body["client_tools"] = [tool.offered() for tool in self._tools.values()]
        if model is not None:
            body["override_model"] = model
        if self._options.max_steps is not None:
            body["max_steps"] = self._options.max_steps
        return body

    async def _decisions(self) -> dict[str, Decision | None] | None:
        """What to do about each waiting call; `None` if somebody has to decide who is not there."""
        decisions: dict[str, Decision | None] = {}
        for call in self._reader.waiting:
            if call.name in self._tools:
                decisions[call.id] = None
                continue
            asked = ToolCall(id=call.id, name=call.name, input=call.input or {})
            decision = await self._options.decide(asked)
            if decision is None:
                return None
            decisions[call.id] = decision
        return decisions

    async def _answered(
        self, decisions: Mapping[str, Decision | None], answers: list[dict[str, Any]]
    ) -> AsyncGenerator[ExecutionEvent, None]:
        """Append to `answers`, one for each call: decisions as they are, results of client tools, run side by side."""
        calls = self._reader.calls
        answers += [approval(call_id, made) for call_id, made in decisions.items() if made is not None]
        here = [calls[call_id] for call_id, made in decisions.items() if made is None]
        running = [asyncio.create_task(self._called(call)) for call in here]
        try:
            for finished in asyncio.as_completed(running):
                call, succeeded, text = await finished
                status = "success" if succeeded else "error"
                answers.append({"type": "tool", "tool_call_id": call.id, "tool_return": text, "status": status})
                for event in self._reader.end(call.id, **({"output": text} if succeeded else {"error": text})):
                    yield event
        finally:
            for task in running:
                task.cancel()
        for call_id in decisions:
            calls[call_id].waiting = False

    async def _called(self, call: Call) -> tuple[Call, bool, str]:
        try:
            return call, True, answer_text(await self._tools[call.name].call(call.input or {}))
        except Exception as error:  # whatever a tool raises is an answer for its agent
            return call, False, f"{type(error).__name__}: {error}"

    def _closed(self) -> list[ExecutionEvent]:
        reason = self._reader.stop_reason
        if reason not in GOOD_ENDS:
            raise RunFailed(f"the run ended with stop reason {reason}", reason)
        unanswered = "waiting for approval" if reason == PAUSED else "the server told no result"
        return self._reader.end_all(unanswered)


def approval(call_id: str, decision: Decision) -> dict[str, Any]:
    """A decision about a call in the server's terms: `True`, `False`, or the reason for a denial."""
    answer: dict[str, Any] = {"type": "approval", "tool_call_id": call_id, "approve": decision is True}
    return {**answer, "reason": decision} if isinstance(decision, str) else answer


def _approvals(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "approval", "approvals": answers}]
