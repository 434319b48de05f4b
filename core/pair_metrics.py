"""Figures of one pair of answers, for reading: words, shared words, chrF and BLEU of each with the reference. Light: sacrebleu inside."""

import pandas as pd


def figures(reference: str, answers: dict[str, str], f1: dict[str, float], losses: dict[str, float]) -> pd.DataFrame:
    """One row a figure, one column an answer. `f1`: core.word_overlap; `losses`: nats per token of the reference, where they are known.
    Without a reference the number of words alone.

    chrF (Popović 2015) and sentence BLEU (Papineni et al. 2002, smoothing exp) by sacrebleu, 0 to 100; BLEU of one sentence says little.
    """
    from sacrebleu import sentence_bleu, sentence_chrf

    words = {"words": {name: float(len(text.split())) for name, text in answers.items()}}
    if not reference.strip():
        return pd.DataFrame(words).T
    rows: dict[str, dict[str, float]] = {
        **words,
        "F1 of shared words": f1,
        "chrF": {name: sentence_chrf(text, [reference]).score for name, text in answers.items()},
        "sentence BLEU": {name: sentence_bleu(text, [reference]).score for name, text in answers.items()},
        "loss of the reference (nats per token)": losses,
    }
    return pd.DataFrame({name: values for name, values in rows.items() if values}).T
