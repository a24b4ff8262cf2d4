"""`python -m mmal_cli` is `mmal`."""

from mmal_cli.app import main

main()
