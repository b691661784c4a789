"""Requests that no client should send: is every answer a proper status?

    python -m benchmarks.serving_fuzz --models DIR --requests 2000
    python -m benchmarks.serving_fuzz --target HOST:8500 --rest http://HOST:8501

Starts `portrait-tf serve` on a copy of the newest version in DIR, or any other server
that takes the same flags (`--server-command`), or takes one that runs (`--target`,
`--pid` for its memory). Kinds of requests take turns; what a kind varies follows from
`--seed`. Exit code 1 when

* a status is none of those that the kind allows (INTERNAL and UNKNOWN never are, but
  for bytes that are no protobuf, which gRPC itself answers so in C++ and in Python);
* the process has ended, or the connection broke;
* a good request is not answered at the end as it was at the beginning;
* the process' memory (VmRSS) grew by 5 % or more over the last half of the run, if that
  has 1,000 requests at least.
"""

import base64
import collections
import contextlib
import json
import pathlib
import re
import shlex
import struct
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from benchmarks.common import new_parser, user_errors
from benchmarks.server_process import (
    EMBEDDED,
    Address,
    ServerProcess,
    copied_models,
    predict_request,
)
from portrait_tf.errors import PortraitError

PREDICT = "PredictionService/Predict"
OK, INVALID = frozenset({"OK"}), frozenset({"INVALID_ARGUMENT"})
TOO_MUCH = INVALID | {"RESOURCE_EXHAUSTED", "OUT_OF_RANGE"}
"""Where the server may as well say that it is too much for it."""
UNKNOWN_VERSION = INVALID | {"NOT_FOUND", "FAILED_PRECONDITION"}
REST_REFUSED = frozenset(map(str, (400, 404, 405, 411, 413, 414, 429, 431, 501)))
GROWTH_LIMIT = 0.05
SETTLED_REQUESTS = 1000
"""A shorter run has not seen every kind often enough for its memory to be settled."""


class Case(NamedTuple):
    """One request: the statuses that are proper, what sends it, and a few words."""

    allowed: frozenset[str]
    send: Callable[["Connection"], str]
    what: str = ""


class Connection:
    """Sends bytes by gRPC and by HTTP, and gives statuses."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.channel = address.channel()

    def call(
        self, request: bytes, method: str = PREDICT, timeout: float = 60.0
    ) -> tuple[str, bytes]:
        """The status of a unary call, and its answer, empty if refused."""
        call = self.channel.unary_unary(
            f"/tensorflow.serving.{method}",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        try:
            return "OK", call(request, timeout=timeout)
        except grpc.RpcError as error:
            return error.code().name, b""

    def http(self, path: str, body: bytes | None, method: str = "POST") -> str:
        """The HTTP status; `BROKEN` where there was no answer at all."""
        url = self.address.rest + path
        request = urllib.request.Request(url, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
                return str(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                error.read()
            return str(error.code)
        except OSError as error:
            return f"BROKEN ({getattr(error, 'reason', error)})"


class Fuzzer:
    """Makes requests, all of which follow from a seed.

    Args:
        address: The server that they are for.
        signatures: The inputs of each signature it serves, by name.
        seed: What everything follows from.
        bomb_side: Height and width of the pictures that are small only as files.
        largest: Height and width of good photos at most.
    """

    def __init__(
        self,
        address: Address,
        signatures: dict[str, tuple[str, ...]],
        seed: int,
        bomb_side: int,
        largest: int,
    ) -> None:
        self.address = address
        self.signatures = signatures
        self.rng = np.random.default_rng(seed)
        self.bomb = _bomb(bomb_side)
        self.largest = largest

    def kinds(self) -> dict[str, Callable[[str], Case]]:
        """What makes a case of a signature, for every kind there is."""
        kinds = [
            self.good, self.short_deadline, self.renamed, self.wrong_dtype,
            self.wrong_rank, self.wrong_shape, self.wrong_length, self.wrong_batch,
            self.wrong_filter, self.wrong_spec, self.wrong_pixels, self.repeated_value,
            self.wrong_numbers, self.wrong_file, self.damaged_file, self.no_protobuf,
        ]  # fmt: skip
        if self.address.rest:
            kinds += [self.rest_good, self.rest_body, self.rest_value, self.rest_path]
        return {kind.__name__.replace("_", " "): kind for kind in kinds}

    def pick(self, choices: list) -> object:
        return choices[int(self.rng.integers(len(choices)))]

    def photo(self, size: tuple[int, int]) -> np.ndarray:
        return self.rng.integers(0, 256, (*size, 3), np.uint8)

    def file(self, picture: np.ndarray) -> bytes:
        suffix = self.pick([".png", ".jpg", ".bmp"])
        return cv2.imencode(suffix, picture)[1].tobytes()

    def inputs(self, signature: str, batch: int) -> dict[str, np.ndarray]:
        """Arrays that the signature takes."""
        size = tuple(int(side) for side in self.rng.integers(16, self.largest + 1, 2))
        mask = np.zeros((*size, 1), np.uint8)
        mask[size[0] // 2 :, : size[1] // 2] = 255
        made = {
            "image": lambda: self.photo(size),
            "mask": lambda: mask,
            "parsing": lambda: self.rng.integers(0, 256, (*size, 1), np.uint8),
            "joints": lambda: np.hstack(
                [self.rng.uniform(0, size, (16, 2)), self.rng.integers(0, 2, (16, 1))]
            ).astype(np.float32),
            "margins": lambda: self.rng.uniform(0.1, 0.5, 4).astype(np.float32),
            "image_bytes": lambda: self.file(self.photo(size)),
            "mask_bytes": lambda: cv2.imencode(".png", mask)[1].tobytes(),
        }
        return {
            name: np.array(
                [made[name]() for _ in range(batch)],
                object if name.endswith("_bytes") else None,
            )
            for name in self.signatures[signature]
        }

    def request(
        self, signature: str, batch: int = 1, **changed: np.ndarray
    ) -> predict_pb2.PredictRequest:
        inputs = {**self.inputs(signature, batch), **changed}
        return predict_request(inputs, self.address.model_name, signature)

    def changed(
        self, signature: str
    ) -> tuple[predict_pb2.PredictRequest, str, tensor_pb2.TensorProto]:
        """A good request, and one of its inputs, which is to be spoilt."""
        request = self.request(signature, int(self.rng.integers(1, 3)))
        name = self.pick(list(self.signatures[signature]))
        return request, name, request.inputs[name]

    # === gRPC ===

    def good(self, signature: str) -> Case:
        return _predict(self.request(signature), OK)

    def short_deadline(self, signature: str) -> Case:
        """A deadline that can often not be held."""
        content = self.request(signature).SerializeToString()
        seconds = float(self.rng.uniform(0.0005, 0.5))
        return Case(
            OK | {"DEADLINE_EXCEEDED"},
            lambda one: one.call(content, timeout=seconds)[0],
        )

    def renamed(self, signature: str) -> Case:
        """Inputs that are missing, too many, or of another name."""
        request, name, proto = self.changed(signature)
        other = self.pick(["", name.upper(), f"{name}:0", "é" * 50, "x" * 10_000])
        change = self.pick(["missing", "extra", "renamed"])
        if change != "missing":
            request.inputs[other].CopyFrom(proto)
        if change != "extra":
            del request.inputs[name]
        return _predict(request, INVALID, f"{change} {name} {other[:20]}")

    def wrong_dtype(self, signature: str) -> Case:
        request, name, proto = self.changed(signature)
        dtypes = {*types_pb2.DataType.values(), 98, 999, 2**31 - 1} - {proto.dtype}
        proto.dtype = self.pick(sorted(dtypes))
        return _predict(request, INVALID, f"{name} as dtype {proto.dtype}")

    def wrong_rank(self, signature: str) -> Case:
        request, name, proto = self.changed(signature)
        ranks = {*range(8), 254, 255, 300} - {len(proto.tensor_shape.dim)}
        rank = self.pick([None, *sorted(ranks)])
        proto.tensor_shape.Clear()
        proto.tensor_shape.unknown_rank = rank is None
        for _ in range(rank or 0):
            proto.tensor_shape.dim.add(size=1)
        if proto.string_val:
            del proto.string_val[1:]
        else:
            proto.tensor_content = bytes(4 if name in ("margins", "joints") else 1)
        return _predict(request, INVALID, f"{name} of rank {rank}")

    def wrong_shape(self, signature: str) -> Case:
        request, name, proto = self.changed(signature)
        size = self.pick([2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -1, -(2**63)])
        dims = list(proto.tensor_shape.dim)
        for dim in dims if self.rng.random() < 0.3 else [self.pick(dims)]:
            dim.size = size
        return _predict(request, TOO_MUCH, f"{name} of size {size}")

    def wrong_length(self, signature: str) -> Case:
        """Fewer or more values than the shape says."""
        request, name, proto = self.changed(signature)
        if not proto.string_val:
            content = proto.tensor_content
            proto.tensor_content = self.pick([content[:-1], content + b"\0"])
            return _predict(request, INVALID, name)
        if self.rng.random() < 0.5:
            proto.string_val.extend([b"one too many"] * int(self.rng.integers(1, 9)))
            # TensorFlow's reader leaves out what is too much of a typed field.
            return _predict(request, INVALID | OK, f"{name}: too many")
        del proto.string_val[:]
        proto.tensor_content = self.pick([b"", self.rng.bytes(16)])
        return _predict(request, INVALID, f"{name}: none")

    def wrong_batch(self, signature: str) -> Case:
        inputs = self.inputs(signature, 2)
        if self.rng.random() < 0.3:
            empty = {name: value[:0] for name, value in inputs.items()}
            # Nothing in, nothing out is as proper as a refusal.
            return _predict(self.request(signature, **empty), INVALID | OK, "empty")
        name = self.pick(list(inputs))
        inputs[name] = np.concatenate([inputs[name], inputs[name][:1]])
        return _predict(self.request(signature, **inputs), INVALID, name)

    def wrong_filter(self, signature: str) -> Case:
        request = self.request(signature)
        names = self.pick([["nothing"], [""], ["completed:0"], ["é" * 100] * 3])
        request.output_filter.extend(names)
        return _predict(request, INVALID, str(names)[:40])

    def wrong_spec(self, signature: str) -> Case:
        """A model, version, signature or method that there is not."""
        request = self.request(signature)
        spec, model = request.model_spec, self.address.model_name
        key, value, allowed = self.pick(
            [
                ("name", self.pick(["x", f"{model}/1", "../x", "x" * 100_000]),
                 {"NOT_FOUND"}),
                ("signature_name", self.pick(["x", "__saved_model_init_op", "é" * 99]),
                 UNKNOWN_VERSION),
                ("version", self.pick([0, 987_654_321, 2**63 - 1, -1]),
                 UNKNOWN_VERSION),
                ("version_label", self.pick(["no-such", "é" * 99]), UNKNOWN_VERSION),
                ("nothing", "", INVALID),
                ("method", self.pick(["Classify", "Regress", "Other"]),
                 UNKNOWN_VERSION - {"NOT_FOUND"} | {"UNIMPLEMENTED"}),
            ]
        )  # fmt: skip
        what = f"{key} {str(value)[:20]}"
        if key == "method":
            content = model_pb2.ModelSpec(name=model).SerializeToString()
            # Every method's request begins with its ModelSpec.
            content = b"\x0a" + bytes([len(content)]) + content
            method = f"PredictionService/{value}"
            return Case(
                frozenset(allowed), lambda one: one.call(content, method)[0], what
            )
        if key == "nothing":
            request.ClearField("model_spec")
        elif key == "version":
            spec.version.value = value
        else:
            setattr(spec, key, value)
        return _predict(request, frozenset(allowed), what)

    def wrong_pixels(self, signature: str) -> Case:
        """Sizes that do not go with each other, other channels, and none."""
        inputs = self.inputs(signature, 1)
        names = [name for name in inputs if inputs[name].ndim == 4]
        if not names:
            return self.wrong_rank(signature)
        name, axis = self.pick(names), int(self.rng.integers(1, 3))
        if self.rng.random() < 0.3:
            inputs |= {one: np.take(inputs[one], [], axis) for one in names}
        else:
            axis = 3 if len(names) == 1 else self.pick([1, 2, 3])
            inputs[name] = np.repeat(inputs[name], 2, axis)
        what = f"{name} {inputs[name].shape}"
        return _predict(self.request(signature, **inputs), INVALID, what)

    def repeated_value(self, signature: str) -> Case:
        """One value that stands for a whole photo: short to send, large to hold."""
        request = self.request(signature)
        if "image" not in request.inputs:
            return self.wrong_file(signature)
        side = self.pick([1500, 20_000, 100_000])
        proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_UINT8, int_val=[7])
        for size in (1, side, side, 3):
            proto.tensor_shape.dim.add(size=size)
        request.inputs["image"].CopyFrom(proto)
        # One color, but a photo all the same, where nothing else has its size.
        alone = not {"mask", "parsing"} & set(request.inputs) and side == 1500
        return _predict(request, TOO_MUCH | OK if alone else TOO_MUCH, f"{side}")

    def wrong_numbers(self, signature: str) -> Case:
        inputs = self.inputs(signature, 1)
        name = next((one for one in ("margins", "joints") if one in inputs), None)
        if name is None:
            return self.renamed(signature)
        value = self.pick([np.nan, np.inf, -np.inf, -0.5, 1.5, 1e9, 3e38])
        inputs[name].reshape(-1)[int(self.rng.integers(inputs[name].size))] = value
        # A joint may be outside of the photo, and what is not said may be anything.
        allowed = INVALID | OK if name == "joints" else INVALID
        return _predict(self.request(signature, **inputs), allowed, f"{name} {value}")

    def wrong_file(self, signature: str) -> Case:
        """No picture, a part of one, a header that lies, and one that is too large."""
        head = self.pick(
            [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0",
             b"<svg>", b"\0\0\0\x1cftypheic"]
        )  # fmt: skip
        whole = self.file(self.photo((32, 24)))
        side = self.pick([0, 20_000, 65_535, 2**31 - 1])
        contents = [
            head + self.rng.bytes(int(self.rng.integers(2000))),
            whole[: int(self.rng.integers(len(whole) * 9 // 10))],
            _png(side, zlib.compress(bytes(100))),
            _bmp_header(side),
            self.bomb,
        ]
        return self._with_file(signature, self.pick(contents), TOO_MUCH)

    def damaged_file(self, signature: str) -> Case:
        content = bytearray(self.file(self.photo((32, 24))))
        for _ in range(int(self.rng.integers(1, 30))):
            content[int(self.rng.integers(len(content)))] = int(self.rng.integers(256))
        # By chance it may still be a picture.
        return self._with_file(signature, bytes(content), INVALID | OK)

    def _with_file(self, signature: str, content: bytes, allowed: frozenset) -> Case:
        names = [one for one in self.signatures[signature] if one.endswith("_bytes")]
        if not names:
            return self.wrong_shape(signature)
        file = {self.pick(names): np.array([content], object)}
        what = f"{content[:8]!r}, {len(content)} bytes"
        return _predict(self.request(signature, **file), allowed, what)

    def no_protobuf(self, signature: str) -> Case:
        content = b"\xff" + self.rng.bytes(int(self.rng.integers(1, 500)))
        return Case(INVALID | {"INTERNAL"}, lambda one: one.call(content)[0])

    # === REST ===

    def document(self, signature: str) -> dict:
        columns = {}
        for name, value in self.inputs(signature, 1).items():
            columns[name] = (
                [{"b64": base64.b64encode(one).decode()} for one in value]
                if name.endswith("_bytes")
                else value.tolist()
            )
        return {"signature_name": signature, "inputs": columns}

    def rest(self, body: bytes, what: str, allowed: frozenset = REST_REFUSED) -> Case:
        path = f"/v1/models/{self.address.model_name}:predict"
        return Case(allowed, lambda one: one.http(path, body), what[:60])

    def rest_good(self, signature: str) -> Case:
        body = json.dumps(self.document(signature)).encode()
        return self.rest(body, signature, frozenset({"200"}))

    def rest_body(self, signature: str) -> Case:
        """No JSON, other JSON, a part of a good body, and what is nested too deep."""
        good = json.dumps(self.document(signature)).encode()
        depth = self.pick([100, 5_000, 200_000])
        body = self.pick(
            [b"", b"null", b"[]", b'"x"', b"{", b"{}", b"\xff\xfe", b"NaN", b"\0" * 100,
             b'{"inputs": NaN}', b'{"instances": 1e999}', b'{"inputs": "\\ud800"}',
             b'{"inputs": ' + b"9" * 10_000 + b"}", self.rng.bytes(300),
             b'{"inputs": ' + b"[" * depth + b"1" + b"]" * depth + b"}",
             good[: int(self.rng.integers(1, len(good) - 1))]]
        )  # fmt: skip
        return self.rest(body, repr(body[:30]))

    def rest_value(self, signature: str) -> Case:
        document = self.document(signature)
        name = self.pick(list(document["inputs"]))
        files = name.endswith("_bytes")
        value = self.pick(
            [[{"b64": "***"}], [{"b64": 3}], [{"b64": ""}], [{}], 3, [[]], [None]]
            if files
            else ["x", [[["x"]]], [1e400], [[1], [1, 2]], [{"b64": "AAAA"}], {}, None,
                  [[[[None]]]], [2**70], [[[["1"]]]]]
        )  # fmt: skip
        document["inputs"][name] = value
        other = self.pick([{}, {}, {"signature_name": 3}, {"signature_name": "other"}])
        return self.rest(json.dumps({**document, **other}).encode(), f"{name}: {value}")

    def rest_path(self, signature: str) -> Case:
        name = f"/v1/models/{self.address.model_name}"
        path = self.pick(
            [f"{name}/versions/999:predict", f"{name}/versions/{'9' * 40}:predict",
             f"{name}/labels/none:predict", "/v1/models/other:predict", "/v2/models",
             f"{name}:other", f"{name}/versions/:predict", "/v1/models/%00:predict",
             f"/v1/models/{'x' * 10_000}:predict", "/../../etc/passwd"]
        )  # fmt: skip
        method = self.pick(["GET", "POST", "PUT", "DELETE", "PATCH"])
        body = json.dumps(self.document(signature)).encode()
        body = None if method == "GET" else body
        what = f"{method} {path[:40]}"
        return Case(REST_REFUSED, lambda one: one.http(path, body, method), what)


def _predict(
    request: predict_pb2.PredictRequest, allowed: frozenset[str], what: str = ""
) -> Case:
    content = request.SerializeToString()
    return Case(allowed, lambda one: one.call(content)[0], what)


def _png(side: int, pixels: bytes) -> bytes:
    """A PNG of RGB whose header says that it is so high and wide."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _bmp_header(side: int) -> bytes:
    return b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, -side, 1, 24, 0, 0, 0, 0, 0, 0
    )  # fmt: skip


def _bomb(side: int) -> bytes:
    """A black PNG; deflate makes a thousandth of it."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    pixels = b"".join(compressor.compress(row) for _ in range(side))
    return _png(side, pixels + compressor.flush())


def served_signatures(connection: Connection) -> dict[str, tuple[str, ...]]:
    """The inputs of each signature that a request may name."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=model_pb2.ModelSpec(name=connection.address.model_name),
        metadata_field=["signature_def"],
    )
    stub = prediction_service_pb2_grpc.PredictionServiceStub(connection.channel)
    found = get_model_metadata_pb2.SignatureDefMap()
    response = stub.GetModelMetadata(request, timeout=10)
    response.metadata["signature_def"].Unpack(found)
    definitions = sorted(found.signature_def.items())
    return {name: tuple(sorted(one.inputs)) for name, one in definitions if one.inputs}


def resident_bytes(pid: int) -> int | None:
    """The memory that a process holds, VmRSS of /proc/PID/status; None if it ended."""
    with contextlib.suppress(FileNotFoundError):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        # A zombie has no memory any more.
        if found := re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE):
            return int(found[1]) * 1024
    return None


def growth(samples: list[int]) -> float:
    """By how much memory grew over the last half: medians of its first and last fifth.

    Args:
        samples: Bytes, in the order of time.
    """
    half = samples[len(samples) // 2 :]
    window = max(1, len(half) // 5)
    return float(np.median(half[-window:]) / np.median(half[:window]) - 1)


def outputs_of(answer: bytes) -> dict[str, bytes]:
    """What a PredictResponse holds, apart from the version that made it."""
    response = predict_pb2.PredictResponse.FromString(answer)
    return {
        name: proto.SerializeToString(deterministic=True)
        for name, proto in response.outputs.items()
    }


def fuzz(connection: Connection, fuzzer: Fuzzer, count: int) -> bool:
    """Sends the requests, prints what came of them, and says whether all was well.

    Raises:
        PortraitError: A good request is refused at the beginning.
    """
    reference = {}
    for signature in fuzzer.signatures:
        content = fuzzer.request(signature).SerializeToString()
        status, answer = connection.call(content)
        if status != "OK":
            raise PortraitError(
                f"{connection.address.target}: a good request to {signature} is "
                f"answered {status}"
            )
        reference[signature] = content, outputs_of(answer)
    kinds = fuzzer.kinds()
    statuses = {kind: collections.Counter() for kind in kinds}
    wrong, memory, pid = 0, [], connection.address.pid
    turns = [(name, signature) for name in kinds for signature in fuzzer.signatures]
    for index in range(count):
        kind, signature = turns[index % len(turns)]
        case = kinds[kind](signature)
        status = case.send(connection)
        statuses[kind][status] += 1
        if status not in case.allowed:
            wrong += 1
            print(f"{index}: {kind}, {signature} ({case.what}): {status}", flush=True)
        memory.append(resident_bytes(pid) if pid is not None else 0)
        if memory[-1] is None:
            print(f"{index}: {kind} ({case.what}): the process has ended")
            return False
    for signature, (content, expected) in reference.items():
        status, answer = connection.call(content)
        if status != "OK" or outputs_of(answer) != expected:
            wrong += 1
            print(f"{signature}: a good request is not answered as before: {status}")
    for kind, found in statuses.items():
        print(f"{kind:<16} {', '.join(f'{name} {n}' for name, n in found.items())}")
    grown = growth(memory) if pid is not None else 0.0
    print(f"{count} requests, wrong: {wrong}; memory {grown:+.2%} over the last half")
    return not wrong and (grown < GROWTH_LIMIT or count < SETTLED_REQUESTS)


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--models", type=pathlib.Path, help="of a server to be started")
    where.add_argument("--target", help="or a server that runs: HOST:PORT of gRPC")
    parser.add_argument("--server-command", type=shlex.split, default=EMBEDDED)
    parser.add_argument("--rest", default="", help="its http://HOST:PORT")
    parser.add_argument("--model-name", default="portrait", help="with --target")
    parser.add_argument("--pid", type=int, help="its process, for its memory")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bomb-side", type=int, default=6000, help="6000: 103 MB")
    parser.add_argument("--largest", type=int, default=64, help="side of good photos")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        stack.enter_context(user_errors())
        if options.models is not None:
            models = stack.enter_context(copied_models(options.models))
            server = ServerProcess(models, command=options.server_command)
            address = stack.enter_context(server)
        else:
            address = Address(
                options.target, options.rest, options.model_name, options.pid
            )
        connection = Connection(address)
        try:
            signatures = served_signatures(connection)
        except grpc.RpcError as error:
            raise PortraitError(f"{address.target}: {error.details()}") from None
        fuzzer = Fuzzer(
            address, signatures, options.seed, options.bomb_side, options.largest
        )
        well = fuzz(connection, fuzzer, options.requests)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
