"""Python imports this at start when the folder is on PYTHONPATH: so every process of a test knows the verb 'nap'."""

from naps import NAPS

from core.verbs import VERBS

VERBS.update(NAPS)
