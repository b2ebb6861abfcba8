"""The page in a real browser; skipped where Chromium and its driver are not installed."""

import shutil
import socket
import threading
import time
import urllib.request

import cv2
import numpy as np
import pytest

pytest.importorskip("flask", reason="needs dfdlib[serve]")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from dfdlib import create_detector
from dfdlib.models.decision import Decision
from dfdlib.models.detector import DRAWN_ALONE
from dfdlib.serve import Service, create_app, run_server
from dfdlib.serve.feedback import FeedbackStore

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and chromedriver")

DROP = """
const [target, name, base64] = arguments;
const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], name, {type: "image/png"}));
for (const kind of ["dragenter", "dragover", "drop"])
  target.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = {
        "plain": create_detector("cnn", 48, pretrained="none"),
        "<b>odd</b>": create_detector("resnet10t", 48, ("animals", "vehicles"), pretrained="none", seed=1),
    }
    models["plain"].decision = Decision(band=(0.0, 1.1))  # never sure
    store = FeedbackStore(tmp_path_factory.mktemp("feedback") / "feedback.db")
    models["plain"].provenance["sources"] = ["demo-v5"]
    app = create_app(Service(models), store)
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
    return address, store


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


def find(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def until(page, condition):
    return WebDriverWait(page, 20).until(lambda _: condition())


def judge(page, photo):
    find(page, "#file").send_keys(str(photo))
    until(page, lambda: find(page, "#feedback").is_displayed())


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
    assert all("Probability of fake" in bar.get_attribute("aria-label") for bar in bars)
    assert "can't tell (leans to" in find(page, "#result .model").text
    slider = find(page, "#opacity")
    slider.send_keys(Keys.END)
    assert find(page, "#heat").value_of_css_property("opacity") == "1"


def test_faces_are_boxed_where_they_are(page, photo):
    judge(page, photo)
    assert not page.find_elements(By.CSS_SELECTOR, "#faces span")
    said = {
        "model_name": "a",
        "p_fake": 0.9,
        "threshold": 0.5,
        "verdict": "fake",
        "confidence": 0.9,
        "label": "fake",
    }
    said["faces"] = [
        {"square": [40, 30, 60], "p_fake": 0.9, "verdict": "fake"},
        {"square": [-10, 80, 20], "p_fake": 0.2, "verdict": "real"},
    ]
    answer = {"image_size": [160, 120], "grad_cam_model_name": "a", "predictions": [said], "verdict": "fake"}
    page.execute_script("showFaces(arguments[0]); showVerdicts(arguments[0])", answer)
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


def test_a_dropped_file_is_judged(page, photo):
    import base64

    data = base64.b64encode(photo.read_bytes()).decode()
    page.execute_script(DROP, find(page, "#drop"), photo.name, data)
    until(page, lambda: find(page, "#feedback").is_displayed())
    assert find(page, "#image").is_displayed()


def test_dark_mode_is_remembered(page):
    def dark():
        return find(page, "html").get_attribute("data-theme") == "dark"

    before, colour = dark(), find(page, "body").value_of_css_property("background-color")
    find(page, "#theme").click()
    assert dark() is not before
    assert find(page, "body").value_of_css_property("background-color") != colour
    page.refresh()
    assert dark() is not before
    assert find(page, "#theme").get_attribute("aria-pressed") == str(dark()).lower()


def test_what_was_tried_is_listed_until_it_is_forgotten(page, photo):
    judge(page, photo)
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#history li")) == 1)
    page.refresh()
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#history li")) == 1)
    find(page, "#clear").click()
    assert not page.find_elements(By.CSS_SELECTOR, "#history li")
    assert find(page, "#none").is_displayed()


def test_feedback_reaches_the_store(page, photo, server):
    store = server[1]
    before = store.summary()
    judge(page, photo)
    find(page, "#feedback button.fake").click()
    until(page, lambda: "not kept" in find(page, "#thanks").text)
    find(page, "#consent").click()
    find(page, "#feedback button.fake").click()
    until(page, lambda: "was kept" in find(page, "#thanks").text)
    after = store.summary()
    assert after["reports"] == before["reports"] + 2
    assert after["images"] == before["images"] + 1
    page.get(f"{server[0]}/dashboard")
    until(page, lambda: page.find_elements(By.CSS_SELECTOR, "#reported td"))
    assert "plain" in find(page, "#reported").text


def test_a_bad_file_gets_a_sentence(page, tmp_path):
    (tmp_path / "<img src=x onerror=alert(1)>.png").write_bytes(b"no image at all")
    find(page, "#file").send_keys(str(tmp_path / "<img src=x onerror=alert(1)>.png"))
    until(page, lambda: find(page, "#error").is_displayed())
    assert find(page, "#error").text == "The image is not an image in a known format."
    assert not find(page, "#feedback").is_displayed()
    page.get_log("browser")  # the browser itself notes the status


def test_it_can_be_used_by_keyboard(page):
    reached = set()
    for _ in range(8):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.get_attribute("id"))
    assert {"theme", "file"} <= reached
