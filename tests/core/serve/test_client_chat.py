"""The light client of chat completions, and what the playground makes of them, against a real engine."""

import threading

import openai
import pytest

from core import playground
from core.answer_tokens import spans
from core.config import DrawingConfig
from core.errors import UserError
from core.playground import Play
from core.serve import client
from tests.core.serve.conftest import until

ASKED = [{"role": "user", "content": "What is a good life?"}]
GREEDY = DrawingConfig(temperature=0, max_tokens=12)


def text(chunks):
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def scored(chunks):
    return [each for chunk in chunks for choice in chunk["choices"] for each in (choice["logprobs"] or {"content": []})["content"]]


def test_chunks_are_those_of_the_official_client(serve):
    served = serve()
    fields = {"model": "base", "messages": ASKED, "temperature": 0, "max_tokens": 12, "logprobs": True, "top_logprobs": 5}
    official = openai.OpenAI(base_url=f"{served.address.address}/v1", api_key="any")
    theirs = [chunk.to_dict() for chunk in official.chat.completions.create(**fields, stream=True)]
    ours = list(client.chat(served.address, fields))
    assert text(ours) == text(theirs) != ""
    assert scored(ours) == scored(theirs) and len(scored(ours)) == 12


def test_models_are_listed_and_an_unknown_one_is_a_sentence(serve, adapters):
    served = serve()
    adapters("x", 1)
    assert client.models(served.address) == ["base", "x"]
    with pytest.raises(UserError, match="offers no model 'nobody'. It offers: base, x"):
        list(client.chat(served.address, {"model": "nobody", "messages": ASKED}))


def test_a_closed_stream_frees_its_place(serve):
    served = serve()
    chunks = client.chat(served.address, {"model": "base", "messages": ASKED, "max_tokens": 800, "seed": 1})
    while not text([next(chunks)]):
        pass
    assert served.health()["answers"] == 1
    chunks.close()
    until(lambda: served.health()["answers"] == 0)


def test_lines_end_at_line_feeds_alone(monkeypatch):
    """A server that writes U+2028 as it is, as vLLM does, sends one event and not two halves."""
    import http.server

    class Hand(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write('data: {"said": "a\u2028b\u0085c"}\r\n\r\ndata: [DONE]\n\n'.encode())

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hand)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    engine = client.Engine(f"http://127.0.0.1:{server.server_port}", 0, "", "")
    assert list(client.chat(engine, {})) == [{"said": "a\u2028b\u0085c"}]
    server.shutdown()
    server.server_close()


def test_a_conversation_goes_on_with_its_own_answers(serve, adapters):
    served = serve()
    adapters("x", 1)
    play = Play(models=("base", "x"), questions=("Who are you?", "And then?"), system_prompt="Be terse.", drawing=GREEDY)
    official = openai.OpenAI(base_url=f"{served.address.address}/v1", api_key="any")
    for model in play.models:
        answers = playground.fold([], list(playground.stream(served.address, play, model, {})), 2)
        assert [(answer.state, answer.count) for answer in answers] == [("length", 12)] * 2
        said = [{"role": "system", "content": "Be terse."}]
        for question, answer in zip(play.questions, answers, strict=True):
            said.append({"role": "user", "content": question})
            reply = official.chat.completions.create(model=model, messages=said, temperature=0, max_tokens=12, logprobs=True)
            assert reply.choices[0].message.content == answer.text
            assert [token.logprob for token in answer.tokens] == pytest.approx([each.logprob for each in reply.choices[0].logprobs.content])
            assert "".join(span.text for span in spans(answer.tokens, answer.text)) == answer.text
            assert len(answer.tokens) == 12 and all(len(token.others) == 5 for token in answer.tokens)
            said.append({"role": "assistant", "content": answer.text})
        again = playground.fold(answers[:1], list(playground.stream(served.address, play, model, {}, [answers[0].text])), 2)
        assert again[1].text == answers[1].text, "taken up after the first answer"


def test_a_category_reaches_the_adapter_of_its_own(serve, adapters):
    served = serve()
    adapters("x", 1)
    play = Play(questions=("Why?",), system_prompt="Be a {category}.", drawing=GREEDY)

    def said(own, **fields):
        return playground.fold([], list(playground.stream(served.address, play, "x", own)), 1)[0].text

    official = openai.OpenAI(base_url=f"{served.address.address}/v1", api_key="any")
    messages = [{"role": "system", "content": "Be a cynic."}, {"role": "user", "content": "Why?"}]
    reply = official.chat.completions.create(model="x", messages=messages, temperature=0, max_tokens=12)
    assert said({"x": "cynic"}) == reply.choices[0].message.content != said({})
