"""A worker in Python with a model of its own, as a process: how it comes and goes, and the lines
of the docs."""
import signal
import time
import unittest

import support  # noqa: F401
from support import SOURCE, Cluster, eventually, losses

SCRIPT = SOURCE / "examples" / "python" / "own_model.py"
RECIPE = SOURCE / "examples" / "python" / "own_model.toml"
# What docs/workers.md leaves to its reader.
AROUND_THE_DOCS = f"""
import logging, sys
import torch
sys.path.insert(0, "{SOURCE / 'python'}")
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
torch.manual_seed(1)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1)
loss_of = torch.nn.functional.mse_loss

def batch_of(sequences):
    x = torch.tensor([[one.shard / 4, one.index / 1024] for one in sequences])
    return x, x.sum(1, keepdim=True)
"""


class OpaqueWorkerTest(unittest.TestCase):
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
            cluster.wait_for_the_end(self, worker)

    def test_the_lines_of_the_docs_train(self):
        docs = (SOURCE / "docs" / "workers.md").read_text()
        lines = docs.split("```python\n")[1].split("```")[0]
        with Cluster(RECIPE, ["train.budget_local_steps=200", "lr.max=0.3"]) as cluster:
            script = cluster.directory / "docs.py"
            self.assertEqual(lines.count('"rubato1/.."'), 1)
            script.write_text(AROUND_THE_DOCS + lines.replace('"rubato1/.."', "sys.argv[1]"))
            worker = cluster.start_worker("a", script)
            cluster.wait_for_the_end(self, worker)
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
