"""Hosts with the model of nginx, which is a stand-in: see tests/unit/model_nginx.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.model_nginx import (
    ModelNginx,
)
from tests.unit.transactions import (
    OLD,
    PLAIN,
)


@pytest.fixture
def nginx(tmp_path: Path) -> ModelNginx:
    """A host without any generation, where nothing runs."""
    return ModelNginx(tmp_path / "oap-proxy")


@pytest.fixture
def serving(nginx: ModelNginx) -> ModelNginx:
    """A host where OLD is live."""
    nginx.transaction().run(OLD, PLAIN)
    nginx.verbs()
    return nginx
