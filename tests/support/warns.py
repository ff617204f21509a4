"""`fanwise serve` with a warning on the way: `python -m tests.support.warns serve ...`."""

from __future__ import annotations

import warnings

from fanwise.cli.main import main
from fanwise.transport import server


def _warn() -> None:
    warnings.warn("careful", stacklevel=1)


if __name__ == "__main__":
    vars(server)["tune_gc"] = _warn
    main()
