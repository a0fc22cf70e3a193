"""How does a YAML file become settings, or a line for each thing that is wrong with it?"""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from serve_app.config.problems import problem_lines
from serve_app.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """Return what stands in the file. Raises ConfigError if it cannot be read, or is not YAML."""
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from None


def validated(model: type[M], tree: Any) -> M:
    """Return the settings in `tree`, or raise ConfigError with one line for each thing that is wrong."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError([line for one in error.errors() for line in problem_lines(one)]) from None
