from __future__ import annotations

# A deployment that really replicates, for the pages that tell a story of one.
from tests.integration.conftest import deploy as deploy
