"""Jobs: submit a config, follow it, cancel it, resume it. `local.py` runs them on this machine."""
