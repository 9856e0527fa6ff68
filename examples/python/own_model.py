#!/usr/bin/env python3
"""A model of one's own in a fleet: a small network that learns a function of two numbers.

    rubato coordinator examples/python/own_model.toml      # says how to invite
    examples/python/own_model.py rubato1/..                 # on each worker's machine

Which numbers a sequence has follows from its shard and index, so the same sequence is the same to
all workers of the run, whoever gets it.
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

POINTS = 16  # of one sequence: opaque.tokens_per_sequence of the recipe


def batch_of(sequences):
    points = []
    for one in sequences:
        generator = torch.Generator().manual_seed(one.shard * 1_000_000 + one.index)
        points.append(torch.rand(POINTS, 2, generator=generator) * 2 - 1)
    x = torch.cat(points)
    return x, torch.sin(3 * x[:, :1]) * torch.cos(2 * x[:, 1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("join", help="what `rubato invite` printed")
    parser.add_argument("--dir", help="identity and inner state; default workers/ID of the string")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--insecure", action="store_true", help="as the coordinator")
    parser.add_argument("--min-step-s", type=float, default=0, help="a step takes at least so long")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64),
                                torch.nn.Tanh(), torch.nn.Linear(64, 1)).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    with rubato.join(args.join, model=model, optimizer=optimizer, directory=args.dir,
                     insecure=args.insecure) as run:
        signal.signal(signal.SIGTERM, lambda *_: run.stop())
        for task in run.tasks():
            for step in task.steps():
                x, y = (part.to(args.device) for part in batch_of(step.sequences))
                loss = torch.nn.functional.mse_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                time.sleep(args.min_step_s)
                step.done(loss)
        print(f"loss {loss.item():.5f}")


if __name__ == "__main__":
    try:
        main()
    except rubato.RubatoError as error:
        sys.exit(str(error))
