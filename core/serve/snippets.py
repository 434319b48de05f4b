"""Programs that ask an engine, to copy: curl, the openai and groq clients, LangChain and llama-index. They run as they stand."""

import json
from collections.abc import Callable
from dataclasses import dataclass

QUESTION = "What is a good life?"
KEY = "LYCEUM_API_KEY"


@dataclass(frozen=True)
class Asked:
    """Who is asked what."""

    address: str
    """Of the engine, such as http://127.0.0.1:8000."""
    model: str
    key: bool = False
    """Whether the engine wants one; it is read from the environment."""
    question: str = QUESTION
    tokens: int = 64

    @property
    def python_key(self) -> str:
        """The argument api_key in Python. The clients want one even where the engine does not."""
        return f'os.environ["{KEY}"]' if self.key else '"none"'

    @property
    def imports(self) -> str:
        """What a program that reads the key begins with."""
        return "import os\n\n" if self.key else ""


def curl(asked: Asked) -> str:
    """A whole answer, then a streamed one, in a shell."""
    body = {"model": asked.model, "messages": [{"role": "user", "content": asked.question}], "max_tokens": asked.tokens}
    key = f' \\\n  -H "Authorization: Bearer ${KEY}"' if asked.key else ""
    call = f"{asked.address}/v1/chat/completions -H 'Content-Type: application/json'{key} \\\n  -d "
    return f"curl {call}{_quoted(body)}\n\ncurl -N {call}{_quoted({**body, 'stream': True})}\n"


def openai(asked: Asked) -> str:
    """The official client: pip install openai."""
    return f'''{asked.imports}from openai import OpenAI

client = OpenAI(base_url="{asked.address}/v1", api_key={asked.python_key})
messages = [{{"role": "user", "content": {_text(asked.question)}}}]
stream = client.chat.completions.create(model={_text(asked.model)}, messages=messages, max_tokens={asked.tokens}, stream=True)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
'''


def groq(asked: Asked) -> str:
    """Groq's client, which asks under /openai/v1 by itself: pip install groq."""
    return f'''{asked.imports}from groq import Groq

client = Groq(base_url="{asked.address}", api_key={asked.python_key})
messages = [{{"role": "user", "content": {_text(asked.question)}}}]
reply = client.chat.completions.create(model={_text(asked.model)}, messages=messages, max_tokens={asked.tokens})
print(reply.choices[0].message.content)
'''


def langchain(asked: Asked) -> str:
    """pip install langchain-openai."""
    return f'''{asked.imports}from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    base_url="{asked.address}/v1", api_key={asked.python_key}, model={_text(asked.model)}, max_tokens={asked.tokens}
)
print(model.invoke({_text(asked.question)}).content)
for chunk in model.stream({_text(asked.question)}):
    print(chunk.content, end="", flush=True)
'''


def llama_index(asked: Asked) -> str:
    """pip install llama-index-llms-openai-like."""
    return f'''{asked.imports}from llama_index.llms.openai_like import OpenAILike

model = OpenAILike(
    api_base="{asked.address}/v1", api_key={asked.python_key}, model={_text(asked.model)}, max_tokens={asked.tokens}, is_chat_model=True
)
print(model.complete({_text(asked.question)}))
for chunk in model.stream_complete({_text(asked.question)}):
    print(chunk.delta, end="", flush=True)
'''


SNIPPETS: dict[str, tuple[str, Callable[[Asked], str]]] = {
    "curl": ("bash", curl),
    "Python (openai)": ("python", openai),
    "Groq": ("python", groq),
    "LangChain": ("python", langchain),
    "llama-index": ("python", llama_index),
}
"""By name: the language, and what writes it."""


def _text(text: str) -> str:
    """As a Python literal; JSON's strings are that."""
    return json.dumps(text)


def _quoted(body: object) -> str:
    """JSON as one word of a shell."""
    return "'" + json.dumps(body).replace("'", "'\\''") + "'"
