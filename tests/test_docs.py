"""The documentation: commands run, links lead somewhere, pages agree."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
import typer
import yaml
from PIL import Image
from processes import python_output

import portrait_tf
from benchmarks.common import free_ports
from portrait_tf.apps import cli
from portrait_tf.config import Config

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "serving" / "deploy").rglob("*.md"),
    ]
)
PAGES = [path for path in FILES if path.name != "CHANGELOG.md"]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def blocks(path, language):
    for indent, kind, text in _BLOCK.findall(path.read_text()):
        if kind == language:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def commands(path):
    """Each `portrait-tf` in a shell block, as a list of words."""
    for text in blocks(path, "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            start = re.search(r"(?:^|[;&|(]\s*|\$\()\s*portrait-tf\s", line)
            if start:
                words = shlex.split(line[start.end() :].partition(" #")[0])
                yield ["portrait-tf", *words]


def unknown(words):
    """What a command line has that the program does not know; None if all is known."""
    command = typer.main.get_command(cli.app)
    words = words[1:]
    # What follows is for Beam.
    words = words[: words.index("--")] if "--" in words else words
    while hasattr(command, "commands") and words:
        if words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            # `evaluate` works without a sub-command, too.
            return None if command.invoke_without_command else words[0]
        command, words = command.commands[words[0]], words[1:]
    options = {"--help"}
    for parameter in command.params:
        options |= {*parameter.opts, *parameter.secondary_opts}
    given = [word.partition("=")[0] for word in words if re.match("--?[a-z]", word)]
    return next((word for word in given if word not in options), None)


def test_a_wrong_command_is_noticed():
    assert unknown(["portrait-tf", "complete", "a.png", "--mask", "b.png"]) is None
    assert unknown(["portrait-tf", "complete", "a.png", "--mesk", "b.png"]) == "--mesk"
    assert unknown(["portrait-tf", "finish"]) == "finish"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_python(path):
    wrong = {" ".join(words): unknown(words) for words in commands(path)}
    assert not {line: word for line, word in wrong.items() if word}
    for text in blocks(path, "python"):
        compile(text, str(path), "exec", flags=0x2000)  # `await` at top level


def config_keys():
    """Every key of the schema, sections too, with dots between."""
    schema = Config.model_json_schema()

    def walk(section, path):
        for name, field in section.get("properties", {}).items():
            yield f"{path}{name}"
            for reference in re.findall(r"#/\$defs/(\w+)", json.dumps(field)):
                yield from walk(schema["$defs"][reference], f"{path}{name}.")

    return set(walk(schema, ""))


def test_keys_and_programs_in_commands_exist():
    known = config_keys()
    assert {"completion.loss.psnr", "parsing.network.backbone"} <= known
    found = 0
    for path in PAGES:
        text = path.read_text().replace("\\\n", " ")
        for key in re.findall(r"(?:--set \W?|`)([\w.]+)=", text):
            if key.split(".")[0] in Config.model_fields:
                found += 1
                assert key in known, f"{path.name}: {key}"
        for name, rest in re.findall(r"python -m (benchmarks\.\w+)([^`\n]*)", text):
            program = ROOT / f"{name.replace('.', '/')}.py"
            assert program.is_file(), f"{path.name}: {name}"
            source = program.read_text() + (ROOT / "benchmarks/common.py").read_text()
            for option in re.findall(r"(--[a-z][a-z-]+)", rest):
                negative = option.replace("--no-", "--")
                assert f'"{option}"' in source or f'"{negative}"' in source, rest
    assert found > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    """Those to source files, too, which the site has no page for."""
    generated = {"reference/config.md", "reference/command_line.md"}
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", path.read_text()):
        if not re.match("[a-z]+:", target) and target not in generated:
            assert (path.parent / target).exists(), target


def test_pages_that_code_and_configs_name_exist():
    named = set()
    for folder in (
        "benchmarks",
        "configs",
        "export",
        "portrait_tf",
        "serving",
        "tests",
    ):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".yml"):
                named |= set(re.findall(r"\bdocs/[\w/]+\.md", path.read_text()))
    assert len(named) > 10
    assert not {name for name in named if not (ROOT / name).is_file()}


def test_the_site_is_built(tmp_path):
    """Strictly: a broken link, or a name that is not there, is an error."""
    build = ("-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path)
    python_output(*build, cwd=ROOT)
    for page, said in {
        "tutorial": "toy.yaml",
        "reference/command_line": "--whole-body",
        "reference/config": "heatmap_sigma",
        "reference/signatures": "complete_with_parsing",
        "reference/labels": "0, 119, 221",
        "reference/networks": "AdversarialLoss",
    }.items():
        assert said in (tmp_path / page / "index.html").read_text()


# === What the pages promise ===


def test_every_page_says_what_one_can_do_after_it():
    for path in DOCS:
        generated = "\n::: " in path.read_text()
        if path.name != "index.md" and not generated:
            start = path.read_text().split("\n", 4)
            assert "After this page" in " ".join(start[:3]), path.name


def test_the_docs_can_be_read():
    assert sum(len(path.read_text().split()) for path in DOCS) < 16_000
    assert len((ROOT / "README.md").read_text().split()) < 900


@pytest.mark.parametrize("page", ["README.md", "MODEL_CARD.md"])
def test_as_many_scores_are_named_as_cells_hold(page):
    before, table = (ROOT / page).read_text().split("<!-- scores -->\n")
    named = before.rstrip().split("\n\n")[-1].partition(":")[2].split(" / ")
    cells = table.splitlines()[2].split(" | ")[1:]
    assert {len(cell.split(" / ")) for cell in cells} == {len(named)}


def test_readme_and_model_card_have_the_same_judge():
    card = (ROOT / "MODEL_CARD.md").read_text()
    row = next(line for line in card.splitlines() if "judge, all hidden" in line)
    sentence = re.search(
        r"A pose network.*?\n\n", (ROOT / "README.md").read_text(), re.S
    )
    for number in re.findall(r"0\.\d+", sentence[0]):
        assert number in row


def test_extras_are_those_of_setup_and_of_the_commands():
    """A page installs for a command what the command itself asks for."""
    extras = re.findall(r'^        "(\w+)": \[', (ROOT / "setup.py").read_text(), re.M)
    needed = {}
    for command, source in {"batch": "batch/__init__.py", "web": "web/page.py"}.items():
        text = (ROOT / "portrait_tf/apps" / source).read_text()
        (needed[command],) = set(re.findall(r"portrait-tf\[(\w+)\]", text))
    pairs = 0
    for path in PAGES:
        text = path.read_text()
        for named in re.findall(r"(?:'\.|portrait-tf)\[([\w,]+)\]'", text):
            assert set(named.split(",")) <= set(extras), path.name
        installs = re.finditer(
            r"pip install '\.\[(\w+)\]'.{,60}?portrait-tf (\w+)", text, re.S
        )
        for extra, command in (found.groups() for found in installs):
            pairs += command in needed
            assert needed.get(command, extra) == extra, path.name
    assert pairs >= 4


def test_every_version_is_that_of_the_package():
    version = portrait_tf.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert f"\n## {version}\n" in (ROOT / "docs" / "releases.md").read_text()
    named = re.findall(
        r"portrait_tf-([\d.]+)-py3", (ROOT / "docs/batch.md").read_text()
    )
    for path in (ROOT / "serving/deploy/kubernetes/overlays").glob("*/*.yaml"):
        named += re.findall(r"/portrait-tf, newTag: ([\d.]+)", path.read_text())
    assert len(named) == 4 and set(named) == {version}


def test_the_walk_of_a_photo_is_that_of_the_code():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    walk = re.search(r"A photo goes from.*?\n\n", text, re.S)[0]
    code = "".join(path.read_text() for path in (ROOT / "portrait_tf").rglob("*.py"))
    for name in re.findall(r"`([\w.]+)`", walk):
        assert re.search(rf"(?:def|class) {name.rpartition('.')[2]}\b", code), name


# So few photos and steps show that each command runs, not what it leads to.
FEWER = {
    "--train 100 --val 16": "--train 12 --val 4",
    "validation_photos: 16": "validation_photos: 4",
    "steps: 400\n    steps_per_epoch: 100": "steps: 4\n    steps_per_epoch: 2",
    "steps: 100\n    steps_per_epoch: 50": "steps: 6\n    steps_per_epoch: 3",
    # The pre-fill's graph would take most of the time.
    "dilations: [1, 2]}": "dilations: [1, 2], prefill: none}",
    "reconstruction_steps: 80, critic_steps: 10": "reconstruction_steps: 2, "
    "critic_steps: 2",
}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.default_stack("pages are for the default stack")
@pytest.mark.parametrize("page", ["start", "tutorial"])
def test_the_page_runs(page, tmp_path):
    """Every command of it, in order, in an empty folder; the real server and client."""
    programs, folder = tmp_path / "bin", tmp_path / "empty"
    programs.mkdir()
    folder.mkdir()
    for name, module in {"python": "", "portrait-tf": " -m portrait_tf"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{module} "$@"\n')
        (programs / name).chmod(0o755)
    grpc_port, rest_port = free_ports(2)
    script = "\n".join(
        text
        for text in blocks(ROOT / "docs" / f"{page}.md", "bash")
        if "pip install" not in text
    )
    for old, new in FEWER.items() if page == "tutorial" else ():
        assert old in script
        script = script.replace(old, new)
    ports = f"--port {grpc_port} --rest_api_port {rest_port}"
    script = script.replace(
        "portrait-tf serve models", f"portrait-tf serve models {ports}"
    )
    script = script.replace("localhost:8500", f"localhost:{grpc_port}")
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    clean_up = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
    done = subprocess.run(
        ["bash", "-e", "-c", f"{clean_up}\n{script}"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (photo, *_) = sorted((folder / "people/TrainVal_images/val_images").iterdir())
    with Image.open(photo) as before, Image.open(folder / "whole.png") as after:
        assert before.size == after.size
    if page == "start":
        with Image.open(folder / "longer.png") as longer:
            assert longer.height == round(before.height * 1.3)
        return
    assert "(240, 160, 3) (240, 160, 1)" in done.stdout
    assert "exported to models/1" in done.stdout
    assert (folder / "run" / "completion" / "preview.png").is_file()
