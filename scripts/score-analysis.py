#!/usr/bin/env python3
"""Scores `runner analyze` against figures that other tools gave for the same data.

    scripts/score-analysis.py FOLDER [RUNNER]

FOLDER has `knee.json`, `usl.json`, `two_sample.json`, `proportions.json`, `change_points.json` and `aggregation.json`, each
`{"cases": [{"id", data, reference figures}]}`; the data and the answers are those of docs/analyze.md, the reference figures are
named as the answers are. What is missing is said and left out. A case that is answered by an error counts against its family, and
so does a figure that is missing. Exit code 1 when a figure is beyond its tolerance, a knee is told where there is none, less than
95 % of the knees are right, F1 of the change points is below 0.92, a change that must be told is not, or more histories without a change
get one than with the best tool of the file.
"""
import json, pathlib, subprocess, sys

if len(sys.argv) not in (2, 3):
    sys.exit(__doc__)
folder = pathlib.Path(sys.argv[1])
runner = sys.argv[2] if len(sys.argv) > 2 else "target/release/runner"
good = True


def scored(kind, name):
    """Pairs of a case and the answer to it; what was answered by an error; the whole file."""
    path = folder / name
    if not path.exists():
        print(f"{kind}: no {name}")
        return [], [], {}
    document = json.loads(path.read_text())
    told = subprocess.run([runner, "analyze", kind, str(path)], capture_output=True, text=True)
    try:
        answers = {case["id"]: case for case in json.loads(told.stdout)["cases"]}
    except (json.JSONDecodeError, KeyError):
        verdict(f"{kind}: no answers, exit code {told.returncode}: {told.stderr.strip()[:300]}", False)
        return [], [], {}
    pairs, wrong = [], []
    for case in document["cases"]:
        answer = answers.get(case["id"], {"error": "no answer"})
        if "answer" in answer:
            pairs.append((case, answer["answer"]))
        else:
            wrong.append(f"{case['id']}: {answer['error']}")
    return pairs, wrong, document


def near(found, expected, relative, absolute=0.0):
    return abs(found - expected) <= max(relative * abs(expected), absolute)


def apart(found, expected, relative, absolute, place):
    """Every figure of `expected` that `found` does not have within the tolerance."""
    if isinstance(expected, dict):
        found = found if isinstance(found, dict) else {}
        missing = [f"{place}.{key}: missing" for key, value in expected.items() if key not in found and value is not None]
        return missing + [
            far for key, value in expected.items() if key in found for far in apart(found[key], value, relative, absolute, f"{place}.{key}")
        ]
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{place}: {found}, expected {expected}"]
        return [far for i, value in enumerate(expected) for far in apart(found[i], value, relative, absolute, f"{place}[{i}]")]
    if expected is None or isinstance(expected, (bool, str)):
        same = found == expected
    else:
        same = isinstance(found, (int, float)) and near(found, expected, relative, absolute)
    return [] if same else [f"{place}: {found}, expected {expected}"]


def verdict(what, fine):
    global good
    good &= fine
    print(f"{'PASS' if fine else 'FAIL'}  {what}")


def details(lines):
    print("".join(f"      {one}\n" for one in lines), end="")


def deviations(what, cases, far):
    if cases or far:
        verdict(f"{what}: {len(cases)} cases answered, {len(far)} figures beyond their tolerance or missing", not far)
        details(far)


cases, wrong, _ = scored("knee", "knee.json")
if cases or wrong:
    right = false = 0
    for case, answer in cases:
        knee, truth = answer["knee"], case["truth"]
        low, high = truth["accept"] or (1, 0)
        right += truth["knee"] is None or bool(truth.get("accept_none")) if knee is None else low <= knee <= high
        false += knee is not None and truth["knee"] is None
    without = sum(case["truth"]["knee"] is None for case, _ in cases)
    count = len(cases) + len(wrong)
    verdict(f"knee: {right} of {count} right; {false} told on {without} curves without one", right >= 0.95 * count and not false)
    details(wrong)

cases, far, _ = scored("usl", "usl.json")
for case, answer in cases:
    scale = sum(y * y for y in case["y"])
    for which in ("fit_free", "fit_bounded"):
        found, expected = answer[which], case[which]
        if found["rss"] > expected["rss"] * (1 + 1e-6) + 1e-12 * scale:
            far.append(f"{case['id']}.{which}.rss")
        for name, least in (("lambda", 0.0), ("sigma", 1e-6), ("kappa", 1e-8)):
            least = max(least, 0.01 * (case["fit_free"][name + "_se"] or 0.0))
            far += apart(found[name], expected[name], 1e-3, least, f"{case['id']}.{which}.{name}")
        # The bounded fits of such files have no word of their own on it.
        reliable = expected["n_max_reliable"] if expected["n_max_reliable"] is not None else case["fit_free"]["n_max_reliable"]
        if reliable and expected["n_max"] is not None:
            far += apart(found["n_max"], expected["n_max"], 2e-3, 0.0, f"{case['id']}.{which}.n_max")
            far += apart(found["x_max"], expected["x_max"], 2e-3, 0.0, f"{case['id']}.{which}.x_max")
        # Without noise the residuals, and with them all errors, are those of rounding.
        if expected["rss"] > 1e-9 * scale:
            for name in ("lambda_se", "sigma_se", "kappa_se", "residual_se"):
                if expected[name] is not None:
                    far += apart(found[name], expected[name], 1e-2, 0.0, f"{case['id']}.{which}.{name}")
deviations("usl", cases, far)

cases, far, _ = scored("compare", "two_sample.json")
for case, answer in cases:
    result, place = case["result"], case["id"]
    far += apart(answer["mann_whitney"], result["mann_whitney"], 1e-6, 0.0, place)
    far += apart(answer["welch"], result["welch"], 1e-9, 0.0, place)
    far += apart(answer["hodges_lehmann"], result["hodges_lehmann"], 1e-12, 1e-9 * result["median"][0], place)
    far += apart(answer["cliffs_delta"], result["cliffs_delta"], 0.0, 1e-12, place)
    found, expected = answer["bootstrap_ratio_of_medians"], result["bootstrap_ratio_of_medians"]
    if (found is None) != (expected is None):
        far.append(f"{place}.bootstrap_ratio_of_medians")
    elif expected:
        for end, bounds in zip(found["ci95"], (expected["lo_range"], expected["hi_range"])):
            if not bounds[0] <= end <= bounds[1]:
                far.append(f"{place}.bootstrap_ratio_of_medians: {end} not within {bounds}")
deviations("compare", cases, far)

cases, far, _ = scored("proportions", "proportions.json")
for case, answer in cases:
    for name in ("diff_pp", "fisher_p_two_sided", "fisher_p_less", "newcombe_ci95_pp", "wilson_ci95"):
        far += apart(answer[name], case[name], 1e-6, 1e-12, f"{case['id']}.{name}")
    for name in ("score_z", "score_p"):
        far += apart(answer[name], case[name], 1e-4, 0.0, f"{case['id']}.{name}")
deviations("proportions", cases, far)

cases, errors, document = scored("change-points", "change_points.json")
if cases or errors:
    hits = wrong = missed = alarms = unchanged = 0
    lacking = list(errors)
    for case, answer in cases:
        for must in case.get("must_contain") or []:
            if not any(abs(index - must) <= case["tolerance"] for index in answer["index"]):
                lacking.append(f"{case['id']}: {must} is not among {answer['index']}")
        if not case["scored"]:
            continue
        left = list(answer["index"])
        for truth in case["truth"]:
            found = min((index for index in left if abs(index - truth) <= case["tolerance"]), key=lambda index: abs(index - truth), default=None)
            if found is None:
                missed += 1
            else:
                left.remove(found)
                hits += 1
        wrong += len(left)
        unchanged += not case["truth"]
        alarms += not case["truth"] and bool(left)

    def alarms_of(tool):
        """Histories without a change in which another tool told one."""
        of_tool = [case["score"][tool] for case, _ in cases if case["scored"] and not case["truth"] and case.get("score", {}).get(tool)]
        return sum(bool(score["fp"]) for score in of_tool) if of_tool else None

    tools = {tool for case, _ in cases for tool in case.get("score") or {}}
    best = min((count for tool in tools if (count := alarms_of(tool)) is not None), default=0)
    f1 = 2 * hits / max(2 * hits + wrong + missed, 1)
    verdict(f"change points: F1 {f1:.2f} ({hits} found, {missed} missed, {wrong} wrong)", f1 >= 0.92)
    verdict(f"change points: alarms in {alarms} of {unchanged} histories without a change; the best tool has {best}", alarms <= best)
    verdict(f"change points: {len(lacking)} that must be told are not", not lacking)
    details(lacking)

cases, far, _ = scored("aggregate", "aggregation.json")
for case, answer in cases:
    for name, relative, absolute in (
        ("count", 0.0, 0.0), ("ok", 0.0, 0.0), ("failures", 0.0, 0.0), ("success_rate", 1e-9, 0.0), ("duration_s", 0.0, 1e-6),
        ("throughput_ok_per_s", 1e-6, 0.0), ("throughput_all_per_s", 1e-6, 0.0),
        ("latency_ok_ms", 1e-9, 0.0), ("latency_all_ms", 1e-9, 0.0),
    ):
        far += apart(answer[name], case[name], relative, absolute, f"{case['id']}.{name}")
deviations("aggregate", cases, far)
sys.exit(not good)
