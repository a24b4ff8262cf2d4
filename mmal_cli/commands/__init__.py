"""One file per command: read, call one function, save, print. `STAGE` places it in `mmal --help`."""
