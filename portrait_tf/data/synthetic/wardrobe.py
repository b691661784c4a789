"""What a person looks like: skin, hair and clothes.

Conventions:
    * Lengths of sleeves, trousers and socks count limb segments: 1 is elbow or knee,
      2 is wrist or ankle. Lengths on the trunk are shares of neck to pelvis.
    * An ease is the room between skin and cloth, in heads.
"""

from dataclasses import dataclass

import numpy as np

from portrait_tf.data.synthetic.body import Body
from portrait_tf.data.synthetic.materials import (
    BOTTOM_KINDS,
    DRESS_KINDS,
    TOP_KINDS,
    Material,
    contrast,
    hair_tile,
    random_cloth,
    random_color,
    solid,
    tint,
)

_SKINS = (
    (246, 214, 192),
    (238, 196, 168),
    (228, 180, 146),
    (208, 156, 120),
    (182, 128, 92),
    (148, 98, 68),
    (112, 72, 50),
    (84, 54, 40),
)

_HAIRS = (
    (30, 24, 22),
    (46, 32, 26),
    (74, 48, 34),
    (104, 68, 44),
    (142, 98, 60),
    (188, 146, 92),
    (216, 184, 130),
    (128, 58, 34),
    (150, 146, 142),
)


@dataclass(frozen=True)
class Shoes:
    """One design, worn on both feet."""

    kind: str
    upper: Material
    sole: Material
    detail: np.ndarray
    sole_height: float
    shaft: float


@dataclass(frozen=True)
class Outfit:
    """What a person looks like apart from build and pose."""

    skin: Material
    hair: Material
    hair_style: str
    hair_length: float
    parting: float
    beard: bool
    lips: np.ndarray
    iris: np.ndarray
    kind: str
    top: Material
    neckline: str
    sleeve: float
    sleeve_ease: float
    hem: float
    top_ease: float
    tucked: bool
    buttons: bool
    badge: np.ndarray | None
    coat: Material | None
    coat_length: float
    coat_opening: float
    bottom: Material
    bottom_kind: str
    leg_end: float
    leg_ease: tuple[float, float, float]
    skirt_length: float
    flare: float
    pleats: float
    belt: np.ndarray | None
    shoes: Shoes
    socks: Material | None
    sock_height: float
    gloves: Material | None
    scarf: Material | None
    hat: Material | None
    hat_kind: str
    hat_band: np.ndarray
    sunglasses: np.ndarray | None

    @property
    def top_label(self) -> str:
        """The label of what covers the chest under a coat."""
        whole = {"dress": "Dress", "jumpsuit": "Jumpsuits"}
        return whole.get(self.kind, "UpperClothes")


def _random_shoes(
    rng: np.random.Generator, feminine: bool, heel: bool, winter: bool
) -> Shoes:
    if heel:
        kind = str(rng.choice(["heel", "heel", "boot"]))
    elif feminine:
        kind = str(rng.choice(["sneaker", "flat", "boot", "boot"]))
    else:
        kind = str(rng.choice(["sneaker", "sneaker", "oxford", "boot"]))
    if winter and kind == "flat":
        kind = "boot"
    color = random_color(rng, 0.75)
    gloss = {"sneaker": 0.05, "oxford": 0.3, "heel": 0.3}.get(kind, 0.15)
    dark_sole = tint(color, -0.6)
    sole = (235, 232, 226) if kind == "sneaker" and rng.random() < 0.75 else dark_sole
    shaft = float(rng.uniform(0.25, 0.8)) if kind == "boot" else 0.0
    return Shoes(
        kind=kind,
        upper=solid(color, gloss),
        sole=solid(sole),
        detail=contrast(color, 0.7, 0.5, 140),
        sole_height={"sneaker": 0.085, "boot": 0.07}.get(kind, 0.035),
        shaft=shaft,
    )


def _random_looks(
    rng: np.random.Generator, feminine: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Colors of skin and hair, and how the hair is worn."""
    skin = np.array(_SKINS[rng.integers(len(_SKINS))], np.float64) + rng.normal(0, 4, 3)
    skin = np.clip(skin, 30, 250)
    hair = np.array(_HAIRS[rng.integers(len(_HAIRS))], np.float64)
    if skin.mean() < 130:
        hair = np.array(_HAIRS[rng.integers(3)], np.float64)
    elif rng.random() < 0.04:
        hair = random_color(rng, 0.0)
    if feminine:
        styles = ["long", "wavy", "bob", "bun", "ponytail", "short", "curly", "fringe"]
        weights = [0.25, 0.18, 0.14, 0.12, 0.1, 0.05, 0.08, 0.08]
    else:
        styles = ["short", "quiff", "curly", "buzz", "bob", "bun"]
        weights = [0.42, 0.26, 0.12, 0.1, 0.06, 0.04]
    return skin, hair, str(rng.choice(styles, p=weights))


def _random_bottom(
    rng: np.random.Generator, top: Material, denim: bool, skirt: bool
) -> Material:
    """Cloth of trousers or a skirt whose color differs from the top's."""
    blues = [(38, 50, 80), (60, 86, 126), (110, 140, 174), (44, 46, 52)]
    color = blues[rng.integers(4)] if denim else random_color(rng, 0.8)
    if np.abs(np.asarray(color) - top.color).sum() < 60:
        color = contrast(top.color, 0.5, 0.55, 120)
    kinds = {"plain": 1.0} if denim else BOTTOM_KINDS
    kinds = DRESS_KINDS if skirt else kinds
    return random_cloth(rng, kinds, np.asarray(color), "denim" if denim else "cotton")


def _random_neckline(
    rng: np.random.Generator, kind: str, feminine: bool, winter: bool
) -> tuple[str, float]:
    """The neckline, and the length of the sleeves."""
    necklines = ["crew", "crew", "v", "scoop", "collar", "turtle", "boat"]
    weights = [3, 1, 2, 2 * feminine, 2.2, 1.5 * winter + 0.2, 1.0 * feminine]
    neckline = str(rng.choice(necklines, p=np.array(weights) / sum(weights)))
    if kind == "dress" and neckline == "turtle":
        neckline = "scoop"
    if winter:
        sleeve = float(rng.choice([1.93, 1.9, 1.5]))
    else:
        sleeve = float(
            rng.choice([1.92, 1.3, 0.62, 0.5, 0.0], p=[0.3, 0.1, 0.25, 0.2, 0.15])
        )
    if sleeve == 0.0 and not feminine and rng.random() < 0.7:
        sleeve = 0.6
    return neckline, sleeve


def _random_trousers(
    rng: np.random.Generator, shorts: bool
) -> tuple[float, tuple[float, float, float]]:
    """Where trousers end, and their ease at hip, knee and ankle."""
    fit = str(
        rng.choice(
            ["skinny", "straight", "wide", "tapered"], p=[0.35, 0.35, 0.12, 0.18]
        )
    )
    ease = {
        "skinny": (0.02, 0.03, 0.03),
        "straight": (0.05, 0.09, 0.12),
        "wide": (0.1, 0.2, 0.33),
        "tapered": (0.1, 0.1, 0.06),
    }[fit]
    end = float(rng.choice([1.96, 1.93, 1.75], p=[0.5, 0.3, 0.2]))
    if shorts:
        end, ease = float(rng.uniform(0.45, 0.95)), (0.08, 0.1, 0.1)
    return end, ease


def _random_coat(
    rng: np.random.Generator, top: Material, winter: bool
) -> Material | None:
    if rng.random() >= (0.62 if winter else 0.2):
        return None
    color = random_color(rng, 0.85)
    if np.abs(color - top.color).sum() < 90:
        color = contrast(top.color, 0.45, 0.5, 110)
    return random_cloth(rng, {"plain": 6, "plaid": 1, "stripes": 0.3}, color)


def random_outfit(rng: np.random.Generator, body: Body) -> Outfit:
    """Skin, hair and clothes that go together and with the season."""
    feminine = body.feminine
    winter = bool(rng.random() < 0.35)
    skin, hair, style = _random_looks(rng, feminine)
    roll = rng.random()
    kind = "top"
    if feminine and roll < 0.24:
        kind = "dress"
    elif roll > (0.9 if feminine else 0.95):
        kind = "jumpsuit"
    skirt = kind == "top" and feminine and rng.random() < 0.4
    shorts = kind == "top" and not skirt and not winter and rng.random() < 0.22
    bottom_kind = "skirt" if skirt or kind == "dress" else "pants"
    denim = bottom_kind == "pants" and kind == "top" and rng.random() < 0.4
    top = random_cloth(
        rng,
        DRESS_KINDS if kind != "top" else TOP_KINDS,
        weave="knit" if winter and kind == "top" else "cotton",
    )
    bottom = _random_bottom(rng, top, denim, skirt) if kind == "top" else top
    neckline, sleeve = _random_neckline(rng, kind, feminine, winter)
    leg_end, leg_ease = _random_trousers(rng, shorts)
    coat = _random_coat(rng, top, winter)
    bare = bottom_kind == "skirt" or leg_end < 1.85
    socks = None
    if rng.random() < (0.4 if bare else 0.6):
        socks = random_cloth(
            rng, {"plain": 3, "rings": 2}, random_color(rng), folds=0.3
        )
    heel = min(body.pitch.values()) > 0.3
    badge = None
    if kind == "top" and top.is_plain and rng.random() < 0.25:
        badge = contrast(top.color, 0.75, 0.6, 130)
    sunglasses = None
    if rng.random() < 0.2:
        sunglasses = np.array(
            [(24, 22, 24), (66, 44, 30), (30, 42, 56)][rng.integers(3)]
        )
    return Outfit(
        skin=solid(skin, 0.05),
        hair=Material(hair_tile(rng, hair, style == "curly"), 0.9, gloss=0.1),
        hair_style=style,
        hair_length=float(rng.uniform(0.75, 1.5)),
        parting=float(rng.choice([0.0, -0.14, 0.14]) + rng.normal(0, 0.02)),
        beard=bool(not feminine and rng.random() < 0.35),
        lips=skin * (0.86, 0.6, 0.6) if feminine else skin * (0.88, 0.72, 0.7),
        iris=np.array([(70, 46, 30), (86, 60, 36), (84, 110, 130), (82, 96, 62)])[
            rng.integers(4)
        ],
        kind=kind,
        top=top,
        neckline=neckline,
        sleeve=sleeve,
        sleeve_ease=float(rng.uniform(0.03, 0.1)),
        hem=float(rng.uniform(1.02, 1.2)),
        top_ease=float(rng.uniform(0.02, 0.12)),
        tucked=bool(skirt or rng.random() < 0.35),
        buttons=bool(neckline == "collar" or rng.random() < 0.1),
        badge=badge,
        coat=coat,
        coat_length=float(rng.choice([0.15, 0.75, 1.0, 1.35]) + rng.uniform(-0.1, 0.1)),
        coat_opening=float(rng.uniform(0.14, 0.3)),
        bottom=bottom,
        bottom_kind=bottom_kind,
        leg_end=leg_end,
        leg_ease=leg_ease,
        skirt_length=float(
            rng.choice([0.6, 0.75, 0.95, 1.3, 1.75], p=[0.2, 0.25, 0.25, 0.15, 0.15])
            + rng.uniform(-0.06, 0.06)
        ),
        flare=float(rng.choice([0.02, 0.12, 0.3]) * rng.uniform(0.8, 1.2)),
        pleats=float(rng.choice([0.08, 0.22, 0.36])),
        belt=random_color(rng, 0.9) if rng.random() < 0.4 else None,
        shoes=_random_shoes(rng, feminine, heel, winter),
        socks=socks,
        sock_height=float(rng.choice([1.72, 1.6, 1.12], p=[0.5, 0.3, 0.2])),
        gloves=solid(random_color(rng, 0.8), 0.08)
        if rng.random() < (0.25 if winter else 0.04)
        else None,
        scarf=random_cloth(rng, {"plain": 2, "plaid": 2, "rings": 1}, weave="knit")
        if rng.random() < (0.4 if winter else 0.06)
        else None,
        hat=random_cloth(rng, {"plain": 5, "rings": 0.6}, folds=0.3)
        if rng.random() < 0.26
        else None,
        hat_kind=str(rng.choice(["beanie", "brim", "cap", "bucket"])),
        hat_band=random_color(rng, 0.9),
        sunglasses=sunglasses,
    )
