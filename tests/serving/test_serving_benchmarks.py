"""The programs that load and fuzz a server, for seconds."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from serving_photos import make_photo

from benchmarks import serving as load_program
from benchmarks import serving_fuzz
from benchmarks.server_process import (
    Address,
    ServerProcess,
    copied_models,
    free_ports,
    newest_version,
    predict_request,
    read_metrics,
    resident_bytes,
)
from portrait_tf.errors import PortraitError

SIZE = (24, 16)


@pytest.fixture(scope="module")
def address(server):
    rest = f"http://127.0.0.1:{server.rest_port}"
    return Address(f"127.0.0.1:{server.grpc_port}", rest, pid=os.getpid())


@pytest.fixture(scope="module")
def content():
    inputs = load_program.example_inputs("serving_default", SIZE)
    return predict_request(inputs).SerializeToString()


# === Fuzz ===


@pytest.fixture(scope="module")
def fuzzed(address):
    lines = []
    result = serving_fuzz.fuzz(address, 150, bomb_side=500, report=lines.append)
    return result, lines


def test_fuzz(fuzzed):
    result, lines = fuzzed
    # The stand-in model takes what the export refuses.
    found = {problem["kind"] for problem in result["problems"]}
    assert found == {"no pixels", "unequal batches"}
    assert len(lines) == len(result["problems"])
    assert result["requests"] == 150 and result["alive"] and result["failed"]
    assert result["same_answer"] == {"encoded": True, "serving_default": True}
    assert result["memory_growth"] is not None
    # Every kind had its turn.
    assert {"good", "bomb", "huge shape", "truncated file", "REST values"} <= set(
        result["kinds"]
    )
    assert result["kinds"]["good"].keys() == {"OK"}
    assert result["kinds"]["REST good"].keys() == {"200"}
    text = serving_fuzz.table(result)
    assert "FAILED" in text and "process alive" in text
    json.dumps(result)


def test_fuzz_follows_from_the_seed(address):
    signatures = {
        "encoded": ("image_bytes", "mask_bytes"),
        "extrapolate": ("image", "margins"),
    }

    def kinds(seed):
        fuzzer = serving_fuzz.Fuzzer(address, signatures, seed, bomb_side=50)
        return [(case.kind, case.what, case.allowed) for case in fuzzer.cases(120)]

    assert kinds(3) == kinds(3) != kinds(4)
    margins = {what for kind, what, _ in kinds(3) if kind == "wrong margins"}
    assert margins and all(what.startswith("extrapolate") for what in margins)


def test_fuzz_notices_a_server_that_is_gone(serve):
    server = serve()
    address = Address(f"127.0.0.1:{server.grpc_port}", pid=os.getpid())
    # At the first thing that is wrong, it ends.
    result = serving_fuzz.fuzz(
        address, 100, bomb_side=50, report=lambda line: server.stop(0)
    )
    assert result["failed"] and not result["alive"]
    assert {one["status"] for one in result["problems"]} & {"UNAVAILABLE", "CANCELLED"}
    assert not any(result["same_answer"].values())


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([100] * 100, 0.0), ([50] * 50 + [100] * 50, 0.0), (list(range(100, 200)), 0.26)],
)
def test_growth_is_that_of_the_last_half(samples, expected):
    assert serving_fuzz.growth(samples) == pytest.approx(expected, abs=0.01)


def test_fuzz_main(address, tmp_path, capsys):
    # The stand-in's one fault makes it fail, and the numbers are written all the same.
    path = tmp_path / "fuzz.json"
    arguments = ["--target", address.target, "--requests", "40", "--json", str(path)]
    with pytest.raises(SystemExit) as caught:
        serving_fuzz.main([*arguments, "--bomb-side", "50"])
    assert caught.value.code == 1
    assert "FAILED" in capsys.readouterr().out
    assert json.loads(path.read_text())["requests"] == 40


# === Load ===


def test_load(address, content):
    load = load_program.run_load(address, [content] * 2, 1.0)
    summary = load.summary()
    assert summary["requests"] > 2 and summary["failed"] == 0
    assert summary["versions"] == {"10": summary["requests"]}
    assert 0 < summary["p50_ms"] <= summary["p99_ms"]
    assert summary["per_second"] == pytest.approx(
        summary["requests"] / summary["seconds"]
    )
    assert not load_program.failed({"plain": summary})
    text = load_program.table({"plain": summary})
    assert f"{summary['requests']:>8}      0" in text


def test_load_counts_failures(address, content):
    wrong = predict_request({"image": make_photo()[0]}).SerializeToString()
    load = load_program.run_load(address, [content, wrong], 0.5)
    summary = load.summary()
    assert summary["failed"] > 0 and len(load.latencies) > 0
    (status,) = summary["failures"]
    assert status.startswith("INVALID_ARGUMENT")
    assert load_program.failed({"plain": summary})
    assert "INVALID_ARGUMENT" in load_program.table({"plain": summary})


def test_cost(address, models_dir):
    cost = load_program.measure_cost(
        address, models_dir, "encoded", SIZE, repeats=4, warm_up=1
    )
    assert cost["round_trip_ms"] > 0 and cost["session_ms"] > 0
    assert cost["by"] in ("round_trip", "server")
    assert cost["ratio"] == pytest.approx(cost[f"{cost['by']}_ms"] / cost["session_ms"])
    text = load_program.table({"cost": cost})
    assert ("met" if cost["ratio"] <= 1.05 else "missed") in text


def test_the_cost_is_what_the_server_counts(monkeypatch, address, models_dir):
    pages = iter(range(1000))

    def page(rest):
        # Read before and after each of 5 requests: 7 ms each.
        index = next(pages)
        count = (index + 1) // 2
        labels = 'model_name="portrait",API="Predict",entrypoint='
        name = ":tensorflow:serving:request_latency"
        return {
            f'{name}_sum{{{labels}"GRPC"}}': 7000 * count,
            f'{name}_count{{{labels}"GRPC"}}': count,
            f'{name}_sum{{{labels}"REST"}}': 1e6 * index,
            f'{name}_count{{{labels}"REST"}}': index,
        }

    monkeypatch.setattr(load_program, "read_metrics", page)
    cost = load_program.measure_cost(
        address, models_dir, "serving_default", SIZE, repeats=4, warm_up=1
    )
    assert cost["by"] == "server" and cost["server_ms"] == 7.0


def test_published_copies_are_whole(models_dir, tmp_path):
    with copied_models(models_dir) as models:
        assert newest_version(models).name == "1"
        seen, over = set(), threading.Event()

        def watch():
            while not over.is_set():
                for path in models.iterdir():
                    if path.name.isdigit():
                        seen.add(len([one for one in path.rglob("*") if one.is_file()]))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert [load_program.publish_copy(models) for _ in range(5)] == [2, 3, 4, 5, 6]
        over.set()
        watcher.join()
        assert len(seen) == 1
    assert not models.exists()
    with pytest.raises(PortraitError, match="no version of a model in it"):
        newest_version(tmp_path)


def test_a_swap_that_is_never_served(monkeypatch, address, models_dir, content):
    # The server looks at another folder, so that the new number never comes.
    clock = time.perf_counter
    start = clock()
    monkeypatch.setattr(
        load_program.time, "perf_counter", lambda: start + 100 * (clock() - start)
    )
    with copied_models(models_dir) as models:
        (models / "1").rename(models / "20")
        swap = load_program.swap_versions(address, models, 0.1)
        load = load_program.run_load(address, [content], 0.3, beside=swap)
    assert load.swaps and all(took is None for _, took in load.swaps)
    assert load.swaps[0][0] == 21
    assert load_program.failed({"swap": load.summary()})


# === A server in a process of its own ===


def takes_flags():
    shown = subprocess.run(
        [sys.executable, "-m", "portrait_tf", "serve", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    return "model_base_path" in shown.stdout


@pytest.mark.long
def test_measure_with_servers_of_its_own(models_dir, tmp_path, capsys):
    if not takes_flags():
        pytest.skip("`portrait-tf serve` does not take --model_base_path")
    path = tmp_path / "serving.json"
    load_program.main(
        ["--models", str(models_dir), "--minutes", "0.1", "--swap-seconds", "1.5",
         "--repeats", "4", "--size", "24", "16", "--clients", "2", "--json", str(path)]
    )  # fmt: skip
    results = json.loads(path.read_text())
    assert results.keys() == set(load_program.PHASES)
    assert results["cost"]["by"] == "server"
    swaps = results["swap"]["swaps"]
    assert len(swaps) >= 1 and len(results["swap"]["versions"]) >= 2
    assert all(results[name]["failed"] == 0 for name in ("plain", "batching", "swap"))
    assert "batching" in capsys.readouterr().out


def test_a_server_that_does_not_start(models_dir):
    command = [sys.executable, "-c", "import sys; print('no'); sys.exit(3)"]
    with (
        pytest.raises(PortraitError, match=r"the server ended with 3: (.|\n)*no"),
        ServerProcess(models_dir, command=command),
    ):
        pass


def test_memory_and_metrics():
    assert resident_bytes(os.getpid()) > 2**20
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(ProcessLookupError):
        resident_bytes(ended.pid)
    assert read_metrics("") is None
    (port,) = free_ports(1)
    assert read_metrics(f"http://127.0.0.1:{port}") is None
