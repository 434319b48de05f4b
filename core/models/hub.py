"""The Hugging Face hub: one short look whether it answers, because its clients try again and again for a minute."""

import os

PATIENCE_SECONDS = 5.0


def settle() -> None:
    """Where the hub doesn't answer, use its cache alone from now on in this process: as if HF_HUB_OFFLINE=1 had been set."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_SECONDS)
    except Exception:  # unreachable, whatever the client of the day calls it
        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"
