"""Each pipeline against the same ranking computed with numpy from the passages' texts, in double precision."""

import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from core import paths
from core.config import RagConfig
from core.errors import UserError
from core.models.embed import Encoder
from core.rag import PIPELINES
from core.rag.index import Index, open_index
from core.rag.pipelines import bm25, rank
from core.rag.rankings import Ranking

pytestmark = pytest.mark.bundled
"""The tokenizer is the bundled encoder's."""

CHAPTERS = ("dhammapada-02.md", "dhammapada-08.md", "ecclesiastes-01.md")
QUESTIONS = ("What does hatred cease by?", "Who conquers himself?", "Is there any new thing under the sun?")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RagConfig]:
    """A folder of three chapters and a small random encoder; the indexes of this module lie beside them."""
    folder = tmp_path_factory.mktemp("rag")
    (folder / "docs").mkdir()
    for name in CHAPTERS:
        shutil.copy(paths.PROJECT / "data/rag/wisdom_docs" / name, folder / "docs")
    sizes = {"chunk_size": 64, "chunk_overlap": 8, "parent_size": 200, "candidates": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_CACHE", str(folder / "cache"))
        yield RagConfig(docs_dir=str(folder / "docs"), encoder=str(_bert(folder / "encoder", labels=0)), question="?", **sizes)


def _bert(folder: Path, labels: int) -> Path:
    """A random BERT that gives so many numbers for a pair of texts; with none, an encoder."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

    from core.models.embed import encoder_folder

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.5}
    shape["max_position_embeddings"] = 80
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = BertForSequenceClassification(BertConfig(**shape, num_labels=labels)) if labels else BertModel(BertConfig(**shape))
        made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder_folder("bundled")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def index(config: RagConfig) -> Index:
    return open_index(config, lambda done, of, words: None, lambda said: None)


@pytest.fixture(scope="module")
def encoder(config: RagConfig) -> Encoder:
    return Encoder(config.encoder)


def ranked(name: str, index: Index, config: RagConfig, *questions: str) -> list[Ranking]:
    return rank(PIPELINES[name].load()(index, config), questions)


def cosines(question: str, index: Index, encoder: Encoder) -> dict[str, float]:
    vectors = encoder.embed([passage.text for passage in index.passages]).astype(np.float64)
    return dict(zip([passage.id for passage in index.passages], vectors @ encoder.embed([question])[0], strict=True))


def lucene(question: str, index: Index, k1: float = 1.5, b: float = 0.75) -> dict[str, float]:
    """BM25 as Lucene has it: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), tf / (tf + k1 (1 - b + b length / mean length))."""
    import Stemmer
    from bm25s.stopwords import STOPWORDS_EN

    stem = Stemmer.Stemmer("english").stemWord

    def words(text: str) -> list[str]:
        return [stem(word) for word in re.findall(r"(?u)\b\w\w+\b", text.lower()) if word not in STOPWORDS_EN]

    counts = [Counter(words(passage.text)) for passage in index.passages]
    lengths = [sum(count.values()) for count in counts]
    mean, scores = sum(lengths) / len(lengths), {}
    for passage, count, length in zip(index.passages, counts, lengths, strict=True):
        found = [word for word in words(question) if count[word]]
        for word in found:
            n = sum(word in other for other in counts)
            idf = math.log(1 + (len(counts) - n + 0.5) / (n + 0.5))
            weight = idf * count[word] / (count[word] + k1 * (1 - b + b * length / mean))
            scores[passage.id] = scores.get(passage.id, 0.0) + weight
    return scores


def best(scores: dict[str, float], most: int) -> list[str]:
    return sorted(scores, key=lambda name: (round(scores[name], 5), name), reverse=True)[:most]


def fused(*rankings: list[str]) -> dict[str, float]:
    return {name: sum(1 / (61 + each.index(name)) for each in rankings if name in each) for name in set().union(*rankings)}


@pytest.mark.parametrize("question", QUESTIONS)
def test_dense_is_the_cosine_with_all_passages(question: str, index: Index, config: RagConfig, encoder: Encoder) -> None:
    scores = cosines(question, index, encoder)
    [ranking] = ranked("dense", index, config, question)
    assert ranking.passages == best(scores, 10)
    assert [each.score for each in ranking.found] == pytest.approx([scores[name] for name in ranking.passages], abs=1e-5)


@pytest.mark.parametrize("question", QUESTIONS)
def test_bm25_is_lucenes_with_stems(question: str, index: Index, config: RagConfig) -> None:
    scores = lucene(question, index)
    [ranking] = ranked("bm25", index, config, question)
    assert ranking.passages == best(scores, 10)
    assert [each.score for each in ranking.found] == pytest.approx([scores[name] for name in ranking.passages], abs=1e-5)


@pytest.mark.parametrize("question", QUESTIONS)
def test_hybrid_adds_reciprocal_ranks_counted_from_one(question: str, index: Index, config: RagConfig, encoder: Encoder) -> None:
    scores = fused(best(cosines(question, index, encoder), 100), best(lucene(question, index), 100))
    [ranking] = ranked("hybrid", index, config, question)
    assert [each.score for each in ranking.found] == pytest.approx(sorted(scores.values(), reverse=True)[:10], abs=1e-7)
    assert [each.score for each in ranking.found] == pytest.approx([scores[name] for name in ranking.passages], abs=1e-7)


@pytest.mark.parametrize("question", QUESTIONS)
def test_rerank_orders_what_dense_found_by_the_best_token_for_each_token(
    question: str, index: Index, config: RagConfig, encoder: Encoder
) -> None:
    found = best(cosines(question, index, encoder), 10)
    [asked] = encoder.token_vectors([question])
    tokens = [encoder.token_vectors([index.by_id[name].text])[0] for name in found]
    scores = {name: float(np.mean([max(float(a @ b) for b in each) for a in asked])) for name, each in zip(found, tokens, strict=True)}
    [ranking] = ranked("rerank", index, config, question)
    assert set(ranking.passages) == set(found)
    assert [each.score for each in ranking.found] == pytest.approx([scores[name] for name in ranking.passages], abs=2e-3)
    assert scores[ranking.passages[0]] == pytest.approx(max(scores.values()), abs=2e-3)


@pytest.mark.parametrize("question", QUESTIONS)
def test_parent_ranks_sections_by_their_best_passage(question: str, index: Index, config: RagConfig, encoder: Encoder) -> None:
    sections: dict[str, float] = {}
    for name, score in cosines(question, index, encoder).items():
        sections[index.by_id[name].section] = max(score, sections.get(index.by_id[name].section, -1))
    [ranking] = ranked("parent", index, config, question)
    assert ranking.passages == best(sections, 10)[: len(ranking.passages)] and len(ranking.passages) >= 5
    assert ranking.sections == ranking.passages
    assert all(index.sections[each.passage].document == each.document for each in ranking.found)


def test_no_rag_finds_nothing(index: Index, config: RagConfig) -> None:
    assert [ranking.found for ranking in ranked("none", index, config, *QUESTIONS)] == [[], [], []]


def test_words_that_no_passage_has_find_nothing_by_bm25_and_leave_hybrid_to_dense(index: Index, config: RagConfig) -> None:
    for question in ("zyxw qqq", "???", "the of and"):
        lexical, both, alone = (ranked(name, index, config, question)[0] for name in ("bm25", "hybrid", "dense"))
        assert lexical.found == []
        assert both.passages == alone.passages


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != "none"])
def test_candidates_bound_every_ranking_and_there_may_be_more_than_passages(name: str, index: Index, config: RagConfig) -> None:
    few, all_of_them = (config.model_copy(update={"candidates": most}) for most in (3, 1000))
    [ranking] = ranked(name, index, few, QUESTIONS[1])
    assert len(ranking.found) == 3
    [ranking] = ranked(name, index, all_of_them, QUESTIONS[1])
    places = index.sections if name == "parent" else index.by_id
    assert 3 < len(ranking.found) <= len(places) and len({*ranking.passages}) == len(ranking.found)


def test_rankings_come_in_the_order_of_the_questions_with_their_seconds(index: Index, config: RagConfig) -> None:
    told: list[int] = []
    rankings = rank(PIPELINES["dense"].load()(index, config), QUESTIONS, told.append)
    assert told == [1, 2, 3] and all(ranking.seconds > 0 for ranking in rankings)
    assert [ranking.passages for ranking in rankings] == [ranked("dense", index, config, each)[0].passages for each in QUESTIONS]
    assert all(each.document == index.by_id[each.passage].document for ranking in rankings for each in ranking.found)


# --- rerankers --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _bert(tmp_path_factory.mktemp("cross") / "cross-encoder", labels=1)


def test_a_cross_encoder_reads_question_and_passage_together(index: Index, config: RagConfig, cross_encoder: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    [ranking] = ranked("rerank", index, config.model_copy(update={"reranker": str(cross_encoder)}), QUESTIONS[0])
    model = AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
    expected = []
    for name in ranking.passages:
        tokens = tokenizer(QUESTIONS[0], index.by_id[name].text, truncation="only_second", max_length=80, return_tensors="pt")
        with torch.no_grad():
            expected.append(float(model(**tokens).logits[0, 0]))
    assert [each.score for each in ranking.found] == pytest.approx(expected, abs=1e-5)
    assert expected == sorted(expected, reverse=True)


def test_a_reranker_that_is_none_is_refused(index: Index, config: RagConfig, tmp_path: Path) -> None:
    several = _bert(tmp_path / "classifier", labels=3)
    with pytest.raises(UserError, match="gives 3 numbers"):
        ranked("rerank", index, config.model_copy(update={"reranker": str(several)}), "?")
    with pytest.raises(UserError, match="reranker=.*can't be loaded"):
        ranked("rerank", index, config.model_copy(update={"reranker": str(tmp_path / "nothing")}), "?")


def test_documents_without_a_word_are_found_by_no_word(tmp_path: Path, config: RagConfig) -> None:
    (tmp_path / "marks.md").write_text("!!! ??? ...")
    wordless = config.model_copy(update={"docs_dir": str(tmp_path)})
    [ranking] = rank(bm25(open_index(wordless, lambda *_: None, print), wordless), ["What is it?"])
    assert ranking.found == []
