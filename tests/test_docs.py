"""The documentation: commands exist, Python parses, links lead somewhere."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest
import typer

from portrait_tf.apps import cli

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "serving" / "deploy").rglob("*.md"),
    ]
)
PAGES = [path for path in FILES if path.name != "CHANGELOG.md"]
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


def test_the_site_is_built(tmp_path):
    """Strictly: a broken link, or a name that is not there, is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in ("start", "reference/config", "reference/command_line"):
        assert (tmp_path / page / "index.html").is_file()
    text = (tmp_path / "reference" / "command_line" / "index.html").read_text()
    assert "--whole-body" in text
