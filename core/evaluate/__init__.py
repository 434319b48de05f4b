"""Evaluating: which models answered best on held-out questions, and where the difference is real."""
