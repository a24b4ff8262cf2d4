"""The page in a real browser without a window: no error, every figure drawn, sorting by mouse and keys, light and dark."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
import report_runs

pytestmark = pytest.mark.skipif(browser.BINARY is None, reason="no chromium: the page is not looked at in a browser")

WIDE, NARROW = 1200, 360
TABLE = "[...document.querySelectorAll('table')].find(t => t.caption.textContent.startsWith('AULC of unique'))"
PAINTED = """[...document.querySelectorAll('figure svg')].map(svg => {
  const all = svg.getBoundingClientRect(), inside = [...svg.querySelectorAll('path, use, text')];
  const seen = inside.filter(e => { const b = e.getBoundingClientRect(); return b.width + b.height > 0; });
  return [all.width, all.height, seen.length, [...svg.querySelectorAll('text')].filter(t => t.textContent).length];
})"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = report_runs.make(
        tmp_path_factory.mktemp("runs"), ("unique", "a-dataset-with-quite-a-long-name"), ("low", "mid", "high")
    )
    path = root / "index.html"
    path.write_text(report_runs.text_of(root), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tab(written) -> Iterator[browser.Page]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, browser.opened(Path(profile)) as one:
        one.look(WIDE)
        one.open(written)
        yield one


@pytest.fixture(autouse=True)
def afresh(tab, written) -> Iterator[None]:
    """Every test starts with the page as it was written, and ends without an error in the console."""
    tab.look(WIDE)
    tab.open(written)
    yield
    assert tab.errors == []


def column(tab: browser.Page, number: int) -> list[list[str]]:
    """The texts of a column of the AULC table, group by group."""
    rows = f"[...{TABLE}.tBodies].map(b => [...b.rows].filter(r => !r.className).map(r => r.cells[{number}].textContent))"
    return tab.run(rows)


def test_nothing_but_the_file_is_asked_for(tab, written):
    assert set(tab.requests) == {written.as_uri()}


def test_every_figure_is_drawn(tab):
    figures = tab.run(PAINTED)
    assert len(figures) == 7
    for width, height, seen, texts in figures:
        assert width > 300
        assert height > 100
        assert seen > 15
        assert texts > 6


def test_without_light_dark_the_page_has_its_light_colours(tab, written, tmp_path):
    older = tmp_path / "older.html"
    older.write_text(written.read_text(encoding="utf-8").replace("light-dark(", "not-yet-known("), encoding="utf-8")
    tab.look(WIDE, dark=True)
    tab.open(older)
    strokes = (
        "[...document.querySelectorAll('svg path')].map(p => p.style.stroke.includes('var') && getComputedStyle(p).stroke)"
    )
    assert "none" not in tab.run(strokes)
    assert "rgb(0, 114, 178)" in tab.run(strokes)
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run("document.querySelectorAll('button.theme').length") == 0


def test_the_weak_modality_is_seen_whole_beside_the_published_values(tab):
    assert tab.run(f"{TABLE}.tHead.rows[0].cells.length") == 11
    assert tab.run(f"{TABLE}.parentElement.scrollWidth <= {TABLE}.parentElement.clientWidth")


def test_a_line_has_the_colour_of_its_method_in_light_and_in_dark(tab):
    colour = "getComputedStyle([...document.querySelectorAll('svg path')].find(p => p.style.stroke.includes('--qm-0'))).stroke"
    paper = "getComputedStyle(document.body).backgroundColor"
    assert (tab.run(colour), tab.run(paper)) == ("rgb(0, 114, 178)", "rgb(255, 255, 255)")  # badge
    tab.look(WIDE, dark=True)
    assert (tab.run(colour), tab.run(paper)) == ("rgb(86, 180, 233)", "rgb(22, 24, 28)")
    tab.click("button.theme")  # light, whatever the system says
    assert tab.run("document.querySelector('button.theme').textContent") == "Colours: light"
    assert tab.run(paper) == "rgb(255, 255, 255)"
    tab.look(WIDE, dark=True, media="print")
    assert tab.run(paper) == "rgb(255, 255, 255)"


def test_text_in_figures_is_readable_in_both(tab):
    ink = "[...document.querySelectorAll('svg text')].map(t => getComputedStyle(t).fill)"
    assert set(tab.run(ink)) == {"rgb(28, 28, 28)"}
    tab.look(WIDE, dark=True)
    assert set(tab.run(ink)) == {"rgb(230, 230, 230)"}


def test_a_click_sorts_each_group_by_number_and_again_the_other_way(tab):
    before = column(tab, 2)
    tab.run(f"{TABLE}.tHead.rows[0].cells[2].id = 'there'; 1")
    tab.click("#there button")
    rising = column(tab, 2)
    assert tab.run("document.querySelector('#there').getAttribute('aria-sort')") == "ascending"
    assert [[float(text.split()[0]) for text in group] for group in rising] == [
        sorted(float(text.split()[0]) for text in group) for group in before
    ]
    tab.click("#there button")
    assert column(tab, 2) == [group[::-1] for group in rising]
    assert tab.run("document.querySelector('#there').getAttribute('aria-sort')") == "descending"
    assert "sorted by a" in tab.run("document.querySelector('[role=status]').textContent")


def test_a_third_click_gives_the_first_order_back_and_regimes_have_their_own(tab):
    cells = "[...document.querySelectorAll('table')].find(t => t.caption.textContent.startsWith('Seeds of'))"
    regimes = f"[...{cells}.tBodies].map(b => [...b.rows].filter(r => !r.className).map(r => r.cells[0].textContent))"
    tab.run(f"{cells}.tHead.rows[0].cells[0].id = 'regime'; 1")
    seen = []
    for _ in range(3):
        tab.click("#regime button")
        seen.append(tab.run(regimes)[0])
    assert seen == [["low", "mid", "high"], ["high", "mid", "low"], ["low", "mid", "high"]]
    assert tab.run("document.querySelector('#regime').getAttribute('aria-sort')") == "none"
    assert "in its first order" in tab.run("document.querySelector('[role=status]').textContent")
    before = column(tab, 2)
    tab.run(f"{TABLE}.tHead.rows[0].cells[2].id = 'there'; 1")
    for _ in range(3):
        tab.click("#there button")
    assert column(tab, 2) == before


@pytest.mark.parametrize(("key", "code", "text"), [("Enter", 13, "\r"), (" ", 32, " ")])
def test_the_keyboard_sorts_too(tab, key, code, text):
    assert column(tab, 0) == [["badge", "grace", "random"]] * 3
    tab.run(f"{TABLE}.tHead.rows[0].cells[0].querySelector('button').focus(); 1")
    tab.press(key, code, text)
    tab.press(key, code, text)
    assert column(tab, 0) == [["random", "grace", "badge"]] * 3


def test_sums_stay_at_the_end(tab):
    ranks = "[...document.querySelectorAll('table')].find(t => t.caption.textContent.startsWith('Ranks by'))"
    tab.run(f"{ranks}.tHead.rows[0].cells[3].id = 'rank'; 1")
    for _ in range(2):
        tab.click("#rank button")
        assert tab.run(f"[...{ranks}.tBodies].map(b => [...b.rows].at(-1).cells[0].textContent)") == ["sum", "sum", "sum"]


def test_tab_reaches_the_skip_link_first_and_it_leads_to_the_content(tab):
    tab.press("Tab", 9)
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run("document.activeElement.getBoundingClientRect().left >= 0")
    tab.press("Enter", 13, "\r")
    assert tab.run("document.activeElement.id") == "main"


def test_every_button_and_scroll_box_can_be_reached_by_tab(tab):
    reachable = "[...document.querySelectorAll('button, .scroll, a, summary')].every(e => e.tabIndex === 0)"
    assert tab.run(reachable)
    assert tab.run("document.querySelectorAll('thead button').length > 40")


@pytest.mark.parametrize(("width", "media"), [(NARROW, "screen"), (WIDE, "screen"), (750, "print")])
def test_the_page_itself_never_scrolls_sideways(tab, width, media):
    tab.look(width, media=media)
    assert tab.run("document.documentElement.scrollWidth") <= width
    if width == NARROW:
        assert tab.run("[...document.querySelectorAll('figure .scroll')].every(e => e.scrollWidth > e.clientWidth)")
        assert tab.run("getComputedStyle(document.querySelector('p')).fontSize") == "16px"


def test_what_a_screen_reader_hears_of_a_figure(tab):
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    images = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") in ("img", "image")]
    assert len(images) == 7
    assert images[0].startswith("Learning curves of a-dataset-with-quite-a-long-name, moddrop on. Low, ")
    sorts = [p for node in nodes for p in node.get("properties", []) if p["name"] == "focusable"]
    assert len(sorts) > 40
    tab.call("Accessibility.disable")


def test_an_error_in_the_page_would_be_seen(tab, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<script>nothing()</script><img src='gone.png'>")
    tab.open(broken)
    found = " ".join(tab.errors)
    tab.errors.clear()
    assert "nothing is not defined" in found
    assert "ERR_FILE_NOT_FOUND" in found
