"""What a live run plays on: the loop with keys, figures, photos and, with a page, all that it acts upon."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from engines.backends.interface import Engine
from realtime.controls import Controls
from realtime.output.live_recording import LiveRecording
from realtime.output.outputs import Output
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.output.window import Window
from realtime.process.log import LOG, answer, say
from realtime.process.shutdown import ShutdownHandler
from realtime.process.terminal_keys import TerminalKeys
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.session.config import SessionConfig
from realtime.session.driver_switcher import DriverSwitcher
from realtime.session.expression_source import ExpressionSource
from realtime.session.hud import Hud, LiveFigures, PuppetTracker
from realtime.session.key_actions import KeyActions, Recalibrated
from realtime.session.live_loop import LiveLoop
from realtime.session.live_outputs import open_live_output, open_live_recording
from realtime.session.live_run import LiveRun, RunPage
from realtime.session.live_sound import LiveSound
from realtime.session.opening import prepare_photo
from realtime.session.output_fanout import OutputFanout
from realtime.session.output_switcher import VIRTUAL_CAMERA
from realtime.session.photo_switcher import PhotoSwitcher
from realtime.session.result import Result
from realtime.timing import Timings

FIGURES_S = 10.0  # between two lines of figures in the log


@dataclass(frozen=True)
class LiveStage:
    """What a live run plays on, however it got its driver."""

    config: SessionConfig
    engine: Engine
    animator: Animator
    fanout: OutputFanout
    timings: Timings
    fps: float
    sound: LiveSound

    def photo_switcher(
        self, paths: Sequence[Path], ready: int = 0, unanswered: Sequence[Path] = ()
    ) -> PhotoSwitcher:
        size = self.animator.puppet.size

        def prepare(path: Path, face: str | None) -> Puppet:
            config = self.config if face is None else replace(self.config, face=face)
            return prepare_photo(config, path, self.engine, size)

        puppet = self.animator.puppet
        return PhotoSwitcher(paths, prepare, self.animator.change, answer, ready, unanswered, puppet)

    def _run(
        self,
        loop: LiveLoop,
        key_actions: KeyActions,
        photos: PhotoSwitcher,
        drivers: DriverSwitcher,
        outputs: Sequence[Output],
    ) -> LiveRun:
        """What a page acts upon. outputs: that are open already."""
        size = self.animator.puppet.size

        def open_one(name: str) -> Output:
            return open_live_output(name, size, self.fps, self.sound.microphone, self.timings)

        names = [
            VIRTUAL_CAMERA if isinstance(each, ReconnectingVirtualCamera) else each.name for each in outputs
        ]
        opened = dict(zip(names, outputs, strict=True))
        return LiveRun.of(
            self.config,
            loop,
            key_actions,
            photos,
            drivers,
            self.sound,
            self.engine.name,
            open_one,
            opened,
            say,
        )

    def play(
        self,
        source: ExpressionSource,
        tracker: Recalibrated | None,
        switcher: PhotoSwitcher,
        outputs: list[Output],
        stack: ExitStack,
        shutdown: ShutdownHandler,
        page: RunPage | None = None,
    ) -> Result:
        """Plays to the end; tracker: what follows the driver."""
        config, timings = self.config, self.timings
        controls = Controls(answer)
        loop = LiveLoop(source, self.animator, self.fanout, timings, self.fps, controls=controls)
        size = self.animator.puppet.size

        def open_recording(name: str) -> LiveRecording:
            return open_live_recording(name, size, self.fps, self.sound.microphone, timings)

        key_actions = KeyActions(self.animator, self.fanout, tracker, switcher, open_recording)
        controls.actions.update(key_actions.actions())
        stack.callback(key_actions.close)
        figures = LiveFigures(loop, timings, self.engine.name)
        _serve_window(outputs, controls, figures, loop, config.face_model, stack)
        terminal = _listen(controls, stack, shutdown)
        stack.callback(shutdown.close)
        if page:
            assert isinstance(source, DriverSwitcher)
            run = self._run(loop, key_actions, switcher, source, outputs)
            stack.callback(run.close)
            page.attach(run)
        _play(config, loop, controls, terminal, self.sound, figures, shutdown, page.turn if page else None)
        say("ended")
        if delay := timings.summary().get("capture to output"):
            p50_ms, p95_ms = delay["p50_ms"], delay["p95_ms"]
            say(f"{loop.fresh} new pictures, {p50_ms:.0f} ms from camera to output (95 %: {p95_ms:.0f} ms)")
        status = self.fanout.failed.exit_status if self.fanout.failed else 0
        recordings = [output for output in outputs if isinstance(output, LiveRecording)]
        return Result(status, loop.sent, outputs, [*recordings, *key_actions.recordings])


def _serve_window(
    outputs: Iterable[Output],
    controls: Controls,
    figures: LiveFigures,
    loop: LiveLoop,
    face_model: Path | None,
    stack: ExitStack,
) -> None:
    """Keys and figures for the preview, where there is one."""
    for output in outputs:
        if isinstance(output, Window):
            puppet_tracker = stack.enter_context(PuppetTracker(face_model))
            output.serve(controls, Hud(figures, loop, puppet_tracker), loop.animator.badge)


def _listen(controls: Controls, stack: ExitStack, shutdown: ShutdownHandler) -> TerminalKeys:
    """Keys of the terminal, and the signals of a live run."""
    terminal = stack.enter_context(TerminalKeys())
    shutdown.at_last.append(terminal.restore)
    shutdown.live()
    shutdown.on_panic = controls.toggle_panic
    if shutdown.panic:  # the signal came before
        controls.toggle_panic()
    return terminal


def _play(
    config: SessionConfig,
    loop: LiveLoop,
    controls: Controls,
    terminal: TerminalKeys,
    sound: LiveSound,
    figures: LiveFigures,
    shutdown: ShutdownHandler,
    turn: Callable[[], None] | None = None,
) -> None:
    """Runs the loop to its end, with the keys of the terminal; turn: called on the main thread as well."""
    logged_s = time.perf_counter()

    def each_turn() -> None:
        nonlocal logged_s
        for key in terminal.keys():
            controls.press(key)
        if turn:
            turn()
        sound.mute(controls.covered)
        if time.perf_counter() - logged_s > FIGURES_S:
            logged_s = time.perf_counter()
            LOG.debug("; ".join(text for text, _ in figures()))

    keys = ", space shows the still photo at once, p pauses" if terminal.listens else ""
    say(f"live; Ctrl-C ends it{keys}")
    with suppress(KeyboardInterrupt), loop.running():
        loop.wait(config.seconds or float("inf"), each_turn)
        shutdown.close()
