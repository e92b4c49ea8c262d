#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests models/train.py: a run that was killed goes on as if it had not been,
the loss of a perfect result is none, the exported weights are the averaged
ones."""

import argparse
import json
import os
import sys
import tempfile
import unittest

try:
    import numpy
    import torch
except ImportError as error:
    print(error)
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..",
                                "models"))
import reference  # noqa: E402
import safetensors_io  # noqa: E402
import train  # noqa: E402

WIDTHS = "stem=2,planes=2/2/2/2,blocks=1/1/1/1,psp=4,up=4/4/2,heads=2/2/2"
SIDE = 224


def write_part(folder, number, samples=4):
    """Write a part of discs on noise."""
    random = numpy.random.default_rng(number)
    y, x = numpy.mgrid[:SIDE, :SIDE]
    alpha = numpy.empty((samples, SIDE, SIDE), numpy.uint8)
    coarse = numpy.empty((samples, 3, SIDE, SIDE), bool)
    for i in range(samples):
        row, column = random.integers(40, 90, 2)
        distance = numpy.hypot(y - row, x - column)
        alpha[i] = 255 * (distance < 35)
        coarse[i] = distance < numpy.array([30, 35, 40])[:, None, None]
    image = random.integers(0, 100, (samples, SIDE, SIDE, 3)) + \
        alpha[..., None] // 2
    numpy.savez(os.path.join(folder, f"part-{number:04}.npz"),
                image=image.astype(numpy.uint8), alpha=alpha,
                coarse=numpy.packbits(coarse, -1))


class Train(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for number in (0, 1, 2):
            write_part(self.folder, number)

    def trainer(self, name, steps, **changes):
        """Return a trainer of few steps, in a folder of its own."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        settings = dict(
            widths=WIDTHS, pool=self.folder, steps=steps, decay=2, rate=1e-3,
            weight_decay=1e-3, processes=1, seed=3, samples_per_part=20,
            first_parts=1, held_out=2, scale=0.001)
        config = train.Config(**{**settings, **changes})
        return train.Trainer(config, folder, 0, torch.device("cpu"))

    def test_resumed_equals_uninterrupted(self):
        whole = self.trainer("whole", 6)
        for _ in range(6):
            whole.take_step()
        half = self.trainer("half", 6)
        for _ in range(3):
            half.take_step()
        half.save()
        other = self.trainer("half", 6)
        other.load(other.checkpoint)
        self.assertEqual(other.step, 3)
        for _ in range(3):
            other.take_step()
        for kind in ("module", "average"):
            expected = getattr(whole, kind).state_dict()
            for name, tensor in getattr(other, kind).state_dict().items():
                self.assertTrue(torch.equal(tensor, expected[name]), name)

    def test_steps_change_the_weights(self):
        trainer = self.trainer("change", 6)
        before = {name: tensor.clone() for name, tensor
                  in trainer.module.state_dict().items()}
        trainer.take_step()
        trainer.take_step()
        changed = [name for name, tensor in trainer.module.named_parameters()
                   if not torch.equal(tensor, before[name])]
        # Steps before the last one of a stage that passes once only may
        # leave nothing out.
        self.assertEqual(len(changed), len(list(trainer.module.parameters())))

    def test_run_and_export(self):
        trainer = self.trainer("export", 3)
        trainer.run(report_every=1, measure_every=2)
        with open(os.path.join(trainer.folder, "log.jsonl")) as file:
            entries = [json.loads(line) for line in file]
        self.assertEqual([e["step"] for e in entries if "IoU" in e], [2, 3])
        path = os.path.join(self.folder, "out.safetensors")
        train.export(argparse.Namespace(folder=trainer.folder, path=path,
                                        type="fp32"))
        tensors, _ = safetensors_io.read(path)
        reference.check_tensors(tensors)
        average = trainer.average.state_dict()
        for name, tensor in tensors.items():
            self.assertTrue(torch.equal(tensor, average[name]), name)

    def test_weights_alone_are_a_start(self):
        old = self.trainer("old", 3)
        old.run(report_every=1, measure_every=3)
        path = os.path.join(self.folder, "weights.safetensors")
        train.export(argparse.Namespace(folder=old.folder, path=path,
                                        type="fp16"))
        new = self.trainer("new", 8, first_step=5, rate=0.5)
        new.load(path)
        self.assertEqual(new.step, 5)
        # warms up once more, and so the first step is a small one
        self.assertAlmostEqual(new.curriculum.rate(5), 0.5 / train.WARM_UP)
        self.assertEqual(new.curriculum.parts(5), 1)
        average = old.average.state_dict()
        for kind in ("module", "average"):
            for name, tensor in getattr(new, kind).named_parameters():
                self.assertTrue(torch.equal(
                    tensor, average[name].half().float()), name)

    def test_outlines_move_with_their_masks(self):
        alpha = torch.zeros(400, 1, 16, 16)
        alpha[..., 5:11, 5:11] = 1
        moved, seg = alpha.clone(), 2 * alpha - 1
        train.redraw(numpy.random.default_rng(1), moved, seg)
        self.assertTrue(torch.equal(seg, 2 * moved - 1))
        sides = moved[:, 0, 8].sum(-1)
        for side, share in ((2, train.TIGHT / 2), (4, train.TIGHT / 2),
                            (8, train.LOOSE / 2), (10, train.LOOSE / 2)):
            found = (sides == side).float().mean().item()
            self.assertAlmostEqual(found, share, delta=0.03)

    def test_rate(self):
        curriculum = self.trainer("rate", 1000, decay=200).curriculum
        self.assertLess(curriculum.rate(0), 1e-4)
        self.assertAlmostEqual(curriculum.rate(500), 1e-3)
        self.assertAlmostEqual(curriculum.rate(900), 5e-4)
        self.assertAlmostEqual(curriculum.rate(1000), 0)

    def test_curriculum_is_gapless(self):
        curriculum = self.trainer("stages", 1000, scale=0.01).curriculum
        before = 0
        for step in range(1, 400):
            stage, samples = curriculum.at(step - 1)
            _, after = curriculum.at(step)
            self.assertEqual(after - samples, stage.batch)
            self.assertGreaterEqual(curriculum.parts(step), before)
            before = curriculum.parts(step)
        self.assertEqual(stage, train.STAGES[-1])
        self.assertLessEqual(before, 2)  # never the part to measure on

    def test_perfect_result_costs_nothing(self):
        alpha = torch.zeros(1, 1, 32, 32)
        alpha[..., 8:24, 8:24] = 1
        seg = 2 * alpha - 1
        perfect = 200 * (alpha - 0.5)
        levels = [{8: perfect}, {8: perfect, 4: perfect},
                  {8: perfect, 4: perfect, 1: perfect}]
        for name, loss in train.Losses(alpha, seg).of(levels).items():
            self.assertLess(loss.item(), 1e-6, name)
        levels[2][1] = -perfect
        losses = train.Losses(alpha, seg).of(levels)
        self.assertGreater(losses["3/1"].item(), 10)
        self.assertGreater(losses["gradient"].item() + 1, 1)

    def test_thin_parts_and_errors_weigh_more(self):
        alpha = torch.zeros(1, 1, 64, 64)
        alpha[..., 8:40, 8:40] = 1
        alpha[..., 20:22, 40:60] = 1  # a whisker
        alpha[..., 30, 12:30] = 0  # a slit
        seg = 2 * alpha - 1
        seg[..., 8:12, 8:12] = -1  # what the input mask lacks
        weight = train.Losses(alpha, seg).weight[0, 0]
        plain = weight[60, 2]
        for place in ((20, 55), (30, 20), (9, 9)):
            self.assertGreater(weight[place], 2 * plain)
        self.assertEqual(weight[36, 36], plain)


if __name__ == "__main__":
    unittest.main()
