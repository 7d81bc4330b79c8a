"""The built site in a browser: pages open, fit the width of a phone, and the search finds them.

    python -m pytest -c /dev/null --rootdir=. --noconftest .ci/test_site.py

after a build into `docs/_build/html`. It needs selenium, Chromium and its driver, and no network: pages are files.
"""

import importlib
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

import rnnjax
from rnnjax.app._registry import CELLS

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
PAGES = {
    "index": "rnnjax",
    "start": "Start here",
    "concepts": "Concepts",
    "howto/which_cell": "Which cell?",
    "howto/which_rule": "Which rule?",
    "looking": "inspect a network",
    "tutorials/unitary": "unitary",
    "results/first_points": "First points",
    "generated/cells": "All cells",
    "generated/reference/losses": "rnnjax.losses",
}
FOUND = {"tbptt": "howto/carry_state", "mask": "howto/lengths"}
if not SITE.exists():
    pytest.skip(f"{SITE} is not built: run .ci/docs", allow_module_level=True)

# Right ends of what is wider than the window and can be scrolled into it neither by itself nor by what it stands in.
CUT_OFF = """
const scrolls = e => ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX);
const framed = e => e && e !== document.body && (scrolls(e) || framed(e.parentElement));
return [...document.querySelectorAll(".bd-article *")]
  .filter(e => e.getBoundingClientRect().right > arguments[0] + 1 && !framed(e))
  .map(e => e.tagName + ": " + e.textContent.slice(0, 60));
"""


@pytest.fixture(scope="module")
def browser():
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("no chromium with its chromedriver: the site is not opened in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "SEVERE"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


def resize(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def visit(browser, page):
    """Opens a page of the site, and waits until it is all there."""
    browser.get(f"{SITE.as_uri()}/{page}")
    WebDriverWait(browser, 20).until(lambda b: b.execute_script("return document.readyState") == "complete")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_and_nothing_is_cut_off(browser, page, width):
    resize(browser, width)
    visit(browser, f"{page}.html")
    assert PAGES[page].lower() in browser.find_element("css selector", ".bd-article h1").text.lower()
    assert browser.execute_script(CUT_OFF, width) == []
    broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert browser.execute_script(broken) == []
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert [m for m in messages if "invalid theme mode" not in m] == []  # the theme says it once, of a new profile


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_the_page(browser, theme):
    resize(browser, 1280)
    visit(browser, "index.html")
    still = "const s = document.createElement('style'); s.textContent = arguments[0]; document.head.append(s)"
    browser.execute_script(still, "* { transition: none !important }")  # colours are those of the theme at once
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    colours = "const s = getComputedStyle(document.querySelector(arguments[0])); return s[arguments[1]]"
    ink = brightness(browser.execute_script(colours, ".bd-article p", "color"))
    paper = brightness(browser.execute_script(colours, "body", "backgroundColor"))
    assert (paper > ink) == (theme == "light")
    assert abs(paper - ink) > 128


def brightness(colour):
    """The mean of red, green and blue in `rgb(r, g, b)`."""
    parts = colour.partition("(")[2].rstrip(")").split(",")[:3]
    return sum(float(part) for part in parts) / 3


@pytest.mark.parametrize("word", FOUND)
def test_the_search_finds_a_page(browser, word):
    visit(browser, f"search.html?q={word}")
    wanted = f'#search-results a[href*="{FOUND[word]}.html"]'
    assert WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", wanted))


@pytest.mark.parametrize("folder", rnnjax._FOLDERS)
def test_every_public_name_is_on_the_reference(folder):
    text = (SITE / "generated" / "reference" / f"{folder}.html").read_text(encoding="utf-8")
    names = importlib.import_module(f"rnnjax.{folder}").__all__
    assert [name for name in names if f'id="rnnjax.{folder}.{name}"' not in text] == []


def test_the_table_of_cells_is_complete(browser):
    resize(browser, 1280)
    visit(browser, "generated/cells.html")
    read = "return [...document.querySelectorAll('table.cells tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    found = WebDriverWait(browser, 20).until(lambda b: b.execute_script(read))
    rows = {name.strip(): rest for name, *rest in found}
    assert set(rows) == set(CELLS)
    for name, (recurrence, parameters, state, window, refused, _) in rows.items():
        assert "=" in recurrence, name
        assert parameters.isdigit() and state.isdigit() and window in ("yes", "no") and refused, name
