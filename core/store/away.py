"""Asking the store: what an error means, and waiting for a store that is away.

What time may mend (no connection, no answer in time, 5xx) is asked again, ever more slowly, for as long as the asker has patience; then
`Away` tells it. What no time mends (a wrong key, a missing bucket, a server that is none) is one sentence at once.
"""

import asyncio
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from core import paths, private
from core.errors import UserError, explained, shown
from core.patience import patience as seconds

T = TypeVar("T")
PATIENCE = "LYCEUM_STORE_PATIENCE"
PATIENCE_SECONDS = 900.0
"""How long a job waits for a store that is away, unless the environment says otherwise."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds between two tries."""
SETTLING_SECONDS = 10.0
"""A server that has just come back may deny what it has: for so long after an outage its refusals are asked again."""
NET = (
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH),
    *(errno.ENETDOWN, errno.EHOSTDOWN, errno.ENOTCONN, errno.EIO, errno.ESTALE, errno.ENODEV),
)
"""What the system says of a network, or of a network's folder, that is away."""


class Away(UserError):
    """The store can't be reached now."""


@dataclass
class Outage:
    """A store that is away, as this process sees it."""

    since: str
    """ISO 8601, UTC, in seconds."""
    began: float
    cause: str

    def sentence(self, place: str) -> str:
        """What, since when, why."""
        return f"{place[:1].upper()}{place[1:]} has been away since {self.since[11:19]} UTC ({self.cause})."


outage: Outage | None = None
"""Set while the store is away."""
_back = -SETTLING_SECONDS


def told() -> str:
    """The store's URL as people may see it: no user, no password."""
    return private.removed_from(paths.store() or "")


def patience() -> float:
    """Seconds that a job waits. Raises UserError for a setting that is no number."""
    return seconds(PATIENCE, PATIENCE_SECONDS)


def ask(what: Callable[[], T], wait: float = 0.0, say: Callable[[str], None] | None = None, place: str = "") -> T:
    """What `what` returns, as soon as the store answers. FileNotFoundError passes: no such file in a store that answers.

    `wait`: seconds of patience. `say`: told once that the store is away, and once that it is back.
    `place`: what is asked, the store if empty.
    """
    place = place or f"the store {told()}"
    until, pause, said = time.monotonic() + wait, FIRST_WAIT, False
    while True:
        try:
            answer = what()
        except Exception as error:
            cause = _cause(error, place)
            if cause is None:
                _returned(say if said else None)
                raise
            refusal = _noted(cause, place)
            if time.monotonic() + pause > until or (refusal and not _is_settling()):
                raise (refusal or Away(_sentence(place, str(cause)))) from error
            if say and not said:
                say(f"{_sentence(place, str(cause))} Waiting for it.")
                said = True
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_WAIT)
        else:
            _returned(say if said else None)
            return answer


def _noted(cause: str | UserError, place: str) -> UserError | None:
    """A refusal; anything else begins an outage, unless there is one."""
    global outage
    if isinstance(cause, UserError):
        return cause
    outage = outage or Outage(datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic(), cause)
    return None


def _is_settling() -> bool:
    return outage is not None or time.monotonic() < _back + SETTLING_SECONDS


def _sentence(place: str, cause: str) -> str:
    return outage.sentence(place) if outage else cause


def is_missing(error: FileNotFoundError) -> bool:
    """Whether a file is missing, and not its whole bucket."""
    return _s3(error)[0] != "NoSuchBucket"


def _returned(say: Callable[[str], None] | None) -> None:
    global outage, _back
    if outage:
        _back = time.monotonic()
        if say:
            say(f"The store answers again, after {time.monotonic() - outage.began:.0f} s.")
    outage = None


def _cause(error: Exception, place: str) -> str | UserError | None:
    """Why the store is away; the sentence for what no waiting mends; None for what says nothing about the store."""
    if isinstance(error, UserError):
        return None
    code, status = _s3(error)
    if isinstance(error, FileNotFoundError) and is_missing(error) and code != "404":
        return None
    where = paths.endpoint() or "its server"
    if code == "NoSuchBucket" or code == "404":
        return UserError(f"{where} has no such bucket: {place}. Make the bucket, or mend LYCEUM_HOME or AWS_ENDPOINT_URL.")
    if status in (401, 403) or isinstance(error, PermissionError) and code:
        return UserError(f"{where} refuses the keys for {place} ({code}). Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return UserError(f"There are no keys for {place}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout"):
        return f"it says {code}"
    if code or type(error).__name__ in ("ParamValidationError", "InvalidEndpointConfigurationError") or type(error) is ValueError:
        return UserError(
            f"{where} can't be used for {place}: {shown(' '.join(str(error).split()), 200)}. Check LYCEUM_HOME and AWS_ENDPOINT_URL."
        )
    return _net(error)


def _s3(error: Exception) -> tuple[str, int]:
    """The error code and the HTTP status of an S3 server's answer; '' and 0 for what is none."""
    source = error if hasattr(error, "response") else error.__cause__
    response = getattr(source, "response", None)
    if not isinstance(response, dict):
        return "", 0
    return str(response.get("Error", {}).get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _net(error: Exception) -> str | UserError | None:
    module = type(error).__module__.partition(".")[0]
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or "Timeout" in type(error).__name__:
        return "it doesn't answer in time"
    if module in ("botocore", "aiohttp", "urllib3") or isinstance(error, ConnectionError):
        return "it can't be reached"
    if isinstance(error, OSError):
        mended = explained(error)
        if isinstance(mended, UserError):
            return mended
        return "it can't be reached" if error.errno in NET else None
    return None
