"""Asking an engine by the openai client, and transformers for the same."""

import torch

from core import paths
from core.config import RouteConfig
from core.merge import route as making_routes
from core.runs import create
from core.workspace import Workspace

ASKED = [{"role": "user", "content": "What is a good life?"}]


def chat(client, **fields):
    return client.chat.completions.create(**{"model": "base", "messages": ASKED, "temperature": 0, "max_tokens": 16, **fields})


def text(client, **fields):
    return chat(client, **fields).choices[0].message.content


def prompt_of(tokenizer):
    return tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]


def greedy(model, ids, tokens):
    """Token ids that transformers' generate adds."""
    return model.eval().generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)[0, ids.shape[1] :]


def a_route(names, router, **fields):
    config = RouteConfig(adapters=tuple(names), router=router, name=f"{router}_way", **fields)
    making_routes.run(config, Workspace(create("route", {})))
    return paths.merged_adapters() / f"{router}_way"
