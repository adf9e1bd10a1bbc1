"""The table of all ops in docs/ops.md, made from the ops themselves; `python tests/ops/ops_table.py` writes it.

An op's docstring begins with its equation and its gradient: on one line, three spaces apart, or on two. Its kernels are
found in its code: the ones that the function, or a helper that it calls, takes from `tinylm.kernels`.
"""

import inspect
import re
import types
from pathlib import Path

import tinylm.ops as F
from tinylm import kernels
from tinylm.kernels import KERNELS

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"
BEGIN, END = "<!-- ops: written by tests/ops/ops_table.py -->\n", "<!-- end of ops -->\n"
OTHER_NAMES = {  # ours -> PyTorch's where it is another one; "" where there is none
    "power": "pow",
    "transpose": "permute",
    "concatenate": "cat",
    "max": "amax",
    "min": "amin",
    "getitem": "Tensor.__getitem__",
    "lstm": "nn.LSTM",
} | dict.fromkeys(
    (
        "kl_div_with_logits",
        "linear_cross_entropy",
        "packed_attention",
        "relative_attention",
        "relative_shift",
        "gather_positions",
        "max_over_time",
        "conv1d_max",
        "crf_decode",
        "crf_log_partition",
        "crf_loss",
        "crf_marginals",
        "crf_score",
        "sampled_softmax_loss",
        "nce_loss",
        "negative_sampling_loss",
        "hierarchical_softmax_loss",
    ),
    "",
)
IN_FUNCTIONAL = {
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "embedding",
    "embedding_bag",
    "gelu",
    "kl_div",
    "layer_norm",
    "linear",
    "mse_loss",
    "nll_loss",
    "scaled_dot_product_attention",
    "silu",
}


def all_ops():
    """name -> function, in the order of the modules that ops/__init__.py names for reading."""
    order = re.findall(r"(\w+)\.py", F.__doc__)
    found = {
        name: getattr(F, name)
        for name in F.__all__
        if isinstance(getattr(F, name), types.FunctionType)
    }

    def place(name):
        module = found[name].__module__.rpartition(".")[2]
        return (
            order.index(module) if module in order else len(order),
            module,
            found[name].__code__.co_firstlineno,
        )

    return {name: found[name] for name in sorted(found, key=place)}


def torch_name(name):
    """What PyTorch calls the op, below `torch.`; empty where it has none."""
    return OTHER_NAMES.get(name, f"nn.functional.{name}" if name in IN_FUNCTIONAL else name)


def _codes(code):
    """A code object and those of the functions and lambdas inside it."""
    inside = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return [code, *(found for inner in inside for found in _codes(inner))]


def kernels_of(function, seen=None):
    """Names of the kernels that an op runs, forward first."""
    seen = set() if seen is None else seen
    seen.add(function)
    found = []
    for code in _codes(function.__code__):
        names = [
            name
            for name in code.co_names
            if function.__globals__.get("kernels") is kernels and name in KERNELS
        ]
        found += names if "kernels" in code.co_names else []
        for name in code.co_names:
            called = function.__globals__.get(name)
            if (
                isinstance(called, types.FunctionType)
                and called not in seen
                and called.__module__.startswith(F.__name__)
            ):
                found += kernels_of(called, seen)
    return list(dict.fromkeys(found))


def markdown():
    """The table as Markdown, a string."""
    rows = ["| op | equation | gradient | computed by | PyTorch |", "|---|---|---|---|---|"]
    for name, function in all_ops().items():
        head, _, _ = inspect.getdoc(function).partition("\n\n")
        head = head.replace("|", "\\|").replace("\n", "   ")
        equation, _, gradient = head.partition("   ")
        gradient = gradient.removeprefix("gradients: ").strip()
        computed = ", ".join(f"`{kernel}`" for kernel in kernels_of(function)) or "NumPy"
        rows.append(
            f"| `{name}` | {equation} | {gradient} | {computed} | {torch_name(name) and f'`{torch_name(name)}`'} |"
        )
    return "\n".join(rows) + "\n"


def section(text):
    """(before, table, after) of the page's text."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    return before + BEGIN, table, END + after


if __name__ == "__main__":
    before, _, after = section(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(f"{before}\n{markdown()}\n{after}", encoding="utf-8")
