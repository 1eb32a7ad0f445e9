"""The web tools through the front door: pages and search engines are servers of this test, on this machine."""

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from tests.models.wire_server import Asked, Reply, json_reply, running
from tests.serving import Served, serve

from letta.models.scripted import Call
from letta.tools.readable import MAX_TAGS, Page, decoded, read_html

ARTICLE = """<!doctype html><html><head><title>Tea &amp; more</title><style>p { color: red }</style></head>
<body><nav><a href="/menu">Menu</a></nav><main><h1>All about <em>tea</em></h1>
<p>Green tea is <a href="/green?a=1&amp;b=2">not roasted</a>.<br>It is mild.
<p>Kinds:<ul><li>green<li>black <ol><li>Assam<li>Darjeeling</ol></ul>
<table><tr><th>kind<th>minutes<tr><td>green<td>2</table><pre>boil()
  pour()</pre></main><script>if (1 < 2) alert("</p>")</script><footer>Imprint</footer></body></html>"""
TEXT = """# All about tea

Green tea is not roasted.
It is mild.

Kinds:

- green
- black
  1. Assam
  2. Darjeeling
kind | minutes
green | 2

```
boil()
  pour()
```"""


def page(body: str | bytes, content_type: str = "text/html; charset=utf-8", **headers: str) -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    return Reply((raw,), 200, {"content-type": content_type, **{k.replace("_", "-"): v for k, v in headers.items()}})


async def called(served: Served, name: str, secrets: dict[str, str] | None = None, **arguments: Any) -> tuple[str, str]:
    """The status and text of the call that the model makes."""
    agent = await served.agent(tools=[name], include_base_tools=False, secrets=secrets or {})
    script = [{"call": name, "args": arguments}, "Done."]
    answer = await served.send(agent["id"], f"!script {orjson.dumps(script).decode()}")
    [returned] = [message for message in answer["messages"] if message["message_type"] == "tool_return_message"]
    return returned["status"], returned["tool_return"]


async def fetched(tmp_path: Path, reply: Reply, path: str = "/page", **settings: Any) -> tuple[str, str]:
    async with running() as web, serve(tmp_path, **settings) as served:
        web.routes[path] = reply
        status, text = await called(served, "fetch_webpage", url=web.url + path)
    return status, text.replace(web.url, "http://web.test")


# -- fetch_webpage -----------------------------------------------------------------------------------------------------


async def test_page_is_read_as_title_text_and_links(tmp_path: Path) -> None:
    assert await fetched(tmp_path, page(ARTICLE)) == (
        "success",
        (
            f"Title: Tea & more\nURL: http://web.test/page\n\n{TEXT}\n\nLinks:\n"
            "- not roasted: http://web.test/green?a=1&b=2"
        ),
    )


async def test_redirects_are_followed_and_the_last_address_is_told(tmp_path: Path) -> None:
    async with running() as web, serve(tmp_path) as served:
        web.routes["/old"] = Reply((), 302, {"location": "/new"})
        web.routes["/new"] = page("plain words", "text/plain")
        status, text = await called(served, "fetch_webpage", url=f"{web.url}/old")
        assert (status, text) == ("success", f"URL: {web.url}/new\n\nplain words")


async def test_redirects_without_end_are_not_followed(tmp_path: Path) -> None:
    status, text = await fetched(tmp_path, Reply((), 302, {"location": "/page"}))
    assert (status, text) == ("error", "Error: http://web.test/page redirects more than 8 times.")


async def test_private_address_is_refused_where_it_is_not_allowed(tmp_path: Path) -> None:
    async with running() as web, serve(tmp_path, allow_private_urls=False) as served:
        status, text = await called(served, "fetch_webpage", url=f"{web.url}/page")
        assert status == "error"
        assert "127.0.0.1 is not a public address" in text
        assert web.asked == []


async def test_redirect_to_a_forbidden_address_is_refused(tmp_path: Path) -> None:
    metadata = "http://169.254.169.254/latest/meta-data"
    status, text = await fetched(tmp_path, Reply((), 302, {"location": metadata}))
    assert (status, text) == (
        "error",
        "Error: 169.254.169.254 is the metadata service of a cloud, which this server does not connect to",
    )


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/x", "http://", "http://[::1", "javascript:1"])
async def test_what_is_no_web_address_is_refused(served: Served, url: str) -> None:
    status, text = await called(served, "fetch_webpage", url=url)
    assert status == "error"
    assert text.startswith("Error: ")
    assert "unexpectedly" not in text
    if "://" in url and not url.startswith("http://["):
        assert text.endswith("is not a URL that starts with http:// or https:// and names a host")


async def test_page_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    status, text = await fetched(tmp_path, Reply((b"gone",), 404, {"content-type": "text/html"}))
    assert (status, text) == ("error", "Error: http://web.test/page answered 404 Status.")


async def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    status, text = await fetched(tmp_path, page(b"%PDF-1.7", "application/pdf"))
    assert (status, text) == ("error", "Error: http://web.test/page is application/pdf, which cannot be read as text.")


async def test_json_is_shown_as_it_is(tmp_path: Path) -> None:
    status, text = await fetched(tmp_path, page('{"a": "<b>"}', "application/ld+json"))
    assert (status, text) == ("success", 'URL: http://web.test/page\n\n{"a": "<b>"}')


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_page_without_end_is_cut(tmp_path: Path, packed: bool) -> None:
    body = b"x" * (2 * 1024 * 1024 + 1000)
    headers = {"content_encoding": "gzip"} if packed else {}
    async with running() as web, serve(tmp_path) as served:
        web.routes["/page"] = page(gzip.compress(body) if packed else body, "text/plain", **headers)
        tools = (await served.http.get("/v1/tools/", params={"name": "fetch_webpage"})).json()
        await served.http.patch(f"/v1/tools/{tools[0]['id']}", json={"return_char_limit": 3_000_000})
        status, text = await called(served, "fetch_webpage", url=f"{web.url}/page")
    assert status == "success"
    assert text.endswith("[the page is longer: its first 2097152 bytes were read]")
    assert text.count("x") == 2 * 1024 * 1024


async def test_page_packed_in_a_way_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    status, text = await fetched(tmp_path, page(b"\x28\xb5\x2f\xfd", "text/plain", content_encoding="zstd"))
    assert (status, text) == ("error", "Error: http://web.test/page is packed in a way that was not asked for.")


async def test_server_that_hangs_up_is_an_error(tmp_path: Path) -> None:
    status, text = await fetched(tmp_path, Reply(silent=True))
    assert status == "error"
    assert text.startswith("Error: http://web.test/page cannot be read: ")


# -- reading pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("Käse".encode(), "text/html; charset=utf-8"),
        ("Käse".encode("cp1252"), "text/html; charset=ISO-8859-1"),
        ("Käse".encode("cp1252"), "text/html"),
        ("Käse".encode(), "text/html"),
        ("\ufeffKäse".encode(), "text/html; charset=latin-1"),
        ("\ufeffKäse".encode("utf-16-le"), None),
        ("Käse".encode(), "text/html; charset=punycode"),
        ("Käse".encode(), "text/html; charset=no-such"),
    ],
)
def test_text_is_decoded_by_what_says_it_best(body: bytes, content_type: str | None) -> None:
    assert decoded(body, content_type) == "Käse"


def test_charset_of_the_page_itself_counts() -> None:
    html = '<meta charset="shift_jis"><p>日本'
    assert decoded(html.encode("cp932"), "text/html") == html


def test_page_without_a_main_part_is_read_whole_without_what_surrounds_it() -> None:
    html = "<title>T</title><body><div hidden>no</div><div>one</div><aside>no</aside><div role=navigation>no</div>two"
    assert read_html(html, "http://web.test/") == Page("T", "one\n\ntwo")


def test_small_article_in_a_large_page_is_not_taken_for_all_of_it() -> None:
    html = f"<article>teaser</article><div>{'words ' * 50}</div>"
    assert read_html(html, "http://web.test/").text == f"teaser\n\n{('words ' * 50).strip()}"


@pytest.mark.parametrize(
    "html",
    [
        "<!--" * 100_000,
        '<a "' * 100_000,
        "<a" * 200_000,
        "<" * 400_000,
        "<ul><li>x" * MAX_TAGS,
        "<tr>" + "<td>x" * MAX_TAGS,
        "<a " + "a=" * 100_000 + ">",
        "<b>" * 50_000 + "</i>" * 50_000,
        "",
        "\x00",
        "<p",
        "</",
        "a < b > c",
    ],
    ids=range(13),
)
def test_page_made_to_be_slow_or_broken_is_read_anyway(html: str) -> None:
    assert read_html(html, "http://web.test/").title is None


# -- web_search --------------------------------------------------------------------------------------------------------

EXA = {"results": [{"title": "Tea", "url": "https://tea.test", "publishedDate": "2026-01-02", "author": "Ann",
                    "highlights": ["one", "two"]}]}  # fmt: skip
TAVILY = {"results": [{"title": "Tea", "url": "https://tea.test", "content": "short", "raw_content": "long"}]}
BRAVE = {"web": {"results": [{"title": "<strong>Tea</strong>", "url": "https://tea.test", "description": "A &amp; b",
                              "extra_snippets": ["more"], "page_age": "2026-01-02T00:00:00"}]}}  # fmt: skip
SEARXNG = {
    "results": [
        {"title": "Tea", "url": "https://tea.test", "content": "short", "publishedDate": "2026-01-02T00:00:00"},
        {"title": "Old", "url": "https://old.test", "content": "old", "publishedDate": "2019-01-02T00:00:00"},
        {"title": "Undated", "url": "https://undated.test", "content": "some day"},
    ]
}
EVERYTHING: dict[str, Any] = {
    "query": "green tea",
    "num_results": 30,
    "category": "news",
    "include_text": True,
    "include_domains": ["tea.test"],
    "exclude_domains": ["coffee.test"],
    "start_published_date": "2026-01-01",
    "end_published_date": "2026-02-01",
    "user_location": "de",
}


async def searched(
    tmp_path: Path, engine: str, reply: Reply, secrets: dict[str, str] | None = None, **arguments: Any
) -> tuple[str, str, list[Asked]]:
    """What a search gave, and what the engine was asked."""
    async with running() as web:
        web.will(reply)
        environment = {"SEARXNG_URL": web.url} if engine == "SEARXNG" else {
            f"{engine}_API_KEY": "key-of-the-server", f"{engine}_BASE_URL": web.url,
        }  # fmt: skip
        async with serve(tmp_path, environment=environment) as served:
            status, text = await called(served, "web_search", secrets, **{"query": "tea", **arguments})
        return status, text, web.asked


def parameters(asked: Asked) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}


async def test_exa_is_asked_and_read(tmp_path: Path) -> None:
    status, text, [asked] = await searched(tmp_path, "EXA", json_reply(EXA), **EVERYTHING)
    assert (status, orjson.loads(text)) == (
        "success",
        {
            "query": "green tea",
            "engine": "Exa",
            "results": [
                {
                    "title": "Tea",
                    "url": "https://tea.test",
                    "text": "one … two",
                    "published": "2026-01-02",
                    "author": "Ann",
                }
            ],
        },
    )
    assert (asked.method, asked.path, asked.headers["x-api-key"]) == ("POST", "/search", "key-of-the-server")
    assert asked.json == {
        "query": "green tea",
        "numResults": 30,
        "type": "auto",
        "category": "news",
        "includeDomains": ["tea.test"],
        "excludeDomains": ["coffee.test"],
        "startPublishedDate": "2026-01-01T00:00:00.000Z",
        "endPublishedDate": "2026-02-01T23:59:59.999Z",
        "userLocation": "de",
        "contents": {"text": {"maxCharacters": 4000}},
    }


async def test_tavily_is_asked_and_read(tmp_path: Path) -> None:
    status, text, [asked] = await searched(tmp_path, "TAVILY", json_reply(TAVILY), **EVERYTHING)
    assert (status, orjson.loads(text)) == (
        "success",
        {
            "query": "green tea",
            "engine": "Tavily",
            "results": [{"title": "Tea", "url": "https://tea.test", "text": "long"}],
            "ignored": ["user_location"],
        },
    )
    assert (asked.path, asked.headers["authorization"]) == ("/search", "Bearer key-of-the-server")
    assert asked.json == {
        "query": "green tea",
        "max_results": 20,
        "topic": "news",
        "include_raw_content": True,
        "include_domains": ["tea.test"],
        "exclude_domains": ["coffee.test"],
        "start_date": "2026-01-01",
        "end_date": "2026-02-01",
    }


async def test_brave_is_asked_and_read(tmp_path: Path) -> None:
    status, text, [asked] = await searched(tmp_path, "BRAVE", json_reply(BRAVE), **EVERYTHING)
    assert (status, orjson.loads(text)) == (
        "success",
        {
            "query": "green tea",
            "engine": "Brave",
            "results": [
                {
                    "title": "Tea",
                    "url": "https://tea.test",
                    "text": "A & b … more",
                    "published": "2026-01-02T00:00:00",
                }
            ],
            "ignored": ["category", "include_text"],
        },
    )
    assert asked.path.startswith("/res/v1/web/search?")
    assert asked.headers["x-subscription-token"] == "key-of-the-server"
    assert parameters(asked) == {
        "q": "green tea (site:tea.test) -site:coffee.test",
        "count": "20",
        "text_decorations": "false",
        "country": "DE",
        "freshness": "2026-01-01to2026-02-01",
    }


async def test_searxng_is_asked_and_read(tmp_path: Path) -> None:
    wanted = {**EVERYTHING, "start_published_date": "2020-01-01"}
    status, text, [asked] = await searched(tmp_path, "SEARXNG", json_reply(SEARXNG), **wanted)
    found = orjson.loads(text)
    assert (status, found["engine"]) == ("success", "SearXNG")
    assert [hit["title"] for hit in found["results"]] == ["Tea", "Undated"]
    assert found["ignored"] == ["include_text", "user_location"]
    assert parameters(asked) == {
        "q": "green tea (site:tea.test) -site:coffee.test",
        "format": "json",
        "categories": "news",
    }


async def test_key_of_the_agent_wins_over_the_servers_even_for_a_later_engine(tmp_path: Path) -> None:
    async with running() as web:
        web.will(json_reply(TAVILY))
        environment = {"EXA_API_KEY": "key-of-the-server", "EXA_BASE_URL": web.url, "TAVILY_BASE_URL": web.url}
        async with serve(tmp_path, environment=environment) as served:
            _, text = await called(served, "web_search", {"TAVILY_API_KEY": "key-of-the-agent"}, query="tea")
    assert orjson.loads(text)["engine"] == "Tavily"
    assert web.asked[0].headers["authorization"] == "Bearer key-of-the-agent"


async def test_without_any_key_the_variables_are_named(served: Served) -> None:
    assert await called(served, "web_search", query="tea") == (
        "error",
        (
            "Error: no search engine is set up. One of EXA_API_KEY, TAVILY_API_KEY, BRAVE_API_KEY, SEARXNG_URL is "
            "needed, among the agent's secrets or in the environment of the server."
        ),
    )


async def test_agents_own_searxng_must_not_be_in_a_private_network_where_that_is_not_allowed(tmp_path: Path) -> None:
    async with running() as web, serve(tmp_path, allow_private_urls=False) as served:
        status, text = await called(served, "web_search", {"SEARXNG_URL": web.url}, query="tea")
        assert status == "error"
        assert "not a public address" in text
        assert web.asked == []


@pytest.mark.parametrize(
    ("engine", "reply", "expected"),
    [
        ("EXA", json_reply({"error": "bad key key-of-the-server"}, 401), "Exa refused the key in EXA_API_KEY (401"),
        ("SEARXNG", Reply((b"no",), 403, {}), "its settings.yml must list json under search.formats"),
        ("BRAVE", json_reply({"detail": "oops"}, 500), 'Brave answered 500: {"detail": "oops"}'),
        ("TAVILY", Reply((b"<html>",), 200, {}), "Tavily answered in a form that is not known"),
        ("EXA", json_reply({"hits": []}), "Exa answered in a form that is not known"),
        ("EXA", Reply(silent=True), "Exa cannot be reached"),
    ],
)
async def test_engine_that_fails_is_named_and_its_key_is_not(
    tmp_path: Path, engine: str, reply: Reply, expected: str
) -> None:
    status, text, _ = await searched(tmp_path, engine, reply)
    assert status == "error"
    assert expected in text
    assert "key-of-the-server" not in text


async def test_engine_that_limits_the_rate_is_asked_again(tmp_path: Path) -> None:
    async with running() as web:
        web.will(
            *[json_reply({}, 429, retry_after="0")] * 2, json_reply(EXA), *[json_reply({}, 429, retry_after="0")] * 3
        )
        async with serve(tmp_path, environment={"EXA_API_KEY": "k", "EXA_BASE_URL": web.url}) as served:
            first = await called(served, "web_search", query="tea")
            second = await called(served, "web_search", query="tea")
        assert len(web.asked) == 6
    assert first[0] == "success"
    assert second == ("error", "Error: Exa limits how often it can be asked. Try again later ({}).")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"query": "  "}, "query is empty"),
        ({"num_results": 0}, "num_results must be between 1 and 100"),
        ({"start_published_date": "yesterday"}, "start_published_date must be a date as 2026-01-31, not 'yesterday'"),
        ({"include_domains": "tea.test"}, "include_domains must be of type array"),
        ({"include_domains": [1]}, "include_domains holds 1, which must be of type string"),
        ({"colour": "green"}, "colour is not an argument"),
    ],
)
async def test_argument_that_makes_no_sense_is_named(tmp_path: Path, arguments: dict[str, Any], expected: str) -> None:
    status, text, asked = await searched(tmp_path, "EXA", json_reply(EXA), **arguments)
    assert (status, asked) == ("error", [])
    assert expected in text


async def test_two_searches_of_one_answer_both_run(tmp_path: Path) -> None:
    async with running() as web:
        web.will(json_reply(EXA), json_reply(EXA))
        environment = {"EXA_API_KEY": "k", "EXA_BASE_URL": web.url}
        calls = [Call("web_search", {"query": word}) for word in ("tea", "milk")]
        async with serve(tmp_path, [calls, "Both."], environment=environment) as served:
            agent = await served.agent(tools=["web_search"], include_base_tools=False)
            answer = await served.send(agent["id"], "go")
    assert [one["status"] for one in answer["messages"][1]["tool_returns"]] == ["success", "success"]
    assert sorted(asked.json["query"] for asked in web.asked) == ["milk", "tea"]
