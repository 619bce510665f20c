"""A headline: what a notebook has found, for the summary of the report.

Apart from the report itself, because that needs nbformat, whose import takes 2 s.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtests.sentences import Sentence

HEADLINE = "application/vnd.backend-lab.headline+json"


@dataclass(frozen=True)
class Headline:
    """A result for the summary, as question and answer. As the last expression of a cell it is shown in both places.

    The answer is one plain sentence; `numbers` are for a second glance. What is `more` than the exercise asks stands
    below its questions. If it is not `said`, the answer is why this run could not tell; these come last.
    """

    question: str
    answer: str
    numbers: str = ""
    more: bool = False
    said: bool = True

    @classmethod
    def of(cls, question: str, sentence: "Sentence", numbers: str = "", *, more: bool = False) -> "Headline":
        """The headline of what was measured."""
        return cls(question, sentence.text, numbers, more, sentence.said)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        numbers = f" ({self.numbers})" if self.numbers else ""
        where = {"more": True} if self.more else {}
        where |= {} if self.said else {"said": False}
        return {
            "text/plain": f"{self.question} {self.answer}{numbers}",
            "text/markdown": f"> **{self.question}** {self.answer}{numbers}",
            HEADLINE: {"question": self.question, "answer": self.answer}
            | ({"numbers": self.numbers} if self.numbers else {})
            | where,
        }
