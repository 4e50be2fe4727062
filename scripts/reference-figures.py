#!/usr/bin/env python3
"""Makes the figures that the analysis crate is tested against, with scipy and statsmodels.

    python3 -m venv /tmp/figures && /tmp/figures/bin/pip install numpy scipy statsmodels
    /tmp/figures/bin/python scripts/reference-figures.py

Writes sitegen/analysis/tests/{two-sample,proportions,usl}.json. The data are drawn from a fixed seed; the tests read the
written files and need no Python.
"""

import itertools
import json
import pathlib

import numpy as np
import scipy
import statsmodels
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.proportion import test_proportions_2indep as score_test

OUT = pathlib.Path(__file__).resolve().parent.parent / "sitegen/analysis/tests"
MADE_WITH = {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__}


def number(value):
    return float(value) if np.isfinite(value) else None


def two_sample(name, base, candidate):
    base, candidate = np.asarray(base, float), np.asarray(candidate, float)
    n, m = len(base), len(candidate)
    ties = len(np.unique(np.concatenate([base, candidate]))) < n + m

    def mann_whitney(**how):
        with np.errstate(all="ignore"):
            return stats.mannwhitneyu(candidate, base, **how)

    test = {
        "u_candidate": float(mann_whitney(method="asymptotic").statistic),
        "p_asymptotic_cc": number(mann_whitney(method="asymptotic").pvalue),
        "p_asymptotic_nocc": number(mann_whitney(method="asymptotic", use_continuity=False).pvalue),
        "p_exact": None if ties else float(mann_whitney(method="exact").pvalue),
        "p_exact_greater": None if ties else float(mann_whitney(method="exact", alternative="greater").pvalue),
    }
    if ties and n + m <= 12:
        ranks = stats.rankdata(np.concatenate([base, candidate]))
        sums = [ranks[list(split)].sum() for split in itertools.combinations(range(n + m), m)]
        distances = np.abs(np.array(sums) - m * (n + m + 1) / 2)
        seen = abs(ranks[n:].sum() - m * (n + m + 1) / 2)
        test["p_permutation_exact"] = float((distances >= seen - 1e-9).mean())

    welch = None
    if n > 1 and m > 1 and (base.std() > 0 or candidate.std() > 0):
        answer = stats.ttest_ind(candidate, base, equal_var=False)
        interval = answer.confidence_interval(0.95)
        welch = {"t": answer.statistic, "df": answer.df, "p": answer.pvalue, "ci95_diff": [interval.low, interval.high]}

    differences = np.sort(np.subtract.outer(candidate, base).ravel())
    return {
        "id": name,
        "base": base.tolist(),
        "candidate": candidate.tolist(),
        "result": {
            "ties": bool(ties),
            "mean": [base.mean(), candidate.mean()],
            "median": [np.median(base), np.median(candidate)],
            "mann_whitney": test,
            "welch": welch,
            "hodges_lehmann": {"shift": float(np.median(differences))},
        },
    }


def two_samples():
    rng = np.random.default_rng(20261123)
    yield two_sample("equal", [7.0] * 4, [7.0] * 4)
    yield two_sample("one-each", [10.0], [12.0])
    yield two_sample("one-against-six", [10.0], rng.normal(11, 1, 6).round(5))
    for n, m, shift in [(3, 3, 0.1), (3, 5, 0.2), (5, 5, 0.05), (8, 8, 0.0), (10, 7, -0.1), (20, 25, 0.02), (40, 30, 0.3)]:
        base, candidate = rng.lognormal(4.6, 0.1, n), rng.lognormal(4.6, 0.1, m) * (1 + shift)
        yield two_sample(f"lognormal-{n}-{m}", base.round(5), candidate.round(5))
    for n, m in [(5, 5), (4, 7), (12, 12)]:
        yield two_sample(f"whole-{n}-{m}", rng.normal(20, 2, n).round(), rng.normal(21, 2, m).round())


def proportion(base_ok, base_n, candidate_ok, candidate_n):
    table = [[candidate_ok, candidate_n - candidate_ok], [base_ok, base_n - base_ok]]
    newcombe = confint_proportions_2indep(candidate_ok, candidate_n, base_ok, base_n, method="newcomb", compare="diff")
    varies = 0 < base_ok + candidate_ok < base_n + candidate_n
    score = score_test(candidate_ok, candidate_n, base_ok, base_n, method="score", correction=False) if varies else None
    return {
        "base": [base_ok, base_n],
        "candidate": [candidate_ok, candidate_n],
        "result": {
            "diff_pp": 100 * (candidate_ok / candidate_n - base_ok / base_n),
            "fisher_p_two_sided": float(stats.fisher_exact(table).pvalue),
            "fisher_p_less": float(stats.fisher_exact(table, alternative="less").pvalue),
            "newcombe_ci95_pp": [100 * float(bound) for bound in newcombe],
            "score_z": float(score.statistic) if varies else None,
            "score_p": float(score.pvalue) if varies else None,
            "wilson_ci95": [
                [float(bound) for bound in proportion_confint(ok, n, method="wilson")]
                for ok, n in [(base_ok, base_n), (candidate_ok, candidate_n)]
            ],
        },
    }


def law(x, lam, sigma, kappa):
    return lam * x / (1 + sigma * (x - 1) + kappa * x * (x - 1))


def usl(name, truth, loads, noise, rng):
    x = np.asarray(loads, float)
    y = (law(x, *truth) * rng.lognormal(-noise**2 / 2, noise, len(x))).round(4)
    starts = [truth, (y[0] / x[0], 0.01, 1e-5), (y[0] / x[0], 0.1, 1e-3), (max(y), 0.5, 1e-4)]
    fits = []
    for start in starts:
        try:
            fits.append(optimize.curve_fit(law, x, y, p0=start, maxfev=20000, xtol=1e-14, ftol=1e-14, gtol=1e-14))
        except RuntimeError:
            pass
    best = min(fits, key=lambda fit: ((law(x, *fit[0]) - y) ** 2).sum())
    errors = np.sqrt(np.diag(best[1]))
    return {
        "id": name,
        "x": x.tolist(),
        "y": y.tolist(),
        "result": {
            "rss": float(((law(x, *best[0]) - y) ** 2).sum()),
            **dict(zip(["lambda", "sigma", "kappa"], map(float, best[0]))),
            **dict(zip(["lambda_se", "sigma_se", "kappa_se"], map(float, errors))),
        },
    }


def usls():
    rng = np.random.default_rng(7)
    doubling = [2**i for i in range(10)]
    yield usl("peak", (800, 0.03, 2e-4), doubling, 0.03, rng)
    yield usl("repeated", (800, 0.03, 2e-4), doubling * 3, 0.05, rng)
    yield usl("early-peak", (50, 0.2, 0.01), range(1, 25), 0.02, rng)
    yield usl("levels-off", (1200, 0.08, 0.0), doubling, 0.02, rng)
    yield usl("linear", (10, 0.0, 0.0), doubling, 0.03, rng)
    yield usl("from-16-on", (40, 0.01, 1e-4), doubling[4:], 0.03, rng)


def write(name, cases):
    text = json.dumps({"made_with": MADE_WITH, "cases": list(cases)}, indent=1, default=float)
    (OUT / name).write_text(text + "\n")


OUT.mkdir(exist_ok=True)
write("two-sample.json", two_samples())
counts = [(98, 100, 90, 100), (1000, 1000, 1000, 1000), (0, 40, 0, 30), (1, 1, 0, 1), (3, 7, 9, 11), (49950, 50000, 49400, 50000)]
write("proportions.json", (proportion(*case) for case in counts))
write("usl.json", usls())
