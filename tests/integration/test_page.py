"""The page in a real browser: upload, profile, reasons, changes, remix, damaged files, keyboard, a phone."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

from musicbert.midi import read_score
from musicbert.web.work import example

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("starlette", reason="needs the extra page")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (apt install chromium)")
WAIT = 120_000  # milliseconds, for a busy machine


@pytest.fixture(scope="module")
def address():
    """Address of a running server."""
    words = [sys.executable, "-m", "musicbert", "serve", "--port", "0", "--no-browser", "--workers", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert process.returncode in (0, 130)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A fresh page that notes every request and every error of its script."""
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.hosts, page.errors = set(), []
    page.on("request", lambda request: page.hosts.add(request.url.split("/")[2]))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    assert {host for host in page.hosts if host} == {address.split("/")[2]}
    assert page.errors == []
    context.close()


def open_example(page, name="A waltz, played freely"):
    page.get_by_role("button", name=name).click()
    page.wait_for_selector("#answers:not([hidden])")


def saved(page, action, tmp_path, name):
    with page.expect_download() as download:
        action()
    path = tmp_path / name
    download.value.save_as(path)
    return path


def test_from_a_file_to_a_new_version(page, tmp_path):
    open_example(page)
    assert page.locator("#profile .row").count() > 10
    row = page.get_by_role("button", name="Pedal Sparse")
    row.click()
    page.wait_for_selector("#reasons:not([hidden])")
    assert row.get_attribute("aria-pressed") == "true"
    assert page.locator("#factors .effect").count() == 7
    assert "Blue speaks for “saturated (wet)”, most of all" in page.locator("#lit").inner_text()
    page.get_by_label("Pedal", exact=True).fill("0")
    page.get_by_role("button", name="Work it out").click()
    page.wait_for_selector("#compare table")
    changed = saved(page, page.locator("#after-download a").click, tmp_path, "changed.mid")
    after = read_score(changed)
    assert not (after.control_value[after.control_number == 64] > 0).any()
    page.get_by_role("button", name="Play after").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Write two versions").click()
    page.wait_for_selector("#versions .version")
    assert page.locator("#versions .version").count() == 2
    version = saved(page, page.locator("#versions a").first.click, tmp_path, "version.mid")
    assert len(read_score(version)) == len(after)


def test_a_damaged_file_and_then_a_whole_one(page, tmp_path):
    damaged = tmp_path / "damaged.mid"
    damaged.write_bytes(b"MThd\0\0")
    page.set_input_files("#file", damaged)
    page.wait_for_selector("#error:not([hidden])")
    assert len(page.locator("#error").inner_text()) > 10
    assert page.locator("#answers").is_hidden()
    open_example(page, "The same waltz as it is written")
    assert page.locator("#error").is_hidden()
    assert page.locator("#why li").count() >= 1
    assert page.locator("#profile .row").count() == 0


def test_the_keyboard_is_enough(page):
    page.get_by_role("button", name="A waltz, played freely").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers:not([hidden])")
    page.locator("#roll").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#roll").get_attribute("aria-valuenow") == "2"
    page.locator("#profile .row").first.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#reasons:not([hidden])")


#: texts whose contrast with what is behind them is below 4.5 (WCAG 2, level AA)
FAINT = """() => {
  const numbers = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = each => {
    for (; each; each = each.parentElement) {
      const found = numbers(getComputedStyle(each).backgroundColor);
      if (found[3] !== 0) return found;
    }
  };
  const spoken = each => [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  return [...document.querySelectorAll("body *")].filter(each => each.offsetParent && !each.disabled && spoken(each))
    .map(each => [each.outerHTML.slice(0, 80), light(numbers(getComputedStyle(each).color)), light(behind(each))])
    .filter(([, a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5);
}"""  # noqa: E501


def test_labels_contrast_and_a_phone(page, tmp_path):
    page.set_viewport_size({"width": 360, "height": 740})
    path = tmp_path / f"{'a_long_name_of_a_file_' * 5}.mid"
    path.write_bytes(example("expressive"))
    page.set_input_files("#file", path)
    page.wait_for_selector("#answers:not([hidden])")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(FAINT) == []
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, canvas, a, section")].filter(each => !(
        each.textContent.trim() || each.labels?.length || each.getAttribute("aria-label")
        || each.getAttribute("aria-labelledby"))).map(each => each.outerHTML)"""
    )
    assert unnamed == []


def test_two_people_at_once(browser, page, address):
    other = browser.new_page()
    other.set_default_timeout(WAIT)
    other.goto(address)
    other.wait_for_selector("html[data-ready=yes]")
    page.get_by_role("button", name="A waltz, played freely").click()
    other.get_by_role("button", name="The same waltz, played evenly").click()
    for each, name in ((page, "A waltz, played freely"), (other, "The same waltz, played evenly")):
        each.wait_for_selector("#answers:not([hidden])")
        assert name in each.locator("#facts").inner_text()
    other.close()
