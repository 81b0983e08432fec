import re
from html.parser import HTMLParser
from itertools import pairwise

from scaffolder.curves import Curve
from scaffolder.evaluation import Comparison, judge
from scaffolder.evaluation.report import render
from scaffolder.plots import Axis, Mark, Plot
from tests.test_gates import MODELS, score


class Page(HTMLParser):
    """Tags that were opened, and what they refer to outside the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "action")]


def page_of(answer="Oslo.", curve=None):
    scores = [score(s.name, s.form, s.loss, answers=[answer], top1_agreement=s.top1_agreement, kl=s.kl) for s in MODELS]
    lengths = {"prompts": [12, 30, 31], "responses": [5, 9, 40]}
    comparison = Comparison(scores, ["Which city?"], ["Bergen."], lengths, "adapter")
    gates = judge({"max_size_gb": 0.1, "max_loss": 3.0}, scores[-1], {})
    return render("travel", "org/model", comparison, gates, curve)


def test_the_page_needs_nothing_else():
    page = Page(page_of(curve=Curve([(1, 3.0), (2, 2.5)], [(0, 3.1), (2, 2.4)])))
    assert page.links == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 4
    assert page.tags.count("table") == 3


def test_every_plot_names_its_axes_with_units():
    text = page_of(curve=Curve([(1, 3.0), (2, 2.5)], []))
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    names = [("step", "loss, nats per token"), ("size, MB", "loss, nats per response token")]
    names += [("written, tokens/s", "loss, nats per response token"), ("tokens", "examples")]
    for drawing, (x, y) in zip(drawings, names, strict=True):
        assert f">{x}<" in drawing
        assert f">{y}<" in drawing


def test_figures_gates_and_answers_are_on_the_page():
    text = page_of()
    for shown in ("2.060", "-48", "93.0 %", "158 MB", "max_size_gb", "fails", "holds", "Which city?", "Bergen."):
        assert shown in text, shown


def test_what_a_model_says_is_text_never_markup():
    text = page_of(answer='<script>alert("x")</script>')
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_labels_of_points_that_lie_together_are_moved_apart():
    plot = Plot(Axis(0, 10, "size, MB"), Axis(0, 10, "loss"))
    plot.marks([Mark(1, 0.1 * index, f"model {index}", 0) for index in range(8)])
    drawing = plot.svg("many")
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="start">model', drawing))
    assert len(heights) == 8
    assert all(after - before >= 14.9 for before, after in pairwise(heights))
    assert heights[-1] <= 320


def test_a_model_measured_alone_still_gives_a_page():
    one = [score("base", "base", 4.0, answers=[""])]
    comparison = Comparison(one, ["?"], [None], {"prompts": [3], "responses": [2]}, None)
    assert "no model was tuned yet" in render("travel", "org/model", comparison, [], None)
