"""Files of questions in every form, and what is said of those that can't be used."""

import json
from pathlib import Path

import pytest

from core.config import RagConfig
from core.errors import UserError
from core.rag.questions import TYPED, Asked, read_qrels, read_questions


def asked(path: Path, **fields: object) -> list[Asked]:
    return read_questions(RagConfig(questions=str(path), **fields))


def jsonl(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_questions_all_have_gold() -> None:
    found = asked(Path("data/rag/wisdom_questions.jsonl"))
    assert len(found) == 540 and len({each.id for each in found}) == 540
    assert {each.category for each in found} == {"buddhist", "kural", "wisdom"}
    assert all(each.answer and each.source == "file" and len(each.gold_documents) == 1 and each.gold_passages for each in found)


def test_a_typed_question_stands_alone_or_before_those_of_a_file(tmp_path: Path) -> None:
    assert read_questions(RagConfig(question=" Explain LoRA. ")) == [Asked(TYPED, "Explain LoRA.")]
    file = jsonl(tmp_path / "q.jsonl", {"question": "What is rank?"})
    assert [each.source for each in asked(file, question="Explain LoRA.")] == ["typed", "file"]


def test_csv_json_and_jsonl_say_the_same(tmp_path: Path) -> None:
    row = {"question": "Why?", "answer": "Because.", "category": "c", "gold_document": "a.md", "gold_passages": ["12", "a quote, long"]}
    row |= {"paraphrases": ["How come?"]}
    (tmp_path / "q.json").write_text(json.dumps([row]), encoding="utf-8")
    (tmp_path / "q.csv").write_text(
        'question,answer,category,gold_document,gold_passages,paraphrases\nWhy?,Because.,c,a.md,"12 | a quote, long",How come?\n'
    )
    expected = Asked("q1", "Why?", "Because.", "c", "file", ("a.md",), ("12", "a quote, long"), ("How come?",))
    assert asked(jsonl(tmp_path / "q.jsonl", row)) == asked(tmp_path / "q.json") == asked(tmp_path / "q.csv") == [expected]


def test_a_list_in_a_csv_cell_may_be_json(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text('question,gold_documents\nWhy?,"[""a.md"", ""b.md""]"\n')
    assert asked(tmp_path / "q.csv")[0].gold_documents == ("a.md", "b.md")


def test_numbers_are_ids_and_labels_too(tmp_path: Path) -> None:
    [each] = asked(jsonl(tmp_path / "q.jsonl", {"id": 7, "question": "Why?", "gold_passages": [107]}))
    assert (each.id, each.gold_passages) == ("7", ("107",))


def test_beir_queries_are_those_that_the_qrels_judge(tmp_path: Path) -> None:
    queries = jsonl(tmp_path / "queries.jsonl", {"_id": "1", "text": "one"}, {"_id": "2", "text": "two", "metadata": {}})
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\n2\tdoc 5\t2\n")
    assert [each.id for each in asked(queries)] == ["1", "2"]
    assert [(each.id, each.question) for each in asked(queries, qrels=str(tmp_path / "test.tsv"))] == [("2", "two")]


def test_qrels_of_other_questions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\n9\td\t1\n")
    with pytest.raises(UserError, match="judges none of the 1 questions.*names 9.*they are 1"):
        asked(jsonl(tmp_path / "queries.jsonl", {"_id": "1", "text": "one"}), qrels=str(tmp_path / "test.tsv"))


def test_qrels_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "trec.txt").write_text("q1 0 d1 2\nq1 0 d2 0\n\nq2\t0\td3\t-1\n")
    (tmp_path / "beir.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t-1\n")
    expected = {"q1": {"d1": 2, "d2": 0}, "q2": {"d3": -1}}
    assert read_qrels(str(tmp_path / "trec.txt")) == read_qrels(str(tmp_path / "beir.tsv")) == expected


@pytest.mark.parametrize(
    "text, said",
    [
        ("q1 0 d1 much\n", "Line 1 .* grade 'much'"),
        ("q1 0 d1 1\nq2 d1\n", "Line 2 .* has 2 parts"),
        ("query-id\tcorpus-id\tscore\n", "no relevance judgement"),
        ("", "no relevance judgement"),
    ],
)
def test_qrels_that_cannot_be_read_name_their_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(UserError, match=said):
        read_qrels(str(tmp_path / "qrels"))


def test_what_is_wrong_with_a_file_of_questions_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no question"):
        read_questions(RagConfig())
    with pytest.raises(UserError, match="line 2 has no question .it has answer"):
        asked(jsonl(tmp_path / "a.jsonl", {"question": "Why?"}, {"answer": "So."}))
    with pytest.raises(UserError, match="Two questions have the id 'x'"):
        asked(jsonl(tmp_path / "b.jsonl", {"id": "x", "question": "Why?"}, {"id": "x", "question": "How?"}))
    with pytest.raises(UserError, match="Line 1 of .* no object"):
        (tmp_path / "c.jsonl").write_text("3\n")
        asked(tmp_path / "c.jsonl")
    with pytest.raises(UserError, match="no file"):
        asked(tmp_path / "none.jsonl")


def test_other_words_come_from_the_file_first() -> None:
    each = Asked("1", "Why?", paraphrases=("How come?",))
    assert each.reworded(1) == ["How come?"]
    words = each.reworded(5)
    assert len(words) == len(set(words)) == 5 and all("Why?" in text for text in words[1:])


def test_ids_are_unique_over_the_typed_question_and_the_file(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "q.jsonl", {"id": TYPED, "question": "Why?", "gold_passages": "1"})
    with pytest.raises(UserError, match="Two questions have the id 'typed'"):
        asked(file, question="How?")


@pytest.mark.parametrize("category", ["(all)", "(others)", "(general)"])
def test_a_category_that_means_something_else_in_tables_is_refused(tmp_path: Path, category: str) -> None:
    with pytest.raises(UserError, match="stands for something else in tables"):
        asked(jsonl(tmp_path / "q.jsonl", {"question": "Why?", "category": category}))


def test_gold_is_split_under_the_plural_alone(tmp_path: Path) -> None:
    row = {"question": "Why?", "gold_passage": "Paris | 42 people", "gold_documents": "a.md | b.md"}
    [each] = asked(jsonl(tmp_path / "q.jsonl", row))
    assert (each.gold_passages, each.gold_documents) == (("Paris | 42 people",), ("a.md", "b.md"))
    [each] = asked(jsonl(tmp_path / "p.jsonl", {"question": "Why?", "gold_passage": "", "gold_passages": "1"}))
    assert each.gold_passages == ("1",)


@pytest.mark.parametrize("text", ['["a", b', '["Cats" purr'])
def test_text_that_only_looks_like_a_list_is_text(tmp_path: Path, text: str) -> None:
    [each] = asked(jsonl(tmp_path / "q.jsonl", {"question": "Why?", "gold_passages": text}))
    assert each.gold_passages == (text,)


def test_half_a_character_is_replaced_and_a_list_is_no_question(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "cats \\ud800"}\n')
    assert asked(tmp_path / "q.jsonl")[0].question == "cats ?"
    with pytest.raises(UserError, match="has no question"):
        asked(jsonl(tmp_path / "p.jsonl", {"question": ["a", "b"]}))


def test_other_words_are_other_words() -> None:
    one = Asked("1", "cats", paraphrases=("cats", "kitties", "kitties"))
    worded = one.reworded(3)
    assert worded[0] == "kitties" and len(set(worded)) == 3 and "cats" not in worded


@pytest.mark.parametrize(
    ("line", "said"), [("1 0 a " + "9" * 400, "no small whole number"), ("1 0 a 2\n1 0 a 0", "grades 'a' for '1' a second time")]
)
def test_grades_are_small_and_given_once(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "qrels").write_text(line)
    with pytest.raises(UserError, match=said):
        read_qrels(str(tmp_path / "qrels"))
