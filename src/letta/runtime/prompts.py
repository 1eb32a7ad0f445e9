"""The system prompt an agent has at this moment, for people who want to read it."""

from letta.memory.prompt import compile_prompt
from letta.memory.window import Window
from letta.runtime.request import prompt_facts
from letta.store import agents
from letta.store.access import Database
from letta.store.runs import Versions


async def current_prompt(database: Database, agent_id: str, conversation_id: str) -> str:
    """The compiled prompt of a conversation. Raises letta.errors.NotFound."""
    snapshot = await database.read(agents.snapshot, agent_id, conversation_id)
    window = Window(snapshot, Versions(snapshot.version, snapshot.thread.version))
    return "\n\n".join(compile_prompt(window.agent, prompt_facts(window)))
