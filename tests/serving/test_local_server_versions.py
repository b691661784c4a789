"""The embedded server's models, versions and labels, as they come and go."""

import concurrent.futures
import shutil
import threading

import grpc
import pytest
from google.protobuf import text_format
from grpc_calls import refused
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import wait_until
from server_calls import call_rest
from tensorflow_serving.apis import model_management_pb2

from portrait_tf.errors import PortraitError
from serving.local_server import LocalServer

QUICK = {"model_name": "stamp", "file_system_poll_wait_seconds": 0.05}


def entry(folder, name="stamp", policy="", labels=None):
    """One model of a ModelServerConfig."""
    lines = "".join(
        f"version_labels {{ key: '{label}' value: {version} }} "
        for label, version in (labels or {}).items()
    )
    return (
        f"config {{ name: '{name}' base_path: '{folder}' model_platform: 'tensorflow' "
        f"{f'model_version_policy {{ {policy} }}' if policy else ''} {lines} }}\n"
    )


def config(*entries):
    return f"model_config_list {{ {''.join(entries)} }}"


def reload(client, *entries):
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config(*entries), request.config)
    response = client.models.HandleReloadConfigRequest(request, timeout=30)
    assert response.status.error_code == 0


@pytest.fixture
def serve_config(serve, tmp_path):
    """Starts a server from a file of models; gives it and the file."""

    def start(*entries, **options):
        path = tmp_path / "models.config"
        path.write_text(config(*entries))
        options = {"file_system_poll_wait_seconds": 0.05} | options
        return serve(None, model_config_file=str(path), **options), path

    return start


# === One model ===


def test_versions_are_swapped_under_requests_and_none_fails(
    publish, serve, stamp_client
):
    server = serve(publish(1), **QUICK)
    client = stamp_client(server)
    done = threading.Event()

    def ask():
        seen = []
        while not done.is_set():
            seen.append(client.version())
        return seen

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for version in (2, 3, 4):
            publish(version)
            client.wait_for(**{f"v{version}": "AVAILABLE", f"v{version - 1}": "END"})
        done.set()
        seen = [future.result() for future in asking]
    for versions in seen:
        assert versions == sorted(versions)
        assert versions[0] == 1 and versions[-1] >= 3
    assert server.version == 4
    assert client.states(1) == {1: ("END", "")}
    assert refused(lambda: client.version(version=1))[0] == "NOT_FOUND"


def test_a_version_in_use_is_unloaded_after_its_last_request(
    publish, serve, stamp_client
):
    client = stamp_client(serve(publish(1), **QUICK))
    running = client.wait(3.0)
    publish(2)
    client.wait_for(v1="UNLOADING", v2="AVAILABLE")
    assert not running.done()
    assert client.version() == 2
    assert running.result().model_spec.version.value == 1
    client.wait_for(v1="END")


def test_a_bad_version_takes_nothing_down(publish, serve, stamp_client, tmp_path):
    server = serve(
        publish(1), max_num_load_retries=2, load_retry_interval_micros=1000, **QUICK
    )
    client = stamp_client(server)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "saved_model.pb").write_bytes(b"garbage")
    bad.rename(tmp_path / "stamp" / "7")
    client.wait_for(v7="END", v1="AVAILABLE")
    assert "cannot be loaded" in client.states(7)[7][1]
    assert client.version() == 1 and server.version == 1
    path = tmp_path / "stamp" / "7"
    tried = f'load_attempt_count{{model_path="{path}",status="fail"}} 3'
    assert tried in server._metrics.page()
    # What was given up and comes back is tried anew.
    shutil.rmtree(path)
    publish(2)
    client.wait_for(v2="AVAILABLE", v1="END")
    publish(7)
    client.wait_for(v7="AVAILABLE", v2="END")
    assert client.states(7) == {7: ("AVAILABLE", "")}


def test_a_version_that_fails_at_first_is_tried_again(
    publish, serve, stamp_client, tmp_path
):
    client = stamp_client(
        serve(
            publish(1), max_num_load_retries=100, load_retry_interval_micros=300_000,
            **QUICK,
        )
    )  # fmt: skip
    (tmp_path / "stamp" / "2").mkdir()
    client.wait_for(v2="LOADING", v1="AVAILABLE")
    publish(3, folder="other")
    shutil.copytree(
        tmp_path / "other" / "3", tmp_path / "stamp" / "2", dirs_exist_ok=True
    )
    client.wait_for(v2="AVAILABLE", v1="END")


def test_health_is_the_processs_not_the_models(publish, serve, stamp_client, tmp_path):
    server = serve(publish(1), **QUICK)
    client = stamp_client(server)
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        shutil.rmtree(tmp_path / "stamp" / "1")
        client.wait_for(v1="END")
        assert refused(client.version)[0] == "NOT_FOUND"
        answer = check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == answer.SERVING
        publish(2)
        client.wait_for(v2="AVAILABLE")
    assert client.version() == 2


def test_a_folder_that_is_away_for_a_moment_unloads_nothing(
    publish, serve, stamp_client, caplog
):
    folder = publish(1)
    client = stamp_client(serve(folder, **QUICK))
    folder.rename(folder.with_name("away"))
    wait_until(lambda: "does not exist" in caplog.text)
    assert client.version() == 1 and client.states() == {1: ("AVAILABLE", "")}
    folder.with_name("away").rename(folder)
    publish(2)
    client.wait_for(v2="AVAILABLE")


# === Policies, labels, several models ===


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [4]),
        ("latest { num_versions: 2 }", [3, 4]),
        ("all {}", [1, 3, 4]),
        ("specific { versions: 1 versions: 3 versions: 9 }", [1, 3]),
    ],
)
def test_version_policies(publish, serve_config, stamp_client, policy, expected):
    server, _ = serve_config(entry(publish(1, 3, 4), policy=policy))
    client = stamp_client(server)
    assert sorted(client.states()) == expected
    assert client.version() == expected[-1]
    assert client.version(version=expected[0]) == expected[0]


def test_several_models_and_labels(publish, serve_config, stamp_client):
    server, _ = serve_config(
        entry(publish(1, 2), policy="all {}", labels={"stable": 1, "canary": 2}),
        entry(publish(5, folder="other"), "other"),
        allow_version_labels_for_unavailable_models=True,
    )
    client = stamp_client(server)
    assert client.version(label="stable") == 1
    assert client.version(label="canary") == client.version() == 2
    assert stamp_client(server, "other").version() == 5
    assert refused(lambda: client.version(label="beta")) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: beta",
    )
    body = {"instances": [[1, 2]]}
    for label, expected in (("stable", 200), ("beta", 400)):
        path = f"/v1/models/stamp/labels/{label}:predict"
        assert call_rest(server, path, body)[0] == expected
    _, answer = call_rest(server, "/v1/models/stamp/labels/canary")
    (status,) = answer["model_version_status"]
    assert status["version"] == "2" and status["state"] == "AVAILABLE"
    _, answer = call_rest(server, "/v1/models/stamp/labels/stable/metadata")
    assert answer["model_spec"]["version"] == "1"


def test_reload_by_rpc(publish, serve_config, stamp_client):
    folder, other = publish(1, 2), publish(5, folder="other")
    server, _ = serve_config(entry(folder))
    client, added = stamp_client(server), stamp_client(server, "other")
    assert refused(added.version)[0] == "NOT_FOUND"
    # What is new answers when the call returns.
    reload(client, entry(folder, policy="all {}"), entry(other, "other"))
    assert added.version() == 5
    client.wait_for(v1="AVAILABLE", v2="AVAILABLE")
    reload(client, entry(folder, policy="all {}", labels={"stable": 1}))
    assert client.version(label="stable") == 1
    added.wait_for(v5="END")
    assert refused(added.version)[0] == "NOT_FOUND"
    reload(client, entry(folder, policy="all {}", labels={"stable": 2}))
    assert client.version(label="stable") == 2
    reload(client)
    client.wait_for(v1="END", v2="END")


def test_reloads_that_are_refused_change_nothing(publish, serve_config, stamp_client):
    folder = publish(1, 2)
    server, _ = serve_config(entry(folder))
    client = stamp_client(server)
    labelled = entry(folder, policy="specific { versions: 1 }", labels={"stable": 1})
    assert refused(lambda: reload(client, labelled)) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 1 of model stamp, which is not currently"
        " available for inference",
    )
    for entries, phrase in (
        ([entry(folder)] * 2, "Illegal to list model stamp multiple times in config"),
        ([entry("relative")], "absolute path"),
        ([entry(folder).replace("'tensorflow'", "'caffe'")],
         "Model stamp requests unsupported platform caffe"),
        ([entry(folder).replace("model_platform: 'tensorflow'", "")],
         "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"),
    ):  # fmt: skip
        code, message = refused(lambda entries=entries: reload(client, *entries))
        assert code == "INVALID_ARGUMENT" and phrase in message
    empty = model_management_pb2.ReloadConfigRequest()
    code, message = refused(lambda: client.models.HandleReloadConfigRequest(empty))
    assert code == "INVALID_ARGUMENT" and "Only ModelConfigList" in message
    assert client.states() == {2: ("AVAILABLE", "")}


def test_a_label_that_moves_never_names_what_does_not_answer(
    publish, serve_config, stamp_client
):
    folder = publish(1)
    server, _ = serve_config(
        entry(folder, labels={"stable": 1}),
        allow_version_labels_for_unavailable_models=True,
    )
    client = stamp_client(server)
    code, message = refused(lambda: reload(client, entry(folder, labels={"stable": 8})))
    assert code == "FAILED_PRECONDITION" and "version 8" in message
    reload(client, entry(folder, labels={"stable": 1, "canary": 8}))
    assert client.version(label="stable") == 1
    assert refused(lambda: client.version(label="canary"))[0] == "NOT_FOUND"


def test_a_new_model_that_does_not_load_is_said_so(
    publish, serve_config, stamp_client, tmp_path
):
    folder = publish(1)
    server, _ = serve_config(entry(folder))
    client = stamp_client(server)
    (tmp_path / "bad" / "1").mkdir(parents=True)
    code, message = refused(
        lambda: reload(client, entry(folder), entry(tmp_path / "bad", "bad"))
    )
    assert code == "UNKNOWN"
    assert message.startswith(
        "1 model(s) did not become available: {{{name: bad version: 1} due to error: "
    )
    code, message = refused(
        lambda: reload(client, entry(folder), entry(tmp_path / "none", "none"))
    )
    assert "none does not exist" in message
    assert client.version() == 1


def test_reload_by_file(publish, serve_config, stamp_client, caplog):
    folder = publish(1, 2)
    server, path = serve_config(entry(folder), model_config_file_poll_wait_seconds=0.05)
    client = stamp_client(server)
    path.write_text("model_config_list { config { nam: 'x' } }")
    wait_until(lambda: "Failed to read ModelServerConfig file" in caplog.text)
    assert "Error parsing text-format tensorflow.serving.Model" in caplog.text
    assert "has no field named" in caplog.text
    assert client.version() == 2
    path.write_text(config(entry(folder, policy="specific { versions: 1 }")))
    client.wait_for(v1="AVAILABLE", v2="END")
    assert client.version() == 1


# === Starts that fail ===


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("model_config_list { config { nam: 'x' } }", 'no field named "nam"'),
        ("custom_model_config {}", "Only ModelConfigList"),
        (config(entry("/nowhere/at/all")), "/nowhere/at/all does not exist"),
        (None, "models.config cannot be read"),
    ],
)
def test_files_of_models_that_cannot_be(tmp_path, text, phrase):
    path = tmp_path / "models.config"
    if text:
        path.write_text(text)
    server = LocalServer(model_config_file=str(path), grpc_port=0, rest_port=0)
    with pytest.raises(PortraitError, match=phrase):
        server.start()
    assert server.version is None


def test_labels_at_the_start_need_their_flag(publish, serve_config):
    with pytest.raises(PortraitError, match="not currently available"):
        serve_config(entry(publish(1), labels={"stable": 1}))
