"""The verb `audit`: foreign files become runs, own runs are audited again."""

import json

import pytest

from core import paths, results, runs
from core.config import AuditConfig
from core.errors import UserError
from core.judge import import_verdicts
from core.results import AuditFigure, Verdict
from core.workspace import Workspace
from tests.core.judge.synthetic import SyntheticJudge


def audited(**fields):
    workspace = Workspace(runs.create("audit", {}))
    outputs = import_verdicts.run(AuditConfig(**fields), workspace)
    runs.update(workspace.run.run_id, status="done", outputs=outputs)
    figures = results.read(workspace.path / "audit.csv", AuditFigure)
    return outputs, figures.drop_duplicates("figure").set_index("figure"), workspace


@pytest.fixture
def alpaca(tmp_path):
    table = SyntheticJudge(longer=0.3).verdicts(0, 40)
    rows = [
        {"instruction": row.question, "output_1": row.base_prediction, "output_2": row.candidate_prediction, "annotator": "gpt4"}
        | {"preference": {"base": 1, "tie": 1.5, "fine-tuned": 2}[row.verdict]}
        for row in table.itertuples()
    ]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(rows))
    return path


def test_a_foreign_file_becomes_a_run_like_any_other(alpaca):
    outputs, figures, workspace = audited(verdicts=str(alpaca))
    table = results.read(paths.home() / outputs["verdicts"], Verdict)
    assert set(table["run"]) == {workspace.run.run_id} == set(figures["run"]) and len(table) == outputs["pairs"] == 40
    assert outputs["judge"] == "gpt4" and outputs["light"] in ("green", "amber") and outputs["themes"] is None
    assert figures.loc["win_rate", "value"] == pytest.approx(outputs["win_rate"])
    said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    assert said[0].startswith("40 verdicts of gpt4") and said[-1].startswith("The card is")


def test_a_run_is_audited_again_and_against_another(alpaca):
    first, _, workspace = audited(verdicts=str(alpaca))
    again, figures, _ = audited(verdicts="last", against=str(alpaca))
    assert again["verdicts"] == first["verdicts"]
    assert figures.loc["mcnemar_p", "value"] == 1
    own = results.read(runs.listing("audit")[0].path / "audit.csv", AuditFigure).set_index("figure")
    assert own.loc["mcnemar_p", "value"] == 1 and own.loc["win_rate_difference", "n"] == 40
    assert set(own["run"]) != {workspace.run.run_id}


def test_a_red_card_withholds_the_headline(tmp_path):
    table = SyntheticJudge(first=1).verdicts(0, 40).assign(first_reply="", second_reply="", tokens="", seconds=0, reason="", cost="")
    table.to_csv(tmp_path / "v.csv", index=False)
    outputs, figures, workspace = audited(verdicts=str(tmp_path / "v.csv"))
    assert outputs["light"] == "red" and figures.loc["flip_rate", "light"] == "red"
    assert "headline is withheld" in runs.read_events(workspace.run.run_id, "say")[-1]["message"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"verdicts": "nowhere.json"}, "There are no verdicts at 'nowhere.json'"), ({"verdicts": "last"}, "no last verdicts")],
)
def test_missing_verdicts_are_told(fields, said):
    with pytest.raises(UserError, match=said):
        audited(**fields)


def test_a_file_in_another_format_than_said_is_told(alpaca):
    with pytest.raises(UserError, match="can't be read as MT-bench pair judgments: record 1 has no 'model_b'"):
        audited(verdicts=str(alpaca), format="mt_bench")


def test_what_could_not_be_read_is_counted_with_its_reason(alpaca):
    rows = json.loads(alpaca.read_text())
    rows[0]["preference"], rows[1]["preference"], rows[2]["preference"] = 3, 3, None
    alpaca.write_text(json.dumps(rows))
    outputs, figures, workspace = audited(verdicts=str(alpaca))
    said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    assert said[1:3] == ["2 verdicts of 40: preference 3 is neither 1 to 2 nor 0.", "1 verdict of 40: no preference in the file."]
    assert outputs["unparsed"] == 3 and figures.loc["unparsed", "value"] == pytest.approx(3 / 40)
    assert said[-1].endswith("Order not tested: each pair was asked in one order.")
