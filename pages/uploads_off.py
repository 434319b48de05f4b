"""The server's address for uploads: Streamlit takes files there from any session, whether a page asks for one or not, into its memory.

In read-only mode it takes none. Otherwise it keeps those of sessions that came in through the gate.
"""

from typing import Any, cast

from streamlit import config, runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec


def refuse_all() -> None:
    """From now on the server answers 413 to every file, before it reads it: even an empty one is larger than this."""
    config.set_option("server.maxUploadSize", -1)


def keep(inside: bool) -> None:
    """Whether files of this session are kept from now on. Those of a session that nobody spoke for are not."""
    context = get_script_run_ctx()
    if context and runtime.exists():
        known = _insiders(runtime.get_instance().uploaded_file_mgr)
        (known.add if inside else known.discard)(context.session_id)


def _insiders(manager: Any) -> set[str]:
    """The sessions whose files a manager keeps. They stand in it, since this module is read again when a file of the app changes."""
    if not hasattr(manager, "insiders"):
        insiders, add = set[str](), manager.add_file

        def add_file(session_id: str, file: UploadedFileRec) -> None:
            if session_id in insiders:
                add(session_id, file)

        manager.insiders, manager.add_file = insiders, add_file
    return cast("set[str]", manager.insiders)
