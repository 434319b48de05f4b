"""Datasets: read, map columns, split, check, and turn into token ids."""
