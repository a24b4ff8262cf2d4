"""mmal: a benchmark of multimodal active learning, from the shell."""

__version__ = "0.1.0"
