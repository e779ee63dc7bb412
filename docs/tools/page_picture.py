"""The pictures of `docs/page.md`: the page with its example, in a headless Chromium.

python docs/tools/page_picture.py [docs/images]
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(folder: Path) -> None:
    """Start the page, open the example, choose a dimension, and save what is seen."""
    words = [sys.executable, "-m", "musicbert", "serve", "--port", "0", "--no-browser", "--workers", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as play:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.set_default_timeout(120_000)
        page.goto(address[0])
        page.get_by_role("button", name="A waltz, played freely").click()
        page.get_by_role("button", name="Articulation Soft").click()
        page.wait_for_selector("#reasons:not([hidden])")
        page.wait_for_timeout(300)
        page.evaluate("scrollTo(0, 0)")
        box = page.locator("#answers").bounding_box()
        assert box is not None
        clip = {"x": 0, "y": box["y"] - 8, "width": 1000, "height": 1180}
        page.screenshot(path=folder / "page.png", full_page=True, clip=clip)
        page.locator("#reasons").screenshot(path=folder / "page-why.png")
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
