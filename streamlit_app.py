"""Lyceum's app: navigation over pages/, the status line, and errors that are shown as they stand."""

from pages import frame

frame.app()
