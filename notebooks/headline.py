"""A headline: what a notebook has found, for the summary of the report.

Apart from the report itself, because that needs nbformat, whose import takes 2 s.
"""

from dataclasses import dataclass
from typing import Any

HEADLINE = "application/vnd.backend-lab.headline+json"


@dataclass(frozen=True)
class Headline:
    """A result for the summary, as question and answer. As the last expression of a cell it is shown in both places."""

    question: str
    answer: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            "text/plain": f"{self.question} {self.answer}",
            "text/markdown": f"> **{self.question}** {self.answer}",
            HEADLINE: {"question": self.question, "answer": self.answer},
        }
