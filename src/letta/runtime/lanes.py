"""The queues in front of conversations: who is next, within one process. Knows nothing of runs or databases."""

import asyncio
from collections import deque

Ticket = asyncio.Future[None]
"""A place in a queue; done when its turn has come, or when it need not wait any more."""


class Lanes:
    """One queue for each conversation that anybody waits for."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Ticket]] = {}

    def join(self, conversation_id: str, *, at_once: bool = False) -> Ticket:
        """A place at the end; done at once where nobody is before it.

        `at_once` is for one whom whoever has the turn waits for, outside of this queue: it has its turn, too.
        """
        lane = self._lanes.setdefault(conversation_id, deque())
        ticket: Ticket = asyncio.get_running_loop().create_future()
        if at_once or not lane:
            ticket.set_result(None)
        if at_once:
            lane.appendleft(ticket)
        else:
            lane.append(ticket)
        return ticket

    def leave(self, conversation_id: str, ticket: Ticket) -> None:
        """Give up a place; who is the first then has its turn."""
        lane = self._lanes[conversation_id]
        lane.remove(ticket)
        if not lane:
            del self._lanes[conversation_id]
        elif not lane[0].done():
            lane[0].set_result(None)

    def put_next(self, conversation_id: str, ticket: Ticket) -> None:
        """Let one that waits have its turn right after the one that has it now."""
        lane = self._lanes.get(conversation_id, deque())
        if ticket in lane and not ticket.done():
            lane.remove(ticket)
            lane.insert(1, ticket)
