"""Linear recurrences and matrix memories as their papers write them, in NumPy."""

from __future__ import annotations

import numpy as np
from _papers import H, sigmoid


def softplus(x):
    return np.log1p(np.exp(x))


def silu(x):
    return x * sigmoid(x)


def unit(x):
    return x / np.sqrt((x * x).sum() + 1e-6)


def cut(z, *widths):
    """Slices of a vector, one after another, and nothing left over."""
    assert sum(widths) == len(z)
    return np.split(z, np.cumsum(widths)[:-1])


def per_head(heads, *parts):
    return zip(*(np.split(p, heads) for p in parts))


def linear_attention(p, z, s, heads=2):
    parts = cut(z, H, H, H)
    s, ys = s or [[np.zeros((2, 2)), np.zeros(2)] for _ in range(heads)], []
    for (m, n), (q, k, v) in zip(s, per_head(heads, *parts)):
        q, k = (np.where(a > 0, a + 1, np.exp(a)) for a in (q, k))
        m += np.outer(k, v)
        n += k
        ys.append(q @ m / (q @ n))
    return s, np.concatenate(ys)


def fading(gates, delta=False, keys=2):
    """A matrix memory from z -> for each head (q, k, v, what remains, how strongly to write)."""

    def step(p, z, s):
        writes = gates(p, z)
        s, ys = s or [np.zeros((keys, 2)) for _ in writes], []
        for i, (q, k, v, alpha, beta) in enumerate(writes):
            m = np.diag(np.broadcast_to(alpha, keys)) @ s[i]
            s[i] = (
                (np.eye(keys) - beta * np.outer(k, k)) @ m + beta * np.outer(k, v)
                if delta
                else m + beta * np.outer(k, v)
            )
            ys.append(q @ s[i])
        return s, np.concatenate(ys)

    return step


def retention(p, z):
    q, k, v = cut(z, H, H, H)
    return [(q, k / np.sqrt(2), v, 1 - 2.0 ** (-5 - i), 1) for i, (q, k, v) in enumerate(per_head(2, q, k, v))]


def gated_attention(p, z):
    q, k, v, a = cut(z, H, H, H, H)
    return [(q / np.sqrt(2), k, v, sigmoid(a) ** (1 / 3), 1) for q, k, v, a in per_head(2, q, k, v, a)]


def delta(p, z):
    q, k, v, b = cut(z, H, H, H, 2)
    return [(unit(silu(q)), unit(silu(k)), v, 1, 2 * sigmoid(b[0])) for q, k, v, b in per_head(2, q, k, v, b)]


def gated_delta(p, z):
    q, k, v, b, a = cut(z, H, H, H, 2, 2)
    alpha = np.exp(-np.exp(p["rate"]) * softplus(a))
    return [
        (unit(silu(q)), unit(silu(k)), v, alpha[0], sigmoid(b[0]))
        for q, k, v, b, alpha in per_head(2, q, k, v, b, alpha)
    ]


def duality(p, z, s):
    v, b, c, dt = cut(z, H, 3, 3, 2)
    dt = softplus(dt)
    writes = [(c, b, v, np.exp(-np.exp(r) * dt), dt) for v, r, dt in zip(np.split(v, 2), p["rate"], dt)]
    s, y = fading(lambda p, z: writes, keys=3)(p, z, s)
    return s, y + np.repeat(p["d"], 2) * v


def delta_product(p, z, s):
    q, rest = z[:H], z[H:].reshape(3, -1)
    s = s or [np.zeros((2, 2)) for _ in range(2)]
    for row in rest:
        for i, (k, v, b) in enumerate(per_head(2, *cut(row, H, H, 2))):
            k, b = unit(silu(k)), 2 * sigmoid(b)
            s[i] = (np.eye(2) - b * np.outer(k, k)) @ s[i] + b * np.outer(k, v)
    return s, np.concatenate([unit(silu(q)) @ m for q, m in zip(np.split(q, 2), s)])


def mlstm(p, z, s):
    """Without the stabiliser: in double precision, over so few steps, nothing overflows."""
    q, k, v, o, i, f = cut(z, H, H, H, H, 2, 2)
    s, ys = s or [[np.zeros((2, 2)), np.zeros(2)] for _ in range(2)], []
    parts = per_head(2, q, k / np.sqrt(2), v, np.exp(i), sigmoid(f + 1))
    for memory, (read, at, value, gain, keep) in zip(s, parts):
        memory[0] = keep * memory[0] + gain * np.outer(at, value)
        memory[1] = keep * memory[1] + gain * at
        ys.append(read @ memory[0] / max(abs(read @ memory[1]), 1))
    return s, sigmoid(o) * np.concatenate(ys)


def slstm(p, z, s):
    """Without the stabiliser, too."""
    c, n, h = s or (np.zeros(H),) * 3
    v = np.concatenate([(a @ u).reshape(4, 2) for a, u in zip(np.split(h, 2), p["u"])], axis=1)
    z, i, f, o = z.reshape(4, H) + v
    c = np.exp(f + 0.5) * c + np.exp(i) * np.tanh(z)
    n = np.exp(f + 0.5) * n + np.exp(i)
    h = sigmoid(o) * c / n
    return (c, n, h), h


def s5(p, x, s):
    pole = -np.exp(p["decay"]) + 1j * p["frequency"]
    a = np.exp(np.exp(p["step"]) * pole)
    h = a * (0 if s is None else s) + (a - 1) / pole * (x @ (p["b_re"] + 1j * p["b_im"]))
    return h, 2 * (h @ (p["c_re"] + 1j * p["c_im"])).real + x @ p["d"]


def s6(p, z, s):
    dt = softplus(z @ p["w_dt"] @ p["u_dt"] + p["step"])
    h = np.exp(-dt[:, None] * np.exp(p["rate"])) * (0 if s is None else s) + np.outer(dt * z, z @ p["w_b"])
    return h, h @ (z @ p["w_c"]) + p["d"] * z


def rg_lru(p, z, s):
    r, i = sigmoid(z @ p["w_r"] + p["b_r"]), sigmoid(z @ p["w_i"] + p["b_i"])
    a = sigmoid(p["decay"]) ** (8 * r)
    h = a * (0 if s is None else s) + np.sqrt(1 - a**2) * i * z
    return h, h


def sru(p, a, c):
    c = np.zeros(H) if c is None else c
    z, f, r, s = np.split(a, 4)
    f, r = sigmoid(f + p["v"][0] * c), sigmoid(r + p["v"][1] * c)
    c = f * c + (1 - f) * z
    return c, r * c + (1 - r) * s


def rtu(p, z, s):
    r, theta = np.exp(-np.exp(p["nu"])), np.exp(p["phase"])
    a, b = s or (0, 0)
    u, v = np.split(z, 2)
    a, b = (
        r * (np.cos(theta) * a - np.sin(theta) * b) + np.sqrt(1 - r**2) * u,
        r * (np.cos(theta) * b + np.sin(theta) * a) + np.sqrt(1 - r**2) * v,
    )
    return (a, b), np.maximum(np.concatenate([a, b]), 0)
