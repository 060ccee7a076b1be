"""What a face of the generator can be made to do, and random combinations of it.

Strengths were chosen on 24 people that the directions had not seen. Left out, since the generator hardly does
them: eyes up and down (.04 of an eye's width), a funnel (AU22 + .13), one side of a mouth, a tongue, puffed
cheeks. A yawn is no wider than AU26 + .4. Warped photos and clips have to teach those.
"""

from dataclasses import dataclass

import numpy as np

from train.stylespace.masks import BROWS, EYE_LEFT, EYE_RIGHT, LOWER_LEFT, LOWER_RIGHT, REGIONS

MOUTH_SHARE = 0.8  # of the pictures move the mouth
BROW_SHARE = 0.4
EYE_SHARE = 0.65
TURN_SHARE = 0.35
MAX_YAW_DEG = 20.0  # beyond it a person becomes another
MAX_PITCH_DEG = 8.0
FULL_SHARE = 0.5  # of the pictures whose strength is searched show it whole, the rest a part


@dataclass(frozen=True)
class Search:
    """How strong an action is made for one person: the strengths are tried in turn.

    With a `bar`, up to the first at which every AU of `aus` reads that much, and the action is left out where
    none does. Without, as long as `aus` grow by `growth`.
    """

    aus: tuple[str, ...]
    strengths: tuple[float, ...]
    bar: float | None = None
    growth: float = 0.03


@dataclass(frozen=True)
class Action:
    """One edit, confined to regions of the face."""

    name: str
    edits: dict[str, float]  # direction -> strength
    regions: dict[int, float]  # region -> weight
    share: float = 1.0  # among the actions of its part of the face
    grows_hair: bool = False  # closing a mouth grows stubble, smiling shaves it
    search: Search | None = None

    def region_weights(self) -> np.ndarray:
        """(REGIONS,) float32."""
        weights = np.zeros(REGIONS, np.float32)
        weights[list(self.regions)] = list(self.regions.values())
        return weights


@dataclass(frozen=True)
class Plan:
    """What one picture shall show."""

    actions: tuple[tuple[Action, float], ...]  # with amounts: 1 is the whole action
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0

    def weaker(self, share: float) -> "Plan":
        """The same, of which only a share is done."""
        actions = tuple((action, share * amount) for action, amount in self.actions)
        return Plan(actions, share * self.pitch_deg, share * self.yaw_deg)

    @property
    def turned(self) -> bool:
        """Whether the head is to be turned."""
        return self.pitch_deg != 0 or self.yaw_deg != 0

    @property
    def grows_hair(self) -> bool:
        """Whether a beard may come or go by it."""
        return any(action.grows_hair for action, _ in self.actions)


LOWER = {LOWER_RIGHT: 1.0, LOWER_LEFT: 1.0}
EYES = {EYE_RIGHT: 1.0, EYE_LEFT: 1.0}
FOREHEAD = {BROWS: 1.0, EYE_RIGHT: 0.5, EYE_LEFT: 0.5}
SHUT = 0.95  # of AU45: no iris is left to be seen
WINK = 0.8  # the mesh leans to faces whose eyes do the same, and reads a shut eye beside an open one as less
SHUTTING = (0.9, 1.1, 1.3, 1.6, 2.0)  # 1.1 shuts most; beyond it, lids swell and take on make-up
WIDEST = Search(("AU26",), (0.8, 1.1, 1.4, 1.7))  # beyond, noses and teeth break

# Closing a mouth and dropping a jaw grow stubble, so a share of "shave" goes with them: by it a chin stays as
# bright as it was, over 15 people
MOUTHS = (
    Action("smile", {"smile": 1.1}, LOWER),
    Action("grin", {"grin": 0.9}, LOWER),
    Action("rest", {"rest": 0.9}, LOWER, grows_hair=True),
    Action("closed smile", {"closed_smile": 1.0, "shave": 0.3}, LOWER, grows_hair=True),
    Action("press", {"press": 0.9, "shave": 0.35}, LOWER, grows_hair=True),
    Action("sad", {"sad": 1.1, "shave": 0.2}, LOWER, grows_hair=True),
    Action("jaw", {"jaw": 1.0, "shave": 0.25}, LOWER, grows_hair=True, search=WIDEST),
    Action("open", {"rest": 0.6, "jaw": 1.0, "shave": 0.3}, LOWER, grows_hair=True, search=WIDEST),
    Action("pout", {"rest": 0.8, "pout": 0.9, "shave": 0.15}, LOWER, grows_hair=True),
    Action("sneer", {"sneer": 0.9}, dict.fromkeys(range(REGIONS), 1.0)),
)
EYE_ACTIONS = (
    Action("lids", {"lids": 1.0}, EYES, 0.32, search=Search(("AU45R", "AU45L"), SHUTTING, SHUT)),
    Action("wink right", {"lids": 1.0}, {EYE_RIGHT: 1.0}, 0.09, search=Search(("AU45R",), SHUTTING, WINK)),
    Action("wink left", {"lids": 1.0}, {EYE_LEFT: 1.0}, 0.09, search=Search(("AU45L",), SHUTTING, WINK)),
    Action("wide", {"wide": 1.4}, EYES, 0.12),
    Action("gaze right", {"gaze_right": 1.1}, EYES, 0.19),
    Action("gaze left", {"gaze_left": 0.9}, EYES, 0.19),
)
BROW_ACTIONS = (
    Action("brows up", {"brows_up": 1.0}, FOREHEAD),
    Action("worry", {"worry": 1.0}, FOREHEAD),
    Action("frown", {"frown": 1.1}, FOREHEAD),
)
ACTIONS = {action.name: action for action in (*MOUTHS, *EYE_ACTIONS, *BROW_ACTIONS)}


def draw_plan(rng: np.random.Generator) -> Plan:
    """A random combination of mouth, brows, eyes and head, of which at least one moves."""
    while True:
        actions = []
        for share, choices in ((MOUTH_SHARE, MOUTHS), (BROW_SHARE, BROW_ACTIONS), (EYE_SHARE, EYE_ACTIONS)):
            if rng.random() < share:
                shares = np.array([action.share for action in choices])
                action = choices[int(rng.choice(len(choices), p=shares / shares.sum()))]
                actions.append((action, _draw_amount(rng, action)))
        pitch_deg = yaw_deg = 0.0
        if rng.random() < TURN_SHARE:
            yaw_deg = float(rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG))
            pitch_deg = float(rng.uniform(-MAX_PITCH_DEG, MAX_PITCH_DEG))
        if actions or yaw_deg:
            return Plan(tuple(actions), pitch_deg, yaw_deg)


def _draw_amount(rng: np.random.Generator, action: Action) -> float:
    if action.search is None:
        return float(rng.uniform(0.4, 1.1))
    return 1.0 if rng.random() < FULL_SHARE else float(rng.uniform(0.4, 1.0))
