"""Starting an engine: a form with what it takes, and word of how far it is; the start goes on when the page is left."""

import os
import threading

import streamlit as st

from core import serving
from core.config import ServeConfig
from core.config.serve import HOME_HOSTS, KEY_VARIABLE
from core.errors import UserError
from core.jobs import locks
from core.serve import resident
from core.wording import plain
from pages import engine, form, parts, serve_live

SLOT = "serve.start"
FIRST = ["engine", "base_model", "host", "port"]
VLLM_TAKES = (
    "Starting vLLM takes about a minute and 3.6 GB of memory for the bundled model on a CPU, and needs its environment: `make vllm`, once. "
    "It is for many requests at once; it can't mix adapters for a request."
)
UNSET = f"{KEY_VARIABLE} is not set where this app was started. Set it and start the app again, or start the engine in a terminal."
FAILED = "The engine did not start."


class Start:
    """A start under way, in a thread of its own."""

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self.error = ""
        """Why it failed, in a sentence."""
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def going(self) -> bool:
        """Whether it is still starting. A fault of the program is raised here, where it is seen."""
        if self._fault:
            raise self._fault
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            resident.start(self.config)
        except UserError as error:
            self.error = str(error)
        except Exception as error:
            self._fault = error


def show() -> None:
    """What there is to see while no engine answers."""
    if not resident.ours():
        engine.absent()
        return
    if _under_way():
        st.fragment(_starting, run_every=parts.LIVE_SECONDS)()
        return
    st.fragment(_idle, run_every=parts.LIVE_SECONDS)()
    start: Start | None = st.session_state.get(SLOT)
    failed = start.error.removeprefix(FAILED).strip() if start else ""
    if failed:
        st.error(f"{FAILED} {plain(failed)}", icon=":material/error:")
        serve_live.log(opened=True)
    _form()
    if not failed:
        serve_live.log()


def _under_way() -> bool:
    start: Start | None = st.session_state.get(SLOT)
    return bool(start and start.going) or serving.starting()


def _starting() -> None:
    """Looks until the engine answers, or has failed."""
    if resident.find() or not _under_way():
        st.rerun(scope="app")
    st.info("The engine is starting: it reads its libraries, then the base model.", icon=":material/hourglass:")
    st.code("\n".join(serving.log_lines()) or "It said nothing yet.", language=None, wrap_lines=True)


def _idle() -> None:
    """Looks whether somebody else has started an engine."""
    if resident.find() or _under_way():
        st.rerun(scope="app")


def _form() -> None:
    st.subheader("Start an engine", anchor=False)
    config = form.settings("serve", FIRST, {"base_model": form.base_models()}, across=4)
    if config is None:
        return
    assert isinstance(config, ServeConfig)
    st.caption(VLLM_TAKES if config.engine == "vllm" else engine.TAKES[config.base_model == engine.BUNDLED])
    if locks.held("device"):
        st.caption("A job computes at the moment: on a CPU it and the engine slow each other; on a GPU the engine answers when it is done.")
    if config.host not in HOME_HOSTS and not os.environ.get(KEY_VARIABLE):
        st.info(plain(f"{config.host} is open to other machines, so the engine needs a key. {UNSET}"))
    elif st.button("Start the engine", key="serve.submit", type="primary"):
        st.session_state[SLOT] = Start(config)
        st.rerun()
    st.code(f"{form.command('serve', config)} --detach", language="bash", wrap_lines=True)
