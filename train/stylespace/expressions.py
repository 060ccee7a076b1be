"""One person who does not exist, drawn with many expressions: each checked, and each left out for a reason.

A picture is a function of its person's seed and its number: the order in which people are drawn, and by how
many processes, changes nothing.
"""

from dataclasses import dataclass

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import WIDE
from engines.face.landmarks import Face, FaceReader
from engines.face.mesh import align
from train.stylespace.actions import Action, Plan, Search, draw_plan
from train.stylespace.checks import (
    BEARD_LIMIT,
    BEARD_SEEN,
    MAX_SKULL_CHANGE,
    MIN_LIKENESS,
    Likeness,
    beard,
    glasses,
    glasses_changed,
    skull_change,
)
from train.stylespace.generator import FaceGenerator, LocalEdit, resized
from train.stylespace.masks import LOWER_LEFT, LOWER_RIGHT, REGIONS, region_masks

VERSION = 1  # of what a seed and a number give: raise it when anything that is drawn changes
PICTURE_PX = 512  # side of what is drawn: crops are taken at 256 and less
MAX_BASE_YAW_DEG = 20.0  # a person's own turn, to which others are added
SHARES = (1.0, 0.6)  # of a plan, that are tried in turn
SHAVES = (0.0, 0.2, 0.4)  # amounts of the direction that takes a beard off, or grows it

NO_FACE = "no face"
TURNED = f"synthetic face turned by more than {MAX_BASE_YAW_DEG:.0f} degrees"
LIDS_OPEN = "lids that do not shut"
BEARD_CHANGED = "a beard came or went"
GLASSES_CHANGED = "glasses came or went"
ANOTHER_PERSON = "the edit made another person"


@dataclass(frozen=True)
class Drawn:
    """A picture, and the face that is found in it."""

    number: int  # 0: the person as they are
    picture: np.ndarray  # (PICTURE_PX, PICTURE_PX, 3) uint8 BGR
    face: Face


class ExpressionDrawer:
    """Draws people of the generator with expressions."""

    def __init__(self, generator: FaceGenerator, reader: FaceReader, likeness: Likeness | None = None):
        """
        Args:
            generator: what draws.
            reader: finds the face in what was drawn.
            likeness: tells people apart; None: nothing does.
        """
        self.generator, self.likeness = generator, likeness
        self._reader = reader

    def draw(self, seed: int, count: int) -> list[Drawn | str]:
        """A person as they are and `count` expressions, numbered from 1; for what is left out, the reason."""
        w = self.generator.latent(seed)
        base = self.look(0, self.generator.styles(w))
        if base is None:
            return [NO_FACE]
        if abs(align(base.face.mesh_px)[1].angles_deg[1]) > MAX_BASE_YAW_DEG:
            return [TURNED]
        person = _Person(self, w, base)
        plans = [draw_plan(np.random.default_rng((seed, number))) for number in range(1, count + 1)]
        return [base, *(person.show(number, plan) for number, plan in enumerate(plans, 1))]

    def look(self, number: int, styles: list[np.ndarray], edit: LocalEdit | None = None) -> Drawn | None:
        """Draws styles and finds the face; None where there is none."""
        picture = resized(self.generator.draw(styles, edit), PICTURE_PX)
        faces = self._reader.read(picture)
        return Drawn(number, picture, faces[0]) if faces else None


class _Person:
    """One person: what they look like, and how strong an edit has to be for them."""

    def __init__(self, drawer: ExpressionDrawer, w: np.ndarray, base: Drawn):
        self._drawer, self._generator = drawer, drawer.generator
        self._w, self._base = w, base
        self._beard = beard(base.picture, base.face.landmarks_px)
        self._glasses = glasses(base.picture, base.face.landmarks_px)
        self._embedding = self._embed(base)
        self._strengths: dict[str, float | None] = {}  # of actions that are searched, by name

    def show(self, number: int, plan: Plan) -> Drawn | str:
        """The picture of a plan, weaker where all of it would be another person; or why there is none."""
        for share in SHARES:
            shown = self._attempt(number, plan.weaker(share))
            if shown != ANOTHER_PERSON:
                break
        return shown

    def _attempt(self, number: int, plan: Plan) -> Drawn | str:
        change = np.zeros((REGIONS, self._generator.channels), np.float32)
        for action, amount in plan.actions:
            strength = self._strength(action)
            if strength is None:
                return LIDS_OPEN
            change += amount * strength * self._whole(action)
        styles = self._generator.styles(self._w, plan.pitch_deg, plan.yaw_deg)
        masks = self._masks(styles if plan.turned else None)
        if masks is None:
            return NO_FACE
        drawn, beard_change = self._shaved(number, styles, LocalEdit(change, masks), plan.grows_hair)
        if drawn is None:
            return NO_FACE
        if self._is_another(drawn):
            return ANOTHER_PERSON
        if glasses_changed(self._glasses, glasses(drawn.picture, drawn.face.landmarks_px)):
            return GLASSES_CHANGED
        # A turned head is lit from elsewhere: its chin says nothing of a beard
        return BEARD_CHANGED if beard_change > BEARD_LIMIT and not plan.turned else drawn

    def _whole(self, action: Action) -> np.ndarray:
        """(REGIONS, C): the action at strength 1."""
        directions = self._generator.directions.edits
        edit = sum(strength * directions[name] for name, strength in action.edits.items())
        return action.region_weights()[:, None] * edit

    def _masks(self, turned: list[np.ndarray] | None) -> np.ndarray | None:
        """The regions of the face as it is, or turned by these styles; None where no face is found."""
        shown = self._base if turned is None else self._drawer.look(0, turned)
        return None if shown is None else region_masks(shown.face.landmarks_px, PICTURE_PX)

    def _strength(self, action: Action) -> float | None:
        """How strong the action has to be for this person; None where no strength does it."""
        if action.search is None:
            return 1.0
        if action.name not in self._strengths:
            self._strengths[action.name] = self._search(action, action.search)
        return self._strengths[action.name]

    def _search(self, action: Action, search: Search) -> float | None:
        styles, masks = (
            self._generator.styles(self._w),
            region_masks(self._base.face.landmarks_px, PICTURE_PX),
        )
        best, reached = None, self._reading(self._base, search)
        for strength in search.strengths:
            drawn = self._drawer.look(0, styles, LocalEdit(strength * self._whole(action), masks))
            if drawn is None or self._is_another(drawn):
                break
            reading = self._reading(drawn, search)
            if search.bar is not None:
                if reading >= search.bar:
                    return strength
                continue
            if best is not None and reading < reached + search.growth:
                break
            best, reached = strength, reading
        return best

    @staticmethod
    def _reading(drawn: Drawn, search: Search) -> float:
        """The weakest of the AUs that are searched for."""
        aus = au_estimator.measure(drawn.face)
        return float(min(aus[WIDE.index(name)] for name in search.aus))

    def _shaved(
        self, number: int, styles: list[np.ndarray], edit: LocalEdit, grows_hair: bool
    ) -> tuple[Drawn | None, float]:
        """The edit, with the beard as it was as far as that goes, and by how many grey levels it is not."""
        best: Drawn | None = None
        least, sign = np.inf, 1.0
        for amount in SHAVES if grows_hair else SHAVES[:1]:
            shave = np.zeros_like(edit.change)
            shave[[LOWER_RIGHT, LOWER_LEFT]] = sign * amount * self._generator.directions.edits["shave"]
            drawn = self._drawer.look(number, styles, LocalEdit(edit.change + shave, edit.masks))
            if drawn is None:
                continue
            change = beard(drawn.picture, drawn.face.landmarks_px) - self._beard
            if best is None:
                sign = 1.0 if change > 0 else -1.0
            if abs(change) < least:
                best, least = drawn, abs(change)
            if least < BEARD_SEEN:
                break
        return best, least

    def _is_another(self, drawn: Drawn) -> bool:
        if skull_change(drawn.face.mesh_px, self._base.face.mesh_px) > MAX_SKULL_CHANGE:
            return True
        embedding = self._embed(drawn)
        if embedding is None or self._embedding is None:
            return False
        return float(embedding @ self._embedding) < MIN_LIKENESS

    def _embed(self, drawn: Drawn) -> np.ndarray | None:
        likeness = self._drawer.likeness
        return None if likeness is None else likeness(drawn.picture, drawn.face.landmarks_px)
