"""Pictures inside a page: every pixel comes back, equal pixels give equal bytes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cmc_sdk.pages.picture import data_uri, encode_png


def random_pixels(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(("shape", "mode"), [((1, 1), "L"), ((5, 7), "L"), ((4, 3, 3), "RGB"), ((6, 5, 4), "RGBA")])
def test_every_pixel_comes_back(shape: tuple[int, ...], mode: str) -> None:
    pixels = random_pixels(shape)
    picture = Image.open(io.BytesIO(encode_png(pixels)))
    assert (picture.format, picture.mode) == ("PNG", mode)
    assert np.array_equal(np.asarray(picture), pixels)
    turned = pixels[::-1, ::-1]  # not contiguous
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(turned)))), turned)


def test_one_channel_is_grey() -> None:
    assert encode_png(random_pixels((3, 4, 1))) == encode_png(random_pixels((3, 4)))


def test_equal_pixels_give_equal_bytes() -> None:
    assert encode_png(random_pixels((40, 30, 4))) == encode_png(random_pixels((40, 30, 4)))


def test_an_address_holds_the_file() -> None:
    head, _, body = data_uri(random_pixels((3, 4))).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == encode_png(random_pixels((3, 4)))


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 3), np.float32), np.zeros((3, 3, 2), np.uint8), np.zeros((0, 3), np.uint8)]
)
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not"):
        encode_png(bad)
