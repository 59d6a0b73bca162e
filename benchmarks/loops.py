"""Loops that straighten: the absolute trajectory error of drifting drives before and after, with false candidates too.

python benchmarks/loops.py --out runs/loops

Renders drives of 3 km round laps of a city in one light (day), a picture and a scan every 2 m, with the odometry that
rendered drives have, and sends each through `vpr_ros loops`' core: mode slam, verification, pose graph. Truth is
`/ground_truth/pose`, which none of them sees. "false" replaces 20 % of the accepted matches, before they are verified,
by keyframes that are at least 30 m away. ATE is evo's, root mean square after rigid alignment. Seconds are CPU time.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpr_ros.offline.loops import LoopFrame, build_graph, loop_frame
from vpr_ros.offline.loops.accuracy import true_error, true_poses
from vpr_ros.offline.loops.bag import LoopsConfig, opened
from vpr_ros.offline.loops.driving import drive_through
from vpr_ros.offline.loops.picture import draw_loops
from vpr_ros.offline.loops.straightening import straighten, worth_a_vertex
from vpr_ros.runtime.answer import Answer
from vpr_ros.runtime.opening import load_extractor
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig, Verify
from vpr_ros.sensors import DriveTopics, Trajectory
from vpr_ros.training.synthetic import CameraConfig, LidarConfig, named_conditions, plan_drive, write_drive_bag

SEEDS = (2172, 2173, 2174)
LENGTH_M, LAP_M, SPACING_M = 3000.0, 1000.0, 2.0
FALSE_SHARE, FALSE_FROM_M = 0.2, 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/loops"), help="folder of bags, maps and pictures")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--verify", default="lidar", choices=("lidar", "camera", "auto"))
    parser.add_argument("--no-lidar", action="store_true", help="the robot has none: depth is triangulated by odometry")
    arguments = parser.parse_args()
    print(f"verified by {arguments.verify}, {'without' if arguments.no_lidar else 'with'} LiDAR")
    print(
        "city | candidates | verified | measured | of these false | trusted | false trusted | ATE before, after m | "
        "less by | seconds: drive, a verification, graph"
    )
    for seed in arguments.seeds:
        one_city(seed, arguments.out, arguments.verify, not arguments.no_lidar)


def rendered(folder: Path, seed: int) -> Path:
    """The bag of one drive, rendered where it is not there."""
    path = folder / f"{seed}_loop"
    if not path.exists():
        drive = plan_drive(
            seed,
            named_conditions("day", seed=10 * seed),
            CameraConfig(width=240, height=180),
            LidarConfig(),
            length_m=LENGTH_M,
            spacing_m=SPACING_M,
            lap_m=LAP_M,
        )
        write_drive_bag(path, drive, workers=1)
    return path


def one_city(seed: int, out: Path, verify: Verify, with_lidar: bool) -> None:
    """One drive through the core; the false candidates are verified beside the right ones, by the same map."""
    name = f"{seed}_{verify}" + "_without_lidar" * (not with_lidar)
    bag, map_path = rendered(out, seed), out / f"{name}.vpr"
    for former in out.glob(f"{map_path.name}*"):  # with what SQLite keeps beside it
        former.unlink()
    core = PipelineConfig(map_path=map_path, verify=verify)
    topics = DriveTopics(pose="none", points=None if with_lidar else "none")
    config, truth, rng = LoopsConfig(core, topics), true_poses(bag, None, None), np.random.default_rng(seed)
    assert truth is not None
    replaced: dict[int, LoopFrame] = {}
    clock = {"verification": 0.0}
    with opened(bag, load_extractor(core), config) as (drive, pipeline):
        check = pipeline.verified

        def both(answer: Answer) -> Answer:
            if rng.uniform() < FALSE_SHARE:
                wrong = misled(answer, pipeline, truth, rng)
                replaced[answer.observation.stamp_ns] = loop_frame(check(wrong))
            started = time.process_time()
            answer = check(answer)
            clock["verification"] += time.process_time() - started
            return answer

        started = time.process_time()
        driven = drive_through(pipeline, drive, both)
        drive_s = time.process_time() - started
        keyframes, radius = pipeline.keyframes(), pipeline.place_map.place_radius_m
    for kind, frames in (
        ("", driven.frames),
        (", 20 % false", [replaced.get(frame.stamp_ns, frame) for frame in driven.frames]),
    ):
        graph = build_graph([f for f in frames if worth_a_vertex(f)], keyframes, radius, places=False)
        if graph is None:
            print(f"{seed}{kind} | {driven.accepted} | {driven.tried} | 0 | no graph", flush=True)
            continue
        started = time.process_time()
        found = straighten(frames, graph)
        graph_s = time.process_time() - started
        errors = true_error(found.before, truth), true_error(found.after, truth)
        draw_loops(out / f"{name}{'_false' if kind else ''}.png", found, graph, truth, errors)
        stamps = graph.stamps_ns[[(edge.first, edge.second) for edge in found.loops]]
        T = [truth.at_many(stamps[:, n])[0] for n in (0, 1)]
        apart_m = np.linalg.norm((T[0] @ np.array([e.T for e in found.loops]))[:, :3, 3] - T[1][:, :3, 3], axis=1)
        wrong, less = apart_m > 1.0, 1 - errors[1].rmse_m / errors[0].rmse_m
        each_s = clock["verification"] / max(driven.tried, 1)
        print(
            f"{seed}{kind} | {driven.accepted} | {driven.tried} | {len(wrong)} | {wrong.sum()} | "
            f"{found.trusted.sum()} | {(wrong & found.trusted).sum()} | "
            f"{errors[0].rmse_m:.2f}, {errors[1].rmse_m:.2f} | {less:.1%} | "
            f"{drive_s - clock['verification']:.0f}, {each_s:.2f}, {graph_s:.1f}",
            flush=True,
        )


def misled(answer: Answer, pipeline: Pipeline, truth: Trajectory, rng: np.random.Generator) -> Answer:
    """The answer with another keyframe in the place of the accepted one: any that is far from where the robot is."""
    assert pipeline.recogniser is not None and answer.recognition is not None
    ids, keyframes = pipeline.recogniser.topology.ids, pipeline.keyframes()
    stamps = keyframes.stamps_ns[keyframes.rows_of(ids)]
    here, (there, known) = truth.at(answer.observation.stamp_ns), truth.at_many(stamps)
    assert here is not None
    far = known & (np.linalg.norm(there[:, :3, 3] - here[:3, 3], axis=1) > FALSE_FROM_M)
    row = int(rng.choice(np.flatnonzero(far)))
    best = replace(
        answer.recognition.hypotheses[0], keyframe_id=int(ids[row]), row=row, T_map_base=None, stamp_ns=int(stamps[row])
    )
    hypotheses = (best, *answer.recognition.hypotheses[1:])
    return replace(answer, recognition=replace(answer.recognition, hypotheses=hypotheses))


if __name__ == "__main__":
    main()
