"""Matplotlib figures as inline SVG in the page's own colours, which follow light and dark; and as bytes for files."""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib
from matplotlib.figure import Figure

from mmal_cli.analysis import style
from mmal_cli.analysis.style import Look

PAGE = {"paper": ("#ffffff", "#16181c"), "ink": ("#1c1c1c", "#e6e6e6"), "soft": ("#5a5a5a", "#a9adb3")}
PAGE |= {"faint": ("#b8b8b8", "#4a4e55"), "band": ("#f2f3f5", "#20242a"), "link": ("#00539c", "#7ab8ff")}
# Figures are drawn in colours that nobody would choose, one for each variable of the style sheet, and these are replaced.
INK, FAINT = "#010001", "#010002"
NO_METADATA = {"svg": {"Date": None, "Creator": None, "Format": None, "Type": None}, "png": {"Software": None}}
NO_METADATA |= {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
FONTS = re.compile(r"font-family: [^;\"]*")
LONG = re.compile(r"(-?\d+\.\d)\d{2,}")  # a tenth of a point is enough
GEOMETRY = re.compile(r' (?:d|x|y|transform)="[^"]*"')


def look(methods: Sequence[str], subsets: Sequence[str]) -> Look:
    """The colours to draw with, those of `variables` once they are replaced."""
    return Look(
        INK,
        FAINT,
        {qm: f"#02{number:02x}02" for number, qm in enumerate(methods)},
        {subset: f"#03{number:02x}03" for number, subset in enumerate(subsets)},
    )


def variables(methods: Sequence[str], subsets: Sequence[str]) -> str:
    """The colours of the page, of methods and of subsets (of the dataset that has most) for a style sheet, light and dark.

    A browser without light-dark() (before 2024) gets the light ones: an unknown colour would draw no line at all.
    """
    of, kinds = style.colours(methods, subsets)
    named = PAGE | {f"qm-{number}": of[qm] for number, qm in enumerate(methods)}
    named |= {f"subset-{number}": kinds[subset] for number, subset in enumerate(subsets)}
    light = "".join(f"  --{name}: {a};\n" for name, (a, _) in named.items())
    both = "".join(f"  --{name}: light-dark({a}, {b});\n" for name, (a, b) in named.items())
    known = "@supports (color: light-dark(#000, #fff))"
    return f":root {{\n{light}}}\n{known} {{\n:root {{\n  color-scheme: light dark;\n{both}}}\n}}\n"


def data(figure: Figure, form: str) -> bytes:
    """The figure as svg, png or pdf, the same bytes for the same figure."""
    held = io.BytesIO()
    figure.savefig(held, format=form, dpi=150, metadata=NO_METADATA[form])
    return held.getvalue()


def inline(figure: Figure, key: str, title: str, words: str, caption: str) -> str:
    """The figure for the page, in a box that scrolls on a narrow screen.

    Args:
        key: makes the figure's ids its own.
        title: a short name; words: what the figure shows, with its numbers, for who cannot see it; caption: below it.
    """
    figure.patch.set_alpha(0)
    for part in figure.subfigs:
        part.patch.set_alpha(0)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    text = data(figure, "svg").decode()
    text = text[text.index("<g id=") :]  # without the declaration, and without a style element that would hold for the page
    text = _own_ids(_in_page_colours(GEOMETRY.sub(_short, text)), key)
    opened = f'<svg role="img" aria-label="{escape(f"{title}. {words}")}" viewBox="0 0 {width * 3 / 4:g} {height * 3 / 4:g}"'
    return (
        f'<figure><div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'{opened} width="{width}" height="{height}" style="min-width: {round(width * 0.8)}px">'
        f"<title>{escape(title)}</title>{text}</div>"
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def _short(found: re.Match) -> str:
    return LONG.sub(r"\1", found[0]).replace("\n", " ")


def _in_page_colours(text: str) -> str:
    text = FONTS.sub("font-family: inherit", text).replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    text = re.sub(r"#02([0-9a-f]{2})02", lambda found: f"var(--qm-{int(found[1], 16)})", text)
    return re.sub(r"#03([0-9a-f]{2})03", lambda found: f"var(--subset-{int(found[1], 16)})", text)


def _own_ids(text: str, key: str) -> str:
    """Ids that something refers to get the figure's key, so that two figures of a page share none; all others go."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "", text)
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{key}-", text)


def styled() -> matplotlib.rc_context:
    """What figures are made and saved under."""
    return matplotlib.rc_context(style.STYLE)
