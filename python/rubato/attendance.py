"""A worker's side of the control connection: it attends, beats, comes back after a cut, and keeps
the list of tasks that are its own. Training goes on meanwhile; a cut costs nothing but the wait for
the next task. Two threads: one listens, one beats; both only ever wait for the network.
"""
import collections
import dataclasses
import enum
import logging
import queue
import threading
import time

import grpc

from . import protocol
from .errors import RubatoError
from .link import Link
from .transport import may_pass, pauses, said

GLANCE_S = 0.05
MOST_HELD = 64  # that a hello may name
log = logging.getLogger("rubato")

_FromWorker = protocol.message("FromWorker")
_Release = protocol.message("Release")


class RolledBack(RubatoError):
    """The coordinator refused the session: perhaps the run was rolled back and begins anew."""


class _Hold(enum.Enum):
    QUEUED = 1
    TAKEN = 2
    UNWANTED = 3


@dataclasses.dataclass
class Progress:
    """What the next heartbeats and hellos tell; written by the thread that trains."""

    task: int = -1
    steps_done: int = 0
    has_state: bool = False
    ns_per_step: int = 0


class Attendance:
    def __init__(self, link: Link, hello, heartbeat_s: float, patience_s: float,
                 progress: Progress):
        """`hello` without has_state, ns_per_step and held_tasks."""
        self._link, self._hello = link, hello
        self._heartbeat_s, self._patience_s = heartbeat_s, patience_s
        self._progress = progress
        self._changed = threading.Condition()
        self._stream = None
        self._outbox: queue.SimpleQueue | None = None  # of the session; None between two
        self._welcome = None
        self._queue: collections.deque = collections.deque()
        self._held: dict[int, _Hold] = {}
        self._ended = False
        self._error: RubatoError | None = None
        self._threads = [threading.Thread(target=run, name=f"rubato-{name}", daemon=True)
                         for name, run in (("listen", self._listen),
                                           ("beat", self._beat))]
        for thread in self._threads:
            thread.start()

    # ---- the session

    def _listen(self) -> None:
        try:
            self._attend_until_ended()
        except Exception as error:  # whoever waits for a task has to hear of it
            log.exception("the session broke")
            self._finish(RubatoError(f"[worker] the session broke: {said(error)}"))

    def _attend_until_ended(self) -> None:
        last_heard, pause, noted = time.monotonic(), pauses(), False
        while not self._ended:
            try:
                for message in self._open_stream():
                    last_heard, pause, noted = time.monotonic(), pauses(), False
                    self._take(message)
                error = None
            except (grpc.RpcError, ConnectionError) as failure:
                error = failure
            finally:
                self._end_stream()
            if error is not None and not may_pass(error):
                kind = RubatoError
                if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                    kind = RolledBack
                self._finish(kind(said(error)))
            elif error is not None and time.monotonic() - last_heard > self._patience_s:
                self._finish(RubatoError(f"[worker] no word from the coordinator: {said(error)}"))
            if error is not None and not noted and not self._ended:
                log.warning("the coordinator does not answer: %s; trying on", said(error))
                noted = True
            with self._changed:
                self._changed.wait_for(lambda: self._ended, next(pause))

    def _open_stream(self):
        outbox: queue.SimpleQueue = queue.SimpleQueue()
        hello = _FromWorker(hello=self._hello).hello
        hello.has_state = self._progress.has_state
        hello.ns_per_step = self._progress.ns_per_step
        with self._changed:
            hello.held_tasks.extend(list(self._held)[-MOST_HELD:])
        outbox.put(_FromWorker(hello=hello))
        stream = self._link.attend(iter(outbox.get, None))
        with self._changed:
            self._stream, self._outbox = stream, outbox
        if self._ended:
            stream.cancel()
        return stream.messages

    def _end_stream(self) -> None:
        with self._changed:
            if self._outbox is not None:
                self._outbox.put(None)  # ends the thread that sends
            self._stream = self._outbox = None

    def _take(self, message) -> None:
        kind = message.WhichOneof("message")
        if kind == "welcome":
            self._take_welcome(message.welcome)
        elif kind == "dispatch":
            with self._changed:
                self._enqueue(message.dispatch.task)
        elif kind == "release":
            self._take_release(message.release)

    def _take_welcome(self, welcome) -> None:
        listed = {task.id for task in welcome.tasks}
        with self._changed:
            self._welcome = welcome
            self._queue = collections.deque(task for task in self._queue if task.id in listed)
            for task, hold in list(self._held.items()):
                if task in listed:
                    continue
                if hold is _Hold.QUEUED:
                    del self._held[task]
                else:
                    self._held[task] = _Hold.UNWANTED
            for task in welcome.tasks:
                self._enqueue(task)
            self._changed.notify_all()

    def _enqueue(self, task) -> None:
        if task.id not in self._held:
            self._held[task.id] = _Hold.QUEUED
            self._queue.append(task)
            self._changed.notify_all()

    def _take_release(self, release) -> None:
        text = " ".join(release.text.split())
        if release.why == _Release.WHY_STOPPING:
            log.info("the coordinator goes down for a while: %s", text)
        elif release.why == _Release.WHY_FINISHED:
            self._finish(None)
        elif release.why == _Release.WHY_REPLACED:
            self._finish(RubatoError("[worker] got a second worker of the same identity, want one; "
                                     "enrol each with a join string of its own"))
        else:
            self._finish(RubatoError(f"[worker] released by the coordinator: {text}"))

    def _finish(self, error: RubatoError | None) -> None:
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                self._changed.notify_all()

    def _beat(self) -> None:
        while not self._ended:
            with self._changed:
                self._changed.wait_for(lambda: self._ended, self._heartbeat_s)
            message = _FromWorker()
            message.heartbeat.sent_ns = time.monotonic_ns()
            message.heartbeat.task = self._progress.task
            message.heartbeat.steps_done = self._progress.steps_done
            self._send(message)

    def _send(self, message) -> None:
        with self._changed:
            if self._outbox is not None:
                self._outbox.put(message)

    # ---- the worker's questions

    def wait_for_welcome(self):
        """The first welcome; RubatoError when the coordinator refuses."""
        with self._changed:
            self._changed.wait_for(lambda: self._welcome is not None or self._ended)
            if self._welcome is None:
                raise self._error or RubatoError("[worker] the run is finished")
            return self._welcome

    def codecs(self):
        """What the latest welcome says: up and down, a rubato.v1.Codec each."""
        with self._changed:
            return self._welcome.up_codec, self._welcome.down_codec

    def next_task(self, is_stopped):
        """The next task, or None when there will be none: error says why."""
        with self._changed:
            while not self._queue and not self._ended and not is_stopped():
                self._changed.wait(GLANCE_S)
            if self._ended or is_stopped():
                return None
            task = self._queue.popleft()
            self._held[task.id] = _Hold.TAKEN
            return task

    def is_wanted(self, task: int) -> bool:
        """False when the coordinator gave the task to somebody else or wants no more."""
        with self._changed:
            return not self._ended and self._held.get(task) is _Hold.TAKEN

    def forget(self, task: int) -> None:
        """The task's delta was answered, or the task was given up."""
        with self._changed:
            self._held.pop(task, None)

    def leave(self, reason: str) -> None:
        """Says goodbye, so that unfinished data goes back in line at once, and ends."""
        message = _FromWorker()
        message.leave.reason = reason
        self._send(message)
        self._send(None)
        self._finish(None)
        self._threads[0].join(timeout=2)  # the coordinator ends the stream when it has heard
        self.close()

    def close(self) -> None:
        self._finish(None)
        with self._changed:
            if self._stream is not None:
                self._stream.cancel()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def error(self) -> RubatoError | None:
        """Why there is no more work; None while it goes on and after the run's end."""
        return self._error
