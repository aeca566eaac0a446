"""The page in a real browser: the system's chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serving_examples
from playwright.sync_api import Browser, Page, sync_playwright
from serving_examples import Made, started

from abe_jax.index import ImageRow, Threshold, store

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MARKUP = "<img src=x onerror=alert(1)>"
K = 6

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = serving_examples.index(tmp_path_factory.mktemp("made"), serving_examples.model())
    file = made.files[0].with_name("other.png")
    file.write_bytes(made.other)
    serving_examples.add(made.folder, made.embedder, [file], [ImageRow(str(file), MARKUP)])
    return made


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[str]:
    with started(made, "--k", str(K)) as (_, port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Watched:
    """A page of its own, and what it said and asked for."""

    def __init__(self, browser: Browser, address: str, **options: Any):
        self.page: Page = browser.new_page(**options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.until("document.title.includes('index')")

    def drop(self, file: Path) -> None:
        """Drops a file from outside of the browser, by its own input events."""
        box = self.page.locator("#drop").bounding_box()
        assert box
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        session = self.page.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    def answered(self, words: str) -> None:
        """Waits until the figure under the query says so, and every picture is there."""
        caption = self.page.locator("#query figcaption", has_text=words)
        caption.wait_for()
        self.until("[...document.images].every(i => i.offsetParent === null || i.naturalWidth)")

    def until(self, holds: str) -> None:
        """Waits for an expression; the page's policy forbids Playwright to do so in the page."""
        for _ in range(200):
            if self.page.evaluate(holds):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(holds)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()


def test_a_dropped_image_finds_neighbours_votes_and_attention(
    browser: Browser, address: str, made: Made
) -> None:
    seen = Watched(browser, address)
    page = seen.page
    assert "41 images · 2 learners of 8 dimensions" in seen.text("#about")
    seen.drop(made.files[9])
    seen.answered("as the model sees it")
    shown = page.locator("#neighbours li")
    assert shown.count() == K
    first = shown.nth(0)
    assert "0.000" in first.inner_text() and made.files[9].name in first.inner_text()
    assert "not calibrated" in seen.text("#why")
    assert page.locator("#maps img").count() == 2
    before = page.locator("#maps img").nth(0).get_attribute("src")
    page.get_by_text("What sets each apart").click()
    assert page.locator("#maps img").nth(0).get_attribute("src") != before
    assert "less the mean" in seen.text("#attention-note")
    assert page.locator("#table tbody tr").count() == K
    assert page.locator("#table tbody tr").nth(0).locator(".voted").count() == 2
    assert page.locator("#table .voted").count() <= 2 * K
    assert seen.said == []
    ours = (address, "data:", "blob:")
    assert seen.asked and all(url.startswith(ours) for url in seen.asked)


def test_it_is_used_by_keyboard_and_goes_back(browser: Browser, address: str, made: Made) -> None:
    seen = Watched(browser, address)
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(str(made.files[3]))
    seen.answered("as the model sees it")
    nearest = page.locator("#neighbours button").nth(1).get_attribute("aria-label")
    page.locator("#neighbours button").nth(0).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    seen.answered("from the index")
    assert nearest and seen.text("#query figcaption").split(",")[0] == nearest.split(",")[0]
    page.go_back()
    seen.answered("as the model sees it")
    page.go_forward()
    seen.answered("from the index")
    assert seen.said == []


def test_names_are_text_and_a_pasted_image_is_searched(
    browser: Browser, address: str, made: Made
) -> None:
    seen = Watched(browser, address)
    seen.page.evaluate(
        """bytes => {
            const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(bytes)], "", { type: "image/png" }));
            dispatchEvent(new ClipboardEvent("paste", { clipboardData: held }));
        }""",
        list(made.other),
    )
    seen.answered("as the model sees it")
    assert MARKUP in seen.text("#verdict")
    assert seen.page.locator("#neighbours b").nth(0).inner_text() == MARKUP
    assert seen.said == []


def test_a_damaged_file_is_told_and_the_next_one_served(
    browser: Browser, address: str, made: Made, tmp_path: Path
) -> None:
    seen = Watched(browser, address)
    damaged, large = tmp_path / "damaged.png", tmp_path / "large.png"
    damaged.write_bytes(made.other[:80])
    with large.open("wb") as file:
        file.truncate(33 * 2**20)
    for file, words in ((damaged, "no image that can be read"), (large, "more than 32 MiB")):
        seen.drop(file)
        seen.page.locator("#status.wrong", has_text=words).wait_for()
        assert seen.page.locator("#answer").is_hidden()
    assert ["422" in line for line in seen.said] == [True]  # chromium tells of the status itself
    seen.drop(made.files[2])
    seen.answered("as the model sees it")
    assert seen.text("#status") == ""


def test_a_calibrated_index_says_no_match(
    browser: Browser, address: str, made: Made, tmp_path: Path
) -> None:
    seen = Watched(browser, address)
    file = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8)
    file.write_bytes(serving_examples.encoded(noise))
    store.set_threshold(made.folder, Threshold(1e-6, "for a test"))
    try:
        seen.drop(file)
        seen.answered("as the model sees it")
        assert seen.text("#verdict") == "No match"
        assert seen.page.locator("#neighbours .far").count() == K
        seen.drop(made.files[5])
        seen.page.locator("#neighbours .near").nth(0).wait_for()
        assert seen.text("#verdict") != "No match"
    finally:
        store.set_threshold(made.folder, None)
    assert seen.said == []


LUMINANCE = """selector => {
    const style = getComputedStyle(document.querySelector(selector));
    const lightness = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    return [style.color, getComputedStyle(document.body).backgroundColor].map(lightness);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark_and_on_a_phone(
    browser: Browser, address: str, made: Made, scheme: str
) -> None:
    phone = {"width": 360, "height": 740}
    seen = Watched(browser, address, color_scheme=scheme, viewport=phone)
    seen.drop(made.files[0])
    seen.answered("as the model sees it")
    for selector in ("h1", ".note", "#neighbours .path", "#table small", ".status", "footer p"):
        ink, paper = seen.page.evaluate(LUMINANCE, selector)
        assert (paper < 0.1) == (scheme == "dark")
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 4.5, selector
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= phone["width"]
    assert seen.said == []
