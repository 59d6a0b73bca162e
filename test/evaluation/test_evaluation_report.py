import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from simulated_run import simulate

from vpr_ros.errors import VprError
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.matches import RunInfo
from vpr_ros.evaluation.report import curves, plots
from vpr_ros.evaluation.report.notable import notable_frames
from vpr_ros.evaluation.report.rendering import TEMPLATES, percent, script_hash
from vpr_ros.evaluation.report.run_report import ReportInput, Table, render_report, write_report
from vpr_ros.evaluation.summary import evaluate


class Page(HTMLParser):
    """Collects what a browser would load, run or show."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.words, self.pictures = [], [], [], [], []
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "source", "br", "input"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "href", "action", "data", "poster", "background"):
                self.addresses.append(value)
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def jpeg(colour):
    return cv2.imencode(".jpg", np.full((56, 56, 3), colour, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def run():
    return simulate(seed=1, spacing_m=6.0)


@pytest.fixture(scope="module")
def long_run():
    """With frames of every outcome, and right ones that were not accepted."""
    return simulate(seed=2, spacing_m=1.0)


@pytest.fixture(scope="module")
def judged(run):
    asked = []

    def query_images(stamps):
        asked.append(list(stamps))
        return {s: np.full((30, 40, 3), 90, np.uint8) for s in stamps[1:]}  # the first picture is missing

    report = ReportInput(
        run.records,
        RunInfo(
            map="<map>&.vpr",
            bag="drive",
            fingerprint="ab12",
            config={"k": "</pre><b>"},
            fps=20.0,
            skipped={"odd <step>": 2},
        ),
        run.truth,
        title="Kew & <b>dusk</b>",
        query_images=query_images,
        keyframe_image=lambda k: jpeg(k % 200),
        tables=[Table("By condition", ["condition", "recall@1"], [["night", 0.5], ["none", float("nan")]], "A note.")],
    )
    return render_report(report), asked


def test_the_page_needs_nothing_but_itself(judged):
    text, _ = judged
    page = Page(text)
    assert "link" not in page.tags and "iframe" not in page.tags and not page.handlers
    assert page.addresses and all(a.startswith(("data:image/", "#frame=")) for a in page.addresses)
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text and "://" not in text
    assert "prefers-color-scheme: dark" in text


def test_only_the_one_script_of_the_page_may_run(judged):
    text, _ = judged
    script = (TEMPLATES / "browser.js").read_text(encoding="utf-8")
    assert text.count(f"<script>{script}</script>") == 1 and Page(text).tags.count("script") == 2
    assert f"script-src '{script_hash(script)}'" in text
    for word in ("innerHTML", "fetch(", "import(", "eval(", "document.write"):
        assert word not in script


def test_every_text_is_escaped(judged):
    text, _ = judged
    assert "Kew &amp; &lt;b&gt;dusk&lt;/b&gt;" in text and "&lt;map&gt;&amp;.vpr" in text
    assert "&lt;/pre&gt;&lt;b&gt;" in text and "odd &lt;step&gt;: 2" in text
    assert "</pre><b>" not in text and "<b>dusk" not in text


def test_figures_of_the_evaluation_stand_on_the_page(run, judged):
    words = Page(judged[0]).text
    e = evaluate(run.records, run.truth)
    for figure in (e.recall[1], e.accepted_precision, e.offmap_false_accepts, e.recall_at_full_precision):
        assert percent(figure) in words
    assert f"{e.accepted_correct} right of {e.accepted} accepted" in words
    assert f"{e.error_median_m:.1f} m" in words and "within 10 m" in words
    assert "50.0\u00a0%" in words and "A note." in words


def test_images_are_asked_for_once(run, judged):
    _, asked = judged
    assert len(asked) == 1 and len(asked[0]) == len(set(asked[0])) <= 300
    assert set(asked[0]) <= {r.stamp_ns for r in run.records}


def test_notable_frames_are_what_they_say_and_spread_out(long_run):
    e = evaluate(long_run.records, long_run.truth)
    kinds = {k.title: k for k in notable_frames(long_run.records, long_run.truth, e, 5)}
    sure = kinds["Surest right answers"]
    assert len(sure.frames) == 5 and all(e.outcomes[f.row] == summary.CORRECT for f in sure.frames)
    assert min(np.diff(sorted(f.row for f in sure.frames))) >= len(long_run.records) // 20
    wrong = kinds["Wrong answers"]
    assert set(wrong.rows) == set(np.flatnonzero(np.isin(e.outcomes, [summary.WRONG, summary.FALSE_ACCEPT])))
    assert {f.row for f in wrong.frames} <= set(wrong.rows)
    for f in kinds["Near misses"].frames:
        record = long_run.records[f.row]
        assert not record.accepted and record.best.keyframe_id not in long_run.truth.positives[f.row]
        assert f"{record.best.probability:.3f}" in f.sentence
    for f in kinds["Right, but not accepted"].frames:
        record = long_run.records[f.row]
        assert e.outcomes[f.row] == summary.MISSED and record.best.keyframe_id in long_run.truth.positives[f.row]


def test_the_nearest_miss_comes_first(long_run):
    e = evaluate(long_run.records, long_run.truth)
    kinds = {k.title: k for k in notable_frames(long_run.records, long_run.truth, e)}
    for title, right in (("Near misses", False), ("Right, but not accepted", True)):
        stated = [
            r.best.probability
            for q, r in enumerate(long_run.records)
            if not r.accepted
            and long_run.truth.known[q]
            and (r.best.keyframe_id in long_run.truth.positives[q]) is right
        ]
        assert long_run.records[kinds[title].frames[0].row].best.probability == max(stated)


def test_without_ground_truth_the_report_claims_nothing(run):
    text = render_report(
        ReportInput(
            run.records,
            keyframe_ids=run.keyframe_ids,
            keyframe_xy=run.keyframe_xy,
            keyframe_image=lambda k: jpeg(50),
        )
    )
    words = Page(text).text
    accepted = sum(r.accepted for r in run.records)
    assert f"{accepted} of {len(run.records)} frames" in words and "no ground truth" in words
    assert "Recall@1" not in words and "precision" not in words.lower()
    assert "probability … is below …" in words  # equal reasons count together whatever their numbers


def test_without_poses_the_report_plots_frame_numbers(run):
    truth = replace(run.truth, query_xy=None, keyframe_xy=None)
    words = Page(render_report(ReportInput(run.records, truth=truth, keyframe_ids=run.keyframe_ids))).text
    assert "Query against map" in words and "Best guess right" in words and "position error" not in words.lower()


@pytest.mark.parametrize("with_truth", [True, False])
def test_runs_with_nothing_in_them(run, with_truth):
    truth = run.truth.select([]) if with_truth else None
    assert "</html>" in render_report(ReportInput([], truth=truth))
    silent = [
        replace(r, status="unknown", keyframe_id=None, probability=None, hypotheses=(), retrieval=())
        for r in run.records[:5]
    ]
    words = Page(
        render_report(
            ReportInput(
                silent,
                truth=run.truth.select(range(5)) if with_truth else None,
                keyframe_ids=run.keyframe_ids,
                keyframe_xy=run.keyframe_xy,
            )
        )
    ).text
    assert "How it was run" in words


def test_the_file_is_whole_or_absent(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VprError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", ReportInput([]))
    with pytest.raises(VprError, match="belong together"):
        write_report(tmp_path / "report.html", ReportInput(run.records[:3], truth=run.truth))
    assert not (tmp_path / "report.html").exists()
    write_report(tmp_path / "report.html", ReportInput([]))
    assert (tmp_path / "report.html").read_text(encoding="utf-8").endswith("</html>\n")


def test_percent_never_claims_perfection():
    assert percent(1.0) == "100.0\u00a0%" and percent(0.0) == "0.0\u00a0%"
    assert percent(0.9999) == "99.99\u00a0%" and percent(0.0002) == "0.02\u00a0%" and percent(float("nan")) == "–"


def test_pictures_differ_where_the_data_differ(run):
    def pixels(picture):
        return cv2.imdecode(np.frombuffer(picture.light, np.uint8), cv2.IMREAD_COLOR)

    e = evaluate(run.records, run.truth)
    matched = run.truth.query_xy.copy()
    drawn = pixels(plots.trajectory_plot(run.keyframe_xy, run.truth.query_xy, matched, e.outcomes))
    red = np.array([0x1A, 0x40, 0xE0])  # BGR of a wrong acceptance
    assert (np.abs(drawn.astype(int) - red).max(axis=2) < 8).sum() > 20
    fine = pixels(
        plots.trajectory_plot(
            run.keyframe_xy, run.truth.query_xy, matched, np.full(len(matched), summary.CORRECT, dtype=object)
        )
    )
    assert (np.abs(fine.astype(int) - red).max(axis=2) < 8).sum() == 0
    timeline = [np.arange(len(e.outcomes), dtype=float), np.full(len(e.outcomes), 0.2), np.full(len(e.outcomes), 0.2)]
    without, with_line = (pixels(plots.timeline_plot(*timeline, e.outcomes, t)) for t in (None, 0.6))
    panel = plots.timeline_plot(*timeline, e.outcomes).panels[0]
    row = round((panel.down_scale * 0.6 + panel.down_start) * with_line.shape[0])
    # The threshold is a dark dashed line at its height; in the same place there was none without it.
    assert (
        (with_line[row - 2 : row + 3].max(axis=2) < 80).sum()
        > 200
        > 20
        > (without[row - 2 : row + 3].max(axis=2) < 80).sum()
    )
    both = curves.recall_plot({1: 0.25, 5: 0.5})
    dark = cv2.imdecode(np.frombuffer(both.dark, np.uint8), cv2.IMREAD_COLOR)
    assert dark[0, 0].max() < 60 < pixels(both)[0, 0].min()


def test_importing_the_package_does_not_load_matplotlib():
    code = (
        "import sys, json, vpr_ros.evaluation.report.run_report;"
        "print(json.dumps([m for m in ('matplotlib', 'rclpy', 'open3d', 'torch') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_text_that_a_template_lacks_is_an_error_and_every_template_is_in_the_package():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
    from setuptools import find_packages

    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined)
    with pytest.raises(UndefinedError):
        environment.get_template("cards.html.j2").render()
    setup = (TEMPLATES.parents[3] / "setup.py").read_text(encoding="utf-8")
    assert '"evaluation/report/templates/*"' in setup
    assert "vpr_ros.evaluation.report" in find_packages(str(TEMPLATES.parents[3]), include=["vpr_ros.*"])
    assert {path.name for path in TEMPLATES.iterdir()} >= {"page.html.j2", "style.css"}


@pytest.mark.parametrize("with_truth", [True, False])
def test_a_run_that_accepts_almost_nothing_is_told_what_to_try(run, with_truth):
    timid = [
        replace(r, status="rejected", reason="low_probability", keyframe_id=None, probability=None) for r in run.records
    ]
    words = Page(render_report(ReportInput(timid, truth=run.truth if with_truth else None))).text
    asked = int(run.truth.on_map.sum()) if with_truth else len(timid)
    assert f"Only 0 of {asked} frames" in words and "`vpr_ros calibrate MAP" in words
    assert "Only 0 of" not in Page(render_report(ReportInput(run.records, truth=run.truth))).text


def test_frames_far_from_the_map_do_not_make_it_small(run):
    far = run.truth.query_xy.copy()
    far[-20:] += 1e5
    e = evaluate(run.records, run.truth)
    near, drawn = (
        plots.trajectory_plot(run.keyframe_xy, xy, xy, e.outcomes).panels[0] for xy in (run.truth.query_xy, far)
    )
    assert drawn.across_scale > 0.7 * near.across_scale
    outside = drawn.across_scale * far[-1, 0] + drawn.across_start
    assert outside > 1  # the page knows that there is no dot to click
