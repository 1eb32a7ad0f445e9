"""Modal: sandboxes in its cloud, through its own library, which is the only way there.

The library is handed in (`letta.tools.sandbox.remote` loads it), so that nothing here needs it to be installed.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from letta.tools.sandbox.clouds import CloudJob, CloudKind
from letta.tools.sandbox.process import SandboxFault

TOKEN_ID, TOKEN_SECRET, APP = "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "LETTA_MODAL_APP"
_DEFAULT_APP = "letta-tools"
_SPARE_SECONDS = 60.0
_PYTHON = "3.12"
_PACKAGES = ("pydantic>=2",)


class Modal:
    """`library` is the module `modal`; `environment` may name the app that sandboxes belong to."""

    kind: CloudKind = "modal"
    variables: tuple[str, ...] = (TOKEN_ID, TOKEN_SECRET)
    installs: bool = True

    def __init__(self, library: Any, environment: Mapping[str, str]) -> None:
        self._library = library
        self._app = environment.get(APP) or _DEFAULT_APP

    async def aclose(self) -> None:
        """Nothing stays open between calls."""

    async def run(self, job: CloudJob) -> str:
        """See `letta.tools.sandbox.clouds.Cloud`."""
        token, secret = job.keys.get(TOKEN_ID), job.keys.get(TOKEN_SECRET)
        if not token or not secret:
            raise SandboxFault(
                f"Modal needs {TOKEN_ID} and {TOKEN_SECRET}, among the agent's secrets or in the environment of the "
                "server"
            )
        try:
            async with asyncio.timeout(job.seconds + _SPARE_SECONDS):
                return await self._run(job, token, secret)
        except TimeoutError:
            raise SandboxFault(f"Modal did not end the call within {job.seconds + _SPARE_SECONDS:.0f} s") from None
        except self._library.exception.Error as error:
            raise SandboxFault(f"Modal did not run the call: {type(error).__name__}: {str(error)[:300]}") from error

    async def _run(self, job: CloudJob, token: str, secret: str) -> str:
        modal = self._library
        client = await modal.Client.from_credentials.aio(token, secret)
        app = await modal.App.lookup.aio(self._app, client=client, create_if_missing=True)
        # Built once for each set of packages, and kept by Modal.
        image = modal.Image.debian_slim(python_version=_PYTHON).pip_install(*_PACKAGES, *job.requirements)
        sandbox = await modal.Sandbox.create.aio(
            "python",
            "-",
            app=app,
            image=image,
            timeout=int(job.seconds + _SPARE_SECONDS),
            block_network=not job.network,
            client=client,
        )
        try:
            sandbox.stdin.write(job.program.encode())
            sandbox.stdin.write_eof()
            await sandbox.stdin.drain.aio()
            printed: str = await sandbox.stdout.read.aio()
            return printed
        finally:
            await asyncio.shield(sandbox.terminate.aio())
