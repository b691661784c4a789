"""A hook of `mkdocs.yml`: pages of the site that are not files in `docs/`.

Pages that live beside the code (the model card, the deployment's README) become pages
of the site. The references of commands, config keys, signatures and labels are written
from the code. Links to source files, which a site has no page for, become plain names.
"""

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parents[1]

PAGES = {
    "model_card.md": "MODEL_CARD.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "deploy.md": "serving/deploy/README.md",
    "deploy_training.md": "serving/deploy/training/README.md",
}
_SOURCES = {source: page for page, source in PAGES.items()} | {
    "portrait_tf/config": "reference/config.md",
    "portrait_tf/labels.py": "reference/labels.md",
    "export/contract.py": "reference/signatures.md",
    "README.md": "index.md",
}
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that have no file of their own in `docs/`."""
    generated = {
        "reference/config.md": config_reference(),
        "reference/command_line.md": command_reference(),
        "reference/labels.md": label_reference(),
        "reference/signatures.md": signature_reference(),
    }
    for page, source in PAGES.items():
        generated[page] = (ROOT / source).read_text()
    for page, content in generated.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Points links at the site's pages; a link to a source file becomes its name."""
    here = page.file.src_uri
    folder = posixpath.dirname(PAGES.get(here, f"docs/{here}"))

    def turned(match: re.Match) -> str:
        bang, text, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match.group()
        path, hash_sign, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        if path.startswith("docs/"):
            found = path.removeprefix("docs/")
        elif path in _SOURCES:
            found = _SOURCES[path]
        else:
            name = path.strip("`")
            return text if text.strip("`") in name else f"{text} (`{name}`)"
        start = posixpath.dirname(here) or "."
        found = posixpath.relpath(found, start)
        return f"{bang}[{text}]({found}{hash_sign}{anchor})"

    return _LINK.sub(turned, markdown)


def command_reference() -> str:
    """Every command and option, from typer."""
    import typer
    from typer.cli import get_docs_for_click

    from portrait_tf.apps import cli

    command = typer.main.get_command(cli.app)
    context = typer.Context(command, info_name="portrait-tf")
    return get_docs_for_click(obj=command, ctx=context, name="portrait-tf")


def signature_reference() -> str:
    """Every signature of an export, with its inputs and outputs."""
    from export.contract import SIGNATURES

    parts = [
        "# Signatures\n",
        "What an export answers, from `signature.json`, which every version's folder "
        "has. Equal letters are equal sizes; B is the batch, which may have any size.",
    ]
    for name, signature in SIGNATURES.items():
        parts += [
            f"\n## `{name}`\n",
            f"{signature.meaning}\n",
            "| | name | dtype | shape | meaning |",
            "| --- | --- | --- | --- | --- |",
        ]
        for kind, fields in (("in", signature.inputs), ("out", signature.outputs)):
            for key, field in fields.items():
                shape = ", ".join(map(str, field.shape))
                cells = (kind, f"`{key}`", field.dtype, f"[{shape}]", field.meaning)
                parts.append(f"| {' | '.join(cells)} |")
    return "\n".join(parts)


def label_reference() -> str:
    """LIP's labels with their colors and groups, its joints, and ATR's labels."""
    from portrait_tf import labels

    groups = [
        next(group for group, names in labels.LABEL_GROUPS.items() if name in names)
        for name in labels.LABELS
    ]
    parts = [
        "# Labels and joints\n",
        "LIP's, in LIP's order. Left and right are the person's own. Label 255 is "
        "void: it counts in no loss and in no score.\n",
        "| label | name | color (RGB) | group |",
        "| --- | --- | --- | --- |",
    ]
    parts += [
        f"| {index} | {name} | {', '.join(map(str, color))} | {group} |"
        for index, (name, color, group) in enumerate(
            zip(labels.LABELS, labels.PALETTE, groups, strict=True)
        )
    ]
    parts += ["\n## Joints\n", "| joint | name |", "| --- | --- |"]
    parts += [f"| {index} | {name} |" for index, name in enumerate(labels.JOINTS)]
    parts += ["\n## ATR's labels\n", "| ATR | LIP |", "| --- | --- |"]
    parts += [
        f"| {index} {atr} | {lip} |"
        for index, (atr, lip) in enumerate(labels.ATR_TO_LIP.items())
    ]
    return "\n".join(parts)


def config_reference() -> str:
    """Every key of the configuration with type, default and meaning."""
    from portrait_tf.config import Config

    parts = [
        "# Configuration\n",
        "A config names only what differs from these defaults; `--set KEY=VALUE` "
        "changes a key for one run. The files in `configs/` are examples.\n",
    ]
    schema = Config.model_json_schema()
    _describe(schema, schema["$defs"], "", parts)
    return "\n".join(parts)


def _describe(
    section: dict, known: dict, path: str, parts: list[str], kind: str = ""
) -> None:
    """One table a section, then its sub-sections.

    Args:
        section: Its JSON schema.
        known: Definitions that it refers to.
        path: Of the section, such as `completion.loss`; empty for the whole.
        parts: Gets the text.
        kind: Added to the title where a section has several kinds.
    """
    rows, inner = [], []
    for name, field in section.get("properties", {}).items():
        key = f"{path}.{name}" if path else name
        sections = [known[reference] for reference in _references(field)]
        sections = [one for one in sections if "properties" in one]
        if sections:
            inner += [(key, one) for one in sections]
            continue
        meaning = field.get("description", "").replace("|", "\\|")
        default = _text(field["default"]) if "default" in field else "required"
        rows.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |")
    if rows:
        parts.append(f"\n## `{path}`{kind}\n" if path else "\n## Top level\n")
        if described := section.get("description"):
            parts.append(f"{described}\n")
        parts += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        parts += rows
    for key, one in inner:
        kind = one["properties"].get("kind", {}).get("const")
        _describe(one, known, key, parts, f", kind `{kind}`" if kind else "")


def _references(field: dict) -> list[str]:
    """The definitions that a field's value may be."""
    options = [field, *field.get("anyOf", []), *field.get("oneOf", [])]
    options += field.get("allOf", [])
    found = [one["$ref"].rpartition("/")[2] for one in options if "$ref" in one]
    return list(dict.fromkeys(found))


def _type(field: dict) -> str:
    if "enum" in field:
        return ", ".join(f"`{_text(value).strip('`')}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if field.get("type") == "array":
        inner = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {_type(inner)}" if inner else "list"
    limits = [
        f"{sign} {field[name]:g}"
        for name, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if name in field
    ]
    return " ".join([field.get("type", "object"), *limits])


def _text(value: object) -> str:
    if value in ("", None):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
