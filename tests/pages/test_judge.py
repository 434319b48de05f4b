"""The Judge page: the card and the headline, filters and pages, the chosen verdict, votes, closer looks."""

import json

import pandas as pd
import pytest

from core import paths, results, runs
from core.judge import arena
from core.results import Theme, Verdict
from core.verdict_table import PAGE
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words
from tests.servers import ChatServer


def judge(**changes: object) -> runs.Run:
    """The sample's verdicts, changed; as a run that asked the sample's evaluation."""
    run = sample.judge()
    write(run, results.read(run.path / "verdicts.csv", Verdict).assign(**changes))
    return run


def write(run: runs.Run, table: pd.DataFrame) -> None:
    """These verdicts in place of the run's own."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    results.write(run.path / "verdicts.csv", [Verdict(**row) for row in rows], Verdict)


def biased(**changes: object) -> runs.Run:
    """A judge that always says 'first'."""
    return judge(judge="openai biased", verdict="tie", first_verdict="base", second_verdict="fine-tuned", **changes)


def page_of(at) -> pd.DataFrame:
    return next(table.value for table in at.dataframe if "score_difference" in table.value)


def test_a_red_card_withholds_the_headline_here_and_on_the_overview(open_page: Open) -> None:
    sample.evaluate()
    biased()
    for page in ("judge", "overview"):
        said = words(open_page(page))
        assert "The headline of openai biased is withheld, since its audit card is red" in said, page
        assert "red: its headline is withheld" in said and "closer to the reference in" not in said, page
    at = open_page("judge")
    assert not at.get("plotly_chart"), "its outcomes are shown on demand alone"
    at.toggle(key="outcomes").set_value(True).run()
    assert len(at.get("plotly_chart")) == 1
    at = open_page("judge", look="slices")
    assert not [table for table in at.dataframe if "win_rate" in table.value], "nor do slices tell it"


def test_each_of_several_judges_has_its_card(open_page: Open) -> None:
    run = judge()
    table = results.read(run.path / "verdicts.csv", Verdict)
    both = pd.concat(
        [table.assign(judge="one"), table.assign(judge="two", verdict="tie", first_verdict="base", second_verdict="fine-tuned")]
    )
    write(run, both)
    at = open_page("judge")
    assert "Judge: one." in words(at) and "The headline of two is withheld" in words(at)
    assert "green: nothing speaks against this judge" in words(at)
    assert "red: its headline is withheld" in words(open_page("judge", card="two"))


def test_a_written_audit_is_shown_as_it_stands(open_page: Open) -> None:
    run = judge(judge="openai one")
    figure = results.AuditFigure(run.run_id, "openai one", "flip_rate", 0.5, 0.45, 0.55, 99)
    amber = results.AuditFigure(**{**figure.__dict__, "light": "amber", "note": "Of 99 pairs. Amber: the whole interval is above 40 %."})
    results.write(run.path / "audit.csv", [amber], results.AuditFigure)
    said = words(open_page("judge"))
    assert "amber: read its verdicts with care" in said
    assert "Order changed the verdict: **50 %**" in said and "45 % to 55 %, n 99. Amber: the whole interval is above 40 %." in said


def test_pages_of_fifty_and_another_filter_goes_back_to_the_first(open_page: Open) -> None:
    judge()
    at = open_page("judge", page="2")
    assert list(page_of(at).index) == list(range(PAGE, 2 * PAGE))
    at.selectbox(key="verdict").set_value("loss").run()
    shown = page_of(at)
    assert at.session_state["page"] == 1 and set(shown["verdict"]) == {"loss"}
    assert len(open_page("judge", page="9", category="kural").dataframe), "a page that is not there is the last one"


def test_every_filter_is_read_from_the_url(open_page: Open) -> None:
    run = judge()
    table = results.read(run.path / "verdicts.csv", Verdict)
    at = open_page("judge", orders="disagree")
    shown = page_of(at)
    assert len(shown) and (shown["first_verdict"] != shown["second_verdict"]).all()
    shown = page_of(open_page("judge", candidate="kural-lora", sort="largest score difference"))
    assert set(shown["candidate"]) == {"kural-lora"} and shown["score_difference"].is_monotonic_decreasing
    assert table["question"][3] in page_of(open_page("judge", contains=table["question"][3].upper()))["question"].to_list()
    assert "0 verdicts of 161" in words(open_page("judge", contains="no such words at all"))


def test_the_verdict_in_the_url_is_shown_in_full(open_page: Open) -> None:
    sample.evaluate()
    run = judge(rationale="A says more.", first_reply="{A}", tokens=12, cost=0.5)
    rows = results.read(run.path / "verdicts.csv", Verdict)
    at = open_page("judge", open="70")
    texts = [text.value for text in at.text]
    assert rows["question"][70] in texts and "{A}" in texts
    assert "12 tokens, cost 0.500" in words(at)
    figures = next(table.value for table in at.dataframe if "difference" in table.value and "base" in table.value)
    assert {"words", "F1 of shared words", "chrF", "sentence BLEU"} <= set(figures.index)


def test_answers_of_ones_own_without_losses_have_no_row_of_losses(open_page: Open) -> None:
    run = judge()
    theirs = paths.home() / "mine"
    theirs.mkdir()
    (theirs / "answers.csv").write_text("question,reference,gpt,ours\nq,r,a,b\n", encoding="utf-8")
    runs.update(run.run_id, outputs={**runs.read(run.run_id).outputs, "answers": "mine/answers.csv"})
    at = open_page("judge", open="70")
    assert not at.exception
    figures = next(table.value for table in at.dataframe if "difference" in table.value and "base" in table.value)
    assert list(figures.index) == ["words", "F1 of shared words", "chrF", "sentence BLEU"]


def test_without_references_nothing_is_told_about_one(open_page: Open) -> None:
    judge(reference="", prompt="")
    at = open_page("judge", open="70")
    assert not at.exception and "Reference" not in [caption.value for caption in at.caption]
    figures = next(table.value for table in at.dataframe if "difference" in table.value and "base" in table.value)
    assert list(figures.index) == ["words"]
    assert not any("score_difference" in table.value or "reference" in table.value for table in at.dataframe)
    assert "closeness to the reference" not in words(at) and "F1" not in words(at)
    assert "no references" in words(open_page("judge", look="best and worst"))


def test_a_failed_run_is_a_small_line_below_what_another_found(open_page: Open) -> None:
    judge()
    failed = runs.create("judge", {})
    runs.update(failed.run_id, status="failed", error="answers.csv has no answers of the base 'base'.")
    at = open_page("judge")
    assert not at.warning
    line = next(caption.value for caption in at.caption if "no answers of the base" in caption.value)
    assert failed.run_id[-4:] in line
    assert [link.label for link in at.get("page_link") if "See all of it" in link.label] == ["See all of it"]
    runs.update(failed.run_id, error="It was cut off. Resume it with: python -m core jobs --resume x")
    assert "Resume it, or see all of it" in [link.label for link in open_page("judge").get("page_link")]


def test_a_vote_is_kept_with_its_name_and_shown(open_page: Open) -> None:
    judge()
    at = open_page("judge", open="5", reviewer="Ada")
    at.button(key="vote-fine-tuned").click().run()
    assert not at.exception
    votes = arena.votes()
    assert list(votes["verdict"]) == ["fine-tuned"] and list(votes["reviewer"]) == ["Ada"] and not votes["blind"].any()
    assert "People: Ada: candidate (not blind)." in words(at)
    assert len(page_of(open_page("judge", people="voted"))) == 1
    said = words(open_page("judge", look="people"))
    assert "1 vote by Ada; 0 with names hidden." in said
    assert open_page("judge", open="5").button(key="vote-base").disabled, "a vote needs a name"


def test_two_runs_by_mcnemar(open_page: Open) -> None:
    judge()
    judge(verdict="base")
    said = words(open_page("judge", look="another run"))
    assert "Difference of the win rates: **−" in said and "McNemar's p: **" in said


def test_themes_lead_to_their_verdicts(open_page: Open) -> None:
    run = judge(pair=[f"p{place}" for place in range(161)], rationale="too vague")
    name = results.read(run.path / "verdicts.csv", Verdict)["judge"][0]
    results.write(run.path / "themes.csv", [Theme(run.run_id, name, f"p{place}", 0, "vague, general") for place in range(4)], Theme)
    at = open_page("judge", look="themes")
    assert "**vague, general**: " in words(at)
    at.button(key="theme-0").click().run()
    assert len(page_of(at)) == 4


def test_best_and_worst_cases_lead_to_the_whole_verdict(open_page: Open) -> None:
    judge()
    at = open_page("judge", look="best and worst")
    assert "**Best 1** (" in words(at) and "**Worst 1** (" in words(at)
    at.button(key="open-Best-1").click().run()
    assert not at.exception and len(page_of(at)) == PAGE


@pytest.mark.parametrize("by", ["category", "candidate", "length", "judge"])
def test_slices_carry_intervals(open_page: Open, by: str) -> None:
    judge()
    at = open_page("judge", look="slices", slice=by)
    table = next(table.value for table in at.dataframe if "win_rate" in table.value)
    assert table["n"].sum() == 159 and {"low", "high"} <= set(table) and len(at.get("plotly_chart")) == 2


def test_asking_people_opens_a_round_on_the_same_answers(open_page: Open) -> None:
    evaluated = sample.evaluate()
    run = judge()
    made = {"answers": f"results/{evaluated.run_id}/answers.csv", "base": "base", "candidate": "own"}
    runs.update(run.run_id, outputs={**runs.read(run.run_id).outputs, **made})
    at = open_page("judge", look="people")
    at.button(key="ask-people").click().run()
    assert not at.exception
    assert runs.listing("arena")[0].config["candidate"] == "own"


def test_what_a_run_will_ask_for_stands_before_the_button(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.evaluate()
    at = open_page("judge")
    assert "These judges run on this machine: they cost no money." in words(at)
    with ChatServer(models=("openai/gpt-oss-20b",)) as server:
        monkeypatch.setenv("GROQ_BASE_URL", server.root)
        monkeypatch.setenv("GROQ_API_KEY", "a-key")
        at.multiselect(key="judge.backend").set_value(["groq"]).run()
    assert not at.exception and "322 calls" in words(at) and "a-key" not in words(at)
    monkeypatch.delenv("GROQ_API_KEY")
    at.multiselect(key="judge.backend").set_value(["groq"]).run()
    assert not at.exception


def test_verdicts_can_be_taken_away_in_other_formats(open_page: Open) -> None:
    from pages import verdict_tables

    run = judge()
    files = {name: make() for name, _, make in verdict_tables.files(run)}
    assert files["verdicts.csv"] == (run.path / "verdicts.csv").read_bytes()
    comparator = json.loads(next(content for name, content in files.items() if name.startswith("llm_comparator")))
    assert len(comparator["examples"]) == 159
