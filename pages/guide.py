"""Guide."""

from pages import parts

parts.enter()
parts.head("Guide", "Under construction.")
