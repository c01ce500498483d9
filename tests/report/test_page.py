"""The page: what it shows, and that everything in it is text."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from support.reports import HOSTILE, SCRIPT, report_of

from utils.prediction.drawing import level_styles
from utils.report.page import digest, render, winning_shares
from utils.runs.history import History

SECTIONS = ["figures", "course", "attributes", "mistakes", "levels", "pointing", "together", "run"]


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self):
        return [title["id"] for title in self.of("h2")]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def html(report):
    return render(report)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_figures_stand_in_it_with_their_intervals(report, page):
    record = report.record
    assert f"mA of 6 of 7 attributes {100 * record['ma']:.2f} %" in page.words
    assert "mA of 6 of 7 attributes in % by epoch" in page.words
    assert "the list has no positives or no negatives of 1 attribute (Rare)." in page.words
    for key in ("ma", "accuracy", "precision", "recall", "f1"):
        low, high = record["intervals"][key]
        assert f"{100 * record[key]:.2f} % {100 * low:.2f} to {100 * high:.2f}" in page.words
    assert "2.pth.tar evaluated on test.txt: 40 pictures, 7 attributes." in page.words
    assert "95 % intervals from 1,000 draws of the list's 40 pictures" in page.words


def test_each_attribute_has_a_row_with_its_figures(report, page):
    hat = report.record["attributes"][0]
    recalls = hat["true_positive"] / hat["positive"], hat["true_negative"] / hat["negative"]
    cells = [f"{100 * value:.1f}" for value in (hat["ma"], *recalls)]
    counts = [str(hat[key]) for key in ("positive", "negative", "predicted_positive")]
    assert f"Hat {' '.join(cells)} {' '.join(counts)}" in page.words
    rare = report.record["attributes"][3]
    share = f"{100 * rare['true_negative'] / 40:.1f}"
    assert f"Rare n/a n/a {share} 0 40 {rare['predicted_positive']}" in page.words


def test_the_surest_mistakes_are_shown_with_their_regions(report, page):
    images = page.of("img")
    assert len(images) > 6
    for image in images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.format == "JPEG"
        assert picture.size == (int(image["width"]), int(image["height"]))
        assert re.search(r": .+, (overlooked|seen where it is not), (over 99|under 1|\d+) %$", image["alt"])
    strong = {bytes.fromhex(style.colour[1:]) for style in level_styles(report.boxes).values()}
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    distances = [np.abs(pixels - list(colour)).sum(1).min() for colour in strong]
    assert min(distances) < 40  # a region of the last one is drawn, as well as JPEG keeps colours
    red, _, blue = np.asarray(picture)[3, -picture.width // 3 :].T.astype(int)  # the evidence at its right
    assert (red - blue).max() > 60 > 20 > (red - blue).min()


def test_levels_regions_pairs_and_the_run_are_there(report, page):
    assert page.sections == SECTIONS
    assert [link["href"][1:] for link in page.of("a")][1:] == SECTIONS
    pointing = report.pointing.means()["winning level"]
    assert f"winning level {' '.join(f'{100 * value:.1f}' for value in pointing)}" in page.words
    assert "decay_epoch (20, 40)" in page.words


@pytest.mark.parametrize(
    ("parts", "lacking"),
    [
        ({"boxed": False, "history": History([], {})}, {"course", "pointing"}),
        ({"localized": False}, {"levels", "pointing"}),
    ],
)
def test_what_is_not_known_has_no_section(tmp_path, parts, lacking):
    page = Page(render(report_of(tmp_path, **parts)))
    assert page.sections == [section for section in SECTIONS if section not in lacking]
    assert [link["href"][1:] for link in page.of("a")[1:]] == page.sections
    if "localized" in parts:  # one branch: there are none to tell apart, and no boxes
        assert "branch" not in page.words
        picture = Image.open(io.BytesIO(base64.b64decode(page.of("img")[0]["src"].partition(",")[2])))
        assert len(picture.getcolors()) < 10  # the one that it was drawn in, but for what JPEG makes of it


def test_levels_have_their_colours_by_their_place(tmp_path):
    words = Page(render(report_of(tmp_path, levels=("p2", "p3", "p4")))).words
    assert "p2 is the finest level, p4 the coarsest" in words
    assert "level p2 level p3 level p4 global branch" in words


def test_winning_shares_count_the_pictures_where_it_is_predicted():
    branches = np.array([[[1.0, -1], [3, -2], [-1, -1]], [[2.0, -2], [1, -1], [5, -3]]])
    shares = winning_shares(branches, branches.max(0) > 0)
    np.testing.assert_allclose(shares[:, 0], [1 / 3, 2 / 3])
    assert np.isnan(shares[:, 1]).all()


def test_large_numbers_lost_pictures_and_undefined_figures(tmp_path):
    report = report_of(tmp_path, names=("Rare", "Hat"), boxed=False)
    report.record["attributes"][0]["positive"] = 12345
    report.record["ma"] = report.record["intervals"]["ma"] = None
    (tmp_path / SCRIPT).unlink()
    html = render(report)
    assert '<td data-value="12345">12,345</td>' in html  # grouped for readers, plain for sorting
    assert "This picture can no longer be read." in html
    assert "mA of 1 of 2 attributes n/a no interval Accuracy" in Page(html).words


def test_a_perfect_evaluation_has_no_mistakes_to_show(report):
    right = 2.0 * report.labels - 1
    page = Page(render(replace(report, margins=right, branches=np.broadcast_to(right, (4, 40, 7)))))
    assert page.of("img") == []
    assert not {"mistakes", "together"} & set(page.sections)


def test_hostile_names_are_text(html, page):
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert [tag for tag, _ in page.tags].count("style") == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not any(name == "style" for _, attributes in page.tags for name in attributes)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.of("img"))
    assert "<script>alert(1)</script>.png" in page.words.replace("/ ", "/")
    assert HOSTILE[0] in page.words
    assert HOSTILE[2] in page.words
    assert r"{{ 7 * 7 }}\x1b[31m\u202e" in page.words
    assert r"cpu, \udcff" in page.words
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert len(html) < 600_000


def test_its_policy_allows_its_own_script_and_no_request(html, page):
    (policy,) = [
        meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("script", "style"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert rules[f"{tag}-src"] == f"'{digest(inline)}'"
    addresses = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in addresses)
