"""The report: what stands in it, and that nothing in it is anything but text."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from support.reports import HOSTILE, SCRIPT, evaluation_of

from utils.prediction.drawing import level_styles
from utils.report import text
from utils.report.page import digest, render
from utils.runs.history import History


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
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    return evaluation_of(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def html(evaluation):
    return render(evaluation)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


# What stands in it.


def test_figures_stand_in_it_with_their_intervals(evaluation, page):
    record = evaluation.record
    for key in ("ma", "accuracy", "precision", "recall", "f1"):
        low, high = record["intervals"][key]
        assert f"{100 * record[key]:.2f} % {100 * low:.2f} to {100 * high:.2f}" in page.words
    assert "2.pth.tar evaluated on test.txt: 40 pictures, 7 attributes." in page.words
    assert "95 % intervals from 1,000 draws of the list's 40 pictures" in page.words


def test_each_attribute_has_a_row_with_its_figures(evaluation, page):
    hat = evaluation.record["attributes"][0]
    recalls = hat["true_positive"] / hat["positive"], hat["true_negative"] / hat["negative"]
    cells = [f"{100 * value:.1f}" for value in (hat["ma"], *recalls)]
    counts = [str(hat[key]) for key in ("positive", "negative", "predicted_positive")]
    assert f"Hat {' '.join(cells)} {' '.join(counts)}" in page.words
    rare = evaluation.record["attributes"][3]
    share = f"{100 * rare['true_negative'] / 40:.1f}"
    assert f"Rare n/a n/a {share} 0 40 {rare['predicted_positive']}" in page.words


def test_unknown_labels_are_told_of(tmp_path):
    evaluation = evaluation_of(tmp_path)
    evaluation.pictures.labels[:3, 0] = 2
    lead = "40 pictures, 7 attributes. Unknown labels (3) are left out of every figure."
    assert lead in Page(render(evaluation)).words


def test_large_numbers_are_grouped_for_readers_and_plain_for_sorting(tmp_path):
    evaluation = evaluation_of(tmp_path)
    evaluation.record["attributes"][0]["positive"] = 12345
    assert '<td data-value="12345">12,345</td>' in render(evaluation)


def test_the_surest_mistakes_are_shown_with_their_regions(evaluation, page):
    images = page.of("img")
    assert 6 < len(images) <= 10 * 6
    for image in images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.format == "JPEG"
        assert picture.size == (int(image["width"]), int(image["height"]))
        assert re.search(r": .+, (overlooked|seen where it is not), (over 99|under 1|\d+) %$", image["alt"])
    strong = {bytes.fromhex(style.colour[1:]) for style in level_styles(evaluation.boxes).values()}
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    distances = [np.abs(pixels - list(colour)).sum(1).min() for colour in strong]
    assert min(distances) < 40  # a region of the last one is drawn, as well as JPEG keeps colours


def test_levels_regions_pairs_and_the_run_are_there(evaluation, page):
    titles = [name["id"] for name in page.of("h2")]
    assert titles == ["figures", "course", "attributes", "mistakes", "levels", "pointing", "together", "run"]
    assert [link["href"][1:] for link in page.of("a")][1:] == titles
    pointing = evaluation.pointing.means()["winning level"]
    assert f"winning level {' '.join(f'{100 * value:.1f}' for value in pointing)}" in page.words
    assert "decay_epoch (20, 40)" in page.words


@pytest.mark.parametrize(
    ("parts", "lacking"),
    [
        ({"boxed": False}, {"pointing"}),
        ({"history": History([], {})}, {"course"}),
        ({"localized": False}, {"levels", "pointing"}),
    ],
)
def test_what_is_not_known_has_no_section(tmp_path, parts, lacking):
    page = Page(render(evaluation_of(tmp_path, **parts)))
    titles = {name["id"] for name in page.of("h2")}
    assert {
        "figures",
        "course",
        "attributes",
        "mistakes",
        "levels",
        "pointing",
        "together",
        "run",
    } - titles == lacking
    assert {link["href"][1:] for link in page.of("a")[1:]} == titles


def test_what_is_undefined_is_no_share_and_one_attribute_is_no_plural(tmp_path):
    page = Page(render(evaluation_of(tmp_path, names=("Rare",), boxed=False)))
    assert "2.pth.tar evaluated on test.txt: 40 pictures, 1 attribute." in page.words
    assert "mA n/a no interval Accuracy" in page.words
    assert "95 % intervals from 1,000 draws" in page.words  # of the other figures


def test_few_pictures_have_no_intervals(evaluation):
    assert text.how_sure(evaluation.record["intervals"] | {"units": 29}) == (
        "No intervals: 29 pictures are too few, 30 are needed."
    )


def test_a_network_of_one_branch_has_no_branches_to_tell_apart(tmp_path):
    page = Page(render(evaluation_of(tmp_path, localized=False)))
    assert "branch" not in page.words
    picture = Image.open(io.BytesIO(base64.b64decode(page.of("img")[0]["src"].partition(",")[2])))
    assert len(picture.getcolors()) < 10  # the one that it was drawn in, but for what JPEG makes of it


def test_a_perfect_evaluation_has_no_mistakes_to_show(tmp_path):
    perfect = evaluation_of(tmp_path)
    branches = np.broadcast_to(2.0 * perfect.labels - 1, perfect.branches.shape)
    page = Page(render(evaluation_of(tmp_path, branches=branches)))
    assert page.of("img") == []
    assert not {"mistakes", "together"} & {name["id"] for name in page.of("h2")}


def test_a_picture_that_is_gone_is_said_to_be(tmp_path):
    evaluation = evaluation_of(tmp_path)
    (tmp_path / SCRIPT).unlink()
    page = Page(render(evaluation))
    assert "This picture cannot be read any more." in page.words


# How its figures may be quoted.


@pytest.mark.parametrize("experiment", ["peta", "rap", "pa100k"])
def test_the_test_list_is_named_for_what_it_is(tmp_path, experiment):
    words = Page(render(evaluation_of(tmp_path, experiment=experiment))).words
    assert "The published evaluation list of this data set is its test list." in words
    assert "quote the last epoch" in words


def test_the_best_epoch_is_not_to_be_quoted_and_the_last_one_is_named(tmp_path):
    later = History([], {2: {"ma": 0.7, "loss": 1.0}, 5: {"ma": 0.65, "loss": None}})
    words = Page(render(evaluation_of(tmp_path, evaluated="best.pth.tar", history=later))).words
    assert (
        "This is best.pth.tar, chosen for its mA on the list it was evaluated on: do not quote it." in words
    )
    assert "This is not the run's last epoch, which is 5 with an mA of 65.00 %." in words


def test_the_last_epoch_of_a_run_of_ones_own_needs_no_note(page):
    assert "quote" not in page.words


# Nothing in it is anything but text.


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


def test_no_character_that_is_obeyed_is_in_it(html):
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html)


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


def test_it_is_small_whatever_the_number_of_pictures(html):
    assert len(html) < 600_000
