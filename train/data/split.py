"""Which people training must not see: the corpus' split, by person and never by picture.

A person is "source/name" (train/data/inputs.py). A split names sources that are held out whole, and single
people of other sources. Of a source of which people are named, no others are held out; of every other
source, a fixed share by the hash of the person's name. So the same person falls on the same side in every
corpus of one split, whenever it is prepared.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engines.errors import DataError

HELD_OUT_SHARE = 0.04  # of the people of a source that the split does not mention
# A source -> another one with the same people, who are then held out of both
SAME_PEOPLE = {"nobody_expressions": "nobody_adults"}
# The default of `prepare --hold-out`: the sharpest photos of real people whole, and three of the clips of
# drivers.
DEFAULT_HOLD_OUT = ("portraits", "drivers/d9", "drivers/talk_a", "drivers/smile_onset")
NOTHING_NAMED = "none"  # of `prepare --hold-out`: only the share is held out


@dataclass(frozen=True)
class Split:
    """Which sources are held out whole, and which people ("source/name") of other sources."""

    sources: tuple[str, ...]
    people: tuple[str, ...]

    @classmethod
    def of(cls, hold_out: Sequence[str]) -> "Split":
        """From the values of --hold-out: SOURCE, SOURCE/NAME, or "none" alone.

        Raises DataError for an empty one.
        """
        named = [item.strip().strip("/") for item in hold_out]
        if not all(named):
            raise DataError(
                f"--hold-out needs the name of a source, or {NOTHING_NAMED}: give SOURCE or SOURCE/NAME."
            )
        if NOTHING_NAMED in named:
            if len(named) > 1:
                raise DataError(
                    f"--hold-out {NOTHING_NAMED} excludes every other --hold-out: leave out one or the other."
                )
            named = []
        return cls(
            tuple(sorted({item for item in named if "/" not in item})),
            tuple(sorted({item for item in named if "/" in item})),
        )

    @classmethod
    def from_manifest(cls, written: dict[str, Any]) -> "Split":
        """The split of a manifest. Raises ValueError for one that this version does not know.

        Manifests written before there was an option name the clips of "drivers" without their source.
        """
        if written.get("by") != "person" or written.get("held_out_share") != HELD_OUT_SHARE:
            raise ValueError(f"not by person with a share of {HELD_OUT_SHARE}")
        clips = [f"drivers/{clip}" for clip in written.get("held_out_clips", ())]
        return cls(
            tuple(sorted(written.get("held_out_sources", ()))),
            tuple(sorted([*clips, *written.get("held_out_people", ())])),
        )

    def to_manifest(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "by": "person",
            "held_out_share": HELD_OUT_SHARE,
            "held_out_sources": list(self.sources),
            "held_out_people": list(self.people),
        }

    def holds_out(self, person: str) -> bool:
        """Whether a person, "source/name", is kept from training."""
        source = person.split("/", 1)[0]
        if source in self.sources or person in self.people:
            return True
        if any(named.split("/", 1)[0] == source for named in self.people):
            return False
        name = person.removeprefix(source)
        hashed = (SAME_PEOPLE.get(source, source) + name).encode(errors="surrogateescape")
        return zlib.crc32(hashed) % 1000 < HELD_OUT_SHARE * 1000


DEFAULT_SPLIT = Split.of(DEFAULT_HOLD_OUT)
