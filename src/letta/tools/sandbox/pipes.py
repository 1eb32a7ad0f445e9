"""What comes out of a call: pipes that are read to their end and kept in part, and the weight of files it wrote."""

import asyncio
import contextlib
import os

_CHUNK = 1 << 16
_PATIENCE = 5.0


class Reader:
    """Reads a pipe to its end, keeps the beginning, and never lets the writer wait for long."""

    def __init__(self, stack: contextlib.ExitStack, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit
        self._cut = 0
        self._from, self._to = os.pipe()
        os.set_blocking(self._from, False)
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._from, self._read)
        stack.callback(self._close)

    def give(self) -> int:
        """The end to write to."""
        return self._to

    def given(self) -> None:
        """The other process has its own copy of the end to write to."""
        os.close(self._to)
        self._to = -1

    @property
    def note(self) -> str:
        return f"\n... [{self._cut:,} bytes more were printed and dropped]" if self._cut else ""

    async def rest(self) -> None:
        """Wait for the end, which has come when the process is gone, and what it left behind is, too."""
        await asyncio.wait({self._end}, timeout=_PATIENCE)

    def _read(self) -> None:
        try:
            piece = os.read(self._from, _CHUNK)
        except BlockingIOError:
            return
        room = self._limit - len(self.data)
        self.data += piece[:room]
        self._cut += max(0, len(piece) - room)
        if not piece and not self._end.done():
            self._loop.remove_reader(self._from)
            self._end.set_result(None)

    def _close(self) -> None:
        self._loop.remove_reader(self._from)
        os.close(self._from)
        if self._to >= 0:
            os.close(self._to)


def weight(folder: str) -> int:
    """Bytes on the disk below a folder; what disappears meanwhile counts for nothing."""
    total, left = 0, [folder]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    total += max(found.st_blocks * 512, 512)
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
    return total
