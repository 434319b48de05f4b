"""Merge strategies and routers: one row each.

A strategy is a pure function of one layer, `(Layer, MergeConfig) -> Factor | Tensor`: a low-rank delta, or a full one [out, in] in
float64, which is brought to the merge's rank afterwards. Weights of 0 never reach it.
A router is a function of adapters, `(members, RouteConfig, Workspace) -> Fit`: what `core/routing.py` needs to weigh them.
"""

from core.registry import Entry

_FROM_QUESTIONS = ("data", "question_column", "answer_column", "category_column", "encoder")
"""Fields of routers that learn from a dataset."""

STRATEGIES = {
    "linear": Entry(
        "Linear: exact weighted sum",
        "core.merge.sums:linear",
        "Ilharco et al. 2022, Editing Models with Task Arithmetic, arXiv:2212.04089",
        "The weighted sum of the deltas, exact; its rank is the sum of the ranks.",
        "First, and for most mixes: what the console plays is exactly this.",
    ),
    "svd": Entry(
        "SVD: weighted sum at a chosen rank",
        "core.merge.sums:svd",
        "Eckart and Young 1936, The approximation of one matrix by another of lower rank, Psychometrika 1",
        "The best approximation of the exact weighted sum at the rank that you choose.",
        "A server limits the rank, or the file must be small.",
    ),
    "cat": Entry(
        "Cat: the factors side by side",
        "core.merge.sums:cat",
        "peft documentation, LoraModel.add_weighted_adapter, combination_type cat",
        "The same delta as linear, under the name that PEFT gives it.",
        "Another tool asks for it by this name.",
    ),
    "ties": Entry(
        "TIES: trim, elect signs, merge",
        "core.merge.sparse:ties",
        "Yadav et al. 2023, TIES-Merging: Resolving Interference When Merging Models, arXiv:2306.01708",
        "Keeps each delta's largest entries, elects a sign per entry by weight, and averages those that agree.",
        "Its paper's case: adapters that contradict each other. Compare it with linear, which often wins; the page Claims tests it.",
        ("density", "ties_lambda"),
    ),
    "dare_linear": Entry(
        "DARE: drop at random and rescale",
        "core.merge.sparse:dare_linear",
        "Yu et al. 2023, Language Models are Super Mario, arXiv:2311.03099",
        "Drops entries of each delta at random, scales the rest up by 1 / density, and sums by weight.",
        "Many adapters; on a few it adds noise.",
        ("density", "seed"),
    ),
    "dare_ties": Entry(
        "DARE + TIES",
        "core.merge.sparse:dare_ties",
        "Yu et al. 2023, Language Models are Super Mario, arXiv:2311.03099",
        "Drops at random and rescales as DARE does, then elects signs and averages as TIES does.",
        "As TIES, where the largest entries are not the ones that matter.",
        ("density", "ties_lambda", "seed"),
    ),
    "magnitude_prune": Entry(
        "Magnitude prune",
        "core.merge.sparse:magnitude_prune",
        "peft documentation, LoraModel.add_weighted_adapter, combination_type magnitude_prune",
        "Keeps each delta's largest entries and sums by weight.",
        "To see how many entries of a delta matter.",
        ("density",),
    ),
    "della": Entry(
        "DELLA: drop by magnitude, elect, merge",
        "core.merge.sparse:della",
        "Deep et al. 2024, DELLA-Merging: Reducing Interference through Magnitude-Based Sampling, arXiv:2406.11617",
        "Drops entries at random, small ones rather than large ones, rescales, elects signs and averages.",
        "As dare_ties, with less harm at a low density.",
        ("density", "della_epsilon", "ties_lambda", "seed"),
    ),
    "breadcrumbs": Entry(
        "Breadcrumbs: neither the largest nor the smallest",
        "core.merge.sparse:breadcrumbs",
        "Davari and Belilovsky 2023, Model Breadcrumbs, arXiv:2312.06795",
        "Cuts each delta's outliers and its small entries, and sums by weight.",
        "A few extreme entries of one adapter spoil the mix.",
        ("density", "breadcrumbs_gamma"),
    ),
    "sce": Entry(
        "SCE: select, calculate, erase",
        "core.merge.sparse:sce",
        "Wan et al. 2024, FuseChat: Knowledge Fusion of Chat Models, arXiv:2408.07990",
        "Keeps the entries in which the deltas differ most, weighs each delta by its energy there, and erases minority signs.",
        "Adapters of unequal strength.",
        ("density",),
    ),
    "knots": Entry(
        "KnOTS: aligned by SVD, then TIES",
        "core.merge.aligned:knots",
        "Stoica et al. 2024, Model merging with SVD to tie the KnOTS, arXiv:2410.19735",
        "Brings the deltas into one basis by a joint SVD, and merges there as TIES does.",
        "Adapters trained apart, whose entries do not correspond.",
        ("density", "ties_lambda"),
    ),
    "tsv": Entry(
        "TSV in core space",
        "core.merge.aligned:tsv",
        "Panariello et al. 2025, Accurate and Efficient Low-Rank Model Merging in Core Space, arXiv:2509.17786; "
        "Gargiulo et al. 2024, Task Singular Vectors, arXiv:2412.00081",
        "Makes the singular directions of the adapters orthogonal to each other, so that none drowns another, and sums by weight.",
        "Many adapters at full strength, where its paper reports the best merges of LoRA adapters; try linear first.",
    ),
}

ROUTERS = {
    "similarity": Entry(
        "Similarity: the nearest category",
        "core.merge.similarity:similarity",
        "Snell et al. 2017, Prototypical Networks for Few-shot Learning, arXiv:1703.05175; "
        "embeddings: Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084",
        "Weighs adapters by how near the question's embedding is to the mean of their train questions.",
        "Few train rows, or categories that come and go.",
        _FROM_QUESTIONS,
    ),
    "learned": Entry(
        "Learned: a softmax on the question",
        "core.merge.learned:learned",
        "Cox 1958, The Regression Analysis of Binary Sequences, JRSS B 20; temperature: Guo et al. 2017, arXiv:1706.04599",
        "Multinomial logistic regression on the question's embedding, trained on train rows, calibrated on validation rows.",
        "First, where there are some dozen train rows in each category.",
        _FROM_QUESTIONS,
    ),
    "arrow": Entry(
        "Arrow: token by token, layer by layer",
        "core.merge.arrow:arrow",
        "Ostapenko et al. 2024, Towards Modular LLMs by Building and Reusing a Library of LoRAs, arXiv:2405.11157",
        "Each token at each layer goes to the adapters whose delta's top singular direction it lies along.",
        "There is no data to learn from: it reads the adapters alone.",
    ),
}

APART = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
"""Strategies that factor space applies to A and B apart. svd and cat are the same in both spaces; the others are not in factor space."""

SPACES = {
    "delta": "on the full deltas s B A: exact",
    "factor": "on A and B apart, as peft's add_weighted_adapter does: approximate, for those who must reproduce it",
}
