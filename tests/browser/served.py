"""Uses the web server as a person does: finds a run, looks at every operation of it, compares two; and sees that no request goes elsewhere.

Argument: where it is. Its store has two runs of sim, both with violations.
"""

import sys

from playwright.sync_api import sync_playwright


def main():
    site = sys.argv[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        requests, wrong = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(site)
        assert page.locator("tbody tr").count() == 2
        page.locator("input[type=search]").first.fill("no such run")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=no*")
        assert page.locator("tbody tr a").count() == 0
        page.goto(site)
        page.locator("tbody tr a").first.click()
        page.wait_for_url("**/runs/*/")
        page.get_by_role("link", name="Every operation").click()
        page.wait_for_selector("#timeline[data-ready]", timeout=60_000)
        page.wait_for_timeout(500)
        total = page.locator('[data-part="count"]').inner_text()
        assert "operations" in total and not total.startswith("0 "), total
        asked = len(requests)
        page.locator('[data-part="f"]').select_option("read")
        page.wait_for_timeout(1000)
        assert len(requests) > asked and "f=read" in requests[-1], "the server is asked for what is wanted"
        assert page.locator('[data-part="count"]').inner_text() != total
        page.locator('[data-part="next-violation"]').click()
        page.wait_for_timeout(1000)
        assert "violation" in page.locator('[data-part="detail"]').inner_text()
        page.goto(site)
        boxes = page.locator("tbody input[type=checkbox]")
        boxes.nth(0).check()
        boxes.nth(1).check()
        page.get_by_role("button", name="Compare").first.click()
        page.wait_for_url("**/compare?*")
        assert "seed" in page.locator("main").inner_text()
        assert [one for one in requests if not one.startswith((site, "data:", "blob:"))] == []
        assert wrong == [], wrong
        browser.close()
    print("all is well")


main()
