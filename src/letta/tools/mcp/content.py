"""What a tool's answer becomes: text and images for a model. Knows the protocol's JSON, not its library."""

import base64
import binascii
from typing import Any

import orjson

from letta.schemas.messages import Base64Image, ImagePart
from letta.tools.mcp.protocol import Outcome

MOST_IMAGES = 10
LARGEST_IMAGE = 5 * 1024 * 1024
_SHOWABLE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def outcome(blocks: list[dict[str, Any]], structured: Any, *, ok: bool) -> Outcome:
    """Texts are joined by lines; an image that models can see is passed on, everything else is named.

    `structured` is shown where there is no block at all: servers repeat it as text otherwise.
    """
    texts: list[str] = []
    images: list[ImagePart] = []
    for block in blocks:
        image = _image(block) if len(images) < MOST_IMAGES else None
        if image is not None:
            images.append(image)
        texts.append(_text(block, shown=image is not None))
    if not blocks and structured is not None:
        texts.append(orjson.dumps(structured, option=orjson.OPT_NON_STR_KEYS).decode())
    return Outcome("\n".join(texts), ok, tuple(images))


def _text(block: dict[str, Any], *, shown: bool) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "resource":
        resource = block.get("resource") or {}
        if "text" in resource:
            return f"[{resource.get('uri')}]\n{resource['text']}"
        return f"[{_size(resource.get('blob'))} of {resource.get('mimeType', 'unknown type')}: {resource.get('uri')}]"
    if kind == "resource_link":
        return f"[{block.get('name')}: {block.get('uri')}]"
    note = "" if shown else ", not shown"
    return f"[{kind}: {block.get('mimeType', 'unknown type')}, {_size(block.get('data'))}{note}]"


def _image(block: dict[str, Any]) -> ImagePart | None:
    data, kind = block.get("data"), str(block.get("mimeType", "")).lower()
    if block.get("type") != "image" or kind not in _SHOWABLE or not isinstance(data, str):
        return None
    if len(data) > LARGEST_IMAGE * 4 // 3:
        return None
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error:
        return None
    return ImagePart(source=Base64Image(media_type=kind, data=data))


def _size(encoded: Any) -> str:
    return f"{len(encoded.rstrip('=')) * 3 // 4} bytes" if isinstance(encoded, str) else "nothing"
