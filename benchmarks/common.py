"""What the benchmarks share: arguments, errors, tables, ports and trainers."""

import argparse
import contextlib
import json
import pathlib
import socket
from collections.abc import Iterable, Iterator, Sequence

ROOT = pathlib.Path(__file__).parents[1]


def new_parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose description is the first line of a module's docstring."""
    return argparse.ArgumentParser(description=doc.splitlines()[0])


def add_config(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds `--config`, by default a file of `configs/`, and `--set`."""
    parser.add_argument("--config", default=str(ROOT / "configs" / name))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Ends the program with the sentence of a `PortraitError`."""
    from portrait_tf.errors import PortraitError

    try:
        yield
    except PortraitError as error:
        raise SystemExit(str(error)) from None


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_json(path: pathlib.Path | None, value: object) -> None:
    """Writes JSON, unless there is no path."""
    from portrait_tf.files import write_result

    if path:
        write_result(path, json.dumps(value, indent=2))


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


def build_trainer(stage: str, config: object) -> object:
    """A trainer of a stage in its last phase, with random weights."""
    from portrait_tf.runs.folder import STAGES, build_network
    from portrait_tf.training import build

    *earlier, network = (
        build_network(name, config, training=name == stage)
        for name in STAGES[: STAGES.index(stage) + 1]
    )
    trainer = build.build_trainer(stage, network, earlier, config)
    trainer.step = max(trainer.phase_starts(), default=0)
    return trainer
