"""The files for training on several machines: their shell lines, really run.

`portrait-tf`, and Slurm's own commands, are scripts that write down what they were
given; what makes TF_CONFIG is what the files name.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

import serving
from portrait_tf.errors import LostWorkerError, PortraitError
from portrait_tf.training.distribution import read_tf_config
from portrait_tf.training.tf_config import MAKERS, main

FOLDER = pathlib.Path(serving.__file__).parent / "deploy" / "training"
REPOSITORY = FOLDER.parents[2]


def script(folder, name, *lines):
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path):
    """A folder for PATH; `portrait-tf` prints TF_CONFIG and its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder, "python", f'exec "{sys.executable}" "$@"')
    script(folder, "portrait-tf", 'echo "$TF_CONFIG"', 'echo "$@"', "exit ${CODE:-0}")
    return folder


def environment(tools, **more):
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        **more,
    }


@pytest.fixture(scope="module")
def kubernetes():
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def test_a_job_ends_by_a_mistake_but_not_by_a_lost_worker(kubernetes):
    """The first rule that fits is taken: a mistake on a drained node is still one."""
    rules = kubernetes[1]["spec"]["podFailurePolicy"]["rules"]
    ends = rules[0]["onExitCodes"]["values"]
    assert ends == [1, PortraitError.exit_code]
    assert LostWorkerError.exit_code not in ends


@pytest.mark.parametrize("index", [0, 1])
def test_each_pod_finds_the_others(index, kubernetes, tools):
    (container,) = kubernetes[1]["spec"]["template"]["spec"]["containers"]
    values = {one["name"]: one["value"] for one in container["env"]}
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env=environment(tools, JOB_COMPLETION_INDEX=str(index), **values),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    tf_config, command = done.stdout.splitlines()
    cluster, job, number = read_tf_config(tf_config)
    assert cluster == {
        "worker": [
            "portrait-training-0.portrait-training:12345",
            "portrait-training-1.portrait-training:12345",
        ]
    }
    assert (job, number) == ("worker", index)
    assert command.startswith("train completion --strategy multiworker --config /")


def slurm(tools, *arguments, codes=(0, 0), restarts=None):
    """Runs the file as Slurm would; `srun` starts its command for both nodes.

    A task whose code is None is killed with all it started, as by a node's end.
    """
    log = tools.parent / "requeued"
    script(
        tools,
        "scontrol",
        f'if [ "$1" = requeue ]; then echo "$2" > {log}; exit; fi',
        '[ "$1 $2 $3" = "show hostnames node[07-08]" ] && printf "node07\\nnode08\\n"',
    )
    # Slurm's manual: the highest exit code of all tasks.
    lines = ["shift", "highest=0"]
    for task, code in enumerate(codes):
        run = (
            f'CODE={code} SLURM_PROCID={task} "$@"'
            if code is not None
            else "(exit 137)"
        )
        lines += [run, "code=$?", '[ "$code" -gt "$highest" ] && highest=$code']
    script(tools, "srun", *lines, "exit $highest")
    more = {} if restarts is None else {"SLURM_RESTART_COUNT": str(restarts)}
    done = subprocess.run(
        ["bash", FOLDER / "slurm.sbatch", *arguments],
        env=environment(
            tools,
            SLURM_JOB_ID="77",
            SLURM_JOB_NODELIST="node[07-08]",
            SLURM_JOB_NUM_NODES="2",
            SLURM_NTASKS="2",
            **more,
        ),
        capture_output=True,
        text=True,
        cwd=tools.parent,
    )
    return done, log


def test_each_task_of_slurm_finds_the_others(tools):
    done, log = slurm(tools, "c.yaml", "photos", "runs/a b")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for index in (0, 1):
        cluster, _, number = read_tf_config(lines[2 * index])
        assert cluster == {"worker": ["node07:12077", "node08:12077"]}
        assert number == index
        assert lines[2 * index + 1].endswith(
            "--config c.yaml --data photos --run runs/a b"
        )
    assert not log.exists()


@pytest.mark.parametrize(
    ("codes", "again", "left"),
    [
        ((75, 75), True, 75),
        ((130, 130), True, 130),
        # One that was killed has the highest code.
        ((75, 137), True, 137),
        ((134, 75), True, 134),
        ((75, None), True, 137),
        ((0, 75), True, 75),
        # A mistake of one has the lowest: the others have but lost it.
        ((75, 2), False, 2),
        ((2, 75), False, 2),
        ((75, 1), False, 1),
        ((1, 137), False, 1),
        ((2, 2), False, 2),
        ((75, 139), False, 139),
    ],
)
def test_slurm_goes_on_after_a_lost_worker(codes, again, left, tools):
    done, log = slurm(tools, "c", "d", "r", codes=codes)
    assert done.returncode == left, done.stderr
    assert log.exists() == again
    assert not list(tools.parent.glob("r.*"))


@pytest.mark.parametrize(("restarts", "again"), [(0, True), (49, True), (50, False)])
def test_slurm_does_not_go_on_for_ever(restarts, again, tools):
    done, log = slurm(tools, "c", "d", "r", codes=(137, 75), restarts=restarts)
    assert done.returncode == 137
    assert log.exists() == again


def test_a_task_of_slurm_outlives_its_signal(tools):
    """Slurm sends SIGTERM to the shell of a task, too; it is to write the code down."""
    script(tools, "portrait-tf", 'kill -TERM "$PPID"', "exit 130")
    done, log = slurm(tools, "c", "d", "r")
    assert done.returncode == 130
    assert "task 1: exit code 130" in done.stderr
    assert log.exists()


def test_slurm_needs_its_arguments(tools):
    done, _ = slurm(tools, "c.yaml")
    assert done.returncode and "usage: sbatch slurm.sbatch" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "values", "sentence"),
    [
        ([], {}, "expected one of kubernetes, slurm"),
        (["slurm"], {}, "SLURM_JOB_NODELIST"),
        (["kubernetes"], {}, "expected a name in JOB_NAME"),
        (
            ["kubernetes"],
            {"JOB_NAME": "j", "SERVICE": "s", "WORKERS": "2"},
            "expected a number in JOB_COMPLETION_INDEX, received ''",
        ),
        (
            ["kubernetes"],
            {"JOB_NAME": "j", "SERVICE": "s", "WORKERS": "2",
             "JOB_COMPLETION_INDEX": "2"},
            "an index below the number of workers, 2, received 2",
        ),
        (
            ["kubernetes"],
            {"JOB_NAME": "j", "SERVICE": "s", "WORKERS": "\u00b2"},
            "expected a number in WORKERS, received '\u00b2'",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(arguments, values, sentence, capsys):
    assert main(arguments, values) == 2
    assert sentence in capsys.readouterr().err


def test_two_tasks_on_a_node_are_refused(tools, monkeypatch, capsys):
    script(tools, "scontrol", "echo node07")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    values = os.environ | {"SLURM_JOB_NODELIST": "node07", "SLURM_NTASKS": "2",
                           "SLURM_PROCID": "0"}  # fmt: skip
    assert main(["slurm"], values) == 2
    assert "--ntasks-per-node=1" in capsys.readouterr().err
    assert json.loads(MAKERS["slurm"]({**values, "SLURM_NTASKS": "1"}))
