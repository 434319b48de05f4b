"""The CSV tables: one dataclass per table is its schema. Tables are long: a new metric adds rows, never columns.

A missing value is an empty cell; where a table has a `reason` column, it says why.
"""

from core.results.evaluating import Answer, AnswerScore, Claim, Comparison, Flag, Model, RouteWeight, Score
from core.results.judging import ArenaPair, AuditFigure, Theme, Verdict, Vote
from core.results.merging import Cosine, Fidelity, SurfacePoint, Trial
from core.results.rag import (
    Cell,
    Consistency,
    Document,
    EmbeddingFigure,
    Fix,
    Overlap,
    Passage,
    RagAnswer,
    RagQuestion,
    RetrievalScore,
    Retrieved,
    Support,
)
from core.results.table import Row, append, chunks, parse, read, write
from core.results.training import DataRow, Leak, Step, Token, ValidationRow

__all__ = [
    "ALL",
    "GENERAL",
    "OTHERS",
    "Answer",
    "AnswerScore",
    "ArenaPair",
    "AuditFigure",
    "Cell",
    "Claim",
    "Comparison",
    "Consistency",
    "Cosine",
    "DataRow",
    "Document",
    "EmbeddingFigure",
    "Fidelity",
    "Fix",
    "Flag",
    "Leak",
    "Model",
    "Overlap",
    "Passage",
    "RagAnswer",
    "RagQuestion",
    "RetrievalScore",
    "Retrieved",
    "RouteWeight",
    "Row",
    "Score",
    "Step",
    "Support",
    "SurfacePoint",
    "Theme",
    "Token",
    "Trial",
    "ValidationRow",
    "Verdict",
    "Vote",
    "append",
    "chunks",
    "parse",
    "read",
    "write",
]

ALL = "(all)"
"""The category of a row that stands for all categories together."""
OTHERS = "(others)"
"""In comparisons.csv: all categories together but the model's own."""
GENERAL = "(general)"
"""The category of rows about other matters, which count in no total: what a model forgot."""
