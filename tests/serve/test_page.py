"""The page in a real browser; skipped where Chromium and its driver are not installed."""

import base64
import hashlib
import importlib.util
import re
import shutil
import socket
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("flask", reason="needs dfdlib[serve]")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from dfdlib import create_detector, save_detector
from dfdlib.images.video import read_frames
from dfdlib.models.decision import Decision
from dfdlib.models.detector import DRAWN_ALONE
from dfdlib.serve import Service, create_app, run_server
from dfdlib.serve.feedback import FeedbackStore

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and chromedriver")

DROP = """
const [target, files] = arguments;
const data = new DataTransfer();
for (const [name, base64] of files)
  data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, {type: "image/png"}));
for (const kind of ["dragenter", "dragover", "drop"])
  target.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
"""


MAX_BYTES = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = {
        "plain": create_detector("cnn", 48, pretrained="none"),
        "<b>odd</b>": create_detector("resnet10t", 48, ("animals", "vehicles"), pretrained="none", seed=1),
    }
    models["plain"].decision = Decision(band=(0.0, 1.1))  # never sure
    models["<b>odd</b>"].decision = Decision(real_logits=(*[-9.0] * 97, *[9.0] * 3))
    folder = tmp_path_factory.mktemp("served")
    store = FeedbackStore(folder / "feedback.db")
    models["plain"].provenance["sources"] = ["demo-v5"]
    save_detector(models["plain"], folder / "plain.pt")
    app = create_app(Service(models, {"plain": folder / "plain.pt"}), store, max_bytes=MAX_BYTES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threading.Thread(target=run_server, args=(app, "127.0.0.1", port), daemon=True).start()
    address = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}/health")
            break
        except OSError:
            time.sleep(0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFD_DATA_DIR", str(folder))  # where the examples are drawn
        yield address, store, folder


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=webdriver.ChromeService(DRIVER), options=options)
    driver.set_window_size(1200, 900)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, server):
    browser.get(server[0])
    browser.execute_script("sessionStorage.clear(); localStorage.clear()")
    browser.get(server[0])
    browser.get_log("browser")
    yield browser
    assert not browser.get_log("browser"), (
        "nothing may go wrong on the page, refused styles and scripts included"
    )


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    file = tmp_path_factory.mktemp("photos") / "=odd <img src=x> name.png"
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8), (160, 120))
    cv2.imwrite(str(file), image)
    return file


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    file = tmp_path_factory.mktemp("films") / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for grey in range(10):
        writer.write(np.full((64, 96, 3), 20 * grey, np.uint8))
    writer.release()
    return file


def find(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def until(page, condition):
    return WebDriverWait(page, 20).until(lambda _: condition())


def judge(page, photo):
    find(page, "#file").send_keys(str(photo))
    until(page, lambda: find(page, "#shown").is_displayed() and find(page, "#status").text == "Done.")


def test_both_verdicts_and_the_heatmap(page, photo):
    assert find(page, "#notice").text == f"plain: {DRAWN_ALONE}"
    judge(page, photo)
    names = [element.text for element in page.find_elements(By.CSS_SELECTOR, "#result strong")]
    assert names == ["plain", "<b>odd</b>"], "names are text, never markup"
    assert find(page, "#heat").is_displayed()
    assert "bases its verdict on" in find(page, "#caption").text
    size = page.execute_script(
        "const i = document.getElementById('heat'); return [i.naturalWidth, i.naturalHeight]"
    )
    assert size == [160, 120]
    bars = page.find_elements(By.CSS_SELECTOR, ".track")
    assert all("Score for fake" in bar.get_attribute("aria-label") for bar in bars)
    first, second = page.find_elements(By.CSS_SELECTOR, "#result .model")
    assert "can't tell" in first.text
    assert DRAWN_ALONE in first.text
    assert "Of 100 real images" not in first.text, "nobody knows"
    assert "Of 100 real images, about 3 would score this high, as 100 validation images show" in second.text
    slider = find(page, "#opacity")
    slider.send_keys(Keys.END)
    assert find(page, "#heat").value_of_css_property("opacity") == "1"


def test_faces_are_boxed_where_they_are(page, photo):
    judge(page, photo)
    assert not page.find_elements(By.CSS_SELECTOR, "#faces span:not(.judged)")
    said = {
        "model_name": "a",
        "p_fake": 0.9,
        "threshold": 0.5,
        "verdict": "fake",
        "confidence": 0.9,
        "label": "fake",
    }
    said |= {"reals_as_high": None, "square": [40, 30, 60]}
    said["faces"] = [
        {"square": [40, 30, 60], "p_fake": 0.9, "verdict": "fake"},
        {"square": [-10, 80, 20], "p_fake": 0.2, "verdict": "real"},
    ]
    answer = {"image_size": [160, 120], "grad_cam_model_name": "a", "predictions": [said], "verdict": "fake"}
    page.execute_script("showSquares(arguments[0]); showVerdicts({answer: arguments[0]})", answer)
    first, second = page.find_elements(By.CSS_SELECTOR, "#faces span")
    image = find(page, "#image").rect
    for name, start, size, part in (("x", "width", "width", 40 / 160), ("y", "height", "height", 30 / 120)):
        assert first.rect[name] - image[name] == pytest.approx(part * image[start], abs=1)
        assert first.rect[size] == pytest.approx(
            60 / {"width": 160, "height": 120}[size] * image[size], abs=1
        )
    assert second.rect["x"] == pytest.approx(image["x"], abs=1)
    assert (first.text, second.text) == ("1", "2")
    assert "fake" in first.get_attribute("class")
    assert "(face 1 fake, 90.0 %; face 2 real, 20 %)" in find(page, "#result").text


def test_the_square_that_was_judged_is_outlined(page, photo):
    judge(page, photo)
    outline, image = find(page, "#faces .judged").rect, find(page, "#image").rect
    assert outline["x"] - image["x"] == pytest.approx(image["width"] * 20 / 160, abs=1)
    assert outline["width"] == pytest.approx(image["width"] * 120 / 160, abs=1)
    assert outline["height"] == pytest.approx(image["height"], abs=1)
    assert (
        "Only the square in the dashed outline was judged, 75 % of the picture" in find(page, "#caption").text
    )


def test_dropped_files_are_all_judged_and_listed(page, photo):
    image = base64.b64encode(photo.read_bytes()).decode()
    text = base64.b64encode(b"no image at all").decode()
    page.execute_script(DROP, find(page, "#drop"), [["a.png", image], ["b.txt", text], ["c.png", image]])
    until(page, lambda: "2 of 3 files judged" in find(page, "#status").text)
    assert find(page, "#error").text == "b.txt: The file is not an image or video in a known format."
    names = [entry.text.split("\n")[0] for entry in page.find_elements(By.CSS_SELECTOR, "#history li")]
    assert names == ["c.png", "a.png"]
    assert find(page, "#image").is_displayed()
    page.get_log("browser")  # the browser itself notes the status


def test_a_video_is_judged_by_its_frames(page, film):
    judge(page, film)
    assert "8 frames of this video were judged" in find(page, "#caption").text
    shown = page.execute_script(
        "const i = document.getElementById('image'); return [i.naturalWidth, i.naturalHeight]"
    )
    assert shown == list(read_frames(film, 1).images[0].shape[1::-1])
    assert not find(page, "#consent").is_displayed()


def test_examples_are_judged_and_then_named(page):
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#examples button")) == 6)
    page.find_elements(By.CSS_SELECTOR, "#examples button")[1].click()
    until(page, lambda: find(page, "#shown").is_displayed())
    assert "This drawn image really is fake (gan upsampling)." in find(page, "#result").text
    assert not find(page, "#feedback").is_displayed()


def test_too_large_a_file_gets_a_sentence(page, tmp_path):
    (tmp_path / "large.png").write_bytes(b"\x89PNG" + bytes(3 * MAX_BYTES))
    find(page, "#file").send_keys(str(tmp_path / "large.png"))
    until(page, lambda: find(page, "#error").is_displayed())
    assert find(page, "#error").text.startswith("The file is larger than 1 MB")
    page.execute_script("about.max_bytes = Infinity")  # a page that does not know: the server's word
    find(page, "#file").send_keys(str(tmp_path / "large.png"))
    until(page, lambda: "Looking" not in find(page, "#status").text and find(page, "#error").is_displayed())
    assert find(page, "#error").text.endswith(("reduce it first.", "is it still running?"))
    page.get_log("browser")


def test_what_is_hidden_is_not_shown(page):
    for name in ("error", "shown", "clear", "notice"):
        element = find(page, f"#{name}")
        page.execute_script("arguments[0].hidden = true", element)
        assert not element.is_displayed(), name


def test_original_and_heatmap_stand_side_by_side(page, photo):
    judge(page, photo)
    assert not find(page, "#plain").is_displayed()
    find(page, "#beside").click()
    plain, heat = find(page, "#plain img").rect, find(page, "#heat").rect
    assert plain["x"] + plain["width"] <= heat["x"]
    assert plain["y"] == pytest.approx(heat["y"], abs=1)


def test_a_report_holds_all_and_needs_nothing(page, photo, server, tmp_path):
    judge(page, photo)
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    find(page, "#save").click()
    until(page, lambda: list(tmp_path.glob("report-*.html")))
    text = next(tmp_path.glob("report-*.html")).read_text()
    for file in (photo, server[2] / "plain.pt"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in text
    assert DRAWN_ALONE in text
    assert "&lt;b&gt;odd" in text
    assert "<b>odd" not in text
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text), "no other file is needed"
    (tmp_path / "report.html").write_text(text)
    page.get(f"file://{tmp_path}/report.html")
    sizes = page.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert sizes == [160, 160, 160], "the image, and the image with its heatmap"


AXE = importlib.util.find_spec("axe_selenium_python")


@pytest.mark.skipif(not AXE, reason="needs axe-selenium-python, for its copy of axe-core")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_cuts_nothing_off(page, photo, theme):
    axe = next(Path(AXE.origin).parent.rglob("axe.min.js")).read_text()
    page.execute_script("localStorage.setItem('theme', arguments[0])", theme)
    size = page.get_window_size()
    try:
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
        )
        page.refresh()
        judge(page, photo)
        top = page.execute_script("return document.getElementById('verdict').getBoundingClientRect().top")
        assert -1 < top < 844 / 2, "the verdict comes into view"
        page.execute_script(axe)
        found = page.execute_async_script(
            "axe.run().then((all) => arguments[0](all.violations.map((one) => one.id)))"
        )
        assert found == []
        assert page.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.set_window_size(size["width"], size["height"])


def test_dark_mode_is_remembered(page):
    def dark():
        return find(page, "html").get_attribute("data-theme") == "dark"

    before, colour = dark(), find(page, "body").value_of_css_property("background-color")
    find(page, "#theme").click()
    assert dark() is not before
    assert find(page, "body").value_of_css_property("background-color") != colour
    page.refresh()
    assert dark() is not before
    assert find(page, "#theme").text == ("Light mode" if dark() else "Dark mode")


def test_what_was_tried_is_listed_until_it_is_forgotten(page, photo):
    judge(page, photo)
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#history li")) == 1)
    page.refresh()
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#history li")) == 1)
    assert not find(page, "#shown").is_displayed()
    find(page, "#history button").send_keys(Keys.ENTER)
    until(page, lambda: find(page, "#image").is_displayed())
    assert page.execute_script("return document.getElementById('image').naturalWidth") == 160
    assert find(page, "#result strong").text == "plain"
    assert find(page, "#history button").get_attribute("aria-current") == "true"
    assert not find(page, "#consent").is_displayed(), "the file is not there any more"
    find(page, "#clear").click()
    assert not find(page, "#clear").is_displayed()
    assert not page.find_elements(By.CSS_SELECTOR, "#history li")
    assert find(page, "#none").is_displayed()


def test_feedback_reaches_the_store(page, photo, server):
    store = server[1]
    before = store.summary()
    judge(page, photo)
    find(page, "#feedback button.fake").click()
    until(page, lambda: "not kept" in find(page, "#thanks").text)
    assert find(page, "#feedback button.fake").get_attribute("aria-pressed") == "true"
    find(page, "#consent").click()
    find(page, "#feedback button.real").click()
    until(page, lambda: "was kept" in find(page, "#thanks").text)
    assert find(page, "#feedback button.fake").get_attribute("aria-pressed") == "false"
    after = store.summary()
    assert after["reports"] == before["reports"] + 1, "the second answer replaces the first"
    assert after["images"] == before["images"] + 1
    page.get(f"{server[0]}/dashboard")
    until(page, lambda: page.find_elements(By.CSS_SELECTOR, "#reported td"))
    assert "plain" in find(page, "#reported").text


def test_a_bad_file_gets_a_sentence(page, tmp_path):
    (tmp_path / "<img src=x onerror=alert(1)>.png").write_bytes(b"no image at all")
    find(page, "#file").send_keys(str(tmp_path / "<img src=x onerror=alert(1)>.png"))
    until(page, lambda: find(page, "#error").is_displayed())
    assert find(page, "#error").text == "The file is not an image or video in a known format."
    assert not find(page, "#shown").is_displayed()
    page.get_log("browser")  # the browser itself notes the status


def test_it_can_be_used_by_keyboard(page):
    reached = set()
    for _ in range(8):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.get_attribute("id"))
    assert {"theme", "file"} <= reached
    until(page, lambda: page.find_elements(By.CSS_SELECTOR, "#examples button"))
    page.execute_script("document.getElementById('file').focus()")
    ActionChains(page).send_keys(Keys.TAB, Keys.ENTER).perform()
    until(page, lambda: find(page, "#shown").is_displayed())
    assert find(page, "#verdict").text == "Verdict on drawn image 1"
