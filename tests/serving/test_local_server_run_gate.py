"""Runs leave a core to a version that loads."""

import threading
import time

import grpc
import pytest

from serving.local_server.request_error import RequestError
from serving.local_server.run_gate import RunGate


class Runs:
    """Threads that pass a gate and stay in it until `end`."""

    def __init__(self, gate, count):
        self.gate, self.inside, self.most = gate, 0, 0
        self.lock, self.over = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        with self.gate.running():
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.over.wait(30)
            with self.lock:
                self.inside -= 1

    def wait_for(self, inside):
        end = time.monotonic() + 30
        while self.inside != inside:
            assert time.monotonic() < end, self.inside
            time.sleep(0.005)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        assert self.inside == 0


def test_runs_are_bounded_only_while_a_version_loads():
    gate = RunGate(most=2)
    with gate.loading():
        runs = Runs(gate, 5)
        runs.wait_for(2)
        time.sleep(0.05)
        assert runs.inside == 2
    runs.wait_for(5)
    runs.end()


def test_every_run_gets_its_turn_during_a_load():
    gate = RunGate(most=1)
    with gate.loading():
        runs = Runs(gate, 6)
        runs.wait_for(1)
        runs.end()
    assert runs.most == 1


def test_two_versions_may_load():
    gate = RunGate(most=1)
    with gate.loading(), gate.running():
        with gate.loading():
            pass
        with pytest.raises(RequestError), gate.running(timeout=0.01):
            pass


def test_waiting_counts_against_the_deadline():
    gate = RunGate(most=1)
    with gate.running(timeout=5) as left:
        assert 4.9 < left <= 5
        late = pytest.raises(RequestError, match="while a version loads")
        with gate.loading(), late as error, gate.running(timeout=0.05):
            pass
        assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    with gate.loading(), gate.running() as left:
        assert left is None


def test_requests_are_answered_while_a_version_loads(stamp_client, publish, serve):
    folder = publish(1)
    server = serve(folder, model_name="stamp", file_system_poll_wait_seconds=1)
    client = stamp_client(server)
    answers = [client.wait(0.3) for _ in range(4)]
    publish(2)
    client.wait_for(v1="END", v2="AVAILABLE")
    assert all(answer.result(30).outputs["count"].int_val for answer in answers)
    assert client.version() == 2
