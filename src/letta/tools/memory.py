"""The tools an agent edits its memory blocks with. They run inside the step's transaction."""

from letta.errors import ToolFailed
from letta.schemas.blocks import Block, CreateBlock, usable_label
from letta.store import blocks
from letta.tools.context import ToolContext
from letta.tools.memory_edits import (
    apply_hunks,
    insert_lines,
    refuse_line_numbers,
    replace_everywhere,
    replace_once,
)

_HEADER = "*** "
_PATH = "/memories/"


def _writable(context: ToolContext, label: str) -> Block:
    block = context.block(label)
    if block.read_only:
        raise ToolFailed(f"block {label!r} is read-only: only people can change it.")
    return block


def core_memory_append(context: ToolContext, label: str, content: str) -> str:
    block = _writable(context, label)
    value = f"{block.value}\n{content}" if block.value else content
    return context.change_block(block, value=value).value


def core_memory_replace(context: ToolContext, label: str, old_content: str, new_content: str) -> str:
    block = _writable(context, label)
    return context.change_block(block, value=replace_everywhere(block.value, old_content, new_content)).value


def memory_insert(context: ToolContext, label: str, new_string: str, insert_line: int = -1) -> str:
    block = _writable(context, label)
    context.change_block(block, value=insert_lines(block.value, new_string, insert_line))
    return f"Block {label!r} was edited: the text was inserted. Check that it reads well and edit again if it does not."


def memory_replace(context: ToolContext, label: str, old_string: str, new_string: str) -> str:
    block = _writable(context, label)
    context.change_block(block, value=replace_once(block.value, old_string, new_string))
    return f"Block {label!r} was edited: the text was replaced. Check that it reads well and edit again if it does not."


def memory_rethink(context: ToolContext, label: str, new_memory: str) -> str:
    refuse_line_numbers(new_memory=new_memory)
    if context.has_block(label):
        context.change_block(_writable(context, label), value=new_memory)
        return f"Block {label!r} was rewritten."
    _create(context, label, new_memory, "")
    return f"Block {label!r} did not exist and was created."


def memory_finish_edits(context: ToolContext) -> str:
    return "Memory edits are finished."


def memory_apply_patch(context: ToolContext, label: str, patch: str) -> str:
    refuse_line_numbers(patch=patch)
    if any(line.startswith(_HEADER) for line in patch.split("\n")):
        return "\n".join(_apply_section(context, header, body) for header, body in _sections(patch))
    block = _writable(context, label)
    context.change_block(block, value=apply_hunks(block.value, patch))
    return f"Block {label!r} was patched."


def _sections(patch: str) -> list[tuple[str, str]]:
    """The parts of a multi-block patch: a header line such as `*** Update Block: human`, and the lines below it."""
    sections: list[tuple[str, list[str]]] = []
    for line in patch.split("\n"):
        if line.startswith(_HEADER):
            sections.append((line.removeprefix(_HEADER).strip(), []))
        elif sections:
            sections[-1][1].append(line)
        elif line.strip():
            raise ToolFailed("a patch for several blocks begins with a header such as '*** Update Block: <label>'.")
    return [(header, "\n".join(lines)) for header, lines in sections if header not in ("Begin Patch", "End Patch")]


def _apply_section(context: ToolContext, header: str, body: str) -> str:
    action, _, label = (part.strip() for part in header.partition(":"))
    if not label:
        raise ToolFailed(f"the header {header!r} names no block: write '*** {action or 'Update Block'}: <label>'.")
    match action.removesuffix(" Block"):
        case "Add":
            text = "\n".join(line.removeprefix("+") for line in body.strip("\n").split("\n"))
            _create(context, label, text, "")
            return f"Block {label!r} was added."
        case "Delete":
            return _delete(context, label)
        case "Update":
            block = _writable(context, label)
            context.change_block(block, value=apply_hunks(block.value, body))
            return f"Block {label!r} was patched."
        case "Move":
            old, _, new = (part.strip() for part in label.partition("->"))
            return _rename(context, old, new)
    raise ToolFailed(
        f"{header!r} is not a header: use Add, Delete, Update or Move Block, as in '*** Add Block: <label>'."
    )


def memory(
    context: ToolContext,
    command: str,
    path: str | None = None,
    file_text: str | None = None,
    description: str | None = None,
    old_string: str | None = None,
    new_string: str | None = None,
    insert_line: int | None = None,
    insert_text: str | None = None,
    old_path: str | None = None,
    new_path: str | None = None,
) -> str:
    match command:
        case "create":
            label = _label(path, "path")
            _create(context, label, file_text or "", _given(description, "description"))
            return f"Block {label!r} was created."
        case "str_replace":
            return memory_replace(
                context, _label(path, "path"), _given(old_string, "old_string"), _given(new_string, "new_string")
            )
        case "insert":
            line = -1 if insert_line is None else insert_line
            return memory_insert(context, _label(path, "path"), _given(insert_text, "insert_text"), line)
        case "delete":
            return _delete(context, _label(path, "path"))
        case "rename" if description is not None and new_path is None:
            block = _writable(context, _label(path, "path"))
            context.change_block(block, description=description)
            return f"The description of block {block.label!r} was changed."
        case "rename":
            return _rename(context, _label(old_path or path, "old_path"), _label(new_path, "new_path"))
    raise ToolFailed(f"command {command!r} does not exist: use create, str_replace, insert, delete or rename.")


def _given(value: str | None, name: str) -> str:
    if value is None:
        raise ToolFailed(f"{name} is missing for this command.")
    return value


def _label(path: str | None, name: str) -> str:
    label = _given(path, name).removeprefix(_PATH).strip("/")
    if not label:
        raise ToolFailed(f"{name} names no block: write '{_PATH}<label>'.")
    return label


def _create(context: ToolContext, label: str, value: str, description: str) -> None:
    refuse_line_numbers(text=value)
    _refuse_unusable(label)
    if context.has_block(label):
        raise ToolFailed(f"block {label!r} exists already: edit it, or choose another label.")
    request = CreateBlock(label=label, value=value, description=description or None)
    block = blocks.create(context.connection, request, context.author)
    blocks.attach(context.connection, context.agent_id, block.id)


def _refuse_unusable(label: str) -> None:
    try:
        usable_label(label)
    except ValueError as error:
        raise ToolFailed(f"{error}.") from None


def _delete(context: ToolContext, label: str) -> str:
    context.detach_block(_writable(context, label))
    return f"Block {label!r} was taken out of your memory."


def _rename(context: ToolContext, old: str, new: str) -> str:
    _refuse_unusable(new)
    if context.has_block(new):
        raise ToolFailed(f"block {new!r} exists already: choose another label.")
    context.change_block(_writable(context, old), label=new)
    return f"Block {old!r} is now called {new!r}."
