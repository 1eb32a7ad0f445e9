"""Text to word pieces the way BERT's uncased models were trained: lower case, no accents, the longest pieces first.

Pure Python; gives the same numbers as the Rust tokenizers for every script. Knows nothing of what the numbers mean.
"""

import unicodedata
from collections.abc import Sequence

_LONGEST_WORD = 100
_KEPT_WORDS = 50_000
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """A tokenizer over a vocabulary: `pieces[number]` is a piece, `##x` one that continues a word."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(pieces)}
        self._unknown = self._numbers["[UNK]"]
        self._start, self._end = self._numbers["[CLS]"], self._numbers["[SEP]"]
        self._words: dict[str, list[int]] = {}

    def encode(self, text: str, longest: int) -> list[int]:
        """The numbers of a text between start and end marks; what is over `longest` numbers in all is left off."""
        numbers = [self._start]
        for word in self._split(text):
            numbers += self._of_word(word)
            if len(numbers) >= longest:
                del numbers[longest - 1 :]
                break
        numbers.append(self._end)
        return numbers

    def _split(self, text: str) -> list[str]:
        if text.isascii():
            normal = text.lower()
        else:
            spaced = "".join(f" {char} " if _is_cjk(char) else char for char in text)
            decomposed = unicodedata.normalize("NFD", spaced)
            normal = "".join(char for char in decomposed if unicodedata.category(char) != "Mn").lower()
        return "".join(map(_spaced, normal)).split(" ")

    def _of_word(self, word: str) -> list[int]:
        if not word:
            return []
        if (known := self._words.get(word)) is None:
            if len(self._words) >= _KEPT_WORDS:
                self._words.clear()
            known = self._words[word] = self._longest_first(word)
        return known

    def _longest_first(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if (number := self._numbers.get(piece)) is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return [self._unknown]
        return found


def _is_cjk(char: str) -> bool:
    point = ord(char)
    return point >= 0x3400 and any(low <= point <= high for low, high in _CJK)


_SPACED: dict[str, str] = {}


def _spaced(char: str) -> str:
    """The character as it goes into the split: white space as one space, marks as words of their own, controls gone."""
    if (known := _SPACED.get(char)) is None:
        known = _SPACED[char] = _classified(char)
    return known


def _classified(char: str) -> str:
    if char in "\t\n\r" or unicodedata.category(char).startswith("Z"):
        return " "
    category = unicodedata.category(char)
    if char in "\x00\ufffd" or category.startswith("C"):
        return ""
    # Every printable ASCII character that is no letter or digit counts as punctuation here, also $ + < = > ^ ` | ~
    if category.startswith("P") or (char.isascii() and not char.isalnum()):
        return f" {char} "
    return char
