"""What is publicly known about well known models: context windows, longest answers, vector lengths, readable names.

A fallback for endpoints that do not say it themselves. Pure data, matched by name; nothing is fetched. Knows nothing of
providers: the same weights have the same numbers here wherever they run, and an endpoint's own word always wins.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

UNKNOWN_OUTPUT = 16_384
"""Tokens of the longest answer where nobody publishes a number, at most a quarter of the window."""


@dataclass(frozen=True, slots=True)
class Known:
    """Sizes of a model in tokens. `max_output_tokens` is None where its maker names none."""

    context_window: int
    max_output_tokens: int | None


# name, context window, longest answer ("-": not published). A name stands for every name it begins, up to a separator:
# `gpt-4.1` covers `gpt-4.1-mini-2025-04-14`, but not `gpt-4.11`. The longest name wins.
_MODELS = """
gpt-3.5-turbo                16_385     4_096
gpt-4                         8_192     8_192
gpt-4-32k                    32_768     -
gpt-4-turbo                 128_000     4_096
gpt-4-vision-preview        128_000     4_096
gpt-4-1106-preview          128_000     4_096
gpt-4-0125-preview          128_000     4_096
gpt-4o                      128_000    16_384
gpt-4o-2024-05-13           128_000     4_096
chatgpt-4o                  128_000    16_384
gpt-4.1                   1_047_576    32_768
gpt-4.5-preview             128_000    16_384
gpt-5                       400_000   128_000
gpt-5-chat                  128_000    16_384
gpt-5-pro                   400_000   272_000
gpt-5.1                     400_000   128_000
gpt-5.1-chat                128_000    16_384
gpt-5.2                     400_000   128_000
gpt-5.2-chat                128_000    16_384
gpt-5.3                     128_000    16_384
gpt-5.3-codex               400_000   128_000
gpt-5.4                   1_050_000   128_000
gpt-5.4-mini                400_000   128_000
gpt-5.4-nano                400_000   128_000
gpt-5.5                   1_000_000   128_000
gpt-5.6                   1_050_000   128_000
gpt-6                     1_050_000   128_000
gpt-6.1                   1_050_000   128_000
gpt-oss                     131_072    32_768
codex-mini                  200_000   100_000
o1                          200_000   100_000
o1-mini                     128_000    65_536
o1-preview                  128_000    32_768
o3                          200_000   100_000
o4-mini                     200_000   100_000
claude                      200_000    32_000
claude-3                    200_000     4_096
claude-3-5-haiku            200_000     8_192
claude-3-5-sonnet           200_000     8_192
claude-3-7-sonnet           200_000    64_000
claude-opus-4               200_000    32_000
claude-sonnet-4             200_000    64_000
claude-opus-4-1             200_000    32_000
claude-haiku-4-5            200_000    64_000
claude-opus-4-5             200_000    64_000
claude-sonnet-4-5           200_000    64_000
claude-opus-4-6           1_000_000   128_000
claude-sonnet-4-6         1_000_000   128_000
claude-opus-4-7           1_000_000   128_000
claude-opus-4-8           1_000_000   128_000
claude-fable-5            1_000_000   128_000
claude-haiku-5            1_000_000   128_000
claude-mythos-5           1_000_000   128_000
claude-opus-5             1_000_000   128_000
claude-sonnet-5           1_000_000   128_000
gemini-pro                   32_768     2_048
gemini-1.5-flash          1_000_000     8_192
gemini-1.5-pro            2_000_000     8_192
gemini-2.0-flash          1_048_576     8_192
gemini-2.5                1_048_576    65_536
gemini-3                  1_048_576    65_536
gemini-3.1                1_048_576    65_536
gemini-3.5                1_048_576    65_536
gemini-3.6                1_048_576    65_536
gemini-3.7                1_048_576    65_536
gemini-3.8                1_048_576    65_536
gemini-4                  1_048_576    65_536
gemini-flash              1_048_576    65_536
gemma-2                       8_192     -
gemma-3                     131_072     8_192
gemma-3-1b                   32_768     8_192
gemma-3n                     32_768     -
gemma-4                     262_144     -
deepseek-chat                64_000     8_192
deepseek-reasoner            64_000    32_768
deepseek-flash            1_000_000     -
deepseek-coder               16_384     -
deepseek-r1                 128_000    32_768
deepseek-r1-distill          32_768     -
deepseek-v3                 128_000     8_192
deepseek-v4               1_000_000     -
grok-2                       32_768     -
grok-3                      131_072     -
grok-4                      256_000     -
grok-4-fast               2_000_000     -
grok-4-1-fast             2_000_000     -
grok-4.20                 1_000_000     -
grok-4.3                  1_000_000     -
grok-4.5                    500_000     -
grok-4.6                    500_000     -
grok-4.7                    500_000     -
grok-build                  256_000     -
grok-code-fast              256_000     -
codestral                   256_000     -
devstral                    128_000     -
devstral-2                  256_000     -
devstral-2512               262_144     -
magistral                   128_000    40_000
ministral                   131_072     -
ministral-8b-2512           262_144     -
ministral-14b               262_144     -
mistral-7b                   32_768     -
mistral-large               128_000     -
mistral-large-3             256_000     -
mistral-large-2512          262_144     -
mistral-large-4           1_048_576     -
mistral-medium              128_000     -
mistral-medium-3-5          262_144     -
mistral-nemo                128_000     -
mistral-small                32_768     -
mistral-small-3.1           128_000     -
mistral-small-3.2           128_000     -
mistral-small-latest        128_000     -
mistral-small-2503          128_000     -
mistral-small-2506          128_000     -
mistral-small-2603          262_144     -
mixtral-8x7b                 32_768     -
mixtral-8x22b                65_536     -
pixtral                     128_000     -
llama-2                       4_096     -
llama-3                       8_192     -
llama-3.1                   131_072     -
llama-3.2                   131_072     -
llama-3.3                   131_072     -
llama-4-maverick          1_000_000     -
llama-4-scout             1_000_000     -
muse-spark                1_048_576     -
muse-glimmer                131_072     -
muse-wonder               1_048_576     -
hermes-2-pro                  8_192     -
hermes-3                    131_072     -
hermes-4                    131_072     -
qwen-2                       32_768     -
qwen-2.5                     32_768     8_192
qwen-3                       32_768     -
qwen-3-32b                  131_072     -
qwen-3-235b                 131_072     -
qwen-3-coder                262_144    65_536
qwen-3-coder-flash        1_000_000    65_536
qwen-3-coder-plus         1_000_000    65_536
qwen-3-max                  262_144    65_536
qwen-3-next                 262_144     -
qwen-3-vl                   131_072     -
qwen-3-omni                  65_536     -
qwen-3.5                    262_144     -
qwen-3.5-flash            1_000_000     -
qwen-3.5-plus             1_000_000     -
qwen-3.6                    262_144     -
qwen-3.6-flash            1_000_000     -
qwen-3.6-plus             1_000_000     -
qwen-3.7                  1_000_000     -
qwen-3.8                  1_000_000     -
qwen-max                     32_768     8_192
qwen-plus                 1_000_000    32_768
qwen-turbo                1_000_000    16_384
qwq-32b                     131_072     -
kimi-k2                     131_072     -
kimi-k2-0905                262_144     -
kimi-k2-thinking            262_144     -
kimi-k2-turbo               262_144     -
kimi-k2.5                   262_144     -
kimi-k2.6                   262_144     -
kimi-k2.7                   262_144     -
kimi-k3                   1_048_576     -
kimi-k3.1                 1_048_576     -
moonshot-v1-8k                8_192     -
moonshot-v1-32k              32_768     -
moonshot-v1-128k            131_072     -
glm-4                       128_000     -
glm-4.5                     131_072    96_000
glm-4.5v                     65_536     -
glm-4.6                     200_000   128_000
glm-4.6v                    128_000     -
glm-4.7                     200_000   128_000
glm-5                       200_000   128_000
glm-5.1                     200_000   128_000
glm-5.2                   1_000_000   128_000
glm-5.3                   1_000_000   128_000
minimax-01                1_000_192     -
minimax-m1                1_000_000     -
minimax-m2                  204_800     -
minimax-m2.1                204_800     -
minimax-m2.5                204_800     -
minimax-m2.7                204_800     -
minimax-m3                  524_288     -
minimax-m3.1              1_000_000     -
command-a                   256_000     8_192
command-a-plus              192_000     -
command-r                   128_000     4_096
command-r7b                 128_000     4_096
nova-micro                  128_000    10_000
nova-lite                   300_000    10_000
nova-pro                    300_000    10_000
nova-premier              1_000_000    10_000
nova-2-lite               1_000_000    65_536
nemotron-3                  262_144     -
nemotron-nano-9b            128_000     -
phi-3                       131_072     -
phi-3.5                     131_072     -
phi-4                        16_384     -
phi-4-mini                  131_072     -
phi-4-reasoning              32_768     -
granite-3                   131_072     -
granite-4                   131_072     -
step-3.5                    262_144     -
step-3.7                    262_144     -
step-5                    1_000_000     -
seed-1.6                    262_144     -
seed-2.0                    262_144     -
palmyra-x4                  128_000     -
palmyra-x5                1_000_000     -
scripted                    128_000    16_384
"""

# name, length of a vector, longest input in tokens
_EMBEDDINGS = """
text-embedding-3-small        1_536     8_191
text-embedding-3-large        3_072     8_191
text-embedding-ada-002        1_536     8_191
text-embedding-004              768     2_048
text-embedding-005              768     2_048
gemini-embedding-001          3_072     2_048
gemini-embedding-2            3_072     8_192
mistral-embed                 1_024     8_192
codestral-embed               1_536     8_192
embed-v4.0                    1_536   128_000
embed-english-v3.0            1_024       512
embed-multilingual-v3.0       1_024       512
titan-embed-text-v1           1_536     8_192
titan-embed-text-v2           1_024     8_192
nomic-embed-text                768     2_048
mxbai-embed-large             1_024       512
all-minilm                      384       256
bge-m3                        1_024     8_192
bge-small                       384       512
bge-base                        768       512
bge-large                     1_024       512
e5-small                        384       512
e5-base                         768       512
e5-large                      1_024       512
e5-mistral-7b                 4_096    32_768
gte-base                        768       512
gte-large                     1_024       512
snowflake-arctic-embed        1_024       512
snowflake-arctic-embed2       1_024     8_192
embeddinggemma                  768     2_048
paraphrase-multilingual         768       128
qwen-3-embedding-0.6b         1_024    32_768
qwen-3-embedding-4b           2_560    32_768
qwen-3-embedding-8b           4_096    32_768
jina-embeddings-v2-base         768     8_192
jina-embeddings-v3            1_024     8_192
granite-embedding-278m          768       512
granite-embedding-30m           384       512
"""

_EMBEDDING_NAME = re.compile(
    r"embed|(?:^|[/-])(?:bge|gte|e5|multilingual-e5|all-minilm|paraphrase|voyage)(?:[-:]|$)|sentence-t5|gtr-t5", re.I
)
_NO_CHAT_NAME = re.compile(
    r"whisper|transcribe|(?:^|[/-])tts|-tts(?:-|$)|dall-e|moderation|-image(?:-|$)|^gpt-image|^chatgpt-image|realtime|^gpt-live"
    r"|-live(?:-|$)|^gpt-audio|-audio(?:-|$)|^sora|^(?:text-)?(?:davinci|babbage|curie|ada)(?:-|$)|-instruct-0914|turbo-instruct"
    r"|computer-use|imagen|(?:^|/)veo|rerank|-ocr|voxtral|guard|robotics|lyria|^aqa$|orpheus|flux|stable-diffusion",
    re.I,
)


@lru_cache(maxsize=4096)
def _tokens(name: str) -> tuple[str, ...]:
    """The words of a model's name in one spelling: `accounts/x/models/llama-v3p1-8b` and `llama3.1:8b` agree."""
    text = name.lower().rsplit("/", 1)[-1]
    text = re.sub(r"(?<=\d)p(?=\d)", "-", text)
    text = re.sub(r"[^a-z0-9]+", "-", text)
    text = re.sub(r"\bv(?=\d)", "", text)
    text = re.sub(r"(?<=[a-z])(?=\d)", "-", text)
    return tuple(word for word in text.split("-") if word)


def _read(table: str) -> dict[tuple[str, ...], tuple[int, int | None]]:
    rows = (line.split() for line in table.strip().splitlines())
    return {_tokens(name): (int(first), None if second == "-" else int(second)) for name, first, second in rows}


_models = _read(_MODELS)
_embeddings = _read(_EMBEDDINGS)
_longest = max(map(len, [*_models, *_embeddings]))


def _find(table: dict[tuple[str, ...], tuple[int, int | None]], name: str) -> tuple[int, int | None] | None:
    """The row of the longest known name, searched from the first word on: makers' prefixes come before names."""
    words = _tokens(name)
    for start in range(len(words)):
        for end in range(min(len(words), start + _longest), start, -1):
            if (row := table.get(words[start:end])) is not None:
                return row
    return None


@lru_cache(maxsize=4096)
def known(name: str) -> Known | None:
    """Sizes of the model with this name, in any common spelling, with or without a maker's prefix; None if unknown."""
    row = _find(_models, name)
    return Known(*row) if row else None


def answer_limit(context_window: int) -> int:
    """Tokens to allow for an answer of a model of which only the window is known."""
    return min(UNKNOWN_OUTPUT, max(1, context_window // 4))


def dimensions(name: str) -> int | None:
    """The length of the vectors of an embedding model; None if unknown."""
    row = _find(_embeddings, name)
    return row[0] if row else None


def exact_dimensions(name: str) -> int | None:
    """As `dimensions`, but of this very name: a longer name may be that of a smaller sister."""
    row = _embeddings.get(_tokens(name))
    return row[0] if row else None


def embeds(name: str) -> bool:
    """Is it an embedding model? Known by name, because most lists do not say."""
    return bool(_EMBEDDING_NAME.search(name)) or _tokens(name) in _embeddings


def chats(name: str) -> bool:
    """Can it hold a conversation? False for embeddings, speech, pictures, moderation and plain completion."""
    return not embeds(name) and not _NO_CHAT_NAME.search(name)


_CAPITALS = {"gpt": "GPT", "glm": "GLM", "oss": "OSS", "qwq": "QwQ", "minimax": "MiniMax", "deepseek": "DeepSeek"}
_PLAIN = re.compile(r"[a-z0-9]+(?:\.?(?<=\d\.)\d+[a-z]*|-[a-z0-9]+)*", re.I)
_DATE = re.compile(r"[-@](20\d{2}-?\d{2}-?\d{2})\b")


def display_name(name: str) -> str:
    """A readable name: `claude-sonnet-4-5-20250929` is `Claude Sonnet 4.5 (20250929)`. Odd names stay as they are."""
    text = name.rsplit("/", 1)[-1]
    if not _PLAIN.fullmatch(text):
        return name
    date = _DATE.search(text)
    words = (text[: date.start()] + text[date.end() :] if date else text).split("-")
    joined = re.sub(r"(?<=\b\d) (?=\d\b)", ".", " ".join(_capital(word) for word in words if word))
    return f"{joined} ({date[1]})" if date else joined


def _capital(word: str) -> str:
    return _CAPITALS.get(word.lower()) or (word if re.match(r"o\d|\d", word) else word[:1].upper() + word[1:])
