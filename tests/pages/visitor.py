"""A visitor without a browser: speaks Streamlit's own protocol (protobuf over its websocket), and can send what no page would send."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect

PATIENCE_SECONDS = 60.0
XSRF = "_streamlit_xsrf"
"""The cookie that a page's own requests repeat in a header."""


@dataclass
class Seen:
    """What the server sent in answer to one message."""

    messages: list[ForwardMsg] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(str(each) for each in self.messages)

    @property
    def widgets(self) -> dict[str, str]:
        """The kind of each widget by its id: button, selectbox, file_uploader ..."""
        return {element.id: kind for kind, element in self.elements() if getattr(element, "id", "")}

    def widget(self, key: str) -> str:
        """The id of the widget with this key, or whose key begins so."""
        return next(widget for widget in self.widgets if widget.split("-", 2)[2].startswith(key))

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(each.ByteSize() for each in self.messages)

    def fragment(self, widget: str) -> str:
        """The fragment that a widget stands in."""
        deltas = (each.delta for each in self.messages if each.WhichOneof("type") == "delta")
        return next(each.fragment_id for each in deltas if widget in str(each))

    def elements(self) -> Iterator[tuple[str, Any]]:
        """Kind and content of each element."""
        for message in self.messages:
            if message.WhichOneof("type") == "delta" and message.delta.WhichOneof("type") == "new_element":
                kind = str(message.delta.new_element.WhichOneof("type"))
                yield kind, getattr(message.delta.new_element, kind)


@dataclass
class Visitor:
    """One session of an app."""

    address: str
    socket: ClientConnection
    session: str = ""

    @classmethod
    def of(cls, address: str, cookies: Mapping[str, str] | None = None) -> "Visitor":
        """`address`: such as http://127.0.0.1:8501; `cookies`: of who has signed in."""
        place, known = f"{address.replace('http', 'ws', 1)}/_stcore/stream", cookies or {}
        words = ["streamlit", *([known[XSRF]] if XSRF in known else [])]
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in known.items()), "Origin": address} if known else {}
        return cls(address, connect(place, max_size=None, subprotocols=words, additional_headers=headers, proxy=None))  # type: ignore[arg-type]

    def open(self, page: str, /, states: Sequence[WidgetState] = (), fragment: str = "", **query: str) -> Seen:
        """Run the page with this name in its address, or a fragment of it.

        `states`: what its widgets hold; a trigger is a press of a button.
        """
        asked = BackMsg()
        asked.rerun_script.page_name = page
        asked.rerun_script.fragment_id = fragment
        asked.rerun_script.query_string = urlencode(query)
        asked.rerun_script.widget_states.widgets.extend(states)
        self.socket.send(asked.SerializeToString())
        seen, ended = Seen(), False
        while not ended:
            message = ForwardMsg.FromString(self.socket.recv(timeout=PATIENCE_SECONDS))  # type: ignore[arg-type]
            seen.messages.append(message)
            if message.WhichOneof("type") == "new_session":
                self.session = message.new_session.initialize.session_id
            ended = message.WhichOneof("type") == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN
        return seen

    def put(self, file_id: str, name: str, content: bytes) -> int:
        """Send a file to the server's address for uploads, as a page with an uploader would. Returns the status."""
        with httpx.Client(base_url=self.address, trust_env=False) as asking:
            asking.get("/_stcore/health")
            headers = {"X-Xsrftoken": asking.cookies[XSRF]}
            return asking.put(f"/_stcore/upload_file/{self.session}/{file_id}", files={name: (name, content)}, headers=headers).status_code


def pressed(widget: str) -> WidgetState:
    """A press of a button."""
    return WidgetState(id=widget, trigger_value=True)


def typed(widget: str, text: str) -> WidgetState:
    """Text in a box, or an option of a list."""
    return WidgetState(id=widget, string_value=text)


def turned(widget: str, page: int) -> WidgetState:
    """A page number."""
    return WidgetState(id=widget, int_value=page)


def uploaded(widget: str, file_id: str, name: str, size: int) -> WidgetState:
    """A file in an uploader."""
    state = WidgetState(id=widget)
    info = state.file_uploader_state_value.uploaded_file_info.add()
    info.file_id, info.name, info.size = file_id, name, size
    return state
