"""Routes and questions about other matters: what the tables say of them, and how the evaluate page shows it."""

import pandas as pd
import pytest

from core import charts, exports, findings, paths, queries, results, runs
from core.queries import OWN, Evaluation
from core.results import ALL, GENERAL
from pages import form
from tests.pages import routed, sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words


@pytest.fixture
def found() -> Evaluation:
    return queries.evaluation(routed.evaluate())


@pytest.fixture
def weights(found: Evaluation) -> pd.DataFrame:
    return results.read(found.run.path / "route_weights.csv", results.RouteWeight)


def test_a_route_stands_beside_the_merges(found: Evaluation) -> None:
    assert found.compared == [OWN, "pooled-lora", *sample.MERGED, routed.ROUTE]
    gains = queries.gains(found, found.compared).set_index(["model", "category"])
    assert gains.loc[(routed.ROUTE, ALL), "role"] == "route" and gains.loc[(routed.ROUTE, ALL), "n"] == 161
    dumbbells = charts.dumbbells(queries.gains(found, [routed.ROUTE]))
    assert next(trace for trace in dumbbells.data if trace.name == routed.ROUTE).marker.color == charts.ROLE["route"]
    assert len(exports.answers(found)["fine_tuned_learned_route_results.csv"]) == 161


def test_other_matters_count_in_no_total_but_have_their_row(found: Evaluation) -> None:
    assert GENERAL not in found.categories and len(found.general) == 9 * 3
    plain = queries.evaluation(sample.evaluate())
    ours, theirs = (queries.gains(each, ["pooled-lora"]).set_index("category") for each in (found, plain))
    assert ours.loc[ALL, "value"] == theirs.loc[ALL, "value"]
    table = queries.matrix(found, "perplexity").set_index(["model", "category"])
    assert table.loc[("cynic-lora", GENERAL), "gain"] == -3 and table.loc[("cynic-lora", GENERAL), "clear"], "worse on all three"
    assert not table.index.duplicated().any()


def test_how_often_a_route_found_the_own_adapter(found: Evaluation, weights: pd.DataFrame) -> None:
    share = queries.led_to_own(weights)
    asked = len(weights[weights["category"] != GENERAL].drop_duplicates(["category", "question"]))
    assert share.n == asked and 0.4 < share.value < 0.6
    wide = queries.by_question(weights)
    assert list(wide.columns) == ["category", "question", *(f"{school}-lora" for school in sample.SCHOOLS)]
    first = wide.iloc[0]
    assert (first["category"], first["cynic-lora"], first["kural-lora"]) == ("cynic", 0.7, 0.05)


def test_the_finding_stands_between_the_best_merge_and_own(found: Evaluation, weights: pd.DataFrame) -> None:
    sentence = findings.route(found, routed.ROUTE, queries.led_to_own(weights))
    best = min(sample.MERGED, key=lambda name: queries.perplexity(found.answers_of(name)))
    drop = queries.perplexity_drop(found.answers_of(best), found.answers_of(routed.ROUTE))
    assert f"({findings.interval(drop.low, drop.high)} of the drop)" in sentence
    assert sentence.startswith(f"{routed.ROUTE} has perplexity ") and f"the best merge, {best}, has " in sentence
    assert "its upper bound, the own adapters by the true category, have 26.6" in sentence
    assert sentence.endswith("; the route sees the question alone.")


def test_the_heat_map_is_the_mean_weight(weights: pd.DataFrame) -> None:
    heat = charts.routed(weights).data[0]
    assert list(heat.y) == [*sample.SCHOOLS, GENERAL] and list(heat.x) == [f"{school}-lora" for school in sample.SCHOOLS]
    rows = weights[(weights["category"] == "kural") & (weights["adapter"] == "wisdom-lora")]
    assert heat.z[3][4] == pytest.approx(rows["weight"].mean())


def test_the_page_lists_what_each_question_used(open_page: Open) -> None:
    routed.evaluate()
    at = open_page("evaluate", route_page="4")  # the last one
    assert not at.exception and not at.error
    assert "Routes: which adapters each question used" in [expander.label for expander in at.expander]
    table = next(each.value for each in at.dataframe if "cynic-lora" in each.value)
    assert {"question", "lexicon-lora"} <= set(table.columns) and GENERAL in set(table["category"])
    assert "learned_route has perplexity" in words(at) and "(general): questions about other matters" in words(at)


def test_a_page_without_routes_says_nothing_of_them(open_page: Open) -> None:
    sample.evaluate()
    at = open_page("evaluate")
    assert not any("Routes" in expander.label for expander in at.expander)
    assert "other matters" not in words(at).replace("A dataset of other matters", "")


def test_a_route_is_made_by_its_form(open_page: Open) -> None:
    sample.train()
    at = open_page("evaluate")
    assert "No adapters were given, so there is nothing to choose among" in words(at)
    at.multiselect(key="route.adapters").set_value(["cynic-lora", "kural-lora"]).run()
    at.selectbox(key="route.router").set_value("arrow").run()
    assert "route.data" not in [box.key for box in at.selectbox], "arrow reads no data"
    at.button(key="route.submit").click().run()
    assert not at.exception
    config = runs.listing("route")[0].config
    assert (config["adapters"], config["router"]) == (["cynic-lora", "kural-lora"], "arrow")


def test_routes_can_be_chosen_for_an_evaluation(open_page: Open) -> None:
    folder = paths.merged_adapters() / "way"
    folder.mkdir(parents=True)
    (folder / paths.ROUTER).touch()
    assert form.routes() == ["way"] and form.merged_adapters() == []
    at = open_page("evaluate")
    assert "way" in at.multiselect(key="evaluate.models").options
