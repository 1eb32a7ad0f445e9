"""all-MiniLM-L6-v2 on this machine, with numpy (or onnxruntime, where that is installed) and without torch."""

from letta.models.minilm.engine import DIMENSION, HANDLE, MiniLM, load

__all__ = ["DIMENSION", "HANDLE", "MiniLM", "load"]
