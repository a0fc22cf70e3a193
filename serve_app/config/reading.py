"""How does a YAML file become settings, or a line for each thing that is wrong with it?"""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from serve_app.config.problems import problem_lines
from serve_app.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

MERGE = "tag:yaml.org,2002:merge"
"""YAML's tag of `<<`."""


def read_yaml(path: Path) -> Any:
    """Return what stands in the file. Raises ConfigError if it cannot be read, or is not YAML.

    A key that stands twice in one mapping is refused: the first one would be lost without a word.
    """
    try:
        loader = YamlLoader(path.read_bytes())
        try:
            tree = loader.get_single_data()
        finally:
            loader.dispose()
        if loader.twice:
            key = loader.twice[0]
            raise yaml.constructor.ConstructorError(None, None, stands_twice(key), key.start_mark)
        return tree
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from None


class YamlLoader(yaml.SafeLoader):
    """YAML as `safe_load` reads it, which notes the keys that stand twice in one mapping."""

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self.twice: list[yaml.ScalarNode] = []
        """Of each such pair the later one; complete once the tree is there."""
        self._looked_at: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Look before those that are merged in (`<<`) stand beside the mapping's own."""
        names: set[str] = set()
        keys = (key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != MERGE)
        for key in keys if id(node) not in self._looked_at else ():
            if key.value in names:
                self.twice.append(key)
            names.add(key.value)
        self._looked_at.add(id(node))
        super().flatten_mapping(node)


def stands_twice(key: yaml.ScalarNode) -> str:
    """Say what is wrong with a key of `YamlLoader.twice`."""
    return f"{key.value!r} stands twice in one mapping"


def validated(model: type[M], tree: Any) -> M:
    """Return the settings in `tree`, or raise ConfigError with one line for each thing that is wrong."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError([line for one in error.errors() for line in problem_lines(one)]) from None
