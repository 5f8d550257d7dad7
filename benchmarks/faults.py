"""Known faults of reproductions, each as one edit of the sources: what `benchmarks.planted` plants.

Every one leaves a training that runs to its end and a number that looks like a number.
"""

from dataclasses import dataclass

from replication.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An edit of one file, and the unit tests that must see it."""

    name: str
    # For the matrix, in a few words.
    what: str
    file: str
    right: str
    wrong: str
    # As pytest takes them.
    tests: tuple[str, ...]

    def planted(self, source: str) -> str:
        """The file's text with the fault. Raises RunError unless `right` is in it exactly once."""
        times = source.count(self.right)
        if times != 1:
            raise RunError(
                f"fault {self.name}: {self.file} has the text to be replaced {times} times, not "
                f"once ({self.right.strip().splitlines()[0]} …); mend it in benchmarks/faults.py"
            )
        return source.replace(self.right, self.wrong)


FAULTS = (
    Fault(
        name="multi-grid",
        what="multi-grid replaces its block's rate instead of multiplying it",
        file="replication/network/geometry.py",
        right='unit_rate * grid if multi_grid_rule == "multiply" else grid',
        wrong="grid",
        tests=("tests/network/test_geometry.py::test_table_3_corners",),
    ),
    Fault(
        name="bn-freeze",
        what="freezing BN does nothing",
        file="replication/training.py",
        right="            layer.eval()\n",
        wrong="",
        tests=("tests/test_training.py::test_frozen_bn_keeps_its_statistics_and_trains_the_rest",),
    ),
    Fault(
        name="void-evaluation",
        what="void is counted as background, in the evaluation",
        file="replication/evaluation.py",
        right="    return histogram(predicted, masks, classes)\n",
        wrong="    masks = masks.masked_fill(masks == IGNORE_INDEX, 0)\n"
        "    return histogram(predicted, masks, classes)\n",
        tests=(
            "tests/test_evaluation.py::test_void_is_left_out",
            "tests/test_metrics.py::test_agrees_with_torchmetrics",
        ),
    ),
    Fault(
        name="void-loss",
        what="void is trained on as background, in the loss",
        file="replication/training.py",
        right="    total = F.cross_entropy(logits, labels,",
        wrong="    labels = labels.masked_fill(labels == IGNORE_INDEX, 0)\n"
        "    total = F.cross_entropy(logits, labels,",
        tests=(
            "tests/test_training.py::test_loss_is_over_valid_pixels_or_over_all",
            "tests/test_training.py::test_a_batch_of_void_has_no_loss",
        ),
    ),
    Fault(
        name="void-reading",
        what="void is background as soon as a mask is read, for loss, evaluation and linter alike",
        file="replication/data/reading.py",
        right="    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)\n",
        wrong="    table = np.zeros(256, dtype=np.uint8)\n",
        tests=(
            "tests/data/test_reading.py::"
            "test_classes_of_another_set_are_found_by_name_and_others_are_background",
        ),
    ),
    Fault(
        name="miou-per-image",
        what="mIoU is the mean of the images' mIoU",
        file="replication/execute.py",
        right='"miou": mean_iou(confusion),',
        wrong='"miou": float(np.nanmean([mean_iou(one) for one in images])),',
        tests=(
            "tests/test_evaluate.py::test_a_record_of_ours_scores_as_in_a_run",
            "tests/test_submit.py::test_cityscapes_scores_with_its_own_evaluator_as_on_record",
        ),
    ),
    Fault(
        name="align-corners",
        what="align_corners is flipped where the evaluation upsamples logits",
        file="replication/evaluation.py",
        right="    logits = upsample(model.coarse_logits(x), size, align_corners=align)\n",
        wrong="    logits = upsample(model.coarse_logits(x), size, align_corners=not align)\n",
        tests=("tests/test_evaluation.py::test_each_strategy_equals_a_plain_loop",),
    ),
    Fault(
        name="aspp-rates",
        what="ASPP's rates are not doubled at output stride 8",
        file="replication/network/geometry.py",
        right="    return tuple(max(1, (rate * 16",
        wrong="    output_stride = max(16, output_stride)\n    return tuple(max(1, (rate * 16",
        tests=(
            "tests/network/test_geometry.py::test_aspp_rates_follow_the_output_stride",
            "tests/network/test_network.py::"
            "test_aspp_with_scaled_rates_keeps_the_identity_and_without_does_not",
        ),
    ),
)
