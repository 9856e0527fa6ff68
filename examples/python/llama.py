#!/usr/bin/env python3
"""A worker in PyTorch for a run of the coordinator's own language model, beside `rubato worker`s.

    rubato coordinator recipes/demo.toml
    examples/python/llama.py rubato1/.. --device cuda

The recipe says shape, optimizer and rates; the text comes from the coordinator.
"""
import argparse
import logging
import pathlib
import signal
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import rubato  # noqa: E402
from rubato.llama import Llama, LlamaConfig, make_optimizer  # noqa: E402
from rubato.tokens import TokenShards  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("join", help="what `rubato invite` printed")
    parser.add_argument("--dir", help="identity, data and inner state; default workers/ID")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--min-step-s", type=float, default=0, help="a step takes at least so long")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    def build(run):
        recipe = run.settings.recipe
        model = Llama(LlamaConfig.of(recipe, run.description.layout)).to(args.device)
        return model, make_optimizer(model, recipe)

    with rubato.join(args.join, model=build, directory=args.dir) as run:
        signal.signal(signal.SIGTERM, lambda *_: run.stop())
        shards = TokenShards.of(run, run.directory / "data")
        clip_norm = run.settings.recipe["inner"]["adamw"]["clip_norm"]
        for task in run.tasks():
            for step in task.steps():
                loss = run.model.loss(shards.batch(step.sequences).to(args.device))
                run.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(run.model.parameters(), clip_norm or float("inf"))
                run.optimizer.step()
                time.sleep(args.min_step_s)
                step.done(loss)


if __name__ == "__main__":
    try:
        main()
    except rubato.RubatoError as error:
        sys.exit(str(error))
