"""A process that sends a SavedModel what nobody should; prints what came of it.

Run as `python hostile.py FOLDER`; the last line is JSON. Feeds go past the checks of
Python's Session, as they do in TensorFlow Serving.
"""

import io
import json
import os
import pathlib
import struct
import sys
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

RNG = np.random.default_rng(0)


def png(height, width, data=b""):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(
            ">I", zlib.crc32(body)
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def encoded(extension, shape, options=()):
    picture = RNG.integers(0, 256, shape).astype(np.uint8)
    return cv2.imencode(extension, picture, list(options))[1].tobytes()


def jpeg(height, width):
    """A JPEG whose header says another size than it has."""
    content = bytearray(encoded(".jpg", (16, 16, 3)))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp(height, width):
    chunk = struct.pack("<BBH", 0x10, 0, 0) + struct.pack("<I", width - 1)[:3]
    chunk += struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body + bytes(64)


def bmp(height, width):
    content = bytearray(encoded(".bmp", (8, 8, 3)))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def gif():
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "gif")
    return buffer.getvalue()


def zeros(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


IMAGE, MASK = zeros(1, 32, 32, 3), zeros(1, 32, 32, 1)


def tensor_requests():
    image, mask = IMAGE, MASK
    pairs = {
        "rank 0": (zeros(), zeros()),
        "rank 1": (zeros(3), zeros(1)),
        "rank 3": (image[0], mask[0]),
        "rank 5": (image[None], mask[None]),
        "rank 4 and 2": (image, mask[0, ..., 0]),
        "four channels": (zeros(1, 32, 32, 4), mask),
        "no channel": (zeros(1, 32, 32, 0), mask),
        "mask of three channels": (image, image),
        "empty batch": (zeros(0, 32, 32, 3), zeros(0, 32, 32, 1)),
        "no rows": (zeros(1, 0, 32, 3), zeros(1, 0, 32, 1)),
        "no columns": (zeros(1, 32, 0, 3), zeros(1, 32, 0, 1)),
        "nothing at all": (zeros(0, 0, 0, 3), zeros(0, 0, 0, 1)),
        "mask of another size": (image, zeros(1, 31, 32, 1)),
        "mask of another batch": (image, zeros(2, 32, 32, 1)),
        "mask of one pixel": (image, zeros(1, 1, 1, 1)),
        "a batch of 65": (zeros(65, 2, 2, 3), zeros(65, 2, 2, 1)),
        "a side of 16385": (zeros(1, 16385, 1, 3), zeros(1, 16385, 1, 1)),
        "8193x8193": (zeros(1, 8193, 8193, 3), zeros(1, 8193, 8193, 1)),
        "floats": (image.astype(np.float32), mask),
        "int64": (image, mask.astype(np.int64)),
    }
    for name, (photo, hole) in pairs.items():
        for signature in ("serving_default", "parse"):
            yield name, signature, {"image": photo, "mask": hole}
    plain = {"image": image, "mask": mask}
    for name, parsing in {
        "map of another size": zeros(1, 32, 31, 1),
        "map of rank 3": zeros(32, 32, 1),
        "map of probabilities": zeros(1, 32, 32, 20),
        "empty map": zeros(0, 0, 0, 1),
    }.items():
        yield name, "complete_with_parsing", {**plain, "parsing": parsing}
    joints = np.zeros((1, 16, 3), np.float32)
    nowhere, unsure = joints.copy(), joints.copy()
    nowhere[0, 5], unsure[0, 5] = (np.nan, 3, 1), (3, 3, 0.5)
    for name, given in {
        "a joint that is nowhere": nowhere,
        "a joint that is half given": unsure,
        "flags that are NaN": joints + np.float32([0, 0, np.nan]),
        "fifteen joints": joints[:, :15],
        "joints of rank 2": joints[0],
        "joints of another batch": np.repeat(joints, 2, axis=0),
        "joints as doubles": joints.astype(float),
    }.items():
        yield name, "complete_with_joints", {**plain, "joints": given}


def margin_requests():
    image = IMAGE
    for value in (np.nan, np.inf, -np.inf, -0.1, 1.0001, 1e30, 3e38):
        for column in (0, 3):
            margins = np.zeros((1, 4), np.float32)
            margins[0, column] = value
            inputs = {"image": image, "margins": margins}
            yield f"margin {value}", "extrapolate", inputs
    for name, margins in {
        "margins of rank 1": np.zeros(4, np.float32),
        "three margins": np.zeros((1, 3), np.float32),
        "margins of another batch": np.zeros((2, 4), np.float32),
        "no margins": np.zeros((0, 4), np.float32),
        "margins as doubles": np.zeros((1, 4)),
    }.items():
        yield name, "extrapolate", {"image": image, "margins": margins}
    large = zeros(1, 4000, 4000, 3)
    margins = np.ones((1, 4), np.float32)
    yield "a huge canvas", "extrapolate", {"image": large, "margins": margins}
    margins = np.zeros((1, 4), np.float32)
    yield "a photo of rank 3", "extrapolate", {"image": image[0], "margins": margins}


def file_requests():
    good = png(8, 8, (b"\0" + bytes(24)) * 8)
    gray = encoded(".png", (8, 8))
    sizes = {"truncated": 64, "lying": 48, "hollow": 16}
    bad = {
        "empty": b"",
        "one byte": b"\x89",
        "text": b"no picture",
        "GIF": gif(),
        "PNG mark alone": b"\x89PNG\r\n\x1a\n",
        "JPEG mark alone": b"\xff\xd8\xff",
        "RIFF alone": b"RIFF\0\0\0\0WEBP",
        "BM alone": b"BM",
        "truncated PNG": encoded(".png", (64, 64, 3))[:-400],
        "truncated JPEG": encoded(".jpg", (64, 64, 3))[:-400],
        "truncated WebP": encoded(".webp", (64, 64, 3))[:-400],
        "truncated BMP": encoded(".bmp", (64, 64, 3))[:-400],
        "PNG without data": png(8, 8),
        "PNG 0x8": png(0, 8),
        "PNG 30000x30000": png(30000, 30000, bytes(10**6)),
        "PNG 16000x16000": png(16000, 16000, bytes(10**6)),
        "PNG 2^31-1": png(2**31 - 1, 2**31 - 1),
        "PNG 2^32-1": png(2**32 - 1, 2**32 - 1),
        "JPEG 60000x60000": jpeg(60000, 60000),
        "JPEG 0x16": jpeg(0, 16),
        "WebP 16000x16000": webp(16000, 16000),
        "hollow WebP": webp(16, 16),
        "lying BMP": bmp(48, 48),
        "BMP 30000x30000": bmp(30000, 30000),
        "BMP -30000": bmp(-30000, 30000),
        "BMP negative width": bmp(8, -8),
        "BMP -2^31": bmp(-(2**31), -(2**31)),
        "noise": RNG.integers(0, 256, 5000).astype(np.uint8).tobytes(),
    }
    for name, content in bad.items():
        # What has a proper header gets company of that size, so that it is decoded.
        size = sizes.get(name.split()[0])
        other = encoded(".png", (size, size)) if size else gray
        yield name, [content], [other]
        yield f"{name}, as mask", [other], [content]
    yield "no files", [], []
    yield "more photos than masks", [good, good], [gray]
    yield "a batch of 65", [good] * 65, [gray] * 65
    yield "another size", [good], [encoded(".png", (8, 9))]
    yield "one bad of two", [good, b"x"], [gray, gray]
    # Each may be, all of them together may not.
    yield "five of 8000x8000", [png(8000, 8000)] * 5, [png(8000, 8000)] * 5


def main(folder):
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    calls = {}

    def run(signature, inputs):
        if signature not in calls:
            definition = meta.signature_def[signature]
            # As a C++ caller has it: `Session.run` looks at shapes by itself.
            options = config_pb2.CallableOptions(
                feed=[definition.inputs[name].name for name in sorted(inputs)],
                fetch=[info.name for info in definition.outputs.values()],
            )
            calls[signature] = session._make_callable_from_options(options)
        return calls[signature](*(inputs[name] for name in sorted(inputs)))

    def strings(values):
        return np.array(values, object).reshape(len(values))

    requests = [*tensor_requests(), *margin_requests()]
    for name, images, masks in file_requests():
        inputs = {"image_bytes": strings(images), "mask_bytes": strings(masks)}
        requests.append((name, "encoded", inputs))
    for name, value in {"scalar": b"x", "matrix": [[b"x"]]}.items():
        array = np.array(value, object)
        inputs = {"image_bytes": array, "mask_bytes": array}
        requests.append((f"strings as {name}", "encoded", inputs))
    good = {
        "image": RNG.integers(0, 256, (1, 96, 80, 3)).astype(np.uint8),
        "mask": np.ones((1, 96, 80, 1), np.uint8),
    }
    # Larger than the networks, and half of it known: it is given detail.
    good["mask"][:, :48] = 0
    run("serving_default", good)
    answers = []
    for name, signature, inputs in requests:
        print(signature, name, file=sys.stderr, flush=True)
        try:
            run(signature, inputs)
            status, message = "OK", ""
        except tf.errors.OpError as error:
            status, message = type(error).__name__, error.message
        answers.append([signature, name, status, message[:300]])
    run("serving_default", good)
    # Not `ru_maxrss`: that begins with the peak of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"answers": answers, "peak_mib": peak}))


if __name__ == "__main__":
    main(sys.argv[1])
