"""The longer tests of batches: many photos, and workers in processes of their own."""

import signal
import socket
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from batches import (
    batch,
    complete_folder,
    counts,
    everything,
    pictures,
    table,
    write_csv,
    write_photos,
)
from PIL import Image
from ports import free_ports

pytestmark = pytest.mark.long


def spoil(photo, index):
    """Makes a photo, or its mask, one of those that archives hold."""
    mask = photo.parents[1] / "masks" / photo.with_suffix(".bmp").name
    if photo.parent.name == "sub":
        mask = photo.parents[2] / "masks" / "sub" / mask.name
    if index == 0:
        photo.unlink()
    elif index == 1:
        photo.write_bytes(photo.read_bytes()[:200])
    elif index == 2:
        photo.write_text("<html>404 Not Found</html>")
    elif index == 3:
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(mask)
    else:
        mask.write_bytes(b"")


def test_thirty_photos_with_five_bad_ones(models, tmp_path):
    """25 results equal to the command line's, 5 dead letters, and then nothing."""
    rows = write_photos(tmp_path, 30)
    for row in rows:
        row["mask"] = row["mask"].replace("../masks", str(tmp_path / "masks"))
    write_csv(tmp_path / "manifest.csv", rows)
    bad = (0, 8, 15, 23, 29)
    for index, number in enumerate(bad):
        spoil(tmp_path / "photos" / rows[number]["photo"], index)
    out = tmp_path / "out"
    arguments = (tmp_path, out, "--model", models)
    code, output = batch(*arguments)
    assert code == 1 and counts(output) == (25, 0, 5, 0)
    alone = tmp_path / "alone"
    code, output = complete_folder(tmp_path, alone, "--model", models)
    assert code == 1 and "25 photos completed" in output
    assert len(pictures(out)) == 25 and pictures(out) == pictures(alone)
    assert len(table(out, "results")) == 25
    letters = table(out, "dead-letters")
    assert {letter["line"] for letter in letters} == {number + 2 for number in bad}
    before = everything(out)
    code, output = batch(*arguments)
    assert code == 1 and counts(output) == (0, 25, 0, 5)
    assert everything(out) == before


def test_workers_in_processes_of_their_own(models, tmp_path):
    write_csv(tmp_path / "manifest.csv", write_photos(tmp_path, 12))
    out, alone = tmp_path / "out", tmp_path / "alone"
    code, output = batch(
        *(tmp_path, out, "--model", models),
        *("--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    )
    assert code == 0 and counts(output) == (12, 0, 0, 0)
    complete_folder(tmp_path, alone, "--model", models)
    assert pictures(out) == pictures(alone)
    assert len(table(out, "results")) == 12


def test_through_a_job_service(models, tmp_path):
    """As Flink and Spark get their jobs: by Beam's portable protocol."""
    write_csv(tmp_path / "manifest.csv", write_photos(tmp_path))
    (port,) = free_ports(1)
    service = "apache_beam.runners.portability.local_job_service_main"
    out, alone = tmp_path / "out", tmp_path / "alone"
    arguments = (
        *(tmp_path, out, "--model", models, "--", "--runner=PortableRunner"),
        *(f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"),
    )
    with subprocess.Popen(
        [sys.executable, "-m", service, "-p", str(port)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port)
            code, output = batch(*arguments)
            assert code == 0 and counts(output) == (6, 0, 0, 0)
            before = everything(out)
            code, output = batch(*arguments)
            assert code == 0 and counts(output) == (0, 6, 0, 0)
        finally:
            process.terminate()
    assert everything(out) == before
    complete_folder(tmp_path, alone, "--model", models)
    assert pictures(out) == pictures(alone) and len(table(out, "results")) == 6


# What a shell starts in the background ignores it, and so do all that it starts.
_HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from portrait_tf.apps.cli import main
main()
"""


def test_ctrl_c_while_a_job_runs_elsewhere(tmp_path):
    """Such a job does not end with the command that waits for it."""
    write_csv(tmp_path / "manifest.csv", write_photos(tmp_path, 1))
    port, nobody = free_ports(2)
    service = "apache_beam.runners.portability.local_job_service_main"
    command = (
        *(sys.executable, "-c", _HEARS_CTRL_C),
        *("batch", tmp_path / "manifest.csv", "-o", tmp_path / "out"),
        *("--root", tmp_path / "photos", "--server", f"localhost:{nobody}"),
        # The worker waits for that server, longer than this test takes.
        *("--timeout", "600", "--", "--runner=PortableRunner"),
        *(f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"),
    )
    with subprocess.Popen(
        [sys.executable, "-m", service, "-p", str(port)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port)
            with subprocess.Popen(
                [str(one) for one in command], stderr=subprocess.PIPE, text=True
            ) as waiting:
                try:
                    for line in waiting.stderr:
                        if "changed to RUNNING" in line:
                            break
                    waiting.send_signal(signal.SIGINT)
                    message = waiting.stderr.read()
                    assert waiting.wait(60) == 130, message
                finally:
                    waiting.kill()
            with grpc.insecure_channel(f"localhost:{port}") as channel:
                jobs = beam_job_api_pb2_grpc.JobServiceStub(channel)
                (job,) = jobs.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
                asked = beam_job_api_pb2.GetJobStateRequest(job_id=job.job_id)
                # All since its beginning, up to the first that is an end.
                states = [state.state for state in jobs.GetStateStream(asked)]
            assert states[-1] == beam_job_api_pb2.JobState.CANCELLED
        finally:
            process.kill()
    assert "the job is asked to stop" in message
    assert "goes on from here" in message


def wait_for(port):
    """Until something listens there."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return socket.create_connection(("localhost", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "the job service did not start"
            time.sleep(0.2)
