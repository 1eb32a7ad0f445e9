"""`letta chat`: a conversation in the terminal, through the same client everybody uses."""

import sys
from pathlib import Path
from typing import Any

import letta_client
import typer
from letta_client.types import AgentState
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from letta.cli import terminal
from letta.cli.agents import table
from letta.cli.connect import Where, connected, explain, find, settings_of
from letta.cli.transcript import Transcript
from letta.client import AgentNameError, Letta

HELP = {
    "/memory": "show the agent's memory blocks",
    "/agents [NAME]": "list the agents, or talk to another one",
    "/reset": "start with an empty window; what was said stays stored and memory stays as it is",
    "/help": "show this list",
    "/exit": "leave (so does Ctrl-D)",
}
_SHOWN = 20
"""Agents offered to choose from."""


def chat(*, agent: str | None, model: str | None, url: str | None, data_dir: Path | None, local: bool) -> None:
    """Talk to an agent until the input ends."""
    where = find(url, settings_of(data_dir), local=local, only_running=True)
    with connected(where) as client:
        console = terminal.stdout()
        chosen = client.agents.get(agent) if agent else _choose(client, console, model)
        _Chat(client, console, where, chosen).run()


class _Chat:
    def __init__(self, client: Letta, console: Console, where: Where, agent: AgentState) -> None:
        self._client = client
        self._console = console
        self._where = where
        self._agent = agent
        self._asks = sys.stdin.isatty()

    def run(self) -> None:
        self._console.print(
            f"[dim]Talking to[/] [bold]{escape(self._agent.name)}[/] [dim]({escape(self._agent.model or '?')}) at "
            f"{escape(str(self._where))}. /help lists commands.[/]"
        )
        while (line := self._read()) is not None:
            if not line:
                continue
            try:
                if not line.startswith("/"):
                    self._say(line)
                elif self._obey(line):
                    return
            except letta_client.LettaError as error:
                self._complain(error)

    def _read(self) -> str | None:
        """The next line; None at the end of the input."""
        try:
            if self._asks:
                return self._console.input("[bold green]> [/]").strip()
            line = sys.stdin.readline()
            return line.strip() if line else None
        except (EOFError, KeyboardInterrupt):
            self._console.print()
            return None

    def _say(self, text: str) -> None:
        shown, message = Transcript(self._console), {"role": "user", "content": text}
        try:
            try:
                self._send(shown, message)
            except letta_client.ConflictError as error:
                if not self._asks or not self._waits_since_before(shown):
                    raise error
                self._send(shown, self._answers(shown), message)
            while shown.waiting:
                if not self._asks:
                    self._console.print("[yellow]The agent waits for an approval: give it in a chat at a keyboard.[/]")
                    return
                self._send(shown, self._answers(shown))
        except KeyboardInterrupt:
            self._client.agents.messages.cancel(self._agent.id)
            self._console.print("[yellow]Stopped.[/]")
        except EOFError:
            self._console.print("\n[yellow]The call goes on waiting: your next message asks again.[/]")

    def _send(self, shown: Transcript, *messages: Any) -> None:
        with self._client.agents.messages.create(
            self._agent.id, messages=messages, streaming=True, stream_tokens=True
        ) as frames:
            shown.show(frames)

    def _waits_since_before(self, shown: Transcript) -> bool:
        """Whether calls wait that were made in an earlier chat, or elsewhere."""
        pending = self._client.agents.retrieve(self._agent.id, include=["agent.pending_approval"]).pending_approval
        calls: Any = pending.tool_calls if pending else None
        for call in calls or ():
            shown.hold(call.tool_call_id, call.name, call.arguments)
        return bool(calls)

    def _answers(self, shown: Transcript) -> dict[str, Any]:
        """What the person says to each call that waits, as a message."""
        decided = [
            {"type": "approval", "tool_call_id": call_id, **self._asked(call)}
            for call_id, call in shown.waiting.items()
        ]
        return {"type": "approval", "approvals": decided}

    def _asked(self, call: str) -> dict[str, Any]:
        """Allow a call? Anything but yes and no is why not."""
        self._console.print(Text(f"The agent wants to call {call}", style="cyan"), soft_wrap=True)
        while not (said := self._console.input("[bold yellow]Allow it? (y, n, or why not) [/]").strip()):
            pass
        if said.lower() in ("y", "yes"):
            return {"approve": True}
        return {"approve": False, **({} if said.lower() in ("n", "no") else {"reason": said})}

    def _complain(self, error: letta_client.LettaError) -> None:
        """A failed message does not end the conversation at a keyboard; it does where nobody could answer."""
        if not self._asks:
            raise error
        self._console.print(f"[red]{escape(explain(error, self._where))}[/]")

    def _obey(self, line: str) -> bool:
        """Do what a line with a slash asks. True means to leave."""
        command, _, rest = line.partition(" ")
        match command:
            case "/exit" | "/quit":
                return True
            case "/help":
                for name, meaning in HELP.items():
                    self._console.print(f"  [bold]{escape(name):<16}[/]{meaning}")
            case "/memory":
                self._show_memory()
            case "/agents":
                self._agents(rest.strip())
            case "/reset":
                self._client.agents.messages.reset(self._agent.id)
                self._console.print("[dim]The window is empty.[/]")
            case _:
                self._console.print(f"[yellow]{escape(command)} is not a command; /help lists them.[/]")
        return False

    def _show_memory(self) -> None:
        for block in self._client.agents.blocks.list(self._agent.id):
            size = f"[dim]{len(block.value)} of {block.limit} characters[/]"
            self._console.print(f"[bold]{escape(block.label or '?')}[/] {size}")
            self._console.print(escape(block.value) or "[dim](empty)[/]")

    def _agents(self, name: str) -> None:
        if not name:
            self._console.print(table(self._client.agents.list(limit=_SHOWN).items))
            return
        try:
            self._agent = self._client.agents.get(name)
        except AgentNameError as error:
            self._console.print(f"[yellow]{escape(str(error))}[/]")
        else:
            self._console.print(f"[dim]Talking to[/] [bold]{escape(self._agent.name)}[/]")


def _choose(client: Letta, console: Console, model: str | None) -> AgentState:
    """Ask which agent, or make the first one. Without a keyboard there must be nothing to choose."""
    found = client.agents.list(limit=_SHOWN).items
    if not found or model:
        return _make(client, console, model)
    if not sys.stdin.isatty():
        if len(found) == 1:
            return found[0]
        terminal.fail("There are several agents: name the one to talk to.", 2)
    for number, agent in enumerate(found, 1):
        console.print(f"  [bold]{number:>2}[/] {escape(agent.name)} [dim]{escape(agent.model or '?')}[/]")
    console.print("   [bold]n[/] a new agent")
    while True:
        answer = typer.prompt("Which one", default="1").strip().lower()
        if answer == "n":
            return _make(client, console, model)
        if answer.isdecimal() and 1 <= int(answer) <= len(found):
            return found[int(answer) - 1]


def _make(client: Letta, console: Console, model: str | None) -> AgentState:
    blocks: Any = [
        {"label": "persona", "value": "I am a helpful assistant who remembers what matters to the person I talk to."},
        {"label": "human", "value": ""},
    ]
    chosen = model or _default_model(client, console)
    given: Any = {"model": chosen} if chosen else {}
    agent = client.agents.create(memory_blocks=blocks, **given)
    console.print(f"[dim]Made[/] [bold]{escape(agent.name)}[/] [dim]({agent.id})[/]")
    return agent


def _default_model(client: Letta, console: Console) -> str | None:
    """None leaves it to the server; where a person can choose, several models make a question."""
    handles = [str(model.handle) for model in client.models.list()]
    if not sys.stdin.isatty() or len(handles) < 2:
        return None
    for number, handle in enumerate(handles[:_SHOWN], 1):
        console.print(f"  [bold]{number:>2}[/] {escape(handle)}")
    if len(handles) > _SHOWN:
        console.print(f"     [dim]and {len(handles) - _SHOWN} more; any handle can be typed[/]")
    answer = typer.prompt("Which model", default="2").strip()
    return handles[int(answer) - 1] if answer.isdecimal() and 1 <= int(answer) <= len(handles) else answer
