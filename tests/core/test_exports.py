from core import exports, queries, results
from tests.pages import sample


def test_files_have_the_second_sources_names_and_columns() -> None:
    found = queries.evaluation(sample.evaluate())
    files = exports.answers(found)
    for school in sample.SCHOOLS:
        assert list(files[f"base_{school}_results.csv"].columns) == ["question", "answer", "prediction"]
        own = files[f"fine_tuned_{school}_results.csv"]
        answers = found.answers[(found.answers["model"] == f"{school}-lora") & (found.answers["category"] == school)]
        assert list(own["prediction"]) == list(answers["prediction"]) and list(own["answer"]) == list(answers["reference"])
    assert len(files["base_merged_results.csv"]) == len(files["fine_tuned_merged_results.csv"]) == 161
    merged = found.answers[found.answers["model"] == sample.MERGED[0]]
    assert list(files["fine_tuned_merged_results.csv"]["prediction"]) == list(merged["prediction"])


def test_a_category_with_odd_signs_never_leaves_its_folder() -> None:
    found = queries.evaluation(sample.evaluate())
    odd = queries.Evaluation(found.run, found.models, found.answers.assign(category="../a b/ü"), found.scores)
    for name in exports.answers(odd):
        assert "/" not in name and ".." not in name


def test_a_category_called_merged_keeps_its_answers() -> None:
    found = queries.evaluation(sample.evaluate())
    named = found.answers.assign(category=found.answers["category"].replace("cynic", "merged"))
    files = exports.answers(queries.Evaluation(found.run, found.models, named, found.scores))
    assert len(files["base_merged_results.csv"]) == len(files["fine_tuned_merged_results.csv"]) == 161
    assert len(files["base_merged_category_results.csv"]) == 161 // len(sample.SCHOOLS)


def test_judgments_say_who_judged() -> None:
    table = results.read(sample.judge().path / "verdicts.csv", results.Verdict)
    shown = exports.judgments(table)
    assert exports.JUDGMENTS == "llm_semantic_merged_judgments.csv"
    assert {"question", "answer", "base_prediction", "fine_tuned_prediction", "judgment", "judge"} <= set(shown.columns)
    assert list(shown["judgment"]) == list(table["verdict"]) and shown["judge"].str.startswith("similarity").all()
