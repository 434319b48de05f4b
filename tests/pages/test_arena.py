"""The arena's page without a browser: what it says in each state, and that a round is opened and found."""

from core import runs
from core.judge import arena
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words


def test_without_an_evaluation_there_is_nothing_to_compare(open_page: Open) -> None:
    at = open_page("arena")
    assert "sides by chance" in words(at) and not [button for button in at.button if button.label == "Open a round"]


def test_a_round_is_opened_with_one_button(open_page: Open) -> None:
    sample.evaluate()
    at = open_page("arena")
    next(button for button in at.button if button.label == "Open a round").click().run()
    assert [(run.verb, run.status) for run in runs.listing("arena")] == [("arena", "queued")]


def test_a_reviewer_says_the_name_first_and_finds_it_in_the_address(open_page: Open) -> None:
    run = sample.arena()
    at = open_page("arena")
    assert "1 person has given 2 votes so far; skipped pairs don't count. Who leads is told when you end the round" in words(
        at
    ) and "10 questions wait" in words(at)
    at.text_input(key="arena.name").set_value(" Ada ").run()
    assert (at.query_params["reviewer"], at.query_params["round"]) == ("Ada", run.run_id)
    assert "You vote as **Ada**" in words(at)
    assert not at.text_input and "Undo the last vote" in [button.label for button in at.button]


def test_the_last_vote_is_taken_back_and_after_the_last_pair_there_are_thanks(open_page: Open) -> None:
    run = sample.arena()
    at = open_page("arena", reviewer="Ada")
    next(button for button in at.button if button.label == "Undo the last vote").click().run()
    assert arena.standing(run.run_id, "Ada").done == 1
    while (sheet := arena.next_pair(run.run_id, "Ada")) is not None:
        arena.vote(run.run_id, "Ada", sheet.pair, "skip")
    at = open_page("arena", reviewer="Ada")
    assert "Thank you, Ada. You have seen all 10 pairs, 9 of them skipped." in words(at)


def test_the_round_of_the_address_is_shown_and_rounds_have_no_names(open_page: Open) -> None:
    older, newer = sample.arena(), sample.arena()
    at = open_page("arena", round=older.run_id)
    choice = at.selectbox(key="round")
    assert choice.value == older.run_id != newer.run_id
    assert all(option.endswith("UTC · 10 questions") for option in choice.options)


def test_why_a_round_failed_stands_elsewhere_and_the_sidebar_names_no_model(open_page: Open) -> None:
    sample.everything()
    sample.train("failed", error="cynic-lora is too big")
    run = runs.create("arena", {})
    runs.update(run.run_id, status="failed", error="cynic-lora has no answers")
    at = open_page("arena", reviewer="Bo")
    every = words(at) + " ".join(element.value for element in at.sidebar.caption)
    assert "The last round could not be opened." in every and "cynic-lora" not in every and "SmolLM" not in every
    assert "SmolLM" in " ".join(element.value for element in open_page("jobs").sidebar.caption)
