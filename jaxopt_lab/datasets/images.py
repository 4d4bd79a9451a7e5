"""Images of digits and clothes: scikit-learn's digits, and the MNIST family from IDX files on disk.

An IDX file is a header of big-endian integers (two zero bytes, the type, the number of axes, the lengths) and the bytes
of the array.
"""

import dataclasses
import gzip
import os
import pathlib
import struct

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.datasets.tables import load_table

FASHION_FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")

IMAGES = {
    "digits": "1797 images of digits, 8 x 8 pixels, 10 classes",
    "fashion": "Fashion-MNIST: 60000 + 10000 images of clothes, 28 x 28 pixels, 10 classes",
}

_CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclasses.dataclass(frozen=True)
class Images:
    """Grey images.

    Attributes:
      name: one of `IMAGES`.
      pixels: uint8 [n, h, w], from 0 to `white`.
      labels: class numbers from 0, int64 [n].
      white: the largest value that a pixel can take.
      class_names: one name a class.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    white: int
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Images":
        """The images of some rows, int [m]."""
        return dataclasses.replace(self, pixels=self.pixels[rows], labels=self.labels[rows])


def load_images(name: str, directory: str | os.PathLike[str] | None = None) -> tuple[Images, Images | None]:
    """Images by name, in the order of their source.

    Args:
      name: "digits" or "fashion".
      directory: for "fashion": a folder with the four IDX files (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-...`, each with `.gz` or without; the prefixes of EMNIST's files are understood); None takes the folder of
        the Debian package dataset-fashion-mnist. Files of MNIST, KMNIST or EMNIST serve as well.

    Returns:
      (training images, test images); the test images are None for "digits", which come in one piece.

    Raises:
      InputError: an unknown name, a folder without the files, or a file that is not of the IDX format.

    Example:
      >>> digits, test = load_images("digits")
      >>> digits.pixels.shape, digits.white, test
      ((1797, 8, 8), 16, None)

    Reference: Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017; LeCun, Cortes, Burges, The MNIST database, 1998 (format).
    """
    require_choice("load_images", "name", name, IMAGES)
    if name == "digits":
        table = load_table("digits")
        pixels = table.features.reshape(-1, 8, 8).astype(np.uint8)
        return Images(name, pixels, table.targets, 16, table.class_names), None
    folder = FASHION_FOLDER if directory is None else pathlib.Path(directory)
    parts = {}
    for part in ("train", "t10k"):
        pixels = read_idx(_find(folder, part, "images-idx3-ubyte"))
        labels = read_idx(_find(folder, part, "labels-idx1-ubyte")).astype(np.int64)
        if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
            raise fail(
                str(folder), f"{part} images are {pixels.shape} and their labels {labels.shape}",
                "Images must be [n, h, w] and labels [n].",
            )  # fmt: skip
        parts[part] = pixels, labels - labels.min()
    num_classes = 1 + max(int(labels.max()) for _, labels in parts.values())
    names = _CLOTHES if directory is None else tuple(map(str, range(num_classes)))
    training, test = (Images(name, *parts[part], 255, names) for part in ("train", "t10k"))
    return training, test


def read_idx(path: pathlib.Path) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, gzipped or not.

    Raises:
      InputError: the file is not of that format, or is torn.
    """
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        zero, kind, num_axes = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{num_axes}I", content[4 : 4 + 4 * num_axes])
        if (zero, kind) != (0, 8):
            raise ValueError("the header is not that of an array of bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)
    except (ValueError, struct.error, OSError, EOFError) as error:
        raise fail(str(path), f"is not an IDX file of bytes ({error})") from error


def _find(folder: pathlib.Path, part: str, kind: str) -> pathlib.Path:
    spellings = {"train": ("train",), "t10k": ("t10k", "test")}[part]
    for spelling in spellings:
        for separator in (kind, kind.replace("-idx", ".idx")):
            for path in sorted(folder.glob(f"*{spelling}-{separator}*")):
                return path
    raise fail(
        str(folder), f"the folder holds no file {part}-{kind}[.gz]",
        "Install the Debian package dataset-fashion-mnist, or name a folder with the four files (--data-dir).",
    )  # fmt: skip
