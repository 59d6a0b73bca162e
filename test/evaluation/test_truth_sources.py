"""Truth by `names`, `frames:K`, CSV and .npy: which keyframes are right, what is off the map, what is not known."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.pairs import Pair, write_pairs
from vpr_ros.evaluation.truth_sources import (
    ANY_DRIVE,
    OFF_MAP,
    NumberedPair,
    TruthSource,
    parse_truth,
    truth_from_numbers,
    truth_of,
)
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.sensors.bags.drive_frames import DriveFrames

S = 10**9


def frames(source, count, start_s, names=True):
    stamps = start_s * S + np.arange(count) * S // 10
    return DriveFrames(source, stamps, tuple(f"img_{i:03d}.jpg" for i in range(count)) if names else ())


def keyframes_of(drives, every=1):
    """A map of every `every`-th picture of each drive; ids from 10 on, in an order that is not that of the stamps."""
    rows = [(session, stamp) for session, f in drives.items() for stamp in f.stamps_ns[::every].tolist()]
    ids = np.random.default_rng(3).permutation(len(rows)) + 10
    nan = np.full((len(rows), 4, 4), np.nan)
    sessions, stamps = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Keyframes(ids, sessions, stamps, nan, nan, np.zeros((len(rows), 0), np.float16))


QUERY = frames("second", 12, 500)
DRIVES = {1: frames("first", 10, 100)}
MAP = keyframes_of(DRIVES)


def id_of(number, session=1, keyframes=MAP, drives=DRIVES):
    stamp = drives[session].stamps_ns[number]
    return int(keyframes.ids[(keyframes.sessions == session) & (keyframes.stamps_ns == stamp)][0])


def find(text, keyframes=MAP, drives=DRIVES, query=QUERY, tolerance=0, stamps=None):
    return truth_of(
        parse_truth(text),
        query.stamps_ns if stamps is None else stamps,
        keyframes,
        lambda: query,
        lambda: drives,
        tolerance,
    )


@pytest.fixture
def saved(tmp_path):
    def save(content, name="truth.csv"):
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            np.save(path, content, allow_pickle=True)
        else:
            path.write_text(content, encoding="utf-8")
        return path

    return save


def test_frames_count_the_pictures_of_both_drives():
    truth = find("frames:1")
    for q, positives in enumerate(truth.positives):
        assert set(positives) == {id_of(n) for n in (q - 1, q, q + 1) if 0 <= n < 10}
    # Pictures 0 to 9 are on the map, 10 within one of it, 11 beyond its end.
    assert truth.on_map.tolist() == [True] * 11 + [False] and truth.off_map.tolist() == [False] * 11 + [True]
    assert "at most 1" in truth.rule


def named(source, numbers, start_s, form="img_{:03d}.jpg"):
    stamps = start_s * S + np.arange(len(numbers)) * S // 10
    return DriveFrames(source, stamps, tuple(form.format(n) for n in numbers))


def test_numbers_in_the_names_survive_pictures_that_are_missing():
    query, drives = named("q", [0, 1, 2, 4, 5, 6, 8, 11], 500), {1: named("m", [0, 1, 3, 4, 5, 6, 7, 9], 100)}
    keyframes = keyframes_of(drives)
    truth = find("frames:0", keyframes, drives, query)
    wanted = {0: [0], 1: [1], 3: [3], 4: [4], 5: [5]}  # places: of picture 4, the third of both
    for place in range(8):
        assert truth.positives[place].tolist() == [id_of(n, 1, keyframes, drives) for n in wanted.get(place, [])]
    assert truth.known.tolist() == [True, True, False, True, True, True, False, True]  # 2 and 8 are not in the map
    assert truth.off_map.tolist() == [False] * 7 + [True]  # 11 lies beyond its end
    nearest = find("frames:1", keyframes, drives, query)
    assert set(nearest.positives[2]) == {id_of(n, 1, keyframes, drives) for n in (1, 2)}  # 1 and 3 beside 2


def test_drives_in_step_whose_names_contradict_are_refused():
    numbers = list(range(1, 18))
    drives = {1: DriveFrames("m", np.arange(18) * S, ("a_preview.jpg", *(f"db{n}.jpg" for n in numbers)))}
    query = named("q", numbers, 500, "q{}.jpg")
    with pytest.raises(VprError, match="mapped picture a_preview.jpg has no number in its name, and 17 of the 18 have"):
        find("frames:0", keyframes_of(drives), drives, query)
    drives = {1: DriveFrames("m", np.arange(18) * S, ("db1 copy.jpg", *(f"db{n}.jpg" for n in numbers)))}
    with pytest.raises(VprError, match="db1 copy.jpg and db1.jpg have the same number 1"):
        find("frames:0", keyframes_of(drives), drives, query)
    drives = {1: named("m", range(170), 100)}
    with pytest.raises(VprError, match="q has 17 pictures and the map's drives have 170: frames:K is for"):
        find("frames:10", keyframes_of(drives), drives, query)
    for other in (named("m", range(40, 57), 100), named("m", [0] * 17, 100, "v2")):  # no scheme in common: the order
        drives = {1: other}
        keyframes = keyframes_of(drives)
        truth = find("frames:0", keyframes, drives, named("q", numbers, 500, "q"))
        assert [p.tolist() for p in truth.positives] == [[id_of(n, 1, keyframes, drives)] for n in range(17)]


def test_frames_of_a_run_that_skipped_some_keep_their_numbers():
    rows = [0, 3, 4, 9]
    truth = find("frames:0", stamps=QUERY.stamps_ns[rows])
    assert [p.tolist() for p in truth.positives] == [[id_of(n)] for n in rows]
    truth = find("frames:0", stamps=np.array([QUERY.stamps_ns[2], 77]))
    assert truth.known.tolist() == [True, False]  # no picture of the bag has stamp 77


def test_a_gated_map_keeps_the_numbers_of_its_drive_and_says_where_it_does_not_know():
    gated = keyframes_of(DRIVES, every=4)  # pictures 0, 4, 8
    truth = find("frames:1", gated)
    assert [p.tolist() for p in truth.positives][3:6] == [[id_of(4, keyframes=gated)]] * 3
    # Pictures 2 and 6 were driven past but have no keyframe within one: they are not off the map.
    assert truth.known.tolist() == [n not in (2, 6, 10) for n in range(12)]
    assert truth.off_map.tolist() == [False] * 11 + [True]


def test_every_mapped_drive_is_numbered_from_its_own_start():
    drives = {1: frames("a", 10, 100), 2: frames("b", 4, 200)}
    keyframes = keyframes_of(drives)
    truth = find("frames:0", keyframes, drives)
    for n in range(10):
        both = {id_of(n, s, keyframes, drives) for s in drives if n < len(drives[s])}
        assert set(truth.positives[n]) == both


def test_names_agree_without_folder_and_ending():
    drives = {1: DriveFrames("a", DRIVES[1].stamps_ns[:3], ("x.jpg", "y.png", "z.jpg"))}
    query = DriveFrames("b", QUERY.stamps_ns[:4], ("z.png", "", "x.jpg", "w.jpg"))
    keyframes = keyframes_of(drives)
    truth = find("names", keyframes, drives, query)
    wanted = [[id_of(2, 1, keyframes, drives)], [], [id_of(0, 1, keyframes, drives)], []]
    assert [p.tolist() for p in truth.positives] == wanted
    assert truth.known.tolist() == [True, False, True, True]  # the second has no name; `w` is off the map
    wider = find("names", keyframes, drives, query, tolerance=1)
    assert set(wider.positives[0]) == {id_of(n, 1, keyframes, drives) for n in (1, 2)}


@pytest.mark.parametrize(
    "text",
    [
        "query_name,reference_name,tolerance\nimg_002.jpg,img_004.jpg,1\nimg_003.jpg,,\nimg_005,img_005\n",
        "img_002.jpg,img_004.jpg,1\n# a comment\n\nimg_003.jpg,\nfolder/img_005.jpg,other/img_005.png\n",
        "query_frame,reference_frame,tolerance\n2,4,1\n3,,\n5,5,0\n",
        "query,reference,tolerance\nimg_002.jpg,img_004.jpg,1\nimg_003.jpg,,\nimg_005.jpg,img_005.jpg,\n",
        "query_frame,reference_frame\n2,3\n2,4\n2,5\n3,-1\n5,5\n",
    ],
)
def test_tables_of_names_and_of_numbers(saved, text):
    truth = find(saved(text))
    wanted = {2: {id_of(3), id_of(4), id_of(5)}, 3: set(), 5: {id_of(5)}}
    for n in range(12):
        assert bool(truth.known[n]) == (n in wanted)
        assert set(truth.positives[n]) == wanted.get(n, set())
    assert truth.off_map.tolist() == [n == 3 for n in range(12)]


def test_a_table_of_stamps_needs_no_bags(tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs(
        path, [Pair(int(QUERY.stamps_ns[4]), int(DRIVES[1].stamps_ns[6]), 0), Pair(int(QUERY.stamps_ns[5]), None)]
    )

    def never():
        raise AssertionError("a bag was read")

    truth = truth_of(TruthSource("csv", path=path), QUERY.stamps_ns, MAP, never, never)
    assert truth.positives[4].tolist() == [id_of(6)] and truth.off_map[5] and truth.known.sum() == 2


def test_the_three_kinds_of_arrays_say_the_same(saved):
    matrix = np.zeros((12, 10), bool)
    matrix[np.arange(9), np.arange(1, 10)] = True
    single = np.where(np.arange(12) < 9, np.arange(12) + 1, -1)
    rows = np.stack([np.arange(12), single], axis=1).astype(np.int32)
    for number, array in enumerate((matrix, single.astype(np.int16), rows)):
        truth = find(saved(array, f"{number}.npy"))
        assert [set(p) for p in truth.positives] == [{id_of(n + 1)} for n in range(9)] + [set()] * 3
        assert truth.off_map.tolist() == [False] * 9 + [True] * 3
    wide = find(saved(single, "wide.npy"), tolerance=2)
    assert set(wide.positives[0]) == {id_of(n) for n in range(4)}


def test_positives_agree_with_a_naive_count():
    rng = np.random.default_rng(11)
    drives = {1: frames("a", 20, 100), 4: frames("b", 15, 300)}
    keyframes = keyframes_of(drives, every=3)
    query = frames("q", 30, 900)
    pairs = [
        NumberedPair(
            int(rng.integers(30)),
            int(rng.choice([OFF_MAP, *range(15)])),
            int(rng.choice([ANY_DRIVE, 1, 4])),
            [None, 0, 2][rng.integers(3)],
        )
        for _ in range(40)
    ]
    truth = truth_from_numbers(np.arange(30), keyframes, drives, pairs, 1, "it is so")
    for q in range(30):
        right, driven, own = set(), False, [p for p in pairs if p.query == q]
        for _, reference, session, tolerance in own:
            reach = 1 if tolerance is None else tolerance
            for s, drive in drives.items():
                if reference == OFF_MAP or session not in (ANY_DRIVE, s):
                    continue
                for n in range(len(drive)):
                    if abs(n - reference) <= reach:
                        driven = True
                        at = (keyframes.sessions == s) & (keyframes.stamps_ns == drive.stamps_ns[n])
                        right |= set(keyframes.ids[at].tolist())
        assert set(truth.positives[q].tolist()) == right
        assert bool(truth.known[q]) == (bool(own) and (bool(right) or not driven))
    assert len(query) == 30


@pytest.mark.parametrize("text", ["frames", "frames:", "frames:-1", "frames:2.5", "frames:1e9", "name", "utm:25", ""])
def test_unknown_words_are_refused(text):
    with pytest.raises(VprError, match="not understood|frames:K"):
        parse_truth(text)


def test_missing_files_and_bags_without_names_are_told(tmp_path):
    with pytest.raises(VprError, match="does not exist"):
        parse_truth(tmp_path / "pairs.csv")
    for query, drives in ((frames("q", 12, 500, False), DRIVES), (QUERY, {1: frames("m", 10, 100, False)})):
        with pytest.raises(VprError, match=r"bag [qm] does not tell the file names.*frames:K"):
            find("names", drives=drives, query=query)
    with pytest.raises(VprError, match="no frame of the run has truth"):
        find("frames:2", stamps=np.array([1, 2, 3]))


@pytest.mark.parametrize(
    "content, words",
    [
        ("query_name,reference_name\nimg_002.jpg,img_004.jpg\nimg_900.jpg,img_004.jpg\n", "line 3.*second.*img_900"),
        ("query_name,reference_name\nimg_002.jpg,img_904.jpg\n", "line 2.*no mapped picture.*img_904"),
        ("query_name,reference_name,tolerance\nimg_002.jpg,img_004.jpg,some\n", "line 2.*tolerance 'some'"),
        ("query_name,reference_name,tolerance\nimg_002.jpg,img_004.jpg,-1\n", "line 2.*tolerance '-1'"),
        ("query_frame,reference_frame\n2,x\n", "line 2: 'x' is not the number"),
        ("query_frame,reference_frame\n2,10\n", "mapped picture 10.*0 to 9"),
        ("query_frame,reference_frame\n12,1\n", "names picture 12.*0 to 11"),
        ("query_frame,reference_frame\n", "no pairs"),
        ("", "no pairs"),
        (np.arange(11), r"shape \(11,\).*12 pictures"),
        (np.arange(12.0), "float64"),
        (np.zeros((12, 9), bool), r"shape \(12, 9\).*\(12, 10\) booleans"),
        (np.full(12, 10), "mapped picture 10"),
        (np.array([[12, 0]]), "names picture 12"),
        (np.array([[1, 2], [3]], dtype=object), r"objects of shape \(2,\).*12 pictures"),
        (np.zeros((2, 2, 2), int), "shape"),
    ],
)
def test_bad_tables_are_one_sentence_that_names_them(saved, content, words):
    path = saved(content, "truth.npy" if isinstance(content, np.ndarray) else "truth.csv")
    with pytest.raises(VprError, match=words) as error:
        find(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_tables_are_told(tmp_path):
    (tmp_path / "noise.csv").write_bytes(bytes(range(128, 256)))
    (tmp_path / "noise.npy").write_bytes(b"\x93NUMPY garbage")
    np.savez(tmp_path / "many.npz", a=np.arange(3))
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    for name in ("noise.csv", "noise.npy", "many.npy"):
        with pytest.raises(VprError, match=name):
            find(tmp_path / name)
