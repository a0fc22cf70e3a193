"""Do the notebooks that need no system run, do they draw what the docs show, and is their list whole?"""

import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageDraw

from tests.notebooks.figures import differences
from tests.notebooks.running import ALL, ALONE, FOLDER, OF_A_SYSTEM, run

FIGURES = FOLDER / "figures"


def _name(path: Path) -> str:
    return path.name


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the notebooks that run here put their figures."""
    return tmp_path_factory.mktemp("figures")


@pytest.mark.parametrize("path", ALONE, ids=_name)
def test_notebook_runs_without_a_system(path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs; the notebooks assert what they claim."""
    monkeypatch.setenv("VENTURI_FIGURES", str(drawn))
    run(path)


def test_committed_figures_are_what_the_notebooks_draw(drawn: Path) -> None:
    """If one has changed, run its notebook (it writes to notebooks/figures), look at it, and commit it."""
    names = sorted(path.name for path in drawn.iterdir())
    if not names:
        pytest.skip("the notebooks have not run")
    changed = {name: list(differences(FIGURES / name, drawn / name)) for name in names}
    assert not {name: found for name, found in changed.items() if found}


def test_every_committed_figure_is_drawn() -> None:
    """None is left over from a notebook that draws it no more."""
    sources = "".join(path.read_text() for path in ALL)
    assert all(f'FIGURES / \\"{path.name}\\"' in sources for path in FIGURES.iterdir())


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_outputs_are_stripped(path: Path) -> None:
    """A committed notebook has no outputs: they would go stale, and diffs could not be read."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_notebook_begins_with_its_question(path: Path) -> None:
    """The first cell is a heading that asks."""
    first = nbformat.read(path, as_version=4).cells[0]
    assert re.match(r"# .+\?\n", first.source)


def test_notebooks_are_listed() -> None:
    """notebooks/README.md names each of them, with its question."""
    listed = (FOLDER / "README.md").read_text()
    for path in ALL:
        question = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        assert f"| [{path.stem}]({path.name}) | {question} |" in listed


@pytest.mark.parametrize("path", [*ALL, FOLDER / "README.md"], ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    """Files that text and pictures of the notebooks point to exist."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("http") or (FOLDER / target).exists(), target


def test_only_the_first_two_need_a_system() -> None:
    """The others are read on any laptop."""
    assert [path.name[:2] for path in OF_A_SYSTEM] == ["01", "02"]


def test_a_changed_figure_is_noticed(tmp_path: Path) -> None:
    """A word, a point or an area that is another one; not an id."""
    committed = FIGURES / "speculation-valley.svg"
    text, changed = committed.read_text(), tmp_path / committed.name
    changed.write_text(re.sub(r'id="(\w+)"', r'id="x\1"', text))
    assert not list(differences(committed, changed))
    changed.write_text(text.replace("tokens a step", "tokens a day"))
    assert [found.split(":")[0] for found in differences(committed, changed)] == ["words"]
    changed.write_text(re.sub(r"M (\d+)\.", lambda found: f"M {int(found[1]) + 9}.", text))
    assert [found.split(":")[0] for found in differences(committed, changed)] == ["points"]
    picture = FIGURES / "expert-load.png"
    other = Image.open(picture).convert("RGB")
    ImageDraw.Draw(other).rectangle((100, 50, 400, 150), fill="black")
    other.save(tmp_path / picture.name)
    assert not list(differences(picture, picture))
    assert [found.split(":")[0] for found in differences(picture, tmp_path / picture.name)] == ["pixels"]
