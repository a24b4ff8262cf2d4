"""What pyproject.toml cannot say: the C part of the augmentation, which knows of which sources it was built."""

import sysconfig
from hashlib import sha256
from pathlib import Path

from setuptools import Extension, setup

HEADER, SOURCE = "mmal_cli/_image_ops.h", "mmal_cli/_image_ops.c"
written = b"".join(Path(name).read_bytes() for name in (HEADER, SOURCE))
macros = [("SOURCES", f'"{sha256(written).hexdigest()}"')]
any_python = not sysconfig.get_config_var("Py_GIL_DISABLED")  # without the lock there is no interface for all releases

setup(
    ext_modules=[
        Extension(
            "mmal_cli._image_ops",
            [SOURCE],
            depends=[HEADER],
            define_macros=macros + [("Py_LIMITED_API", "0x030B0000")] * any_python,
            extra_compile_args=["-O3", "-ffp-contract=off"],  # a fused multiply-add would round otherwise than Pillow
            py_limited_api=any_python,
            optional=True,  # without a C compiler, or where it fails, torch does the same
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if any_python else {},
)
