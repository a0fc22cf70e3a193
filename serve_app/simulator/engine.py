"""What does one engine do with its requests? Continuous batching, in steps that the cost model times.

As vLLM does it: each step takes a token (or a verified draft) of every sequence that is decoded, and fills
the rest of the token budget with pieces of prompts, first come, first served. Steps without prompts differ by
the growth of context alone, so that any number of them until something changes is one event.

Unlike vLLM, a sequence is admitted when the cache has room for its whole answer: nothing is ever preempted.
Every verify step yields the mean acceptance length.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from serve_app.simulator.step_times import StepTimes
from serve_app.types import ReplicaReport


@dataclass(slots=True, eq=False)
class Sequence:
    """One request in an engine."""

    number: int
    prompt_tokens: int
    answer_tokens: int
    num_read: int = 0
    """Tokens of the prompt that have been read."""
    num_steps: int = 0
    """Steps that its answer takes after the first token."""
    first_s: float = math.nan
    """When its first token came."""

    @property
    def num_tokens(self) -> int:
        """Places in the cache that it needs in the end."""
        return self.prompt_tokens + self.answer_tokens


@dataclass(frozen=True)
class EngineSpec:
    """What all replicas of a pool have in common."""

    times: StepTimes
    num_gpus: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_tokens: int
    acceptance: tuple[float, ...] = ()
    """For each draft position the share of steps that accept it; as many as there are draft tokens."""

    @property
    def draft_tokens(self) -> int:
        """Draft tokens a step."""
        return len(self.acceptance)

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens that a step yields a sequence."""
        return 1.0 + sum(self.acceptance)


@dataclass(eq=False)
class SimulatedEngine:
    """One replica; `ends_s` is when it has to be looked at next, infinity while it idles."""

    name: str
    spec: EngineSpec
    started_s: float = 0.0
    is_draining: bool = False
    waiting: deque[Sequence] = field(default_factory=deque)
    reading: deque[Sequence] = field(default_factory=deque)
    decoding: list[tuple[int, int, Sequence]] = field(default_factory=list)
    """A heap by the step that each ends in."""
    kv_used: int = 0
    kv_most: int = 0
    ends_s: float = math.inf
    version: int = 0
    """Counts the plans; an event of an older one is void."""
    _num_steps: int = 0
    _context_tokens: float = 0.0
    _pieces: list[tuple[Sequence, int]] = field(default_factory=list)
    _began_s: float = 0.0
    _planned: int = 0
    _first_step_s: float = 0.0
    _growth_s: float = 0.0
    _answer_tokens: float | None = None
    _per_token_s: float | None = None
    _batch_size: float | None = None

    @property
    def num_ongoing(self) -> int:
        """Requests that are here."""
        return len(self.waiting) + len(self.reading) + len(self.decoding)

    def add(self, sequence: Sequence, now_s: float) -> None:
        """Take a request; ValueError for one that the cache can never hold."""
        if sequence.num_tokens > self.spec.kv_tokens:
            raise ValueError(f"{sequence.num_tokens} tokens never fit into kv_tokens={self.spec.kv_tokens}")
        self.waiting.append(sequence)
        if self.ends_s == math.inf:
            self._plan(now_s)
        elif self._planned > 1 and self._fits(self.waiting[0]):
            self._cut(now_s)

    def advance(self) -> list[Sequence]:
        """Finish the steps that end now and plan the next; return the sequences that are complete."""
        now_s, spec, steps = self.ends_s, self.spec, self._planned
        self._num_steps += steps
        self._context_tokens += len(self.decoding) * spec.tokens_per_step * steps
        if self.decoding:
            self._per_token_s = (now_s - self._began_s) / steps / spec.tokens_per_step
            self._batch_size = float(len(self.decoding))
        done = []
        while self.decoding and self.decoding[0][0] <= self._num_steps:
            sequence = heapq.heappop(self.decoding)[2]
            context = sequence.prompt_tokens + 1 + spec.tokens_per_step * sequence.num_steps
            self._context_tokens -= context
            done.append(sequence)
        for sequence, num_tokens in self._pieces:
            sequence.num_read += num_tokens
            if sequence.num_read < sequence.prompt_tokens:
                continue
            self.reading.popleft()
            sequence.first_s = now_s
            sequence.num_steps = math.ceil((sequence.answer_tokens - 1) / spec.tokens_per_step)
            if sequence.num_steps == 0:
                done.append(sequence)
                continue
            self._context_tokens += sequence.prompt_tokens + 1
            end = self._num_steps + sequence.num_steps
            heapq.heappush(self.decoding, (end, sequence.number, sequence))
        for sequence in done:
            self.kv_used -= sequence.num_tokens
            mean = self._answer_tokens
            answer = float(sequence.answer_tokens)
            self._answer_tokens = answer if mean is None else mean + (answer - mean) / 16
        if not self.decoding:
            self._context_tokens = 0.0
        self._plan(now_s)
        return done

    def take_all(self) -> list[Sequence]:
        """Lose everything, as an engine that dies does; return what was here."""
        lost = [*self.waiting, *self.reading, *(entry[2] for entry in self.decoding)]
        self.waiting.clear()
        self.reading.clear()
        self.decoding.clear()
        self.kv_used, self._context_tokens, self.ends_s = 0, 0.0, math.inf
        self._pieces = []
        self.version += 1
        return lost

    def report(self) -> ReplicaReport:
        """Return what a real replica would say of itself."""
        unread = sum(one.prompt_tokens - one.num_read for one in self.reading)
        unread += sum(one.prompt_tokens for one in self.waiting)
        return ReplicaReport(
            self.name,
            num_ongoing=self.num_ongoing,
            num_running=len(self.reading) + len(self.decoding),
            num_waiting=len(self.waiting),
            kv_usage=self.kv_used / self.spec.kv_tokens,
            prefill_tokens=unread,
            batch_size=self._batch_size,
            per_token_s=self._per_token_s,
            answer_tokens=self._answer_tokens,
            acceptance=self.spec.acceptance,
            draft_tokens=self.spec.draft_tokens,
            is_draining=self.is_draining,
        )

    def _fits(self, sequence: Sequence) -> bool:
        running = len(self.reading) + len(self.decoding)
        return running < self.spec.max_num_seqs and self.kv_used + sequence.num_tokens <= self.spec.kv_tokens

    def _plan(self, now_s: float) -> None:
        """Admit what fits, and begin the next steps."""
        spec = self.spec
        while self.waiting and self._fits(self.waiting[0]):
            sequence = self.waiting.popleft()
            self.kv_used += sequence.num_tokens
            self.reading.append(sequence)
        self.kv_most = max(self.kv_most, self.kv_used)
        num_decoding, k = len(self.decoding), spec.draft_tokens
        room = max(1, spec.max_num_batched_tokens - num_decoding * (k + 1))
        self._pieces, num_read, pairs = [], 0, 0.0
        for sequence in self.reading:
            piece = min(room - num_read, sequence.prompt_tokens - sequence.num_read)
            if piece == 0:
                break
            self._pieces.append((sequence, piece))
            num_read += piece
            pairs += piece * (sequence.num_read + piece / 2)
        self.version += 1
        self._began_s = now_s
        if not num_decoding and not num_read:
            self._planned, self.ends_s = 0, math.inf
            return
        self._planned = 1 if num_read else self.decoding[0][0] - self._num_steps
        self._first_step_s = spec.times.step(num_decoding, self._context_tokens, k, num_read, pairs)
        self._growth_s = 0.0
        if num_decoding:
            self._growth_s = spec.times.context_s(num_decoding) * num_decoding * spec.tokens_per_step
        self.ends_s = now_s + self._duration_s(self._planned)

    def _duration_s(self, steps: int) -> float:
        """Return what so many steps take, each longer than the one before by what context grows."""
        return steps * self._first_step_s + self._growth_s * steps * (steps - 1) / 2

    def _cut(self, now_s: float) -> None:
        """End the planned steps with the one that is under way, since somebody waits to be admitted."""
        elapsed_s, growth_s = now_s - self._began_s, self._growth_s
        half = self._first_step_s - growth_s / 2
        root = math.sqrt(half * half + 2 * growth_s * elapsed_s)
        steps = max(1, math.floor(2 * elapsed_s / (half + root)))
        while self._duration_s(steps) < elapsed_s:
            steps += 1
        if steps < self._planned:
            self._planned = steps
            self.ends_s = self._began_s + self._duration_s(steps)
            self.version += 1
