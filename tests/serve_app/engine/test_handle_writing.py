"""What becomes of what a replica sends on its way through Ray Serve?"""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.serialization import RPCSerializer

from serve_app.engine.handle import HandleBackend
from serve_app.errors import EngineDead, ReplicaFailed
from serve_app.types import Head


@pytest.mark.parametrize(
    "sent",
    [
        b"data",
        Head(200, ((b"a", b"b"),)).signed("r1", opening=b"data"),
        EngineDead("no"),
        ReplicaFailed("no"),
    ],
    ids=lambda sent: type(sent).__name__,
)
def test_what_a_replica_sends_survives_the_way_it_is_written(sent: object) -> None:
    """Items and errors, as the handle of streams has Serve write them."""
    chosen: dict[str, Any] = {}
    handle: Any = SimpleNamespace(options=lambda **options: chosen.update(options))
    HandleBackend(handle, "i1")
    serializer = RPCSerializer(response_method=chosen["response_serialization"])
    arrived = serializer.loads_response(serializer.dumps_response(sent))
    assert (type(arrived), repr(arrived)) == (type(sent), repr(sent))
