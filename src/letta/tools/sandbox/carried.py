"""What is sent to a remote sandbox and runs there: it makes a call, in a process of its own, and says what came of it.

Standard library only, for any Python from 3.10 on. It arrives as text, so it imports nothing of this server; the code
that makes the call (`guest`) comes along in what `main` is given.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zlib
from typing import Any

_START = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); from letta.tools.sandbox import guest; "
    "guest.work(json.load(open(sys.argv[2])), int(sys.argv[3]), None)"
)
_INSTALL_SECONDS = 300


class _Reader(threading.Thread):
    """Reads a pipe to its end and keeps the beginning."""

    def __init__(self, descriptor: int, limit: int) -> None:
        super().__init__(daemon=True)
        self.kept, self.dropped = bytearray(), 0
        self._descriptor, self._limit = descriptor, limit
        self.start()

    def run(self) -> None:
        while piece := os.read(self._descriptor, 1 << 16):
            room = self._limit - len(self.kept)
            self.kept += piece[:room]
            self.dropped += max(0, len(piece) - room)


def main(packed: str) -> None:
    """Print the mark and then one JSON object: answer (base64 or null), stdout, stderr, signal, code, and so on."""
    given = json.loads(zlib.decompress(base64.b64decode(packed)))
    sys.stdout.write(given["mark"] + json.dumps(_done(given)) + "\n")
    sys.stdout.flush()


def _done(given: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="letta-", ignore_cleanup_errors=True) as folder:
        for path, text in given["files"].items():
            place = os.path.join(folder, "code", path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "w", encoding="utf-8") as file:
                file.write(text)
        packages = os.path.join(folder, "packages")
        if given["requirements"]:
            problem = _install(given["requirements"], packages)
            if problem is not None:
                return {"fault": f"the packages of this tool cannot be installed: {problem}"}
        return _call(given, folder, packages)


def _install(requirements: list[str], packages: str) -> str | None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages]
    try:
        made = subprocess.run(  # noqa: S603 (names and versions, which the server checked)
            [*command, "--only-binary", ":all:", "--", *requirements],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_INSTALL_SECONDS} seconds"
    return None if made.returncode == 0 else (made.stdout + made.stderr).strip()[-2000:]


def _call(given: dict[str, Any], folder: str, packages: str) -> dict[str, Any]:
    home = os.path.join(folder, "home")
    os.mkdir(home)
    request = given["request"]
    request["environment"] |= {"HOME": home, "TMPDIR": home}
    request["paths"] = [packages]
    payload = os.path.join(folder, "request.json")
    with open(payload, "w", encoding="utf-8") as file:
        json.dump(request, file)
    ours, theirs = os.pipe()
    process = subprocess.Popen(  # noqa: S603 (our own command line)
        [sys.executable, "-I", "-X", "utf8", "-c", _START, os.path.join(folder, "code"), payload, str(theirs)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        pass_fds=(theirs,),
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stdout is not None
    assert process.stderr is not None
    out = _Reader(process.stdout.fileno(), given["output"])
    err = _Reader(process.stderr.fileno(), given["output"])
    answer = _Reader(ours, given["answer"] + 1)
    timed_out = False
    try:
        process.wait(given["seconds"])
    except subprocess.TimeoutExpired:
        timed_out = True
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what it left behind
    code = process.wait()
    for reader in (out, err, answer):
        reader.join(5)
    return {
        "answer": base64.b64encode(bytes(answer.kept)).decode() or None,
        "stdout": _text(out),
        "stderr": _text(err),
        "signal": max(0, -code),
        "code": max(0, code),
        "timed_out": timed_out,
    }


def _text(reader: _Reader) -> str:
    note = f"\n... [{reader.dropped:,} bytes more were printed and dropped]" if reader.dropped else ""
    return bytes(reader.kept).decode("utf-8", "replace") + note
