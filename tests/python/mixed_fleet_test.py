"""The language model in PyTorch beside the coordinator's own: the same loss, and a fleet of workers
of both kinds that trains through a death of each."""
import json
import pathlib
import subprocess
import tempfile
import tomllib
import unittest

import support
from support import RUBATO, SOURCE, Cluster, eventually
import numpy as np
import torch
from rubato import protocol
from rubato.llama import Llama, LlamaConfig
from rubato.layout import Parameters
from rubato.schedule import Settings
from rubato.tokens import TokenShards

SCRIPT = SOURCE / "examples" / "python" / "llama.py"
RECIPE = SOURCE / "recipes" / "tiny-lm.toml"


def read_safetensors(path):
    content = pathlib.Path(path).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, one in header.items():
        begin, end = (8 + size + offset for offset in one["data_offsets"])
        tensors[name] = np.frombuffer(content[begin:end], "<f4").reshape(one["shape"])
    return tensors


def newest_checkpoint(run):
    return max((pathlib.Path(run) / "checkpoints").glob("step-*"),
               key=lambda path: int(path.name.removeprefix("step-")))


def loss_of_run(run, data):
    """The validation loss [nats] of a run's newest parameters, as PyTorch finds it."""
    recipe = tomllib.loads((pathlib.Path(run) / "recipe.toml").read_text())
    tensors = read_safetensors(newest_checkpoint(run) / "model.safetensors")
    layout = protocol.message("Layout")()
    for name, tensor in tensors.items():
        layout.tensors.add(name=name, shape=tensor.shape)
    model = Llama(LlamaConfig.of(recipe, layout))
    parameters = Parameters(model)
    parameters.take_order(layout)
    parameters.write(np.concatenate([tensor.ravel() for tensor in tensors.values()]))
    shards = TokenShards(data, recipe["train"]["sequence_length"])
    with torch.no_grad():
        return model.loss(shards.validation_batch(recipe["eval"]["sequences"])).item()


class MixedFleetTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls._directory = tempfile.TemporaryDirectory(prefix="rubato-python-")
        cls.addClassCleanup(cls._directory.cleanup)
        cls.data = pathlib.Path(cls._directory.name) / "data"
        text = [str(path) for path in (SOURCE / "docs").glob("*.md")]
        cls.rubato("prepare", *sorted(text), "--out", str(cls.data), "--shards", "2")

    @staticmethod
    def rubato(*args):
        subprocess.run([RUBATO, *args], check=True, capture_output=True,
                       timeout=support.PATIENCE_S)

    def sets(self, *more):
        return [f"data.directory={self.data}", *more]

    def test_the_losses_agree(self):
        for shape in (["model.tied=true"],
                      ["model.tied=false", "model.layers=2", "model.heads=4", "model.kv_heads=2",
                       "model.head_dim=10"]):
            with self.subTest(shape=shape), tempfile.TemporaryDirectory() as run:
                words = [word for one in self.sets(*shape, "train.budget_local_steps=40")
                         for word in ("--set", one)]
                self.rubato("train", str(RECIPE), *words, "--out", run + "/run")
                summary = json.loads(pathlib.Path(run, "run", "summary.json").read_text())
                self.assertLess(summary["val_loss_nats"], 5.6)  # it has learned something
                self.assertAlmostEqual(loss_of_run(run + "/run", self.data),
                                       summary["val_loss_nats"], delta=1e-4)

    def test_both_kinds_of_workers_train_one_model_and_survive_deaths(self):
        sets = self.sets("train.budget_local_steps=600", "train.local_steps=10",
                         "codec.up=int8", "codec.down=bf16")
        with Cluster(RECIPE, sets, ["--start-workers", "2", "--lease", "5"]) as cluster:
            slow = ("--min-step-s", "0.05")
            native = cluster.start_native_worker("native", *slow)
            python = cluster.start_worker("python", SCRIPT, *slow)

            def steps():
                return cluster.status().get("steps", 0)

            self.assertTrue(eventually(lambda: steps() >= 100), cluster.everything())
            cluster.kill(python)
            before = steps()
            self.assertTrue(eventually(lambda: steps() >= before + 60), cluster.everything())
            python = cluster.start_worker("python", SCRIPT, *slow)
            applied = cluster.output("python").count("applied")
            self.assertTrue(eventually(
                lambda: cluster.output("python").count("applied") > applied), cluster.everything())
            cluster.kill(native)
            before = steps()
            self.assertTrue(eventually(lambda: steps() >= before + 60), cluster.everything())
            native = cluster.start_native_worker("native", *slow)
            for process in (cluster.coordinator, native, python):
                self.assertTrue(eventually(lambda: process.poll() is not None),
                                cluster.everything())
                self.assertEqual(process.returncode, 0, cluster.everything())

            self.assertIn("sends int8, receives bf16", cluster.output("python"))
            summary = cluster.summary()
            self.assertEqual((summary["finished"], summary["workers"]), (True, 2))
            self.assertEqual(summary["rejected"], 0)
            self.assertGreater(min(summary["worker_steps"]), 30, summary)
            evaluations = [one["loss_nats"] for one in map(
                json.loads, (cluster.run / "metrics.jsonl").read_text().splitlines())
                if one.get("kind") == "eval"]
            self.assertLess(evaluations[-1], evaluations[0] - 0.2, evaluations)
            self.assertAlmostEqual(loss_of_run(cluster.run, self.data), summary["val_loss_nats"],
                                   delta=1e-3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
