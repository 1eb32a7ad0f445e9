"""Memory is never stale: whoever changed a block, the next request carries its newest committed value."""

import asyncio
import re
import threading
from pathlib import Path

import httpx2
from tests.cli.process import server
from tests.serving import serve

_WRITERS = 8
_VALUE = re.compile(r"version (\d+)!")


class Counter:
    """Numbers given to writes, and the largest one that was acknowledged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = 0
        self.acknowledged = 0

    def next(self) -> int:
        with self._lock:
            self._given += 1
            return self._given


def shown(system: str) -> int:
    found = _VALUE.findall(system)
    return int(found[-1]) if found else 0


async def test_thousand_requests_among_eight_writers_carry_the_newest_value(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": "version 0!"}])
        block_id = agent["blocks"][0]["id"]
        turn, counter, stop = asyncio.Lock(), Counter(), asyncio.Event()

        async def write() -> None:
            while not stop.is_set():
                # Writers take turns, so that a larger number is always the newer value.
                async with turn:
                    number = counter.next()
                    body = {"value": f"version {number}!"}
                    assert (await served.http.patch(f"/v1/blocks/{block_id}", json=body)).status_code == 200
                    counter.acknowledged = number
                await asyncio.sleep(0)

        writers = [asyncio.create_task(write()) for _ in range(_WRITERS)]
        stale = []
        for _ in range(1000):
            before = counter.acknowledged
            await served.send(agent["id"], "hello")
            seen = shown("\n".join(served.model.requests[-1].system))
            if seen < before:
                stale.append((before, seen))
        stop.set()
        await asyncio.gather(*writers)
    assert stale == []
    assert counter.acknowledged > 1000


def test_newest_value_survives_kills(tmp_path: Path) -> None:
    counter = Counter()
    agent_id = block_id = ""
    for _ in range(4):
        with server(tmp_path) as (url, process), httpx2.Client(base_url=url, timeout=30) as http:
            if not agent_id:
                fields = {"model": "letta/scripted", "memory_blocks": [{"label": "human", "value": "version 0!"}]}
                made = http.post("/v1/agents/", json=fields).json()
                agent_id, block_id = made["id"], made["blocks"][0]["id"]
            turn = threading.Lock()

            def write(http: httpx2.Client = http, turn: threading.Lock = turn, block_id: str = block_id) -> None:
                while True:
                    with turn:
                        number = counter.next()
                        try:
                            http.patch(f"/v1/blocks/{block_id}", json={"value": f"version {number}!"})
                        except httpx2.TransportError:
                            return
                        counter.acknowledged = number

            writers = [threading.Thread(target=write) for _ in range(_WRITERS)]
            for writer in writers:
                writer.start()
            for _ in range(15):
                before = counter.acknowledged
                said = http.post(f"/v1/agents/{agent_id}/messages", json={"input": "hello"}).json()
                trace = http.get(f"/v1/steps/{said['messages'][0]['step_id']}/trace").json()
                assert shown(str(trace["request_json"]["system"])) >= before
            process.running.kill()
            process.end()
            for writer in writers:
                writer.join()
    assert counter.acknowledged > 60
