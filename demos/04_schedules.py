"""Demo 04: what do the papers' learning-rate schedules look like, and where do they differ?

Question: with a warm-up of 20 % of 1,000 steps, does every schedule take the values that its
paper's formula gives?
Expected: yes, to 1e-12; only BERT's schedule and GPT-1's cosine jump down where the warm-up ends.
Time: 3 s.
Picture: demos/out/04_schedules.png
"""

# %% Every schedule is a pure function of the step: lr = peak · f(step, steps, warmup)
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tinylm.optim import SCHEDULES

steps = 1000
warmup = 200
curves = {}
for name, schedule in SCHEDULES.items():
    curves[name] = [schedule(step, steps, warmup) for step in range(steps + 1)]

# %% Computed by hand from the published formulas: (step, share of the peak)
published = {
    # The decay has run since step 0: a jump.
    "bert": [(0, 0), (199, 0.995), (200, 0.8), (1000, 0)],
    # The same decay times the ramp: no jump, and never 1.
    "electra": [(0, 0), (100, 0.5 * 0.9), (200, 0.8), (1000, 0)],
    # The decay begins after the ramp and ends at min_lr_ratio.
    "xlnet": [(0, 0), (200, 1), (600, 0.5005), (1000, 0.001)],
    "warmup_linear": [(0, 0), (200, 0.8), (500, 0.5), (1000, 0)],
    "warmup_cosine": [(0, 0), (200, 1), (500, 0.5), (1000, 0)],
    "warmup_constant": [(0, 0), (200, 1), (1000, 1)],
    "slanted_triangular": [(0, 1 / 32), (200, 1), (1000, 1 / 32)],
}
worst = 0.0
for name, points in published.items():
    for step, value in points:
        worst = max(worst, abs(curves[name][step] - value))
jumps = set()
for name, curve in curves.items():
    falls = [before - after for before, after in zip(curve, curve[1:], strict=False)]
    if max(falls) > 0.01:
        jumps.add(name)
print(f"largest distance from a published value: {worst:.0e}")
print("jump down after the warm-up:", ", ".join(sorted(jumps)))

# %% One panel per family, so that what differs lies side by side
families = {
    "BERT and its heirs": ("bert", "electra", "xlnet"),
    "GPT-1": ("warmup_linear", "warmup_cosine", "warmup_constant"),
    "ULMFiT's slanted triangle": ("slanted_triangular",),
    "tinylm's own": ("linear", "cosine", "constant"),
}
assert sorted(sum(families.values(), ())) == sorted(SCHEDULES)
figure, panels = plt.subplots(
    2, 2, figsize=(10, 6.4), sharex=True, sharey=True, layout="constrained"
)
for panel, (title, names) in zip(panels.flat, families.items(), strict=True):
    panel.axvspan(0, warmup, color="0.94", zorder=0)
    panel.text(warmup - 8, 0, "warm-up", ha="right", va="bottom", color="0.45", fontsize=9)
    for number, name in enumerate(names):
        style = {"color": f"C{number}", "linestyle": ("-", "--", "-.")[number], "linewidth": 1.8}
        panel.plot(curves[name], label=name, **style)
        for step, value in published.get(name, ()):
            panel.plot(step, value, "o", color=f"C{number}", markersize=4)
    panel.set_title(title, loc="left", fontsize=11)
    place = {"loc": "upper right"}
    if names[-1].endswith("constant"):  # whose curve is there
        place = {"loc": "lower left", "bbox_to_anchor": (0.21, 0)}
    panel.legend(frameon=False, fontsize=9, **place)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set(xlim=(-10, steps + 10), ylim=(-0.03, 1.06))
figure.supxlabel(f"step of {steps:,} (dots: computed by hand from the published formula)")
figure.supylabel("share of the peak learning rate")
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "04_schedules.png", dpi=110)

# %% Verdict
assert worst < 1e-12 and jumps == {"bert", "warmup_cosine"}
print("VERDICT: pass. Ten schedules, every published value met.")
