"""Image files of one's own: every kind of grey and colour that files hold is the same image, or is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mosaic_pipeline.data.own import image as files_of_images
from mosaic_pipeline.data.own import picture
from mosaic_pipeline.data.own.convert import convert
from mosaic_pipeline.data.own.files import read_picture


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


def write_deep_colours(path, value, clear=None):
    """A PNG of 8 x 8 with 16 bits a channel, which Pillow does not write, and the colour that it calls transparent."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + struct.pack(">24H", *([value] * 24)) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    transparent = b"" if clear is None else chunk(b"tRNS", struct.pack(">3H", *[clear] * 3))
    body = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_colours_of_sixteen_bits_keep_eight_and_say_so(tmp_path, read):
    write_deep_colours(tmp_path / "a.png", 0x72FF)
    image, facts = read("a.png", channels=3)
    assert (image == 0x72).all()
    assert "16 bits a channel, of which the lower 8 were left out" in facts
    image, _ = read("a.png", channels=3, window=[0, 0x7272])  # in the numbers that the file has
    assert (image == 255).all()


def test_colours_of_twelve_bits_in_sixteen_are_refused(tmp_path, read):
    write_deep_colours(tmp_path / "a.png", 4095)
    with pytest.raises(ValueError, match="keeps the upper 8, and 16 of 256 levels would be left"):
        read("a.png", channels=3, window=[0, 4095])


def test_a_transparent_colour_of_sixteen_bits_is_compared_in_sixteen(tmp_path, read, pixels):
    deep = pixels(1, 8, 8, dtype=np.uint16)[0] // 2 * 2
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray(deep).save(tmp_path / "other.png", transparency=int(deep[0, 0]) + 1)
    Image.fromarray(deep).save(tmp_path / "clear.png", transparency=int(deep[0, 0]))
    np.testing.assert_array_equal(read("other.png")[0], read("a.png")[0])
    write_deep_colours(tmp_path / "colour.png", 0x72FF, clear=0x72FF)
    write_deep_colours(tmp_path / "colours.png", 0x72FF, clear=0x71FF)
    assert (read("colours.png", channels=3)[0] == 0x72).all()
    for name, channels in (("clear.png", 1), ("colour.png", 3)):
        with pytest.raises(ValueError, match="transparent in places"):
            read(name, channels=channels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_may_say_that_zero_is_white(tmp_path, read, pixels, dtype):
    values = pixels(1, 8, 8, dtype=dtype)[0]
    # Pillow inverts 8 bits itself, reading and writing.
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 1})
    Image.fromarray(values).save(tmp_path / "b.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "b.tif") as image:
        assert image.tag_v2[262] == 0
    expected, _ = read("a.tif")
    image, facts = read("b.tif")
    np.testing.assert_array_equal(image, expected if dtype == np.uint8 else 255 - expected)
    assert ("Inverted, zero being white (TIFF)" in facts) == (dtype != np.uint8)


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


def test_pages_are_turned_as_their_file_says_and_it_is_said(tmp_path, read, pixels):
    volume = pixels(1, 8, 8, 8)[0]
    first, *others = [Image.fromarray(page) for page in volume]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, tiffinfo={274: 6})
    image, facts = read("a.tif", dimension=3)
    np.testing.assert_array_equal(image, np.rot90(volume, -1, axes=(1, 2)))
    assert "Turned upright, as the file says" in facts


@pytest.mark.parametrize(("dimension", "side"), [(2, 300), (3, 30)])
def test_there_is_one_limit_to_what_an_image_holds(tmp_path, read, monkeypatch, dimension, side):
    pages = [Image.new("L", (side, side), 9) for _ in range(100 if dimension == 3 else 1)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert (read("a.tif", dimension=dimension, fit="stretch")[0] == 9).all()
    assert Image.MAX_IMAGE_PIXELS == 10
    for module in (picture, files_of_images):
        monkeypatch.setattr(module, "MOST_PIXELS", 80_000)
    monkeypatch.setattr(files_of_images, "_values", None)  # none is read
    with pytest.raises(Exception, match=r"more than 80,000 pixels|exceeds limit of 80000 pixels"):
        read("a.tif", dimension=dimension)


def test_pages_of_unlike_kinds_are_no_volume(tmp_path, read):
    pages = [Image.new("L", (8, 8)), Image.new("RGB", (8, 8)), Image.new("L", (8, 9))]
    for other, says in ((1, "differ in their channels or bits"), (2, "differ in size")):
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[pages[other]])
        with pytest.raises(ValueError, match=says):
            read("a.tif", dimension=3)


def test_an_npy_file_is_an_image_or_a_volume(tmp_path, read, pixels, grey):
    volume = pixels(1, 8, 8, 8)[0]
    np.save(tmp_path / "volume.npy", volume)
    np.save(tmp_path / "grey.npy", grey)
    np.testing.assert_array_equal(read("volume.npy", dimension=3)[0], volume)
    np.testing.assert_array_equal(read("grey.npy")[0], grey)
