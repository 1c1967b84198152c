"""What is said of an exception that ends a stage."""

import errno
import os
import re

import pytest
import torch

from mosaic_pipeline.errors import Diverged, PipelineError, one_line
from mosaic_pipeline.explain import DEFECT, USER_ERROR, WAYS_OUT, explain
from mosaic_pipeline.launch import _cause


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_one_line_that_names_the_file_and_a_way_out(number):
    status, line = explain(OSError(number, os.strerror(number), "data/x.npy"), "train")
    assert status == USER_ERROR
    assert "\n" not in line
    if number == errno.ENOMEM:
        assert "out of memory" in line
        return
    assert line.startswith("data/x.npy: ")
    assert line.partition("; ")[2]


def test_an_error_of_the_system_without_a_file_or_a_number_is_still_a_line():
    assert explain(OSError(errno.EMFILE, "Too many"), "train")[1].startswith("the system: too many; raise the number")
    assert explain(OSError("connection\nreset"), "train") == (USER_ERROR, "connection reset")
    assert explain(OSError(), "train") == (USER_ERROR, "OSError")
    moved = OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")
    assert explain(moved, "train")[1].startswith("a -> b: invalid cross-device link; ")


def test_ways_out_differ_where_the_cause_does():
    causes = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EFBIG, errno.EMFILE)
    assert len({WAYS_OUT[number] for number in causes}) == len(causes)


def exhausted() -> list[BaseException]:
    """What too little memory raises in Python, numpy, the system and torch."""
    import numpy as np

    with pytest.raises(MemoryError) as of_numpy:
        np.empty(1 << 60, np.uint8)
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(1 << 60, dtype=torch.uint8)
    return [
        MemoryError(),
        of_numpy.value,
        of_torch.value,
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has 2 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        ImportError("libtorch_cuda.so: failed to map segment from shared object"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ]


def test_too_little_memory_is_one_line_with_what_to_lower():
    for error in exhausted():
        status, line = explain(error, "train")
        assert status == USER_ERROR
        assert line.startswith("out of memory")
        assert "train.batch_size" in line
        assert "\n" not in line


def test_what_is_not_foreseen_names_the_stage_the_line_of_code_and_how_to_see_more():
    with pytest.raises(ValueError, match="empty") as error:
        _cause({})
    status, line = explain(error.value, "train")
    assert status == DEFECT
    assert re.match(r"train: ValueError: min\(\).* empty.* \(mosaic_pipeline/launch.py:\d+\); .*MOSAIC_DEBUG=1", line)


def test_a_file_that_an_unforeseen_error_names_is_named():
    error = SyntaxError("bad")
    error.filename = "params.yaml"
    assert explain(error, "check")[1].startswith("check: SyntaxError: bad (params.yaml) in params.yaml; ")


def test_a_missing_package_is_named_with_what_installs_it_in_a_checkout_and_elsewhere():
    with pytest.raises(ModuleNotFoundError) as error:
        import no_such_package  # noqa: F401
    status, line = explain(error.value, "check")
    said, in_checkout, elsewhere = line.split("; ")
    assert (status, said) == (USER_ERROR, "No module named 'no_such_package'")
    assert in_checkout.startswith("in a checkout: activate the environment (`source .venv/bin/activate`)")
    assert elsewhere.startswith("elsewhere: `pip install '.[pipeline]'` in a checkout")
    assert explain(ModuleNotFoundError("no", name="mosaic_pipeline.none"), "check")[0] == DEFECT


@pytest.mark.parametrize("kind", [PipelineError, Diverged])
def test_a_foreseen_error_is_one_line_whatever_stands_in_it(kind):
    error = kind("data.mirror: \r\n  http://user:se@cret@host/x\x1b[31m\x00\u2028: \ud800 no")
    assert str(error) == "data.mirror: http://host/x\\x1b[31m\\x00 : \\ud800 no"
    assert "cret" not in repr(error)
    assert explain(error, "download") == (USER_ERROR, str(error))


def test_a_line_keeps_its_spaces_and_letters():
    assert one_line("a  b.npz: größer als 1") == "a  b.npz: größer als 1"
