"""Long text into pieces that an embedding model reads whole. Knows characters, not what a text is about."""

import re

LONGEST = 900
"""UTF-8 bytes of a piece: about 200 word pieces of English, 300 of Chinese."""
_BREAKS = tuple(map(re.compile, (r"\n\s*\n", r"\n", r"[.!?。！？]['\")\]]*\s+|[。！？]", r"[,;:、，；]\s*|\s")))


def split(text: str) -> list[str]:
    """The pieces of a text, in order, cut at paragraphs, sentences or words; a short text is one piece.

    Nothing but white space at the cuts is lost.
    """
    pieces: list[str] = []
    start = 0
    while start < len(text):
        ahead = text[start : start + LONGEST]
        fitting = ahead.encode()[:LONGEST].decode(errors="ignore")
        is_last = len(fitting) == len(text) - start
        end = len(fitting) if is_last else _cut(fitting)
        if piece := text[start : start + end].strip():
            pieces.append(piece)
        start += end
    return pieces


def _cut(text: str) -> int:
    """The best place to cut: behind the last paragraph, sentence, or word in the later two thirds."""
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text) if match.end() > len(text) // 3]
        if ends:
            return ends[-1]
    return len(text)
