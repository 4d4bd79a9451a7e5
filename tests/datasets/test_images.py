import gzip
import struct

import chex
import numpy as np
import pytest

from jaxopt_lab import datasets
from jaxopt_lab.core import InputError
from jaxopt_lab.datasets import images


def write_idx(path, array, compressed=False):
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if compressed else content)


@pytest.fixture(
    params=[("", "train", "t10k"), (".gz", "train", "t10k"), (".gz", "emnist-letters-train", "emnist-letters-test")]
)
def folder(request, tmp_path):
    ending, *parts = request.param
    generator = np.random.default_rng(0)
    for num, part in zip((12, 5), parts, strict=True):
        pixels, labels = generator.integers(0, 256, (num, 28, 28)), np.arange(num) % 3
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", pixels, bool(ending))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", labels, bool(ending))
    return tmp_path


def test_files_of_the_mnist_family_are_read_as_they_were_written(folder):
    training, test = datasets.load_images("fashion", folder)
    chex.assert_shape(training.pixels, (12, 28, 28))
    assert len(test) == 5
    np.testing.assert_array_equal(training.pixels, np.random.default_rng(0).integers(0, 256, (12, 28, 28)))
    assert training.labels.tolist() == [k % 3 for k in range(12)]
    assert training.class_names == ("0", "1", "2")


def test_the_packages_own_files_are_used_where_they_are_installed():
    if not images.FASHION_FOLDER.exists():
        pytest.skip("the package dataset-fashion-mnist is not installed")
    training, test = datasets.load_images("fashion")
    assert (training.pixels.shape, test.pixels.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert np.bincount(training.labels).tolist() == [6000] * 10


def test_a_folder_without_the_files_names_the_package_and_the_option(tmp_path):
    with pytest.raises(
        InputError, match=r"holds no file train-images-idx3-ubyte\[.gz\]. .*dataset-fashion-mnist.*--data-dir"
    ):
        datasets.load_images("fashion", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x0d\x01\x00\x00\x00\x01abcd", b"\x00\x00\x08\x01\x00\x00\x00\x09ab", b"\x1f\x8bzz"]
)
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not an IDX file of bytes"):
        images.read_idx(path)


def test_images_and_labels_that_do_not_fit_are_refused(folder):
    name = next(path for path in folder.iterdir() if "train-labels" in path.name)
    write_idx(name, np.zeros(3))
    with pytest.raises(InputError, match=r"train images are \(12, 28, 28\) and their labels \(3,\)"):
        datasets.load_images("fashion", folder)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        InputError, match=r"load_images: name must be one of: digits, fashion; got 'fashon'. Did you mean 'fashion'"
    ):
        datasets.load_images("fashon")
