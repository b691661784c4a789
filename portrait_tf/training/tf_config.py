"""`TF_CONFIG` from what Kubernetes or Slurm tell a process of itself.

    export TF_CONFIG="$(python -m portrait_tf.training.tf_config kubernetes)"

Worker 0 is the chief. Files that use it are in `serving/deploy/training/`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping

from portrait_tf.errors import PortraitError

PORT = 12345


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    value = environment.get(name, default)
    if not value.isdecimal():
        raise PortraitError(f"expected a number in {name}, received {value!r}")
    return int(value)


def _tf_config(hosts: list[str], index: int, port: int) -> str:
    if not 0 <= index < len(hosts):
        raise PortraitError(
            f"expected an index below the number of workers, {len(hosts)}, "
            f"received {index}"
        )
    cluster = {"worker": [f"{host}:{port}" for host in hosts]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def kubernetes_tf_config(environment: Mapping[str, str]) -> str:
    """Of a pod of an Indexed Job whose pods a headless Service names.

    Args:
        environment: `JOB_COMPLETION_INDEX`, which Kubernetes sets; `WORKERS`,
            `JOB_NAME` and `SERVICE`, which the Job's file sets; `PORT`, if not 12345.

    Raises:
        PortraitError: One is missing or no number.
    """
    names = {name: environment.get(name, "") for name in ("JOB_NAME", "SERVICE")}
    for name, value in names.items():
        if not value:
            raise PortraitError(f"expected a name in {name}, received none")
    hosts = [
        f"{names['JOB_NAME']}-{index}.{names['SERVICE']}"
        for index in range(_number(environment, "WORKERS"))
    ]
    index = _number(environment, "JOB_COMPLETION_INDEX")
    return _tf_config(hosts, index, _number(environment, "PORT", str(PORT)))


def slurm_tf_config(environment: Mapping[str, str]) -> str:
    """Of a task of `srun`, with one task a node.

    Args:
        environment: Slurm's own: `SLURM_JOB_NODELIST`, `SLURM_PROCID`, `SLURM_NTASKS`;
            `PORT`, if not 12345. `scontrol` spells the list of nodes out.

    Raises:
        PortraitError: One is missing, there is no `scontrol`, or there are more tasks
            than nodes.
    """
    nodes = environment.get("SLURM_JOB_NODELIST", "")
    if not nodes:
        raise PortraitError("expected nodes in SLURM_JOB_NODELIST: is this under srun?")
    try:
        spelt = subprocess.run(
            ["scontrol", "show", "hostnames", nodes],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise PortraitError(f"scontrol did not spell out {nodes!r}: {error}") from None
    hosts = spelt.stdout.split()
    if _number(environment, "SLURM_NTASKS") != len(hosts):
        raise PortraitError(
            f"expected one task on each of {len(hosts)} nodes (--ntasks-per-node=1; a "
            f"worker takes all GPUs it sees), received SLURM_NTASKS="
            f"{environment['SLURM_NTASKS']}"
        )
    index = _number(environment, "SLURM_PROCID")
    return _tf_config(hosts, index, _number(environment, "PORT", str(PORT)))


MAKERS = {"kubernetes": kubernetes_tf_config, "slurm": slurm_tf_config}


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Prints the JSON; a mistake is one sentence on stderr and exit code 2."""
    try:
        if len(arguments) != 1 or arguments[0] not in MAKERS:
            raise PortraitError(f"expected one of {', '.join(MAKERS)}")
        print(MAKERS[arguments[0]](environment))
    except PortraitError as error:
        print(f"tf_config: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    import os

    sys.exit(main(sys.argv[1:], os.environ))
