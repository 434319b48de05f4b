"""Lyceum's core: the pages and the command line submit a config; everything else happens here.

The light half (config, errors, paths, registry, runs, jobs, store, results, charts, verbs) never imports torch.
The heavy half: data/ (read, split, prompt), models/ (base models, generation, losses, embeddings, chat),
adapter.py and bank.py (low-rank adapters on one frozen base), and the families train/, merge/, evaluate/, judge/ and serve/,
which don't import each other (but serve/ uses merge/).
"""
