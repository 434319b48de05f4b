"""How long a job waits for what is away: seconds, from the environment."""

import math
import os

from core.errors import UserError, shown


def patience(variable: str, otherwise: float) -> float:
    """Seconds that a variable says, `otherwise` where it isn't set. Raises UserError for what is no number of seconds."""
    said = os.environ.get(variable) or str(otherwise)
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{variable}={shown(said)} is no number of seconds. Set it to one, such as {otherwise:g}, or unset it.")
    return seconds
