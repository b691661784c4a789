"""What the pages with scores are made of: they need no other file and no network."""

import base64
import html
from collections.abc import Callable

import cv2
import numpy as np

TASK_NAMES = {
    "square": "Square on the person",
    "strokes": "Wide strokes",
    "lower_third": "Lower third",
    "right_quarter": "Right quarter",
    "all": "All holes together",
    "none": "No hole",
}


def number(value: float | None) -> str:
    """Three decimals; `-` of nothing."""
    return "-" if value is None else f"{value:.3f}"


def plain(value: object) -> str:
    """A value of JSON as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def html_table(head: str, rows: list[str]) -> str:
    """A table that scrolls sideways, given the HTML of its head and rows."""
    return (
        f'<div class="scroll"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def jpeg(picture: np.ndarray) -> bytes:
    """JPEG bytes of RGB `uint8` `[H, W, 3]`."""
    encoded = cv2.imencode(
        ".jpg",
        cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, 90],
    )
    return encoded[1].tobytes()


def figure(
    picture: np.ndarray, caption: str, kind: str, encode: Callable[[np.ndarray], bytes]
) -> str:
    """A picture with a caption (HTML), inside the page.

    Args:
        picture: As `encode` takes it.
        caption: Below it.
        kind: `jpeg` or `png`, what `encode` makes.
        encode: To the bytes of a file.
    """
    data = base64.b64encode(encode(picture)).decode()
    height, width = picture.shape[:2]
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" width="{width}" '
        f'height="{height}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def example_places(count: int) -> dict[int, str]:
    """Ranks of the photos to look at, of so many ranked best first, and their names.

    Where there are but one or two photos, the later name stands.
    """
    places = {count // 2: "median", count - 1: "worst", 0: "best"}
    return {rank: places[rank] for rank in sorted(places)} if count else {}


def example(place: str, text: str, figures: str, arrangement: str = "row") -> str:
    """A photo to look at.

    Args:
        place: Of `example_places`.
        text: HTML after it.
        figures: Of `figure`, one after the other.
        arrangement: Their class: `row` or `pictures`.
    """
    return (
        f'<section class="example"><p><b>{place}</b> {text}</p>'
        f'<div class="{arrangement}">{figures}</div></section>'
    )


def completed_example(
    place: str, name: str, psnr: float, pictures: dict[str, np.ndarray]
) -> str:
    """A photo with what methods made of its hole.

    Args:
        place: Of `example_places`.
        name: The photo's.
        psnr: In its hole, of the method that ranked it.
        pictures: RGB `uint8` `[H, W, 3]`, by title.
    """
    figures = "".join(
        figure(picture, html.escape(title), "jpeg", jpeg)
        for title, picture in pictures.items()
    )
    return example(place, f"{html.escape(name)}, hole PSNR {psnr:.2f} dB", figures)


def setup_line(setup: dict) -> str:
    """Names and values of what was scored, in one line."""
    return " · ".join(
        f"{html.escape(name.replace('_', ' '))} <b>{html.escape(plain(value))}</b>"
        for name, value in setup.items()
    )


def page(title: str, body: str) -> str:
    """The whole page; `body` follows its title."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head><body><main>
<h1>{title}</h1>
{body}
</main></body></html>
"""


_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2024;--soft:#60666d;--line:#e2e5e9;
--panel:#f5f6f8;--bar:#bcd7f5}
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e7e9ec;--soft:#9aa1a9;
--line:#30353b;--panel:#1e2227;--bar:#27486e}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1200px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.2rem;margin:2em 0 .4em}
h3{font-size:1rem;margin:1.4em 0 .4em}p{max-width:70ch}
.setup{color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}
.setup b{color:var(--ink);font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.tile{background:var(--panel);border-radius:10px;padding:12px 14px;font-size:.85rem;
line-height:1.35;color:var(--soft)}
.tile b{display:block;font-size:1.7rem;line-height:1.2;color:var(--ink);
font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.85rem;
font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--soft);font-weight:500;background:var(--panel)}
thead .group{text-align:center;border-left:1px solid var(--line)}
th:first-child{text-align:left;font-weight:500;position:sticky;left:0;z-index:1;
background:var(--paper)}
thead th:first-child{background:var(--panel)}
.bar{min-width:58px;background:linear-gradient(90deg,var(--bar) var(--share),transparent
var(--share)) no-repeat 4px 50%/calc(100% - 8px) 70%}
.total>*{font-weight:650}.rare>*{color:var(--soft)}
small{color:var(--soft);font-weight:400}
.swatch{display:inline-block;width:.8em;height:.8em;border-radius:3px;margin-right:.5em;
border:1px solid var(--line);vertical-align:-.05em}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.8rem;max-width:none}
.examples{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:12px}
.example{background:var(--panel);border-radius:10px;padding:10px 12px}
.example p{margin:0 0 8px;font-size:.85rem;overflow-wrap:anywhere}
.pictures{display:grid;grid-template-columns:repeat(3,1fr);gap:6px}
.row{display:flex;gap:6px;overflow-x:auto}
.row figure{flex:1 0 90px;max-width:200px}
.example+.example{margin-top:8px}
figure{margin:0}img{display:block;width:100%;height:auto;border-radius:4px}
@media(max-width:600px){th,td{padding:5px 4px}.bar{min-width:50px}
table{font-size:.8rem}}
figcaption{font-size:.75rem;color:var(--soft);text-align:center}
"""
