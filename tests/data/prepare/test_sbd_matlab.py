"""SBD's Matlab files, damaged anywhere or of something else: one line each."""

import io
import random

import numpy as np
import pytest
from scipy.io import savemat
from voc_archives import labels, matlab

from replication.data.prepare import sbd
from replication.errors import DataError


def test_a_damaged_matlab_file_is_one_line_wherever_it_is_damaged(tmp_path):
    whole, draw = matlab(labels("any", void=False)), random.Random(0)
    plain = io.BytesIO()
    savemat(plain, {"GTcls": {"Segmentation": labels("any", void=False)}})
    file = tmp_path / "x.mat"
    refused = 0
    for content in (whole, plain.getvalue()):
        for _ in range(150):
            data = bytearray(content)
            data[draw.randrange(len(data))] = draw.randrange(256)
            file.write_bytes(data if draw.random() < 0.8 else data[: draw.randrange(len(data))])
            try:
                values = sbd.segmentation(file)
            except DataError as error:
                refused += 1
                assert str(error).startswith(f"{file}: ") and len(str(error).splitlines()) == 1
            else:
                assert values.dtype == np.uint8 and values.ndim == 2
    assert refused > 75


@pytest.mark.parametrize("struct", [{"Other": 1}, {"GTcls": 1.0}, {"GTcls": {"Boundaries": 1}}])
def test_a_matlab_file_of_something_else_is_one_line(tmp_path, struct):
    savemat(tmp_path / "x.mat", struct)
    with pytest.raises(DataError, match=r"x\.mat: GTcls\.Segmentation cannot be read"):
        sbd.segmentation(tmp_path / "x.mat")
