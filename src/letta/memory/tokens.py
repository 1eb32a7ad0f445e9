"""How many tokens a text is, roughly: for reports and limits, never for bills."""

_BYTES_PER_TOKEN = 4
_LETTERS_PER_TOKEN = 1.5


def count_tokens(text: str) -> int:
    """An estimate for any tokenizer: four ASCII characters a token, one and a half letters of other scripts."""
    plain = sum(1 for letter in text if letter < "\x80") if not text.isascii() else len(text)
    return -(-plain // _BYTES_PER_TOKEN) + round((len(text) - plain) / _LETTERS_PER_TOKEN)
