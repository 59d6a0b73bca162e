"""Façade bays, doors, shop fronts and signs, drawn as small tiles with transparency, light and glass masks."""

import cv2
import numpy as np

WORDS = (
    "CAFE",
    "BANK",
    "BAR",
    "HOTEL",
    "BAKER",
    "FOOD",
    "TAXI",
    "BOOKS",
    "SHOES",
    "PIZZA",
    "KINO",
    "POST",
    "APO",
    "MODE",
    "BIKE",
    "MUSIK",
)


class BayCanvas:
    """One square tile: `rgb` (S, S, 3) 0..255 and `alpha`, `light`, `glass` (S, S) 0..1."""

    def __init__(self, size: int):
        self.size = size
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.alpha = np.zeros((size, size), np.float32)
        self.light = np.zeros((size, size), np.float32)
        self.glass = np.zeros((size, size), np.float32)

    def rect(self, x0, y0, x1, y1, colour, light=0.0, glass=0.0, alpha=1.0):
        """Fill a rectangle given in fractions, y upwards from the floor."""
        s = self.size
        rows = slice(round((1 - y1) * s), round((1 - y0) * s))
        columns = slice(round(x0 * s), round(x1 * s))
        self.rgb[rows, columns] = colour
        self.alpha[rows, columns] = alpha
        self.light[rows, columns] = light
        self.glass[rows, columns] = glass

    def text(self, word: str, x0, y0, x1, y1, colour):
        """Write a word into a box given in fractions."""
        s = self.size
        height, width = max(4, round((y1 - y0) * s)), max(4, round((x1 - x0) * s))
        (w, h), base = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 3)
        stamp = np.zeros((h + base + 6, w + 6), np.uint8)
        cv2.putText(stamp, word, (3, h + 3), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
        mask = cv2.resize(stamp, (width, height), interpolation=cv2.INTER_AREA) > 90
        top, left = round((1 - y1) * s), round(x0 * s)
        part = np.s_[top : top + height, left : left + width]
        mask = mask[: self.rgb[part].shape[0], : self.rgb[part].shape[1]]
        self.rgb[part][mask] = colour


def _glazing(c: BayCanvas, x0, y0, x1, y1, frame, panes, curtain, rng, bar=0.018):
    """A framed pane group with one of four interiors: dark, drawn curtain, half blind, plants and side drapes."""
    c.rect(x0 - 0.03, y0 - 0.03, x1 + 0.03, y1 + 0.03, frame)
    dark = np.array([38, 44, 52]) + rng.uniform(-10, 14)
    c.rect(x0, y0, x1, y1, dark, light=1.0, glass=1.0)
    w, h = x1 - x0, y1 - y0
    pale = np.array([188, 182, 170]) + rng.uniform(-30, 20)
    if curtain == 1:
        c.rect(x0, y0, x1, y1, pale * 0.85, light=0.7, glass=0.35)
    elif curtain == 2:
        c.rect(x0, y1 - rng.uniform(0.3, 0.7) * h, x1, y1, pale * 0.9, light=0.5, glass=0.2)
    elif curtain == 3:
        c.rect(x0, y0, x0 + 0.22 * w, y1, pale * 0.75, light=0.6, glass=0.3)
        c.rect(x1 - 0.22 * w, y0, x1, y1, pale * 0.75, light=0.6, glass=0.3)
        c.rect(x0 + 0.3 * w, y0, x1 - 0.3 * w, y0 + 0.18 * h, (54, 88, 44), light=0.2)
    for i in range(1, panes[0]):
        x = x0 + w * i / panes[0]
        c.rect(x - bar, y0, x + bar, y1, frame)
    for j in range(1, panes[1]):
        y = y0 + h * j / panes[1]
        c.rect(x0, y - bar, x1, y + bar, frame)


# x0, y0, x1, y1, panes, surround: the opening of each upper-floor window style in fractions of the bay
_STYLES = (
    (0.28, 0.24, 0.72, 0.82, (2, 1), "sill"),
    (0.18, 0.26, 0.82, 0.80, (3, 1), "sill"),
    (0.34, 0.22, 0.66, 0.86, (1, 2), "lintel"),
    (0.30, 0.10, 0.70, 0.86, (2, 2), "rail"),
    (0.04, 0.34, 0.96, 0.80, (4, 1), "plain"),
    (0.33, 0.28, 0.67, 0.78, (2, 2), "shutters"),
    (0.22, 0.20, 0.78, 0.86, (4, 4), "arch"),
    (0.36, 0.40, 0.64, 0.74, (1, 1), "plain"),
    (0.03, 0.06, 0.97, 0.94, (2, 1), "curtain_wall"),
    (0.14, 0.24, 0.40, 0.84, (1, 2), "pair"),
    (0.26, 0.26, 0.74, 0.84, (2, 3), "surround"),
    (0.30, 0.20, 0.70, 0.78, (2, 1), "pediment"),
)


def _upper(size, style, variant, rng):
    x0, y0, x1, y1, panes, kind = _STYLES[style]
    c = BayCanvas(size)
    frame = [(225, 222, 214), (92, 70, 52), (60, 66, 70), (232, 230, 225)][style % 4]
    trim = np.array([205, 196, 180]) * rng.uniform(0.75, 1.1)
    if kind == "surround":
        c.rect(x0 - 0.09, y0 - 0.09, x1 + 0.09, y1 + 0.09, trim)
    if kind == "shutters":
        tone = np.array([(58, 92, 74), (120, 52, 42), (64, 78, 110), (110, 84, 56)][style % 4], np.float32)
        for a, b in ((x0 - 0.2, x0 - 0.03), (x1 + 0.03, x1 + 0.2)):
            for k in range(8):
                y = y0 + (y1 - y0) * k / 8
                c.rect(a, y, b, y + (y1 - y0) / 8, tone * (0.8 if k % 2 else 1.15))
    if kind == "pediment":
        c.rect(x0 - 0.1, y1 + 0.03, x1 + 0.1, y1 + 0.11, trim)
        c.rect(x0 - 0.03, y1 + 0.11, x1 + 0.03, y1 + 0.15, trim * 0.9)
    _glazing(c, x0, y0, x1, y1, frame, panes, variant, rng)
    if kind == "pair":
        _glazing(c, 1 - x1, y0, 1 - x0, y1, frame, panes, (variant + 1) % 4, rng)
    if kind in ("sill", "lintel", "surround", "pediment", "shutters"):
        c.rect(x0 - 0.06, y0 - 0.08, x1 + 0.06, y0 - 0.03, trim)
        c.rect(x0 - 0.06, y0 - 0.11, x1 + 0.06, y0 - 0.08, trim * 0.4, alpha=0.6)  # the shadow below the sill
    if kind in ("lintel", "arch"):
        c.rect(x0 - 0.07, y1 + 0.03, x1 + 0.07, y1 + 0.10, trim)
    if kind == "rail":
        for x in np.linspace(x0 - 0.05, x1 + 0.05, 9):
            c.rect(x - 0.008, y0, x + 0.008, y0 + 0.27, (34, 34, 36))
        c.rect(x0 - 0.06, y0 + 0.26, x1 + 0.06, y0 + 0.29, (34, 34, 36))
    c.rect(x0, y1 - 0.025, x1, y1, (18, 20, 22))  # the reveal's shadow
    return c


def _shop(size, variant, rng):
    c = BayCanvas(size)
    sign = np.array(
        [
            (150, 36, 34),
            (34, 70, 120),
            (36, 92, 62),
            (200, 160, 40),
            (60, 50, 58),
            (215, 210, 200),
            (120, 60, 110),
            (190, 96, 30),
        ][variant % 8],
        np.float32,
    )
    c.rect(0.02, 0.0, 0.98, 0.96, sign * 0.45 + 25)
    c.rect(0.07, 0.14, 0.93, 0.66, (46, 50, 56), light=1.0, glass=0.8)
    for _ in range(7):  # goods in the window
        x, y = rng.uniform(0.09, 0.8), rng.uniform(0.15, 0.45)
        c.rect(x, y, x + rng.uniform(0.03, 0.12), y + rng.uniform(0.04, 0.2), rng.uniform(30, 220, 3), 0.9, 0.3)
    if variant % 3 == 0:
        c.rect(0.62, 0.0, 0.88, 0.64, sign * 0.6 + 15)
        c.rect(0.66, 0.12, 0.84, 0.60, (40, 44, 50), 1.0, 0.8)
    else:
        c.rect(0.49, 0.14, 0.51, 0.66, sign * 0.5 + 20)
    c.rect(0.02, 0.70, 0.98, 0.94, sign, light=0.5)
    c.text(WORDS[variant % 16], 0.14, 0.73, 0.86, 0.91, (240, 236, 224) if sign.mean() < 150 else (30, 30, 34))
    return c


def _door(size, variant, rng):
    c = BayCanvas(size)
    tone = np.array([(96, 60, 38), (52, 74, 60), (60, 60, 84), (128, 44, 38), (70, 66, 62), (190, 186, 178)][variant])
    c.rect(0.26, 0.0, 0.74, 0.86, (178, 170, 156))
    c.rect(0.32, 0.04, 0.68, 0.70, tone)
    c.rect(0.36, 0.40, 0.48, 0.64, tone * 0.6, 0.4, 0.3)
    c.rect(0.52, 0.40, 0.64, 0.64, tone * 0.6, 0.4, 0.3)
    c.rect(0.36, 0.10, 0.48, 0.34, tone * 0.75)
    c.rect(0.52, 0.10, 0.64, 0.34, tone * 0.75)
    c.rect(0.32, 0.72, 0.68, 0.82, (60, 64, 66), 1.0, 0.7)
    c.rect(0.22, 0.0, 0.78, 0.05, (130, 126, 120))
    return c


def _garage(size, variant, rng):
    c = BayCanvas(size)
    tone = np.array([(200, 198, 192), (110, 112, 116), (96, 72, 54)][variant])
    c.rect(0.10, 0.0, 0.90, 0.76, tone * 0.6)
    for k in range(6):
        c.rect(0.13, 0.02 + 0.12 * k, 0.87, 0.12 + 0.12 * k, tone)
    return c


def _arch(size, variant, rng):
    c = BayCanvas(size)
    c.rect(0.14, 0.0, 0.86, 0.70, (24, 24, 26))
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, (size // 2, round(0.3 * size)), (round(0.36 * size), round(0.18 * size)), 0, 180, 360, 1, -1)
    c.rgb[mask > 0], c.alpha[mask > 0] = (24, 24, 26), 1.0
    if variant:
        c.rect(0.2, 0.0, 0.8, 0.55, (66, 46, 32))
    return c


def _sign(size, variant, rng):
    c = BayCanvas(size)
    ground, ink = [
        ((30, 70, 150), (240, 240, 240)),
        ((190, 30, 30), (245, 245, 240)),
        ((240, 205, 60), (20, 20, 20)),
        ((30, 110, 70), (240, 240, 235)),
        ((236, 236, 230), (40, 40, 44)),
    ][variant % 5]
    c.rect(0, 0, 1, 1, ink, light=0.3)
    c.rect(0.04, 0.06, 0.96, 0.94, ground, light=0.3)
    if variant % 2:
        c.text(WORDS[(variant * 5 + 2) % 16], 0.1, 0.3, 0.9, 0.7, ink)
    else:
        for _ in range(4):
            x, y = rng.uniform(0.08, 0.6), rng.uniform(0.1, 0.7)
            c.rect(x, y, x + rng.uniform(0.1, 0.3), y + rng.uniform(0.08, 0.25), rng.uniform(0, 255, 3), 0.3)
    return c


def draw_overlays(size: int, rng: np.random.Generator) -> dict[str, list[BayCanvas]]:
    """All overlay tiles by group; `upper` holds 4 interiors for each of 12 window styles."""
    return {
        "blank": [BayCanvas(size)],
        "upper": [_upper(size, s, v, rng) for s in range(len(_STYLES)) for v in range(4)],
        "shop": [_shop(size, v, rng) for v in range(16)],
        "door": [_door(size, v, rng) for v in range(6)],
        "garage": [_garage(size, v, rng) for v in range(3)],
        "arch": [_arch(size, v, rng) for v in range(2)],
        "sign": [_sign(size, v, rng) for v in range(16)],
    }
