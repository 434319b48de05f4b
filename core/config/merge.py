"""Merging adapters, finding weights, routes, and whole models."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.config.fields import Config, DatasetConfig, ModelConfig, Names, Numbers, Seed, Some, one_of
from core.errors import UserError
from core.merge import APART, ROUTERS, STRATEGIES
from core.registry import lookup


class MergeConfig(Config):
    """Merge adapters into one, by a strategy and weights."""

    adapters: Names = ()
    """Adapters to merge: names under adapters/, or PEFT folders, separated by commas."""
    weights: Numbers = ()
    """One weight per adapter, 0 = off, negative allowed. Empty: 1/n each."""
    strategy: Annotated[str, one_of(STRATEGIES, "merge strategy")] = "linear"
    """Merge strategy."""
    space: Literal["delta", "factor"] = "delta"
    """delta: on the full B A, exact. factor: on A and B apart, as peft's add_weighted_adapter does: approximate, to reproduce it."""
    density: float | None = Field(None, gt=0, le=1)
    """Share of a delta's entries that is kept, for strategies that drop some."""
    rank: int | None = Field(None, ge=1)
    """Rank of the merged adapter. Empty: the sum of the ranks, which keeps linear exact; for svd the largest of the ranks."""
    ties_lambda: float | None = Field(None, gt=0)
    """Strength of the agreeing mean, the lambda of the TIES paper. Empty: the sum of the absolute weights."""
    della_epsilon: float = Field(0.1, ge=0, lt=1)
    """Strategy della: width of the window around density over which the chances of being kept are spread, by magnitude."""
    breadcrumbs_gamma: float = Field(0.01, ge=0, lt=1)
    """Strategy breadcrumbs: share of a delta's entries that is cut as outliers, within 1 - density."""
    seed: Seed = 0
    """Seed of the entries that are dropped at random."""
    recipe: str | None = None
    """Do a merge again: a merged adapter's name or its run.json, or a mergekit YAML file. Says what the fields above would."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the saved adapter."""
    name: str | None = None
    """Name under merged_adapters/. Empty: '<strategy>_merged_adapter'."""
    replace: bool = False
    """Replace a merged adapter of the same name."""

    @model_validator(mode="after")
    def _complete(self) -> "MergeConfig":
        if self.recipe:
            self._stands_alone()
            return self
        if not self.adapters:
            raise UserError("No adapters were given, so there is nothing to merge. Name at least one: adapters=a,b.")
        if self.weights and len(self.weights) != len(self.adapters):
            raise UserError(
                f"{len(self.weights)} weights were given for {len(self.adapters)} adapters. Give one weight per adapter, in the same order."
            )
        drops = "density" in STRATEGIES[self.strategy].fields
        if drops and self.density is None:
            raise UserError(
                f"Strategy {self.strategy} keeps a share of each delta's entries, and density was not given. Say how much: density=0.5."
            )
        if not drops and self.density not in (None, 1):
            raise UserError(f"Strategy {self.strategy} keeps every entry, so density={self.density:g} would change nothing. Leave it out.")
        if self.ties_lambda is not None and "ties_lambda" not in STRATEGIES[self.strategy].fields:
            raise UserError(
                f"Strategy {self.strategy} takes no mean of agreeing entries, so ties_lambda={self.ties_lambda:g} would change nothing. "
                "Leave it out."
            )
        if self.space == "factor":
            self._fits_factor_space()
        return self

    @property
    def is_weighted_sum(self) -> bool:
        """Whether the merge is the exact weighted sum: what a bank's weights give, without merging."""
        return self.strategy in ("linear", "cat") and self.space == "delta" and self.rank is None

    def _stands_alone(self) -> None:
        beside = ("recipe", "dtype", "name", "replace")
        if said := [name for name, field in type(self).model_fields.items() if name not in beside and getattr(self, name) != field.default]:
            raise UserError(
                f"recipe={self.recipe} says how to merge, and {', '.join(said)} was given beside it. Leave out the one or the other."
            )

    def _fits_factor_space(self) -> None:
        if self.strategy not in (*APART, "svd", "cat"):
            raise UserError(
                f"Strategy {self.strategy} needs whole deltas, and space=factor combines A and B apart, as PEFT does. Say space=delta."
            )
        if self.ties_lambda is not None:
            raise UserError(
                f"ties_lambda={self.ties_lambda:g} is unknown to PEFT, which space=factor follows. Leave it out, or say space=delta."
            )


class SearchConfig(ModelConfig):
    """Find the weights of a mix on validation loss, without a merge per trial where the strategy is linear."""

    adapters: Names = ()
    """Adapters to mix: names under adapters/, or PEFT folders, separated by commas."""
    strategy: Some = ("linear",)
    """Merge strategies to search, separated by commas; each gets its own trials. linear needs no merge, the others one per trial."""
    space: Literal["delta", "factor"] = "delta"
    """delta: on the full B A, exact. factor: on A and B apart, as peft's add_weighted_adapter does."""
    density: float | None = Field(None, gt=0, le=1)
    """Share of a delta's entries that is kept, for strategies that drop some."""
    rank: int | None = Field(None, ge=1)
    """Rank of the merged adapter. Empty: the sum of the ranks; for svd the largest of the ranks."""
    ties_lambda: float | None = Field(None, gt=0)
    """Strength of the agreeing mean, the lambda of the TIES paper. Empty: the sum of the absolute weights."""
    objective: Literal["mean", "worst"] = "mean"
    """What is made small: the mean of the categories' losses, or the loss of the worst category."""
    optimizer: Literal["auto", "gradient", "cma", "coordinate"] = "auto"
    """gradient: L-BFGS on the loss's gradient by the weights, for exact weighted sums and the mean. cma: CMA-ES, for any strategy.
    coordinate: one weight at a time, up and down by steps that halve. auto: gradient where it can be, else cma."""
    trials: int = Field(60, ge=0, le=10_000)
    """Mixes to try per strategy, beside the baselines: nothing, each adapter alone, equal weights of several strengths."""
    bounds: Numbers = (-0.5, 1.5)
    """Lowest and highest weight."""
    limit: int | None = Field(8, ge=1)
    """At most this many validation rows per category. Empty: all. Test rows are never read."""
    surface: Names = ()
    """Two of the adapters: also compute the loss over a grid of their weights, the others at the best weights found."""
    grid: int = Field(7, ge=2, le=101)
    """Points of the surface along each of the two weights, over the bounds."""
    seed: Seed = 0
    """Seed of the optimiser, of entries that a strategy drops at random, and of the bootstrap interval."""

    @model_validator(mode="after")
    def _complete(self) -> "SearchConfig":
        for strategy in self.strategy:
            self.mix(strategy, ())
            self.optimizer_of(strategy)
        if len(self.bounds) != 2 or self.bounds[0] >= self.bounds[1]:
            said = ",".join(f"{bound:g}" for bound in self.bounds)
            raise UserError(f"bounds={said} is no lowest and highest weight. Give two numbers, the lower one first: bounds=-0.5,1.5.")
        if self.surface and (len(set(self.surface)) != 2 or len(self.surface) != 2 or not set(self.surface) <= set(self.adapters)):
            raise UserError(
                f"surface={','.join(self.surface)} should name two of the adapters that are mixed: {', '.join(self.adapters)}. "
                "Give two different ones, separated by a comma."
            )
        return self

    def optimizer_of(self, strategy: str) -> str:
        """The optimiser for a strategy: 'auto' decided."""
        smooth = self.objective == "mean" and self.mix(strategy, ()).is_weighted_sum
        if self.optimizer == "gradient" and not smooth:
            raise UserError(
                f"optimizer=gradient needs the mean loss of an exact weighted sum, and this is the {self.objective} of {strategy}. "
                "Say optimizer=cma."
            )
        if self.optimizer != "auto":
            return self.optimizer
        return "gradient" if smooth else "cma"

    def mix(self, strategy: str, weights: tuple[float, ...]) -> MergeConfig:
        """The merge with these weights that one of the strategies makes."""
        settings = self.model_dump(include={"adapters", "space", "rank", "seed"})
        for name in ("density", "ties_lambda"):
            takers = [each for each in self.strategy if name in lookup(STRATEGIES, "merge strategy", each).fields]
            settings[name] = getattr(self, name) if strategy in takers or not takers else None
        return MergeConfig(**settings, strategy=strategy, weights=weights)


class RouteConfig(DatasetConfig):
    """Make a route: for each question or token, a mix of the adapters that suit it, in place of one merge for everything."""

    adapters: Names = ()
    """Adapters to choose among: names under adapters/ or merged_adapters/, or PEFT folders, separated by commas."""
    router: Annotated[str, one_of(ROUTERS, "router")] = "learned"
    """How a mix is picked."""
    encoder: str = "bundled"
    """Encoder of the questions: 'bundled' (all-MiniLM-L6-v2), a folder, or a hub id."""
    temperature: float | None = Field(None, gt=0)
    """Low: nearly all weight on one adapter; high: nearly equal weights. Empty: chosen on validation rows; for arrow 1."""
    top_k: int | None = Field(None, ge=1)
    """At most this many adapters have a weight at once. Empty: all; for arrow 3."""
    name: str | None = None
    """Name under merged_adapters/. Empty: '<router>_route'."""
    replace: bool = False
    """Replace a route of the same name."""

    @model_validator(mode="after")
    def _complete(self) -> "RouteConfig":
        if not self.adapters:
            raise UserError("No adapters were given, so there is nothing to choose among. Name at least one: adapters=a,b.")
        if self.top_k and self.top_k > len(self.adapters):
            raise UserError(f"top_k={self.top_k} is more than the {len(self.adapters)} adapters that were given. Choose a smaller one.")
        return self


class ExportConfig(Config):
    """Add an adapter or a merge to the base model's weights: a whole model that transformers and vLLM load."""

    model: str = Field(min_length=1)
    """Adapter or merged adapter: a name, a PEFT folder, or a recipe (a merge's run.json, a mergekit YAML file)."""
    base_model: str | None = None
    """Base model to add it to: 'bundled', a local folder, or a hub id. Empty: the one that the adapter was made on."""
    base: Literal["unquantized", "quantized"] = "unquantized"
    """unquantized: the base model's own weights. quantized: what its NF4 weights stand for, on which QLoRA trains."""
    dtype: Literal["bf16", "fp32", "fp16"] = "bf16"
    """Precision of the saved weights."""
    name: str | None = None
    """Name under models/. Empty: '<model>-whole'."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; the model must fit there in fp32. auto: CUDA, then MPS, then CPU."""
    replace: bool = False
    """Replace a model of the same name."""
