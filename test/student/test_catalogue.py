import dataclasses
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, NANO, save_checkpoint
from vpr_ros.student.catalogue.entries import CATALOGUE, CatalogueEntry, find
from vpr_ros.student.catalogue.fetching import fetch

TINY = NANO.replace(
    name="tiny", image_size=(56, 56), width=32, depth=2, heads=2, taps=(1, 2), dim=12, position_grid=(4, 4)
)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, D2VPR(TINY))
    return path.read_bytes()


@pytest.fixture
def server(content):
    class Handler(BaseHTTPRequestHandler):
        body, stop_after, honour_range, status = content, None, True, 200
        asked: list = []

        def do_GET(self):
            cls = type(self)
            cls.asked.append(self.headers.get("Range"))
            if cls.status != 200:
                self.send_error(cls.status)
                return
            start, total = 0, len(cls.body)
            asked = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
            if asked and cls.honour_range:
                start = int(asked[1])
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            self.wfile.write(cls.body[start : cls.stop_after])

        def log_message(self, *args):
            pass

    Handler.asked = []
    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield Handler, f"http://127.0.0.1:{http.server_port}/tiny.safetensors"
    http.shutdown()
    http.server_close()
    thread.join()


def entry(url, **changes):
    values = dict(name="tiny", kind="vpr_ros", what="", licence="", filename="tiny.safetensors", source="here", url=url)
    return CatalogueEntry(**{**values, **changes})


def test_download_is_resumed_after_a_cut(server, content, tmp_path):
    handler, url = server
    handler.stop_after = len(content) // 3
    with pytest.raises(VprError, match="run it again to continue"):
        fetch(entry(url), tmp_path)
    assert (tmp_path / "tiny.safetensors.part").stat().st_size == len(content) // 3
    handler.stop_after = None
    seen = []
    digest = hashlib.sha256(content).hexdigest()
    path = fetch(
        entry(url, sha256=digest, size_bytes=len(content)), tmp_path, lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == content and handler.asked == [None, f"bytes={len(content) // 3}-"]
    assert seen[-1] == (len(content), len(content))
    assert [f.name for f in tmp_path.iterdir()] == ["tiny.safetensors"]
    assert fetch(entry(url), tmp_path) == path and len(handler.asked) == 2


def test_server_without_ranges_starts_over(server, content, tmp_path):
    handler, url = server
    handler.honour_range = False
    (tmp_path / "tiny.safetensors.part").write_bytes(b"left over")
    assert fetch(entry(url), tmp_path).read_bytes() == content


def test_complete_and_overlong_parts(server, content, tmp_path):
    _, url = server
    part = tmp_path / "tiny.safetensors.part"
    part.write_bytes(content)
    assert fetch(entry(url), tmp_path).read_bytes() == content
    (tmp_path / "tiny.safetensors").unlink()
    part.write_bytes(content + b"more")
    assert fetch(entry(url), tmp_path).read_bytes() == content


def test_wrong_files_are_refused_and_not_kept(server, content, tmp_path):
    handler, url = server
    for changes, words in (
        (dict(sha256="0" * 64), "SHA-256"),
        (dict(size_bytes=5), "instead of 5"),
        (dict(kind="d2vpr"), "not the d2vpr"),
    ):
        with pytest.raises(VprError, match=words):
            fetch(entry(url, **changes), tmp_path)
        assert not list(tmp_path.iterdir())
    handler.body = b"<html>quota exceeded</html>"
    with pytest.raises(VprError, match="web page"):
        fetch(entry(url), tmp_path)
    handler.status = 404
    with pytest.raises(VprError, match="answered 404.*by hand"):
        fetch(entry(url), tmp_path)


class Bomb:
    touched = ""

    def __reduce__(self):
        return (open, (Bomb.touched, "w"))


@pytest.mark.parametrize("name", ["cricavpr", "dinov2-vitb14", "resnet18"])
def test_weights_of_teachers_are_told_by_their_entries(server, tmp_path, name):
    handler, url = server
    wanted = dataclasses.replace(find(name), url=url, sha256=None)
    file = tmp_path / "published.pth"

    def serve(content):
        torch.save(content, file)
        handler.body = file.read_bytes()
        file.unlink()

    whole = {f"module.{key}": torch.zeros(shape) for key, shape in wanted.holds}
    serve({"model_state_dict": whole})
    assert fetch(wanted, tmp_path / "good").is_file()
    first = next(iter(whole))
    for wrong in (whole | {first: torch.zeros(3)}, {key: value for key, value in whole.items() if key != first}):
        serve(wrong)
        with pytest.raises(VprError, match=f"does not hold the weights of '{name}': {wanted.holds[0][0]} lacks"):
            fetch(wanted, tmp_path / "wrong")
    Bomb.touched = str(tmp_path / "touched")
    serve({**whole, "more": Bomb()})
    with pytest.raises(VprError, match="never executed"):
        fetch(wanted, tmp_path / "wrong")
    assert not (tmp_path / "touched").exists() and not list((tmp_path / "wrong").iterdir())


def test_a_known_beginning_of_the_sum_is_checked(server, content, tmp_path):
    _, url = server
    digest = hashlib.sha256(content).hexdigest()
    assert fetch(entry(url, sha256=digest[:8]), tmp_path).read_bytes() == content
    with pytest.raises(VprError, match="SHA-256"):
        fetch(entry(url, sha256=digest[1:9]), tmp_path / "other")


def test_offline_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(VprError) as error:
        fetch(entry("http://127.0.0.1:9/tiny.safetensors"), tmp_path, timeout_s=2)
    assert "fetch tiny.safetensors by hand" in str(error.value) and str(tmp_path / "tiny.safetensors") in str(
        error.value
    )
    assert "\n" not in str(error.value)
    with pytest.raises(VprError, match="by hand from https://drive.google.com"):
        fetch(find("d2vpr"), tmp_path)


def test_catalogue_names_sources_and_licences():
    packaged = {"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"}
    others = {"nano", "d2vpr", "dinov2-vits14", "cricavpr", "dinov2-vitb14", "resnet18", "xfeat"}
    assert set(CATALOGUE) == others | packaged
    for entry in CATALOGUE.values():
        assert entry.for_student or entry.kind in ("teacher", "backbone", "local features")
        assert entry.for_student or (entry.holds and "FILE" in entry.then)
    assert all(getattr(e, f.name) for e in CATALOGUE.values() for f in dataclasses.fields(e)[:6])
    assert "your own decision" in find("d2vpr").licence
    with pytest.raises(VprError, match="choose one of nano"):
        find("other")
