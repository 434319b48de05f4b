"""What configs are made of: lists, seeds, the dataset and the model."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from core.registry import Entry, lookup


def _listed(value: Any) -> Any:
    """A list given as text: JSON, or parts between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Some = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""Names, at least one."""
Numbers = Annotated[tuple[float, ...], BeforeValidator(_listed)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def one_of(table: Mapping[str, Entry], kind: str) -> AfterValidator:
    """A field whose value, or each value of a list, is the name of a row of a table."""

    def known(value: Any) -> Any:
        for name in [value] if isinstance(value, str) else value:
            lookup(table, kind, name)
        return value

    return AfterValidator(known)


class Config(BaseModel):
    """What all configs share: they can't be changed, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DatasetConfig(Config):
    """Where questions, answers and categories come from."""

    data: str = "data/seven_schools.jsonl"
    """Dataset: a JSON, JSONL, CSV or Parquet file or its address (s3://bucket/file.jsonl), or a Hugging Face hub id."""
    question_column: str | None = None
    """Column of the question. Empty: found by its name."""
    answer_column: str | None = None
    """Column of the answer. Empty: found by its name."""
    category_column: str | None = None
    """Column of the category. Empty: found by its name; none there: one category."""


class PromptConfig(Config):
    """What decides a prompt's tokens."""

    system_prompt: str | None = None
    """System message of every prompt, for every model; {category} stands for the row's category. Empty: the chat template's own."""
    base_model: str = "bundled"
    """Base model: 'bundled' (SmolLM2-135M-Instruct), a local folder, or a hub id."""
    max_seq_length: int = Field(512, ge=16, le=131072)
    """Longest row in tokens, prompt and answer together; longer answers are cut."""


class ComputeConfig(Config):
    """How the base model is held, and where it computes."""

    quantization: Literal["none", "nf4"] = "none"
    """Hold the base model in 4 bit (NF4 with double quantisation). Method qlora always does."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Compute precision. auto: bf16 where the GPU has it, else fp16; fp32 on CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute. auto: CUDA, then MPS, then CPU."""


class DataConfig(PromptConfig, DatasetConfig):
    """Read a question-and-answer dataset, split it, and report on it before anything trains."""


class ModelConfig(ComputeConfig, DataConfig):
    """What the verbs share that compute on the base model."""
