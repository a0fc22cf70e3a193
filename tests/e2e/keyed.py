"""A system with a keys file that listens to every interface, as on a network, on another system's engines."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from serve_app import serve_file
from serve_app.config import PROJECT_ROOT
from serve_app.ingress.auth import key_hash
from serve_app.local import LocalSystem, free_port
from serve_app.serve_file import ServeFile


@dataclass
class Keyed:
    """The system, and its keys file."""

    system: LocalSystem
    path: Path
    num_written: int = 0

    def holders(self, **tenants: dict[str, object]) -> str:
        """Write the keys file; the key of a tenant is `vk-` and its name. Return a key that is new in it."""
        self.num_written += 1
        new = f"new-{self.num_written}"
        tenants = {**tenants, new: {}}
        lines = [
            {"name": name, "keys": [key_hash(f"vk-{name}".encode())], **limits}
            for name, limits in tenants.items()
        ]
        self.path.write_text(yaml.safe_dump({"tenants": lines}))
        return f"vk-{new}"


@contextmanager
def keyed(folder: Path, engines: ServeFile) -> Iterator[Keyed]:
    """A system with keys whose one pool is another system, for both efforts."""
    tree = yaml.safe_load((PROJECT_ROOT / "deploy/local.yaml").read_text())
    tree["http_options"] = {"host": "0.0.0.0", "port": free_port()}
    args = tree["applications"][0]["args"]
    args["pools"] = {"elsewhere": {"efforts": ["none", "high"], "upstream": {"url": f"{engines.url}/v1"}}}
    keys = folder / "keys.yaml"
    args["ingress"]["auth"] = {"keys_file": str(keys)}
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(tree))
    system = LocalSystem(serve_file.load(path), dashboard_port=free_port())
    parts = Keyed(system, keys)
    parts.holders(one={})
    with system:
        system.start()
        yield parts
