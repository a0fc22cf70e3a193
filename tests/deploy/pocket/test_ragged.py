"""Do sequences that stand end to end stay apart?"""

import pytest
import torch
from torch import Tensor

from deploy.pocket.ragged import Images, Spans, Texts, moved

LENGTHS = [3, 1, 5]


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """Softmax attention of one sequence, place by place and head by head."""
    out = torch.zeros(len(q), q.shape[1], v.shape[2])
    for place in range(len(q)):
        end = place + 1 if causal else len(q)
        for head in range(q.shape[1]):
            scores = k[:end, head] @ q[place, head] / q.shape[2] ** 0.5
            out[place, head] = scores.softmax(0) @ v[:end, head]
    return out


def test_spans_of_lengths() -> None:
    """They begin where the one before ends; a bound on the longest may be given."""
    spans = Spans.of(LENGTHS)
    assert spans.starts.tolist() == [0, 3, 4, 9]
    assert spans.starts.dtype == torch.int32
    assert spans.longest == 5
    assert Spans.of(LENGTHS, 8).longest == 8


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_within_each_sequence(causal: bool) -> None:
    """It is that of each sequence alone, forward only where told, with values of another width than keys."""
    torch.manual_seed(0)
    q, k, v = torch.randn(9, 2, 4), torch.randn(9, 2, 4), torch.randn(9, 2, 6)
    parts = zip(q.split(LENGTHS), k.split(LENGTHS), v.split(LENGTHS), strict=True)
    wanted = torch.cat([attention(*part, causal=causal) for part in parts])
    torch.testing.assert_close(Spans.of(LENGTHS).attend(q, k, v, causal=causal), wanted)


def test_moved_takes_every_tensor_along() -> None:
    """Tensors at any depth change their device, and everything else stays."""
    one = torch.zeros(2)
    images = Images(one, one, one, Spans(one, 7), one)
    texts = Texts(one, one, Spans(one, 5), images, one)
    there = moved(texts, torch.device("meta"))
    assert there.images is not None
    for value in (there, there.spans, there.images, there.images.spans):
        tensors = [part for part in vars(value).values() if isinstance(part, Tensor)]
        assert tensors
        assert all(tensor.is_meta for tensor in tensors)
    assert (there.spans.longest, there.images.spans.longest) == (5, 7)
    assert moved(Texts(one, one, Spans(one, 5), None, one), torch.device("meta")).images is None
