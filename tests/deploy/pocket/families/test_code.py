"""Is the code of the answers Python?"""

import ast
from itertools import islice

from deploy.pocket.data import examples


def test_code_parses_and_uses_the_name() -> None:
    """Each answer is one block of valid Python with the words of the question."""
    for example in islice(examples(4, "train", ["code"]), 300):
        content = example.content or ""
        assert content.startswith("```python\n")
        assert content.endswith("\n```")
        ast.parse(content.removeprefix("```python\n").removesuffix("```"))
