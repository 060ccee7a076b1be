"""What a clip has in it, found by reading it once without decoding: which track, when each frame is shown.

What a header says of the number of frames, the rate or the duration is a hint: of streams, phones and cut
files it is wrong. The frames that are there are counted.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from engines.errors import DriverError
from engines.video import frame_times

NO_PTS = np.iinfo(np.int64).min
MAX_FAULTS = 100  # in a row, after which the rest of a damaged file is given up
CUT_S = 0.25  # a file that ends so much before the end that it claims was cut
NO_VIDEO = (  # tracks that are no video: covers, thumbnails
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
)
CLIP_SUFFIXES = frozenset(
    (".mp4 .m4v .mov .3gp .avi .mkv .webm .wmv .flv .ogv .mpg .mpeg .ts .mts .m2ts").split()
)
OTHER_CLIPS = "give an MP4, MOV, MKV or WebM clip with a face in it"
VP8_SHOWN = 0x10  # of a packet's first byte; without it the picture is only a reference (RFC 6386, 9.1)


def open_container(path: str | Path) -> InputContainer:
    """Opens a video file. Raises DriverError."""
    try:
        # An absolute path: FFmpeg takes "a:" for a protocol.
        return av.open(os.path.abspath(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise DriverError(f"The clip {path} cannot be read", "check its permissions") from error
        raise DriverError(
            f"{path} is not a video that can be played; it may have been cut short", OTHER_CLIPS
        ) from error


def packets(container: InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """The packets of a file that have data, as far as it can be read, past places that are damaged.

    streams: of which; of all where none is named.
    """
    faults = 0
    while faults < MAX_FAULTS:
        try:
            for packet in container.demux(*streams):
                if packet.size:
                    faults = 0
                    yield packet
            return
        except (av.FFmpegError, ValueError):
            faults += 1


def video_tracks(container: InputContainer, path: str | Path) -> list[VideoStream]:
    """The video tracks, that which is meant to be played first. Raises DriverError where there is none."""
    tracks = [each for each in container.streams.video if not each.disposition & NO_VIDEO]
    if not tracks:
        what = "only a cover picture" if container.streams.video else "no video"
        raise DriverError(f"There is {what} in {path}", OTHER_CLIPS)
    decodable = [each for each in tracks if each.codec_context is not None]
    if not decodable:
        raise DriverError(f"The video in {path} is of an unknown kind", "convert it to MP4 (H.264)")
    best = container.streams.best("video")
    return sorted(
        decodable, key=lambda each: (not each.disposition & Disposition.default, each != best, each.index)
    )


@dataclass
class _Track:
    """What was read of one track, in the file's order."""

    tick_s: float
    pts: list[int] = field(default_factory=list)
    stamps_s: list[float] = field(default_factory=list)  # when shown, NaN where unknown
    decoded_s: list[float] = field(default_factory=list)  # when decoded, NaN where unknown
    durations_s: list[float] = field(default_factory=list)  # 0 where unknown

    def add(self, packet: av.Packet) -> None:
        """Takes a packet's times."""
        stamp = packet.dts if packet.pts is None else packet.pts
        self.pts.append(NO_PTS if packet.pts is None else packet.pts)
        self.stamps_s.append(np.nan if stamp is None else stamp * self.tick_s)
        self.decoded_s.append(np.nan if packet.dts is None else packet.dts * self.tick_s)
        self.durations_s.append((packet.duration or 0) * self.tick_s)


@dataclass(frozen=True, eq=False)
class ClipIndex:
    """The frames of a clip's video track, in the order in which they are shown."""

    path: str | Path
    track: int  # the stream's index in the file
    rate: Fraction  # nominal frames a second
    pts: np.ndarray  # (N,) int64, by which a decoded frame is recognised; NO_PTS where there is none
    segment: np.ndarray  # (N,) int, how often time had started again before
    places: np.ndarray  # (N,) int, strictly rising: frames begin at place / rate seconds
    length: int  # places in all: the clip lasts length / rate seconds
    stretches: tuple[frame_times.Stretch, ...]  # of the file's own time
    notes: tuple[str, ...]  # what the user should know, a sentence each
    cut: bool  # whether the file ends before the end that it claims

    @property
    def duration_s(self) -> float:
        return self.length / float(self.rate)

    @property
    def can_seek(self) -> bool:
        """Whether a stamp names one frame."""
        return self.segment[-1] == 0 and not (self.pts == NO_PTS).any()

    def find(self, pts: int | None, first: int, last_pts: int | None) -> int:
        """Which frame a decoded one is.

        Args:
            pts: its stamp.
            first: that it can be: the one after the frame before.
            last_pts: the stamp of the frame before.
        """
        first = min(first, len(self.pts) - 1)
        if pts is None or self.pts[first] == pts:
            return first
        segment = self.segment[first]
        later = first + np.flatnonzero(self.pts[first:] == pts)
        fell = last_pts is not None and pts < last_pts
        fitting = [int(each) for each in later[:2] if fell or self.segment[each] == segment]
        return fitting[0] if fitting else first


def read_index(path: str | Path) -> ClipIndex:
    """Reads a clip once, from its beginning to its end. Raises DriverError."""
    with open_container(path) as container:
        streams = video_tracks(container, path)
        vp8 = {each.index for each in streams if each.codec_context.name == "vp8"}
        tracks = {each.index: _Track(float(each.time_base or 1)) for each in streams}
        starts_s, ends_s = [], []
        for packet in packets(container):
            if packet.pts is not None and packet.time_base:
                starts_s.append(float(packet.pts * packet.time_base))
                ends_s.append(float((packet.pts + (packet.duration or 0)) * packet.time_base))
            hidden = packet.stream_index in vp8 and not bytes(packet)[0] & VP8_SHOWN
            if packet.stream_index in tracks and not hidden:
                tracks[packet.stream_index].add(packet)
        stream = next((each for each in streams if tracks[each.index].pts), None)
        if stream is None:
            raise DriverError(f"{path} has no pictures in it", "give another clip")
        claimed_s = (container.duration or 0) / av.time_base
        there_s = max(ends_s) - min(starts_s) if starts_s else claimed_s
        return _index(path, stream, tracks[stream.index], claimed_s, there_s)


def _index(
    path: str | Path, stream: VideoStream, track: _Track, claimed_s: float, there_s: float
) -> ClipIndex:
    """The index of the track that is played.

    Args:
        claimed_s: how long the file says it lasts; 0 where it does not say.
        there_s: from its first packet to its last, of all tracks.
    """
    hints = [rate for rate in (stream.base_rate, stream.guessed_rate) if rate]
    known = track.decoded_s if np.isfinite(track.decoded_s).any() else track.stamps_s
    decoded_s = frame_times.without_strays(np.array(known))
    strays = np.isnan(decoded_s) & np.isfinite(known)
    stamps_s = _filled(np.where(strays, np.nan, track.stamps_s), hints)
    segment = frame_times.segments(decoded_s)
    order = np.lexsort((stamps_s, segment))
    timeline = frame_times.timeline(stamps_s[order], segment[order])
    rate = frame_times.nominal_rate(timeline.times_s, hints)
    places = frame_times.frame_places(timeline.times_s, rate)
    durations_s = np.array(track.durations_s)[order]
    length = frame_times.count_places(places, timeline.times_s, durations_s, rate)
    cut = claimed_s - there_s > CUT_S + 1 / rate
    notes = []
    if cut:
        notes.append(
            f"{path} seems to be cut short: by its header it lasts {claimed_s:.1f} s, but it ends after "
            f"{there_s:.1f} s."
        )
    if timeline.skipped_s:
        notes.append(
            f"{path} has a pause of {timeline.skipped_s:.0f} s by its time stamps, which are probably wrong: "
            "the pause is left out."
        )
    return ClipIndex(
        path=path,
        track=stream.index,
        rate=rate,
        pts=np.array(track.pts)[order],
        segment=segment[order],
        places=places,
        length=length,
        stretches=timeline.stretches,
        notes=tuple(notes),
        cut=cut,
    )


def _filled(stamps_s: np.ndarray, hints: list[Fraction]) -> np.ndarray:
    """Stamps (N,) in the file's order, where those that are not known (NaN) follow the one before."""
    known = np.isfinite(stamps_s)
    if not known.any():
        return np.arange(len(stamps_s)) / float(hints[0] if hints else frame_times.USUAL_RATE)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(stamps_s)), np.argmax(known)))
    return stamps_s[newest]
