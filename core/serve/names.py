"""How a request names who answers: base, an adapter or merge, 'mix:law=0.5,cynic=0.5', a route, or 'route', the newest one.

Light: pages, the command line and the engine read and write the same names.
"""

import math
from collections.abc import Mapping

from core.errors import UserError, shown

BASE, ROUTE, MIX = "base", "route", "mix:"


def mix_name(weights: Mapping[str, float]) -> str:
    """The name of the exact weighted sum of these adapters."""
    return MIX + ",".join(f"{name}={weight:g}" for name, weight in weights.items())


def mix_weights(name: str) -> dict[str, float]:
    """What a name that begins with 'mix:' stands for; without weights, 'mix:law,cynic', 1/n each. Raises UserError."""
    parts = [part.strip() for part in name.removeprefix(MIX).split(",")]
    pairs = [part.rpartition("=") if "=" in part else (part, "", "") for part in parts]
    names = [each.strip() for each, _, _ in pairs]
    if not all(names):
        raise UserError(f"'{shown(name)}' names no adapters. Say which, with their weights: mix:law=0.5,cynic=0.5")
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise UserError(f"'{shown(twice)}' stands twice in '{shown(name)}'. Name it once and give it the sum of the weights.")
    said = [sign for _, sign, _ in pairs]
    if any(said) and not all(said):
        raise UserError(f"Some adapters of '{shown(name)}' have a weight and others have none. Give each one, or none for 1/n each.")
    return {each: _number(weight, name) if sign else 1 / len(pairs) for each, (_, sign, weight) in zip(names, pairs, strict=True)}


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"The weight '{shown(text)}' in '{shown(name)}' is no number. Write it like this: mix:law=0.5,cynic=0.5")
    return number
