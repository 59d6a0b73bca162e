"""The page of a run in a real browser: clicked through with mouse and keyboard, it shows what the records say."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import chromium
import cv2
import numpy as np
import pytest
from simulated_run import simulate

from vpr_ros.evaluation.matches import RunInfo
from vpr_ros.evaluation.report.inputs import ReportInput
from vpr_ros.evaluation.report.run_report import write_report
from vpr_ros.evaluation.similarities import SimilarityMatrix
from vpr_ros.evaluation.summary import evaluate

pytestmark = [
    pytest.mark.skipif(chromium.BINARY is None, reason="no Chromium is installed: the page was not clicked through"),
    pytest.mark.skipif(sys.platform != "linux", reason="the debugging pipe is that of Linux"),
]
SHOWN = """(() => {
  const box = document.getElementById("browser");
  const text = (name) => box.querySelector(`[data-part="${name}"]`).textContent;
  const shots = {};
  for (const figure of box.querySelectorAll("[data-shot]")) {
    const image = figure.querySelector("img"), caption = figure.querySelector("figcaption").textContent;
    const there = !image.hidden && image.naturalWidth > 0;
    shots[figure.dataset.shot] = figure.hidden ? null : {caption, alt: image.alt, there};
  }
  const marks = [...document.querySelectorAll(".mark")].filter((mark) => !mark.hidden).length;
  const names = ["tag", "reason", "truth", "probability", "similarity", "stamp"];
  const parts = Object.fromEntries(names.map((name) => [name, text(name)]));
  return {...parts, shots, marks, number: box.querySelector("[data-part=number]").value, hash: location.hash};
})()"""


def picture(number):
    return cv2.imencode(".jpg", np.full((56, 56, 3), number % 256, np.uint8))[1].tobytes()


def matrix_of(run):
    frames, keyframes = len(run.records), len(run.keyframe_ids)
    values = np.random.default_rng(0).uniform(size=(frames, keyframes)).astype(np.float16)
    return SimilarityMatrix(values, np.arange(frames), keyframes, 1)


@pytest.fixture(scope="module")
def run():
    return simulate(seed=1, spacing_m=6.0)


@pytest.fixture(scope="module")
def pages(run, tmp_path_factory):
    """A run with its truth, and one without truth and poses."""
    folder = tmp_path_factory.mktemp("pages")
    report = ReportInput(
        run.records,
        RunInfo(config={"recognition": {"decision": {"accept_probability": 0.6}}}),
        truth=run.truth,
        keyframe_ids=run.keyframe_ids,
        query_images=lambda stamps: {s: np.full((30, 40, 3), 90, np.uint8) for s in stamps},
        keyframe_image=picture,
        similarities=matrix_of(run),
    )
    write_report(folder / "judged.html", report)
    write_report(folder / "plain.html", replace(report, truth=None, evaluation=None))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def check(shown, run, i, e=None):
    """What the page shows is record i."""
    record = run.records[i]
    best, second = record.hypotheses
    assert shown["number"] == str(i) and shown["tag"] == f"Frame {i}: {record.status}"
    assert shown["reason"] == record.explanation
    for place, name in ((best, "best"), (second, "second")):
        shot = shown["shots"][name]
        words = (
            rf"keyframe {place.keyframe_id}(?: \(picture of keyframe (\d+)\))?, probability {place.probability:.4f}$"
        )
        found = re.search(words, shot["caption"])
        assert found and shot["there"] and shot["alt"].endswith(f": keyframe {found[1] or place.keyframe_id}")
        assert f"{place.similarity:.4f}" in shown["similarity"]
    assert f"frame {i}" in shown["shots"]["query"]["caption"] and shown["shots"]["query"]["there"]
    assert f"off the map {record.p_unknown:.4f}" in shown["probability"]
    assert shown["stamp"].startswith(f"{record.stamp_ns} ns,")
    if e is None:
        assert shown["truth"] == "" and shown["shots"]["right"] is None
        return
    assert f"{e.errors_m[i]:.1f} m from the true position" in shown["truth"]
    mistaken = e.outcomes[i] in ("wrong", "missed")
    assert (shown["shots"]["right"] is not None) == mistaken
    if mistaken:
        right = int(shown["shots"]["right"]["caption"].split("keyframe ")[1].split()[0])
        assert right in run.truth.positives[i]


def test_the_address_names_the_frame(browser, pages, run):
    e = evaluate(run.records, run.truth)
    of_each = [int(np.flatnonzero(e.outcomes == outcome)[-1]) for outcome in sorted(set(e.outcomes))]
    assert len(of_each) >= 4
    for i in of_each:
        browser.open(f"file://{pages}/judged.html#frame={i}")
        check(browser.run(SHOWN), run, i, e)
    followed = "addEventListener('hashchange', () => setTimeout(done, 0)); location.hash = 'frame=3';"
    browser.run(f"new Promise((done) => {{ {followed} }})")
    check(browser.run(SHOWN), run, 3, e)
    browser.open(f"file://{pages}/judged.html#frame=99999")
    check(browser.run(SHOWN), run, len(run.records) - 1, e)
    browser.open(f"file://{pages}/judged.html#nonsense")
    check(browser.run(SHOWN), run, 0, e)


@pytest.mark.parametrize("name, drawings", [("judged", 3), ("plain", 2)])
def test_a_click_on_a_dot_shows_its_frame(browser, pages, run, name, drawings):
    e = evaluate(run.records, run.truth) if name == "judged" else None
    browser.open(f"file://{pages}/{name}.html")
    assert browser.run("document.querySelectorAll('[data-panels]').length") == drawings
    for drawing in range(drawings):
        panels = json.loads(browser.run(f"document.querySelectorAll('[data-panels]')[{drawing}].dataset.panels"))
        for panel in panels:
            for i in (0, 17, len(run.records) - 2):
                columns = {
                    "time": (run.records[i].stamp_ns - run.records[0].stamp_ns) / 1e9,
                    "frame": i,
                    "probability": run.records[i].best.probability,
                    "similarity": run.records[i].retrieval[0][1],
                    "x": run.truth.query_xy[i, 0],
                    "y": run.truth.query_xy[i, 1],
                    "keyframe": int(np.flatnonzero(run.keyframe_ids == run.records[i].best.keyframe_id)[0]),
                }
                across = panel["across_scale"] * columns[panel["x"]] + panel["across_start"]
                down = panel["down_scale"] * columns[panel["y"]] + panel["down_start"]
                assert 0 < across < 1 and 0 < down < 1
                # The browser of frames sticks to the top: the dot is brought to the lower part of the window.
                box = browser.run(
                    f"""(() => {{ const d = document.querySelectorAll("[data-panels]")[{drawing}];
                    scrollBy(0, d.getBoundingClientRect().top + {down} * d.clientHeight - 850);
                    const r = d.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"""
                )
                browser.click(box[0] + across * box[2], box[1] + down * box[3])
                shown = browser.run(SHOWN)
                if panel["x"] in ("time", "frame"):  # dots of a drawing from above may lie on one another
                    check(shown, run, i, e)
                else:
                    there = run.truth.query_xy[int(shown["number"])]
                    assert np.linalg.norm(there - run.truth.query_xy[i]) < 3
                assert shown["marks"] >= 3


def test_the_keyboard_goes_from_frame_to_frame(browser, pages, run):
    browser.open(f"file://{pages}/judged.html#frame=5")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.press("ArrowLeft")
    assert browser.run(SHOWN)["number"] == "6"
    browser.run("document.querySelector('[data-part=slider]').focus()")
    browser.press("ArrowRight")
    assert browser.run(SHOWN)["number"] == "7"
    browser.press("End")
    assert browser.run(SHOWN)["number"] == str(len(run.records) - 1)
    browser.press("ArrowRight")
    assert browser.run(SHOWN)["number"] == str(len(run.records) - 1)
    browser.press("Home")
    assert browser.run(SHOWN)["number"] == "0"
    browser.run("document.querySelector('[data-step=\"1\"]').click()")
    assert browser.run("new Promise((done) => setTimeout(() => done(location.hash), 400))") == "#frame=1"
    browser.run("document.querySelector('a[data-frame]').focus()")
    browser.press("ArrowRight")
    assert browser.run(SHOWN)["number"] == "2"


def test_every_picture_and_control_has_a_name(browser, pages):
    browser.open(f"file://{pages}/judged.html#frame=5")
    assert browser.run("[...document.images].filter((i) => !i.hasAttribute('alt')).length") == 0
    assert browser.run("[...document.querySelectorAll('#browser img:not([hidden])')].every((i) => i.alt.length > 5)")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    controls = [n for n in nodes if n.get("role", {}).get("value") in ("slider", "button", "spinbutton")]
    assert len(controls) == 4 and all(n["name"]["value"] for n in controls)


def test_light_and_dark_pages_differ_and_both_can_be_read(browser, pages):
    for dark in (False, True):
        browser.dark(dark)
        browser.open(f"file://{pages}/plain.html")
        image = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        body = image[-200:]
        assert (body.mean() < 90) == dark
        drawn = browser.run("document.querySelector('.drawing img').currentSrc")
        browser.run("window.scrollTo(0, document.querySelector('.drawing').offsetTop)")
        light, other = browser.run(
            "[document.querySelector('.drawing img').src, document.querySelector('.drawing source').srcset]"
        )
        assert drawn == (other if dark else light)
    browser.dark(False)


def test_nothing_is_fetched_and_nothing_else_runs(browser, pages, tmp_path):
    text = (pages / "judged.html").read_text(encoding="utf-8")
    assert "://" not in text
    (tmp_path / "changed.html").write_text(text.replace("</body>", "<script>window.ran = 1</script></body>"))
    browser.open(f"file://{tmp_path}/changed.html#frame=2")
    assert browser.run("window.ran === undefined") and browser.run(SHOWN)["number"] == "2"
    assert (
        browser.run("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    )


def test_the_page_as_a_browser_leaves_it(pages, run, tmp_path):
    """Without any debugging: the document after its script has run."""
    done = subprocess.run(
        [
            chromium.BINARY,
            *("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
            *("--virtual-time-budget=2000", "--dump-dom", f"file://{pages}/judged.html#frame=42"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f">Frame 42: {run.records[42].status}</span>" in done.stdout
    assert f"keyframe {run.records[42].best.keyframe_id}, probability" in done.stdout
