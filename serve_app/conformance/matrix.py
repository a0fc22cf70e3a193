"""Which cells has the matrix, and what comes of each?"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from serve_app.conformance.answer import Answer
from serve_app.conformance.cases import CASES, RAW, Case
from serve_app.conformance.dialects import DIALECTS, Ask, Dialect
from serve_app.conformance.mistakes import MISTAKES, Mistake
from serve_app.conformance.part import Malformed, Part, short
from serve_app.conformance.server import Broken, Refused, Server

EFFORTS = ("none", "high")
NO_EFFORT = "-"
HOWS = ("whole", "stream")


class Outcome(Enum):
    """What came of a cell."""

    OK = "ok"
    WRONG = "WRONG"
    """The server answered well, and the model did not."""
    FAILED = "FAILED"
    """The server did not answer, or not as the dialect says."""
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Cell:
    """One thing to ask, in one way."""

    dialect: Dialect
    effort: str
    how: str
    case: Case | Mistake

    @property
    def name(self) -> str:
        """How it is called, and chosen by `--only`."""
        return f"{self.dialect.name} {self.effort} {self.how} {self.case.name}"


@dataclass(frozen=True)
class Row:
    """What came of one cell, and why; of one that is ok, what is to be said of it nevertheless."""

    cell: Cell
    outcome: Outcome
    reason: str
    seconds: float


def cells(only: str = "") -> list[Cell]:
    """The cells in whose names all words of `only` occur, in the order of asking."""
    words = set(only.split())
    return [cell for cell in _all_cells() if words <= set(cell.name.split())]


def _all_cells() -> Iterator[Cell]:
    for dialect in DIALECTS:
        efforts = (NO_EFFORT,) if dialect.is_raw else EFFORTS
        cases: Iterable[Case] = (RAW,) if dialect.is_raw else CASES
        for effort in efforts:
            for case in cases:
                yield from (Cell(dialect, effort, how, case) for how in HOWS)
        for mistake in MISTAKES:
            if not (mistake.needs_effort and dialect.is_raw):
                yield from (Cell(dialect, NO_EFFORT, how, mistake) for how in HOWS)


class Matrix:
    """Asks a server cell by cell, and remembers what later cells are compared with."""

    def __init__(
        self, server: Server, model: str, too_many: int, max_tokens: int, structure_only: bool = False
    ) -> None:
        """`too_many` tokens are more than a prompt may have."""
        self._server = server
        self._model = model
        self._too_many = too_many
        self._max_tokens = max_tokens
        self._structure_only = structure_only
        self._offered: dict[str, bool] = {}
        self._known_efforts: set[tuple[str, str]] = set()
        self._unknown_efforts: dict[tuple[str, str], str] = {}
        self._wholes: dict[str, Answer | None] = {}

    def row(self, cell: Cell) -> Row:
        """Ask one cell."""
        began_s = time.monotonic()
        try:
            outcome, reason = self._came_of(cell)
        except (Malformed, Refused, Broken) as error:
            outcome, reason = Outcome.FAILED, str(error)
        return Row(cell, outcome, reason, time.monotonic() - began_s)

    def _came_of(self, cell: Cell) -> tuple[Outcome, str]:
        dialect, effort = cell.dialect, cell.effort
        if dialect.name not in self._offered:
            self._offered[dialect.name] = self._server.offers(dialect, self._model)
        if not self._offered[dialect.name]:
            return Outcome.SKIPPED, "not offered"
        if isinstance(cell.case, Mistake):
            return self._refused(cell, cell.case)
        asked = (dialect.name, effort)
        if asked not in self._unknown_efforts:
            try:
                found = self._answered(dialect, effort, cell.case, cell.how)
            except Refused as refusal:
                # One that has answered at this effort knows it, whatever words its refusals quote.
                if asked in self._known_efforts or not _is_about_effort(refusal):
                    raise
                self._unknown_efforts[asked] = str(refusal)
            else:
                self._known_efforts.add(asked)
                return found
        return Outcome.SKIPPED, f"effort {effort} not known: {self._unknown_efforts[asked]}"

    def _answered(self, dialect: Dialect, effort: str, case: Case, how: str) -> tuple[Outcome, str]:
        ask = Ask(self._model, case, effort, self._max_tokens)
        answer = self._answer(dialect, ask, how)
        outcome, reason = Outcome.OK, ""
        if how == "stream":
            outcome, reason = self._compared(dialect, ask, answer)
        if outcome is Outcome.OK and not self._structure_only:
            wrong = case.wrong(answer, effort)
            return (Outcome.WRONG, wrong) if wrong else (outcome, reason)
        return outcome, reason

    def _answer(self, dialect: Dialect, ask: Ask, how: str) -> Answer:
        if how == "stream":
            answer = dialect.streamed(self._server.streamed(dialect, ask))
        else:
            answer = dialect.whole(self._server.whole(dialect, ask))
        answer.check(ask.effort)
        if how == "whole":
            self._wholes.setdefault(_key(dialect, ask), answer)
        return answer

    def _compared(self, dialect: Dialect, ask: Ask, streamed: Answer) -> tuple[Outcome, str]:
        """Whether a stream says what the whole answer does.

        Where it does not, the whole is asked for once more: an engine whose arithmetic depends on what else
        it computes does not repeat itself even at temperature 0, and then nothing follows from it.
        """
        key = _key(dialect, ask)
        if key not in self._wholes:
            self._wholes[key] = self._whole_again(dialect, ask)
        whole = self._wholes[key]
        if whole is None:
            return Outcome.OK, "not compared: there is no whole answer"
        difference = _difference(whole, streamed)
        if difference is None:
            return Outcome.OK, ""
        again = self._whole_again(dialect, ask)
        if again is not None and _difference(whole, again) is None:
            return Outcome.FAILED, f"the stream differs from the whole answer: {difference}"
        return Outcome.OK, f"the server does not repeat itself: {difference}"

    def _whole_again(self, dialect: Dialect, ask: Ask) -> Answer | None:
        """A whole answer that is asked for only to compare with; its faults belong to a cell of its own."""
        try:
            answer = dialect.whole(self._server.whole(dialect, ask))
        except (Malformed, Refused, Broken):
            return None
        return answer

    def _refused(self, cell: Cell, mistake: Mistake) -> tuple[Outcome, str]:
        right = Ask(self._model, RAW, EFFORTS[0], self._max_tokens)
        ask = mistake.make(right, self._too_many)
        allowed = " or ".join(map(str, mistake.statuses))
        try:
            if cell.how == "stream":
                found = self._server.streamed(cell.dialect, ask)
                said = found[0].data if found else "nothing"
            else:
                said = str(self._server.whole(cell.dialect, ask).value)
        except Refused as refusal:
            if refusal.status not in mistake.statuses:
                return Outcome.FAILED, f"must be refused with {allowed}, not {refusal}"
            cell.dialect.form.message(refusal.status, Part.parsed(refusal.body))
            return Outcome.OK, ""
        return Outcome.FAILED, f"must be refused with {allowed}, but is answered: {short(said)}"


def _key(dialect: Dialect, ask: Ask) -> str:
    return f"{dialect.name} {ask.effort} {ask.case.name}"


def _is_about_effort(refusal: Refused) -> bool:
    said = refusal.body.lower()
    return refusal.status in (400, 422) and (b"effort" in said or b"thinking" in said)


def _difference(whole: Answer, other: Answer) -> str | None:
    """What two answers to one question differ in; reasoning is not compared."""
    for what, left, right in (
        ("text", whole.text, other.text),
        ("calls", whole.calls, other.calls),
        ("finish reason", whole.finish, other.finish),
        ("prompt tokens", whole.usage.num_prompt_tokens, other.usage.num_prompt_tokens),
    ):
        if left != right:
            return f"{what} {short(left)} and {short(right)}"
    return None
