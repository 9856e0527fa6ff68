#!/usr/bin/env python3
"""What `rubato plan` predicts beside what a real cluster does: processes on this machine, each worker in a network
namespace behind a link of its own, shaped by tc (rate) and a relay (latency), throttled so that they need no processor.

  scripts/plan_check.py RUBATO OUT [--seconds 50] [--case NAME ..]      wants root

The model is a quadratic whose parameters take a while on the link. Of every case it prints utilisation, time per 1B
tokens and staleness, predicted and measured, and the error; OUT keeps the runs.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

RATE_MBIT = 20
LATENCY_MS = 10
PORT = 7461
SPEEDS_S = [0.15, 0.19, 0.39, 0.85]  # the toy's ratios, seconds a step
DIM = 250_000                        # a megabyte in fp32: 0.4 s each way
HOST = "10.214.0.1"                  # of the coordinator, at the end of every link
CASES = {  # keys over the recipe below
    "async": ["run.method=dn-dylu", "train.local_steps=20"],
    "async-full": ["run.method=dn-dylu", "train.local_steps=20", "train.overlap=full"],
    "async-short": ["run.method=dn-dylu", "train.local_steps=8"],
    "async-short-int8": ["run.method=dn-dylu", "train.local_steps=8", "codec.up=int8", "codec.down=bf16"],
    "sync": ["run.method=sync-diloco", "train.local_steps=8"],
}
RECIPE = f"""
[model]
kind = "quadratic"
[quadratic]
dim = {DIM}
shards = 4
sequences_per_shard = 1000000
[train]
batch_sequences = 1
budget_local_steps = BUDGET
[lr]
max = 0.001
min = 0.001
warmup_steps = 0
[inner]
kind = "sgd"
[gate.grace]
seconds = 0.2
[eval]
every_local_steps = 1000000
[fleet]
seconds_per_step = {SPEEDS_S}
up_bytes_per_s = [{RATE_MBIT * 125_000}.0]
down_bytes_per_s = [{RATE_MBIT * 125_000}.0]
latency_s = [{LATENCY_MS / 1000}]
"""


# ---- the network


def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


class Network:
    """A namespace for the coordinator and one for each worker, a shaped link between them; for `with`."""

    def __init__(self, workers):
        self.hub = f"rubato-plan-c-{os.getpid()}"
        self.leaves = [f"rubato-plan-{i}-{os.getpid()}" for i in range(workers)]

    def __enter__(self):
        try:
            self.make()
        except subprocess.CalledProcessError:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def make(self):
        shape = f"root tbf rate {RATE_MBIT}mbit burst 32kb latency 400ms"
        sh(f"ip netns add {self.hub}; ip -n {self.hub} link set lo up; ip -n {self.hub} addr add {HOST}/32 dev lo")
        for i, leaf in enumerate(self.leaves):
            sh(f"ip netns add {leaf}; ip -n {leaf} link set lo up")
            sh(f"ip -n {self.hub} link add w{i} type veth peer name eth netns {leaf}")
            sh(f"ip -n {self.hub} addr add 10.214.{i + 1}.1/24 dev w{i}; ip -n {self.hub} link set w{i} up")
            sh(f"ip -n {leaf} addr add 10.214.{i + 1}.2/24 dev eth; ip -n {leaf} link set eth up")
            sh(f"ip -n {leaf} route add {HOST} via 10.214.{i + 1}.1")
            sh(f"tc -n {self.hub} qdisc add dev w{i} {shape}; tc -n {leaf} qdisc add dev eth {shape}")

    def remove(self):
        for name in [self.hub, *self.leaves]:
            subprocess.run(["ip", "netns", "del", name], check=False)


def relay(port):
    """Carries connections to the coordinator, every byte LATENCY_MS later; in a process of its own."""
    import asyncio

    async def pump(reader, writer):
        queue = asyncio.Queue(maxsize=8)  # short: the queue of the link is the link's

        async def send():
            while (item := await queue.get()) is not None:
                due, data = item
                await asyncio.sleep(max(0, due - time.monotonic()))
                writer.write(data)
                await writer.drain()
            writer.close()

        sender = asyncio.create_task(send())
        try:
            while data := await reader.read(16384):
                await queue.put((time.monotonic() + LATENCY_MS / 1000, data))
        except ConnectionError:
            pass
        await queue.put(None)
        await asyncio.gather(sender, return_exceptions=True)

    async def carry(reader, writer):
        there_reader, there_writer = await asyncio.open_connection(HOST, PORT)
        for end in (writer, there_writer):
            end.transport.set_write_buffer_limits(high=16384)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    async def serve():
        server = await asyncio.start_server(carry, "127.0.0.1", port)
        print("ready", flush=True)
        await server.serve_forever()

    asyncio.run(serve())


# ---- one case


def predicted(rubato, recipe, keys):
    words = dict(key.split("=", 1) for key in keys)
    codecs = f"{words.get('codec.up', 'fp32')}/{words.get('codec.down', 'fp32')}"
    answer = subprocess.run(
        [rubato, "plan", recipe, "--methods", words["run.method"], "--h", words["train.local_steps"],
         "--overlap", words.get("train.overlap", "none"), "--codecs", codecs, "--json"],
        check=True, capture_output=True, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def run_cluster(rubato, recipe, keys, out, network):
    """The run's directory when the budget is used up."""
    os.makedirs(out)
    run = os.path.join(out, "run")
    processes = []

    def start(namespace, words, name):
        log = open(os.path.join(out, f"{name}.log"), "w", encoding="utf-8")
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *words], stdout=log, stderr=log)
        processes.append(process)
        return process

    try:
        sets = [word for key in keys for word in ("--set", key)]
        coordinator = start(network.hub, [rubato, "coordinator", recipe, *sets, "--out", run, "--listen", f"{HOST}:{PORT}",
                                          "--host", "127.0.0.1", "--start-workers", str(len(SPEEDS_S))], "coordinator")
        while not os.path.exists(os.path.join(run, "address")):
            if coordinator.poll() is not None:
                sys.exit(f"the coordinator ended early: see {out}/coordinator.log")
            time.sleep(0.1)
        workers = []
        for i, speed in enumerate(SPEEDS_S):
            start(network.leaves[i], [sys.executable, os.path.abspath(__file__), "--relay", str(7000 + i)], f"relay-{i}")
            join = subprocess.run([rubato, "invite", run, "--address", f"127.0.0.1:{7000 + i}"], check=True,
                                  capture_output=True, text=True).stdout
            join_file = os.path.join(out, f"join-{i}")
            with os.fdopen(os.open(join_file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(join)
            while not os.path.getsize(os.path.join(out, f"relay-{i}.log")):  # until it listens
                time.sleep(0.1)
            workers.append(start(network.leaves[i],
                                 [rubato, "worker", "--join-file", join_file, "--dir", os.path.join(out, f"worker-{i}"),
                                  "--threads", "1", "--min-step-s", str(speed)], f"worker-{i}"))
        while coordinator.poll() is None:
            time.sleep(0.2)
            failed = [i for i, worker in enumerate(workers) if worker.poll() not in (None, 0)]
            if failed:
                sys.exit(f"a worker failed: see {out}/worker-{failed[0]}.log")
        if coordinator.returncode != 0:
            sys.exit(f"the coordinator failed: see {out}/coordinator.log")
        for worker in workers:
            worker.wait(timeout=30)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return run


def measured(run, skip):
    """Utilisation and staleness while every worker's training is known, behind the first `skip` tasks of each: so long
    a link's pace takes to be found. It begins and ends with an arrival of the same worker."""
    def lines(name):
        with open(os.path.join(run, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    updates = [row for row in lines("metrics.jsonl") if row["kind"] == "update" and row["verdict"] in ("applied", "held")]
    spans = {row["task"]: row for row in lines("events.jsonl") if row["kind"] == "span" and row["activity"] == "train"}
    arrivals = [[row["virtual_time_ns"] for row in updates if row["worker"] == i] for i in range(len(SPEEDS_S))]
    slowest = max(range(len(SPEEDS_S)), key=lambda i: arrivals[i][skip])
    begin = arrivals[slowest][skip]
    in_rounds = all(row["staleness"] == 0 for row in updates)  # nobody trains when the last one ends
    known = max(times[-1] for times in arrivals) if in_rounds else min(times[-1] for times in arrivals)
    end = max(time for time in arrivals[slowest] if time <= known)
    steps = 0.0
    for row in updates:
        span = spans[row["task"]]
        inside = min(span["end_ns"], end) - max(span["begin_ns"], begin)
        steps += row["steps"] * max(inside, 0) / max(span["end_ns"] - span["begin_ns"], 1)
    counted = [row["staleness"] for row in updates if begin < row["virtual_time_ns"] <= end]
    per_s = steps * 1e9 / (end - begin)
    return {"utilisation": per_s / sum(1 / speed for speed in SPEEDS_S), "steps_per_s": per_s,
            "staleness_mean": sum(counted) / len(counted), "staleness_max": max(counted), "arrivals": len(counted),
            "seconds": (end - begin) / 1e9}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rubato", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--seconds", type=float, default=50, help="of training a case")
    parser.add_argument("--skip", type=int, default=2, help="tasks of each worker before what is measured")
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--relay", type=int, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.relay:
        return relay(words.relay)
    if not words.out:
        parser.error("want RUBATO and OUT")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # processes and namespaces go with it
    if os.geteuid() != 0:
        sys.exit("plan_check: network namespaces want root")
    rubato = os.path.abspath(words.rubato)
    os.makedirs(words.out, exist_ok=True)
    ideal = sum(1 / speed for speed in SPEEDS_S)
    rows = []
    for name in words.case or CASES:
        recipe = os.path.join(words.out, f"{name}.toml")
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(RECIPE.replace("BUDGET", "1000000"))
        row = predicted(rubato, recipe, CASES[name])["rows"][0]
        budget = max(int(words.seconds * ideal * row["utilisation"]), 100)
        with open(recipe, "w", encoding="utf-8") as file:
            file.write(RECIPE.replace("BUDGET", str(budget)))
        with Network(len(SPEEDS_S)) as network:
            real = measured(run_cluster(rubato, recipe, CASES[name], os.path.join(words.out, name), network), words.skip)
        error = row["utilisation"] / real["utilisation"] - 1
        rows.append({"case": name, "predicted": row, "measured": real, "error": error})
        print(f"{name:18} utilisation {row['utilisation']:.3f} predicted {real['utilisation']:.3f} measured "
              f"({100 * error:+.1f} %)   1B tokens {row['s_per_1b_tokens'] / 3600:.0f} h / {1e9 / real['steps_per_s'] / 3600:.0f} h   "
              f"staleness {row['staleness_mean']:.2f} / {real['staleness_mean']:.2f}, max {row['staleness_max']} / "
              f"{real['staleness_max']}   {real['arrivals']} arrivals in {real['seconds']:.0f} s", flush=True)
    with open(os.path.join(words.out, "plan_check.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
