"""The optimizers' updates in NumPy, float64, written from their papers.

Each takes (g, t, rate, s, w): the gradient, the update's number from 1, its learning rate, a
dictionary for state, and the weight. It returns what the gradient takes off the weight; weight
decay is the caller's.
"""

import numpy as np

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def _moments(g, t, s, beta_1=BETA_1, beta_2=BETA_2):
    s["m"] = beta_1 * s.get("m", 0.0) + (1 - beta_1) * g
    s["v"] = beta_2 * s.get("v", 0.0) + (1 - beta_2) * g**2
    return s["m"] / (1 - beta_1**t), s["v"] / (1 - beta_2**t)


def sgd(g, t, rate, s, w):
    return rate * g


def momentum(g, t, rate, s, w):
    s["m"] = 0.9 * s.get("m", 0.0) + rate * g
    return s["m"]


def nesterov(g, t, rate, s, w):
    s["m"] = 0.9 * s.get("m", 0.0) + rate * g
    return 0.9 * s["m"] + rate * g


def adagrad(g, t, rate, s, w):
    s["sum"] = s.get("sum", 0.1) + g**2
    return rate * g / np.sqrt(s["sum"] + EPSILON)


def adadelta(g, t, rate, s, w):
    s["g"] = 0.95 * s.get("g", 0.0) + 0.05 * g**2
    step = np.sqrt(s.get("d", 0.0) + 1e-6) / np.sqrt(s["g"] + 1e-6) * g
    s["d"] = 0.95 * s.get("d", 0.0) + 0.05 * step**2
    return rate * step


def rmsprop(g, t, rate, s, w):
    s["v"] = 0.9 * s.get("v", 0.0) + 0.1 * g**2
    return rate * g / np.sqrt(s["v"] + EPSILON)


def adam(g, t, rate, s, w):
    m, v = _moments(g, t, s)
    return rate * m / (np.sqrt(v) + EPSILON)


def amsgrad(g, t, rate, s, w):
    m, _ = _moments(g, t, s)
    s["largest"] = np.maximum(s.get("largest", 0.0), s["v"])
    return rate * m / (np.sqrt(s["largest"] / (1 - BETA_2**t)) + EPSILON)


def adamax(g, t, rate, s, w):
    m, _ = _moments(g, t, s)
    s["u"] = np.maximum(BETA_2 * s.get("u", 0.0), np.abs(g))
    return rate * m / (s["u"] + EPSILON)


def nadam(g, t, rate, s, w):
    now, after = (BETA_1 * (1 - 0.5 * 0.96**k) for k in (t, t + 1))
    s["product"] = s.get("product", 1.0) * now
    _, v = _moments(g, t, s)
    m = after * s["m"] / (1 - s["product"] * after) + (1 - now) * g / (1 - s["product"])
    return rate * m / (np.sqrt(v) + EPSILON)


def lion(g, t, rate, s, w):
    m = s.get("m", np.zeros_like(g))
    s["m"] = 0.99 * m + 0.01 * g
    return rate * np.sign(0.9 * m + 0.1 * g)


def lamb(g, t, rate, s, w):
    m, v = _moments(g, t, s)
    step = m / (np.sqrt(v) + EPSILON)
    return rate * np.linalg.norm(w) / np.linalg.norm(step) * step


def muon(g, t, rate, s, w):
    s["m"] = 0.95 * s.get("m", 0.0) + g
    x = g + 0.95 * s["m"]
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    x = x.T if x.shape != w.shape else x
    return rate * 0.2 * np.sqrt(max(w.shape)) * x


def adafactor(g, t, rate, s, w):
    keep = 1 - t**-0.8
    square = g**2 + 1e-30
    s["rows"] = keep * s.get("rows", 0.0) + (1 - keep) * square.sum(1)
    s["columns"] = keep * s.get("columns", 0.0) + (1 - keep) * square.sum(0)
    v = np.outer(s["rows"], s["columns"]) / s["rows"].sum()
    step = g / np.sqrt(v)
    step /= max(1.0, np.sqrt(np.mean(step**2)))
    size = max(1e-3, np.sqrt(np.mean(w**2)))
    return size * min(rate, t**-0.5) * step


UPDATES = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "rmsprop": rmsprop,
    "adam": adam,
    "amsgrad": amsgrad,
    "adamax": adamax,
    "nadam": nadam,
    "adamw": adam,
    "adamw-paper": adam,
    "sgdw": momentum,
    "lion": lion,
    "lamb": lamb,
    "muon": muon,
    "adafactor": adafactor,
}
