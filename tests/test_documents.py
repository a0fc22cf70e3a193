"""Do the documents' links lead anywhere?"""

import re
from pathlib import Path

import pytest

from serve_app.config import PROJECT_ROOT

ROOMS = ("serve_app", "parallel", "deploy", "tests", "notebooks")
DOCUMENTS = sorted(
    [*PROJECT_ROOT.glob("*.md"), *(path for room in ROOMS for path in (PROJECT_ROOT / room).rglob("*.md"))]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """Return the fragments under which GitHub shows a document's headings."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(document: Path) -> list[str]:
    """Return the links to files that are not there, and to headings that no document has."""
    wrong = []
    for link in LINK.findall(document.read_text()):
        path, _, fragment = link.partition("#")
        if "://" in path:
            continue
        target = document.parent / path if path else document
        if not target.exists() or (fragment and fragment not in anchors(target.read_text())):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_links(document: Path) -> None:
    """Each is to a file of the project, and to one of its headings if it names one."""
    assert broken(document) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    """One to a file, and one to a heading; not those that lead somewhere."""
    (tmp_path / "other.md").write_text("# Where it's *at*\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](#here) [b](other.md#where-its-at) [c](#there) [d](none.md) [e](https://x.y/z)\n"
    )
    assert broken(page) == ["#there", "none.md"]
