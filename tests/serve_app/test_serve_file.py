"""A serve YAML: what is read from it, and what is wrong with a broken one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config import read_yaml
from serve_app.errors import ConfigError
from serve_app.serve_file import ServeFile, load
from tests.serve_app.samples import args

APPLICATION = {"name": "venturi", "route_prefix": "/", "import_path": "serve_app.app:build", "args": args()}
TREE: dict[str, Any] = {
    "http_options": {"host": "127.0.0.1", "port": 8123},
    "applications": [APPLICATION],
}


def written(folder: Path, tree: object) -> Path:
    """Return a file with this tree in it."""
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def problems(path: Path) -> list[str]:
    """Return the lines with which a file is refused."""
    with pytest.raises(ConfigError) as refused:
        load(path)
    return refused.value.problems


def test_load(tmp_path: Path) -> None:
    """A file gives our settings, and where its application will be."""
    file = load(written(tmp_path, TREE))
    assert list(file.settings.pools) == ["throughput", "latency"]
    assert (file.host, file.port, file.route_prefix) == ("127.0.0.1", 8123, "/")


def test_defaults_are_ray_serves(tmp_path: Path) -> None:
    """What a file leaves out is as Ray Serve will have it."""
    application = {"import_path": "serve_app.app:build", "args": args()}
    file = load(written(tmp_path, {"applications": [application]}))
    assert (file.host, file.port, file.route_prefix) == ("0.0.0.0", 8000, "/")


def test_values_are_as_ray_serve_reads_them(tmp_path: Path) -> None:
    """A port in quotes is a port."""
    assert load(written(tmp_path, TREE | {"http_options": {"port": "8001"}})).port == 8001


@pytest.mark.parametrize(
    ("host", "route_prefix", "url"),
    [
        ("127.0.0.1", "/", "http://127.0.0.1:8000"),
        ("0.0.0.0", "/", "http://127.0.0.1:8000"),
        ("::", "/", "http://[::1]:8000"),
        ("::1", "/", "http://[::1]:8000"),
        ("10.0.0.7", "/venturi", "http://10.0.0.7:8000/venturi"),
        ("10.0.0.7", "/venturi/", "http://10.0.0.7:8000/venturi"),
    ],
)
def test_url(tmp_path: Path, host: str, route_prefix: str, url: str) -> None:
    """A client on this machine reaches what listens everywhere at the loopback address."""
    settings = load(written(tmp_path, TREE)).settings
    assert ServeFile(tmp_path, settings, host, 8000, route_prefix).url == url


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that cannot be read is refused with its path and the reason."""
    assert problems(tmp_path / "no.yaml") == [f"{tmp_path / 'no.yaml'}: No such file or directory"]
    assert problems(tmp_path) == [f"{tmp_path}: Is a directory"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1", "not YAML: while parsing a flow sequence"),
        (b"a: 1\n\tb: 2", "not YAML: while scanning for the next token"),
        (b"\xff\xfe\x00\x01\x02", "not YAML: "),
        (b"", "must be a mapping with http_options and applications"),
        (b"- a\n- b", "must be a mapping with http_options and applications"),
        (b"just a text", "must be a mapping with http_options and applications"),
    ],
)
def test_what_is_no_mapping(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file of another kind is refused in one line that names it."""
    path = tmp_path / "serve.yaml"
    path.write_bytes(content)
    (line,) = problems(path)
    assert line.startswith(f"{path}: {reason}")


@pytest.mark.parametrize(
    ("tree", "lines"),
    [
        ({}, ["applications: Field required"]),
        ({"applications": [{"args": {}}]}, ["applications.0.import_path: Field required"]),
        (
            TREE | {"http_options": {"port": "eighty"}},
            ["http_options.port: Input should be a valid integer, unable to parse string as an integer"],
        ),
        (
            {"applications": [APPLICATION | {"args": [1]}]},
            ["applications.0.args: Input should be a valid dictionary"],
        ),
    ],
)
def test_what_ray_serve_refuses(tmp_path: Path, tree: object, lines: list[str]) -> None:
    """The part that Ray Serve reads is judged by Ray Serve's own schema, with the path of each problem."""
    assert problems(written(tmp_path, tree)) == lines


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (TREE | {"http_option": {}}, "http_option: unknown key; did you mean 'http_options'?"),
        (
            TREE | {"http_options": {"prot": 1}},
            "http_options.prot: unknown key; did you mean 'port'?",
        ),
        (
            {"applications": [APPLICATION | {"route_prefx": "/"}]},
            "applications.0.route_prefx: unknown key; did you mean 'route_prefix'?",
        ),
        (
            {"applications": [APPLICATION | {"deployments": [{"name": "latency", "num_replica": 2}]}]},
            "applications.0.deployments.0.num_replica: unknown key; did you mean 'num_replicas'?",
        ),
    ],
)
def test_misspelt_keys_of_ray_serve(tmp_path: Path, tree: object, line: str) -> None:
    """Ray Serve would pass over a misspelt key in silence; we do not."""
    assert problems(written(tmp_path, tree)) == [line]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            {"name": "fast"},
            "applications.0.deployments.0.name: no deployment 'fast'; there are ingress, throughput, latency",
        ),
        (
            {"name": "latency", "user_config": {"drain": True}},
            "applications.0.deployments.0: user_config may have draining: true or false, not {'drain': True}",
        ),
        (
            {"name": "latency", "user_config": None},
            "applications.0.deployments.0: user_config may have draining: true or false, not None",
        ),
        (
            {"name": "ingress", "user_config": {"draining": True}},
            "applications.0.deployments.0: 'ingress' takes no user_config, not {'draining': True}",
        ),
    ],
)
def test_overrides_that_cannot_be_deployed(tmp_path: Path, override: object, line: str) -> None:
    """Serve would refuse an unknown name, and replicas what they are told."""
    assert problems(written(tmp_path, {"applications": [APPLICATION | {"deployments": [override]}]})) == [
        line
    ]


def test_a_pool_may_be_told_to_drain(tmp_path: Path) -> None:
    """As ARCHITECTURE.md says it, for a pool with engines of its own."""
    override = {"name": "latency", "user_config": {"draining": True}, "num_replicas": 2}
    load(written(tmp_path, {"applications": [APPLICATION | {"deployments": [override]}]}))


@pytest.mark.parametrize(
    ("applications", "count"),
    [
        ([], 0),
        ([APPLICATION | {"import_path": "other.app:build"}], 0),
        ([APPLICATION, APPLICATION | {"name": "second", "route_prefix": "/second"}], 2),
    ],
)
def test_one_application_is_ours(tmp_path: Path, applications: list[object], count: int) -> None:
    """A file has exactly one Venturi application."""
    lines = problems(written(tmp_path, TREE | {"applications": applications}))
    assert lines == [f"applications: {count} of them have import_path 'serve_app.app:build', not 1"]


def test_others_may_stand_beside_it(tmp_path: Path) -> None:
    """Applications of others are none of our business."""
    other = {"name": "other", "route_prefix": "/other", "import_path": "other.app:build", "args": {"a": 1}}
    assert load(written(tmp_path, TREE | {"applications": [other, APPLICATION]})).route_prefix == "/"


def test_an_application_without_a_route(tmp_path: Path) -> None:
    """Without a route no client reaches the application."""
    lines = problems(written(tmp_path, {"applications": [APPLICATION | {"route_prefix": None}]}))
    assert lines == ["route_prefix: must be a path, not None: clients reach Venturi there"]


def test_our_own_problems(tmp_path: Path) -> None:
    """Problems of our settings are told with the path that they have in `args`."""
    broken = APPLICATION | {"args": args({"model.nmae": "x", "router.max_age_s": 0.1})}
    assert problems(written(tmp_path, {"applications": [broken]})) == [
        "model.nmae: unknown key; did you mean 'name'?",
        "router: max_age_s=0.1 must be more than report_period_s=0.2",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: {b: 1, b: 2}", "'b' stands twice in one mapping"),
        ("a: 1\nc: 2\na: 3", "'a' stands twice in one mapping"),
    ],
)
def test_a_key_that_stands_twice(tmp_path: Path, text: str, wanted: str) -> None:
    """The first one would be lost; the line is named."""
    (tmp_path / "serve.yaml").write_text(text)
    (problem,) = problems(tmp_path / "serve.yaml")
    assert wanted in problem
    assert "line" in problem


def test_what_is_merged_in_may_be_written_over(tmp_path: Path) -> None:
    """Also where that is merged in once more."""
    (tmp_path / "some.yaml").write_text(
        "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, y: 3}\nd: {<<: *b}"
    )
    read = read_yaml(tmp_path / "some.yaml")
    assert (read["b"], read["c"], read["d"]) == ({"x": 1, "y": 2}, {"x": 1, "y": 3}, {"x": 1, "y": 2})


@pytest.mark.parametrize("prefix", ["llm", "/llm/", "/{llm}"])
def test_a_prefix_that_serve_refuses(tmp_path: Path, prefix: str) -> None:
    """It would say so when it deploys."""
    tree = TREE | {"applications": [APPLICATION | {"route_prefix": prefix}]}
    assert problems(written(tmp_path, tree)) == [
        f"route_prefix: must begin with '/', not end with it, and have no braces, not {prefix!r}"
    ]
