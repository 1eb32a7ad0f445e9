"""What embedding providers answer, as unit vectors. Loaded when the first answer comes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from letta.errors import ModelServerError


def unit_vectors(
    rows: Sequence[Sequence[float]], count: int, model: str, dimension: int | None = None
) -> NDArray[np.float32]:
    """One unit vector per row, for `count` texts. `dimension` is the length the model is known for, if it is.

    Raises:
        letta.errors.ModelServerError: another number of rows, rows of different lengths or of another one than
            `dimension`, or one without a direction.
    """
    try:
        vectors = np.asarray(rows, np.float32)
    except (ValueError, TypeError) as error:
        raise ModelServerError(f"{model} answered with vectors of different lengths") from error
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise ModelServerError(f"{model} answered with {len(rows)} vectors to {count} texts")
    if dimension is not None and vectors.shape[1] != dimension:
        raise ModelServerError(f"{model} answered with vectors of {vectors.shape[1]} numbers instead of {dimension}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(vectors).all() or not (lengths > 0).all():
        raise ModelServerError(f"{model} answered with a vector that has no direction")
    return np.asarray(vectors / lengths, np.float32)
