"""What do the arrival times of tokens say of an engine's speed?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median


@dataclass
class Stream:
    """One request: when it was sent, and when how many tokens of its answer came. Seconds of one clock."""

    sent_s: float
    events: list[tuple[float, int]] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        """Tokens of the answer so far."""
        return sum(number for _, number in self.events)


@dataclass(frozen=True)
class Figures:
    """Some requests that were sent at once."""

    requests: int
    num_tokens: int
    duration_s: float
    """From the first request to the last token."""
    window_s: float
    """How long all requests were decoded at once: from the last first token to the first last one."""
    user_tokens_per_s: float
    """What a request got within the window; 0 if there was none."""
    step_ms: float
    """Median time between two arrivals of one request within the window; 0 if there was none."""
    tokens_a_step: float
    """Mean tokens of an arrival within the window; under speculation the acceptance length. Above that, the
    process that reads was too slow to tell steps apart."""
    first_token_s: float
    """Median."""
    last_first_token_s: float
    """The slowest."""

    @property
    def total_tokens_per_s(self) -> float:
        """Output tokens a second of all requests, with the reading of their prompts."""
        return self.num_tokens / self.duration_s


def figures(streams: Sequence[Stream]) -> Figures:
    """Sum up requests that were sent at once; ValueError for one without an answer."""
    if not streams or not all(stream.events for stream in streams):
        raise ValueError(f"{sum(not stream.events for stream in streams)} of {len(streams)} have no answer")
    began_s = min(stream.sent_s for stream in streams)
    ended_s = max(stream.events[-1][0] for stream in streams)
    opens_s = max(stream.events[0][0] for stream in streams)
    closes_s = min(stream.events[-1][0] for stream in streams)
    window_s = max(0.0, closes_s - opens_s)
    inside = [[event for event in stream.events if opens_s < event[0] <= closes_s] for stream in streams]
    arrivals = [number for events in inside for _, number in events]
    gaps = [later[0] - earlier[0] for events in inside for earlier, later in pairwise(events)]
    firsts = [stream.events[0][0] - stream.sent_s for stream in streams]
    return Figures(
        requests=len(streams),
        num_tokens=sum(stream.num_tokens for stream in streams),
        duration_s=ended_s - began_s,
        window_s=window_s,
        user_tokens_per_s=sum(arrivals) / window_s / len(streams) if window_s else 0.0,
        step_ms=1000 * median(gaps) if gaps else 0.0,
        tokens_a_step=fmean(arrivals) if arrivals else 0.0,
        first_token_s=median(firsts),
        last_first_token_s=max(firsts),
    )


def together(parts: Sequence[Figures]) -> Figures:
    """Replicas that were sent their shares at once, as one; means are weighted by requests."""
    requests = sum(part.requests for part in parts)

    def mean(name: str) -> float:
        return sum(part.requests * float(getattr(part, name)) for part in parts) / requests

    return Figures(
        requests=requests,
        num_tokens=sum(part.num_tokens for part in parts),
        duration_s=max(part.duration_s for part in parts),
        window_s=min(part.window_s for part in parts),
        user_tokens_per_s=mean("user_tokens_per_s"),
        step_ms=mean("step_ms"),
        tokens_a_step=mean("tokens_a_step"),
        first_token_s=mean("first_token_s"),
        last_first_token_s=max(part.last_first_token_s for part in parts),
    )
