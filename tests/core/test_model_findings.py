import pandas as pd
import pytest

from core import model_findings, queries, results
from core.queries import Evaluation
from core.results import ALL, OTHERS, Comparison, Flag, Model, Score
from core.results.asked import Asked
from core.runs import Run


def comparison(model: str, category: str, difference: float, p: float, baseline: str = "base", metric: str = "perplexity") -> Comparison:
    return Comparison("run", model, baseline, category, metric, difference, difference - 1, difference + 1, p / 9, p, 20)


@pytest.fixture
def found() -> Evaluation:
    models = [Model("base", "base", "", "", ""), Model("a-lora", "own", "a", "", ""), Model("merge", "merged", "", "", "")]
    scores = [Score("run", model, category, "perplexity", value, 20, value - 1, value + 1, "signature") for model, category, value in (
        ("base", "a", 50.0), ("base", "b", 40.0), ("base", ALL, 45.0), ("a-lora", "a", 30.0), ("a-lora", "b", 47.0),
        ("merge", "a", 40.0), ("merge", "b", 40.5), ("merge", ALL, 40.2),
    )]  # fmt: skip
    tests = [
        comparison("a-lora", "a", -20, 0.001), comparison("a-lora", "b", 7, 0.01), comparison("a-lora", OTHERS, 7, 0.01),
        comparison("a-lora", ALL, -8, 0.01), comparison("merge", "a", -10, 0.001), comparison("merge", "b", 0.5, 0.8),
        comparison("merge", ALL, -4.8, 0.2), comparison("merge", "a", 10, 0.002, "own"), comparison("merge", "b", -2, 0.3, "own"),
        comparison("merge", ALL, 4, 0.01, "own"), comparison("own", ALL, -9, 0.01), comparison("own", "a", -20, 0.01),
    ]  # fmt: skip
    flags = [Flag("run", "merge", "a", "q", "loop", "'x' 9 times"), Flag("run", "base", "a", "q", "cut", "")]

    def frame(rows: list, kind: type) -> pd.DataFrame:
        return pd.DataFrame([vars(row) for row in rows], columns=kind.columns())

    nothing = pd.DataFrame(columns=results.Answer.columns())
    return Evaluation(
        Run("run", "evaluate", {}, "done", "", None, None, None, None, None, {}, None), frame(models, Model), nothing,
        frame(scores, Score), nothing, frame(tests, Comparison), Asked(frame(flags, Flag), Flag),
    )  # fmt: skip


def test_a_sentence_has_the_diagonal_the_harm_off_it_and_the_price_of_merging(found: Evaluation) -> None:
    said = model_findings.sentences(found, "perplexity")
    assert list(said) == ["own", "a-lora", "merge"]
    assert said["a-lora"] == (
        "On a, its own category, perplexity is 30.0, −20.0 against base (95 % interval −21.0 to −19.0, n 20); "
        "off it +7.00 (+6.00 to +8.00, n 20): worse on b (+7.00)."
    )
    assert said["merge"] == (
        "On all questions perplexity is 40.2, −4.80 against base (95 % interval −5.80 to −3.80, n 20); better on 1 of 2 categories, "
        "no difference seen on 1; the price of merging: +4.00 against the own adapters (95 % interval +3.00 to +5.00, n 20), "
        "worse on a (+10.0), no difference seen on 1."
    )
    assert said["own"].startswith("On all questions perplexity, −9.00 against base")


def test_no_comparisons_no_sentences(found: Evaluation) -> None:
    assert model_findings.sentences(found, "bleu") == {}


def test_the_matrix_marks_what_is_clear_and_what_stays_so_among_all_cells(found: Evaluation) -> None:
    table = queries.matrix(found, "perplexity").set_index(["model", "category"])
    assert table["mark"][[("base", "a"), ("a-lora", "a"), ("a-lora", "b"), ("merge", "b"), ("merge", ALL)]].tolist() == [
        "",
        "●",
        "●",
        "",
        "○",
    ]
    assert table.loc[("a-lora", "a"), "gain"] == 20 and table.loc[("a-lora", "b"), "gain"] == -7
    assert table.loc[("merge", ALL), "against"] == "−4.80 against base (−5.80 to −3.80), p 0.200 after Holm"


def test_answers_are_shown_with_their_flags(found: Evaluation) -> None:
    pairs = pd.DataFrame({"category": ["a", "b"], "question": ["q", "q"], "model": ["merge", "merge"]})
    shown = queries.with_flags(found, pairs)
    assert shown["flags"].tolist() == [{"loop": "'x' 9 times"}, {}] and shown["base_flags"].tolist() == [{"cut": ""}, {}]
