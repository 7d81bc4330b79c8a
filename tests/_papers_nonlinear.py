"""Gates, oscillators, membranes and times as their papers write them, in NumPy."""

from __future__ import annotations

import numpy as np
from _papers import H, sigmoid, state


def cornn(p, x, s):
    y, z = s or (np.zeros(H), np.zeros(H))
    z = z + 0.1 * (np.tanh(x + y @ p["u"] + z @ p["v"]) - 2.0 * y - 3.0 * z)
    return (y + 0.1 * z, z), y + 0.1 * z


def unicornn(p, x, s):
    y, z = s or (np.zeros(H), np.zeros(H))
    dt = 0.19 * (0.5 + 0.5 * np.tanh(p["c"] / 2))
    z = z - dt * (np.tanh(p["u"] * y + x) + 30.65 * y)
    return (y + dt * z, z), y + dt * z


def lem(p, x, s):
    y, z = s or (np.zeros(H), np.zeros(H))
    (a, c, g, n), (u_a, u_c, u_g, u_n) = np.split(x, 4), np.split(p["u"], 4, axis=1)
    d_z, d_y = 0.7 * sigmoid(a + y @ u_a), 0.7 * sigmoid(c + y @ u_c)
    z = (1 - d_z) * z + d_z * np.tanh(g + y @ u_g)
    y = (1 - d_y) * y + d_y * np.tanh(n + z @ u_n)
    return (y, z), y


def antisymmetric(gated):
    def step(p, x, h):
        h = np.zeros(H) if h is None else h
        s = h @ (p["u"] - p["u"].T - 0.01 * np.eye(H))
        gate = sigmoid(x[:H] + s) if gated else 1
        h = h + 0.1 * gate * np.tanh(x[-H:] + s)
        return h, h

    return step


@state
def janet(p, z, h):
    f, g = np.split(z + h @ p["u"], 2)
    return sigmoid(f + 1) * h + (1 - sigmoid(f + 1 - 0.5)) * np.tanh(g)


@state
def ligru(p, z, h):
    g, n = np.split(z + h @ p["u"], 2)
    return sigmoid(g) * h + (1 - sigmoid(g)) * np.maximum(n, 0)


@state
def ugrnn(p, z, h):
    g, c = np.split(z + h @ p["u"], 2)
    return sigmoid(g + 1) * h + (1 - sigmoid(g + 1)) * np.tanh(c)


@state
def minimal_rnn(p, z, h):
    code = np.tanh(z)
    g = sigmoid(h @ p["u"] + code @ p["v"] + p["b_g"])
    return g * h + (1 - g) * code


def ran(p, z, c):
    c = np.zeros(H) if c is None else c
    i, f, n = np.split(z, 3)
    u_i, u_f = np.split(p["u"], 2, axis=1)
    h = np.tanh(c)
    c = sigmoid(i + h @ u_i) * n + sigmoid(f + h @ u_f) * c
    return c, np.tanh(c)


@state
def star(p, a, h):
    k, z = np.split(a, 2)
    k = sigmoid(k + h @ p["u"])
    return np.tanh((1 - k) * h + k * np.tanh(z))


@state
def atr(p, z, h):
    q = h @ p["u"]
    return sigmoid(z + q) * z + sigmoid(z - q) * h


@state
def cfn(p, z, h):
    f, i, n = np.split(z, 3)
    u_f, u_i = np.split(p["u"], 2, axis=1)
    return sigmoid(f + h @ u_f) * np.tanh(h) + sigmoid(i + h @ u_i) * np.tanh(n)


@state
def fastrnn(p, z, h):
    return sigmoid(p["alpha"]) * np.tanh(z + h @ p["u"]) + sigmoid(p["beta"]) * h


@state
def fastgrnn(p, z, h):
    g = sigmoid(z + h @ p["u"] + p["b_g"])
    new = np.tanh(z + h @ p["u"] + p["b_h"])
    return (sigmoid(p["zeta"]) * (1 - g) + sigmoid(p["nu"])) * new + g * h


@state
def brc(p, z, h):
    a, c, n = np.split(z, 3)
    a, c = 1 + np.tanh(a + p["v"][0] * h), sigmoid(c + p["v"][1] * h)
    return c * h + (1 - c) * np.tanh(n + a * h)


@state
def nbrc(p, z, h):
    (a, c, n), (u_a, u_c) = np.split(z, 3), np.split(p["u"], 2, axis=1)
    a, c = 1 + np.tanh(a + h @ u_a), sigmoid(c + h @ u_c)
    return c * h + (1 - c) * np.tanh(n + a * h)


def ltc(p, z, h):
    """Algorithm 1 of the paper: dx/dt = -x / tau - f x + f A, by the fused solver."""
    h, tau = np.zeros(H) if h is None else h, np.exp(-p["rate"])
    for _ in range(3):
        f, s = sigmoid(z + h @ p["u"]), 0.7 / 3
        h = (h + s * f * p["a"]) / (1 + s * (1 / tau + f))
    return h, h


def cfc(p, z, h):
    h = np.zeros(H) if h is None else h
    z = 1.7159 * np.tanh(2 / 3 * (z + h @ p["u"]))
    g, k, r, s = np.split(z @ p["v"] + p["b_g"], 4)
    gate = sigmoid(-(r * 0.7 + s))
    h = gate * np.tanh(g) + (1 - gate) * np.tanh(k)
    return h, h


def phased_lstm(p, z, s):
    c, h, t = s or (np.zeros(H), np.zeros(H), 0.0)
    t += 0.37
    phi = np.mod(t / np.exp(-p["rate"]) - p["phase"], 1)
    k = np.where(phi < 0.3, 2 * phi / 0.6, np.where(phi < 0.6, 2 - 2 * phi / 0.6, 0.1 * phi))
    i, f, g, o = np.split(z + h @ p["u"], 4)
    new_c = sigmoid(f + 1 + p["p"][1] * c) * c + sigmoid(i + p["p"][0] * c) * np.tanh(g)
    new_h = sigmoid(o + p["p"][2] * new_c) * np.tanh(new_c)
    c, h = k * new_c + (1 - k) * c, k * new_h + (1 - k) * h
    return (c, h, t), h


def lif(p, z, s):
    v, y = s or (np.zeros(H), np.zeros(H))
    v = 0.8 * v + z + y @ p["u"] - 0.6 * y
    y = (v > 0.6).astype(float)
    return (v, y), y


def alif(p, z, s):
    v, a, y = s or (np.zeros(H), np.zeros(H), np.zeros(H))
    v, a = 0.8 * v + z + y @ p["u"] - 0.6 * y, 0.9 * a + y
    y = (v > 0.6 + 0.2 * a).astype(float)
    return (v, a, y), y


@state
def mut1(p, a, h):
    z, r, n = np.split(a, 3)
    z, r = sigmoid(z), sigmoid(r + h @ p["u"])
    return np.tanh((r * h) @ p["v"] + np.tanh(n)) * z + h * (1 - z)


@state
def mut3(p, a, h):
    (z, r, n), (u_z, u_r, u_n) = np.split(a, 3), np.split(p["u"], 3, axis=1)
    z, r = sigmoid(z + np.tanh(h) @ u_z), sigmoid(r + h @ u_r)
    return np.tanh((r * h) @ u_n + n) * z + h * (1 - z)


def narx(p, z, hs):
    hs = hs or []
    past = [hs[-k] if k <= len(hs) else np.zeros(H) for k in (1, 2, 3)]
    h = np.tanh(z + sum(h @ v for h, v in zip(past, np.split(p["v"], 3))))
    return [*hs, h], h


def tau_gru(p, z, hs):
    hs = hs or []
    h, late = (hs[-k] if k <= len(hs) else np.zeros(H) for k in (1, 3))
    (g, a, n, d), (u_g, u_a, u_n) = np.split(z, 4), np.split(p["u"], 3, axis=1)
    g, a = sigmoid(g + h @ u_g), sigmoid(a + h @ u_a)
    h = (1 - g) * h + g * (np.tanh(n + h @ u_n) + a * np.tanh(d + late @ p["v"]))
    return [*hs, h], h


@state
def rhn(p, z, s):
    for i, u in enumerate(p["v"]):
        n, t = np.split(s @ u + (z if i == 0 else p["bias"][i - 1]), 2)
        n, t = np.tanh(n), sigmoid(t - 1)
        s = n * t + s * (1 - t)
    return s


def hgrn(p, z, h):
    f, c, g = np.split(z, [2, 6])
    f, c = 0.2 + 0.8 * sigmoid(f), c * sigmoid(c)
    h = f * np.exp(1j * p["phase"]) * (0 if h is None else h) + (1 - f) * (c[:2] + 1j * c[2:])
    return h, sigmoid(g) * np.concatenate([h.real, h.imag])


def linoss(p, x, s):
    """The implicit step of the paper, by its matrix: z depends on the new position."""
    z, q = s or (np.zeros(3), np.zeros(3))
    dt, square = sigmoid(p["step"]), p["frequency"] ** 2
    share = 1 / (1 + dt**2 * square)
    z, q = share * (z - dt * square * q + dt * (x @ p["b"])), share * (dt * z + q + dt**2 * (x @ p["b"]))
    return (z, q), q @ p["c"] + x @ p["d"]


def plrnn(straight):
    @state
    def step(p, z, h):
        phi = np.where(np.arange(H) < straight, h, np.maximum(h, 0))
        return p["a"] * h + phi @ (p["u"] - np.diag(np.diag(p["u"]))) + z

    return step
