"""Share."""

from pages import parts

parts.enter()
parts.head("Share", "Under construction.")
