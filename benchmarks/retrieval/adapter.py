"""The evaluation's way to the server: plain REST, as any client would do it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx2

from benchmarks.retrieval.dialogues import Dialogue

_BATCH = 200
_PATIENCE = 1_800.0


class Memory:
    """A server that remembers. `http` knows its address."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def remember(self, dialogue: Dialogue) -> tuple[str, list[str]]:
        """Give a conversation to a new agent. Answers its id and the ids of the turns, in order."""
        first = dialogue.turns[0].speaker
        opening = [
            {"role": "user" if turn.speaker == first else "assistant", "name": turn.speaker, "content": turn.text}
            for turn in dialogue.turns
        ]
        body = {"model": "letta/scripted", "initial_message_sequence": opening, "include_base_tools": False}
        agent_id: str = (await self._json("POST", "/v1/agents/", body))["id"]
        ids: list[str] = []
        after: str | None = None
        while len(ids) < len(opening) + 1:
            params = {"limit": "1000", "order": "asc", **({"after": after} if after else {})}
            page = await self._json("GET", f"/v1/agents/{agent_id}/messages", params=params)
            ids += [message["id"] for message in page]
            after = ids[-1]
        return agent_id, ids[1:]

    async def store(self, passages: Sequence[str]) -> tuple[str, list[str]]:
        """Put passages into a new archive. Answers its id and those of the passages, in order."""
        archive_id: str = (await self._json("POST", "/v1/archives/", {"name": "handbooks"}))["id"]
        return archive_id, await self.add(archive_id, passages)

    async def add(self, archive_id: str, passages: Sequence[str]) -> list[str]:
        """Put passages into an archive. Answers their ids, in order."""
        ids: list[str] = []
        for start in range(0, len(passages), _BATCH):
            body = {"passages": [{"text": text} for text in passages[start : start + _BATCH]]}
            made = await self._json("POST", f"/v1/archives/{archive_id}/passages/batch", body)
            ids += [passage["id"] for passage in made]
        return ids

    async def knows_meaning(self) -> bool:
        """Has the server its local embedding model? Without it everything is found by words only."""
        return any(model["provider_name"] == "letta" for model in await self._json("GET", "/v1/models/embedding"))

    async def until(self, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that shows over HTTP only."""
        async with asyncio.timeout(_PATIENCE):
            while not await check():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)

    async def embedded(self, path: str) -> None:
        """Wait until everything of an agent or archive (`agents/ID`, `archives/ID`) has its vector."""

        async def done() -> bool:
            return bool((await self._json("GET", f"/v1/{path}/embedding"))["waiting"] == 0)

        await self.until(done)

    async def messages(self, agent_id: str, query: str, mode: str, limit: int) -> list[str]:
        """The ids of the messages found, best first."""
        body = {"query": query, "agent_id": agent_id, "search_mode": mode, "limit": limit}
        return [found["message_id"] for found in await self._json("POST", "/v1/messages/search", body)]

    async def passages(self, archive_id: str, query: str, mode: str, limit: int) -> list[str]:
        """The ids of the passages found, best first."""
        body = {"query": query, "archive_id": archive_id, "search_mode": mode, "limit": limit}
        return [found["passage"]["id"] for found in await self._json("POST", "/v1/passages/search", body)]

    async def _json(self, method: str, path: str, body: Any = None, params: dict[str, str] | None = None) -> Any:
        answer = await self._http.request(method, path, json=body, params=params)
        answer.raise_for_status()
        return answer.json()
