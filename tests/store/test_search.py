"""Finding pieces by words and vectors, on SQLite and on PostgreSQL, with pgvector and without."""

import math
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, event, select, text
from tests.store.seeds import START, a_message, an_agent, at

from letta.errors import NotFound
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, ToolReturnPart
from letta.schemas.passages import CreatePassage
from letta.store import archives, conversations, embedding_jobs, passages, pgvector, pieces, search, tables, vectors
from letta.store.access import Database
from letta.store.database import open_database
from letta.store.matrices import Matrices
from letta.store.pieces import MESSAGE, PASSAGE
from letta.store.search import Found, Wanted
from letta.store.vectors import Vector

MODEL = "test/model"


def direction(degrees: float) -> Vector:
    """A vector of length one in a plane."""
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], np.float32)


def an_archive(connection: Connection, *texts: str, **fields: Any) -> tuple[str, list[str]]:
    """An archive with passages. Answers its id and theirs."""
    made = archives.create(connection, {"name": "notes", "embedding": MODEL})
    kept = passages.add(connection, made.id, [CreatePassage(text=one, **fields) for one in texts])
    return made.id, [passage.id for passage in kept]


def said(connection: Connection, agent_id: str, *texts: str, **values: Any) -> list[Message]:
    """Messages of a thread, one after the other, in the index."""
    made = [
        a_message(connection, agent_id, number, one, role=(Role.USER, Role.ASSISTANT)[(number + 1) % 2], **values)
        for number, one in enumerate(texts, start=1)
    ]
    search.index(connection, made)
    return made


def embed(connection: Connection, *degrees: float) -> None:
    """Give the pieces that wait a vector each, oldest first."""
    jobs = embedding_jobs.take(connection, 100)
    assert len(jobs) == len(degrees)
    embedding_jobs.finish(connection, jobs, [direction(one) for one in degrees])


def find(
    connection: Connection, wanted: Wanted, query: "Vector | None" = None, matrices: Matrices | None = None
) -> Found:
    looked = search.look(connection, wanted)
    queries = {} if query is None else {owner.model: query for owner in looked.owners}
    return search.finish(connection, matrices or Matrices(), wanted, looked, queries, at(0))


def ids(found: Found) -> list[str]:
    return [hit.item_id for hit in found.hits]


async def test_words_rank_by_how_much_they_tell(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "the cat sat", "a dog barked at the cat", "the rain", "dogs bark")
        found = find(connection, Wanted(PASSAGE, "Which dog barked?", (home,)))
        assert ids(found)[:2] in ([made[1], made[3]], [made[3], made[1]])
        assert found.mode == "fts"
        assert ids(find(connection, Wanted(PASSAGE, "nothing of this", (home,)))) == []

    await database.write(scenario)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("mail bob@example.com now", "bob@example.com"),
        ("mail bob@example.com now", "bob"),
        ("see docs.python.org/library for it", "docs.python.org"),
        ("see docs.python.org/library for it", "python"),
        ("edit src/letta/app.py today", "app.py"),
        ("version 1.2.3 is out", "1.2.3"),
        ("192.168.1.10 is the printer", "192.168.1.10"),
        ("https://letta.com/a?b=c here", "letta.com"),
        ("call +43-660-123456", "660-123456"),
        ("<b>bold</b> &amp; plain", "bold"),
        ("the user_name column", "name"),
        ("on -5 degrees they complained", "complaining 5"),
        ("यह हिन्दी भाषा है", "हिन्दी"),
        ("எனக்கு தமிழ் பிடிக்கும்", "தமிழ்"),
        ("আমি বাংলা বলি", "বাংলা"),
        ("నేను తెలుగు చదువుతాను", "తెలుగు"),
        ("എനിക്ക് മലയാളം അറിയാം", "മലയാളം"),
        ("nói Tie\u0302\u0301ng Vie\u0323\u0302t", "Tiếng"),
        ("ฉันอยู่ที่กรุงเทพ", "กรุงเทพ"),
        ("Ёлка стоит", "елка"),
        ("שָׁלוֹם עֲלֵיכֶם", "שלום"),
        ("قال مُحَمَّد", "محمد"),
        ("a café in Zürich", "cafe zurich"),
        ("a cafe in Zurich", "Zürich"),
        ("party 🎉 tonight", "🎉"),
        ("x" * 3_000, "x" * 3_000),
    ],
)
async def test_exact_words_are_found(database: Database, text: str, query: str) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, text, "nothing of it")
        found = find(connection, Wanted(PASSAGE, query, (home,), mode="fts"))
        assert set(ids(found)) == {made[0]}
        assert found.hits[0].score == 1

    await database.write(scenario)


async def test_query_of_any_length_is_answered(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "東京タワー")
        runs = " ".join("東京" * number for number in range(200))
        for query in (runs, "東" * 20_000, "word " * 20_000, "w" * 20_000, "🎉" * 20_000, "é\u0301" * 20_000):
            assert ids(find(connection, Wanted(PASSAGE, query, (home,), mode="fts"))) in ([], made)

    await database.write(scenario)


async def test_owners_are_searched_apart(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        first, [one] = an_archive(connection, "red apple")
        second, [two] = an_archive(connection, "green apple")
        an_archive(connection, "blue apple")
        assert ids(find(connection, Wanted(PASSAGE, "apple", (first,)))) == [one]
        assert set(ids(find(connection, Wanted(PASSAGE, "apple", (first, second))))) == {one, two}
        assert len(ids(find(connection, Wanted(PASSAGE, "apple", None)))) == 3
        assert ids(find(connection, Wanted(PASSAGE, "apple", ()))) == []
        assert ids(find(connection, Wanted(MESSAGE, "apple", None))) == []

    await database.write(scenario)


async def test_meaning_finds_what_shares_no_word(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "sister", "pump", "oven")
        embed(connection, 0, 90, 180)
        found = find(connection, Wanted(PASSAGE, "sibling", (home,), mode="vector"), direction(10))
        assert ids(found) == [made[0], made[1], made[2]]
        assert found.mode == "vector"
        assert [hit.vector_rank for hit in found.hits] == [1, 2, 3]

    await database.write(scenario)


async def test_both_together_use_words_and_meaning(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "a letter from Zanzibar", "a postcard", "a stone")
        embed(connection, 80, 0, 180)
        wanted = Wanted(PASSAGE, "Zanzibar mail", (home,))
        assert ids(find(connection, wanted, direction(5)))[:2] in ([made[0], made[1]], [made[1], made[0]])
        assert ids(find(connection, wanted, direction(5)))[2] == made[2]

    await database.write(scenario)


async def test_text_without_its_vector_yet_is_found_by_its_words(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, [old] = an_archive(connection, "an old note about ships")
        embed(connection, 0)
        [new] = passages.add(connection, home, [CreatePassage(text="a fresh note about trains")])
        assert ids(find(connection, Wanted(PASSAGE, "trains", (home,)), direction(90)))[0] == new.id
        assert old in ids(find(connection, Wanted(PASSAGE, "trains", (home,)), direction(90)))

    await database.write(scenario)


async def test_another_process_sees_new_and_removed_vectors(database: Database) -> None:
    kept = Matrices()

    def first(connection: Connection) -> tuple[str, list[str]]:
        home, made = an_archive(connection, "one", "two")
        embed(connection, 0, 90)
        assert ids(find(connection, Wanted(PASSAGE, "x", (home,), mode="vector"), direction(0), kept)) == made
        return home, made

    def second(connection: Connection, home: str, made: Sequence[str]) -> str:
        [new] = passages.add(connection, home, [CreatePassage(text="three")])
        embed(connection, 1)
        passages.remove(connection, made[0], [home])
        return new.id

    home, made = await database.write(first)
    new = await database.write(second, home, made)

    def third(connection: Connection) -> None:
        wanted = Wanted(PASSAGE, "x", (home,), mode="vector")
        assert ids(find(connection, wanted, direction(0), kept)) == [new, made[1]]

    await database.read(third)


async def test_least_used_matrix_goes_when_memory_is_short(database: Database) -> None:
    small = Matrices(limit=1)

    def scenario(connection: Connection) -> None:
        for degrees in (0, 90):
            home, made = an_archive(connection, "one")
            embed(connection, degrees)
            wanted = Wanted(PASSAGE, "x", (home,), mode="vector")
            assert ids(find(connection, wanted, direction(degrees), small)) == made

    await database.write(scenario)


async def test_turns_around_the_best_one_come_with_it(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection)
        made = said(connection, agent_id, "hm", "Where did you go in the summer?", "To Lisbon.", "Nice.", "so", "well")
        made += said(connection, an_agent(connection), "Where did you go?")
        best = ids(find(connection, Wanted(MESSAGE, "Where did you go in the summer?", (agent_id,))))
        assert best == [made[1].id]

    await database.write(scenario)


async def test_answer_that_shares_no_word_is_found_beside_its_question(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection, embedding=MODEL)
        made = said(connection, agent_id, *["hm"] * 3, "Where did you go in the summer?", "To Lisbon.", *["so"] * 3)
        embed(connection, 90, 90, 90, 20, 60, 90, 90, 90)
        found = find(connection, Wanted(MESSAGE, "summer", (agent_id,)), direction(0))
        assert ids(found)[:2] == [made[3].id, made[4].id]

    await database.write(scenario)


async def test_named_speaker_comes_first(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection)
        ann = a_message(connection, agent_id, 1, "I like green tea", name="Ann")
        tom = a_message(connection, agent_id, 9, "I like green tea", name="Tom")
        search.index(connection, [ann, tom])
        assert ids(find(connection, Wanted(MESSAGE, "what tea does Ann like", (agent_id,))))[0] == ann.id
        assert ids(find(connection, Wanted(MESSAGE, "what tea does Tom like", (agent_id,))))[0] == tom.id

    await database.write(scenario)


async def test_day_and_speaker_are_words_of_a_message(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection)
        march = a_message(connection, agent_id, 1, "the lamp broke", created_at=START.replace(month=3))
        april = a_message(connection, agent_id, 2, "the lamp works", created_at=START.replace(month=4), name="Ann")
        search.index(connection, [march, april])
        assert ids(find(connection, Wanted(MESSAGE, "March", (agent_id,), mode="fts"))) == [march.id]
        assert ids(find(connection, Wanted(MESSAGE, "Ann", (agent_id,), mode="fts"))) == [april.id]

    await database.write(scenario)


async def test_messages_are_filtered_by_role_time_and_conversation(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection, embedding=MODEL)
        made = said(connection, agent_id, "tea one", "tea two", "tea three")
        embed(connection, 0, 10, 20)
        mine = (agent_id,)
        for query in (None, direction(0)):
            assert ids(find(connection, Wanted(MESSAGE, "tea", mine, roles=("assistant",)), query)) == [made[1].id]
            after = Wanted(MESSAGE, "tea", mine, after=made[1].created_at, mode="hybrid")
            assert set(ids(find(connection, after, query))) == {made[1].id, made[2].id}
            before = Wanted(MESSAGE, "tea", mine, before=made[1].created_at - timedelta(microseconds=1))
            assert ids(find(connection, before, query)) == [made[0].id]
            assert ids(find(connection, Wanted(MESSAGE, "tea", mine, roles=("system",)), query)) == []
        with pytest.raises(NotFound):
            find(connection, Wanted(MESSAGE, "tea", mine, thread=new_id("conv")))

    await database.write(scenario)


async def test_fork_is_searched_with_what_it_shares(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection)
        made = said(connection, agent_id, "tea before", "tea also before", "tea after")
        fork = new_id("conv")
        conversations.start(connection, fork, agent_id)
        connection.execute(
            text("UPDATE conversations SET parent_id = :parent, parent_position = 2 WHERE id = :fork"),
            {"parent": agent_id, "fork": fork},
        )
        own = a_message(connection, agent_id, 3, "tea in the fork", conversation_id=fork)
        search.index(connection, [own])
        found = set(ids(find(connection, Wanted(MESSAGE, "tea", (agent_id,), thread=fork))))
        assert found == {made[0].id, made[1].id, own.id}

    await database.write(scenario)


async def test_tools_prompts_and_nudges_are_not_searched(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection)
        result = ToolReturnPart(tool_call_id="c", content="tea")
        made = [
            a_message(connection, agent_id, 1, "", result, role=Role.TOOL),
            a_message(connection, agent_id, 2, "tea", role=Role.SYSTEM, data={"compiled": True}),
            a_message(connection, agent_id, 3, "tea", data={"nudge": True}),
            a_message(connection, agent_id, 4, "tea", role=Role.SUMMARY),
            a_message(connection, agent_id, 5, "tea", role=Role.SYSTEM),
        ]
        search.index(connection, made)
        assert ids(find(connection, Wanted(MESSAGE, "tea", (agent_id,)))) == [made[4].id]

    await database.write(scenario)


async def test_empty_query_gives_the_newest(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection)
        made = said(connection, agent_id, "one", "two", "three")
        assert ids(find(connection, Wanted(MESSAGE, " ", (agent_id,), limit=2))) == [made[2].id, made[1].id]

    await database.write(scenario)


@pytest.mark.parametrize("query", ['"', "*", "a AND (b", "NEAR(", "terms:x", "' | '", "\\", "!!!", "😀", "it's", "()"])
async def test_signs_in_a_query_are_no_language(database: Database, query: str) -> None:
    def scenario(connection: Connection) -> None:
        home, _ = an_archive(connection, "it's a plain text")
        find(connection, Wanted(PASSAGE, query, (home,)))

    await database.write(scenario)


async def test_forgotten_agent_leaves_nothing_behind(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        agent_id = an_agent(connection, embedding=MODEL)
        said(connection, agent_id, "tea")
        embed(connection, 0)
        search.forget_agent(connection, agent_id)
        for table in ("pieces", "vectors", "vector_owners"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
        assert ids(find(connection, Wanted(MESSAGE, "tea", None))) == []

    await database.write(scenario)


# -- the work list -----------------------------------------------------------------------------------------------------


async def test_only_owners_with_a_model_wait_for_vectors(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        said(connection, an_agent(connection), "tea")
        assert embedding_jobs.take(connection, 10) == []
        agent_id = an_agent(connection, embedding=MODEL)
        said(connection, agent_id, "coffee")
        assert [job[1:] for job in embedding_jobs.take(connection, 10)] == [(agent_id, MODEL, "coffee")]
        assert embedding_jobs.take(connection, 10, resting=[MODEL]) == []

    await database.write(scenario)


async def test_first_pieces_come_before_the_rest_of_a_long_text(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        _, _ = an_archive(connection, "word " * 1_000)
        _, _ = an_archive(connection, "short")
        jobs = embedding_jobs.take(connection, 3)
        assert [job.text[:5] for job in jobs] == ["word ", "short", "word "]

    await database.write(scenario)


async def test_replicas_do_not_take_the_same_work(postgres_url: str) -> None:
    database = await open_database(postgres_url)
    try:
        await database.write(lambda connection: an_archive(connection, "one", "two"))
        first = await database.write(embedding_jobs.take, 1)
        second = await database.write(embedding_jobs.take, 5)
        assert len(first) == 1
        assert first[0].piece_id not in {job.piece_id for job in second}
        await database.write(embedding_jobs.release, first)
        assert first == await database.write(embedding_jobs.take, 1)
    finally:
        await database.close()


async def test_changed_model_wins_over_work_under_way(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "one")
        jobs = embedding_jobs.take(connection, 10)
        archives.change(connection, home, {"embedding": "test/other"})
        embedding_jobs.finish(connection, jobs, [direction(0)])
        assert pieces.progress(connection, home) == (1, 1, 0, None)
        connection.execute(text("UPDATE pieces SET claimed_until = NULL"))
        [job] = embedding_jobs.take(connection, 10)
        assert job.model == "test/other"
        embedding_jobs.finish(connection, [job], [direction(0)])
        archives.change(connection, home, {"embedding": MODEL})
        archives.change(connection, home, {"embedding": "test/other"})
        assert pieces.progress(connection, home) == (1, 0, 0, None)
        assert ids(find(connection, Wanted(PASSAGE, "x", (home,), mode="vector"), direction(0))) == made

    await database.write(scenario)


async def test_work_for_a_deleted_passage_is_dropped(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "one", "two")
        jobs = embedding_jobs.take(connection, 10)
        passages.remove(connection, made[0], [home])
        embedding_jobs.finish(connection, jobs, [direction(0), direction(0)])
        assert ids(find(connection, Wanted(PASSAGE, "x", (home,), mode="vector"), direction(0))) == [made[1]]

    await database.write(scenario)


async def test_refused_text_is_counted_and_tried_no_more(database: Database) -> None:
    def scenario(connection: Connection) -> None:
        home, _ = an_archive(connection, "one")
        embedding_jobs.give_up(connection, embedding_jobs.take(connection, 10), "too strange")
        assert pieces.progress(connection, home) == (1, 0, 1, "too strange")
        assert embedding_jobs.take(connection, 10) == []

    await database.write(scenario)


# -- vectors in PostgreSQL ---------------------------------------------------------------------------------------------


async def test_postgres_keeps_vectors_in_its_own_type_at_their_length(postgres_url: str) -> None:
    database = await open_database(postgres_url)

    def scenario(connection: Connection) -> None:
        assert pgvector.is_used(connection)
        an_archive(connection, "only this one")
        jobs = [job for job in embedding_jobs.take(connection, 100) if job.text == "only this one"]
        embedding_jobs.finish(connection, jobs, [direction(0)] * len(jobs))
        kept = text("SELECT data, vector_dims(embedding) FROM vectors WHERE piece_id = :piece")
        assert connection.execute(kept, {"piece": jobs[0].piece_id}).one() == (None, 2)

    try:
        await database.write(scenario)
    finally:
        await database.close()


async def test_postgres_without_pgvector_finds_the_same(postgres_url: str) -> None:
    database = await open_database(postgres_url)
    try:
        await database.write(lambda connection: connection.execute(text("ALTER TABLE vectors DROP COLUMN embedding")))
        await database.close()
        database = await open_database(postgres_url)

        def scenario(connection: Connection) -> None:
            assert not pgvector.is_used(connection)
            home, made = an_archive(connection, "sister", "pump")
            jobs = [job for job in embedding_jobs.take(connection, 100) if job.owner == home]
            embedding_jobs.finish(connection, jobs, [direction(0), direction(90)])
            assert ids(find(connection, Wanted(PASSAGE, "x", (home,), mode="vector"), direction(80))) == made[::-1]

        await database.write(scenario)
    finally:
        await database.write(
            lambda connection: connection.execute(text("ALTER TABLE vectors ADD COLUMN embedding vector"))
        )
        await database.close()


async def test_vectors_replace_each_other(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'letta.db'}", synchronous="OFF")

    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, "one")
        [job] = embedding_jobs.take(connection, 1)
        kept = Matrices()
        for degrees in (0, 90):
            vectors.add(connection, MODEL, [(job.piece_id, home, direction(degrees))])
            [owner] = search.look(connection, Wanted(PASSAGE, "one", (home,))).owners
            scores = kept.scores(connection, owner, direction(0))
            np.testing.assert_allclose(scores.cosines, [math.cos(math.radians(degrees))], atol=1e-6)
        assert made

    await database.write(scenario)
    await database.close()


async def test_search_under_conditions_reads_what_its_owner_has(tmp_path: Path) -> None:
    """And of that the best pieces first, however many do not fit."""
    database = await open_database(f"sqlite:///{tmp_path / 'letta.db'}", synchronous="OFF")

    def scenario(connection: Connection) -> None:
        home, made = an_archive(connection, *(f"note {number}" for number in range(400)))
        other, _ = an_archive(connection, *(f"other {number}" for number in range(400)))
        for _ in range(8):
            jobs = embedding_jobs.take(connection, 100)
            embedding_jobs.finish(connection, jobs, [direction(job.piece_id / 10) for job in jobs])
        kept = Matrices()
        [owner] = search.look(connection, Wanted(PASSAGE, "x", (home,))).owners
        comparison = kept.compare(connection, [owner], {MODEL: direction(0)})
        everything = dict(comparison.nearest(connection, [], 400))
        for conditions in (
            [tables.pieces.c.item_id.in_(made[:30])],  # the best ones
            [tables.pieces.c.item_id.in_(made[370:])],  # the worst: found among all
            [tables.pieces.c.item_id.in_(made[370:373])],
        ):
            allowed = set(connection.execute(select(tables.pieces.c.id).where(*conditions)).scalars())
            expected = {piece: cosine for piece, cosine in everything.items() if piece in allowed}
            found = comparison.nearest(connection, conditions, 10)
            assert list(found.items()) == sorted(expected.items(), key=lambda pair: -pair[1])[:10]
        assert not comparison.nearest(connection, [tables.pieces.c.owner == other], 10)

    await database.write(scenario)
    await database.close()


async def test_search_that_looked_earlier_leaves_a_newer_matrix_alone(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'letta.db'}", synchronous="OFF")

    def scenario(connection: Connection) -> list[str]:
        home, _ = an_archive(connection, "one")
        wanted, kept = Wanted(PASSAGE, "one", (home,)), Matrices()
        [job] = embedding_jobs.take(connection, 1)
        vectors.add(connection, MODEL, [(job.piece_id, home, direction(0))])
        [earlier] = search.look(connection, wanted).owners
        vectors.add(connection, MODEL, [(job.piece_id, home, direction(90))])
        [later] = search.look(connection, wanted).owners
        kept.scores(connection, later, direction(0))
        read: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *args: read.append(args[2]))
        for owner in (earlier, later, earlier):
            scores = kept.scores(connection, owner, direction(0))
            np.testing.assert_allclose(scores.cosines, [0.0], atol=1e-6)
        return read

    assert await database.write(scenario) == []
    await database.close()
