"""Questions that the base model writes from passages, for documents that came with none. The passage is each question's gold.

After Alberti et al. 2019, Synthetic QA Corpora Generation (arXiv:1906.05416), without its check by answering. A small model writes poor
questions: they are marked as generated, and say more about how pipelines compare than about how good any one is.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.config import RagConfig
from core.data.prompt import Prompter
from core.models.generate import generate as complete
from core.models.load import BaseModel
from core.rag.questions import GENERATED, Asked
from core.wording import count
from core.workspace import Workspace

if TYPE_CHECKING:
    from core.rag.index import Index, Passage

PROMPT = """Passage:
{text}

Write one short question that this passage answers. Name what it is about, so that the question can be understood without the passage. \
Reply with the question alone."""
_WORDS, _CHARACTERS = 4, 300
"""A question has so many words at least, and so many characters at most."""
_TOKENS = 48
"""Longest reply."""
_READ = 1500
"""Characters of a passage that the model reads."""
_ABOUT_THE_PASSAGE = re.compile(r"\b(passage|text|excerpt|paragraph|author|above|this question)\b", re.IGNORECASE)


def generate(config: RagConfig, index: "Index", base: BaseModel, workspace: Workspace) -> list[Asked]:
    """`config.generate_questions` questions, fewer where passages run out: passages are drawn by seed, each is used once.

    A reply that is no question of its own, or was made before, is dropped and counted; other passages are drawn in its place.
    """
    wanted, asked, dropped = config.generate_questions, dict[str, Asked](), Counter[str]()
    order = np.random.default_rng(config.seed).permutation(len(index.passages)).tolist()
    while order and len(asked) < wanted:
        some, order = order[: wanted - len(asked)], order[wanted - len(asked) :]
        passages = [index.passages[place] for place in some]
        workspace.progress(len(asked), wanted, "questions written")
        for passage, reply in zip(passages, _replies(config, base, passages), strict=True):
            question, fault = _checked(reply, passage.text)
            if fault or question.casefold() in asked:
                dropped[fault or "a question that was made before"] += 1
                continue
            asked[question.casefold()] = Asked(
                f"generated-{len(asked) + 1}",
                question,
                category=GENERATED,
                source=GENERATED,
                gold_documents=(passage.document,),
                gold_passages=(passage.text,),
            )
    workspace.progress(len(asked), wanted, "questions written")
    workspace.say(_told(len(asked), wanted, dropped))
    return list(asked.values())


def _replies(config: RagConfig, base: BaseModel, passages: Sequence["Passage"]) -> list[str]:
    """The base model's most probable reply to each passage."""
    prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
    prompts = [prompter.prompt(PROMPT.format(text=passage.text[:_READ]), GENERATED) for passage in passages]
    return [each.text for each in complete(base, prompts, max_new_tokens=_TOKENS, batch_size=config.batch_size)]


def _checked(reply: str, passage: str) -> tuple[str, str]:
    """The first question of a reply, and what is wrong with it (empty: nothing)."""
    line = next((line.strip() for line in reply.splitlines() if "?" in line), "")
    question = re.sub(r"^(?:[-*\d.)\s]*)(?:question\s*:)?\s*", "", line[: line.find("?") + 1], flags=re.IGNORECASE).strip(" \"'“”*")
    if not question:
        return "", "no question"
    if len(question.split()) < _WORDS or len(question) > _CHARACTERS:
        return question, "a question that is too short or too long"
    if _ABOUT_THE_PASSAGE.search(question) and not _ABOUT_THE_PASSAGE.search(passage):
        return question, "a question about 'the passage'"
    return question, ""


def _told(made: int, wanted: int, dropped: Counter[str]) -> str:
    sentence = f"The base model wrote {count(made, 'question')} of {wanted:,}; they are marked as generated."
    if dropped:
        reasons = ", ".join(f"{number} × {reason}" for reason, number in dropped.items())
        sentence += f" Replies that were dropped: {reasons}."
    return sentence
