"""The one error that is shown to people as it stands."""

import errno
import os
import reprlib
import shutil
import tempfile
from pathlib import Path


class UserError(Exception):
    """Something the person can mend. The message says what (with the value), why, and what to do."""


def shown(value: object, limit: int = 80) -> str:
    """A value as a sentence holds it: what can be printed, shortened to `limit` characters."""
    text = (value if isinstance(value, str) else reprlib.repr(value)).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
"""What the system says of a disk that is full, or of a folder that can't be written."""


def explained(error: BaseException) -> BaseException:
    """A full disk or a locked folder as the UserError that it is, also out of safetensors, which has no error numbers; else the same."""
    code = error.errno if isinstance(error, OSError) else next((code for code in STORAGE if f"(os error {code})" in str(error)), None)
    if code not in STORAGE:
        return error
    place = getattr(error, "filename", None) or (_in_the_fullest() if code == errno.ENOSPC else "A file")
    return UserError(
        f"{place} can't be written or read: {os.strerror(code)}. "
        "Free some space or mend the permissions, or let LYCEUM_HOME and LYCEUM_CACHE name folders that can be written."
    )


def _in_the_fullest() -> str:
    """The file of an error that names none: of the folders that Lyceum writes to, in the one with the least space left."""
    from core import paths

    places = [place for place in (paths.home(), paths.cache(), Path(tempfile.gettempdir())) if place.exists()]
    return f"A file, probably in {min(places, key=lambda place: shutil.disk_usage(place).free)},"
