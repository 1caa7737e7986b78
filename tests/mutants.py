# ruff: noqa: E501 (a mutant is a line)
"""Plants bugs, one at a time, and checks that the fast tests of the mathematics find each: ``python -m tests.mutants``.

Prints the score and names the survivors; exit code 1 if there are any.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = [
    "arrays",
    "activations",
    "initializers",
    "losses",
    "schedules",
    "calls",
    "products",
    "passes",
    "network",
    "normalization",
    "optimizers",
    "updates",
    "augment",
    "views",
    "metrics",
    "training",
    "calibration",
    "teaching",
    "teams",
    "ensembles",
    "features",
    "gradients",
    "patches",
    "coded",
]
#: (module, what stands there, what is planted instead); the text must stand there exactly once.
MUTANTS = (
    # activations
    ("activations", "partial(np.subtract, ONE, scratch, scratch)", "partial(np.add, ONE, scratch, scratch)"),
    ("activations", "partial(np.subtract, ONE, a, scratch), partial(np.multiply, scratch, a, scratch)", "(partial(np.subtract, ONE, a, scratch),)"),
    ("activations", "partial(np.greater, a, ZERO, positive)", "partial(np.greater_equal, a, ZERO, positive)"),
    ("activations", "partial(np.greater, a, ZERO, positive)", "partial(positive.fill, True)"),
    ("activations", "partial(np.negative, z, z), ", ""),
    ("activations", "_delta: Array, _scratch: Array) -> Runs:\n    return ()", "_delta: Array, _scratch: Array) -> Runs:\n    return (partial(_delta.fill, 0),)"),
    ("activations", "partial(np.multiply, delta, positive, delta)", "partial(np.copyto, delta, positive)"),
    ("activations", "partial(z.clip, ZERO, INFINITY, z)", "partial(np.abs, z, z)"),
    # initializers
    ("initializers", "np.sqrt(6 / (fan_in + fan_out))", "np.sqrt(6 / fan_in)"),
    ("initializers", "np.sqrt(2 / fan_in)", "2 / fan_in"),
    ("initializers", "np.sqrt(2 / fan_in)", "np.sqrt(2 / fan_out)"),
    ("initializers", "(2 * SIGHT**2)", "SIGHT**2"),
    ("initializers", "np.sum(down**2, axis=0)", "np.sum(down, axis=0)"),
    ("initializers", "rng.uniform(0, side - 1, (2, 1, fan_out))", "np.full((2, 1, fan_out), (side - 1) / 2)"),
    ("network", "chain([row.first], repeat(row.draw))", "repeat(row.draw)"),
    # losses
    ("losses", "out = np.subtract(logits, np.maximum.reduce(logits, axis=CLASSES, keepdims=True), out=out)", "out = np.subtract(logits, 0, out=out)"),
    ("losses", "np.full((len(out), len(out)), 1 / share, out.dtype)", "np.full((len(out), len(out)), 1, out.dtype)"),
    ("losses", "np.full((len(out), len(out)), 1 / share, out.dtype)", "np.eye(len(out), dtype=out.dtype) / share"),
    ("losses", "np.divide(out, total, out=out)\n        np.subtract(out, weighted, out=out)", "np.divide(out, total, out=out)\n        np.subtract(weighted, out, out=out)"),
    ("losses", "        np.multiply(p, share, out=out)\n", "        np.multiply(p, 1, out=out)\n"),
    ("losses", "(log_total - shifted) * targets", "(log_total - logits) * targets"),
    ("losses", "np.add.reduce(p * out, axis=CLASSES, keepdims=True)", "0"),
    ("losses", "2 / p.shape[CLASSES]", "2"),
    ("losses", "2 / p.shape[CLASSES]", "2 / p.shape[-1]"),
    ("losses", "np.mean(np.square(softmax(logits) - targets), axis=CLASSES)", "np.square(softmax(logits) - targets).sum(-2)"),
    # schedules
    ("schedules", "return step / rise", "return (step - 1) / rise"),
    ("schedules", "return (1 + cos(", "return (1 - cos("),
    ("schedules", "step > share * total", "step >= share * total"),
    # network
    ("network", "spec.objective.delta(1 / n, to.output)", "spec.objective.delta(1, to.output)"),
    ("network", "spec.objective.delta(1 / n, to.output)", "spec.objective.delta(1 / n**2, to.output)"),
    ("network", "wanted / len(x), logits)", "wanted, logits)"),
    ("network", "block[:-1] for block in blocks", "block[1:] for block in blocks"),
    ("passes", "                *f.pull_back(with_gaps(units.output), with_gaps(delta), with_gaps(scratch)),\n", ""),
    ("passes", "to.scratch[rows][: len(delta)]", "to.scratch[: len(delta)]"),
    ("passes", "f.pull_back(with_gaps(units.output),", "f.pull_back(with_gaps(delta),"),
    ("passes", "                *f.apply(with_gaps(z)),\n", ""),
    ("network", "out[:, -1] = 1", "out[:, -1] = 0"),
    ("passes", "following[-1] = 1\n", "following[-1] = 0\n"),
    ("passes", "                *product(weights[k][rows], deltas[k], delta),\n", ""),
    ("passes", "last(inputs[-1], logits)", "last(inputs[-1], logits)\n        call(f.apply(logits))"),
    ("network", "return freeze(gradient)\n\n\n@frozen", "return gradient\n\n\n@frozen"),
    # calls
    ("arrays", "zip(starts, [*starts[1:], size], strict=True)", "zip(starts, [*starts[1:], size - 1], strict=True)"),
    ("arrays", "    out[:, columns:] = 0\n", ""),
    ("calls", "call(shares[team.part])", "call(shares[0])"),
    ("calls", "call(shares[team.part]), team.meet", "call(shares[team.part]), lambda: None"),
    ("calls", "call(runs) if team.leads else None", "call(runs)"),
    # teams
    ("teams", "counts[other] < arrived", "counts[other] < arrived - 1"),
    ("teams", "idle.pop() if idle else mmap(-1, size)", "mmap(-1, size)"),
    ("teams", "signal.signal(number, signal.SIG_IGN)", "pass"),
    ("teams", "interrupt = error", "raise"),
    ("normalization", "z, scratch = (empty(", "z, scratch = (np.empty("),
    ("training", "drops)\n                    team.meet()\n", "drops)\n"),
    ("training", "_masks(plan, b, team.empty)", "_masks(plan, b, np.empty)"),
    ("training", "1 if team.parts > 1 else plan.threads", "2"),
    ("teams", "watched > WATCHES * PATIENCE", "False"),
    ("teams", "(memory or Memory()).empty if self.parts > 1 else empty", "empty"),
    ("training", "mine[k], axis=0", "rows[k, : len(design)], axis=0"),
    ("training", "loss = float(heard[0])", "loss = float(heard[0]) * 2"),
    ("passes", "array[rows], self", "array[: rows.stop - rows.start], self"),
    ("passes", "gradients[k][rows])", "gradients[k][: rows.stop - rows.start])"),
    # calibration
    ("calibration", "evolve(plan, threads=count)", "plan"),
    ("calibration", "    _timed(evolve(plan, threads=counts[0]), data, 1)", "    # "),
    ("calibration", "learning_rate=0.0", "learning_rate=0.1"),
    ("calibration", "data, 1 + more) - first", "data, 1 + more)"),
    ("calibration", "(first - step) / plan.steps_per_epoch(n) * plan.pieces(n)", "0"),
    ("calibration", "together * GAIN < alone", "together < alone"),
    ("calibration", "_several(turns[0]) == _several(turns[1])", "True"),
    ("calibration", "statistics.median(times)", "statistics.mean(times)"),
    # products
    ("products", "m * k * n <= LIMIT or walk > WALK", "m * k * n <= LIMIT"),
    ("products", "for columns in COLUMNS if columns <= n]", "for columns in COLUMNS]"),
    ("products", "if rows * columns * k <= LIMIT", "if columns * k <= LIMIT"),
    ("products", "(n % ROUND == 0)", "True"),
    ("products", "[(whole, size, size - whole)] * (size > whole)", "[]"),
    ("products", "    return (partial(np.copyto, turned, x),), turned", "    np.copyto(turned, x)\n    return (), turned"),
    ("products", "_whole(b.T, a.T, swapped)", "_whole(b.T, a.T, np.empty_like(swapped))"),
    ("products", "runs = [*turn]", "runs = []"),
    ("products", "[partial(np.add, total, terms, total)] if number else []", "[]"),
    ("products", "        runs.append(partial(np.copyto, out[top:bottom]", "        runs.append(partial(np.copyto, out[: bottom - top]"),
    ("products", "KERNELS.issuperset(found)", "not KERNELS.isdisjoint(found)"),
    # optimizers
    ("optimizers", "np.multiply(g, rate, out=s)", "np.copyto(s, g)"),
    ("optimizers", "discount(u, mu, g)", "discount(u, mu, (1 - mu) * g)"),
    ("optimizers", "discount(u, mu, g)", "discount(u, mu, rate * g)"),
    ("optimizers", "np.add(ahead, g, out=s)\n            s *= ", "np.add(ahead, 0, out=s)\n            s *= "),
    ("optimizers", "ahead += g\n            ahead *= mu", "ahead *= mu\n            ahead += g"),
    ("optimizers", "np.sqrt(v, out=s)\n            s += least\n", "np.sqrt(v + least**2, out=s)\n"),
    ("optimizers", "epsilon * root, signal.learning_rate * root)", "epsilon * root, signal.learning_rate)"),
    ("optimizers", "np.sqrt(v, out=g)\n            g += least\n            np.divide(m", "np.sqrt(v, out=g)\n            g += least / root\n            np.divide(m"),
    ("optimizers", "signal.learning_rate * root / total_weight(beta1, t)", "signal.learning_rate * root / total_weight(beta1, t + 1)"),
    ("optimizers", "root = sqrt(total_weight(beta2, t))", "root = sqrt(total_weight(beta2, t - 1) + 1e-30)"),
    ("optimizers", "root = sqrt(total_weight(beta2, t))", "root = sqrt(1 / (1 - beta2))"),
    ("optimizers", "weight / total_weight(beta1, t + 1)", "weight / total_weight(beta1, t)"),
    ("optimizers", "ahead += g\n            ahead *= decay1", "ahead *= decay1\n            ahead += g"),
    ("optimizers", "grows = bool(growth != 1)", "grows = bool(growth < 0.99)"),
    ("optimizers", "min(max(change, 1 / clip), clip)", "min(change, clip)"),
    ("optimizers", "low = min(signal.loss, state.loss)", "low = max(signal.loss, state.loss)"),
    ("optimizers", "evolve(state, d=d, loss=signal.loss)", "evolve(state, d=d)"),
    ("optimizers", "s[biases] = 0", "pass"),
    ("optimizers", "theta[biases] = values", "pass"),
    ("updates", "places.start + left_out * places.step", "max(places.start, span.start)"),
    ("updates", "slice(start - span.start, stop - span.start, places.step)", "slice(start - span.start, None, places.step)"),
    ("network", "slice(sizes[0], first.stop, sizes[0] + 1)", "slice(0, first.stop, sizes[0] + 1)"),
    ("network", "first.reshape(sizes[1], -1).T if", "first.reshape(-1, sizes[1]) if"),
    ("passes", "gradients[k].T[rows])", "gradients[k].T[: rows.stop - rows.start])"),
    ("optimizers", "1 - signal.learning_rate * strength", "1 - strength"),
    ("optimizers", "np.multiply(theta, factor, out=s)", "np.multiply(theta, 2 * factor, out=s)"),
    ("optimizers", "scale=limit / norm", "scale=limit"),
    ("optimizers", "norm > limit else signal", "norm < limit else signal"),
    ("updates", "shares[team.part]", "shares[0]"),
    ("updates", "team.meet()  # before any", "pass  # before any"),
    ("optimizers", "signal.learning_rate * schedule(signal.step)", "signal.learning_rate * schedule(signal.step - 1)"),
    ("updates", "theta, private = np.array(params.theta), thaw(state)", "theta, private = np.array(params.theta), state"),
    ("optimizers", "        array += bias\n        array -= bias\n", ""),
    ("optimizers", "2.0**-90 if", "2.0**-60 if"),
    ("updates", "a[span], state)", "a[: span.stop - span.start], state)"),
    ("optimizers", "return (1 - beta**t) / (1 - beta)", "return 1 - beta**t"),
    # training
    ("data", "data.taught[rows].swapaxes(-1, -2)", "data.taught[: rows.size].reshape(*rows.shape, -1).swapaxes(-1, -2)"),
    ("teaching", "images.train_images[chosen[span]]", "images.train_images[span]"),
    ("teaching", "np.setdiff1d(held_out, ", "np.setdiff1d(held_out[:0], "),
    ("training", "yield n // size * size, n % size, 1", "yield 0, n % size, 1"),
    ("training", "epoch_order(n, plan.seed, state.epoch)", "epoch_order(n, plan.seed, 0)"),
    ("training", "passes[size]", "passes[plan.batch_size] if size < plan.batch_size else passes[size]"),
    ("training", "                step += 1\n", "                step = state.epoch + 1\n"),
    ("training", "state.tally if steps.start else Tally()", "state.tally"),
    # features
    ("gradients", "np.roll(sums[1::2], 1, axis=0)", "np.roll(sums[1::2], -1, axis=0)"),
    ("gradients", "np.maximum(out[::2], 0, out=out[::2])", "np.abs(out[::2], out=out[::2])"),
    ("gradients", "halves[:, 1:-1, 1:-1]", "halves[:, :-2, :-2]"),
    ("gradients", "np.array([1, np.sqrt(2)], out.dtype)", "np.array([1, 1], out.dtype)"),
    ("gradients", '((1, 1), (1, 1), (0, 0)), "edge")', '((1, 1), (1, 1), (0, 0)))'),
    ("gradients", "x[2:, 1:-1], x[:-2, 1:-1], out=out[2]", "x[:-2, 1:-1], x[2:, 1:-1], out=out[2]"),
    ("gradients", "grid[turned, :, ::-1]", "grid[:, :, ::-1]"),
    ("features", "patches.mirror(grid) + start", "np.arange(patches.width(grid)) + start"),
    ("features", "(sums + 2) // 4", "sums // 4"),
    ("features", "_halved(images) if number else images", "images"),
    ("patches", "index[:, :, ::-1, ::-1].ravel()", "index[:, :, ::-1].ravel()"),
    ("patches", "CONTRAST * 255**2", "CONTRAST * 255"),
    ("patches", "v *= (UNIT / np.maximum(length, 1)).astype(np.float32)[:, None]\n    return np.rint(v, out=v)", "v *= (UNIT / np.maximum(length, 1)).astype(np.float32)[:, None]\n    return v"),
    ("patches", "atoms[:, _mirrored_pixels()]", "atoms[:, ::-1]"),
    ("patches", "below[:] = threshold, -threshold", "below[:] = threshold, threshold"),
    ("patches", "np.sum(parts, axis=0, dtype=float)", "np.sum(parts[:1], axis=0, dtype=float)"),
    # normalisation
    ("normalization", "np.subtract(delta, share, out=delta)", "pass"),
    ("normalization", "np.subtract(delta, self.total / delta.shape[1], out=delta)", "pass"),
    ("normalization", "np.add(self.z, self.biases, out=z)", "z[:] = self.z"),
    ("normalization", "/ z.shape[1] + EPSILON", "/ (z.shape[1] + 1) + EPSILON"),
    ("normalization", "block[-1] += biases - mean * scale", "block[-1] -= mean * scale"),
    ("passes", "partial(np.copyto, gradients[k][-1], norm.total[:, 0])", "partial(gradients[k][-1].fill, 0)"),
    ("training", "not plan.normalizes", "plan.normalizes"),
    ("coded", "np.maximum(features.max(axis=0), features.max(axis=0)[mirror])", "features.max(axis=0)"),
    ("coded", "self.rows.take(indices, mode=mode)", "indices"),
    ("coded", "(FLOOR * MOST) ** 2", "(FLOOR * MOST)"),
    # dropout and changes of batches
    ("augment", "x[chosen[:, None], index]", "x[chosen[:, None], index[::-1]]"),
    ("features", "np.rint(255 * x[span, : side**2])", "np.floor(255 * x[span, : side**2])"),
    ("augment", "        row.renew(x)\n", ""),
    ("views", "        row.renew(out)\n", ""),
    ("passes", "                *units.masked(delta, delta),\n", ""),
    ("passes", "*units.masked(z, units.following[: len(z)])", "*units.masked(z, z), partial(np.copyto, units.following[: len(z)], z)"),
    ("passes", "following[:-1] if mask is None else pitched(width, n, dtype, empty)", "following[:-1]"),
    ("training", "change(step, ", "change(step + 1, "),
    ("training", "np.divide(wanted[k], size, out=weighted[k])", "pass"),
    ("training", 'rng(plan.seed, "dropout", step), drops', 'rng(plan.seed, "dropout", state.step), drops'),
    ("augment", "256 / (256 - dropped)", "256 / dropped if dropped else 1"),
    ("augment", "256 / (256 - dropped)", "1"),
    ("augment", "np.greater_equal(bits, dropped)", "np.greater(bits, dropped)"),
    ("augment", "round(256 * rate)", "int(256 * rate)"),
    ("augment", "flipped(images, rng(seed, \"flip\", step).random(len(x)) < 0.5)", "flipped(images, rng(seed, \"flip\", step).random(len(x)) < 0.6)"),
    ("augment", "down, right = (reach - offsets).T", "right, down = (reach - offsets).T"),
    ("augment", "down, right = (reach - offsets).T", "down, right = (reach + offsets).T"),
    ("augment", "integers(-most.shift, most.shift + 1,", "integers(-most.shift, most.shift,"),
    ("augment", "wide = side + 3 ", "wide = side + 2 "),
    ("augment", "side + 1, out=at)", "side, out=at)"),
    ("augment", "for row in (0, wide)", "for row in (wide, 0)"),
    ("augment", "at += (side + 1) / 2", "at += (side + 2) / 2"),
    ("augment", "    b -= a\n", ""),
    ("augment", "[[cos, sin], [lean * cos - sin", "[[cos, -sin], [lean * cos + sin"),
    ("augment", "lean * sin + cos", "cos - lean * sin"),
    ("augment", "most.shear * generator", "most.rotation * generator"),
    ("optimizers", "signal.numbers(total_weight(decay, signal.step))", "signal.numbers(total_weight(decay, signal.step + 1))"),
    ("optimizers", "np.subtract(theta, mean, out=s)", "np.subtract(mean, theta, out=s)"),
    ("training", " if state.step else state.params", ""),
    ("augment", "np.cos(np.radians(degrees)) / scales", "np.cos(np.radians(degrees)) * scales"),
    ("augment", "smoothing /= np.linalg.norm(smoothing, axis=1, keepdims=True)", "smoothing /= smoothing.sum(axis=1, keepdims=True)"),
    ("augment", "(2 * SMOOTHNESS**2)", "SMOOTHNESS**2"),
    ("augment", "return freeze(array + share * (array[other] - array))", "return freeze(array + share * array[other])"),
    ("augment", "min(share, 1 - share)", "max(share, 1 - share)"),
    ("augment", "targets[:] = mixed(targets.T, other, share).T", "targets[:] = mixed(targets.T, other[::-1], share).T"),
    ("augment", "most.rotation * degrees", "most.scaling * degrees"),
    ("augment", "noise *= most.input_noise", "noise *= most.input_noise**2"),
    ("augment", 'rng(seed, "mixup", step)', 'rng(seed, "mixup")'),
    ("augment", 'rng(seed, "warp", step)', 'rng(step, "warp")'),
    # views
    ("views", "seen(images, views, of)) / len(VIEWS[views])", "seen(images, views, of))"),
    ("views", "images[:, :, ::-1]", "images[:, ::-1]"),
    ("views", "((-1, 0), (1, 0), (0, -1), (0, 1))", "((-1, 0), (1, 0), (0, -1), (0, 0))"),
    ("metrics", "np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny)).T", "probabilities.T"),
    ("metrics", " and not np.isnan(best).any()", ""),
    ("metrics", "== len(labels) and", ">= len(labels) and"),
    ("metrics", "freeze(np.mean(probabilities, axis=0))", "freeze(np.max(probabilities, axis=0))"),
)  # fmt: skip


def verdict(number: int) -> tuple[int, bool]:
    """Tell whether the tests fail with a mutant planted (0: none) in a copy of the project."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for part in ("fnn", "tests"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "train.py", folder)
        (Path(folder) / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        if number:
            module, old, new = MUTANTS[number - 1]
            path = Path(folder) / "fnn" / f"{module}.py"
            text = path.read_text()
            if text.count(old) != 1:
                raise SystemExit(f"mutant {number}: {old!r} stands {text.count(old)} times in {module}.py, not once")
            path.write_text(text.replace(old, new))
        files = [f"tests/test_{name}.py" for name in TESTS]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", "not keras", *files]
        settings = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": folder, "FNN_DATA_DIR": str(ROOT / "tests" / "data")}
        run = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, timeout=600)
        if run.returncode not in (0, 1):
            raise SystemExit(f"mutant {number}: pytest ended with {run.returncode}\n{run.stdout.decode()[-2000:]}")
        return number, run.returncode == 1


def main() -> int:
    began = time.monotonic()
    if verdict(0)[1]:
        print("the tests fail without a mutant")
        return 1
    survivors = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number, killed in pool.map(verdict, range(1, len(MUTANTS) + 1)):
            module, old, new = MUTANTS[number - 1]
            print(f"{number:3} {'killed  ' if killed else 'SURVIVED'} {module}: {old!r} -> {new!r}"[:150], flush=True)
            survivors += [] if killed else [number]
    total = len(MUTANTS)
    print(
        f"{total - len(survivors)} of {total} planted bugs found in {time.monotonic() - began:.0f} s; left: {survivors}"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
