"""Real files for tests: MMAL_REAL_DATA names the folder that holds them; without it the tests are skipped and say so."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("MMAL_REAL_DATA") or "no-real-data")


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test where one of these is not in the folder."""
    missing = [name for name in names if not (ROOT / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} in the folder of real data, MMAL_REAL_DATA")
