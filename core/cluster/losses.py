"""What workers raise, and workers that are lost for good, as a person should read it."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayError, RaySystemError, RayTaskError

from core.errors import UserError

MOST_LOSSES = 5
"""Times in a row that work may be lost without getting any further before the run fails."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Within, what Ray raises of this work (such as 'the judge') is raised as a person should read it."""
    try:
        yield
    except RayTaskError as error:
        raise as_said(error, what) from None
    except RayError as error:
        raise UserError(
            f"{what[:1].upper()}{what[1:]} was lost with its worker again and again ({type(error).__name__}). "
            "Mend the workers or give them more memory, then resume the run."
        ) from None


def as_said(error: RayTaskError, place: str) -> Exception:
    """What a worker has raised. `place`: which worker, or what it did."""
    raised: Exception = error
    if isinstance(error.cause, UserError):
        raised = UserError(f"{error.cause}\nSaid by a worker ({place}): base models have to be on every machine of the cluster.")
    if isinstance(error.cause, RaySystemError) and "No module named" in str(error.cause):
        raised = UserError(
            f"A worker can't load Lyceum ({str(error.cause).splitlines()[0]}). Every machine of the cluster needs it, with its "
            "requirements, in a folder of the same path; or with its folder in PYTHONPATH when ray start is called there."
        )
    return raised
