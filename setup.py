import re
from pathlib import Path

from setuptools import find_packages, setup


def either(package: str, addons: str, untested: list[str], limit: str) -> str:
    """A range that holds both stacks (docs/addons.md), and nothing between them."""
    holes = "".join(f"!={version}.*," for version in untested)
    return f"{package}>={addons},{holes}<{limit}"


VERSION = re.search(
    r'^__version__ = "(.+)"$', Path("portrait_tf/__init__.py").read_text(), re.MULTILINE
)[1]

BETWEEN = [f"2.{minor}" for minor in range(16, 21)]

# By name: what else lies there was written on this machine, keys and models among it.
DEPLOY = [
    ".env",
    "README.md",
    "config/batching-cpu.config",
    "config/batching-gpu.config",
    "config/kustomization.yaml",
    "config/models.config",
    "config/monitoring.config",
    "config/session-cpu.config",
    "docker-compose.yml",
    "envoy/envoy.yaml",
    "envoy/kustomization.yaml",
    "grafana/dashboards/portrait.json",
    "grafana/provisioning/dashboards/portrait.yaml",
    "grafana/provisioning/datasources/prometheus.yaml",
    "kubernetes/base/deployment.yaml",
    "kubernetes/base/disruption.yaml",
    "kubernetes/base/kustomization.yaml",
    "kubernetes/base/network.yaml",
    "kubernetes/base/services.yaml",
    "kubernetes/base/volume.yaml",
    "kubernetes/components/autoscaling/adapter-config.yaml",
    "kubernetes/components/autoscaling/adapter.yaml",
    "kubernetes/components/autoscaling/autoscaler.yaml",
    "kubernetes/components/autoscaling/kustomization.yaml",
    "kubernetes/components/batching/kustomization.yaml",
    "kubernetes/components/gateway/gateway.yaml",
    "kubernetes/components/gateway/kustomization.yaml",
    "kubernetes/components/monitoring/kustomization.yaml",
    "kubernetes/components/monitoring/prometheus-rule.yaml",
    "kubernetes/components/monitoring/service-monitor.yaml",
    "kubernetes/components/publish/kustomization.yaml",
    "kubernetes/components/publish/publish.yaml",
    "kubernetes/overlays/cpu/kustomization.yaml",
    "kubernetes/overlays/gpu-autoscaled/kustomization.yaml",
    "kubernetes/overlays/gpu-autoscaled/namespace.yaml",
    "kubernetes/overlays/gpu/kustomization.yaml",
    "make_secrets.sh",
    "prometheus/alerts.yml",
    "prometheus/metrics.txt",
    "prometheus/prometheus.yml",
    "training/README.md",
    "training/kubernetes.yaml",
    "training/slurm.sbatch",
]

# Photos in and out, and the bundled networks, without TensorFlow.
ONNX = [
    "onnxruntime>=1.20,<2",
    "opencv-python-headless>=4.11,!=4.12.*,!=4.13.*,<6",
    "simplejpeg>=1.8,<2",
    "tifffile>=2024.8.10,<2027",
    "imagecodecs>=2024.9.22,<2027",
    "typer>=0.19,<1",
    "rich>=13,<16",
]

# In an empty environment pip takes the highest of these: the default stack. The extras
# "default" and "addons" ask for one of them by name.
EVERYTHING = [
    *ONNX,
    either("tensorflow", "2.15.1", BETWEEN, "2.22"),
    either("keras", "2.15", [f"3.{minor}" for minor in range(15)], "3.16"),
    either("tensorflow-serving-api", "2.15.1", BETWEEN, "2.22"),
    "pydantic>=2.7,<3",
    "pyyaml>=6,<7",
    "jinja2>=3.1.2,<4",
    "grpcio-health-checking>=1.62,<2",
]

setup(
    name="portrait-tf",
    version=VERSION,
    description="Portrait completion and extrapolation in two stages, from training"
    " with Keras to TensorFlow Serving",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["portrait_tf*", "export*", "serving*"]),
    package_data={
        "portrait_tf": [
            "weights/*.npz",
            "weights/*.onnx",
            "weights/*.json",
            "apps/web/static/*",
            "evaluation/templates/*",
        ],
        "export": ["templates/*"],
        "serving": [f"deploy/{name}" for name in DEPLOY],
    },
    # What `serving.client` needs and nothing more: web back ends need no TensorFlow.
    install_requires=[
        "grpcio>=1.62,<2",
        "numpy>=1.26,<3",
        "pillow>=11.3,<14",
        "protobuf>=4.25,<8",
    ],
    extras_require={
        "client": [],
        # The major version is pinned as in "default".
        "onnx": [*ONNX, "opencv-python-headless>=5.0.0.93,<6"],
        "onnx-export": [*EVERYTHING, "tf2onnx>=1.17,<2"],
        "default": [
            *EVERYTHING,
            "tensorflow>=2.21,<2.22",
            "keras>=3.15,<3.16",
            "tensorflow-serving-api>=2.21,<2.22",
            "numpy>=2,<3",
            # The major version is pinned: OpenCV changes results between them.
            "opencv-python-headless>=5.0.0.93,<6",
        ],
        "addons": [
            *EVERYTHING,
            "tensorflow==2.15.1",
            "keras==2.15.0",
            "tensorflow-addons==0.23.0",
            "tensorflow-serving-api==2.15.1",
            "numpy>=1.26,<2",
            "opencv-python-headless>=4.11,<4.12",
        ],
        "demo": [*EVERYTHING, "matplotlib>=3.8.4,<4", "scikit-image>=0.24,<1"],
        "heic": [*EVERYTHING, "pillow-heif>=1,<2"],
        "web": [*EVERYTHING, "gradio>=6.31,<7"],
        "beam": [*EVERYTHING, "apache-beam>=2.77,<3"],
        "tensorboard": [*EVERYTHING, "tensorboard>=2.20,<3"],
        "dev": [
            *EVERYTHING,
            "coverage>=7.6,<8",
            "import-linter>=2.1,<3",
            "mkdocs-material>=9.6,<10",
            "mkdocstrings[python]>=0.29,<2",
            "pytest>=8,<10",
            "pytest-timeout>=2.3.1,<3",
            "pytest-xdist>=3.6.1,<4",
            "ruff>=0.13,<1",
            "playwright>=1.60,<2",
            "matplotlib>=3.8.4,<4",
            "scikit-image>=0.24,<1",
            "scikit-learn>=1.5,<2",
            "prometheus-client>=0.20,<1",
        ],
    },
    entry_points={"console_scripts": ["portrait-tf=portrait_tf.__main__:main"]},
)
