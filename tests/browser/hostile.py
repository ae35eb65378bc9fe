"""Opens a report of a history full of markup and scripts, looks at everything, and sees that none of it is executed."""

import pathlib
import sys

from playwright.sync_api import sync_playwright


def main():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        wrong = []
        page.on("dialog", lambda dialog: (wrong.append("a dialog: " + dialog.message), dialog.dismiss()))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        url = pathlib.Path(sys.argv[1]).resolve().as_uri()
        page.on("request", lambda request: wrong.append(request.url) if request.url != url else None)
        page.goto(url)
        page.wait_for_selector("#timeline[data-ready]", timeout=60_000)
        page.locator('[data-part="next-violation"]').click()
        page.locator('[data-part="next-unknown"]').click()
        page.locator("summary").filter(has_text="as a table").click()
        canvas = page.locator("canvas.lanes")
        box = canvas.bounding_box()
        for share in range(1, 20):
            page.mouse.move(box["x"] + box["width"] * share / 20, box["y"] + box["height"] / 2)
        assert page.locator("body img, body svg[onload]").count() == 0, "markup of the history became the page's"
        assert "onerror" in page.locator('[data-part="table"]').inner_text(), "it is shown as text"
        assert wrong == [], wrong
        browser.close()
    print("all is well")


main()
