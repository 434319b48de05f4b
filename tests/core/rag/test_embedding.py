"""Embeddings for LlamaIndex: the encoder's own vectors, and those of a server with its faults."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config.rag import IndexConfig
from core.errors import UserError
from core.models.embed import Encoder
from core.rag import embedding
from core.rag.embedding import open_embedding
from core.rag.index import open_index

Reply = Callable[[list[str], dict[str, Any]], tuple[int, Any]]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server whose `reply(texts, request)` gives status and body; `asked` are the requests, `keys` their keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append(request["input"])
            server.keys.append(self.headers["Authorization"])
            status, body = server.reply(request["input"], request)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.keys, server.reply = [], [], good
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)) % 97) + 1, 3.0]


def good(texts: list[str], request: dict[str, Any]) -> tuple[int, Any]:
    """Vectors in another order than asked for, each with its index."""
    rows = [{"object": "embedding", "index": place, "embedding": vector(text)} for place, text in enumerate(texts)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return 200, {"object": "list", "data": rows[::-1], "model": request["model"], "usage": usage}


def config(server: Any, **fields: Any) -> IndexConfig:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return IndexConfig(encoder="a-model", embedding_url=url, **fields)


def test_an_encoder_as_llama_index_has_it(tiny_encoder: Path) -> None:
    model = open_embedding(IndexConfig(encoder=str(tiny_encoder)))
    texts = ["one text", "another, longer text"]
    expected = Encoder(str(tiny_encoder)).embed(texts)
    np.testing.assert_allclose(model.get_text_embedding_batch(texts), expected, atol=1e-6)
    np.testing.assert_allclose(model.get_query_embedding(texts[0]), expected[0], atol=1e-6)
    assert model.max_tokens == 80


def test_a_server_is_asked_in_batches_and_vectors_have_length_1(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    texts = [f"text {n}" * (n % 5 + 1) for n in range(150)]
    vectors = open_embedding(config(server)).embed(texts)
    assert [len(batch) for batch in server.asked] == [64, 64, 22] and set(server.keys) == {"Bearer sk-secret"}
    expected = np.array([vector(text) for text in texts])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.bundled
def test_an_index_by_a_server(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nOne.\n\n# B\n\nTwo.")
    index = open_index(config(server, docs_dir=str(tmp_path / "docs"), chunk_size=16, chunk_overlap=0), lambda *told: None, print)
    expected = np.array([vector(passage.text) for passage in index.passages])
    np.testing.assert_allclose(index.vectors(), expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-5)


def test_a_server_that_recovers(server: Any) -> None:
    replies = iter([(503, {"error": {"message": "busy"}}), (429, {"error": {"message": "slow down"}})])
    server.reply = lambda texts, request: next(replies, None) or good(texts, request)
    assert open_embedding(config(server)).embed(["a"]).shape == (1, 3) and len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((401, {"error": {"message": "bad key sk-secret"}}), "refuses the key. Set OPENAI_API_KEY"),
        ((404, {"error": {"message": "no model 'a-model' for sk-secret"}}), r"answers 404 \(.*no model 'a-model' for \*\*\*.*\). Check"),
        ((200, {"hello": "world"}), "gives no embeddings"),
        ((200, []), "gives no embeddings"),
        ((200, "text"), "gives no embeddings"),
        ((200, {"data": [], "object": "list", "model": "m"}), "gives no embeddings"),
        ((200, {"data": [{"index": 0, "embedding": []}], "object": "list", "model": "m"}), "gives no embeddings"),
        ((200, {"data": [{"index": 0, "embedding": [0.0, 0.0]}], "object": "list", "model": "m"}), "gives no embeddings for 1 texts"),
        ((200, {"data": [{"index": 0, "embedding": "AAAA"}], "object": "list", "model": "m"}), "gives no embeddings"),
    ],
)
def test_what_goes_wrong_with_a_server_is_one_sentence(
    server: Any, reply: tuple[int, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server.reply = lambda texts, request: reply
    with pytest.raises(UserError, match=words) as error:
        open_embedding(config(server)).embed(["a"])
    assert "sk-secret" not in str(error.value) and "a-model" in str(error.value)


def test_a_server_that_is_not_there(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_RETRIES", 0)
    nowhere = IndexConfig(encoder="m", embedding_url="http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/v1 \(model 'm'\) can't be reached. Start it"):
        open_embedding(nowhere).embed(["a"])


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_vectors_of_any_size_come_out_with_length_1(server: Any, size: float) -> None:
    server.reply = lambda texts, request: (200, {"data": [{"index": 0, "embedding": [3 * size, 4 * size]}], "object": "list", "model": "m"})
    assert open_embedding(config(server)).embed(["a"]).tolist() == [pytest.approx([0.6, 0.8])]
