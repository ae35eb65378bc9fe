"""Uses a report as a person does: zooms, filters, jumps to the violation; and sees that no request leaves the page.

Arguments: the report of a run with a violation, and whether it is one ("violation") or none ("none").
Needs Playwright for Python and Debian's Chromium.
"""

import pathlib
import sys

from playwright.sync_api import sync_playwright


def span(page):
    """The stretch of time in view, in seconds."""
    text = page.locator('[data-part="span"]').inner_text()
    begin, end = text.replace(" s", "").split(" to ")
    return float(begin), float(end)


def count(page):
    """How many operations are shown, and of how many."""
    text = page.locator('[data-part="count"]').inner_text()
    words = text.replace(",", "").split()
    return int(words[0]), int(words[2])


def settled(page):
    """Waits until two frames have been drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def facts(page):
    """What is told of the operation that is selected."""
    names = page.locator('[data-part="detail"] dt').all_inner_texts()
    values = page.locator('[data-part="detail"] dd').all_inner_texts()
    return dict(zip(names, values))


def ink(page, selector):
    """How many pixels of a canvas are drawn."""
    return page.locator(selector).evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let drawn = 0;
            for (let at = 3; at < data.length; at += 4) drawn += data[at] > 0;
            return drawn;
        }"""
    )


def zooming(page):
    whole = span(page)
    page.locator('[data-part="in"]').click()
    settled(page)
    half = span(page)
    assert abs((half[1] - half[0]) * 2 - (whole[1] - whole[0])) < 0.01, (whole, half)
    inner = page.locator("svg.plot[data-zooms] svg.inner").first.get_attribute("viewBox")
    assert abs(float(inner.split()[0]) - half[0]) < 0.001, "the other pictures show the same time"
    canvas = page.locator("canvas.lanes")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    assert span(page)[0] > half[0], "an arrow moves"
    page.keyboard.press("0")
    settled(page)
    assert span(page) == whole, "0 shows all"
    box = canvas.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=4)
    page.mouse.up()
    settled(page)
    dragged = span(page)
    share = (dragged[1] - dragged[0]) / (whole[1] - whole[0])
    assert 0.09 < share < 0.13, f"a drag selects a stretch: {share}"
    page.mouse.dblclick(box["x"] + box["width"] * 0.5, y)
    settled(page)
    assert span(page) == whole, "a double click shows all"


def filtering(page):
    shown, total = count(page)
    assert shown == total > 100, (shown, total)
    page.locator('[data-part="f"]').select_option("read")
    reads, _ = count(page)
    assert 0 < reads < total
    page.locator('[data-part="ok"]').uncheck()
    others, _ = count(page)
    assert others < reads
    page.locator('[data-part="ok"]').check()
    page.locator('[data-part="key"]').fill("no such key")
    assert count(page)[0] == 0
    settled(page)
    page.locator('[data-part="key"]').fill("")
    page.locator('[data-part="process"]').fill("0")
    assert 0 < count(page)[0] < reads
    page.locator('[data-part="process"]').fill("")
    page.locator('[data-part="f"]').select_option("")
    assert count(page)[0] == total


def jumping(page):
    whole = span(page)
    page.locator('[data-part="next-violation"]').click()
    settled(page)
    near = span(page)
    assert near[1] - near[0] < (whole[1] - whole[0]) / 20, near
    told = facts(page)
    assert "not linearizable" in told["violation"] or "returned" in told["violation"], told
    assert told["operation"].startswith("read"), told
    page.locator('[data-part="next-failed"]').click()
    settled(page)
    assert "failed" in facts(page), facts(page)
    page.locator("summary").filter(has_text="as a table").click()
    settled(page)
    assert page.locator('[data-part="table"] tbody tr').count() > 0
    page.locator("a[href='#violation-1']").first.click()
    settled(page)
    assert abs(span(page)[0] - near[0]) < 0.001, "a link leads to the violation"


def hovering(page):
    page.locator('[data-part="all"]').click()
    settled(page)
    canvas = page.locator("canvas.lanes")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    hint = page.locator('[data-part="hint"]')
    for share in range(1, 40):
        page.mouse.move(box["x"] + box["width"] * (0.1 + share / 50), box["y"] + box["height"] - 40)
        if hint.is_visible():
            break
    assert "process" in hint.inner_text(), "what is under the pointer is told"


def main():
    report, kind = sys.argv[1:3]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme in ["light", "dark"]:
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
            requests, errors = [], []
            page.on("request", lambda request: requests.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            url = pathlib.Path(report).resolve().as_uri()
            page.goto(url)
            page.wait_for_selector("#timeline[data-ready]", timeout=60_000)
            settled(page)
            assert ink(page, "canvas.lanes") > 5_000
            assert ink(page, "canvas.over") > 100
            zooming(page)
            filtering(page)
            hovering(page)
            if kind == "violation":
                jumping(page)
            else:
                assert page.locator('[data-part="next-violation"]').is_disabled()
            assert [one for one in requests if not one.startswith((url, "data:", "blob:"))] == []
            assert errors == [], errors
            page.close()
        # Without scripts, what matters is there all the same.
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(pathlib.Path(report).resolve().as_uri())
        assert page.locator("svg.plot").count() >= 4
        assert not page.locator("canvas.lanes").is_visible()
        context.close()
        browser.close()
    print("all is well")


main()
