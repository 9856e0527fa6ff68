"""A fleet of workers in Python with a model that the coordinator does not know, as processes: to
the end of the budget, and through deaths on both sides."""
import signal
import time
import unittest

import support  # noqa: F401
from support import SOURCE, Cluster, eventually

SCRIPT = SOURCE / "examples" / "python" / "own_model.py"
RECIPE = SOURCE / "examples" / "python" / "own_model.toml"
TOKENS_PER_STEP = 8 * 16


def losses(text):
    """Of the tasks that a worker's log tells, in their order."""
    return [float(line.split("loss ")[1].split(",")[0]) for line in text.splitlines()
            if " task " in line and "loss" in line]


# What docs/workers.md leaves to its reader.
AROUND_THE_DOCS = f"""
import logging, sys
import torch
sys.path.insert(0, "{SOURCE / 'python'}")
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1)
loss_of = torch.nn.functional.mse_loss

def batch_of(sequences):
    x = torch.tensor([[one.shard / 4, one.index / 1024] for one in sequences])
    return x, x.sum(1, keepdim=True)
"""


class OpaqueFleetTest(unittest.TestCase):
    def assert_learned(self, cluster):
        first = min(losses(cluster.output("a"))[0], losses(cluster.output("b"))[0])
        last = max(losses(cluster.output("a"))[-1], losses(cluster.output("b"))[-1])
        self.assertLess(last, first / 2, cluster.everything())

    def wait_for_the_end(self, cluster, *workers):
        for process in (cluster.coordinator, *workers):
            self.assertTrue(eventually(lambda: process.poll() is not None), cluster.everything())
            self.assertEqual(process.returncode, 0, cluster.everything())

    def test_two_workers_train_to_the_end_of_the_budget(self):
        for codec in ("bf16", "int8"):
            with self.subTest(codec=codec), \
                    Cluster(RECIPE, ["train.budget_local_steps=600", f"codec.up={codec}"],
                            ["--start-workers", "2", "--keep-deltas"]) as cluster:
                a, b = (cluster.start_worker(name, SCRIPT) for name in "ab")
                self.wait_for_the_end(cluster, a, b)
                self.assert_learned(cluster)
                said = cluster.output("a") + cluster.output("b")
                self.assertEqual(said.count("founded the run"), 1, said)
                self.assertEqual(said.count(f"sends {codec}, receives fp32"), 2, said)
                summary = cluster.summary()
                self.assertTrue(summary["finished"])
                self.assertGreaterEqual(summary["local_steps"], 600)
                self.assertEqual(summary["tokens"], summary["local_steps"] * TOKENS_PER_STEP)
                self.assertGreater(summary["train_tokens_per_s"], 0)
                self.assertEqual(summary["rejected"], 0)
                self.assertTrue(all(steps > 50 for steps in summary["worker_steps"]), summary)
                self.assertIn("equal, bit for bit", cluster.rubato("replay", str(cluster.run)))

    def test_survives_the_death_of_a_worker_and_of_the_coordinator(self):
        with Cluster(RECIPE, ["train.budget_local_steps=1600"],
                     ["--start-workers", "2", "--lease", "5"]) as cluster:
            slow = ("--min-step-s", "0.01")
            a, b = (cluster.start_worker(name, SCRIPT, *slow) for name in "ab")
            self.assertTrue(eventually(lambda: cluster.status().get("steps", 0) >= 200),
                            cluster.everything())
            cluster.kill(a)
            before = cluster.status()["steps"]
            self.assertTrue(eventually(lambda: cluster.status()["steps"] >= before + 150),
                            cluster.everything())
            a = cluster.start_worker("a", SCRIPT, *slow)
            applied = cluster.output("a").count("applied")
            self.assertTrue(eventually(lambda: cluster.output("a").count("applied") > applied),
                            cluster.everything())

            cluster.kill(cluster.coordinator)
            self.assertTrue(eventually(
                lambda: "does not answer" in cluster.output("a") + cluster.output("b")),
                cluster.everything())
            cluster.start_coordinator()
            self.wait_for_the_end(cluster, a, b)
            self.assert_learned(cluster)
            summary = cluster.summary()
            self.assertEqual((summary["finished"], summary["workers"]), (True, 2))
            # Their keys made them the same workers again.
            self.assertGreater(min(summary["worker_steps"]), 100, summary)

    def test_a_rollback_makes_both_sides_begin_anew(self):
        with Cluster(RECIPE, ["train.budget_local_steps=700", "checkpoint.every_local_steps=100"],
                     ["--start-workers", "2"]) as cluster:
            slow = ("--min-step-s", "0.005")
            workers = [cluster.start_worker(name, SCRIPT, *slow) for name in "ab"]
            self.assertTrue(eventually(lambda: cluster.status().get("steps", 0) >= 250),
                            cluster.everything())
            cluster.coordinator.send_signal(signal.SIGTERM)
            self.wait_for_the_end(cluster)
            snapshots = sorted(int(path.name.removeprefix("step-"))
                               for path in (cluster.run / "checkpoints").glob("step-*"))
            cluster.rubato("rollback", str(cluster.run), "--to", str(snapshots[0]))
            cluster.start_coordinator()
            self.wait_for_the_end(cluster, *workers)
            for name in "ab":
                self.assertIn("rolled back, 1 times by now: begins anew", cluster.output(name),
                              cluster.everything())
            self.assertTrue(cluster.summary()["finished"])
            self.assertGreaterEqual(cluster.summary()["local_steps"], 700)
            self.assert_learned(cluster)

    def test_a_worker_that_is_asked_to_stop_sends_what_it_has(self):
        with Cluster(RECIPE, ["train.local_steps=1000"], ["--insecure"]) as cluster:
            worker = cluster.start_worker("a", SCRIPT, "--insecure", "--min-step-s", "0.01")
            self.assertTrue(eventually(lambda: cluster.status().get("tasks_in_flight") == 1),
                            cluster.everything())
            self.assertTrue(eventually(lambda: "worker 0 of run" in cluster.output("a")))
            time.sleep(2)
            worker.send_signal(signal.SIGTERM)
            self.assertTrue(eventually(lambda: worker.poll() is not None), cluster.everything())
            self.assertEqual(worker.returncode, 0, cluster.everything())
            status = cluster.status()
            self.assertEqual((status["applied"], status["tasks_in_flight"]), (1, 0), status)
            self.assertTrue(0 < status["steps"] < 1000, status)

            # Its optimizer's state is there when it comes again.
            self.assertTrue((cluster.directory / "dir-a" / "optimizer.pt").exists())
            again = cluster.start_worker("a", SCRIPT, "--insecure", "--min-step-s", "0.01")
            self.assertTrue(eventually(lambda: cluster.status()["tasks_in_flight"] == 1),
                            cluster.everything())
            self.assertNotIn("without its inner state", cluster.output("a"))
            cluster.kill(again)

    def test_a_worker_waits_a_moment_for_a_coordinator_that_comes_up(self):
        with Cluster(RECIPE, ["train.budget_local_steps=20"]) as cluster:
            cluster.join_string("a")
            cluster.kill(cluster.coordinator)
            worker = cluster.start_worker("a", SCRIPT)
            time.sleep(5)
            cluster.start_coordinator()
            self.wait_for_the_end(cluster, worker)

    def test_the_lines_of_the_docs_train(self):
        docs = (SOURCE / "docs" / "workers.md").read_text()
        lines = docs.split("```python\n")[1].split("```")[0]
        with Cluster(RECIPE, ["train.budget_local_steps=200", "lr.max=0.3"]) as cluster:
            script = cluster.directory / "docs.py"
            self.assertEqual(lines.count('"rubato1/.."'), 1)
            script.write_text(AROUND_THE_DOCS + lines.replace('"rubato1/.."', "sys.argv[1]"))
            worker = cluster.start_worker("a", script)
            self.wait_for_the_end(cluster, worker)
            found = losses(cluster.output("a"))
            self.assertLess(found[-1], found[0] / 4, cluster.everything())
            # It was not told where to keep its identity.
            self.assertEqual(len(list((cluster.directory / "workers").iterdir())), 1)

    def test_another_model_is_refused_in_one_line(self):
        other = SCRIPT.read_text().replace("Linear(64, 1)", "Linear(64, 1, bias=False)").replace(
            "parents[2]", f"parents[0] / '{SOURCE}'")
        with Cluster(RECIPE) as cluster:
            (cluster.directory / "other.py").write_text(other)
            cluster.start_worker("a", SCRIPT, "--min-step-s", "0.01")
            self.assertTrue(eventually(lambda: "worker 0 of run" in cluster.output("a")),
                            cluster.everything())
            worker = cluster.start_worker("b", cluster.directory / "other.py")
            self.assertTrue(eventually(lambda: worker.poll() is not None), cluster.everything())
            self.assertEqual(worker.returncode, 1, cluster.everything())
            self.assertEqual(cluster.output("b"), "[model] 4.bias: got no such tensor, want shape "
                             "[1] as the run has it; build the model of this run\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
