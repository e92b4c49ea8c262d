# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws that numpy.random.Generator lacks. `random` is always one of those."""

import math


def chance(random, probability):
    """Whether something of this probability happens."""
    return random.random() < probability


def log_uniform(random, low, high):
    """A number between two positive ones, as often in each octave."""
    return math.exp(random.uniform(math.log(low), math.log(high)))


def pick(random, items):
    """One of a sequence's items."""
    return items[random.integers(len(items))]


def pick_weighted(random, weights):
    """A key of a dictionary of weights, which need not add up to 1."""
    rest = random.random() * sum(weights.values())
    for key, weight in weights.items():
        rest -= weight
        if rest < 0:
            break
    return key
