"""The web page in a real browser: pictures, words, other words, downloads, two users, wrong files."""

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcclip.data.panoshapes import render_scene

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytest.importorskip("gradio", reason="gradio is not installed")
from tests.integration.served import serve_page  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; of Debian: apt-get install chromium")

WAIT = 20_000  # milliseconds; nothing takes that long
SNOW = "cyan crescent; green ring; red triangle; yellow flower; snow=stuff; tiles=stuff; wood=stuff"
GRASS = "cyan triangle; yellow circle; grass=stuff; water=stuff; tiles=stuff"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve_page() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api.expect.set_options(timeout=WAIT)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page as one more user. In the end: nobody's browser asked another machine or had an error."""
    contexts, foreign, errors = [], [], []

    def look(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            foreign.append(request.url)

    def open_page(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("request", look)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.locator("#fc-run").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not foreign
    assert not errors


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two scenes, and words that call themselves a picture."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = {name: folder / f"{name}.png" for name in ("snow", "grass", "words")}
    for name, seed in (("snow", 13), ("grass", 44)):
        Image.fromarray(render_scene(np.random.default_rng(seed), 320, 448).image).save(paths[name])
    paths["words"].write_text("These are words.")
    return paths


def upload(page: Any, path: Path) -> None:
    page.locator("#fc-input input[type=file]").set_input_files(path)
    sync_api.expect(page.locator("#fc-status")).to_contain_text(re.compile("pixels|not a readable"))


def ask(page: Any, names: str, expected: str = "First answer") -> str:
    """Type names, press Enter, wait for the status, and return it."""
    status = page.locator("#fc-status")
    before = status.text_content()
    page.locator("#fc-names textarea").fill(names)
    page.locator("#fc-names textarea").press("Enter")
    sync_api.expect(status).not_to_have_text(before)
    sync_api.expect(status).to_contain_text(expected)
    page.locator('#fc-result [data-ready="yes"], #fc-result[data-ready="yes"]').wait_for()
    return str(status.text_content())


def legend(page: Any) -> list[list[str]]:
    """The cells of every line, read at one moment."""
    script = "lines => lines.map((line) => [...line.cells].map((cell) => cell.textContent.trim()))"
    return list(page.locator("tbody tr").evaluate_all(script))


def names_in(page: Any) -> set[str]:
    return {row[0] for row in legend(page)}


def names_of(text: str) -> set[str]:
    return {part.strip().partition("=")[0] for part in text.split(";")}


def test_words_and_other_words(visit: Any, pictures: dict[str, Path]) -> None:
    page = visit()
    upload(page, pictures["snow"])
    assert "from the encoded picture" not in ask(page, SNOW, "to encode the picture")
    assert names_in(page) == names_of(SNOW)
    areas = [float(row[2].rstrip(" %")) for row in legend(page)]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == pytest.approx(100, abs=12)
    assert all(0 < float(row[3]) <= 1 for row in legend(page))
    ask(page, "red triangle; snow=stuff", "from the encoded picture")
    assert names_in(page) == {"red triangle", "snow"}


def test_the_pointer_and_the_arrow_keys_tell_the_class(visit: Any, pictures: dict[str, Path]) -> None:
    page = visit()
    upload(page, pictures["grass"])
    ask(page, GRASS)
    frame = page.locator(".fc-picture").bounding_box()
    scene = render_scene(np.random.default_rng(44), 320, 448)
    corner = scene.ids[40:60, 40:60]
    assert (corner == corner[0, 0]).all(), "the place that is pointed at is of one class"
    page.mouse.move(frame["x"] + frame["width"] * 50 / 448, frame["y"] + frame["height"] * 50 / 320)
    tip = page.locator(".fc-tip")
    sync_api.expect(tip).to_be_visible()
    marked = page.locator("tr.fc-marked")
    assert tip.text_content().startswith(marked.locator("th").text_content() + ", score 0.")
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] - 30)
    sync_api.expect(tip).to_be_hidden()
    page.locator(".fc-scroll").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second = legend(page)[1]
    sync_api.expect(page.locator(".fc-said")).to_have_text(f"{second[0]}, score {second[3]}, {second[2]}")
    sync_api.expect(marked.locator("th")).to_have_text(second[0])


def test_downloads(visit: Any, pictures: dict[str, Path]) -> None:
    page = visit()
    upload(page, pictures["snow"])
    ask(page, SNOW)
    files = {}
    for kind in ("PNG", "COCO JSON", "LabelMe"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind, exact=True).click()
        files[waiting.value.suggested_filename] = Path(waiting.value.path()).read_bytes()
    assert set(files) == {"snow_segmented.png", "snow_coco-instances.json", "snow_labelme.json"}
    assert Image.open(io.BytesIO(files["snow_segmented.png"])).width >= 448
    coco = json.loads(files["snow_coco-instances.json"])
    assert {category["name"] for category in coco["categories"]} == names_of(SNOW)
    assert len(coco["annotations"]) == len(legend(page))
    assert {shape["label"] for shape in json.loads(files["snow_labelme.json"])["shapes"]} == names_of(SNOW)


def test_two_users_at_once(visit: Any, pictures: dict[str, Path]) -> None:
    first, second = visit(), visit()
    upload(first, pictures["snow"])
    upload(second, pictures["grass"])
    for page, names in ((first, SNOW), (second, GRASS)):
        page.locator("#fc-names textarea").fill(names)
    for page in (first, second):
        page.locator("#fc-run").click()
    for page, names in ((first, SNOW), (second, GRASS)):
        sync_api.expect(page.locator("#fc-status")).to_contain_text("First answer")
        assert names_in(page) == names_of(names)
    ask(first, "snow=stuff; grass=stuff", "from the encoded picture")
    assert names_in(second) == names_of(GRASS)
    ask(second, "grass=stuff; yellow circle", "from the encoded picture")
    assert "yellow circle" in names_in(second)


def test_what_goes_wrong_is_said(visit: Any, pictures: dict[str, Path]) -> None:
    page = visit()
    ask_nothing = page.get_by_role("button", name="LabelMe")
    ask_nothing.click()
    status, note = page.locator("#fc-status"), page.locator("#fc-note")
    sync_api.expect(status).to_contain_text("There is no result yet")
    page.locator("#fc-names textarea").fill("cat")
    page.locator("#fc-run").click()
    sync_api.expect(status).to_contain_text("There is no picture yet")
    upload(page, pictures["words"])
    sync_api.expect(status).to_have_text(re.compile(r"^\s*Words\.png is not a readable image; take a PNG"))
    page.locator("#fc-run").click()
    sync_api.expect(note).to_contain_text("1 class: cat")
    names = page.locator("#fc-names textarea")
    names.fill("cat; cat=rubbish")
    names.press("Enter")
    sync_api.expect(note).to_contain_text("should end in =stuff or =thing")
    names.fill("")
    names.press("Enter")
    sync_api.expect(note).to_contain_text("no names to look for")
    assert page.locator(".toast-body, .toast-wrap .error").count() == 0


def test_the_last_of_several_questions_is_answered(visit: Any, pictures: dict[str, Path]) -> None:
    page = visit()
    upload(page, pictures["snow"])
    page.locator("#fc-names textarea").fill(SNOW)
    page.locator("#fc-run").click()
    sync_api.expect(page.locator("#fc-status")).to_contain_text("Encoding the picture")
    page.get_by_label("Semantic").check()
    ask(page, "red triangle; snow=stuff")
    assert names_in(page) == {"red triangle", "snow"}
    sync_api.expect(page.locator(".fc-caption")).to_contain_text("classes")


def test_an_answer_after_the_stream_was_closed_still_comes(visit: Any, pictures: dict[str, Path]) -> None:
    """The stream of answers was closed before the second click, and the browser hears of it after that one."""
    page = visit()
    upload(page, pictures["grass"])
    ask(page, GRASS)
    held: list[tuple[Any, Any]] = []

    def hold_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route("**/queue/data**", hold_first)
    page.get_by_label("Semantic").check()
    for _ in range(WAIT // 20):
        if not held:
            page.wait_for_timeout(20)
    with page.expect_response("**/queue/join**"):
        page.locator("#fc-names textarea").fill("grass=stuff; water=stuff")
        page.locator("#fc-names textarea").press("Enter")
    page.wait_for_timeout(100)
    route, response = held[0]
    route.fulfill(response=response)
    sync_api.expect(page.locator("#fc-status")).to_contain_text("from the encoded picture")
    assert names_in(page) == {"grass", "water"}


def test_names_are_text_and_never_markup(visit: Any, pictures: dict[str, Path]) -> None:
    page = visit()
    upload(page, pictures["grass"])
    odd = "<b {{7}} ${7}"
    ask(page, f"{odd},grass=stuff")
    assert names_in(page) == {odd}
    assert page.title() == "fcclip"


def test_looks(visit: Any) -> None:
    page = visit(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.get_by_role("button", name="Grass and water").click()
    sync_api.expect(page.locator("#fc-status")).to_contain_text("First answer")
    assert names_in(page) == names_of(GRASS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing is wider than the screen"
    picture = page.locator(".fc-picture")
    drawn = picture.get_attribute("src")
    page.get_by_label("Contours only").check()
    sync_api.expect(picture).not_to_have_attribute("src", drawn)
    page.get_by_label("Instances").check()
    sync_api.expect(page.locator(".fc-caption")).to_contain_text("object")
    page.get_by_label("Semantic").check()
    sync_api.expect(page.locator(".fc-caption")).to_contain_text("classes")
    tops = [page.locator(name).bounding_box()["y"] for name in ("#fc-input", "#fc-names", "#fc-run", ".fc-picture")]
    assert tops == sorted(tops), "picture, names, button and result follow each other"


def test_everything_has_a_name_and_is_reached_by_keyboard(visit: Any) -> None:
    page = visit()
    page.get_by_role("button", name="Hearts and arrows").click()
    sync_api.expect(page.locator("#fc-status")).to_contain_text("First answer")
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, textarea, select")]
          .filter((part) => part.offsetParent && !part.labels?.length && !part.getAttribute("aria-label")
            && !part.textContent.trim() && !part.title).map((part) => part.outerHTML)"""
    )
    assert unnamed == []
    assert "red heart" in page.locator(".fc-picture").get_attribute("alt")
    assert page.locator("table caption").text_content().startswith("7 segments")
    assert page.locator("#fc-status[aria-live=polite], #fc-status [aria-live=polite]").count() == 1
    reached = set()
    page.locator("body").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.ariaLabel"))
    assert {"Hearts and arrows", "Find", "LabelMe"} <= reached
