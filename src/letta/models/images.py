"""Images as providers take them: a URL, a data URL, or base64 with its media type.

Knows nothing about files: a stored image arrives with its data filled in, or is described in words.
"""

from letta.schemas.messages import Base64Image, ImagePart, StoredImage, UrlImage

MISSING = "[image not available]"


def url(part: ImagePart) -> str | None:
    """The address of an image, a data URL where it has no other; None if its data is missing."""
    source = part.source
    if isinstance(source, UrlImage):
        return source.url
    if source.data is None:
        return None
    return f"data:{_media_type(source)};base64,{_bare(source.data)}"


def base64(part: ImagePart) -> tuple[str, str] | None:
    """Media type and base64 text of an image; None where only an address is known, or nothing."""
    source = part.source
    if isinstance(source, UrlImage):
        if source.url.startswith("data:") and ";base64," in source.url:
            head, _, data = source.url[5:].partition(";base64,")
            return head, data
        return None
    if source.data is None:
        return None
    return _media_type(source), _bare(source.data)


def detail(part: ImagePart) -> str | None:
    """How closely a model should look (`low`, `high`, `auto`), where that was said."""
    return None if isinstance(part.source, UrlImage) else part.source.detail


def _bare(data: str) -> str:
    """Base64 without the data URL some clients put around it."""
    return data.partition(";base64,")[2] if data.startswith("data:") else data


def _media_type(source: Base64Image | StoredImage) -> str:
    if source.media_type:
        return source.media_type
    starts = {"iVBOR": "image/png", "R0lGO": "image/gif", "UklGR": "image/webp"}
    return starts.get(_bare(source.data or "")[:5], "image/jpeg")
