"""The console's files: who gets them, and what a browser may do with them."""

import re
from pathlib import Path

import pytest

from serve_app.config import Ingress
from serve_app.ingress import pages
from tests.serve_app.samples import api, client, system

FILES = sorted(path.name for path in pages.FOLDER.iterdir())


async def test_the_page_comes_without_a_key(tmp_path: Path) -> None:
    """There is nothing in it to protect; the API behind it asks for the key."""
    keys = tmp_path / "keys.yaml"
    keys.write_text("tenants: []")
    limits = Ingress.model_validate({"auth": {"keys_file": str(keys)}})
    async with client(api(system({}), limits=limits)) as http:
        moved = await http.get("/console")
        page = await http.get("/console/")
        assert (await http.get("/venturi/pools")).status_code == 401
    assert (moved.status_code, moved.headers["location"]) == (307, "console/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_locked_down(name: str) -> None:
    """Scripts and styles come from this server alone, and no string becomes either."""
    async with client(api(system({}))) as http:
        answer = await http.get(f"/console/{name}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not re.search(r"unsafe|https?:|\*", policy)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No file names another host, and no text is put in as markup."""
    text = (pages.FOLDER / name).read_text()
    assert not re.search(r"https?://|(?<![:/])//\w+\.", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


@pytest.mark.parametrize("path", ["/console/../pages.py", "/console/%2e%2e/pages.py", "/console/none.js"])
async def test_there_is_nothing_else(path: str) -> None:
    """Other paths are unknown, in the form of every other error."""
    async with client(api(system({}))) as http:
        answer = await http.get(path)
    assert answer.status_code in (401, 404)
    assert "error" in answer.json()
