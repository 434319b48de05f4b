"""`python -m core chat`: talk to a model in a terminal, ask it one thing, or hear base and model answer demo prompts.

Answers stream to standard output, everything else goes to standard error. Ctrl-C breaks an answer off, Ctrl-D ends.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from core import console, demo_prompts, playground
from core.config import ChatConfig, DrawingConfig, ServeConfig
from core.console import Shelf
from core.errors import UserError, shown
from core.playground import Play
from core.serve import client, names, resident
from core.serve.resident import Engine
from core.wording import listed

AUTO = "auto"
PROMPT = "> "
_NO_ORDERS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Characters that a terminal would obey."""
HELP = "/model NAME: another one answers   /reset: begin anew   /exit: end   Ctrl-C: break an answer off   Ctrl-D: end"
EACH, OWN = 1, 2
"""Demo prompts of each category, and of the category that the model was trained on."""


@dataclass
class Talk:
    """A conversation with one model."""

    engine: Engine
    model: str
    play: Play
    own: dict[str, str]
    """The category of each adapter that has one."""
    answers: list[str] = field(default_factory=list)
    broken_off: bool = False
    """Whether the last answer was."""

    def ask(self, question: str) -> dict[str, Any]:
        """Stream the answer to standard output. Returns {model, answer, finish_reason, tokens}; what was broken off stays as it is."""
        play = replace(self.play, questions=(*self.play.questions, question))
        texts, ended = [], {"done": "broken off", "count": None}
        events = playground.stream(self.engine, play, self.model, self.own, self.answers, scored=False)
        self.broken_off = False
        try:
            for event in events:
                if "done" in event:
                    ended = event
                else:
                    texts.append(event["text"])
                    print(event["text"].translate(_NO_ORDERS), end="", flush=True)
        except KeyboardInterrupt:
            self.broken_off = True
        finally:
            events.close()  # type: ignore[attr-defined]
            if texts:
                print(flush=True)
        if texts or not self.broken_off:
            self.play, self.answers = play, [*self.answers, "".join(texts)]
        return {"model": self.model, "answer": "".join(texts), "finish_reason": ended["done"], "tokens": ended["count"]}

    def reset(self) -> None:
        """Forget what was said."""
        self.play, self.answers = replace(self.play, questions=()), []


def run(config: ChatConfig) -> dict[str, Any]:
    """Do what the config says. Returns what the command line's last line tells. Raises UserError."""
    if config.demo and config.instruction is not None:
        raise UserError("instruction and demo were both given, and one answers while the other is left out. Give one of them.")
    shelf = console.shelf()
    wanted = [config.model] if not config.model.startswith(names.MIX) else list(names.mix_weights(config.model))
    engine = _engine(shelf.base_model(wanted))
    talk = Talk(engine, config.model, _play(config, shelf), playground.own_categories(shelf.infos))
    check(engine, config.model)
    if config.demo:
        return _demo(talk, shelf)
    if config.instruction is not None:
        answer = talk.ask(config.instruction)
        if talk.broken_off:
            raise KeyboardInterrupt
        return answer
    return _converse(talk)


def check(engine: Engine, model: str) -> None:
    """Raises UserError where the engine does not offer a model."""
    known = client.models(engine)
    wanted = names.mix_weights(model) if model.startswith(names.MIX) else [model]
    if unknown := next((each for each in wanted if each not in known), None):
        raise UserError(f"The engine offers no model '{shown(unknown)}'. Choose one of: {listed(known, 40)}.")


def _engine(base_model: str) -> Engine:
    if engine := resident.find():
        return engine
    _say("No engine runs, so one is started; that takes some seconds. It stays, and ends with: python -m core serve --stop")
    return resident.start(ServeConfig(base_model=base_model))


def _play(config: ChatConfig, shelf: Shelf) -> Play:
    trained = shelf.usual("system_prompt", list(shelf.infos), None)
    system = trained if config.system_prompt == AUTO else config.system_prompt
    return Play(system_prompt=system or "", drawing=DrawingConfig(**config.model_dump(include=set(DrawingConfig.model_fields))))


# --- interactive ------------------------------------------------------------------------------------------------------


def _converse(talk: Talk) -> dict[str, Any]:
    """Questions until their end: typed at a terminal, or a line each."""
    asked = 0
    if sys.stdin is None:
        raise UserError("There is no input to read questions from. Pipe some in, or give one: --instruction 'What is a good life?'")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text must not end the talk
    if sys.stdin.isatty():
        _say(f"{talk.model} answers. {HELP}")
    for line in _lines():
        if line.startswith("/"):
            if not _obey(talk, line):
                break
        elif line:
            asked += 1
            _answer(talk, line)
    return {"model": talk.model, "questions": asked}


def _lines() -> Iterator[str]:
    """What is typed or piped in, without blanks around it. Ctrl-C empties the line that is being typed."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    with suppress(ImportError):
        import readline  # noqa: F401  arrow keys and the lines before
    while True:
        try:
            yield input(PROMPT).strip()
        except KeyboardInterrupt:
            _say("\nCtrl-D or /exit ends.")
        except EOFError:
            print(flush=True)
            return


def _answer(talk: Talk, question: str) -> None:
    """An error at a terminal is said, and the talk goes on; where lines are piped in it ends the program."""
    try:
        talk.ask(question)
    except UserError as error:
        if not sys.stdin.isatty():
            raise
        _say(str(error))
    if talk.broken_off:
        if not sys.stdin.isatty():
            raise KeyboardInterrupt
        _say("(broken off)")


def _obey(talk: Talk, line: str) -> bool:
    """Do what a line that begins with '/' says; False when it ends the talk."""
    word, _, rest = line.partition(" ")
    if word in ("/exit", "/quit"):
        return False
    if word == "/reset":
        talk.reset()
        _say("Begun anew.")
    elif word == "/model":
        _change(talk, rest.strip())
    else:
        _say(HELP if word == "/help" else f"Unknown command '{shown(word)}'. {HELP}")
    return True


def _change(talk: Talk, name: str) -> None:
    """Another model goes on with the conversation."""
    try:
        if name:
            check(talk.engine, name)
            talk.model = name
        _say(f"{talk.model} answers." if name else f"{talk.model} answers. Others: {listed(client.models(talk.engine), 40)}.")
    except UserError as error:
        _say(str(error))


# --- demo -------------------------------------------------------------------------------------------------------------


def _demo(talk: Talk, shelf: Shelf) -> dict[str, Any]:
    """Base and model answer general prompts, without the system prompt, and some of the data's categories."""
    if talk.model == names.BASE and (other := shelf.pooled or next(iter(shelf.infos), None)):
        talk.model = other
        _say(f"No model was named, so {other} stands beside base. Name another: --model NAME")
    models, answers = list(dict.fromkeys([names.BASE, talk.model])), []
    for category, question in _prompts(talk, shelf):
        print(f"\n[{category or 'general'}] {question}", flush=True)
        play = replace(talk.play, questions=(), category=category, system_prompt=talk.play.system_prompt if category else "")
        said = {}
        for model in models:
            print(f"--- {model}", flush=True)
            one = Talk(talk.engine, model, play, talk.own)
            said[model] = one.ask(question)["answer"]
            if one.broken_off:
                raise KeyboardInterrupt
        answers.append({"category": category, "question": question, "answers": said})
    return {"models": models, "prompts": len(answers), "answers": answers}


def _prompts(talk: Talk, shelf: Shelf) -> list[tuple[str, str]]:
    """(category or nothing, question)."""
    found = [("", question) for question in demo_prompts.GENERAL]
    data = shelf.usual("data", list(shelf.infos), "data/seven_schools.jsonl")
    mine = talk.own.get(talk.model)
    for category, questions in demo_prompts.by_category(data).items():
        if mine in (None, category):
            found += [(category, question) for question in questions[: OWN if mine else EACH]]
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
