"""Requests that no client should send: is every answer a proper status?

    python -m benchmarks.serving_fuzz --models DIR --requests 2000 --json fuzz.json
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

import argparse
import base64
import collections
import contextlib
import dataclasses
import functools
import json
import pathlib
import re
import shlex
import struct
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from benchmarks.server_process import (
    EMBEDDED,
    Address,
    ServerProcess,
    copied_models,
    predict_request,
)
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result
from portrait_tf.photos import encode_png

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INVALID = frozenset({"INVALID_ARGUMENT"})
# Where the server may as well say that it is too much for it.
TOO_MUCH = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})
# Bytes that may by chance still be a picture.
PERHAPS = INVALID | {"OK"}
UNKNOWN_VERSION = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"})
REST_REFUSED = frozenset({"400", "404", "405", "411", "413", "429", "501"})
GROWTH_LIMIT = 0.05
# A shorter run has not seen every kind often enough for its memory to be settled.
SETTLED_REQUESTS = 1000
_SERVICES = "/tensorflow.serving."
_SIGNATURE_INPUTS = (
    "image", "mask", "parsing", "margins", "image_bytes", "mask_bytes",
)  # fmt: skip


def served_signatures(address: Address, channel: grpc.Channel) -> dict:
    """The `SignatureDef`s that a request may name."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=model_pb2.ModelSpec(name=address.model_name),
        metadata_field=["signature_def"],
    )
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    found = get_model_metadata_pb2.SignatureDefMap()
    response = stub.GetModelMetadata(request, timeout=10)
    response.metadata["signature_def"].Unpack(found)
    return {name: one for name, one in found.signature_def.items() if one.inputs}


def resident_bytes(pid: int) -> int:
    """The memory that a process holds, VmRSS of /proc/PID/status.

    Raises:
        ProcessLookupError: It has ended.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        # A zombie has no memory any more.
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found[1]) * 1024


@dataclasses.dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        kind: Its row in the table.
        allowed: The statuses that are proper: gRPC's names, or HTTP's numbers.
        send: Sends it and gives the status.
        what: A few words on this one, for the report.
    """

    kind: str
    allowed: frozenset[str]
    send: Callable[["Connection"], str]
    what: str


class Connection:
    """Sends bytes by gRPC and by HTTP, and gives statuses.

    Args:
        address: The server.
        timeout: Seconds for a request.
    """

    def __init__(self, address: Address, timeout: float = 60.0):
        self.address = address
        self.timeout = timeout
        self.channel = address.channel()

    def call(
        self,
        request: bytes,
        method: str = PREDICT,
        timeout: float | None = None,
    ) -> tuple[str, bytes]:
        """The status of a unary call, and its answer, empty if refused."""
        call = self.channel.unary_unary(
            method, request_serializer=bytes, response_deserializer=bytes
        )
        try:
            return "OK", call(request, timeout=timeout or self.timeout)
        except grpc.RpcError as error:
            return error.code().name, b""

    def http(self, path: str, body: bytes | None = None, **options) -> str:
        """The HTTP status; `BROKEN` where there was no answer at all."""
        request = urllib.request.Request(self.address.rest + path, data=body, **options)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                answer.read()
                return str(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                error.read()
            return str(error.code)
        except OSError as error:
            return f"BROKEN ({getattr(error, 'reason', error)})"

    def close(self) -> None:
        self.channel.close()


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
        seed: int = 0,
        bomb_side: int = 6000,
        largest: int = 64,
    ):
        self.address = address
        self.signatures = signatures
        self.rng = np.random.default_rng(seed)
        self.bomb_side = bomb_side
        self.largest = largest

    def cases(self, count: int) -> Iterator[Case]:
        """`count` requests, every kind as often as any other."""
        kinds = self.kinds()
        for index in range(count):
            yield kinds[index % len(kinds)]()

    def kinds(self) -> list[Callable[[], Case]]:
        """What makes a case, for every kind that this server can be asked."""
        kinds = [
            functools.partial(make, signature)
            for signature in sorted(self.signatures)
            for make in (
                self.good, self.missing_input, self.extra_input, self.misnamed_input,
                self.wrong_dtype, self.wrong_rank, self.huge_shape, self.unknown_rank,
                self.empty_batch, self.wrong_content_length, self.unequal_batches,
                self.output_filter,
            )
        ]  # fmt: skip
        for signature, names in sorted(self.signatures.items()):
            if "image" in names:
                kinds += [
                    functools.partial(make, signature)
                    for make in (self.unequal_sizes, self.no_pixels, self.repeated)
                ]
            if "image_bytes" in names:
                kinds += [
                    functools.partial(make, signature)
                    for make in (
                        self.garbage_file, self.truncated_file, self.damaged_file,
                        self.lying_header, self.bomb, self.missing_strings,
                    )
                ]  # fmt: skip
            if "margins" in names:
                kinds.append(functools.partial(self.wrong_margins, signature))
        kinds += [
            self.wrong_signature, self.wrong_model, self.wrong_version,
            self.no_model_spec, self.not_a_protobuf, self.other_method, self.metadata,
            self.hurry,
        ]  # fmt: skip
        if self.address.rest:
            kinds += [
                self.rest_good, self.rest_garbage, self.rest_damaged, self.rest_keys,
                self.rest_values, self.rest_path, self.rest_deep,
            ]  # fmt: skip
        return kinds

    # === Good inputs ===

    def size(self) -> tuple[int, int]:
        return tuple(int(side) for side in self.rng.integers(16, self.largest + 1, 2))

    def photo(self, size: tuple[int, int]) -> np.ndarray:
        return self.rng.integers(0, 256, (*size, 3), np.uint8)

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        mask = np.zeros((*size, 1), np.uint8)
        mask[size[0] // 2 :, : size[1] // 2] = 255
        return mask

    def inputs(self, signature: str, batch: int | None = None) -> dict:
        """Arrays that the signature takes."""
        batch = int(self.rng.integers(1, 3)) if batch is None else batch
        size = self.size()
        made = {
            "image": lambda: self.photo(size),
            "mask": lambda: self.mask(size),
            "parsing": lambda: self.rng.integers(0, 256, (*size, 1), np.uint8),
            "margins": lambda: self.rng.uniform(0.1, 0.5, 4).astype(np.float32),
            "image_bytes": lambda: encode_png(self.photo(size)),
            "mask_bytes": lambda: encode_png(self.mask(size)[..., 0]),
        }
        inputs = {}
        for name in self.signatures[signature]:
            values = [made[name]() for _ in range(batch)]
            dtype = object if name.endswith("_bytes") else None
            inputs[name] = np.array(values, dtype)
        return inputs

    def request(self, signature: str, **changed) -> predict_pb2.PredictRequest:
        return predict_request(
            {**self.inputs(signature), **changed}, self.address.model_name, signature
        )

    def pick(self, choices: list) -> object:
        return choices[int(self.rng.integers(len(choices)))]

    def pick_input(self, signature: str) -> str:
        return self.pick(list(self.signatures[signature]))

    def predict(
        self,
        kind: str,
        signature: str,
        request: predict_pb2.PredictRequest,
        allowed: frozenset[str],
        what: str = "",
    ) -> Case:
        content = request.SerializeToString()
        return Case(
            kind,
            allowed,
            lambda connection: connection.call(content)[0],
            f"{signature}: {what}",
        )

    # === gRPC ===

    def good(self, signature: str) -> Case:
        request = self.request(signature)
        return self.predict("good", signature, request, frozenset({"OK"}))

    def missing_input(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        del request.inputs[name]
        return self.predict("missing input", signature, request, INVALID, name)

    def extra_input(self, signature: str) -> Case:
        name = self.pick(["extra", "", "image ", "é" * 50, "x" * 10_000])
        request = self.request(signature, **{name: np.zeros(3, np.float32)})
        return self.predict("extra input", signature, request, INVALID, name[:20])

    def misnamed_input(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        other = self.pick([name.upper(), f"{name}:0", f"serving_default_{name}", ""])
        request.inputs[other].CopyFrom(request.inputs[name])
        del request.inputs[name]
        return self.predict("misnamed input", signature, request, INVALID, other)

    def wrong_dtype(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        right = request.inputs[name].dtype
        dtypes = [*types_pb2.DataType.values(), 98, 999, 2**31 - 1]
        dtype = self.pick([one for one in dtypes if one != right])
        request.inputs[name].dtype = dtype
        what = f"{name} as dtype {dtype}"
        return self.predict("wrong dtype", signature, request, INVALID, what)

    def wrong_rank(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        proto = request.inputs[name]
        right = len(proto.tensor_shape.dim)
        rank = self.pick([one for one in (*range(8), 254, 255, 300) if one != right])
        proto.tensor_shape.Clear()
        for _ in range(rank):
            proto.tensor_shape.dim.add(size=1)
        proto.tensor_shape.SetInParent()
        if proto.string_val:
            del proto.string_val[1:]
        else:
            itemsize = 4 if name == "margins" else 1
            proto.tensor_content = bytes(itemsize)
        what = f"{name} of rank {rank}"
        return self.predict("wrong rank", signature, request, INVALID, what)

    def huge_shape(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        proto = request.inputs[name]
        right = [dim.size for dim in proto.tensor_shape.dim]
        size = self.pick([2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -1, -5, -(2**63)])
        sizes = list(right)
        sizes[int(self.rng.integers(len(sizes)))] = size
        if self.rng.random() < 0.3:
            sizes = [size] * len(sizes)
        for dim, one in zip(proto.tensor_shape.dim, sizes, strict=True):
            dim.size = one
        what = f"{name} of shape {sizes}"
        return self.predict("huge shape", signature, request, TOO_MUCH, what)

    def unknown_rank(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        request.inputs[name].tensor_shape.Clear()
        request.inputs[name].tensor_shape.unknown_rank = True
        return self.predict("unknown rank", signature, request, INVALID, name)

    def empty_batch(self, signature: str) -> Case:
        inputs = {
            name: np.zeros((0, *np.shape(value)[1:]), value.dtype)
            for name, value in self.inputs(signature, 1).items()
        }
        request = predict_request(inputs, self.address.model_name, signature)
        # Nothing in, nothing out is as proper as a refusal.
        return self.predict("empty batch", signature, request, PERHAPS)

    def wrong_content_length(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        proto = request.inputs[name]
        if name.endswith("_bytes"):
            proto.string_val.extend([b"one too many"] * int(self.rng.integers(1, 9)))
            # TensorFlow's reader leaves out what is too much of a typed field.
            return self.predict("content length", signature, request, PERHAPS, name)
        if self.rng.random() < 0.5:
            proto.tensor_content = proto.tensor_content[:-1]
        else:
            proto.tensor_content += b"\0"
        return self.predict("content length", signature, request, INVALID, name)

    def unequal_batches(self, signature: str) -> Case:
        inputs = self.inputs(signature, 2)
        name = self.pick_input(signature)
        inputs[name] = np.concatenate([inputs[name], inputs[name][:1]])
        request = predict_request(inputs, self.address.model_name, signature)
        return self.predict("unequal batches", signature, request, INVALID, name)

    def output_filter(self, signature: str) -> Case:
        request = self.request(signature)
        names = self.pick([["nothing"], [""], ["completed:0"], ["é" * 100] * 3])
        request.output_filter.extend(names)
        what = str(names)[:40]
        return self.predict("output filter", signature, request, INVALID, what)

    def unequal_sizes(self, signature: str) -> Case:
        inputs = self.inputs(signature, 1)
        name = self.pick([one for one in inputs if one != "margins"])
        if self.rng.random() < 0.5 or len(inputs.keys() - {"margins"}) == 1:
            inputs[name] = np.repeat(inputs[name], 2, axis=3)  # 6 or 2 channels
        else:
            inputs[name] = np.repeat(inputs[name], 2, axis=int(self.rng.integers(1, 3)))
        request = predict_request(inputs, self.address.model_name, signature)
        what = f"{name} {inputs[name].shape}"
        return self.predict("unequal sizes", signature, request, INVALID, what)

    def no_pixels(self, signature: str) -> Case:
        axis = int(self.rng.integers(1, 3))
        inputs = {
            name: value
            if name == "margins"
            else value[(slice(None),) * axis + (np.s_[:0],)]
            for name, value in self.inputs(signature, 1).items()
        }
        request = predict_request(inputs, self.address.model_name, signature)
        return self.predict("no pixels", signature, request, INVALID, f"axis {axis}")

    def repeated(self, signature: str) -> Case:
        """One value that stands for a whole photo: short to send, large to hold."""
        request = self.request(signature)
        proto = request.inputs["image"]
        side = self.pick([1500, 20_000, 100_000])
        proto.CopyFrom(tensor_pb2.TensorProto(dtype=types_pb2.DT_UINT8, int_val=[7]))
        for size in (1, side, side, 3):
            proto.tensor_shape.dim.add(size=size)
        allowed = TOO_MUCH
        if "mask" not in self.signatures[signature] and side == 1500:
            # One colour, but a photo all the same.
            allowed |= {"OK"}
        return self.predict("repeated value", signature, request, allowed, f"{side}")

    def wrong_margins(self, signature: str) -> Case:
        margins = self.inputs(signature, 1)["margins"]
        value = self.pick([np.nan, np.inf, -np.inf, -0.5, -1e-3, 1.5, 1e9, 3e38])
        margins[0, int(self.rng.integers(4))] = value
        inputs = {**self.inputs(signature, 1), "margins": margins}
        request = predict_request(inputs, self.address.model_name, signature)
        return self.predict("wrong margins", signature, request, INVALID, f"{value}")

    # === Image files ===

    def with_file(self, kind: str, signature: str, content: bytes, what: str) -> Case:
        names = [one for one in self.signatures[signature] if one.endswith("_bytes")]
        name = self.pick(names)
        inputs = self.inputs(signature, 1)
        inputs[name] = np.array([content], object)
        request = predict_request(inputs, self.address.model_name, signature)
        allowed = PERHAPS if kind == "damaged file" else INVALID
        return self.predict(kind, signature, request, allowed, f"{name}: {what}")

    def garbage_file(self, signature: str) -> Case:
        heads = [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"GIF89a",
            b"BM",
            b"RIFF\x10\0\0\0WEBP",
            b"II*\0",
            b"<svg>",
            b"\0\0\0\x1cftypheic",
        ]
        head = self.pick(heads)
        content = head + self.rng.bytes(int(self.rng.integers(0, 2000)))
        return self.with_file("garbage file", signature, content, repr(head))

    def truncated_file(self, signature: str) -> Case:
        content = self.pick(_files(self.photo(self.size())))
        content = content[: int(self.rng.integers(0, len(content) * 9 // 10))]
        what = f"{content[:4]!r}, {len(content)} bytes"
        return self.with_file("truncated file", signature, content, what)

    def damaged_file(self, signature: str) -> Case:
        content = bytearray(self.pick(_files(self.photo(self.size()))))
        for _ in range(int(self.rng.integers(1, 30))):
            content[int(self.rng.integers(len(content)))] = int(self.rng.integers(256))
        what = f"{bytes(content[:4])!r}"
        return self.with_file("damaged file", signature, bytes(content), what)

    def lying_header(self, signature: str) -> Case:
        """A few bytes whose header tells of a picture beyond all memory."""
        side = self.pick([20_000, 65_535, 100_000, 2**31 - 1, 0])
        make = self.pick([_png_header, _bmp_header, _gif_header])
        what = f"{make.__name__} {side}"
        return self.with_file("lying header", signature, make(side), what)

    def bomb(self, signature: str) -> Case:
        """A true picture, a thousand times larger than its file, with a small mask."""
        content = _bomb(self.bomb_side)
        what = f"{self.bomb_side} x {self.bomb_side}, {len(content)} bytes"
        inputs = self.inputs(signature, 1)
        inputs["image_bytes"] = np.array([content], object)
        request = predict_request(inputs, self.address.model_name, signature)
        return self.predict("bomb", signature, request, TOO_MUCH, what)

    def missing_strings(self, signature: str) -> Case:
        request = self.request(signature)
        name = self.pick_input(signature)
        proto = request.inputs[name]
        del proto.string_val[:]
        if self.rng.random() < 0.5:
            proto.tensor_content = self.rng.bytes(16)
        return self.predict("missing strings", signature, request, INVALID, name)

    # === What a request is for ===

    def any_signature(self) -> str:
        return self.pick(sorted(self.signatures))

    def wrong_signature(self) -> Case:
        name = self.pick(
            ["other", "__saved_model_init_op", "Serving_Default", "é" * 99]
        )
        request = self.request(self.any_signature())
        request.model_spec.signature_name = name
        allowed = frozenset({"FAILED_PRECONDITION", "INVALID_ARGUMENT"})
        return self.predict("wrong signature", name[:20], request, allowed)

    def wrong_model(self) -> Case:
        signature = self.any_signature()
        request = self.request(signature)
        name = self.pick(["other", "portrait/1", "../portrait", "x" * 100_000])
        request.model_spec.name = name
        allowed = frozenset({"NOT_FOUND"})
        return self.predict("wrong model", signature, request, allowed, name[:20])

    def wrong_version(self) -> Case:
        signature = self.any_signature()
        request = self.request(signature)
        if self.rng.random() < 0.5:
            version = self.pick([0, 987_654_321, 2**63 - 1, -1])
            request.model_spec.version.value = version
            what = f"version {version}"
        else:
            request.model_spec.version_label = what = self.pick(["no-such", "é" * 99])
        return self.predict(
            "wrong version", signature, request, UNKNOWN_VERSION, what[:20]
        )

    def no_model_spec(self) -> Case:
        signature = self.any_signature()
        request = self.request(signature)
        request.ClearField("model_spec")
        if self.rng.random() < 0.5:
            request.model_spec.signature_name = signature
        return self.predict("no model", signature, request, INVALID)

    def not_a_protobuf(self) -> Case:
        content = b"\xff" + self.rng.bytes(int(self.rng.integers(1, 500)))
        allowed = frozenset({"INVALID_ARGUMENT", "INTERNAL"})
        return Case(
            "no protobuf", allowed, lambda one: one.call(content)[0], f"{content[:4]!r}"
        )

    def other_method(self) -> Case:
        method = self.pick(
            ["PredictionService/Classify", "PredictionService/Regress",
             "PredictionService/MultiInference", "PredictionService/Other", "No/Such"]
        )  # fmt: skip
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = self.address.model_name
        content = b"" if "Multi" in method else request.SerializeToString()
        allowed = frozenset(
            {"UNIMPLEMENTED", "INVALID_ARGUMENT", "FAILED_PRECONDITION"}
        )
        return _call_case("other method", allowed, method, content)

    def metadata(self) -> Case:
        if self.rng.random() < 0.5:
            request = get_model_metadata_pb2.GetModelMetadataRequest()
            request.metadata_field.extend(self.pick([["other"], [], [""] * 1000]))
            request.model_spec.name = self.address.model_name
            method, allowed = "PredictionService/GetModelMetadata", INVALID
        else:
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = self.pick(["", "other", "x" * 100_000])
            method = "ModelService/GetModelStatus"
            allowed = INVALID | {"NOT_FOUND"}
        return _call_case("metadata", allowed, method, request.SerializeToString())

    def hurry(self) -> Case:
        """A deadline that cannot be held, often."""
        content = self.request(self.any_signature()).SerializeToString()
        seconds = float(self.rng.uniform(0.0005, 0.02))
        return Case(
            "short deadline",
            frozenset({"OK", "DEADLINE_EXCEEDED"}),
            lambda one: one.call(content, timeout=seconds)[0],
            f"{seconds:.4f} s",
        )

    # === REST ===

    @property
    def path(self) -> str:
        return f"/v1/models/{self.address.model_name}"

    def rest_body(self, signature: str) -> dict:
        columns = {}
        for name, value in self.inputs(signature, 1).items():
            columns[name] = (
                [{"b64": base64.b64encode(one).decode()} for one in value]
                if name.endswith("_bytes")
                else value.tolist()
            )
        return {"signature_name": signature, "inputs": columns}

    def rest(
        self,
        kind: str,
        body: bytes | None,
        what: str = "",
        allowed: frozenset[str] = REST_REFUSED,
        path: str | None = None,
        **options,
    ) -> Case:
        path = f"{self.path}:predict" if path is None else path
        return Case(
            kind, allowed, lambda one: one.http(path, body, **options), what[:60]
        )

    def rest_good(self) -> Case:
        signature = self.any_signature()
        body = json.dumps(self.rest_body(signature)).encode()
        return self.rest("REST good", body, signature, frozenset({"200"}))

    def rest_garbage(self) -> Case:
        texts = [b"", b"null", b"[]", b"0", b'"x"', b"{", b"{}", b"\xff\xfe", b"NaN",
                 b'{"inputs": NaN}', b'{"instances": Infinity}', b'{"a": 1e999}',
                 b"\0" * 100, b'{"inputs": "\\ud800"}',
                 b"1" * 10_000, b'{"inputs": ' + b"9" * 10_000 + b"}"]  # fmt: skip
        body = self.pick([*texts, self.rng.bytes(300)])
        return self.rest("REST garbage", body, repr(body[:30]))

    def rest_damaged(self) -> Case:
        body = json.dumps(self.rest_body(self.any_signature())).encode()
        body = body[: int(self.rng.integers(1, len(body) - 1))]
        return self.rest("REST truncated", body, f"{len(body)} bytes")

    def rest_keys(self) -> Case:
        document = self.rest_body(self.any_signature())
        change = self.pick(
            [
                {"signature_name": "other"}, {"signature_name": 3},
                {"signature_name": ["x"]}, {"inputs": {}}, {"inputs": None},
                {"instances": []}, {"instances": [1, 2]}, {"inputs": {"image": 0}},
                {"inputs": [[[[]]]]}, {"inputs": {"other": 1}}, {"instances": {}},
            ]
        )  # fmt: skip
        if "instances" in change:
            del document["inputs"]
        body = json.dumps({**document, **change}).encode()
        return self.rest("REST keys", body, str(change))

    def rest_values(self) -> Case:
        document = self.rest_body(self.any_signature())
        name = self.pick(list(document["inputs"]))
        values = (
            [[{"b64": "***"}], [{"b64": 3}], [{"b64": ""}], [{}], [{"x": "y"}], 3, [[]],
             [{"b64": "AAAA"}], [None], ["é"]]
            if name.endswith("_bytes")
            else ["x", [[["x"]]], [1e400], [[1], [1, 2]], [{"b64": "AAAA"}], [[[]]], {},
                  None, [[[[None]]]], [[[[True]]]], [2**70], [[[["1"]]]]]
        )  # fmt: skip
        value = self.pick(values)
        document["inputs"][name] = value
        body = json.dumps(document).encode()
        return self.rest("REST values", body, f"{name}: {value}")

    def rest_path(self) -> Case:
        name = self.path
        path = self.pick(
            [f"{name}/versions/999:predict", f"{name}/versions/{'9' * 40}:predict",
             f"{name}/labels/none:predict", "/v1/models/other:predict", "/v2/models",
             f"{name}:other", f"{name}/versions/:predict", "/v1/models/%00:predict",
             f"/v1/models/{'x' * 10_000}:predict", "/../../etc/passwd"]
        )  # fmt: skip
        method = self.pick(["GET", "POST", "PUT", "DELETE", "PATCH"])
        body = json.dumps(self.rest_body(self.any_signature())).encode()
        return self.rest(
            "REST path",
            None if method == "GET" else body,
            f"{method} {path}",
            # A path of 10,000 characters is too long for some servers.
            REST_REFUSED | {"414", "431"},
            path,
            method=method,
        )

    def rest_deep(self) -> Case:
        depth = self.pick([100, 5_000, 200_000])
        opening, closing = self.pick([("[", "]"), ('{"a":', "}")])
        nested = f"{opening * depth}1{closing * depth}"
        key = self.pick(["inputs", "instances", "signature_name"])
        body = f'{{"{key}": {nested}}}'.encode()
        return self.rest("REST deep nesting", body, f"{opening} {depth} {key}")


def _call_case(kind: str, allowed: frozenset[str], method: str, content: bytes) -> Case:
    return Case(
        kind, allowed, lambda one: one.call(content, _SERVICES + method)[0], method
    )


def _files(photo: np.ndarray) -> list[bytes]:
    """A photo as PNG, JPEG and BMP."""
    import cv2

    suffixes = (".png", ".jpg", ".bmp")
    return [cv2.imencode(one, photo[..., ::-1])[1].tobytes() for one in suffixes]


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )


def _png(side: int, pixels: bytes, colour: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", _png_chunk(b"IHDR", header),
         _png_chunk(b"IDAT", pixels), _png_chunk(b"IEND", b"")]
    )  # fmt: skip


def _png_header(side: int) -> bytes:
    return _png(side, zlib.compress(bytes(100)), 2)


def _bmp_header(side: int) -> bytes:
    side = min(side, 2**31 - 1)
    return b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, -side, 1, 24, 0, 0, 0, 0, 0, 0
    )  # fmt: skip


def _gif_header(side: int) -> bytes:
    side = min(side, 65_535)
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"," + bytes(9)


@functools.cache
def _bomb(side: int) -> bytes:
    """A black RGB PNG; deflate makes a thousandth of it."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    pixels = b"".join(compressor.compress(row) for _ in range(side))
    return _png(side, pixels + compressor.flush(), 2)


def known_signatures(definitions: dict) -> dict[str, tuple[str, ...]]:
    """The inputs of each signature that the fuzzer knows how to make."""
    return {
        name: tuple(sorted(definition.inputs))
        for name, definition in definitions.items()
        if set(definition.inputs) <= set(_SIGNATURE_INPUTS)
    }


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


def fuzz(
    address: Address,
    count: int,
    seed: int = 0,
    bomb_side: int = 6000,
    report: Callable[[str], None] = lambda line: None,
    largest: int = 64,
) -> dict:
    """Sends the requests, and says what came of them.

    Args:
        address: The server.
        count: Requests.
        seed: What they follow from.
        bomb_side: See `Fuzzer`.
        report: Takes a line whenever something is wrong.
        largest: See `Fuzzer`.

    Returns:
        What the JSON file holds; `failed` says whether anything was wrong.
    """
    connection = Connection(address)
    signatures = known_signatures(served_signatures(address, connection.channel))
    if not signatures:
        raise PortraitError(
            f"{address.target} serves none of this project's signatures as"
            f" {address.model_name!r}"
        )
    fuzzer = Fuzzer(address, signatures, seed, bomb_side, largest)
    reference = {}
    for signature in signatures:
        content = fuzzer.request(signature).SerializeToString()
        status, answer = connection.call(content)
        if status != "OK":
            raise PortraitError(
                f"{address.target}: a good request to {signature} is answered {status}"
            )
        reference[signature] = content, outputs_of(answer)

    kinds: dict[str, collections.Counter] = {}
    problems, memory = [], []
    alive, started = True, time.monotonic()
    for index, case in enumerate(fuzzer.cases(count)):
        status = case.send(connection)
        kinds.setdefault(case.kind, collections.Counter())[status] += 1
        if status not in case.allowed:
            problems.append(
                {"request": index, "kind": case.kind, "what": case.what,
                 "status": status, "allowed": sorted(case.allowed)}
            )  # fmt: skip
            report(f"{index}: {case.kind} ({case.what}): {status}")
        if address.pid is not None:
            try:
                memory.append(resident_bytes(address.pid))
            except ProcessLookupError:
                alive = False
                report(f"{index}: {case.kind} ({case.what}): the process has ended")
                break
    seconds = time.monotonic() - started

    same = {}
    for signature, (content, expected) in reference.items():
        status, answer = connection.call(content)
        same[signature] = status == "OK" and outputs_of(answer) == expected
        alive = alive and status != "UNAVAILABLE"
        if not same[signature]:
            report(f"{signature}: a good request is not answered as before: {status}")
    connection.close()
    grown = growth(memory) if memory else None
    leaks = grown is not None and grown >= GROWTH_LIMIT and count >= SETTLED_REQUESTS
    return {
        "requests": sum(sum(one.values()) for one in kinds.values()),
        "seed": seed,
        "seconds": seconds,
        "signatures": sorted(signatures),
        "kinds": {kind: dict(found) for kind, found in sorted(kinds.items())},
        "problems": problems,
        "alive": alive,
        "same_answer": same,
        "memory_bytes": memory[:: max(1, len(memory) // 200)],
        "memory_growth": grown,
        "failed": bool(problems or not alive or not all(same.values()) or leaks),
    }


def table(result: dict) -> str:
    """Kinds, their statuses, and the verdict."""
    wrong = collections.Counter(one["kind"] for one in result["problems"])
    lines = [f"{'kind':<18} {'requests':>8} {'wrong':>5}  statuses"]
    for kind, found in result["kinds"].items():
        statuses = ", ".join(f"{name} {found[name]}" for name in sorted(found))
        lines.append(
            f"{kind:<18} {sum(found.values()):>8} {wrong[kind]:>5}  {statuses}"
        )
    grown = result["memory_growth"]
    memory = "not looked at" if grown is None else f"{grown:+.2%} over the last half"
    lines += [
        "",
        f"{result['requests']} requests in {result['seconds']:.0f} s, seed"
        f" {result['seed']}; wrong: {len(result['problems'])}",
        f"process {'alive' if result['alive'] else 'ENDED'}; good requests answered as"
        f" before: {'yes' if all(result['same_answer'].values()) else 'NO'}",
        f"memory (VmRSS): {memory}",
        "FAILED" if result["failed"] else "passed",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", type=pathlib.Path, help="start a server on the newest version here"
    )
    parser.add_argument(
        "--server-command",
        type=shlex.split,
        default=EMBEDDED,
        help="what is started; takes tensorflow_model_server's flags",
    )
    parser.add_argument("--target", help="or a server that runs: HOST:PORT of gRPC")
    parser.add_argument("--rest", default="", help="its http://HOST:PORT")
    parser.add_argument("--model-name", default="portrait", help="with --target")
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers here, too")
    parser.add_argument("--pid", type=int, help="its process, for its memory")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--bomb-side", type=int, default=6000, help="pixels; 6000 is 103 MB decoded"
    )
    parser.add_argument(
        "--largest", type=int, default=64,
        help="pixels of a good photo's side; above the networks' size, with detail",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if (options.models is None) == (options.target is None):
        parser.error("expected one of --models and --target")
    try:
        with contextlib.ExitStack() as stack:
            if options.models is not None:
                models = stack.enter_context(copied_models(options.models))
                server = ServerProcess(models, command=options.server_command)
                address = stack.enter_context(server)
            else:
                address = Address(
                    options.target, options.rest, options.model_name, options.pid
                )
            result = fuzz(
                address,
                options.requests,
                options.seed,
                options.bomb_side,
                lambda line: print(line, file=sys.stderr, flush=True),
                options.largest,
            )
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    except grpc.RpcError as error:
        raise SystemExit(f"{address.target}: {error.details()}") from None
    if options.json:
        write_result(options.json, json.dumps(result, indent=2).encode())
    print(table(result))
    if result["failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
