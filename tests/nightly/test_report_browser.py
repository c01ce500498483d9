"""The report in a browser: sorting, finding, colours, widths, and that it asks for nothing and runs nothing.

Needs selenium, Chromium and its driver; skipped if one of them is missing or does not start. Two views stand
for all by default; ALM_THOROUGH=1 tries all.
"""

import shutil
from itertools import product

import pytest
from support import THOROUGH
from support.reports import report_of

from utils.report.page import render

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
exceptions = pytest.importorskip("selenium.common.exceptions")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="Chromium and chromedriver are not installed"),
]
SCHEMES = ("light", "dark")

VIEWS = list(product((390, 1280), SCHEMES)) if THOROUGH else [(390, "dark"), (1280, "light")]
TAB, ENTER = "\ue004", "\ue007"  # as WebDriver calls them


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    except exceptions.WebDriverException as error:
        pytest.skip(f"Chromium does not start: {error.msg}")
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(render(report_of(folder)), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture
def show(browser, address):
    """Return a function that loads the report anew, in a width and a colour scheme."""

    def show(width=1280, scheme="light"):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(address)
        return browser

    return show


def column(browser, number):
    """Return a column of the attributes' table as it is shown."""
    script = (
        "return [...document.querySelectorAll('[data-tools=find] tbody tr')]"
        ".filter(row => row.getClientRects().length).map(row => row.cells[arguments[0]].innerText.trim())"
    )
    return browser.execute_script(script, number)


def header(browser, number):
    return browser.find_elements("css selector", "[data-tools=find] thead th")[number]


def status(browser):
    return browser.find_element("css selector", "#find [role=status]").text


def brightness(browser):
    """Return that of the page's background, 0 to 765."""
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[4:-1].split(","))


def test_it_sorts_up_and_down_and_says_so(show):
    browser = show()
    before = column(browser, 0)
    header(browser, 1).find_element("tag name", "button").click()
    values = column(browser, 1)
    assert values[-1] == "n/a"  # what is undefined stays last
    numbers = [float(value) for value in values[:-1]]
    assert numbers == sorted(numbers)
    assert header(browser, 1).get_attribute("aria-sort") == "ascending"
    assert status(browser) == "Sorted by mA, smallest first"
    header(browser, 1).find_element("tag name", "button").send_keys(ENTER)
    values = column(browser, 1)
    assert values[-1] == "n/a"
    assert [float(value) for value in values[:-1]] == numbers[::-1]
    assert header(browser, 1).get_attribute("aria-sort") == "descending"
    header(browser, 0).find_element("tag name", "button").send_keys(" ")
    assert header(browser, 1).get_attribute("aria-sort") is None
    assert sorted(column(browser, 0)) == sorted(before)


def test_it_finds_attributes(show):
    browser = show()
    field = browser.find_element("id", "find-text")
    field.send_keys("hA")
    assert column(browser, 0) == ["Hat", "Long hair"]
    assert status(browser) == "2 of 7 attributes"
    field.clear()
    field.send_keys("nothing of the kind")
    assert column(browser, 0) == []
    assert status(browser) == "0 of 7 attributes"


def test_the_keyboard_reaches_everything(show):
    """The link past the header comes first, then what is pressed, typed into, opened or scrolled."""
    browser = show(390)
    reached = []
    while True:
        browser.switch_to.active_element.send_keys(TAB)
        element = browser.switch_to.active_element
        if element.tag_name == "body":
            break
        reached.append(element)
        if len(reached) == 1:
            assert element.text == "Skip to the figures"
            assert element.rect["x"] >= 0  # it is seen when it has the focus
    wanted = browser.find_elements("css selector", "a:not(.skip), button, input, summary, .scroll")
    assert set(reached[1:]) == {element for element in wanted if element.is_displayed()}
    browser.execute_script("arguments[0].focus()", reached[0])  # else it is beside the page
    webdriver.ActionChains(browser).send_keys(ENTER).perform()
    assert browser.current_url.endswith("#content")
    summary = browser.find_element("tag name", "summary")
    summary.send_keys(ENTER)
    assert browser.find_element("tag name", "details").get_attribute("open")


def test_a_table_that_goes_on_at_the_right_shows_it(show):
    def classes():  # behind the next frame, when the browser has told the page of its scrolling
        script = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0](%s)))"
        return browser.execute_async_script(
            script % "document.querySelector('.scroll:has(.names)').className"
        )

    browser = show(390)
    assert classes() == "scroll is-wide goes-on"
    browser.execute_script("document.querySelector('.scroll:has(.names)').scrollLeft = 9999")
    assert classes() == "scroll is-wide"
    browser = show(1280)
    assert classes() == "scroll"


def test_a_wide_page_has_its_links_beside_what_is_read(show):
    browser = show(1280)
    links, content = (browser.find_element("tag name", name).rect for name in ("nav", "main"))
    assert links["x"] + links["width"] <= content["x"]
    assert content["x"] + content["width"] == browser.execute_script("return document.body.clientWidth")
    browser.execute_script("scrollTo(0, 1500)")
    assert browser.execute_script("return document.querySelector('nav').getBoundingClientRect().top") >= 0
    browser = show(390)
    assert browser.find_element("tag name", "nav").rect["width"] == 390


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_has_the_readers_colours_and_the_others_at_a_press(show, scheme):
    browser = show(scheme=scheme)
    assert (brightness(browser) > 380) == (scheme == "light")
    button = browser.find_element("id", "theme")
    assert button.text == ("Dark colours" if scheme == "light" else "Light colours")
    button.click()
    assert (brightness(browser) > 380) == (scheme == "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert brightness(browser) == 3 * 255  # paper is white


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_fits_asks_for_nothing_and_complains_of_nothing(show, address, width, scheme):
    browser = show(width, scheme)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.refresh()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    sizes = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert sizes
    assert all(sizes)
    assert browser.get_log("browser") == []
    requests = [entry["message"] for entry in browser.get_log("performance")]
    sent = [message for message in requests if '"Network.requestWillBeSent"' in message]
    assert sent
    assert all(f'"url":"{address}"' in message or '"url":"data:image/jpeg' in message for message in sent)

    assert browser.execute_script("return document.scripts.length") == 1  # hostile names do nothing
    assert browser.title == "custom: inception_iccv, epoch 2"
    with pytest.raises(exceptions.NoAlertPresentException):
        _ = browser.switch_to.alert.text


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_no_fault(show, width, scheme):
    axe = pytest.importorskip("axe_selenium_python", reason="axe is not installed")
    browser = show(width, scheme)
    checker = axe.Axe(browser)
    checker.inject()
    found = checker.run()["violations"]
    faults = [(fault["id"], fault["impact"], fault["nodes"][0]["html"][:300]) for fault in found]
    assert not faults, faults
