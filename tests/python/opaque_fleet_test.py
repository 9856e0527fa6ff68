"""A fleet of workers in Python with a model that the coordinator does not know, as processes: to
the end of the budget, and through deaths on both sides."""
import signal
import unittest

import support  # noqa: F401
from support import SOURCE, Cluster, eventually, losses

SCRIPT = SOURCE / "examples" / "python" / "own_model.py"
RECIPE = SOURCE / "examples" / "python" / "own_model.toml"
TOKENS_PER_STEP = 8 * 16


class OpaqueFleetTest(unittest.TestCase):
    def assert_learned(self, cluster):
        first = min(losses(cluster.output("a"))[0], losses(cluster.output("b"))[0])
        last = max(losses(cluster.output("a"))[-1], losses(cluster.output("b"))[-1])
        self.assertLess(last, first / 2, cluster.everything())

    def test_two_workers_train_to_the_end_of_the_budget(self):
        for codec in ("bf16", "int8"):
            with self.subTest(codec=codec), \
                    Cluster(RECIPE, ["train.budget_local_steps=600", f"codec.up={codec}"],
                            ["--start-workers", "2", "--keep-deltas"]) as cluster:
                a, b = (cluster.start_worker(name, SCRIPT) for name in "ab")
                cluster.wait_for_the_end(self, a, b)
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
            cluster.wait_for_the_end(self, a, b)
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
            cluster.wait_for_the_end(self)
            snapshots = sorted(int(path.name.removeprefix("step-"))
                               for path in (cluster.run / "checkpoints").glob("step-*"))
            cluster.rubato("rollback", str(cluster.run), "--to", str(snapshots[0]))
            cluster.start_coordinator()
            cluster.wait_for_the_end(self, *workers)
            for name in "ab":
                self.assertIn("rolled back, 1 times by now: begins anew", cluster.output(name),
                              cluster.everything())
            self.assertTrue(cluster.summary()["finished"])
            self.assertGreaterEqual(cluster.summary()["local_steps"], 700)
            self.assert_learned(cluster)


if __name__ == "__main__":
    unittest.main(verbosity=2)
