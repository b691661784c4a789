"""The bundled networks in several runtimes, and what a user waits for.

    make peers    # an environment of its own, with OpenVINO

Prints two tables. The chain of all networks at its working size, on one thread, in
TensorFlow, ONNX Runtime and OpenVINO (where installed), in alternation, with medians;
its convolutions' arithmetic as a share of what this machine reaches in a product of
matrices. And processes of `portrait-tf complete`, for one small JPEG and for a folder.
CPU time is what to compare on a busy machine; `taskset -c 1` keeps to one core.
"""

import collections
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.common import markdown, new_parser

_SIDE = 1024
"""Of the matrices whose product is the limit."""
_WITHOUT_ONNX = (
    "import sys; sys.modules['onnxruntime'] = None; "
    "from portrait_tf.apps.cli import main; main()"
)


def whole_graphs() -> list[bytes]:
    """The bundled graphs, with their weights inside."""
    import onnx

    from portrait_tf.inference import onnx_engine
    from portrait_tf.runs.bundled import FOLDER

    weights = dict(collections.ChainMap(*onnx_engine.bundled_weights().values()))
    graphs = []
    for name in (onnx_engine.STRUCTURE_FILE, onnx_engine.PAINTING_FILE):
        model = onnx.load(FOLDER / name, load_external_data=False)
        for one in model.graph.initializer:
            if one.name in weights:
                values = np.float32(weights[one.name])
                one.CopyFrom(onnx.numpy_helper.from_array(values, one.name))
        graphs.append(model.SerializeToString())
    return graphs


def run_onnx(sessions: list, given: dict[str, np.ndarray]) -> np.ndarray:
    """Both stages."""
    (parsing,) = sessions[0].run(["parsing"], given)
    return sessions[1].run(["completed"], given | {"parsing": parsing})[0]


def onnx_session(graph: bytes, profile: str = "") -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = bool(profile)
    options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"]
    )


def runtimes(graphs: list[bytes]) -> dict[str, Callable[[dict], object]]:
    """Functions of inputs by name; outputs are completed photos."""
    import tensorflow as tf

    from portrait_tf.inference.pipeline import Pipeline

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    pipeline = Pipeline.bundled()
    signature = [tf.TensorSpec([None, *pipeline.size, n], tf.float32) for n in (3, 1)]

    @tf.function(input_signature=signature, autograph=False)
    def chain(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return pipeline.networks(image, mask)["completed"]

    sessions = [onnx_session(graph) for graph in graphs]
    found = {
        "TensorFlow": lambda given: chain(given["image"], given["mask"]),
        "ONNX Runtime": lambda given: run_onnx(sessions, given),
    }
    try:
        import openvino
    except ModuleNotFoundError:
        return found
    from openvino.frontend.tensorflow import ConversionExtension

    # As in `export.onnx_model`: it is about the sign of -0.0.
    bitcast = ConversionExtension(
        "Bitcast",
        lambda node: [openvino.opset13.convert(node.get_input(0), "i32").output(0)],
    )
    converted = openvino.convert_model(chain, extension=[bitcast])
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.compile_model(converted, "CPU", settings)
    return found | {"OpenVINO": lambda given: model([given["image"], given["mask"]])}


def convolutions(graphs: list[bytes], given: dict[str, np.ndarray]) -> float:
    """Arithmetic of all convolutions, multiplication and addition counted apart."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = [
            onnx_session(graph, str(pathlib.Path(folder, str(number))))
            for number, graph in enumerate(graphs)
        ]
        run_onnx(sessions, given)
        events = [
            event
            for session in sessions
            for event in json.loads(pathlib.Path(session.end_profiling()).read_text())
        ]
    total = 0
    for event in events:
        about = event.get("args", {})
        if event["name"].endswith("_kernel_time") and about["op_name"] == "Conv":
            (out,) = about["output_type_shape"][0].values()
            (kernel,) = about["input_type_shape"][1].values()
            total += 2 * math.prod(out) * math.prod(kernel[1:])
    return total


def chain_table(repeats: int) -> str:
    """Times of the chain, and shares of the limit."""
    from benchmarks.training_speed import clocked

    graphs, rng, rows = whole_graphs(), np.random.default_rng(0), []
    chains = runtimes(graphs)
    matrix = rng.normal(size=(_SIDE, _SIDE)).astype(np.float32)
    import tensorflow as tf

    for batch in (1, 8):
        image = rng.uniform(-1, 1, (batch, 192, 128, 3)).astype(np.float32)
        mask = np.zeros((batch, 192, 128, 1), np.float32)
        mask[:, 60:130, 40:90] = 1
        given = {"image": image * (1 - mask), "mask": mask}
        parts = {
            name: lambda run=run, given=given: run(given)
            for name, run in chains.items()
        }
        times = clocked({"limit": lambda: tf.matmul(matrix, matrix)} | parts, repeats)
        rate = 2 * _SIDE**3 / times.pop("limit")[1]
        arithmetic = convolutions(graphs, given)
        base = times["ONNX Runtime"][1]
        for name, (wall, cpu) in times.items():
            milliseconds = (f"{1e3 * one / batch:.1f}" for one in (wall, cpu))
            share = f"{arithmetic / rate / cpu:.0%}"
            rows.append([batch, name, *milliseconds, f"{cpu / base:.2f}", share])
    columns = ["batch", "runtime", "ms a photo", "CPU ms a photo", "over ONNX Runtime"]
    text = markdown([*columns, "share of the limit"], rows)
    return f"{text}\n\nlimit, product of matrices: {rate / 1e9:.0f} GFLOP/s\n"


def cpu_seconds(command: list[str]) -> float:
    """Of a process and its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def process_table(folder: pathlib.Path, repeats: int, count: int) -> str:
    """A process for one small photo, and one for a folder of them."""
    import cv2

    from portrait_tf.data.synthetic import synthesize

    (folder / "in").mkdir()
    photos = [synthesize(seed, (192, 128)).photo[..., ::-1] for seed in range(16)]
    for number in range(count):
        cv2.imwrite(str(folder / "in" / f"{number}.jpg"), photos[number % 16])
    mask = np.zeros((192, 128), np.uint8)
    mask[60:130, 40:90] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    starts = {
        "ONNX Runtime": [sys.executable, "-m", "portrait_tf"],
        "TensorFlow": [sys.executable, "-c", _WITHOUT_ONNX],
    }
    options = ["--mask", str(folder / "mask.png"), "-o"]
    one = ["complete", str(folder / "in" / "0.jpg"), *options, str(folder / "0.jpg")]
    seconds = collections.defaultdict(list)
    for _ in range(repeats):
        for name, start in starts.items():
            seconds[name].append(cpu_seconds([*start, *one]))
    rows = []
    for name, start in starts.items():
        whole = ["complete", str(folder / "in"), *options, str(folder / name)]
        spent = cpu_seconds([*start, *whole])
        cold = statistics.median(seconds[name])
        rows.append([name, f"{cold:.2f}", f"{spent:.1f}", f"{count / spent:.1f}"])
    columns = ["runtime", "a process for one photo, CPU s", f"for {count}, CPU s"]
    return markdown([*columns, "photos a CPU second"], rows)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="of the chain")
    parser.add_argument("--processes", type=int, default=5, help="of one photo each")
    parser.add_argument("--photos", type=int, default=1000, help="in the folder")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(chain_table(options.repeats))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        print(process_table(path, options.processes, options.photos))


if __name__ == "__main__":
    main()
