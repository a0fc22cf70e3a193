"""Do batches hold what was put in, and say of each token what it is to be learned of it?"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch

from deploy.pocket.batches import MAX_TEXT_TOKENS, PADDING_TOKEN, Batch, Source, cut, pack
from deploy.pocket.data import Encoded, Encoder, examples
from deploy.pocket.shape import END_OF_TEXT, IMAGE_TOKEN, Shape, write_tekken
from tests.deploy.pocket.test_shape import SMALL

BREAK, END = 12, 13


def text(rng: np.random.Generator, num_prompt: int, num_answer: int, *images: tuple[int, int]) -> Encoded:
    """A text of random words with images of so many merged rows and columns, each after a word."""
    prompt = rng.integers(END + 1, SMALL.vocab_size, num_prompt).tolist()
    for number, (rows, cols) in enumerate(images):
        one = ([IMAGE_TOKEN] * cols + [BREAK]) * rows
        place = 2 * number + sum(r * (c + 1) for r, c in images[:number]) + 1
        prompt[place:place] = [*one[:-1], END]
    answer = rng.integers(END + 1, SMALL.vocab_size, num_answer)
    answer[-1] = END_OF_TEXT
    return Encoded(
        tokens=np.array([*prompt, *answer], dtype=np.int32),
        num_prompt_tokens=len(prompt),
        images=tuple(
            rng.standard_normal((3, 28 * rows, 28 * cols)).astype(np.float32) for rows, cols in images
        ),
    )


def batch_of(*texts: Encoded, num_padding: int = 0, shape: Shape = SMALL) -> Batch:
    """Texts, each of a family of its own, and padding."""
    num_tokens = sum(len(one.tokens) for one in texts) + num_padding
    return pack(texts, [f"family.{number} none" for number in range(len(texts))], num_tokens, shape)


def some_texts() -> list[Encoded]:
    """Three texts, the first and the last with images."""
    rng = np.random.default_rng(0)
    return [text(rng, 4, 3, (2, 3)), text(rng, 5, 1), text(rng, 6, 4, (1, 2), (3, 1))]


def test_texts_stand_end_to_end() -> None:
    """A batch has all tokens in order, each text's positions from 0, and a span for each text."""
    texts = some_texts()
    batch = batch_of(*texts)
    assert batch.texts.tokens.tolist() == [token for one in texts for token in one.tokens]
    assert batch.texts.positions.tolist() == [place for one in texts for place in range(len(one.tokens))]
    assert batch.texts.spans.starts.diff().tolist() == [len(one.tokens) for one in texts]
    assert batch.families == ("family.0 none", "family.1 none", "family.2 none")


def test_answers_are_learned_and_nothing_else() -> None:
    """Targets are each text's answer to its end, and each has the token right before it for its predictor."""
    texts = some_texts()
    batch = batch_of(*texts, num_padding=9)
    for number, one in enumerate(texts):
        mine = batch.owners == number
        assert batch.targets[mine].tolist() == one.tokens[one.num_prompt_tokens :].tolist()
        wanted = np.arange(one.num_prompt_tokens - 1, len(one.tokens) - 1) + int(
            batch.texts.spans.starts[number]
        )
        assert batch.predictors[mine].tolist() == wanted.tolist()
    assert len(batch.owners) == len(batch.targets) == len(batch.predictors) == 3 + 1 + 4


def test_padding_is_apart() -> None:
    """It fills up with a token of its own, in spans that are no longer than a text may be."""
    num_padding = 2 * MAX_TEXT_TOKENS + 5
    batch = batch_of(*some_texts(), num_padding=num_padding)
    assert batch.texts.spans.starts.diff().tolist()[3:] == [MAX_TEXT_TOKENS, MAX_TEXT_TOKENS, 5]
    assert batch.texts.spans.longest == MAX_TEXT_TOKENS
    assert (batch.texts.tokens[-num_padding:] == PADDING_TOKEN).all()
    assert (batch.texts.positions[-num_padding:] < SMALL.max_positions).all()
    assert batch.predictors.max() < len(batch.texts.tokens) - num_padding - 1


def test_too_many_texts_are_refused() -> None:
    """A batch never loses a token in silence."""
    with pytest.raises(AssertionError, match=r"\(\d+, 20\)"):
        pack(some_texts(), ["a", "b", "c"], 20, SMALL)


def test_images_have_a_slot_for_each_four_patches() -> None:
    """Slots are the images' tokens in order, as many as there are merged patches of all texts."""
    batch = batch_of(*some_texts())
    images, slots = batch.texts.images, batch.texts.image_slots
    assert images is not None
    assert slots.tolist() == [
        n for n, token in enumerate(batch.texts.tokens.tolist()) if token == IMAGE_TOKEN
    ]
    assert images.spans.starts.tolist() == [0, 24, 24 + 8, 24 + 8 + 12]
    assert len(images.pixels) == 44 == 4 * len(slots)
    assert images.spans.longest == (SMALL.max_image_size // SMALL.patch_size) ** 2
    assert batch_of(text(np.random.default_rng(0), 3, 2)).texts.images is None


def test_patches_are_cut_row_by_row() -> None:
    """Each patch knows its place and has that place's pixels, colour by colour as the tower's kernel."""
    image = np.random.default_rng(0).standard_normal((3, 28, 56)).astype(np.float32)
    images = cut([image, image], SMALL)
    assert images is not None
    assert images.rows.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] * 2
    assert images.cols.tolist() == [0, 1, 2, 3] * 4
    for pixels, row, col in zip(images.pixels, images.rows.tolist(), images.cols.tolist(), strict=True):
        wanted = image[:, 14 * row : 14 * row + 14, 14 * col : 14 * col + 14]
        assert pixels.tolist() == wanted.flatten().tolist()


def test_patches_merge_by_squares() -> None:
    """Four neighbours come after each other, squares row by row, each image behind the one before."""
    images = cut([np.zeros((3, 28, 56), np.float32), np.zeros((3, 56, 56), np.float32)], SMALL)
    assert images is not None
    wide = [0, 1, 4, 5, 2, 3, 6, 7]
    square = [*wide, *(8 + place for place in wide)]
    assert images.merge_order.tolist() == wide + [8 + place for place in square]


def test_prompts_and_answers_are_the_texts() -> None:
    """Without their answers texts are prompts; with the right ones they are as they were, but for padding."""
    texts = some_texts()
    batch = batch_of(*texts, num_padding=7)
    prompts = batch.prompts()
    assert [x.tolist() for x in prompts] == [x.tokens[: x.num_prompt_tokens].tolist() for x in texts]
    again = batch.with_answers([torch.from_numpy(x.tokens[x.num_prompt_tokens :]).long() for x in texts])
    plain = batch_of(*texts).texts
    for name in ("tokens", "positions", "image_slots"):
        assert getattr(again, name).tolist() == getattr(plain, name).tolist()
    assert again.spans.starts.tolist() == plain.spans.starts.tolist()
    assert again.images is batch.texts.images


def test_other_answers_have_other_lengths() -> None:
    """Texts begin where they must, and an image's token in an answer is no slot: no image is behind it."""
    batch = batch_of(*some_texts(), num_padding=7)
    answers = [
        torch.tensor([20, IMAGE_TOKEN, 21, 22, 23]),
        torch.tensor([24, 2]),
        torch.tensor([IMAGE_TOKEN]),
    ]
    read = batch.with_answers(answers)
    starts = read.spans.starts.tolist()
    for prompt, answer, start, end in zip(batch.prompts(), answers, starts, starts[1:], strict=False):
        assert read.tokens[start:end].tolist() == [*prompt.tolist(), *answer.tolist()]
        assert read.positions[start:end].tolist() == list(range(end - start))
    assert starts[-1] == len(read.tokens)
    assert read.spans.longest == max(read.spans.starts.diff().tolist())
    assert len(read.image_slots) == len(batch.texts.image_slots)
    assert (read.tokens[read.image_slots] == IMAGE_TOKEN).all()


def test_a_moved_batch_is_the_same() -> None:
    """Every tensor of it goes along."""
    batch = batch_of(*some_texts())
    there = batch.to(torch.device("meta"))
    for name in ("predictors", "targets", "owners"):
        assert getattr(there, name).is_meta
        assert getattr(there, name).shape == getattr(batch, name).shape
    assert there.texts.tokens.is_meta
    assert there.families == batch.families


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Batches of a thousand tokens of the real data."""
    file = tmp_path_factory.mktemp("source") / "tekken.json"
    write_tekken(Shape(), file)
    return Source(file, 1000, Shape())


def tokens_of(batches: Iterator[Batch], num_batches: int = 2) -> list[list[int]]:
    """The tokens of the next few batches."""
    return [batch.texts.tokens.tolist() for batch in islice(batches, num_batches)]


def test_the_seed_decides(source: Source) -> None:
    """Equal seeds give equal batches, others do not, nor does the other split."""
    first = tokens_of(source.batches(1, "train"))
    assert tokens_of(source.batches(1, "train")) == first
    assert tokens_of(source.batches(2, "train")) != first
    assert tokens_of(source.batches(1, "held_out")) != first


def test_no_example_is_lost_between_batches(source: Source) -> None:
    """One batch after the other has the examples of a seed in order, of their families and efforts."""
    encoder = Encoder(source.tekken)
    wanted = examples(3, "train")
    for batch in islice(source.batches(3, "train"), 3):
        assert len(batch.texts.tokens) == 1000
        starts = batch.texts.spans.starts.tolist()
        for family, start, end in zip(batch.families, starts, starts[1:], strict=False):
            example = next(wanted)
            assert family == f"{example.family} {example.effort}"
            assert batch.texts.tokens[start:end].tolist() == encoder.encode(example).tokens.tolist()


def test_without_workers_batches_are_made_here(source: Source) -> None:
    """The stream of a seed is then that of the first worker."""
    assert tokens_of(source.stream(5, 0)) == tokens_of(source.batches(5000, "train"))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_each_worker_has_a_seed_of_its_own(source: Source) -> None:
    """Whichever of two workers is ready comes next, from one of two streams, and nothing comes twice."""
    ours = [tokens_of(source.batches(5000 + number, "train"), 10) for number in range(2)]
    theirs = tokens_of(source.stream(5, 2), 10)
    found = [[batch for batch in theirs if batch in one] for one in ours]
    assert len(found[0]) + len(found[1]) == 10
    for mine, one in zip(found, ours, strict=True):
        assert mine == one[: len(mine)]
