"""What a drive has shown so far, which a frame is measured by before it is believed."""

import math

YARDSTICK_FRAMES = 100.0  # of new content, whose evidence is what the others are measured by
RECENT_FRAMES = 3.0  # of new content, that are measured
LEAST_FRAMES = 1.0  # of new content and believed, without which nothing is
MOST_EVIDENCE = 14.0
TOLERANCE = 2.0  # a shortfall by which a frame counts e times less for the yardstick
LEAST_ODDS, MOST_ODDS = -3.0, 8.0


class Yardstick:
    """What frames of this drive say for their places while it is on the map, and how far the last ones fall short.

    Season, light and camera decide how alike two pictures of one place are in this drive, and that is what a street
    off the map that looks like a mapped one is to be measured by: in good light a likeness is suspicious that would be
    all there is at night. Both are means of the evidence of frames, by how much of them was new, over about
    YARDSTICK_FRAMES of the frames, each as far as it was believed on the map, and over the last RECENT_FRAMES. What
    falls short hardly counts for the yardstick, else it would be taken for ordinary before long.

    Frames that were matched by local features say more than others and have a yardstick of their own.

    It also tells how far the belief has just fallen: where odometry leads off the end of the map it falls within a
    frame or two, long before the view has changed.
    """

    def __init__(self) -> None:
        self.new_drive()

    def new_drive(self) -> None:
        """Nothing is known of the next one."""
        self._on_map, self._frames = [0.0, 0.0], [0.0, 0.0]
        self.reset()

    def reset(self) -> None:
        """The last frames do not count any more; the drive is the same."""
        self._last, self._last_frames = [0.0, 0.0], [0.0, 0.0]
        self._belief = self._believed_frames = 0.0

    def update(self, evidence: float, belief: float, share: float, matched: bool = False) -> tuple[float, float]:
        """How far the last frames fall short and how far the belief has fallen, both 0 or negative.

        `evidence` is what this frame says for the best place, `belief` the logit of the posterior of its vicinity,
        `share` how much of the frame is new, `matched` whether local features were compared.
        """
        evidence, kind = min(max(evidence, -MOST_EVIDENCE), MOST_EVIDENCE), int(matched)
        before = self._belief / self._believed_frames if self._believed_frames else belief
        kept, weight = math.exp(-share / RECENT_FRAMES), share + 1e-6
        self._belief = kept * self._belief + weight * belief
        self._believed_frames = kept * self._believed_frames + weight
        self._last[kind] = kept * self._last[kind] + weight * evidence
        self._last_frames[kind] = kept * self._last_frames[kind] + weight
        short = 0.0
        if self._frames[kind] > LEAST_FRAMES:
            on_map = self._on_map[kind] / self._frames[kind]
            short = min(0.0, self._last[kind] / self._last_frames[kind] - on_map)
        # By degrees, not from some belief on: a strongly tempered filter may never be sure of a drive in bad light.
        believed = 1.0 / (1.0 + math.exp(-belief))
        kept, weight = math.exp(-share * believed / YARDSTICK_FRAMES), share * believed * math.exp(short / TOLERANCE)
        self._on_map[kind] = kept * self._on_map[kind] + weight * evidence
        self._frames[kind] = kept * self._frames[kind] + weight
        return short, min(0.0, belief - before)


class UntemperedOdds:
    """Log-odds of being on the map still, by the way driven and by what frames say for the best place, each in full.

    Neighbouring frames err together, and so a tempered filter needs many of them to be sure and as many to doubt. But
    where odometry leads off the end of the map, the way alone decides, and only what is seen from there on may speak
    against it. Between LEAST_ODDS, so that a robot that returns is believed within a few frames, and MOST_ODDS.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing is known."""
        self._odds = 0.0

    def update(self, evidence: float, share: float, stayed: float) -> float:
        """The log-odds with a frame whose `evidence` for the best place is new by `share`, after a way that has kept so
        much of the belief on the map (`stayed`)."""
        on_map = max(min(stayed, 1.0) / (1.0 + math.exp(-self._odds)), 1e-6)
        odds = math.log(on_map / (1.0 - on_map)) + share * evidence
        self._odds = min(max(odds, LEAST_ODDS), MOST_ODDS)
        return self._odds
