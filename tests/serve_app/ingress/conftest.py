"""What do tests of the ingress share?"""

import pytest

from tests.serve_app.ingress.web import Authority, authority


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates for some names of the small web, and not for others."""
    return authority(tmp_path_factory.mktemp("tls"), ["example.com", "*.example.com", "other.org"])
