"""What the tests of the worker in Python share: a cluster of real processes, ended by their pids.

Imported before the packages that a test needs: where one is missing the test is skipped.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RUBATO_BINARY_DIR", SOURCE / "build" / "release"))
RUBATO = str(BUILD / "rubato")
NOT_INSTALLED = 77  # what ctest takes for a skip
PATIENCE_S = 240  # for what takes seconds on a machine that does nothing else

sys.path.insert(0, str(SOURCE / "python"))
try:
    import rubato  # noqa: F401
except ModuleNotFoundError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(NOT_INSTALLED)


def eventually(done, timeout_s=PATIENCE_S):
    """Whether `done` became true in time; looks again all along."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if done():
            return True
        time.sleep(0.05)
    return bool(done())


def losses(text):
    """Of the tasks that a worker's log tells, in their order."""
    return [float(line.split("loss ")[1].split(",")[0]) for line in text.splitlines()
            if " task " in line and "loss" in line]


class Cluster:
    """A run in a temporary directory. Whoever still runs at the end is killed."""

    def __init__(self, recipe, sets=(), more=()):
        self._stack = contextlib.ExitStack()
        self.directory = pathlib.Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rubato-python-")))
        self.run = self.directory / "run"
        self._command = [RUBATO, "coordinator", str(recipe), "--out", str(self.run), *more]
        for one in sets:
            self._command += ["--set", one]
        self._processes = []
        self._joins = {}
        self.start_coordinator("127.0.0.1:0")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._stack.close()

    def start(self, name, command):
        """A process whose output is appended to NAME.txt."""
        with open(self.directory / f"{name}.txt", "ab") as output:
            # One thread each: several spinning teams on two cores stand in each other's way.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, cwd=self.directory,
                                       env={**os.environ, "OMP_NUM_THREADS": "1"})
        self._processes.append(process)
        return process

    def start_coordinator(self, listen=None):
        """By default again, where it listened before."""
        listen = listen or self.address()
        before = self.output("coordinator").count("listening at")
        self.coordinator = self.start("coordinator", [*self._command, "--listen", listen])
        assert eventually(lambda: self.output("coordinator").count("listening at") > before), \
            self.output("coordinator")

    def address(self):
        return (self.run / "address").read_text().strip()

    def join_string(self, name):
        """The worker's own, the same one each time."""
        if name not in self._joins:
            said = self.rubato("invite", str(self.run), "--address", self.address())
            self._joins[name] = next(word for word in said.split() if word.startswith("rubato1/"))
        return self._joins[name]

    def start_worker(self, name, script, *more):
        """A worker in Python; again as the same one when it has run before."""
        return self.start(name, [sys.executable, "-u", str(script), self.join_string(name), "--dir",
                                 str(self.directory / f"dir-{name}"), *more])

    def start_native_worker(self, name, *more):
        return self.start(name, [RUBATO, "worker", self.join_string(name), "--dir",
                                 str(self.directory / f"dir-{name}"), "--threads", "1", *more])

    def kill(self, process):
        process.send_signal(signal.SIGKILL)
        process.wait()

    def output(self, name):
        path = self.directory / f"{name}.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def rubato(self, *args):
        done = subprocess.run([RUBATO, *args], capture_output=True, text=True, timeout=PATIENCE_S,
                              check=False)
        if done.returncode != 0:
            raise AssertionError(f"rubato {' '.join(args)}: {done.stdout}{done.stderr}")
        return done.stdout

    def status(self):
        """What `rubato status` says; {} while nobody answers."""
        done = subprocess.run([RUBATO, "status", str(self.run), "--json"], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def summary(self):
        return json.loads((self.run / "summary.json").read_text())

    def wait_for_the_end(self, test, *processes):
        """Of the coordinator and of `processes`, with exit code 0."""
        for process in (self.coordinator, *processes):
            test.assertTrue(eventually(lambda: process.poll() is not None), self.everything())
            test.assertEqual(process.returncode, 0, self.everything())

    def everything(self):
        """What all processes have printed, for a test that fails."""
        return "\n".join(f"---- {path.stem}\n{path.read_text(errors='replace')}"
                         for path in sorted(self.directory.glob("*.txt")))
