"""How much faster an svd merge is than PEFT's, at TinyLlama's shapes, on one thread.

    python benchmarks/merge_svd.py [--rank 64] [--adapters 3] [--repeats 3] [--out FILE.json]

PEFT (add_weighted_adapter, combination_type svd) takes the SVD of each layer's full delta, with full_matrices True (its default) or
False; Lyceum's strategy needs only the factors. Each is timed on one layer of every shape, in turn, so that what else the machine does
meets all of them; the median counts. Sums are over all 154 matrices of TinyLlama-1.1B (22 blocks). A slider step is another mix of the same
adapters at the same rank, from the cached bases. All results are held against a float64 SVD of the full delta.
Times are CPU seconds of this process. Limits: 100 and 30 times faster than PEFT, a slider step 4 times faster again, equal to 1e-5.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from torch import nn  # noqa: E402

from core.adapter import Factor  # noqa: E402
from core.config import MergeConfig  # noqa: E402
from core.merge import sums  # noqa: E402
from core.merge.layer import Layer  # noqa: E402
from core.merge.lowrank import Basis  # noqa: E402

BLOCKS = 22
SHAPES = {(2048, 2048): 2, (256, 2048): 2, (5632, 2048): 2, (2048, 5632): 1}
"""out, in: matrices in a block (q, o; k, v; gate, up; down)."""
LIMITS = {"peft / ours": 100, "peft with full_matrices=False / ours": 30, "ours / slider step": 4}


def main() -> None:
    """Measure every shape and print one JSON object."""
    options = _options()
    torch.set_num_threads(1)
    layers = {}
    for shape in SHAPES:
        layers[f"{shape[0]} x {shape[1]}"] = found = measure(shape, options)
        print(f"{shape[0]} x {shape[1]}: {found}", file=sys.stderr, flush=True)
    per_block = dict(zip(layers, SHAPES.values(), strict=True))
    seconds = {
        name: BLOCKS * sum(per_block[shape] * found["seconds"][name] for shape, found in layers.items())
        for name in ("peft", "peft with full_matrices=False", "ours", "slider step")
    }
    ratios = {name: round(seconds[name.split(" / ")[0]] / seconds[name.split(" / ")[1]], 1) for name in LIMITS}
    errors = {name: max(found["errors"][name] for found in layers.values()) for name in ("peft", "ours", "slider step")}
    measured = {
        "ratios": ratios,
        "limits": LIMITS,
        "seconds_of_154_matrices": {name: round(value, 3) for name, value in seconds.items()},
        "largest_relative_errors": errors,
        "layers": layers,
        "adapters": options.adapters,
        "rank": options.rank,
        "repeats": options.repeats,
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(measured, indent=1))
    if options.out:
        options.out.write_text(json.dumps(measured, indent=1) + "\n")
    assert max(errors["ours"], errors["slider step"]) < 1e-5, "not equal to the dense SVD"


def measure(shape: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Median CPU seconds and relative errors on one layer."""
    factors, weights = _adapters(shape, options), [(-0.5) ** n for n in range(options.adapters)]
    layer = Layer("layer", factors, weights, [""] * len(factors))
    config = MergeConfig(adapters=tuple(map(str, range(len(factors)))), strategy="svd", rank=options.rank)
    model = _peft_model(shape, factors)
    basis = Basis.quick(factors)
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: sums.svd(layer, config),
        "slider step": lambda: basis.best(basis.core(weights), options.rank),
        "peft": lambda: _peft_merge(model, weights, options.rank, True),
        "peft with full_matrices=False": lambda: _peft_merge(model, weights, options.rank, False),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    made = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            begin = time.process_time()
            made[name] = way()
            times[name].append(time.process_time() - begin)
    best = _dense_best(factors, weights, options.rank)
    errors = {name: float(f"{float((_delta(factor) - best).norm() / best.norm()):.1e}") for name, factor in made.items()}
    return {"seconds": {name: round(statistics.median(each), 5) for name, each in times.items()}, "errors": errors}


def _adapters(shape: tuple[int, int], options: argparse.Namespace) -> list[Factor]:
    """Random factors whose directions fade, as those of trained adapters do."""
    draw = torch.Generator().manual_seed(shape[0])
    fading = torch.linspace(1, 0.1, options.rank)
    return [
        Factor(
            torch.randn(options.rank, shape[1], generator=draw) * fading[:, None], torch.randn(shape[0], options.rank, generator=draw), 2.0
        )
        for _ in range(options.adapters)
    ]


def _peft_model(shape: tuple[int, int], factors: list[Factor]) -> Any:
    """A model of one linear layer with these adapters."""
    base = nn.Sequential()
    base.add_module("layer", nn.Linear(shape[1], shape[0], bias=False))
    config = LoraConfig(r=factors[0].rank, lora_alpha=factors[0].scale * factors[0].rank, target_modules=["layer"])
    model = get_peft_model(base, config, adapter_name="0")
    for n, factor in enumerate(factors):
        if n:
            model.add_adapter(str(n), config)
        target = model.base_model.model.layer
        target.lora_A[str(n)].weight.data, target.lora_B[str(n)].weight.data = factor.A, factor.B
    return model


def _peft_merge(model: Any, weights: list[float], rank: int, full_matrices: bool) -> Factor:
    names, target = [str(n) for n in range(len(weights))], model.base_model.model.layer
    if "merged" in target.lora_A:
        model.delete_adapter("merged")
    model.base_model.add_weighted_adapter(names, weights, "merged", "svd", svd_rank=rank, svd_full_matrices=full_matrices)
    return Factor(target.lora_A["merged"].weight.data.clone(), target.lora_B["merged"].weight.data.clone(), target.scaling["merged"])


def _dense_best(factors: list[Factor], weights: list[float], rank: int) -> torch.Tensor:
    total = sum((weight * _delta(factor) for factor, weight in zip(factors, weights, strict=True)), torch.zeros(()))
    U, S, Vh = torch.linalg.svd(total, full_matrices=False)
    return (U[:, :rank] * S[:rank]) @ Vh[:rank]


def _delta(factor: Factor) -> torch.Tensor:
    return factor.scale * factor.B.double() @ factor.A.double()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--adapters", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
