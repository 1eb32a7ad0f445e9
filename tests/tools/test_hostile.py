"""Tools that want to do harm, in every isolation: what they try is contained, and the server goes on."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from tests.tools.sandboxes import KINDS, call, tools_in

from letta.tools.custom import CustomTools


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the server."""
    made = tmp_path_factory.mktemp("data")
    (made / "secret.key").write_text("nobody may read this")
    return made


@pytest.fixture(scope="module")
async def tools(kind: str, folder: Path) -> AsyncIterator[CustomTools]:
    async with tools_in(folder, kind) as custom:
        assert (await custom.isolation()).kind == kind
        for needs in ("", "import subprocess\n"):  # small tools and others have processes of their own
            assert (await call(custom, f"{needs}def f(): return 'warm'")).text == "warm"
        yield custom


@pytest.fixture(autouse=True)
async def unharmed(tools: CustomTools) -> AsyncIterator[None]:
    """Whatever a tool did: the sandbox is the same one as before, the next call works, and nothing runs any more."""
    before = descendants()
    yield
    assert (await call(tools, "def f(): return 'fine'")).text == "fine"
    deadline = anyio.current_time() + 5
    while descendants() != before and anyio.current_time() < deadline:
        await anyio.lowlevel.checkpoint()
    assert descendants() == before


def descendants() -> set[int]:
    """The processes this one started, and those they started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


# Tries each of a list of expressions, and answers what came of each.
ATTEMPTS = """
import ctypes, os, shutil, signal, socket, subprocess

def f(attempts):
    results = []
    for attempt in attempts:
        try:
            results.append(repr(eval(attempt)))
        except Exception as error:
            results.append("refused: " + type(error).__name__)
    return results
"""


async def attempts(tools: CustomTools, *expressions: str) -> list[str]:
    done = await call(tools, ATTEMPTS, attempts=list(expressions))
    assert done.ok, done.text
    results: list[str] = orjson.loads(done.text)
    return results


async def test_files_of_the_machine_and_of_the_server_cannot_be_read(tools: CustomTools, folder: Path) -> None:
    for result in await attempts(
        tools,
        "open('/etc/passwd').read()",
        "open('/etc/shadow').read()",
        "os.listdir('/home')",
        f"open({str(folder / 'secret.key')!r}).read()",
        f"os.listdir({str(folder)!r})",
        f"open({str(Path(__file__))!r}).read()",
        "open('/proc/1/environ').read() and None or 1/0",
        f"open('/proc/{os.getpid()}/environ').read()",
        f"open('/proc/{os.getpid()}/mem', 'rb').read(1)",
        f"os.readlink('/proc/{os.getpid()}/exe')",
    ):
        assert result.startswith("refused:"), result


async def test_nothing_but_its_own_folder_can_be_written(tools: CustomTools, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    before = outside.stat()
    for result in await attempts(
        tools,
        f"open({str(outside)!r}, 'w')",
        f"os.truncate({str(outside)!r}, 0)",
        f"os.chmod({str(outside)!r}, 0)",
        f"os.utime({str(outside)!r}, (0, 0))",
        f"os.unlink({str(outside)!r})",
        f"os.rename({str(outside)!r}, {str(outside)!r} + '2')",
        "open('/usr/evil', 'w')",
        "open(os.__file__, 'a')",
        "os.chmod(os.__file__, 0)",
        "open('/dev/evil', 'w')",
        "open('/evil', 'w')",
    ):
        assert result.startswith("refused:"), result
    assert outside.read_text() == "as it was"
    assert (outside.stat().st_mode, outside.stat().st_mtime) == (before.st_mode, before.st_mtime)


async def test_files_of_another_call_are_not_there(tools: CustomTools) -> None:
    leave = """
import pathlib, tempfile
def f():
    p = pathlib.Path(tempfile.gettempdir()) / 'left'
    p.write_text('x')
    return str(p)
"""
    left = await call(tools, leave)
    assert left.ok
    look = "import os, tempfile\ndef f(): return os.listdir(tempfile.gettempdir()), os.path.exists('/dev/shm/left')"
    assert (await call(tools, look)).text == "[[],false]"
    [result] = await attempts(tools, f"open({left.text!r}).read()")
    assert result.startswith("refused:")


async def test_calls_at_the_same_time_cannot_see_each_other(tools: CustomTools) -> None:
    waits = """
import os, pathlib, tempfile, time
def f(seconds):
    mine = pathlib.Path(tempfile.gettempdir()) / "mine"
    mine.write_text(os.environ["NAME"])
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for pid in range(1, 40000, 1) if time.monotonic() + seconds < until else range(1, 400):
            try:
                if pid != os.getpid():
                    os.kill(pid, 9)
            except OSError:
                pass
    return mine.read_text(), sorted(os.listdir(tempfile.gettempdir()))
"""
    both = await asyncio.gather(*(call(tools, waits, secrets={"NAME": name}, seconds=0.5) for name in ("one", "two")))
    assert [orjson.loads(done.text) for done in both] == [["one", ["mine"]], ["two", ["mine"]]]


async def test_the_environment_is_what_was_declared(tools: CustomTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-server")
    source = "import os, subprocess\ndef f():\n    return sorted(os.environ)"
    done = await call(tools, source, secrets={"DECLARED": "v"})
    assert orjson.loads(done.text) == ["DECLARED", "HOME", "LANG", "LETTA_TOOL_ID", "PATH", "TMPDIR"]


async def test_sockets_lead_nowhere(tools: CustomTools) -> None:
    reached = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def accept() -> None:
            try:
                server.accept()
            except OSError:
                return
            reached.set()

        waiting = threading.Thread(target=accept, daemon=True)
        waiting.start()
        for result in await attempts(
            tools,
            f"socket.create_connection(('127.0.0.1', {port}), 2)",
            f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
            "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
            r"socket.socket(socket.AF_UNIX).connect('\0abstract')",
            "socket.getaddrinfo('localhost.example', 80)",
            "socket.socket(socket.AF_INET, socket.SOCK_RAW)",
        ):
            assert result.startswith("refused:"), result
        server.shutdown(socket.SHUT_RDWR)
        waiting.join(5)
    assert not reached.is_set()


async def test_system_calls_that_reach_further_are_refused(tools: CustomTools) -> None:
    # ptrace, mount, unshare (users), bpf, io_uring_setup, keyctl, by their numbers on x86-64 and arm64
    numbers = {"x86_64": (101, 165, 272, 321, 425, 250), "aarch64": (117, 40, 97, 280, 425, 219)}
    calls = [f"ctypes.CDLL(None).syscall({number}, 0x10000000, 0, 0, 0, 0)" for number in numbers[os.uname().machine]]
    assert await attempts(tools, *calls) == ["-1"] * len(calls)


async def test_becoming_somebody_else_is_impossible(tools: CustomTools) -> None:
    me, *others = await attempts(
        tools, "os.getuid()", "os.setuid(0) or os.getuid()", "os.setgroups([0])", "os.setuid(12)"
    )
    allowed = {"refused: PermissionError", me}
    assert set(others) <= allowed, others


async def test_no_power_of_root_is_left_nor_can_come_back(tools: CustomTools, kind: str) -> None:
    read_bound, ambient_is_set = 23, 47
    bound = f"sum(ctypes.CDLL(None).prctl({read_bound}, power, 0, 0, 0) for power in range(38))"
    ambient = f"sum(ctypes.CDLL(None).prctl({ambient_is_set}, 1, power, 0, 0) for power in range(38))"
    found = await attempts(tools, bound, ambient, "ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)")
    # Who is not root has no powers to lose, and cannot narrow what is not there; no_new_privs holds in any case.
    lowered = os.getuid() == 0 or kind == "bubblewrap"
    assert found == ["0" if lowered else found[0], "0", "1"]


async def test_a_fork_bomb_is_stopped_and_does_not_stop_others(tools: CustomTools) -> None:
    bomb = """
import os, time
def f():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
"""
    exploding = asyncio.create_task(call(tools, bomb, timeout=2))
    spawning = "import subprocess\ndef f(): return subprocess.run(['echo', 'me'], capture_output=True).stdout.decode()"
    meanwhile = await call(tools, "def f(): return sum(range(1000))")
    assert meanwhile.text == "499500"
    done = await exploding
    assert (done.ok, done.text) == (False, "Error: the tool was ended because it took more than 2 seconds.")
    again = await call(tools, spawning)
    # Landlock shuts in files but not processes, so that tools cannot start any there.
    assert again.text == "me\n" if (await tools.isolation()).kind == "bubblewrap" else "PermissionError" in again.text


async def test_memory_is_limited(tools: CustomTools) -> None:
    done = await call(tools, "def f():\n    kept = []\n    while True:\n        kept.append(bytearray(1 << 26))")
    assert (done.ok, done.text.rpartition("\n")[2]) == (False, "MemoryError")


async def test_disk_is_limited_in_one_file_and_in_many(tools: CustomTools) -> None:
    one = "def f():\n    with open('big', 'wb') as file:\n        while True:\n            file.write(bytes(1 << 20))"
    done = await call(tools, one)
    assert not done.ok
    many = """
def f():
    n = 0
    while True:
        n += 1
        with open(str(n), 'wb') as file:
            file.write(bytes(1 << 22))
"""
    done = await call(tools, many)
    assert not done.ok
    assert "No space left on device" in done.text or "wrote more than 64 MB" in done.text


async def test_a_tool_that_never_returns_is_ended_with_all_it_started(tools: CustomTools) -> None:
    source = """
import os, signal, time
def f():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
    except PermissionError:
        pass
    while True:
        time.sleep(0.01)
"""
    done = await call(tools, source, timeout=1)
    assert (done.ok, done.text) == (False, "Error: the tool was ended because it took more than 1 seconds.")


async def test_a_busy_tool_is_ended_too(tools: CustomTools) -> None:
    done = await call(tools, "def f():\n    while True: pass", timeout=1)
    assert not done.ok
    assert "more than 1 seconds" in done.text


async def test_its_parent_and_the_server_cannot_be_killed(tools: CustomTools, kind: str) -> None:
    victims = ["os.getppid()", str(os.getpid()), str(os.getppid()), *map(str, descendants())]
    # In bubblewrap these numbers mean its own processes, or none.
    await call(tools, ATTEMPTS, attempts=[f"os.kill({pid}, 9)" for pid in victims if pid != "1"])
    if kind == "landlock":
        results = await attempts(tools, *(f"os.kill({pid}, 0)" for pid in victims), "os.kill(-1, 9)", "os.killpg(0, 9)")
        assert set(results) == {"refused: PermissionError"}


async def test_a_tool_cannot_answer_in_the_name_of_another(tools: CustomTools) -> None:
    forging = """
import os
def f():
    for descriptor in range(256):
        for text in (b'{"ok": true, "value": "forged"}', b'{"ended": 1, "signal": 0, "code": 0}', b'{"ready": true}'):
            try:
                os.write(descriptor, text)
            except OSError:
                pass
    return "mine"
"""
    honest = "import time\ndef f():\n    time.sleep(0.3)\n    return 'honest'"
    forged, *others = await asyncio.gather(call(tools, forging), *(call(tools, honest) for _ in range(3)))
    assert [done.text for done in others] == ["honest"] * 3
    # What it wrote where its answer goes spoils its own answer, and nothing else.
    assert (forged.ok, forged.text) == (False, "Error: the tool's process answered with something that is no result.")


async def test_what_it_prints_is_never_taken_for_its_result(tools: CustomTools) -> None:
    done = await call(tools, 'def f():\n    print(\'{"ok": true, "value": "printed"}\')\n    return \'returned\'')
    assert (done.text, done.stdout) == ("returned", ('{"ok": true, "value": "printed"}',))


async def test_a_call_leaves_nothing_in_the_memory_of_the_next(tools: CustomTools) -> None:
    poison = """
import builtins, json, os
def f():
    json.dumps = lambda *a, **k: '"poison"'
    builtins.len = None
    os.environ['LEFT'] = 'x'
    return None
"""
    await call(tools, poison, secrets={"KEY": "of-the-call-before"})
    search = """
import gc, json, os
def f():
    texts = [thing for thing in gc.get_objects() if isinstance(thing, (str, dict))]
    return [json.dumps(len([1])), "LEFT" in os.environ, "of-the-call-" + "before" in repr(texts)]
"""
    assert (await call(tools, search)).text == '["1",false,false]'


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import os\ndef f(): os._exit(0)", "ended with exit code 0 before it returned anything"),
        ("import os\ndef f(): os._exit(7)", "ended with exit code 7 before it returned anything"),
        ("import sys\ndef f(): sys.exit('bye')", "SystemExit: the tool ended itself with exit('bye')"),
        ("import os\ndef f(): os.abort()", "killed by signal"),
        ("import ctypes\ndef f(): ctypes.string_at(0)", "killed by signal 11"),
        ("def f(): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f():\n    def g(): return g()\n    return g()", "RecursionError"),
        ("import os\ndef f():\n    os.closerange(0, 256)\n    return 1", "before it returned anything"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\ndef f(): raise E", "E"),
        ("raise RuntimeError('while loading')\ndef f(): pass", "RuntimeError: while loading"),
    ],
)
async def test_every_way_to_end_gives_the_model_an_error(tools: CustomTools, source: str, told: str) -> None:
    done = await call(tools, source)
    assert not done.ok
    assert told in done.text
    assert len(done.text) < 7000


async def test_endless_printing_is_cut_and_does_not_block(tools: CustomTools) -> None:
    done = await call(tools, "def f():\n    for _ in range(20_000): print('x' * 1000)\n    return 'done'")
    assert (done.ok, done.text) == (True, "done")
    assert sum(map(len, done.stdout)) < 70_000
    assert done.stdout[-1] == "... [19,954,464 bytes more were printed and dropped]"


async def test_a_result_of_ten_megabytes_is_an_error_that_says_what_is_allowed(tools: CustomTools) -> None:
    done = await call(tools, "def f(): return 'x' * 10_000_000")
    assert not done.ok
    assert "the tool returned 10,000,025 bytes; at most 4,194,304 can be returned" in done.text


async def test_a_long_result_is_cut_to_the_tools_own_limit(tools: CustomTools) -> None:
    done = await call(tools, "def f(): return 'x' * 60_000")
    assert (done.ok, len(done.text)) == (True, 50_000)
    assert done.text.endswith("... [cut: 60000 characters, the limit of this tool is 50000]")


@pytest.mark.parametrize(
    "value", ["object()", "float('nan')", "lambda: 1", "{1: object()}", "(x for x in [1])", "type", "{(1, 2): 3}"]
)
async def test_what_is_no_json_is_an_error_that_says_what_to_return(tools: CustomTools, value: str) -> None:
    done = await call(tools, f"def f(): return {value}")
    assert not done.ok
    assert "cannot be said in JSON" in done.text


async def test_a_result_that_contains_itself_is_an_error(tools: CustomTools) -> None:
    done = await call(tools, "def f():\n    x = []\n    x.append(x)\n    return x")
    assert not done.ok
    assert "JSON" in done.text


async def test_secrets_are_redacted_wherever_a_tool_puts_them(tools: CustomTools) -> None:
    source = """
import os, sys
def f(how):
    key = os.environ["API_KEY"]
    print("out", key)
    print("err", key, file=sys.stderr)
    if how == "raise":
        raise ValueError(f"bad key {key}")
    return {"key": key, key: [f"<{key}>"]}
"""
    secrets: dict[str, Any] = {"API_KEY": 'sk-"quoted"\\and-long', "LONGER": 'sk-"quoted"\\and-longer', "SHORT": "key"}
    done = await call(tools, source, secrets=secrets, how="return")
    assert orjson.loads(done.text) == {"key": "[secret API_KEY]", "[secret API_KEY]": ["<[secret API_KEY]>"]}
    assert (done.stdout, done.stderr) == (("out [secret API_KEY]",), ("err [secret API_KEY]",))
    raised = await call(tools, source, secrets=secrets, how="raise")
    assert raised.text.endswith("ValueError: bad key [secret API_KEY]")
