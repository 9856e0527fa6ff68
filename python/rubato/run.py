"""A worker of a run, around a training loop that is somebody's own.

    with rubato.join("rubato1/..", model=model, optimizer=optimizer) as run:
        for task in run.tasks():
            for step in task.steps():
                loss = loss_of(model, batch_of(step.sequences))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step.done(loss)

For each task the coordinator's parameters are written into the model, the loop makes local steps at
the rates of the coordinator's schedule, and start - end travels back. What the optimizer remembers
stays with the worker from task to task and, on disk, from one start to the next.
"""
import contextlib
import dataclasses
import logging
import math
import pathlib
import time

import grpc
import torch
import xxhash

from . import protocol
from .attendance import Attendance, Progress, RolledBack
from .codecs import DOWN_CODECS, UP_CODECS, ErrorFeedback, make_codec
from .courier import Courier
from .errors import GivenUp, RubatoError
from .identity import Identity
from .inner_state import InnerState, Rates
from .join_string import parse_join_string
from .layout import Parameters
from .link import Link
from .schedule import Settings, permuted_index
from .transport import said
from .version import VERSION

FAREWELL_S = 10.0  # after a stop was asked for, a delta has this long to arrive
FOUNDING_PAUSE_S = 0.5  # before it is asked again whether another worker has founded the run
NS = 1_000_000_000
log = logging.getLogger("rubato")

_PushReply = protocol.message("PushReply")
_RejectReason = _PushReply.DESCRIPTOR.fields_by_name["reason"].enum_type


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A sequence of the run's data: the same one to all workers."""

    shard: int
    epoch: int
    position: int  # in the shard's order of this epoch
    index: int  # where that is in the shard; of a shard whose size is not known, the position


class Step:
    """One local step. The optimizer's rate is set when the loop gets it."""

    def __init__(self, task: "Task", number: int, lr: float):
        self._task, self.number, self.lr = task, number, lr
        self._began_ns = time.monotonic_ns()
        self.is_done = False

    @property
    def sequences(self) -> list[Sequence]:
        """Of this step's batch, as the coordinator's ledger assigns them."""
        return self._task.sequences_of(self.number)

    def done(self, loss, tokens: int | None = None) -> None:
        """The optimizer has made the step. `tokens`, if given, has to be what the recipe counts for
        a step: a batch of another size would be refused at the coordinator's door."""
        want = self._task.settings.tokens_per_step()
        if tokens is not None and tokens != want:
            raise RubatoError(f"[step] got {tokens} tokens, want {want}: train.batch_sequences of "
                              "the recipe times its tokens of a sequence")
        loss = loss.item() if isinstance(loss, torch.Tensor) else float(loss)
        self._task.count(self, loss, time.monotonic_ns() - self._began_ns)


class Task:
    """One dispatch: local steps from the coordinator's parameters."""

    def __init__(self, run: "Run", message):
        self._run, self.message = run, message
        self.settings: Settings = run.settings
        self.steps_done = 0
        self.last_lr = 0.0
        self.train_ns = 0
        self._loss_sum = 0.0

    @property
    def id(self) -> int:
        return self.message.id

    @property
    def shard(self) -> int:
        return self.message.shard

    def steps(self):
        """Yields a Step at a time; ends early when the coordinator does not want the task any more,
        a stop was asked for, or a loss is not finite."""
        while self.steps_done < self.message.steps and self._run.goes_on_with(self):
            step = Step(self, self.steps_done, self.settings.learning_rate(self.message,
                                                                           self.steps_done))
            self._run.rates.set(step.lr)
            yield step
            if not step.is_done:
                raise RubatoError(f"[step] got no done() of step {step.number}, want it when the "
                                  "optimizer has made the step")
            if not math.isfinite(self._loss_sum):
                break  # the door says what it thinks of it

    def count(self, step: Step, loss: float, took_ns: int) -> None:
        if step.is_done or step.number != self.steps_done:
            raise RubatoError(f"[step] got done() of step {step.number} again, want it once")
        step.is_done = True
        self.steps_done += 1
        self.last_lr = step.lr
        self.train_ns += took_ns
        self._loss_sum += loss
        self._run.made_step(self)

    def mean_loss(self) -> float:
        return self._loss_sum / self.steps_done if self.steps_done else 0.0

    def sequences_of(self, step: int) -> list[Sequence]:
        batch = self.settings.batch_sequences
        skip, listed = step * batch, []
        for part in self.message.ranges:
            for i in range(min(skip, part.count), part.count):
                if len(listed) == batch:
                    return listed
                listed.append(self._sequence(part.epoch, part.first + i))
            skip -= min(skip, part.count)
        return listed

    def _sequence(self, epoch: int, position: int) -> Sequence:
        size = self._run.shard_size(self.shard)
        index = position if size is None else permuted_index(self.settings.seed, self.shard, epoch,
                                                             position, size)
        return Sequence(self.shard, epoch, position, index)


class Run:
    """A worker's place in a run. join() makes it; it ends with its `with`."""

    def __init__(self, identity: Identity, directory: pathlib.Path, *, memory_bytes: int,
                 patience_s: float):
        self.directory = directory
        self._identity = identity
        self._memory_bytes, self._patience_s = memory_bytes, patience_s
        self._link = Link(identity)
        self._courier = Courier(self._link, patience_s)
        self._progress = Progress()
        self._attendance: Attendance | None = None
        self._is_stopped, self._stopped_at = False, 0.0
        self._shard_sizes: list[int] | None = None
        self.description = None
        self.settings: Settings | None = None

    # ---- joining

    def begin(self, build) -> None:
        """Describes, founds if the run wants it, compares, and attends. build(run) makes model and
        optimizer once `settings` are there."""
        description = self._describe()
        self._take_settings(description)
        self.model, self.optimizer = build(self)
        self._parameters, self.rates = Parameters(self.model), Rates(self.optimizer)
        self._inner_state = InnerState(self.optimizer, self.directory)
        self._take_description(self._with_model(description))
        self._progress.has_state, seconds = self._inner_state.load(self._name_of_run())
        self._progress.ns_per_step = int(seconds * NS)
        self._attend()

    def _describe(self):
        request = protocol.message("DescribeRequest")(
            protocol=_range(), build=_build(), memory_bytes=self._memory_bytes)
        try:
            return self._courier.persist(lambda: self._link.describe(request))
        except grpc.RpcError as error:
            raise RubatoError(said(error)) from error

    def _with_model(self, description):
        while description.wants_model:
            try:
                self._found(description)
                log.info("founded the run with %d parameters", self._parameters.size)
            except grpc.RpcError as error:
                # Another worker founds or has, or the connection broke: the description says.
                if error.code() not in (grpc.StatusCode.ALREADY_EXISTS,
                                        grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS):
                    raise RubatoError(said(error)) from error
                log.debug("founding: %s", said(error))
            except ConnectionError as error:
                log.debug("founding: %s", said(error))
            time.sleep(FOUNDING_PAUSE_S)
            description = self._describe()
        return description

    def _found(self, description) -> None:
        initial = self._parameters.read().astype("<f4", copy=False)
        header = protocol.message("FoundHeader")(
            layout=self._parameters.layout(), bytes=initial.nbytes,
            digest=xxhash.xxh3_128_hexdigest(initial),
            recipe_digest=description.recipe_digest)
        self._courier.found(header, initial)

    def _take_description(self, description) -> None:
        self._parameters.take_order(description.layout)
        self._take_settings(description)

    def _take_settings(self, description) -> None:
        if description.virtual_clock:
            raise RubatoError("[description] got a run on the virtual clock, want the real one: a "
                              "model of one's own has no declared durations")
        self.description = description
        self.settings = Settings.of(description.recipe_toml)
        if self.settings.model_kind == "opaque":
            opaque = self.settings.recipe["opaque"]
            self._shard_sizes = [opaque["sequences_per_shard"]] * opaque["shards"]

    def _name_of_run(self) -> str:
        # Moments that were made behind a rollback are as void as the deltas.
        return f"{self.description.run}.{self.description.incarnation}"

    def _attend(self) -> None:
        description = self.description
        hello = protocol.message("Hello")(
            protocol=_range(), build=_build(), run=description.run,
            incarnation=description.incarnation, recipe_digest=description.recipe_digest,
            layout_digest=description.layout.digest,
            tokenizer_digest=description.tokenizer_digest, up_codecs=UP_CODECS,
            down_codecs=DOWN_CODECS, memory_bytes=self._memory_bytes)
        self._attendance = Attendance(self._link, hello, description.heartbeat_interval_ns / NS,
                                      self._patience_s, self._progress)
        welcome = self._attendance.wait_for_welcome()
        log.info("worker %d of run %s: sends %s, receives %s", welcome.worker, description.run[:12],
                 welcome.up_codec.name, welcome.down_codec.name)
        self._up = make_codec(welcome.up_codec)
        self._down = make_codec(welcome.down_codec)
        self._up_described, self._down_described = welcome.up_codec, welcome.down_codec
        self._feedback = ErrorFeedback(self._up, self._parameters.size)

    def _begin_anew(self, refused: RolledBack) -> None:
        self._attendance.close()
        description = self._with_model(self._describe())
        before = self.description
        if (description.run, description.layout.digest) != (before.run, before.layout.digest) or \
                description.incarnation == before.incarnation:
            raise refused
        log.warning("the run was rolled back, %d times by now: begins anew",
                    description.incarnation)
        self._take_description(description)
        self._inner_state.reset()
        self._progress.has_state = False
        self._attend()

    # ---- the loop

    def tasks(self):
        """Yields tasks until the run is finished or stop() was called. A task's delta is sent when
        the loop asks for the next one. RubatoError when the coordinator puts the worker out."""
        while not self._is_stopped:
            message = self._attendance.next_task(lambda: self._is_stopped)
            if message is None:
                refused = self._attendance.error
                if not isinstance(refused, RolledBack) or self._is_stopped:
                    break
                self._begin_anew(refused)
                continue
            if message.kind != protocol.message("Task").KIND_TRAIN:
                raise RubatoError(f"[task] got kind {message.kind}, want one that this package knows")
            try:
                start = self._fetch(message)
            except GivenUp:
                continue  # next_task() says why
            if start is None:
                self._hand_back(message.id)
                continue
            if self.settings.resets_inner_state:
                self._inner_state.reset()
            task = Task(self, message)
            self._progress.task, self._progress.steps_done = task.id, 0
            yield task
            self._progress.task = -1
            self._deliver(task, start)
        if self._attendance.error is not None:
            raise self._attendance.error

    def stop(self) -> None:
        """Ends the loop behind the step under way; what was made of the task is sent. May be called
        by a signal's handler or another thread."""
        if not self._is_stopped:
            self._is_stopped, self._stopped_at = True, time.monotonic()

    def files(self, directory) -> list[pathlib.Path]:
        """The run's files (token shards, tokenizer) below `directory`, received where missing."""
        return [self._courier.fetch_file(file, pathlib.Path(directory))
                for file in self.description.files]

    def set_shard_sizes(self, sizes: list[int]) -> None:
        """[sequences] of each shard, where the loop knows the run's data: Sequence.index needs
        them. An opaque run's are in its recipe."""
        self._shard_sizes = list(sizes)

    def shard_size(self, shard: int) -> int | None:
        return None if self._shard_sizes is None else self._shard_sizes[shard]

    def goes_on_with(self, task: Task) -> bool:
        return not self._is_stopped and self._attendance.is_wanted(task.id)

    def made_step(self, task: Task) -> None:
        self._progress.steps_done = task.steps_done
        self._progress.has_state = True
        self._progress.ns_per_step = max(task.train_ns // task.steps_done, 1)

    # ---- one task's way down and up

    def _fetch(self, message):
        """The parameters that the task starts from [P], which are the model's then; None when the
        coordinator has them no more."""
        version = message.fragments[0].base_version if message.fragments else 0
        values = self._courier.fetch_parameters(
            version, self._down, self._down_described, self._parameters.size,
            lambda: not self._is_stopped and not self._attendance.ended)
        if values is None:
            return None
        self._parameters.write(values)
        # As the model holds them: in fp32 these are the values that came.
        return self._parameters.read()

    def _still_wanted(self) -> bool:
        if self._is_stopped:
            return time.monotonic() - self._stopped_at < FAREWELL_S
        return not self._attendance.ended

    def _deliver(self, task: Task, start) -> None:
        if not self._is_stopped and not self._attendance.is_wanted(task.id):
            self._attendance.forget(task.id)
            log.info("task %d: %d steps, given up: the coordinator wants it no more", task.id,
                     task.steps_done)
            return
        if task.steps_done == 0:
            self._hand_back(task.id)
            return
        start -= self._parameters.read()
        encoded = self._feedback.encode(start)
        header = protocol.message("DeltaHeader")(
            task=task.id, incarnation=self.description.incarnation, codec=self._up_described,
            bytes=encoded.nbytes, digest=xxhash.xxh3_128_hexdigest(encoded),
            steps_done=task.steps_done, tokens=task.steps_done * self.settings.tokens_per_step(),
            train_ns=task.train_ns, mean_loss=task.mean_loss(), last_lr=task.last_lr)
        verdict = self._push(header, encoded)
        if verdict == "applied":
            self._feedback.commit()
        else:
            self._feedback.roll_back()
        log.info("task %d: %d steps, loss %.4f, %s", task.id, task.steps_done, task.mean_loss(),
                 verdict)
        self._inner_state.save_now_and_then(self._name_of_run(), self._progress.ns_per_step / NS)

    def _hand_back(self, task: int) -> None:
        """Nothing was done: its data goes back in line."""
        header = protocol.message("DeltaHeader")(task=task,
                                                 incarnation=self.description.incarnation)
        self._push(header, torch.empty(0, dtype=torch.uint8).numpy())

    def _push(self, header, encoded) -> str:
        """The verdict in words. RubatoError only when the session does not say better why."""
        try:
            return _verdict(self._courier.push(header, encoded, self._up.block_bytes,
                                               self._still_wanted))
        except GivenUp:
            return "given up"
        except grpc.RpcError as error:
            # A delta of before a rollback is void; the session hears of it, too.
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION or self._attendance.ended:
                return f"given up: {said(error)}"
            raise RubatoError(said(error)) from error
        finally:
            self._attendance.forget(header.task)

    # ---- the end

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind, error, trace) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._identity.close)
            if self._attendance is None:
                return
            stack.callback(self._attendance.close)
            if self._progress.has_state:
                self._inner_state.save(self._name_of_run(), self._progress.ns_per_step / NS)
            if not self._attendance.ended:
                self._attendance.leave("stopped" if kind is None else kind.__name__)


def _range():
    return protocol.message("ProtocolRange")(first=protocol.PROTOCOL_FIRST,
                                             last=protocol.PROTOCOL_LAST)


def _build() -> str:
    return f"rubato-python {VERSION}, torch {torch.__version__}"


def _verdict(reply) -> str:
    if reply.verdict == _PushReply.VERDICT_APPLIED:
        return "applied"
    if reply.verdict == _PushReply.VERDICT_DISCARDED:
        return "discarded: too stale"
    known = _RejectReason.values_by_number.get(reply.reason)
    reason = known.name.removeprefix("REJECT_REASON_").lower() if known else str(reply.reason)
    return f"rejected: {reply.text or reason}"


def available_memory_bytes() -> int:
    """[bytes] that a worker may use here; 0: unknown."""
    try:
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def join(text: str, *, model, optimizer: torch.optim.Optimizer | None = None,
         directory: str | pathlib.Path | None = None, insecure: bool = False,
         memory_bytes: int | None = None, patience_s: float = 3600.0) -> Run:
    """Joins the coordinator of a join string, as `rubato invite` prints it.

    `model`: a torch.nn.Module, with its `optimizer`; or a function that makes both, (model,
    optimizer) of the Run, when the run's recipe and files have to be known first. `directory`:
    identity and inner state, by default workers/ID of the string, which finds the same worker again.
    `insecure`: in plain text, as the coordinator has to be told, too. `memory_bytes`: that may be
    used; by default what is free. `patience_s`: without an answer from the coordinator, before it
    gives up. RubatoError when the string, the model or the run does not fit.
    """
    wanted = parse_join_string(text)
    if isinstance(model, torch.nn.Module) != (optimizer is not None):
        raise RubatoError("[worker] want a model and its optimizer, or a function that makes both")
    if directory is None:
        name = xxhash.xxh3_128_hexdigest((wanted.fingerprint + wanted.secret).encode())[:12]
        directory = pathlib.Path("workers") / name
    directory = pathlib.Path(directory)
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(contextlib.closing(Identity(wanted, directory, insecure)))
        identity.become_known()
        run = Run(identity, directory, patience_s=patience_s,
                  memory_bytes=available_memory_bytes() if memory_bytes is None else memory_bytes)
        stack.push(run)
        run.begin(model if optimizer is None else lambda _: (model, optimizer))
        stack.pop_all()
    return run
