"""An upload of a data file, kept under a checked name and chosen at once."""

import streamlit as st

from core import read_only, uploads
from core.errors import UserError
from core.wording import plain


def show(chosen: str) -> None:
    """The uploader; a new file becomes the value of `chosen`, a key of the session. In read-only mode there is none."""
    if read_only.active():
        return
    file = st.file_uploader(
        "Upload a data file",
        type=list(uploads.FORMATS),
        max_upload_size=uploads.LARGEST_MB,
        help="JSON, JSONL, CSV or Parquet.",
        key=f"{chosen}.upload",
    )
    if file is None:
        return
    try:
        kept = uploads.keep(file.name, file.getvalue())
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.success(f"Kept as {plain(str(kept))}.")
    if st.session_state.get(f"{chosen}.used") != file.file_id:
        st.session_state[f"{chosen}.used"] = file.file_id
        st.session_state[chosen] = str(kept)
