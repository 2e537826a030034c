"""What the tests of transactions share: configurations of the model, and looks at its tree."""

from __future__ import annotations

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.model_nginx import (
    ModelNginx,
    configuration,
    expecting,
    id_of,
)

OLD, NEW, REFUSED = configuration("old"), configuration("new"), configuration("refused")
WRONG, UNSTARTABLE = configuration("wrong-fallback"), configuration("unstartable")
PLAIN = expecting()
SINGLE = expecting(Listener("10.0.0.1", 11800))
BOTH = expecting(Listener("0.0.0.0", 11800), Listener("0.0.0.0", 11801))
KEY_A, KEY_B = configuration("key-a"), configuration("key-b")
DYING = configuration("dying")
OLD_ID, NEW_ID = id_of(OLD, PLAIN), id_of(NEW, PLAIN)


def everything(nginx: ModelNginx) -> dict[str, object]:
    """Everything on disk below the root but the lock: kind, mode, time of change, content."""
    return {
        path.relative_to(nginx.tree.root).as_posix(): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            str(path.readlink()) if path.is_symlink() else path.is_file() and path.read_bytes(),
        )
        for path in nginx.tree.root.rglob("*")
        if path.name != ".lock"
    }


def failing(
    nginx: ModelNginx, files: list[File], expectation: Expectation = PLAIN, **settings: object
) -> TransactionError:
    """Run, and return the error that the run must end with."""
    with pytest.raises(TransactionError) as caught:
        nginx.transaction(Settings(**settings)).run(files, expectation)  # type: ignore[arg-type]
    return caught.value
