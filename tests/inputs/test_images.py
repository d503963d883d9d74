"""Pictures of every kind people have: the pixels that come out, and what bad ones say."""

from __future__ import annotations

import base64
import io
import os
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
from PIL import Image, ImageFile

from balancedit.errors import ImageError
from balancedit.inputs import images
from balancedit.inputs.images import open_image, pixel_hash, solid, thumbnail

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """`image` as a file's bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def corners() -> Image.Image:
    """3×2 pixels, all different, so that any turn or mirroring shows."""
    image = Image.new("RGB", (3, 2))
    image.putdata([RED, GREEN, BLUE, (9, 9, 9), (90, 90, 90), (200, 100, 50)])
    return image


def pixels(image: Image.Image) -> list[list[tuple[int, ...]]]:
    return [[tuple(p) for p in row] for row in np.asarray(image).tolist()]


def noisy(side: int = 64) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


# -- what works -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_pixels_from_path_bytes_and_object(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(corners(), kind))
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        image = open_image(source)
        assert type(image) is Image.Image
        assert image.mode == "RGB"
        assert pixels(image) == pixels(corners())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_kinds_come_close(kind: str) -> None:
    image = open_image(encoded(solid((16, 16), (200, 40, 60)), kind))
    assert np.abs(np.asarray(image).astype(int) - (200, 40, 60)).max() <= 6


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La"])
def test_transparency_is_laid_on_white(mode: str, alpha: int) -> None:
    plain = Image.new("RGBA" if "RGB" in mode else "LA", (2, 2))
    plain.paste((0, 0, 0, alpha) if "RGB" in mode else (0, alpha), (0, 0, 2, 2))
    value = 255 - alpha
    assert open_image(plain.convert(mode)).getpixel((0, 0)) == (value, value, value)


def test_transparent_colours_of_a_palette_and_of_a_plain_picture_are_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    assert pixels(open_image(encoded(palette, "PNG"))) == [[RED, BLUE]]
    assert pixels(open_image(encoded(palette, "PNG", transparency=0))) == [[(255,) * 3, BLUE]]
    keyed = encoded(corners(), "PNG", transparency=RED)
    assert open_image(keyed).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(keyed).getpixel((1, 0)) == GREEN


def test_one_bit_and_cmyk() -> None:
    bits = Image.new("1", (2, 1))
    bits.putdata([0, 1])
    assert pixels(open_image(encoded(bits, "PNG"))) == [[(0, 0, 0), (255, 255, 255)]]
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan: red
    assert open_image(encoded(cmyk, "TIFF")).getpixel((0, 0)) == RED
    r, g, b = open_image(encoded(cmyk, "JPEG", quality=95)).getpixel((4, 4))
    assert r > 240
    assert max(g, b) < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    levels = [p[0] for p in pixels(open_image(encoded(Image.fromarray(values), kind)))[0]]
    assert levels == [0, 1, 128, 255]


def test_sixteen_bits_big_endian() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 0x8000, 0xFFFF))
    assert [p[0] for p in pixels(open_image(image))[0]] == [128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
        (np.array([[0, 257 * 7, 65535]], np.int32), [0, 7, 255]),
        (np.array([[-1000, 0, 1000]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.2, 1.0]], np.float32), [0, 51, 255]),
        (np.array([[0.0, 51.0, 200.0]], np.float32), [0, 51, 200]),
        (np.array([[-3e38, 0.0, 3e38]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.2, np.inf]], np.float32), [0, 51, 255]),
        (np.array([[400.0, 400.0, 400.0]], np.float32), [0, 0, 0]),
    ],
)
def test_wide_numbers(values: np.ndarray, expected: list[int]) -> None:
    if np.isinf(values).any():
        values = np.concatenate([values, [[np.float32(1.0)]]], axis=1)  # 1.0 is the finite top
    levels = [p[0] for p in pixels(open_image(encoded(Image.fromarray(values), "TIFF")))[0]]
    assert levels[:3] == expected


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in (RED, GREEN, BLUE)]
    options = {} if kind == "TIFF" else {"duration": 50}
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options, **lossless)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert open_image(data).getpixel((4, 4)) == RED


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(kind: str, orientation: int) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    stored = corners()
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = stored.transpose(turns[orientation]) if orientation > 1 else stored
    image = open_image(encoded(stored, kind, exif=exif.tobytes()))
    assert image.size == expected.size
    if kind != "JPEG":
        assert pixels(image) == pixels(expected)
    assert not image.getexif()
    assert pixels(open_image(image)) == pixels(image)  # turned once, not again


def png(depth: int, colour: int, size: tuple[int, int], row: bytes, clear: bytes = b"") -> bytes:
    """A PNG of one row, in a form that Pillow does not write."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", clear), (b"IDAT", zlib.compress(b"\0" + row))]
    made = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
        for k, d in [*parts, (b"IEND", b"")]
        if d or k == b"IEND"
    )
    return b"\x89PNG\r\n\x1a\n" + made


def test_sixteen_bits_in_colour_with_alpha_and_with_a_clear_grey() -> None:
    colour = png(16, 2, (1, 1), struct.pack(">3H", 0xFFFF, 0x8000, 0))
    assert open_image(colour).getpixel((0, 0)) == (255, 128, 0)
    half = png(16, 4, (1, 1), struct.pack(">2H", 0x8000, 0x8000))
    assert open_image(half).getpixel((0, 0)) == (191, 191, 191)
    keyed = png(16, 0, (2, 1), struct.pack(">2H", 0x8000, 0x1000), struct.pack(">H", 0x8000))
    assert pixels(open_image(keyed)) == [[(255,) * 3, (16,) * 3]]


def test_a_palette_whose_colours_are_half_transparent() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    data = encoded(palette, "PNG", transparency=bytes([128, 255]))
    assert pixels(open_image(data)) == [[(255, 127, 127), BLUE]]
    assert pixels(open_image(palette.convert("PA"))) == [[RED, BLUE]]


def test_an_animation_of_parts_gives_its_whole_first_frame() -> None:
    first, second = Image.new("P", (8, 8), 1), Image.new("P", (8, 8), 1)
    for frame in (first, second):
        frame.putpalette([*RED, *GREEN, *BLUE])
    second.putpixel((3, 3), 2)  # GIF keeps what differs alone
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert set(open_image(data).getdata()) == {GREEN}


# -- data URLs, and what plug-ins read ------------------------------------------------------------


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_a_data_url_gives_its_picture() -> None:
    whole = data_url(encoded(corners(), "PNG"))
    folded = "\n".join(whole[at : at + 60] for at in range(0, len(whole), 60))
    bare = whole.rstrip("=")
    for url in (whole, folded, bare, whole.replace("data:", "DATA:").replace("+", "%2B")):
        assert pixels(open_image(url)) == pixels(corners())
    wordy = "data:image/x-portable-pixmap," + quote_from_bytes(encoded(corners(), "PPM"))
    assert pixels(open_image(wordy)) == pixels(corners())
    other = data_url(encoded(corners(), "BMP"), "image/png;charset=utf-8")
    assert pixels(open_image(other)) == pixels(corners()), "what is in it counts"


def test_data_urls_that_hold_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "without data" in refused("data:image/png;base64")
    assert "is empty" in refused("data:image/png;base64,")
    assert "damaged" in refused("data:image/png;base64,@@@@")
    assert "cut short" in refused(data_url(encoded(noisy(), "PNG")[:300]))
    assert "SVG" in refused(data_url(b"<svg/>", "image/svg+xml"))
    long = refused(data_url(b"no picture" * 99))
    assert "'data:image/png;base64," in long
    assert len(long) < 200
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    assert "more than" in refused(data_url(encoded(noisy(), "PNG")))


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(encoded(corners(), "PNG"))
        file.truncate(images.MAX_BYTES + 1)
    assert "large.png" in refused(path)
    assert "more than 512 million" in refused(path)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (HEIC, "HEIC"),
        (HEIC.replace(b"ftypheic", b"ftypmif1"), "HEIC"),
        (b"\xff\x0a" + bytes(60), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
    ],
)
def test_what_a_plug_in_would_read_names_it(data: bytes, kind: str) -> None:
    said = refused(data)
    assert f"is {kind}" in said
    assert "plug-in" in said


@pytest.mark.parametrize("name", ["HEIF", "JXL"])
def test_a_registered_plug_in_reads_its_pictures(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Plugged(ImageFile.ImageFile):
        format = name

        def _open(self) -> None:
            self._mode, self._size = "RGB", (3, 2)
            self.tile = []

        def load(self) -> Any:
            if self.fp.read(24)[16:18] == b"!!":
                raise RuntimeError("libheif: no such item")  # plug-ins raise what they like
            self.im = corners().im
            return None

    Image.init()
    monkeypatch.setitem(Image.OPEN, name, (Plugged, lambda head: head[4:12] == b"ftypheic"))
    monkeypatch.setattr(Image, "ID", [*Image.ID, name])
    assert pixels(open_image(HEIC)) == pixels(corners())
    assert "no such item" in refused(HEIC[:16] + b"!!" + HEIC[18:])


def test_avif_is_read_where_pillow_can() -> None:
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("Pillow without AVIF")
    data = encoded(solid((32, 32), (200, 40, 60)), "AVIF")
    assert np.abs(np.asarray(open_image(data)).astype(int) - (200, 40, 60)).max() <= 8


def test_unreadable_exif_is_no_reason_to_refuse() -> None:
    image = open_image(encoded(corners(), "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xffjunk"))
    assert pixels(image) == pixels(corners())


def test_arrays() -> None:
    array = np.asarray(corners())
    assert pixels(open_image(array)) == pixels(corners())
    assert pixels(open_image(array[:, ::-1])) == [row[::-1] for row in pixels(corners())]
    assert open_image(array[..., 0]).getpixel((0, 0)) == (255, 255, 255)
    clear = np.zeros((1, 1, 4), np.uint8)
    assert open_image(clear).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 3), np.float32),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros(7, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_errors(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="array"):
        open_image(array)


def test_the_given_image_is_left_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    given = Image.open(io.BytesIO(encoded(corners().convert("RGBA"), "PNG", exif=exif.tobytes())))
    result = open_image(given)
    assert (given.mode, given.size, given.getexif()[0x0112]) == ("RGBA", (3, 2), 6)
    result.putpixel((0, 0), (1, 2, 3))
    plain = corners()
    open_image(plain).putpixel((0, 0), (1, 2, 3))
    assert plain.getpixel((0, 0)) == RED


def test_a_huge_but_legal_picture_opens() -> None:
    side = 7_900  # 62.4 million pixels
    image = open_image(encoded(Image.new("1", (side, side), 1), "PNG"))
    assert image.size == (side, side)
    assert image.getpixel((side - 1, side - 1)) == (255, 255, 255)


# -- what does not --------------------------------------------------------------------------------


def refused(source: object) -> str:
    """The message of the error that `source` gives: one line."""
    with pytest.raises(ImageError) as caught:
        open_image(source)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_empty_directory_and_text(tmp_path: Path) -> None:
    assert "no file" in refused(tmp_path / "nowhere.png")
    assert "nowhere.png" in refused(str(tmp_path / "nowhere.png"))
    assert "directory" in refused(tmp_path)
    for name, content, said in [
        ("empty.png", b"", "is empty"),
        ("text.png", b"not a picture at all\n" * 99, "not a picture"),
        ("vector.svg", b'<?xml version="1.0"?>\n<SVG xmlns="x"/>', "render it to PNG"),
        ("bare.svg", b"\xef\xbb\xbf  <svg/>", "render it to PNG"),
        ("page.ps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ]:
        (tmp_path / name).write_bytes(content)
        message = refused(tmp_path / name)
        assert said in message
        assert name in message


def test_other_sources(tmp_path: Path) -> None:
    assert "web address" in refused("https://example.org/cat.png")
    assert "expected" in refused(None)
    assert "expected" in refused(3)
    assert "empty" in refused(b"")
    assert "cannot be read" in refused("nul\0character")
    assert "cannot be read" in refused("x" * 5000)
    assert "no file" in refused("two\nlines.png")
    os.mkfifo(tmp_path / "pipe")
    assert "ordinary file" in refused(tmp_path / "pipe")  # and does not hang


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_truncated_file_is_an_error(tmp_path: Path, kind: str) -> None:
    data = encoded(noisy(), kind)
    path = tmp_path / "cut"
    for share in (0.02, 0.3, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        assert "cut" in refused(path)
        refused(path.read_bytes())


def test_flipped_bits_give_a_picture_or_our_error() -> None:
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"):
        data = encoded(noisy(16), kind)
        for _ in range(60):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 3):
                broken[place] ^= 1 << int(rng.integers(8))
            with suppress(ImageError):
                assert open_image(bytes(broken)).mode == "RGB"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8_001, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    def never(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "64 million" in refused(png_header(side, side))
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("size", [(200_000, 1), (1, 200_000), (501, 1), (30_000, 40)])
def test_a_picture_of_nothing_but_width_is_refused(size: tuple[int, int]) -> None:
    line = Image.new("1", size)
    assert "times the other" in refused(encoded(line, "PNG"))
    assert "times the other" in refused(np.asarray(line.convert("L")))
    assert "times the other" in refused(png_header(*size)), "before it is decoded"
    with pytest.raises(ImageError, match="times the other"):
        solid(size, "black")


def test_long_pictures_are_taken() -> None:
    assert open_image(encoded(Image.new("1", (4_000, 10)), "PNG")).size == (4_000, 10)
    assert open_image(Image.new("L", (1, 500))).size == (1, 500)


def test_the_limit_holds_for_images_and_arrays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 5)
    assert "more than" in refused(corners())
    assert "more than" in refused(np.asarray(corners()))


def test_no_pixels_and_colours_without_a_meaning() -> None:
    assert "no pixels" in refused(Image.new("RGB", (0, 5)))
    nothing = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    assert "'F'" in refused(nothing)


def test_a_closed_image_is_our_error(tmp_path: Path) -> None:
    corners().save(tmp_path / "c.png")
    image = Image.open(tmp_path / "c.png")
    image.close()
    assert "c.png" in refused(image)


# -- hash, thumbnail, plain pictures --------------------------------------------------------------


def test_the_hash_is_of_the_picture_not_of_the_file() -> None:
    expected = pixel_hash(corners())
    for kind in ("PNG", "BMP", "TIFF"):
        assert pixel_hash(open_image(encoded(corners(), kind))) == expected
    assert pixel_hash(corners().convert("RGBA")) == expected
    other = corners()
    other.putpixel((2, 1), (200, 100, 51))
    assert pixel_hash(other) != expected
    # the same bytes in another shape are another picture
    assert pixel_hash(solid((2, 3), "red")) != pixel_hash(solid((3, 2), "red"))


def test_thumbnails_are_small_and_keep_their_shape() -> None:
    data = thumbnail(noisy(500).resize((500, 250)))
    small = Image.open(io.BytesIO(data))
    assert small.size == (96, 48)
    assert len(data) < 20_000
    assert not small.getexif()
    assert Image.open(io.BytesIO(thumbnail(corners()))).size == (3, 2)
    assert Image.open(io.BytesIO(thumbnail(solid((400, 1), "red"), side=10))).size == (10, 1)


def test_thumbnails_without_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.features, "check", lambda name: False)
    assert Image.open(io.BytesIO(thumbnail(corners()))).format == "PNG"


def test_solid() -> None:
    assert pixels(solid((2, 1), "black")) == [[(0, 0, 0)] * 2]
    assert solid((1, 1), "white").getpixel((0, 0)) == (255, 255, 255)
    assert solid((1, 1), (1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    for size, colour in [((0, 1), "black"), ((1, 1), "no such colour"), ((9999, 9999), "black")]:
        with pytest.raises(ImageError):
            solid(size, colour)
