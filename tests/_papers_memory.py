"""Networks with an external memory as their papers write them, in NumPy."""

from __future__ import annotations

import numpy as np
from _papers import H, sigmoid


def stack_rnn(p, z, s):
    h, stack = s or (np.zeros(H), [np.zeros(2)] * 3)
    h = np.tanh(z + h @ p["u"] + stack[0] @ p["v"])
    push, pop, stay = np.exp(h @ p["q"] + p["b_r"]) / np.exp(h @ p["q"] + p["b_r"]).sum()
    value = sigmoid(h @ p["r"] + p["b_i"])
    above, below = [value, *stack[:-1]], [*stack[1:], np.zeros(2)]
    stack = [push * a + pop * b + stay * s for a, b, s in zip(above, below, stack)]
    return (h, stack), h


def tape_rnn(p, z, s):
    h, tape = s or (np.zeros(H), [np.zeros(2)] * 4)
    h = np.tanh(z + h @ p["u"] + tape[0] @ p["v"])
    stay, left, right, far_left, far_right = softmax(h @ p["q"] + p["b_r"])
    tape = [h @ p["r"] + p["b_i"], *tape[1:]]
    tape = [
        stay * tape[i]
        + left * tape[(i + 1) % 4]
        + right * tape[i - 1]
        + far_left * tape[(i + 2) % 4]
        + far_right * tape[i - 2]
        for i in range(4)
    ]
    return (h, tape), h


def softmax(a):
    return np.exp(a) / np.exp(a).sum()


def softplus(a):
    return np.log1p(np.exp(a))


def lstm(p, z, c, h, read):
    i, f, g, o = np.split(z + h @ p["u"] + read @ p["v"], 4)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def content(memory, key, strength):
    lengths = np.sqrt((memory**2).sum(1) * (key**2).sum() + 1e-12)
    return softmax(strength * (memory @ key) / lengths)


def ntm(p, z, s):
    slots, width = 4, 2
    start = np.eye(slots)[0]
    c, h, read, memory, *heads = s or (
        np.zeros(H), np.zeros(H), np.zeros(width), np.full((slots, width), 1e-6), start, start
    )  # fmt: skip
    c, h = lstm(p, z, c, h, read)
    emitted, new = list(h @ p["q"] + p["b_r"]), []
    for before in heads:
        key, (beta, g, a, b, d, gamma) = np.array(emitted[:width]), emitted[width : width + 6]
        emitted = emitted[width + 6 :]
        mixed = sigmoid(g) * content(memory, key, softplus(beta)) + (1 - sigmoid(g)) * before
        back, stay, on = softmax(np.array([a, b, d]))
        moved = np.array([back * mixed[(i + 1) % slots] + stay * mixed[i] + on * mixed[i - 1] for i in range(slots)])
        new.append(moved ** (1 + softplus(gamma)) / (moved ** (1 + softplus(gamma))).sum())
    read = new[0] @ memory
    erase, add = sigmoid(np.array(emitted[:width])), np.array(emitted[width:])
    memory = np.array([row * (1 - w * erase) + w * add for row, w in zip(memory, new[1])])
    return (c, h, read, memory, *new), np.append(h, read)


def dnc(p, z, s):
    """The methods of the paper, slot by slot."""
    n, width, heads = 3, 2, 2
    c, h, read, memory, usage, links, order, reading, writing = s or (
        np.zeros(H), np.zeros(H), np.zeros((heads, width)), np.full((n, width), 1e-6), np.zeros(n), np.zeros((n, n)),
        np.zeros(n), np.zeros((heads, n)), np.zeros(n),
    )  # fmt: skip
    c, h = lstm(p, z, c, h, read.reshape(-1))
    e = h @ p["q"] + p["b_r"]
    keys, strengths, free, modes = e[:4].reshape(2, 2), e[4:6], e[6:8], e[8:14].reshape(2, 3)
    key, strength, erase, add, allocate, write = e[14:16], e[16], e[17:19], e[19:21], e[21], e[22]
    retention = np.prod([1 - sigmoid(f) * r for f, r in zip(free, reading)], axis=0)
    usage = (usage + writing - usage * writing) * retention
    allocation, product = np.zeros(n), 1.0
    for slot in np.argsort(usage, kind="stable"):
        allocation[slot], product = (1 - usage[slot]) * product, product * usage[slot]
    gate = sigmoid(allocate)
    writing = sigmoid(write) * (gate * allocation + (1 - gate) * content(memory, key, 1 + softplus(strength)))
    memory = np.array([row * (1 - w * sigmoid(erase)) + w * add for row, w in zip(memory, writing)])
    links = np.array([
        [0 if i == j else (1 - writing[i] - writing[j]) * links[i, j] + writing[i] * order[j] for j in range(n)]
        for i in range(n)
    ])  # fmt: skip
    order = (1 - writing.sum()) * order + writing
    new = []
    for k, beta, mode, r in zip(keys, strengths, modes, reading):
        back, by_key, on = softmax(mode)
        new.append(back * (links.T @ r) + by_key * content(memory, k, 1 + softplus(beta)) + on * (links @ r))
    reading = np.array(new)
    read = reading @ memory
    return (c, h, read, memory, usage, links, order, reading, writing), np.append(h, read)
