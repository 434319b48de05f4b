"""The similarity baseline: what it says of itself, and what it decides."""

from pathlib import Path

from core import runs
from tests.core.judge.conftest import Judge
from tests.servers import ChatServer


def test_similarity_says_that_it_is_no_language_model(judge: Judge, file: Path) -> None:
    with ChatServer() as server:
        outputs, table, workspace = judge(server, backend="similarity", base_url=None)
    from core.judge.similarity import TIE_MARGIN
    from core.models.embed import Encoder

    encoder = Encoder("bundled")
    for row in table.itertuples():
        reference, base, candidate = encoder.embed([row.reference, row.base_prediction, row.candidate_prediction]).astype(float)
        gain = float(candidate @ reference - base @ reference)
        assert row.verdict == ("tie" if abs(gain) < TIE_MARGIN else "fine-tuned" if gain > 0 else "base")
        assert row.first_verdict == row.second_verdict
        assert "both orders are the same by construction" in row.first_reply and f"tie below {TIE_MARGIN}" in row.second_reply
    assert {"fine-tuned", "base"} <= set(table["verdict"])
    assert outputs["judge"].startswith("similarity (not a language model)") and outputs["tokens"] is None
    assert "not a language model" in runs.read_events(workspace.run.run_id, "say")[0]["message"]
    assert not server.requests and set(table["prompt"]) == {""}


def test_similarity_ties_equal_answers(judge: Judge, file: Path) -> None:
    file.write_text(file.read_text().replace("no idea", "virtue is courage"))
    with ChatServer() as server:
        _, table, _ = judge(server, backend="similarity", base_url=None)
    assert table["verdict"][1] == "tie"


def test_similarity_never_lets_an_empty_answer_win(judge: Judge, file: Path) -> None:
    file.write_text(file.read_text().replace("no idea", "").replace("virtue is courage", "%%% 4711 %%%"))
    with ChatServer() as server:
        _, table, _ = judge(server, backend="similarity", base_url=None)
    empty = table["candidate_prediction"] == ""
    assert empty.any() and set(table.loc[empty, "verdict"]) == {"base"}
