"""Real files of every kind: what goes in, what comes out, and what is kept.

The files are made by Pillow and, where it is installed, by ImageMagick, which also
reads some of the results: so no error of ours can hide on both sides.
"""

import io
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent import futures

import cv2
import numpy as np
import pytest
import tifffile
from PIL import (
    Image,
    ImageCms,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    features,
)

from portrait_tf.errors import PortraitError
from portrait_tf.photos import (
    EXTENSIONS,
    MaskOptions,
    PhotoFile,
    compose,
    containers,
    decode_image,
    decode_photo,
    encode_photo,
    format_of,
    hole_from_alpha,
    open_photo,
    output_name,
    read_hole,
    read_image_bytes,
    read_photo,
    tiff,
    write_photo,
)
from portrait_tf.photos.orientation import (
    patch_exif,
    patch_xmp,
    read_orientation,
    turn_back,
    turn_upright,
)

SIZE = (80, 56)
FILLED = (200, 30, 60)


def imagemagick():
    """Its program; other programs are called `convert`, too."""
    program = shutil.which("magick") or shutil.which("convert")
    if program:
        found = subprocess.run([program, "-version"], capture_output=True)
        if found.stdout.startswith(b"Version: ImageMagick"):
            return program
    return None


CONVERT = imagemagick()
needs_imagemagick = pytest.mark.skipif(
    CONVERT is None, reason="ImageMagick is not installed"
)


@pytest.fixture
def scene():
    """Smooth colors with some grain, no two rows or columns alike."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    grain = np.random.default_rng(0).integers(0, 9, (*SIZE, 3))
    colors = np.stack([rows * 3, columns * 4, 200 - rows - columns], -1)
    return np.clip(colors + grain, 0, 255).astype(np.uint8)


@pytest.fixture
def hole():
    hole = np.zeros(SIZE, np.uint8)
    hole[33:52, 9:30] = 255
    return hole


@pytest.fixture
def profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make_exif(orientation, thumbnail=b""):
    """Maker, orientation, stored size, a maker note full of bytes, and a thumbnail."""
    note = bytes(range(1, 101))
    folder_1, folder_exif = 8, 8 + 2 + 3 * 12 + 4
    maker = folder_exif + 2 + 3 * 12 + 4
    second = maker + len(note) + 10
    start = second + 2 + 2 * 12 + 4
    entry = struct.Struct(">HHII")
    first = [(0x010F, 2, 10, second - 10), (0x0112, 3, 1, orientation << 16)]
    inner = [(0xA002, 4, 1, SIZE[1]), (0xA003, 4, 1, SIZE[0]), (0x927C, 7, 100, maker)]
    block = b"MM\0*" + struct.pack(">I", folder_1) + struct.pack(">H", 3)
    block += b"".join(entry.pack(*tag) for tag in first)
    block += entry.pack(0x8769, 4, 1, folder_exif)
    block += struct.pack(">I", second if thumbnail else 0)
    block += struct.pack(">H", 3) + b"".join(
        entry.pack(*tag) for tag in sorted(inner, key=lambda tag: tag[0])
    )
    block += bytes(4) + note + b"AnyCamera\0" + struct.pack(">H", 2)
    block += entry.pack(0x0201, 4, 1, start) + entry.pack(0x0202, 4, 1, len(thumbnail))
    return block + bytes(4) + thumbnail


def complete(path, out, hole, origin=(0, 0), **options):
    """What the command does, with one color for the networks' answer."""
    photo = open_photo(path)
    completed = np.zeros((*hole.shape, 3), np.uint8)
    top, left = origin
    height, width = photo.size
    completed[top : top + height, left : left + width] = photo.rgb()
    completed[hole != 0] = FILLED
    return photo.notes + write_photo(
        out, photo, completed, hole, origin=origin, **options
    )


def opened(file):
    """By Pillow; leaves no file open."""
    data = file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes()
    return Image.open(io.BytesIO(data))


def convert(*arguments):
    done = subprocess.run(
        [CONVERT, *map(str, arguments)], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_imagemagick_sees(path, channels="rgba"):
    """Stored values, 16 bits each, `[N, C]`."""
    raw = convert(f"{path}[0]", "-depth", "16", "-endian", "LSB", f"{channels}:-")
    return np.frombuffer(raw, "<u2").reshape(-1, len(channels))


class TestPng:
    def test_what_the_networks_see_of_transparent_parts_is_white(self, tmp_path):
        pixels = np.zeros((4, 6, 4), np.uint8)
        pixels[:, :2] = (10, 20, 30, 255)
        pixels[:, 4:] = (100, 0, 200, 127)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        seen = open_photo(tmp_path / "a.png").rgb()
        assert seen[0, 0].tolist() == [10, 20, 30]
        assert seen[0, 2].tolist() == [255, 255, 255]
        assert seen[0, 4].tolist() == [178, 128, 228]

    def test_what_is_said_of_the_photo_stays(self, scene, hole, profile, tmp_path):
        path, out = tmp_path / "a.png", tmp_path / "b.png"
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "A. Person")
        text.add_itxt("XML:com.adobe.xmp", "<x>tiff:Orientation='6'</x>")
        text.add(b"gAMA", struct.pack(">I", 45455))
        Image.fromarray(scene).save(
            path, pnginfo=text, dpi=(300, 200), icc_profile=profile,
            exif=b"Exif\0\0" + make_exif(1),
        )  # fmt: skip
        complete(path, out, hole)
        before, after = opened(path), opened(out)
        before.load(), after.load()
        assert before.info == after.info
        assert after.info["Author"] == "A. Person" and "gamma" in after.info

    def test_an_orientation_stays_with_its_pixels(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.png", tmp_path / "b.png"
        stored = np.ascontiguousarray(turn_back(scene, 6))
        Image.fromarray(stored).save(path, exif=b"Exif\0\0" + make_exif(6))
        complete(path, out, hole)
        after = opened(out)
        assert after.size == (SIZE[0], SIZE[1])
        assert after.getexif()[0x0112] == 6
        known = turn_back(hole, 6) == 0
        np.testing.assert_array_equal(np.asarray(after)[known], stored[known])

    @pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
    def test_a_transparent_color_of_gray_becomes_alpha(self, bits):
        values = np.arange(64).reshape(4, 16) % min(1 << bits, 256)
        if bits == 16:
            rows = values.astype(">u2").view(np.uint8).reshape(4, -1)
        else:
            columns = values[..., None] >> np.arange(bits)[::-1] & 1
            rows = np.packbits(columns.reshape(4, -1).astype(np.uint8), axis=1)
        data = png_file((4, 16), bits, 0, rows, (b"tRNS", b"\0\1"))
        photo = decode_photo(data, "a.png")
        most = 65535 if bits == 16 else 255
        expected = values if bits >= 8 else values * 255 // ((1 << bits) - 1)
        np.testing.assert_array_equal(photo.pixels[..., 0], expected)
        np.testing.assert_array_equal(photo.alpha, np.where(values == 1, 0, most))

    @pytest.mark.parametrize("bits", [8, 16])
    def test_a_transparent_color_of_rgb_becomes_alpha(self, scene, hole, bits):
        pixels = scene if bits == 8 else scene.astype(np.uint16) * 257
        rows = pixels.astype(f">u{bits // 8}").view(np.uint8).reshape(SIZE[0], -1)
        color = pixels[0, 0].astype(">u2").tobytes()
        data = png_file(SIZE, bits, 2, rows, (b"tRNS", color))
        photo = decode_photo(data, "a.png")
        np.testing.assert_array_equal(photo.pixels[..., :3], pixels)
        expected = (pixels != pixels[0, 0]).any(-1)
        np.testing.assert_array_equal(photo.alpha != 0, expected)
        content, notes = encode_photo("b.png", photo, photo.rgb(), hole)
        after = decode_photo(content, "b.png").pixels
        assert notes == []
        np.testing.assert_array_equal(after[hole == 0], photo.pixels[hole == 0])

    def test_a_palette_becomes_full_colors(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.png", tmp_path / "b.png"
        Image.fromarray(scene).quantize(64).save(path)
        assert "palette" in complete(path, out, hole)[0]
        before = np.asarray(opened(path).convert("RGB"))
        np.testing.assert_array_equal(
            np.asarray(opened(out))[hole == 0], before[hole == 0]
        )

    @needs_imagemagick
    @pytest.mark.parametrize("kind", ["png24", "png32", "png48", "png64", "png8"])
    def test_files_by_imagemagick(self, scene, hole, tmp_path, kind):
        Image.fromarray(scene).save(tmp_path / "scene.png")
        path, out = tmp_path / "a.png", tmp_path / "b.png"
        convert(
            tmp_path / "scene.png", "-alpha", "set", "-channel", "A", "-evaluate",
            "multiply", "0.6", "+channel", "-density", "240", "-units",
            "PixelsPerInch", "-set", "comment", "by hand",
            *(["-evaluate", "multiply", "0.7231"] if kind == "png48" else []),
            f"{kind}:{path}",
        )  # fmt: skip
        complete(path, out, hole)
        before, after = as_imagemagick_sees(path), as_imagemagick_sees(out)
        known = (hole == 0).ravel()
        np.testing.assert_array_equal(before[known], after[known])
        if kind == "png48":
            assert (before % 257 != 0).any()
        expected = [257 * value for value in (*FILLED, 255)]
        assert after[~known][0].tolist() == expected
        assert b"by hand" in convert(out, "-format", "%c", "info:")
        assert float(convert(out, "-format", "%x", "info:")) == pytest.approx(94.49)


def png_file(size, bits, kind, rows, *chunks):
    """Rows of bytes `[N, B]` without filters, by the specification."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, kind, 0, 0, 0)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(content))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body
        + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (*parts, (b"IEND", b""))
    )  # fmt: skip


def plain_deep_png(pixels):
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    return png_file((height, width), 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


class TestJpeg:
    def save(self, path, pixels, **options):
        options = {"format": "JPEG", "quality": 88, "subsampling": 2, **options}
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)

    @pytest.mark.parametrize("quality", [40, 75, 95])
    def test_its_own_tables_so_it_neither_swells_nor_degrades(
        self, scene, hole, tmp_path, quality
    ):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        big = cv2.resize(scene, None, fx=4, fy=4)
        hole = cv2.resize(hole, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        self.save(path, big, quality=quality)
        assert complete(path, out, hole) == []
        before, after = opened(path), opened(out)
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == 2
        assert out.stat().st_size < 1.1 * path.stat().st_size
        # Two blocks of chroma away from the hole.
        known = cv2.dilate(hole, np.ones((65, 65))) == 0
        change = np.abs(
            np.asarray(after)[known].astype(int) - np.asarray(before)[known]
        )
        assert change.mean() < 0.5 and np.percentile(change, 99.9) <= 4

    def test_quality_and_progressive_and_subsampling(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        self.save(path, scene, subsampling=1, progressive=True)
        complete(path, out, hole, quality=30)
        after, expected = opened(out), io.BytesIO()
        self.save(expected, scene, quality=30)
        assert after.quantization == opened(expected).quantization
        assert after.info["progressive"] and JpegImagePlugin.get_sampling(after) == 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_orientation(self, scene, hole, tmp_path, orientation):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        exif = make_exif(orientation)
        self.save(
            path, turn_back(scene, orientation), exif=b"Exif\0\0" + exif,
            quality=95, subsampling=0,
        )  # fmt: skip
        upright = open_photo(path).rgb()
        assert upright.shape == scene.shape
        assert np.abs(upright.astype(int) - scene).mean() < 3
        complete(path, out, hole)
        after = open_photo(out)
        assert after.orientation == orientation
        inside = after.rgb()[36:49, 12:27].astype(int)
        assert np.abs(inside - FILLED).mean() < 3
        known = cv2.dilate(hole, np.ones((17, 17))) == 0
        assert np.abs(after.rgb()[known].astype(int) - upright[known]).mean() < 1
        stored = turn_back(hole, orientation).shape
        assert after.exif == patch_exif(exif, orientation, stored)
        assert bytes(range(1, 101)) in after.exif
        # Into another format it goes upright, and says so.
        complete(path, tmp_path / "c.png", hole, format="PNG")
        turned = opened(tmp_path / "c.png")
        assert turned.size == (SIZE[1], SIZE[0]) and turned.getexif()[0x0112] == 1
        known = hole == 0
        np.testing.assert_array_equal(np.asarray(turned)[known], upright[known])

    def test_a_thumbnail_of_the_old_photo_goes(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        thumbnail = io.BytesIO()
        self.save(thumbnail, scene[:16, :16])
        exif = make_exif(1, thumbnail.getvalue())
        self.save(path, scene, exif=b"Exif\0\0" + exif)
        complete(path, out, hole)
        assert path.read_bytes().count(b"\xff\xd8") == 2
        assert out.read_bytes().count(b"\xff\xd8") == 1
        assert opened(out).getexif()[0x010F] == "AnyCamera"

    def test_metadata(self, scene, hole, profile, tmp_path):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        xmp = b"<x:xmpmeta tiff:Orientation='1'/>"
        rights = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x04(c)!"
        self.save(
            path, scene, icc_profile=profile, dpi=(300, 300), comment=b"a note",
            xmp=xmp, extra=b"\xff\xed" + struct.pack(">H", len(rights) + 2) + rights,
        )  # fmt: skip
        complete(path, out, hole)
        info, before = opened(out).info, opened(path).info
        assert info["icc_profile"] == profile and info["dpi"] == (300, 300)
        assert info["comment"] == b"a note" and info["xmp"] == xmp
        assert rights in out.read_bytes()
        assert info.keys() == before.keys()

    def test_gray_stays_gray(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        Image.fromarray(scene).convert("L").save(path, quality=80)
        complete(path, out, hole)
        before, after = opened(path), opened(out)
        assert after.mode == "L" and after.quantization == before.quantization

    def test_extrapolation_writes_the_new_size(self, scene, tmp_path):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        self.save(
            path, turn_back(scene, 8), exif=b"Exif\0\0" + make_exif(8), quality=95
        )
        hole = np.full((SIZE[0] + 24, SIZE[1] + 8), 255, np.uint8)
        hole[16:-8, 8:] = 0
        complete(path, out, hole, origin=(16, 8))
        after = opened(out)
        assert after.size == (SIZE[0] + 24, SIZE[1] + 8)
        inner = after.getexif().get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == after.size
        part = open_photo(out).rgb()[24:-16, 16:].astype(int)
        assert np.abs(part - open_photo(path).rgb()[8:-8, 8:]).mean() < 3

    def test_cmyk_becomes_rgb(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        Image.fromarray(scene).convert("CMYK").save(path, quality=95, subsampling=0)
        assert complete(path, out, hole) == [
            "CMYK was converted to RGB, and the output is RGB"
        ]
        after = opened(out)
        assert after.mode == "RGB"
        known = cv2.dilate(hole, np.ones((17, 17))) == 0
        change = np.asarray(after)[known].astype(int) - scene[known]
        assert np.abs(change).mean() < 4

    @needs_imagemagick
    def test_files_by_imagemagick(self, scene, hole, profile, tmp_path):
        Image.fromarray(scene).save(tmp_path / "scene.png")
        (tmp_path / "p.icc").write_bytes(profile)
        path, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
        convert(
            tmp_path / "scene.png", "-profile", tmp_path / "p.icc", "-quality", 91,
            "-sampling-factor", "4:2:2", "-density", 150, path,
        )  # fmt: skip
        complete(path, out, hole)
        fields = "%[jpeg:sampling-factor] %m %x %Q"
        said = [convert(one, "-format", fields, "info:") for one in (path, out)]
        assert said[0] == said[1]
        assert convert(out, "icc:-") == profile


class TestTiff:
    @pytest.mark.parametrize("compression", [None, "tiff_lzw"])
    def test_tags_and_compression(self, scene, hole, tmp_path, compression):
        path, out = tmp_path / "a.tif", tmp_path / "b.tif"
        Image.fromarray(scene).save(
            path, compression=compression, dpi=(300, 300), description="me"
        )
        assert complete(path, out, hole) == []
        after = opened(out)
        assert after.info["dpi"] == (300, 300) and after.tag_v2[270] == "me"
        expected = "tiff_adobe_deflate" if compression else "raw"
        assert after.info["compression"] == expected

    @needs_imagemagick
    @pytest.mark.parametrize(
        ("orientation", "compression"),
        [(1, "none"), (1, "lzw"), *((index, "zip") for index in (3, 4, 6, 7))],
    )
    def test_16_bit_color_by_imagemagick(
        self, scene, hole, profile, tmp_path, orientation, compression
    ):
        stored = np.ascontiguousarray(turn_back(scene, orientation))
        Image.fromarray(stored).save(tmp_path / "scene.png")
        (tmp_path / "p.icc").write_bytes(profile)
        path, out = tmp_path / "a.tif", tmp_path / "b.tif"
        names = ("top-left", "top-right", "bottom-right", "bottom-left", "left-top",
                 "right-top", "right-bottom", "left-bottom")  # fmt: skip
        convert(
            tmp_path / "scene.png", "-evaluate", "multiply", "0.7231", "-orient",
            names[orientation - 1], "-density", 200, "-depth", 16, "-compress",
            compression, "-profile", tmp_path / "p.icc", path,
        )  # fmt: skip
        assert open_photo(path).size == SIZE
        complete(path, out, hole)
        before, after = (
            as_imagemagick_sees(path, "rgb"),
            as_imagemagick_sees(out, "rgb"),
        )
        known = (turn_back(hole, orientation) == 0).ravel()
        assert (before % 257 != 0).any()
        np.testing.assert_array_equal(before[known], after[known])
        assert after[~known][0].tolist() == [257 * value for value in FILLED]
        fields = "%[orientation] %z %x %wx%h"
        said = [convert(one, "-format", fields, "info:") for one in (path, out)]
        assert said[0] == said[1]
        assert convert(out, "icc:-") == profile

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_premultiplied_alpha_stays_so(self, hole, tmp_path, dtype):
        path, out = tmp_path / "a.tif", tmp_path / "b.tif"
        most = 999 if dtype == np.uint16 else 255
        pixels = np.random.default_rng(3).integers(0, most, (*SIZE, 4), dtype)
        path.write_bytes(tiff.encode_tiff(pixels, tiff.Tags(), 3, premultiplied=True))
        complete(path, out, hole)
        assert opened(path).tag_v2[338] == opened(out).tag_v2[338] == (1,)
        known = turn_back(hole, 3) == 0
        np.testing.assert_array_equal(tifffile.imread(out)[known], pixels[known])
        if dtype == np.uint16:
            np.testing.assert_array_equal(
                open_photo(out).pixels[hole == 0], turn_upright(pixels, 3)[hole == 0]
            )

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_gray_whose_white_is_zero(self, scene, hole, dtype):
        gray = scene[..., 0].astype(dtype) * (np.iinfo(dtype).max // 255)
        file = io.BytesIO()
        tifffile.imwrite(file, gray, photometric="miniswhite")
        photo = decode_photo(file.getvalue(), "a.tif")
        np.testing.assert_array_equal(photo.pixels[..., 0], np.iinfo(dtype).max - gray)
        content, _ = encode_photo("b.tif", photo, photo.rgb(), hole)
        after = decode_photo(content, "b.tif")
        np.testing.assert_array_equal(after.pixels[hole == 0], photo.pixels[hole == 0])

    def test_cmyk_becomes_rgb(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.tif", tmp_path / "b.tif"
        Image.fromarray(scene).convert("CMYK").save(path, compression="tiff_lzw")
        assert "CMYK" in complete(path, out, hole)[0]
        after = opened(out)
        assert after.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(after)[hole == 0], scene[hole == 0])

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX"])
    @pytest.mark.parametrize("compression", [None, "packbits"])
    def test_pixels_are_pillows(self, scene, mode, compression):
        file = io.BytesIO()
        image = Image.fromarray(scene).convert(mode)
        image.save(file, "TIFF", compression=compression)
        photo = decode_photo(file.getvalue(), "a.tif")
        expected = {"1": "L", "P": "RGB", "RGBX": "RGB"}.get(mode, mode)
        np.testing.assert_array_equal(
            photo.pixels.squeeze(), np.asarray(image.convert(expected))
        )

    def test_colors_that_were_multiplied_by_alpha(self, scene):
        colors = scene // 2
        pixels = np.dstack([colors, np.full(SIZE, 128, np.uint8)])
        data = tiff.encode_tiff(pixels, tiff.Tags(), premultiplied=True)
        found = decode_photo(data, "a.tif").pixels
        assert (found[..., 3] == 128).all()
        assert np.abs(found[..., :3] - colors / 128 * 255).max() <= 1.01

    @pytest.mark.parametrize(
        ("mode", "words"),
        [
            ("YCbCr", "gray, RGB or CMYK"),
            ("LAB", "gray, RGB or CMYK"),
            ("F", "of 8 or 16 bits"),
        ],
    )
    def test_numbers_and_color_models_that_are_refused(self, scene, mode, words):
        values = scene[..., 0].astype(np.float32) if mode == "F" else scene
        file = io.BytesIO()
        Image.frombytes(mode, SIZE[::-1], values.tobytes()).save(file, "TIFF")
        with pytest.raises(PortraitError, match=f"a.tif: expected .*{words}"):
            decode_photo(file.getvalue(), "a.tif")


def made_tiff(pixels, planar=False, **options):
    """By tifffile, with 4 strips of which the last is shorter, or with tiles."""
    channels = pixels.shape[2]
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        np.ascontiguousarray(stored if channels > 1 else pixels[..., 0]),
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=("separate" if planar else "contig") if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        **({} if "tile" in options else {"rowsperstrip": 23}),
        **options,
    )
    return file.getvalue()


class TestTiffStorage:
    """Files by tifffile, which is another reader and writer than ours."""

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_pixels_stored_in_any_order(self, hole, channels, dtype):
        rng = np.random.default_rng(channels)
        pixels = rng.integers(0, np.iinfo(dtype).max, (*SIZE, channels), dtype, True)
        for planar in (False, True) if channels > 1 else (False,):
            for blocks in ({}, {"tile": (32, 16)}):
                for compression in (
                    {},
                    {"compression": "zlib"},
                    {"compression": "zlib", "predictor": True},
                ):
                    for order in "<>":
                        options = {**blocks, **compression, "byteorder": order}
                        data = made_tiff(pixels, planar, **options)
                        photo = decode_photo(data, "a.tif")
                        assert photo.pixels.dtype == dtype
                        np.testing.assert_array_equal(photo.pixels, pixels)
        content, notes = encode_photo("b.tif", photo, photo.rgb(), hole)
        assert notes == []
        after = tifffile.imread(io.BytesIO(content)).reshape(pixels.shape)
        np.testing.assert_array_equal(after[hole == 0], pixels[hole == 0])

    @pytest.mark.parametrize("orientation", [1, 6, 7])
    @pytest.mark.parametrize("planar", [False, True])
    def test_16_bits_are_turned_once(self, scene, orientation, planar):
        deep = np.ascontiguousarray(turn_back(scene, orientation)).astype(np.uint16)
        data = made_tiff(deep, planar, extratags=[(274, 3, 1, orientation, True)])
        photo = decode_photo(data, "a.tif")
        assert photo.orientation == orientation
        np.testing.assert_array_equal(photo.pixels, scene)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("planar", [False, True])
    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
    def test_strips_that_are_missing_or_short(self, scene, dtype, planar, options):
        data = made_tiff(scene.astype(dtype), planar, **options)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            offsets, counts = page.tags[273], page.tags[279]
        for tag, words in (
            (offsets, "are missing"),
            (counts, "missing|corrupted|decompress"),
        ):
            kind = {2: "H", 4: "I"}[tag.valuebytecount // tag.count]
            damaged = bytearray(data)
            value = len(data) - 1 if tag is offsets else 40
            struct.pack_into("<" + kind, damaged, tag.valueoffset, value)
            with pytest.raises(PortraitError, match=f"a.tif: .*({words})"):
                decode_photo(bytes(damaged), "a.tif")
        # Fewer strips than the height needs.
        damaged = bytearray(data)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            position = file.pages[0].tags[257].valueoffset
        struct.pack_into("<H", damaged, position, 3 * SIZE[0])
        with pytest.raises(PortraitError, match="a.tif: .*strips or tiles expected"):
            decode_photo(bytes(damaged), "a.tif")

    @pytest.mark.parametrize("predictor", [False, True])
    @pytest.mark.parametrize("strip", [0, 2, 3])
    def test_a_damaged_strip(self, scene, predictor, strip, capfd):
        data = made_tiff(scene, compression="zlib", predictor=predictor)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            start = file.pages[0].dataoffsets[strip]
            length = file.pages[0].databytecounts[strip]
        for place in (0, length // 2, length - 2):
            damaged = bytearray(data)
            damaged[start + place] ^= 0x55
            with pytest.raises(PortraitError, match="a.tif: expected a whole photo"):
                decode_photo(bytes(damaged), "a.tif")
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg", "lzma"])
    def test_damage_that_decoders_find(self, scene, compression, capfd):
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "TIFF", compression=compression)
        data = bytearray(file.getvalue())
        decode_photo(bytes(data), "a.tif")
        tags = opened(file).tag_v2
        start, length = tags[273][0], tags[279][0]
        first = start + (length - 300 if compression == "packbits" else 100)
        data[first : first + 300] = bytes([0x80] * 300)
        with pytest.raises(PortraitError, match="a.tif: expected a whole photo"):
            decode_photo(bytes(data), "a.tif")
        assert capfd.readouterr().err == ""

    def test_data_of_another_compression(self, scene, capfd):
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "TIFF", compression="tiff_lzw")
        entry = struct.pack("<HHIH", 259, 3, 1, 5)
        data = file.getvalue()
        assert data.count(entry) == 1
        data = data.replace(entry, entry[:-2] + struct.pack("<H", 50001))
        with pytest.raises(PortraitError, match="a.tif: expected a whole photo"):
            decode_photo(data, "a.tif")
        assert capfd.readouterr().err == ""

    def test_a_jpeg_smaller_than_its_strip(self, scene):
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "TIFF", compression="jpeg")
        data = bytearray(file.getvalue())
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 2] = struct.pack(">H", SIZE[0] - 8)
        with pytest.raises(PortraitError, match="a.tif: expected a whole photo"):
            decode_photo(bytes(data), "a.tif")

    @pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
    def test_fax_is_refused(self, scene, compression):
        """Its decoders leave damaged rows as the memory was."""
        file = io.BytesIO()
        Image.fromarray(scene).convert("1").save(file, "TIFF", compression=compression)
        with pytest.raises(PortraitError, match=r"a.tif: .*received compression \d"):
            decode_photo(file.getvalue(), "a.tif")

    @pytest.mark.parametrize("kind, value", [(16, 1 << 40), (17, -1 << 40), (99, 7)])
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("order", "<>")
    def test_private_tags_of_any_type(self, scene, hole, kind, value, big, order):
        tag = [(65000, 16 if kind == 99 else kind, 1, value, True)]
        data = made_tiff(scene, extratags=tag, bigtiff=big, byteorder=order)
        if kind == 99:
            data = data.replace(
                struct.pack(f"{order}HH", 65000, 16),
                struct.pack(f"{order}HH", 65000, 99),
            )
        photo = decode_photo(data, "a.tif")
        np.testing.assert_array_equal(photo.pixels, scene)
        for format in (None, "JPEG", "PNG"):
            content, notes = encode_photo("b", photo, photo.rgb(), hole, format=format)
            decode_photo(content, "b")
            said = "TIFF tags that EXIF cannot hold: 65000"
            # No reader knows the length of a type that is in no specification.
            assert notes == ([said] if format and kind != 99 else [])
            if not format and kind != 99:
                with tifffile.TiffFile(io.BytesIO(content)) as file:
                    assert file.pages[0].tags[65000].value == value


class TestResolution:
    @pytest.mark.parametrize("ratio", [(0, 0), (1, 0), (0, 1), (1 << 31, 1)])
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "AVIF"])
    def test_one_that_is_no_number_of_dots(self, scene, hole, ratio, format):
        if format == "AVIF" and not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        data = bytearray(made_tiff(scene, resolution=((1, 1), (1, 1))))
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            for tag in (282, 283):
                start = file.pages[0].tags[tag].valueoffset
                struct.pack_into("<II", data, start, *ratio)
            struct.pack_into("<H", data, file.pages[0].tags[296].valueoffset, 2)
        photo = decode_photo(bytes(data), "a.tif")
        assert photo.dpi is None or ratio[1] and ratio[0]
        content, notes = encode_photo("b", photo, photo.rgb(), hole, format=format)
        after = decode_photo(content, "b")
        assert after.size == SIZE
        too_large = ratio[0] > 1 and format in ("JPEG", "PNG", "BMP")
        assert ("the format cannot hold the resolution" in notes) == (
            too_large and not (format == "PNG" and ratio[0] < 0xFFFFFFFF * 0.0254)
        )

    def test_exif_that_is_unknown_stays(self, scene, hole):
        """A lens without a known aperture has 0/0, by the EXIF specification."""
        exif = Image.Exif()
        unknown = TiffImagePlugin.IFDRational(0, 0)
        exif.get_ifd(0x8769)[0xA432] = (unknown,) * 4
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "JPEG", exif=exif.tobytes())
        photo = decode_photo(file.getvalue(), "a.jpg")
        for format in (None, "TIFF", "PNG"):
            content, _ = encode_photo("b", photo, photo.rgb(), hole, format=format)
            lens = Image.open(io.BytesIO(content)).getexif().get_ifd(0x8769)[0xA432]
            assert all(one.denominator == 0 for one in lens)


class TestWebp:
    def test_lossless_stays_so(self, scene, hole, profile, tmp_path):
        path, out = tmp_path / "a.webp", tmp_path / "b.webp"
        pixels = Image.fromarray(scene)
        pixels.putalpha(Image.fromarray(scene[..., 0]))
        pixels.save(
            path, lossless=True, exact=True, icc_profile=profile, exif=make_exif(1),
            xmp=b"<x/>",
        )  # fmt: skip
        assert complete(path, out, hole) == []
        before, after = opened(path), opened(out)
        np.testing.assert_array_equal(
            np.asarray(after)[hole == 0], np.asarray(before)[hole == 0]
        )
        assert after.info["icc_profile"] == profile and after.info["xmp"] == b"<x/>"
        assert after.getexif()[0x010F] == "AnyCamera"

    def test_lossy_stays_so(self, scene, hole, tmp_path):
        path, out = tmp_path / "a.webp", tmp_path / "b.webp"
        Image.fromarray(scene).save(path, quality=80)
        complete(path, out, hole)
        assert b"VP8 " in out.read_bytes()[:60]
        complete(path, tmp_path / "c.webp", hole, quality=10)
        assert (tmp_path / "c.webp").stat().st_size < out.stat().st_size


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_heic_and_avif(scene, hole, profile, tmp_path, format, orientation):
    if format == "HEIF":
        heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
        heif.register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path, out = tmp_path / f"a{EXTENSIONS[format]}", tmp_path / f"b{EXTENSIONS[format]}"
    Image.fromarray(np.ascontiguousarray(turn_back(scene, orientation))).save(
        path, quality=95, icc_profile=profile,
        exif=b"Exif\0\0" + make_exif(orientation),
    )  # fmt: skip
    photo = open_photo(path)
    assert photo.format == format and photo.size == SIZE
    assert np.abs(photo.rgb().astype(int) - scene).mean() < 8
    assert complete(path, out, hole) == []
    after = open_photo(out)
    assert after.format == format and after.size == SIZE and after.icc == profile
    # Pillow's plugin turns HEIC by itself.
    assert after.orientation == (1 if format == "HEIF" else orientation)
    assert b"AnyCamera" in after.exif
    known = cv2.dilate(hole, np.ones((33, 33))) == 0
    assert np.abs(after.rgb()[known].astype(int) - photo.rgb()[known]).mean() < 4


class TestHeic:
    def test_without_the_library(self, monkeypatch, tmp_path):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
        with pytest.raises(PortraitError, match=r"a.heic: .*portrait-tf\[heic\]"):
            open_photo(tmp_path / "a.heic")
        with pytest.raises(PortraitError, match=r"portrait-tf\[heic\]"):
            format_of("out.heic")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
class TestAvif:
    def test_a_pillow_without_it(self, scene, monkeypatch, tmp_path):
        path = tmp_path / "a.avif"
        Image.fromarray(scene).save(path)
        monkeypatch.setattr("PIL.features.check", lambda feature: False)
        with pytest.raises(PortraitError, match=r"a.avif: to read AVIF, .*Pillow"):
            open_photo(path)
        with pytest.raises(PortraitError, match="to write AVIF, .*Pillow"):
            format_of("out.avif")

    def test_more_bits_are_told_of(self, scene):
        """Those of an AVIF are in its configuration record; here 10 and 12."""
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "AVIF")
        data = bytearray(file.getvalue())
        flags = data.index(b"av1C") + 6
        assert containers.avif_bits(bytes(data)) == 8
        for more, bits in ((0x40, 10), (0x60, 12)):
            data[flags] = data[flags] & 0x9F | more
            assert containers.avif_bits(bytes(data)) == bits


class TestReadOnly:
    """Formats whose results are PNG files."""

    @pytest.mark.parametrize("mode", ["P", "L"])
    def test_gif(self, scene, hole, tmp_path, mode):
        image = Image.fromarray(scene)
        image = image.quantize(64) if mode == "P" else image.convert("L")
        path = tmp_path / "a.gif"
        image.save(path, transparency=int(np.asarray(image)[0, 0]))
        complete(path, tmp_path / "b", hole)
        after = opened(tmp_path / "b")
        assert after.format == "PNG" and after.mode.endswith("A")
        before = np.asarray(opened(path).convert("RGBA"))[hole == 0]
        assert (before[:, 3] == 0).any()
        np.testing.assert_array_equal(
            np.asarray(after.convert("RGBA"))[hole == 0], before
        )

    def test_the_first_picture_of_several_is_kept(self, scene):
        file = io.BytesIO()
        first, second = Image.fromarray(scene), Image.fromarray(scene[::-1].copy())
        first.save(file, "GIF", save_all=True, append_images=[second])
        photo = decode_photo(file.getvalue(), "a.gif")
        assert "of 2 pictures in the file, the first is kept" in photo.notes
        assert np.abs(photo.rgb().astype(int) - scene).mean() < 20

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("name", ["jp2", "j2k"])
    def test_jpeg_2000(self, scene, hole, tmp_path, dtype, name):
        pixels = scene if dtype == np.uint8 else scene[..., 0].astype(np.uint16) * 201
        path = tmp_path / f"a.{name}"
        Image.fromarray(pixels).save(path)
        photo = open_photo(path)
        np.testing.assert_array_equal(photo.pixels.squeeze(), pixels)
        assert complete(path, tmp_path / "b", hole) == []
        after = open_photo(tmp_path / "b")
        assert after.format == "PNG"
        np.testing.assert_array_equal(
            after.pixels.squeeze()[hole == 0], pixels[hole == 0]
        )

    def test_their_results_have_another_name(self):
        for name, format, expected in (
            ("a/b.gif", None, "a/b.png"),
            ("a/b.JP2", None, "a/b.png"),
            ("a/b.gif", "JPEG", "a/b.jpg"),
            ("a/b.jfif", None, "a/b.jfif"),
            ("a/b.avif", None, "a/b.avif"),
        ):
            assert output_name(pathlib.PurePath(name), format) == pathlib.PurePath(
                expected
            )
        for name in ("out.gif", "out.jp2"):
            with pytest.raises(PortraitError, match="received .*, which is read only"):
                format_of(name)


def every_kind(scene):
    """Name, and content of a file, of each format, mode and way of storing."""
    deep = np.dstack([scene, scene[..., 0]]).astype(np.uint16) * 255 + 77
    for channels in (1, 2, 3, 4):
        yield f"deep-{channels}.png", plain_deep_png(deep[..., :channels])
        for planar in (False, True):
            for options in ({}, {"compression": "zlib", "tile": (32, 16)}):
                for bits, pixels in ((8, deep.astype(np.uint8)), (16, deep)):
                    name = f"{bits}-{channels}-{planar}-{len(options)}.tif"
                    yield name, made_tiff(pixels[..., :channels], planar, **options)
    for format, modes in (
        ("PNG", ("1", "L", "LA", "P", "RGB", "RGBA")),
        ("BMP", ("1", "L", "P", "RGB", "RGBA")),
        ("JPEG", ("L", "RGB", "CMYK")),
        ("WEBP", ("RGB", "RGBA")),
        ("GIF", ("L", "P")),
        ("JPEG2000", ("L", "LA", "RGB", "RGBA")),
        ("AVIF", ("RGB", "RGBA")),
        ("TIFF", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")),
    ):
        if format == "AVIF" and not features.check("avif"):
            continue
        ways = [{}]
        if format == "TIFF":
            ways = [{"compression": name} for name in ("tiff_lzw", "packbits", "jpeg")]
        for mode in modes:
            for index, options in enumerate(ways):
                if options.get("compression") == "jpeg" and mode not in ("L", "RGB"):
                    continue
                file = io.BytesIO()
                Image.fromarray(scene).convert(mode).save(file, format, **options)
                yield f"{mode}-{index}.{format.lower()}", file.getvalue()


_DIGESTS = """
import hashlib, pathlib, sys
import numpy as np
from portrait_tf.errors import PortraitError
from portrait_tf.photos import decode_photo
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    for number in range(4):
        damaged = bytearray(data)
        if number:
            start = int(rng.integers(len(data) // 4, len(data)))
            end = start + int(rng.integers(1, 50))
            middle = (b"", bytes(end - start), rng.bytes(end - start))[number % 3]
            damaged[start:end] = middle
        try:
            pixels = decode_photo(bytes(damaged), path.name).pixels
        except PortraitError as error:
            assert number, error
            print(path.name, number, "refused")
        else:
            print(path.name, number, hashlib.sha256(pixels.tobytes()).hexdigest())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fills memory by glibc's malloc")
def test_pixels_never_depend_on_what_was_in_memory(scene, tmp_path):
    """Another photo, say; whole files and damaged ones, of every kind."""
    for name, content in every_kind(scene[:40, :28]):
        (tmp_path / name).write_bytes(content)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _DIGESTS, str(tmp_path)],
            env={**os.environ, "MALLOC_PERTURB_": filling},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for filling in ("1", "254")
    ]
    found = []
    for process in started:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and errors == "", errors
        found.append(output.splitlines())
    assert len(found[0]) == 4 * len(list(tmp_path.iterdir()))
    assert found[0] == found[1]


def test_a_header_of_more_rows_than_are_stored(scene):
    """What would be left as the memory was, or black."""
    rows, double = struct.pack(">I", SIZE[0]), struct.pack(">I", 2 * SIZE[0])

    def made(format, **options):
        file = io.BytesIO()
        Image.fromarray(scene).save(file, format, **options)
        return bytearray(file.getvalue())

    files = {}
    for bits in (8, 16):
        pixels = scene.astype(f">u{bits // 8}").view(np.uint8).reshape(SIZE[0], -1)
        files[f"{bits}.png"] = png_file((2 * SIZE[0], SIZE[1]), bits, 2, pixels)
    for name, options in (("a.jpg", {}), ("b.jpg", {"progressive": True})):
        files[name] = made("JPEG", **options)
        start = files[name].index(b"\xff\xc2" if options else b"\xff\xc0") + 5
        files[name][start : start + 2] = double[2:]
    files["a.bmp"] = made("BMP")
    files["a.bmp"][22:26] = double[::-1]
    files["a.gif"] = made("GIF")
    size = struct.pack("<HH", SIZE[1], SIZE[0])
    files["a.gif"] = files["a.gif"].replace(
        size, struct.pack("<HH", SIZE[1], 2 * SIZE[0])
    )
    files["a.webp"] = made("WEBP", quality=80)
    start = files["a.webp"].index(b"\x9d\x01\x2a") + 5
    files["a.webp"][start : start + 2] = double[:1:-1]
    files["a.jp2"] = made("JPEG2000")
    start = files["a.jp2"].index(b"\xff\x4f\xff\x51") + 12
    assert files["a.jp2"][start : start + 4] == rows
    files["a.jp2"][start : start + 4] = double
    start = files["a.jp2"].index(b"ihdr") + 4
    files["a.jp2"][start : start + 4] = double
    for name, data in files.items():
        with pytest.raises(PortraitError, match=f"{name}: expected a whole photo"):
            decode_photo(bytes(data), name)


@pytest.mark.parametrize("format", EXTENSIONS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whatever_is_written_is_read(scene, hole, format, channels, dtype):
    if format == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    pixels = np.dstack([scene, scene[::-1, :, 0]])
    pixels = pixels[..., [0, 3] if channels == 2 else slice(channels)].astype(dtype)
    pixels = pixels * np.array(257 if dtype == np.uint16 else 1, dtype)
    photo = PhotoFile("a", "PNG", pixels)
    completed = np.full((*SIZE, 3), FILLED, np.uint8)
    content, _ = encode_photo("b", photo, completed, hole, format=format)
    after = decode_photo(content, "b")
    assert after.format == format and after.size == SIZE
    again, _ = encode_photo("c", after, completed, hole)
    assert decode_photo(again, "c").size == SIZE
    if format in ("PNG", "TIFF"):
        np.testing.assert_array_equal(after.pixels[hole == 0], pixels[hole == 0])
        luma = round(0.299 * FILLED[0] + 0.587 * FILLED[1] + 0.114 * FILLED[2])
        inside = [luma] if channels <= 2 else [*FILLED]
        inside += [255] * (channels in (2, 4))
        times = 257 if dtype == np.uint16 else 1
        assert after.pixels[40, 20].tolist() == [times * value for value in inside]
    elif format in ("WEBP", "BMP"):
        np.testing.assert_array_equal(after.rgb()[hole == 0], photo.rgb()[hole == 0])
    else:
        far = cv2.dilate(hole, np.ones((33, 33))) == 0
        change = after.rgb()[far].astype(int) - photo.rgb()[far]
        assert np.abs(change).mean() < 6


def test_threads_leave_the_filters_of_warnings_as_they_were(scene):
    file = io.BytesIO()
    Image.fromarray(np.tile(scene, (4, 4, 1))).save(file, "PNG")
    before = list(warnings.filters)
    with futures.ThreadPoolExecutor(4) as pool:
        photos = pool.map(decode_photo, [file.getvalue()] * 40, ["a.png"] * 40)
        assert {photo.size for photo in photos} == {(4 * SIZE[0], 4 * SIZE[1])}
    assert list(warnings.filters) == before


def test_reading_pixels_alone_is_silent_and_checked(scene, tmp_path, capfd):
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "JPEG", exif=b"Exif\0\0" + make_exif(6))
    data = file.getvalue()
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:-2] + bytes(20) + data[-2:])
    assert read_photo(path).shape == (SIZE[1], SIZE[0], 3)
    for content in (path.read_bytes(), data):
        path.write_bytes(content)
        np.testing.assert_array_equal(
            read_photo(path, oriented=False), np.asarray(opened(path))
        )
    # OpenCV's libpng would print a warning of such a profile.
    rows = scene.reshape(SIZE[0], -1)
    chunk = (b"iCCP", b"bad\0\0" + zlib.compress(bytes(40)))
    path.write_bytes(png_file(SIZE, 8, 2, rows, chunk))
    np.testing.assert_array_equal(read_photo(path), scene)
    decoded = decode_image(path.read_bytes(), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], scene)
    for content in (b"\xff\xd8", b"\xff\xd8\xff", data[:100], data[:600], b"none"):
        path.write_bytes(content)
        for oriented in (False, True):
            with pytest.raises(PortraitError, match="a.jpg: expected a"):
                read_photo(path, oriented)
    path.write_bytes(png_file(SIZE, 8, 2, rows[:40]))
    with pytest.raises(PortraitError, match="a.jpg: .*bytes of pixels are missing"):
        read_photo(path)
    with pytest.raises(PortraitError, match="a.jpg: .*bytes of pixels are missing"):
        read_image_bytes(path, "label map")
    assert capfd.readouterr().err == ""


class TestOtherFormats:
    """What is not in the format that is asked for is said."""

    def test_png_to_jpeg(self, scene, hole, profile, tmp_path):
        path, out = tmp_path / "a.png", tmp_path / "b.jpg"
        pixels = Image.fromarray(scene)
        pixels.putalpha(128)
        pixels.save(path, icc_profile=profile, dpi=(300, 300), exif=make_exif(1))
        notes = complete(path, out, hole, format="JPEG")
        assert notes == ["transparent parts were laid over white"]
        after = opened(out)
        assert after.info["icc_profile"] == profile
        assert after.info["dpi"] == (300, 300)
        assert after.getexif()[0x010F] == "AnyCamera"
        assert JpegImagePlugin.get_sampling(after) == 0

    @pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
    @pytest.mark.parametrize("source", ["jpg", "tif", "png", "webp"])
    def test_metadata_goes_along(self, scene, hole, profile, tmp_path, source, format):
        path, out = tmp_path / f"a.{source}", tmp_path / "b"
        exif = Image.Exif()
        exif[0x010F] = "AnyCamera"
        exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
        Image.fromarray(scene).save(
            path, icc_profile=profile, exif=exif.tobytes(), dpi=(300, 300)
        )
        assert complete(path, out, hole, format=format) == []
        after = opened(out)
        after.load()
        assert after.format == format and after.info["icc_profile"] == profile
        assert after.getexif()[0x010F] == "AnyCamera"
        assert after.getexif().get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        if "webp" not in (source, format.lower()):
            assert after.info["dpi"] == pytest.approx((300, 300), rel=1e-4)

    def test_16_bits_to_8(self, hole, tmp_path):
        pixels = np.full((*SIZE, 3), 257 * 77 + 100, np.uint16)
        (tmp_path / "a.png").write_bytes(plain_deep_png(pixels))
        out = tmp_path / "b.bmp"
        notes = complete(tmp_path / "a.png", out, hole, format="BMP")
        assert notes == ["of 16 bits a channel, 8 are kept"]
        assert np.asarray(opened(out))[0, 0].tolist() == [77, 77, 77]

    def test_a_photo_too_wide_for_the_format(self, tmp_path):
        Image.new("RGB", (17000, 2)).save(tmp_path / "a.png")
        hole = np.zeros((2, 17000), np.uint8)
        hole[:, :9] = 255
        with pytest.raises(PortraitError, match="b.webp: .*2x17000.*WEBP"):
            complete(tmp_path / "a.png", tmp_path / "b.webp", hole, format="WEBP")
        assert not (tmp_path / "b.webp").exists()


class TestBrokenFiles:
    @pytest.mark.parametrize("format", ["jpg", "png", "webp", "tif", "bmp", "avif"])
    def test_cut_off_anywhere(self, scene, tmp_path, format):
        if format == "avif" and not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        path = tmp_path / f"a.{format}"
        Image.fromarray(scene).save(path)
        data = path.read_bytes()
        for part in (0.02, 0.3, 0.6, 0.9):
            path.write_bytes(data[: int(part * len(data))])
            with pytest.raises(PortraitError, match=f"a.{format}: expected a") as error:
                open_photo(path)
            assert "\n" not in str(error.value)

    def test_a_jpeg_damaged_in_the_middle(self, scene, tmp_path, capfd):
        """As far as a decoder can know."""
        path = tmp_path / "a.jpg"
        Image.fromarray(cv2.resize(scene, None, fx=6, fy=6)).save(path, quality=95)
        data = path.read_bytes()
        rng = np.random.default_rng(0)
        found = {"zeros": 0, "noise": 0, "missing": 0}
        for part in np.linspace(0.3, 0.9, 20):
            start = int(part * len(data))
            end = start + 200
            for name, middle in (
                ("zeros", bytes(200)), ("noise", rng.bytes(200)), ("missing", b"")
            ):  # fmt: skip
                path.write_bytes(data[:start] + middle + data[end:])
                try:
                    open_photo(path)
                except PortraitError as error:
                    assert str(error).startswith(f"{path}: expected a whole photo")
                    found[name] += 1
        assert min(found.values()) >= 10 and found["missing"] >= 18, found
        assert capfd.readouterr().err == ""

    def test_bytes_too_many_are_harmless(self, scene, tmp_path, capfd):
        path = tmp_path / "a.jpg"
        Image.fromarray(scene).save(path)
        data = path.read_bytes()
        path.write_bytes(data[:-2] + bytes(20) + data[-2:] + b"more")
        open_photo(path)
        assert capfd.readouterr().err == ""

    def test_a_png_with_a_wrong_checksum(self, scene, tmp_path):
        path = tmp_path / "a.png"
        Image.fromarray(scene).save(path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x55
        path.write_bytes(data)
        with pytest.raises(PortraitError, match="a.png: expected a whole photo"):
            open_photo(path)

    def test_bombs(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(png_file((40000, 40000), 8, 2, [np.zeros(1 << 20, np.uint8)]))
        with pytest.raises(PortraitError, match="at most 179 megapixels"):
            open_photo(path)
        text = PngImagePlugin.PngInfo()
        text.add_text("a", "b" * (1 << 22), zip=True)
        Image.new("RGB", (4, 4)).save(path, pnginfo=text)
        with pytest.raises(PortraitError, match="a.png: expected a whole photo"):
            open_photo(path)

    def test_garbage(self, tmp_path):
        rng = np.random.default_rng(0)
        starts = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"BM",
                  b"RIFF\x00\x01\x00\x00WEBPVP8 ", b"GIF89a", b"",
                  b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\0\x2f",
                  b"\0\0\0\x1cftypavif", b"II+\0\x08\0\0\0")  # fmt: skip
        for index in range(110):
            path = tmp_path / "a.jpg"
            rest = rng.bytes(300 if index < 77 else index % 3)
            path.write_bytes(starts[index % len(starts)] + rest)
            with pytest.raises(PortraitError) as error:
                open_photo(path)
            assert "a.jpg" in str(error.value) and "\n" not in str(error.value)

    def test_damaged_exif_does_not_matter(self, scene, hole, tmp_path):
        rng = np.random.default_rng(0)
        block = make_exif(6, b"thumbnail")
        for _ in range(200):
            damaged = bytearray(block)
            for _ in range(4):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            cut = bytes(damaged[: rng.integers(len(damaged))])
            for one in (bytes(damaged), cut):
                assert 1 <= read_orientation(one) <= 8
                assert len(patch_exif(one, 1, SIZE)) == len(one)
        path = tmp_path / "a.jpg"
        Image.fromarray(scene).save(path, exif=b"Exif\0\0" + block[:30])
        complete(path, tmp_path / "b.jpg", hole)


def test_what_the_networks_see_may_be_changed(scene, tmp_path):
    for name in ("a.png", "a.jpg"):
        Image.fromarray(scene).save(tmp_path / name)
        photo = open_photo(tmp_path / name)
        before = photo.pixels.copy()
        photo.rgb()[:] = 0
        np.testing.assert_array_equal(photo.pixels, before)


class TestMasks:
    def save(self, path, pixels, **options):
        Image.fromarray(pixels).save(path, **options)
        return path

    def test_white_is_the_hole_whatever_the_depth(self, hole, tmp_path):
        soft = np.where(hole, 128, 127).astype(np.uint8)
        deep = (hole[..., None] != 0) * np.uint16(65535)
        (tmp_path / "deep.png").write_bytes(plain_deep_png(deep))
        for path in (
            self.save(tmp_path / "gray.png", hole),
            self.save(tmp_path / "rgb.png", np.repeat(hole[..., None], 3, 2)),
            self.save(tmp_path / "bits.png", hole > 0),
            self.save(tmp_path / "jpeg.jpg", hole, quality=90),
            tmp_path / "deep.png",
        ):
            found, notes = read_hole(path, SIZE)
            assert notes == []
            np.testing.assert_array_equal(found, hole)
        found, notes = read_hole(self.save(tmp_path / "soft.png", soft), SIZE)
        np.testing.assert_array_equal(found, hole)
        assert "soft.png: 100% of the mask is gray" in notes[0]

    def test_alpha_and_inversion(self, scene, hole, tmp_path):
        layer = np.full((*SIZE, 4), 255, np.uint8)
        layer[..., 3] = hole
        path = self.save(tmp_path / "layer.png", layer)
        np.testing.assert_array_equal(read_hole(path, SIZE)[0], hole)
        found, _ = read_hole(path, SIZE, MaskOptions(from_alpha=True))
        np.testing.assert_array_equal(found, 255 - hole)
        found, _ = read_hole(path, SIZE, MaskOptions(from_alpha=True, invert=True))
        np.testing.assert_array_equal(found, hole)
        found, _ = read_hole(
            self.save(tmp_path / "m.png", 255 - hole), SIZE, MaskOptions(invert=True)
        )
        np.testing.assert_array_equal(found, hole)
        photo = np.dstack([scene, 255 - hole])
        photo = open_photo(self.save(tmp_path / "photo.png", photo))
        np.testing.assert_array_equal(hole_from_alpha(photo)[0], hole)
        completed = photo.rgb()
        assert (compose(photo, completed, hole)[..., 3] == 255).all()
        with pytest.raises(PortraitError, match="m.png: expected an alpha channel"):
            read_hole(tmp_path / "m.png", SIZE, MaskOptions(from_alpha=True))

    def test_another_size(self, hole, tmp_path):
        path = self.save(tmp_path / "m.png", hole[::2, ::2])
        with pytest.raises(PortraitError, match="m.png: expected the photo's size"):
            read_hole(path, SIZE)
        found, notes = read_hole(path, SIZE, MaskOptions(resize=True))
        assert "40x28 to the photo's 80x56" in notes[0]
        np.testing.assert_array_equal(np.unique(found), [0, 255])
        assert np.mean(found != hole) < 0.03
        assert read_hole(self.save(path, hole), SIZE, MaskOptions(resize=True))[1] == []

    def test_it_is_painted_over_the_upright_photo(self, hole, tmp_path):
        """Its own orientation counts as the photo's does."""
        exif = b"Exif\0\0" + make_exif(6)
        turned = self.save(
            tmp_path / "t.png", np.ascontiguousarray(turn_back(hole, 6)), exif=exif
        )
        np.testing.assert_array_equal(read_hole(turned, SIZE)[0], hole)

    def test_masks_on_one_side_of_the_threshold(self, hole, tmp_path):
        """0 and 1, as annotation tools write them; pure red; a dark palette."""
        ones = hole // 255
        indices = Image.fromarray(ones)
        indices.putpalette([0, 0, 0, 128, 0, 0])
        indices.save(tmp_path / "palette.png")
        red = np.dstack([hole, 0 * hole, 0 * hole])
        white = self.save(tmp_path / "white.png", np.full_like(hole, 255))
        where = "above 127 of 255 where the hole is.* "
        for path, words in (
            (self.save(tmp_path / "none.png", 0 * hole), f"{where}value found is 0$"),
            (self.save(tmp_path / "ones.png", ones), f"{where}value found is 1$"),
            (
                self.save(tmp_path / "red.png", red),
                rf"{where}is 76, of the color \(255, 0, 0\)",
            ),
            (tmp_path / "palette.png", rf"{where}is 38, of the color \(128, 0, 0\)"),
            (white, "at most 127 .* darkest value found is 255 .all of it is hole"),
        ):
            with pytest.raises(PortraitError, match=f"{path.name}: .*{words}"):
                read_hole(path, SIZE)
        with pytest.raises(PortraitError, match="127 .* found is 1 .all of it is hole"):
            read_hole(tmp_path / "ones.png", SIZE, MaskOptions(invert=True))
        opaque = np.full((*SIZE, 4), 255, np.uint8)
        path = self.save(tmp_path / "opaque.png", opaque)
        message = "a transparency above 127 .* but the highest value found is 0$"
        with pytest.raises(PortraitError, match=message):
            read_hole(path, SIZE, MaskOptions(from_alpha=True))


@pytest.mark.parametrize("orientation", range(10))
def test_orientations_are_pillows(orientation):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    there = turn_upright(pixels, orientation)
    np.testing.assert_array_equal(there, np.asarray(ImageOps.exif_transpose(image)))
    np.testing.assert_array_equal(turn_back(there, orientation), pixels)


def test_xmp_says_the_same_orientation():
    attribute, element = (
        b'<a tiff:Orientation="6" b="6"/>',
        b"<tiff:Orientation>8</tiff:Orientation>",
    )
    assert patch_xmp(attribute, 1) == b'<a tiff:Orientation="1" b="6"/>'
    assert patch_xmp(element, 1) == b"<tiff:Orientation>1</tiff:Orientation>"
