"""What is indexed of a text, how a query is read, and where long texts are cut."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from letta.store.splitting import LONGEST, split
from letta.store.words import coverage, fts5, phrases, terms, tsquery


def test_words_that_say_nothing_are_left_out_of_a_query() -> None:
    assert phrases("What did you say about the Harbour?") == [["say"], ["harbour"]]


def test_query_of_such_words_alone_is_taken_as_it_is() -> None:
    assert phrases("who is it") == [["who"], ["is"], ["it"]]


def test_scripts_without_spaces_are_searched_by_characters() -> None:
    assert phrases("東京 tower") == [["東", "京"], ["tower"]]
    assert terms("東京tower").split() == ["東", "京", "tower"]


def test_query_becomes_the_language_of_each_database() -> None:
    wanted = phrases("東京 tower")
    assert fts5(wanted) == '"東 京" OR "tower"'
    assert tsquery(wanted) == "('東' <-> '京') | ('tower')"


def test_text_and_query_are_cut_alike() -> None:
    assert terms("Mail bob@example.com, or +43-660-1!") == "mail bob example com or 43 660 1"
    assert phrases("bob@example.com") == [["bob"], ["example"], ["com"]]
    assert terms("Tie\u0302\u0301ng Vi\u00ea\u0323t") == terms("Ti\u1ebfng Vi\u1ec7t") == "tieng viet"
    assert terms("snake_case x\u00b2 Stra\u00dfe") == "snake case x2 strasse"


def test_marks_that_are_vowels_stay_in_their_word() -> None:
    assert phrases("\u0939\u093f\u0928\u094d\u0926\u0940") == [["\u0939\u093f\u0928\u094d\u0926\u0940"]]
    assert terms("\u0e01\u0e23\u0e38\u0e07") == "\u0e01 \u0e23\u0e38 \u0e07"


def test_emoji_is_a_word_whatever_its_skin() -> None:
    assert terms("well done\U0001f44d\U0001f3fd\u2764\ufe0f") == "well done u1f44d u2764"
    assert phrases("\U0001f1eb\U0001f1f7") == [["u1f1ebu1f1f7"]]


def test_message_is_indexed_with_its_speaker_and_day() -> None:
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    assert terms("hello", "Ann", moment) == "hello\nann saturday 31 january 2026 2026 01 31"


def test_coverage_is_the_share_of_words_held_by_one_text() -> None:
    assert coverage("red apples fall", ["the apple is red", "fall"]) == 2 / 3
    assert coverage("red apples", []) == 0
    assert coverage("!!!", ["anything"]) == 0
    assert coverage("елка app.py", ["Ёлка in src/app.py"]) == 1
    assert coverage("東京", ["我们在东京", "東京タワー"]) == 1


def test_short_text_is_one_piece() -> None:
    assert split("  one line  ") == ["one line"]
    assert split(" \n ") == []


def test_long_text_is_cut_between_paragraphs_then_sentences_then_words() -> None:
    paragraphs = "A sentence of some length here.\n\n" * 40
    assert all(piece.startswith("A sentence") and piece.endswith("here.") for piece in split(paragraphs))
    sentences = "A sentence of some length here. " * 40
    assert all(piece.startswith("A sentence") and piece.endswith("here.") for piece in split(sentences))
    assert all(not piece.startswith(" ") and piece.endswith("word") for piece in split("word " * 1_000))


@given(st.text(alphabet=st.sampled_from("ab .\n,，。東京ก😀é"), max_size=5_000))
def test_nothing_but_white_space_is_lost_and_no_piece_is_too_long(text: str) -> None:
    pieces = split(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece.encode()) <= LONGEST for piece in pieces)
