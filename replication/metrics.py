"""Mean intersection over union, from one confusion matrix over the whole set."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def iou(confusion: Counts) -> NDArray[np.float64]:
    """Per-class IoU in 0 to 1 from counts (C, C), rows true and columns predicted.

    A class that neither the truth nor the prediction has is NaN.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    with np.errstate(invalid="ignore"):
        return np.where(union > 0, hits / union, np.nan)


def mean_iou(confusion: Counts) -> float:
    """mIoU in percent over the classes that occur in the truth or the prediction.

    NaN where nothing was counted.
    """
    values = iou(confusion)
    occurring = values[~np.isnan(values)]
    return float(100.0 * occurring.mean()) if len(occurring) else float("nan")
