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
    (246, 214, 192), (238, 196, 168), (228, 180, 146), (208, 156, 120),
    (182, 128, 92), (148, 98, 68), (112, 72, 50), (84, 54, 40),
)  # fmt: skip

_HAIRS = (
    (30, 24, 22), (46, 32, 26), (74, 48, 34), (104, 68, 44), (142, 98, 60),
    (188, 146, 92), (216, 184, 130), (128, 58, 34), (150, 146, 142),
)  # fmt: skip

_EYES = ((70, 46, 30), (86, 60, 36), (84, 110, 130), (82, 96, 62))
_GLASSES = ((24, 22, 24), (66, 44, 30), (30, 42, 56))
_DENIMS = ((38, 50, 80), (60, 86, 126), (110, 140, 174), (44, 46, 52))

# Trouser fits: the share of people, and the ease at hip, knee and ankle.
_FITS = {
    "skinny": (0.35, (0.02, 0.03, 0.03)),
    "straight": (0.35, (0.05, 0.09, 0.12)),
    "wide": (0.12, (0.1, 0.2, 0.33)),
    "tapered": (0.18, (0.1, 0.1, 0.06)),
}


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


def _one_of(rng: np.random.Generator, colors: tuple) -> np.ndarray:
    return np.array(colors[rng.integers(len(colors))], np.float64)


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
    color, sole = random_color(rng, 0.75), (235, 232, 226)
    if kind != "sneaker" or rng.random() >= 0.75:
        sole = tint(color, -0.6)
    return Shoes(
        kind=kind,
        upper=solid(
            color, {"sneaker": 0.05, "oxford": 0.3, "heel": 0.3}.get(kind, 0.15)
        ),
        sole=solid(sole),
        detail=contrast(color, 0.7, 0.5, 140),
        sole_height={"sneaker": 0.085, "boot": 0.07}.get(kind, 0.035),
        shaft=float(rng.uniform(0.25, 0.8)) if kind == "boot" else 0.0,
    )


def _random_looks(
    rng: np.random.Generator, feminine: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Colors of skin and hair, and how the hair is worn."""
    skin = np.clip(_one_of(rng, _SKINS) + rng.normal(0, 4, 3), 30, 250)
    hair = _one_of(rng, _HAIRS)
    if skin.mean() < 130:
        hair = _one_of(rng, _HAIRS[:3])
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
    color = _one_of(rng, _DENIMS) if denim else random_color(rng, 0.8)
    if np.abs(color - top.color).sum() < 60:
        color = contrast(top.color, 0.5, 0.55, 120)
    kinds = {"plain": 1.0} if denim else BOTTOM_KINDS
    kinds = DRESS_KINDS if skirt else kinds
    return random_cloth(rng, kinds, color, "denim" if denim else "cotton")


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
        return neckline, float(rng.choice([1.93, 1.9, 1.5]))
    lengths, shares = [1.92, 1.3, 0.62, 0.5, 0.0], [0.3, 0.1, 0.25, 0.2, 0.15]
    sleeve = float(rng.choice(lengths, p=shares))
    if sleeve == 0.0 and not feminine and rng.random() < 0.7:
        sleeve = 0.6
    return neckline, sleeve


def _random_trousers(
    rng: np.random.Generator, shorts: bool
) -> tuple[float, tuple[float, float, float]]:
    """Where trousers end, and their ease at hip, knee and ankle."""
    fit = str(rng.choice(list(_FITS), p=[share for share, _ in _FITS.values()]))
    end = float(rng.choice([1.96, 1.93, 1.75], p=[0.5, 0.3, 0.2]))
    if shorts:
        return float(rng.uniform(0.45, 0.95)), (0.08, 0.1, 0.1)
    return end, _FITS[fit][1]


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
    feminine, winter = body.feminine, bool(rng.random() < 0.35)
    skin, hair, style = _random_looks(rng, feminine)
    roll = rng.random()
    kind = "top"
    if feminine and roll < 0.24:
        kind = "dress"
    elif roll > (0.9 if feminine else 0.95):
        kind = "jumpsuit"
    separate = kind == "top"
    skirt = separate and feminine and rng.random() < 0.4
    shorts = separate and not skirt and not winter and rng.random() < 0.22
    bottom_kind = "skirt" if skirt or kind == "dress" else "pants"
    denim = bottom_kind == "pants" and separate and rng.random() < 0.4
    weave = "knit" if winter and separate else "cotton"
    top = random_cloth(rng, TOP_KINDS if separate else DRESS_KINDS, weave=weave)
    bottom = _random_bottom(rng, top, denim, skirt) if separate else top
    neckline, sleeve = _random_neckline(rng, kind, feminine, winter)
    leg_end, leg_ease = _random_trousers(rng, shorts)
    coat = _random_coat(rng, top, winter)

    def maybe(share: float, kinds: dict, **options: object) -> Material | None:
        return random_cloth(rng, kinds, **options) if rng.random() < share else None

    bare = bottom_kind == "skirt" or leg_end < 1.85
    socks = None
    if rng.random() < (0.4 if bare else 0.6):
        kinds, color = {"plain": 3, "rings": 2}, random_color(rng)
        socks = random_cloth(rng, kinds, color, folds=0.3)
    heel = min(body.pitch.values()) > 0.3
    badge = sunglasses = None
    if separate and top.is_plain and rng.random() < 0.25:
        badge = contrast(top.color, 0.75, 0.6, 130)
    if rng.random() < 0.2:
        sunglasses = _one_of(rng, _GLASSES)
    skirts = [0.6, 0.75, 0.95, 1.3, 1.75], [0.2, 0.25, 0.25, 0.15, 0.15]
    # What follows is drawn in the order of these lines.
    return Outfit(
        skin=solid(skin, 0.05),
        hair=Material(hair_tile(rng, hair, style == "curly"), 0.9, gloss=0.1),
        hair_style=style,
        hair_length=float(rng.uniform(0.75, 1.5)),
        parting=float(rng.choice([0.0, -0.14, 0.14]) + rng.normal(0, 0.02)),
        beard=bool(not feminine and rng.random() < 0.35),
        lips=skin * (0.86, 0.6, 0.6) if feminine else skin * (0.88, 0.72, 0.7),
        iris=_one_of(rng, _EYES),
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
            rng.choice(skirts[0], p=skirts[1]) + rng.uniform(-0.06, 0.06)
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
        scarf=maybe(
            0.4 if winter else 0.06, {"plain": 2, "plaid": 2, "rings": 1}, weave="knit"
        ),
        hat=maybe(0.26, {"plain": 5, "rings": 0.6}, folds=0.3),
        hat_kind=str(rng.choice(["beanie", "brim", "cap", "bucket"])),
        hat_band=random_color(rng, 0.9),
        sunglasses=sunglasses,
    )
