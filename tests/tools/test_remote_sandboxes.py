"""Tools in a cloud's sandbox: E2B through the front door and its HTTP API, Modal up to where its library begins."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve
from tests.tools.e2b_server import KEY, E2BServer, e2b_server
from tests.tools.sandboxes import call, tools_in

from letta.models.scripted import Call
from letta.tools.sandbox.clouds import CloudJob
from letta.tools.sandbox.modal_cloud import Modal
from letta.tools.sandbox.process import SandboxFault

TELL = '''
import os, sys

def tell(word: str, times: int = 1, agent_state=None) -> dict:
    """Tell.

    Args:
        word: A word.
        times: How often.
    """
    print("printed")
    print("complained", file=sys.stderr)
    return {"word": word * times, "key": os.environ["TOOL_KEY"], "agent": agent_state.name, "knows": sorted(os.environ)}
'''


@pytest.fixture
async def cloud() -> AsyncIterator[E2BServer]:
    async with e2b_server() as running:
        yield running


async def made(served: Served, source: str, **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/tools/", json={"source_code": source, **fields})
    assert answer.status_code == 200, answer.text
    tool: dict[str, Any] = answer.json()
    return tool


async def test_agents_tool_runs_in_e2b_with_its_arguments_state_and_secrets(tmp_path: Path, cloud: E2BServer) -> None:
    script = [Call("tell", {"word": "tea", "times": 2}), "Done."]
    async with serve(tmp_path, script, cloud.surroundings(), sandbox="e2b") as served:
        tool = await made(served, TELL)
        secrets = {"TOOL_KEY": "secret-of-the-tool"}
        agent = await served.agent(name="Ann", tool_ids=[tool["id"]], include_base_tools=False, secrets=secrets)
        answer = await served.send(agent["id"], "go")
    returned = answer["messages"][1]
    assert returned["status"] == "success", returned
    assert orjson.loads(returned["tool_return"]) == {
        "word": "teatea",
        "key": "[secret TOOL_KEY]",
        "agent": "Ann",
        "knows": ["HOME", "LANG", "LETTA_AGENT_ID", "LETTA_TOOL_ID", "PATH", "TMPDIR", "TOOL_KEY"],
    }
    assert (returned["stdout"], returned["stderr"]) == (["printed"], ["complained"])
    [created] = cloud.created
    assert (created["templateID"], created["secure"], created["allow_internet_access"]) == (
        "code-interpreter-v1", True, False,
    )  # fmt: skip
    assert cloud.open == {}


async def test_key_of_the_agent_wins_and_no_tool_sees_it(tmp_path: Path, cloud: E2BServer) -> None:
    source = "import os\ndef f(): return sorted(os.environ)"
    async with tools_in(tmp_path, "e2b", cloud.surroundings(E2B_API_KEY="wrong")) as tools:
        refused = await call(tools, source)
        done = await call(tools, source, secrets={"E2B_API_KEY": KEY, "OTHER": "x"})
    assert (refused.ok, refused.text) == (
        False, "Error: E2B made no sandbox: it answered 401, Invalid API key. Check E2B_API_KEY.",
    )  # fmt: skip
    assert orjson.loads(done.text) == ["HOME", "LANG", "LETTA_TOOL_ID", "OTHER", "PATH", "TMPDIR"]
    assert KEY not in "".join(cloud.programs)


async def test_without_a_key_the_variable_is_named(tmp_path: Path, cloud: E2BServer) -> None:
    async with tools_in(tmp_path, "e2b", {"E2B_API_URL": cloud.url}) as tools:
        done = await call(tools, "def f(): return 1")
        assert str(await tools.isolation()).startswith("tool sandbox: e2b (a machine of its own in E2B's cloud")
    assert "E2B needs E2B_API_KEY, among the agent's secrets or in the environment" in done.text


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(): raise ValueError('broken')", "ValueError: broken"),
        ("import os\ndef f(): os._exit(7)", "ended with exit code 7 before it returned anything"),
        ("import os, signal\ndef f(): os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("def f(): return object()", "cannot be said in JSON"),
        ("def f(): return 'x' * 10_000_000", "at most 4,194,304 can be returned"),
        ("import time\ndef f(): time.sleep(60)", "it took more than 1 seconds"),
        ("def f(): return client.agents.list()", "the server's API cannot be reached from here"),
        ("import os\ndef f():\n    os.write(2, b'letta-forged:{}')\n    os._exit(0)", "before it returned anything"),
    ],
)
async def test_what_goes_wrong_is_told_as_in_a_local_sandbox(
    tmp_path: Path, cloud: E2BServer, source: str, told: str
) -> None:
    async with tools_in(tmp_path, "e2b", cloud.surroundings()) as tools:
        done = await call(tools, source, timeout=1 if "sleep" in source else None)
    assert (done.ok, told in done.text) == (False, True), done.text
    assert cloud.open == {}


async def test_network_and_packages_are_what_the_tool_was_allowed(tmp_path: Path, cloud: E2BServer) -> None:
    needs = [{"name": "left-pad", "version": "1.0"}]
    async with serve(tmp_path, (), cloud.surroundings(), sandbox="e2b") as served:
        body: dict[str, Any] = {"source_code": "def f():\n    '''Do.'''\n    return 1", "args": {}}
        plain = (await served.http.post("/v1/tools/run", json=body)).json()
        refused = (await served.http.post("/v1/tools/run", json={**body, "pip_requirements": needs})).json()
        tool = await made(served, body["source_code"], pip_requirements=needs, metadata_={"allow_network": True})
        agent = await served.agent(tool_ids=[tool["id"]])
        failed = (await served.http.post(f"/v1/agents/{agent['id']}/tools/f/run", json={"args": {}})).json()
        packages = (await served.http.get(f"/v1/tools/{tool['id']}/environment")).json()
    assert (plain["status"], plain["func_return"], plain["sandbox_config_fingerprint"]) == (
        "success", 1, "e2b:no-network",
    )  # fmt: skip
    assert "installed with the network of the call" in refused["func_return"]
    # The stand-in has no package index.
    assert "the packages of this tool cannot be installed: " in failed["func_return"]
    assert [one["allow_internet_access"] for one in cloud.created] == [False, True]
    assert packages["pip"]["status"] == "none"


async def test_schema_that_only_the_running_code_knows_is_asked_for_there(tmp_path: Path, cloud: E2BServer) -> None:
    source = (
        "from pydantic import BaseModel\nclass Point(BaseModel):\n    x: int\n"
        "def move(to: Point):\n    '''Move.\n\n    Args:\n        to: Where.\n    '''\n"
    )
    async with serve(tmp_path, (), cloud.surroundings(), sandbox="e2b") as served:
        tool = await made(served, source)
    assert tool["json_schema"]["parameters"]["properties"]["to"]["properties"] == {
        "x": {"title": "X", "type": "integer"}
    }


async def test_code_runs_there_and_typescript_says_that_it_does_not(tmp_path: Path, cloud: E2BServer) -> None:
    async with serve(tmp_path, (), cloud.surroundings(), sandbox="e2b") as served:
        agent = await served.agent(tools=["run_code"])
        path = f"/v1/agents/{agent['id']}/tools/run_code/run"
        done = (await served.http.post(path, json={"args": {"language": "python", "code": "print(6 * 7)"}})).json()
        other = (await served.http.post(path, json={"args": {"language": "js", "code": "console.log(1)"}})).json()
    assert (done["status"], done["func_return"]) == ("success", "42")
    assert (other["status"], other["func_return"]) == ("error", "Error: e2b runs Python here, not typescript.")


async def test_sandbox_of_a_cancelled_call_is_deleted(tmp_path: Path, cloud: E2BServer) -> None:
    async with tools_in(tmp_path, "e2b", cloud.surroundings()) as tools:
        waiting = asyncio.create_task(call(tools, "import time\ndef f(): time.sleep(60)"))
        async with asyncio.timeout(10):
            await cloud.executing.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(10):
            while cloud.open:  # noqa: ASYNC110 - the stand-in has no event for it
                await asyncio.sleep(0)


async def test_a_cloud_that_is_not_there_is_an_error_for_the_model(tmp_path: Path) -> None:
    async with tools_in(tmp_path, "e2b", {"E2B_API_KEY": KEY, "E2B_API_URL": "http://127.0.0.1:9"}) as tools:
        done = await call(tools, "def f(): return 1")
    assert (done.ok, done.text.startswith("Error: E2B cannot be reached:")) == (False, True)


# -- Modal: its service is reached by its own library only; a stand-in for that library runs the program here ----------


class StandIn:
    """The few names of the library `modal` that are used, with a process in place of a container."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.ended = 0
        self.exception = SimpleNamespace(Error=type("Error", (Exception,), {}))
        self.Client = SimpleNamespace(from_credentials=SimpleNamespace(aio=self._client))
        self.App = SimpleNamespace(lookup=SimpleNamespace(aio=self._app))
        self.Image = SimpleNamespace(debian_slim=lambda python_version: self)
        self.Sandbox = SimpleNamespace(create=SimpleNamespace(aio=self._create))

    async def _client(self, token: str, secret: str) -> str:
        if secret != "right":
            raise self.exception.Error("Token validation failed")
        return token

    async def _app(self, name: str, *, client: str, create_if_missing: bool) -> str:
        return name

    def pip_install(self, *packages: str) -> tuple[str, ...]:
        return packages

    async def _create(self, *command: str, **options: Any) -> Any:
        self.asked = {"command": command, **options}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command[1:], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None

        async def read() -> str:
            assert process.stdout is not None
            return (await process.stdout.read()).decode()

        async def end() -> None:
            self.ended += 1
            await process.wait()

        stdin = SimpleNamespace(
            write=process.stdin.write, write_eof=process.stdin.write_eof, drain=SimpleNamespace(aio=process.stdin.drain)
        )
        return SimpleNamespace(
            stdin=stdin,
            stdout=SimpleNamespace(read=SimpleNamespace(aio=read)),
            terminate=SimpleNamespace(aio=end),
        )


async def test_program_is_run_in_a_container_of_modal_and_its_output_read() -> None:
    library = StandIn()
    job = CloudJob("print('hello')", 5, False, ("numpy==2.0",), {"MODAL_TOKEN_ID": "id", "MODAL_TOKEN_SECRET": "right"})
    assert await Modal(library, {}).run(job) == "hello\n"
    assert (library.asked, library.ended) == (
        {
            "command": ("python", "-"), "app": "letta-tools", "image": ("pydantic>=2", "numpy==2.0"), "timeout": 65,
            "block_network": True, "client": "id",
        },
        1,
    )  # fmt: skip


async def test_modal_says_which_keys_it_needs_and_what_it_refuses() -> None:
    job = CloudJob("print('hello')", 5, False, (), {})
    with pytest.raises(SandboxFault, match="Modal needs MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"):
        await Modal(StandIn(), {}).run(job)
    wrong = CloudJob("", 5, False, (), {"MODAL_TOKEN_ID": "id", "MODAL_TOKEN_SECRET": "wrong"})
    with pytest.raises(SandboxFault, match="Modal did not run the call: Error: Token validation failed"):
        await Modal(StandIn(), {}).run(wrong)


async def test_without_its_library_modal_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    async with tools_in(tmp_path, "modal") as tools:
        done = await call(tools, "def f(): return 1")
    assert "modal: the Python package `modal` is not installed" in done.text
