"""How a cost grows: the line t = a + b n that fits measured points best, and what it says of other n.

    python benchmarks/growth.py 7:12.1 50:20.4 1000:148 --at 10000

Least squares of relative errors, so that small and large n count the same; `a` is never below 0. `power` is the exponent c of the
best t = k n^c through the larger half of the points: well above 1, the line promises too little.
"""

import argparse
import json

import numpy as np


def line(points: dict[float, float]) -> tuple[float, float]:
    """a and b of n -> t."""
    n, t = (np.array(each, float) for each in (list(points), list(points.values())))
    (a, b), *_ = np.linalg.lstsq(np.stack([1 / t, n / t], axis=1), np.ones(len(t)), rcond=None)
    return (float(a), float(b)) if a >= 0 else (0.0, float(np.sum(n / t) / np.sum((n / t) ** 2)))


def power(points: dict[float, float]) -> float:
    """The exponent, from two points on."""
    large = sorted(points)[len(points) // 2 - (len(points) < 4) :]
    return float(np.polyfit(np.log(large), np.log([points[n] for n in large]), 1)[0])


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", help="n:t")
    parser.add_argument("--at", type=float, nargs="*", default=[])
    given = parser.parse_args()
    points = {float(n): float(t) for n, t in (each.split(":") for each in given.points)}
    a, b = line(points)
    worst = max(abs(a + b * n - t) / t for n, t in points.items())
    told = {f"{n:g}": float(f"{a + b * n:.4g}") for n in given.at}
    print(
        json.dumps({"a": float(f"{a:.3g}"), "b": float(f"{b:.3g}"), "worst": round(worst, 3), "power": round(power(points), 2), "at": told})
    )


if __name__ == "__main__":
    main()
