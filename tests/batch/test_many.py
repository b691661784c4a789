"""The longer tests of batches: many photos, and workers in processes of their own."""

import signal
import socket
import subprocess
import sys
import time

import grpc
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

from benchmarks.common import free_ports

pytestmark = pytest.mark.long


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
