"""How fast a timeline is: prints the time to open, and the time of a frame while it is zoomed in and out. Not a test.

Arguments: an address, or a report's file.
"""

import pathlib
import statistics
import sys
import time

from playwright.sync_api import sync_playwright

FRAMES = """async () => {
    const { view } = window.timeline;
    const times = [];
    const zoomed = async (factor, share) => {
        view.zoom(factor, share);
        const begin = performance.now();
        timeline.draw();
        times.push(performance.now() - begin);
        await new Promise((done) => requestAnimationFrame(done));
    };
    for (let n = 0; n < 60; n++) await zoomed(0.85, 0.4);
    for (let n = 0; n < 60; n++) await zoomed(1 / 0.85, 0.4);
    return times;
}"""


def main():
    where = sys.argv[1]
    url = where if where.startswith("http") else pathlib.Path(where).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        begin = time.monotonic()
        page.goto(url)
        page.wait_for_selector("#timeline[data-ready]", timeout=300_000)
        opened = time.monotonic() - begin
        print(page.locator('[data-part="count"]').inner_text())
        times = sorted(page.evaluate(FRAMES))
        print(f"opened in {opened:.2f} s; a frame takes {statistics.median(times):.1f} ms in the median, {times[int(len(times) * 0.95)]:.1f} ms at p95, {times[-1]:.1f} ms at most")
        browser.close()


main()
