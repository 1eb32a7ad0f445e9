"""The sandbox as a process: what it is started with, how it survives, and who may use it."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio.lowlevel
import pytest
from tests.tools.sandboxes import KINDS, call, tools_in

import letta
from letta.tools.custom import CustomTools
from letta.tools.sandbox import choice, isolation
from letta.tools.sandbox.choice import choose
from letta.tools.sandbox.host import Sandbox
from letta.tools.sandbox.isolation import Limits, World
from letta.tools.sandbox.process import Zygote

FINE = "def f(): return 'fine'"


def zygotes(tools: CustomTools) -> list[Zygote]:
    """The processes that wait for calls."""
    assert isinstance(tools._sandbox, Sandbox)
    return list(tools._sandbox._zygotes.values())


async def begun(zygote: Zygote) -> None:
    """Wait until a call runs."""
    while not zygote.busy:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sandbox_that_was_killed_is_started_anew(kind: str, tmp_path: Path) -> None:
    async with tools_in(tmp_path, kind) as tools:
        assert (await call(tools, FINE)).text == "fine"
        waiting = asyncio.create_task(call(tools, "import time\ndef f(): time.sleep(60)"))
        [zygote] = zygotes(tools)
        await begun(zygote)
        zygote._process.kill()
        done = await waiting
        assert (done.ok, "killed by signal 9" in done.text) == (False, True)
        assert (await call(tools, FINE)).text == "fine"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_call_ends_the_tool(kind: str, tmp_path: Path) -> None:
    async with tools_in(tmp_path, kind) as tools:
        await call(tools, FINE)
        [zygote] = zygotes(tools)
        waiting = asyncio.create_task(call(tools, "import time\ndef f(): time.sleep(60)"))
        await begun(zygote)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not zygote.busy


@pytest.mark.parametrize("kind", KINDS)
async def test_forty_calls_at_once_all_get_their_own_answer(kind: str, tmp_path: Path) -> None:
    async with tools_in(tmp_path, kind) as tools:
        done = await asyncio.gather(*(call(tools, "def f(n): return n * n", n=number) for number in range(40)))
    assert [result.text for result in done] == [str(number * number) for number in range(40)]


@pytest.mark.parametrize("kind", KINDS)
async def test_network_is_there_for_those_who_are_allowed_it(kind: str, tmp_path: Path) -> None:
    received: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(100))
        writer.write(b"welcome")
        writer.close()
        await writer.wait_closed()

    source = """
import socket
def f(port):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"hello")
        return connection.recv(100).decode()
"""
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with tools_in(tmp_path, kind, sandbox_network=True) as tools:
            assert (await call(tools, source, port=port)).text == "welcome"
            closed = await call(tools, "import socket\ndef f(): socket.socket(socket.AF_UNIX)")
            assert "PermissionError" in closed.text
        async with tools_in(tmp_path, kind) as tools:
            refused = await call(tools, source, port=port)
            assert "Network is unreachable" in refused.text
            assert '{"allow_network": true}' in refused.text
    assert received == [b"hello"]


async def test_the_best_isolation_that_works_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_found", {"bubblewrap": "no user namespaces", "landlock": None})
    monkeypatch.setattr(isolation, "possible", lambda kind: None)
    found = await choose("auto", Limits(), [tmp_path], unsafe=False)
    assert (found.kind, found.problems) == ("landlock", ("bubblewrap: no user namespaces",))
    assert str(found).startswith("tool sandbox: landlock (only chosen files")
    chosen = await choose("landlock", Limits(), [tmp_path], unsafe=False)
    assert str(chosen) == (
        "tool sandbox: landlock (only chosen files, no other processes, no sockets; less than bubblewrap)"
    )


async def test_without_isolation_tools_are_refused_unless_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_found", {"bubblewrap": "broken", "landlock": "broken, too"})
    monkeypatch.setattr(isolation, "possible", lambda kind: None)
    async with tools_in(tmp_path) as tools:
        done = await call(tools, FINE)
        assert not done.ok
        assert "nothing here can isolate them" in done.text
        assert "bubblewrap: broken; landlock: broken, too" in done.text
        assert "LETTA_UNSAFE_TOOLS" in done.text
    async with tools_in(tmp_path, unsafe_tools=True) as tools:
        assert (await call(tools, FINE)).text == "fine"
        assert "NO isolation" in str(await tools.isolation())
        forever = await call(tools, "import time\ndef f(): time.sleep(60)", timeout=1)
        assert "took more than 1 seconds" in forever.text


def test_a_data_folder_among_readable_ones_is_masked_or_refused(tmp_path: Path) -> None:
    hidden = Path(sys.base_prefix) / "data"
    with pytest.raises(ValueError, match="choose another data_dir"):
        isolation.command("landlock", World((), network=False), Limits(), 3, [hidden])
    inside = Path(sys.base_prefix) / "lib"
    command = isolation.command("bubblewrap", World((), network=False), Limits(), 3, [inside])
    assert command[command.index(str(inside)) - 1] == "--tmpfs"


SCRIPT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from letta.tools.sandbox.host import Job, Sandbox
from letta.tools.sandbox.host import Sandbox
from letta.tools.sandbox.isolation import Limits, World

SOURCE = '''
import os
def f():
    children = 0
    try:
        while True:
            if os.fork() == 0:
                os.pause() if hasattr(os, "pause") else __import__("signal").pause()
            children += 1
    except OSError:
        pass
    try:
        readable = bool(open("/etc/passwd").read())
    except OSError:
        readable = False
    return [os.getuid(), children, readable]
'''

async def main():
    sandbox = Sandbox(sys.argv[2], Limits(processes=10))
    request = {"what": "call", "source": SOURCE, "name": "f", "arguments": {}, "agent_state": None}
    request |= {"environment": {}, "paths": [], "limit": 1000}
    both = [sandbox.run(Job(World((), False), request, 20.0)) for _ in range(2)]
    for outcome in await asyncio.gather(*both):
        print(outcome.answer, outcome.stderr, outcome.fault)
    await sandbox.aclose()

asyncio.run(main())
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder everybody may read, with the sandbox's code in it."""
    folder = Path(tempfile.mkdtemp())
    target = folder / "letta" / "tools"
    target.mkdir(parents=True)
    shutil.copytree(Path(letta.__file__).parent / "tools" / "sandbox", target / "sandbox")
    for package in (target.parent, target):
        (package / "__init__.py").touch()
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


def python_for_nobody() -> str | None:
    """A Python 3.11 or newer that the user nobody can start."""
    for python in (isolation.interpreter(), shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        check = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            if python and subprocess.run([python, "-I", "-c", check], user=65534, check=False).returncode == 0:
                return python
        except PermissionError:
            continue
    return None


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to become somebody else; every other test shows the same")
@pytest.mark.parametrize("kind", KINDS)
def test_it_works_for_a_server_without_root(kind: str, open_folder: Path) -> None:
    python = python_for_nobody()
    if python is None:
        pytest.skip("no Python that the user nobody can start")
    done = subprocess.run(
        [python, "-B", "-c", SCRIPT, str(open_folder), kind],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Each call counts its processes apart; with Landlock there are none.
    children = 9 if kind == "bubblewrap" else 0
    line = f'b\'{{"ok": true, "value": [65534, {children}, false]}}\'  None'
    assert (done.stdout.splitlines(), done.stderr) == ([line, line], "")
