"""Image files of one's own: every kind of grey and colour that files hold is the same image, or is refused."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.own.convert import convert
from pipeline.data.own.files import read_picture


@pytest.fixture
def read(tmp_path, declare):
    """Read what was saved to a file, as a dataset has it, and say what happened to it."""

    def read(name, dimension=2, **changes):
        made = convert(read_picture(tmp_path / name, dimension), declare(dimension=dimension, **changes), 8)
        return made.image, made.facts

    return read


@pytest.fixture
def grey(pixels):
    return pixels(1, 8, 8)[0]


@pytest.fixture
def colour(pixels):
    return pixels(1, 8, 8, 3)[0]


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_and_colour_files_hold_what_was_written(tmp_path, read, grey, colour, suffix):
    Image.fromarray(grey).save(tmp_path / f"grey.{suffix}")
    Image.fromarray(colour).save(tmp_path / f"colour.{suffix}")
    np.testing.assert_array_equal(read(f"grey.{suffix}")[0], grey)
    np.testing.assert_array_equal(read(f"colour.{suffix}", channels=3)[0], colour)


def test_a_jpeg_holds_nearly_what_was_written(tmp_path, read):
    ramp = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) * 10
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=98)
    image, facts = read("a.jpg")
    assert abs(image.astype(int) - ramp).max() <= 3
    assert facts == ("JPEG file",)


def test_what_a_file_is_decides_not_what_it_is_called(tmp_path, read, grey):
    Image.fromarray(grey).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read("a.jpg")[0], grey)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_read_whole(tmp_path, read, pixels, suffix):
    deep = pixels(1, 8, 8, dtype=np.uint16)[0]
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    image, _ = read(f"a.{suffix}")
    np.testing.assert_array_equal(image, np.floor(deep * (255 / 65535) + 0.5).astype(np.uint8))
    image, _ = read(f"a.{suffix}", window=[1000, 5000])
    np.testing.assert_array_equal(image, np.floor((np.clip(deep, 1000, 5000) - 1000.0) * 255 / 4000 + 0.5))


def test_colours_of_sixteen_bits_keep_eight_and_say_so(tmp_path, read):
    # Pillow writes none; this is one of 8 x 8 in black and white by hand.
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + struct.pack(">24H", *([0x12FF] * 24)) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    image, facts = read("a.png", channels=3)
    assert (image == 0x12).all()
    assert "16 bits a channel, of which the lower 8 were left out" in facts


def test_black_and_white_is_0_and_255(tmp_path, read, grey):
    Image.fromarray(grey > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read("a.png")[0], (grey > 99) * np.uint8(255))


def test_palettes_are_looked_up(tmp_path, read, grey):
    image = Image.fromarray(grey // 64)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 9, 0, 7, 7, 7])
    image.save(tmp_path / "a.png")
    found, facts = read("a.png", channels=3)
    np.testing.assert_array_equal(found[grey // 64 == 1], [[255, 0, 0]] * (grey // 64 == 1).sum())
    assert "Colours of a palette looked up" in facts
    with pytest.raises(ValueError, match="has colours"):
        read("a.png")


def test_three_equal_channels_are_one(tmp_path, read, grey):
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.png")
    image, facts = read("a.png")
    np.testing.assert_array_equal(image, grey)
    assert "Three equal channels read as one" in facts


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_alpha_channel_is_left_out_and_a_transparent_one_is_refused(tmp_path, read, grey, mode):
    image = Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "opaque.png")
    found, facts = read("opaque.png")
    np.testing.assert_array_equal(found, grey)
    assert "Opaque alpha channel left out" in facts
    image.putpixel((3, 3), (9, 0) if mode == "LA" else (9, 9, 9, 0))
    image.save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match="transparent in places"):
        read("clear.png")


def test_a_colour_that_is_called_transparent_is_refused_where_it_occurs(tmp_path, read, grey):
    Image.fromarray(grey).save(tmp_path / "a.png", transparency=int(grey[0, 0]))
    with pytest.raises(ValueError, match="transparent in places"):
        read("a.png")


def test_an_image_is_turned_as_its_file_says(tmp_path, read):
    ramp = np.add.outer(np.arange(8) * 16, np.arange(8)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    image, facts = read("a.png")
    np.testing.assert_array_equal(image, np.rot90(ramp, -1))
    assert "Turned upright, as the file says" in facts


def test_pages_of_a_tiff_are_slices(tmp_path, read, pixels):
    volume = pixels(1, 8, 8, 8)[0]
    first, *others = [Image.fromarray(page) for page in volume]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    np.testing.assert_array_equal(read("a.tif", dimension=3)[0], volume)
    with pytest.raises(ValueError, match="holds 8 images, where one is meant"):
        read("a.tif")


def test_an_npy_file_is_an_image_or_a_volume(tmp_path, read, pixels, grey):
    volume = pixels(1, 8, 8, 8)[0]
    np.save(tmp_path / "volume.npy", volume)
    np.save(tmp_path / "grey.npy", grey)
    np.testing.assert_array_equal(read("volume.npy", dimension=3)[0], volume)
    np.testing.assert_array_equal(read("grey.npy")[0], grey)
