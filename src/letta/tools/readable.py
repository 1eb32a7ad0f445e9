"""From a web page to text that a model can read: its title, what it says, and where it links to.

The pages of strangers are broken, huge, or made to be slow to read. The time taken here grows with the length of a page
and with nothing else, which is why the tags are found by hand. Knows nothing of where a page comes from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import NamedTuple
from urllib.parse import urljoin

MAX_LINKS = 40
MAX_TAGS = 100_000
"""What comes after this many tags of a page is not read."""
_MAIN_SHARE = 0.2
"""A `main` or `article` element with less of the page's text than this is not what the page is about."""

_RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
_SKIPPED = frozenset(
    {
        "aside", "button", "canvas", "dialog", "embed", "footer", "form", "head", "iframe", "menu", "nav", "noembed",
        "noframes", "noscript", "object", "script", "select", "style", "svg", "template", "textarea",
    }
)  # fmt: skip
_SKIPPED_ROLES = frozenset({"alert", "banner", "complementary", "contentinfo", "dialog", "navigation", "search"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_BLOCKS = frozenset(
    {
        "address", "article", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt", "fieldset",
        "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main", "ol", "p",
        "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
    }
)  # fmt: skip
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
# Elements that a new one of the same kind ends, because authors leave their end tags out.
_SELF_CLOSING = {"li": ("li",), "p": ("p",), "tr": ("tr",), "td": ("td", "th"), "th": ("td", "th"), "dd": ("dd", "dt"),
                 "dt": ("dd", "dt"), "option": ("option",)}  # fmt: skip

_DEEPEST_LIST = 8
_LONGEST_TAG, _CAREFUL_FAILURES = 4096, 200
_TAG = re.compile(r"""<(/?)([a-zA-Z][^\s/>]*)((?:"[^"]*"|'[^']*'|[^'">])*)>""")
_PLAIN_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)([^>]*)>")
_ATTRIBUTE = re.compile(r"""([^\s=/"'>]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_WANTED = frozenset({"aria-hidden", "content", "hidden", "href", "name", "property", "role"})

_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_TEXT_CHARSETS = re.compile(
    r"utf-?8|utf-?16(-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-?\d+|(windows-?|cp)(125\d|874|932|949)|koi8-[ru]|"
    r"(x-)?mac-?roman|macintosh|shift[_-]?jis|sjis|euc-(jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|big5(-hkscs)?|tis-620|ibm866"
)
# What the labels mean on the web, where that is not what they say.
_ON_THE_WEB = {"us-ascii": "cp1252", "ascii": "cp1252", "iso-8859-1": "cp1252", "iso8859-1": "cp1252",
               "latin1": "cp1252", "latin-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932",
               "shift-jis": "cp932", "sjis": "cp932", "euc-kr": "cp949", "x-mac-roman": "mac-roman",
               "macintosh": "mac-roman"}  # fmt: skip
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says. `links` are (words, absolute URL), each URL once, as they come, at most `MAX_LINKS`."""

    title: str | None
    text: str
    links: tuple[tuple[str, str], ...] = ()


def decoded(body: bytes, content_type: str | None) -> str:
    """The text of a page: by its byte order mark, by what the server or the page says, else UTF-8 or Windows-1252.

    Never fails: bytes that mean nothing become replacement characters.
    """
    for mark, name in _MARKS.items():
        if body.startswith(mark):
            return body.decode(name, "replace")
    for said in (content_type or "", body[:4096].decode("latin-1")):
        if (found := _CHARSET.search(said)) and (codec := _codec(found[1])):
            return body.decode(codec, "replace")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data"
        return body.decode("utf-8" if cut else "cp1252", "replace")


def _codec(label: str) -> str | None:
    """The codec for a charset; None for what is no charset of texts."""
    name = label.lower()
    return _ON_THE_WEB.get(name, name) if _TEXT_CHARSETS.fullmatch(name) else None


def read_html(html: str, url: str) -> Page:
    """The title, text and links of a page; `url` is where it came from. Text is Markdown as far as it has a form."""
    reader = _Reader(url)
    for token in _tokens(html):
        reader.take(token)
    return reader.page()


class _Token(NamedTuple):
    """A start tag, an end tag (`/` before its name), or with no name a text."""

    name: str
    text: str


def _tokens(html: str) -> Iterator[_Token]:
    at, failures, close = 0, 0, -1
    for _ in range(MAX_TAGS):
        if (start := html.find("<", at)) < 0:
            break
        if close < start and (close := html.find(">", start)) < 0:
            # No tag can follow any more.
            return
        if start > at:
            yield _Token("", html[at:start])
        if html.startswith("<!--", start):
            at = _after(html, "-->", start + 4)
            continue
        if html[start + 1 : start + 2] in ("!", "?"):
            at = _after(html, ">", start)
            continue
        tag = None
        if failures < _CAREFUL_FAILURES:
            tag = _TAG.match(html, start, start + _LONGEST_TAG)
            failures += tag is None
        tag = tag or _PLAIN_TAG.match(html, start)
        if tag is None:
            yield _Token("", "<")
            at = start + 1
            continue
        name, at = tag[2].lower(), tag.end()
        yield _Token(tag[1] + name, tag[3])
        if not tag[1] and name in _RAW:
            end = re.compile(f"</{name}", re.IGNORECASE).search(html, at)
            stop = end.start() if end else len(html)
            if stop > at:
                yield _Token("", html[at:stop])
            at = stop
    else:
        return
    yield _Token("", html[at:])


def _after(html: str, mark: str, start: int) -> int:
    found = html.find(mark, start)
    return len(html) if found < 0 else found + len(mark)


def _attributes(text: str) -> dict[str, str]:
    if not text or text.isspace():
        return {}
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        name = match[1].lower()
        if name in _WANTED and name not in found:
            found[name] = unescape(match[2] or match[3] or match[4] or "")
    return found


@dataclass(slots=True)
class _Element:
    name: str
    skipped: bool
    main: bool


@dataclass(slots=True)
class _Block:
    text: str
    main: bool
    tight: bool


@dataclass(slots=True)
class _Link:
    url: str
    main: bool
    words: list[str] = field(default_factory=list)


class _Reader:
    """Turns tags and texts into blocks of text, and remembers which of them are in the page's main element."""

    def __init__(self, url: str) -> None:
        self._base = url
        self._open: list[_Element] = []
        self._blocks: list[_Block] = []
        self._line: list[str] = []
        self._prefix = ""
        self._lists: list[int | None] = []
        self._pre = 0
        self._title: list[str] = []
        self._named_title: str | None = None
        self._links: list[_Link] = []
        self._link: _Link | None = None

    def page(self) -> Page:
        self._flush()
        mains = [block for block in self._blocks if block.main]
        whole = sum(len(block.text) for block in self._blocks)
        about = sum(len(block.text) for block in mains) >= max(1, whole * _MAIN_SHARE)
        title = self._named_title or _squeezed("".join(self._title))
        links: dict[str, str] = {}
        for link in self._links:
            words = _squeezed("".join(link.words))
            if words and link.url not in links and (link.main or not about) and len(links) < MAX_LINKS:
                links[link.url] = words
        text = _joined(mains if about else self._blocks)
        return Page(title or None, text, tuple((words, url) for url, words in links.items()))

    def take(self, token: _Token) -> None:
        if not token.name:
            self._text(token.text)
        elif token.name.startswith("/"):
            self._end(token.name[1:])
        else:
            self._start(token.name, _attributes(token.text))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "meta" and attributes.get("property", attributes.get("name")) == "og:title":
            self._named_title = self._named_title or _squeezed(attributes.get("content", "")) or None
        if name == "base" and attributes.get("href"):
            self._base = _absolute(self._base, attributes["href"]) or self._base
        if name in _SELF_CLOSING and self._open and self._open[-1].name in _SELF_CLOSING[name]:
            self._end(self._open[-1].name)
        outer = self._open[-1] if self._open else _Element("", skipped=False, main=False)
        if name in _BLOCKS and not outer.skipped:
            self._flush()
        if name in _VOID:
            if not outer.skipped and name == "br":
                self._line.append("\n")
            return
        if name == "body":
            # A page may forget to end its head.
            self._open.clear()
            outer = _Element("", skipped=False, main=False)
        role = attributes.get("role", "").lower()
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
        skipped = outer.skipped or name in _SKIPPED or role in _SKIPPED_ROLES or hidden
        self._open.append(_Element(name, skipped, outer.main or name in ("main", "article") or role == "main"))
        if not skipped:
            self._open_visible(name, attributes)

    def _open_visible(self, name: str, attributes: dict[str, str]) -> None:
        if name in _HEADINGS:
            self._prefix = _HEADINGS[name]
        elif name in ("ul", "ol"):
            self._lists.append(0 if name == "ol" else None)
        elif name == "li":
            self._prefix = self._bullet()
        elif name == "pre":
            self._pre += 1
        elif name in ("td", "th") and any(piece.strip() for piece in self._line[:20]):
            self._line.append(" | ")
        elif name == "a" and (url := _absolute(self._base, attributes.get("href", ""))):
            self._link = _Link(url, self._open[-1].main)
            self._links.append(self._link)

    def _bullet(self) -> str:
        if not self._lists:
            return "- "
        depth, number = min(len(self._lists) - 1, _DEEPEST_LIST), self._lists[-1]
        if number is None:
            return "  " * depth + "- "
        self._lists[-1] = number + 1
        return f"{'  ' * depth}{number + 1}. "

    def _end(self, name: str) -> None:
        # Looked for only so far down: a page may open a hundred thousand elements and end none.
        near = [element.name for element in self._open[-100:]]
        if name not in near:
            return
        depth = near[::-1].index(name) + 1
        if not self._open[-depth].skipped and name in _BLOCKS:
            self._flush()
        for closed in self._open[-depth:]:
            if not closed.skipped:
                self._close_visible(closed.name)
        del self._open[-depth:]

    def _close_visible(self, name: str) -> None:
        if name in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif name == "pre":
            self._pre = max(0, self._pre - 1)
        elif name == "a":
            self._link = None

    def _text(self, text: str) -> None:
        inside = self._open[-1] if self._open else None
        if inside is not None and inside.name == "title" and not any(one.name == "svg" for one in self._open[-5:]):
            self._title.append(unescape(text))
        elif inside is None or not inside.skipped:
            shown = unescape(text)
            self._line.append(shown if self._pre else re.sub(r"\s+", " ", shown))
            if self._link is not None:
                self._link.words.append(shown)

    def _flush(self) -> None:
        """End the block that is being written."""
        text, self._line = "".join(self._line), []
        if self._pre:
            text = f"```\n{text.strip(chr(10))}\n```" if text.strip() else ""
        else:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
        if text:
            main = bool(self._open) and self._open[-1].main
            tight = self._prefix.lstrip().startswith(("-", *"0123456789")) or self._row()
            self._blocks.append(_Block(self._prefix + text, main, tight))
            self._prefix = ""

    def _row(self) -> bool:
        return any(element.name == "tr" for element in self._open[-4:])


def _joined(blocks: list[_Block]) -> str:
    """Blocks under each other, with an empty line between those that are no list items or rows."""
    parts: list[str] = []
    for number, block in enumerate(blocks):
        if number:
            parts.append("\n" if block.tight and blocks[number - 1].tight else "\n\n")
        parts.append(block.text)
    return "".join(parts)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _absolute(base: str, href: str) -> str | None:
    """Where a link leads; None for places in the same page and for what is not the web."""
    if not href or href.startswith("#"):
        return None
    try:
        url = urljoin(base, href.strip())
    except ValueError:
        return None
    return url if url.startswith(("http://", "https://")) else None
