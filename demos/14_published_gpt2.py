"""Demo 14: a GPT-2 folder of transformers, read here: does it write the same text?

Question: transformers makes a GPT-2 with random weights and saves it. tinylm loads the folder and
continues the same prompt greedily. Are the 200 tokens equal? And does transformers read what tinylm
writes?
Expected: equal tokens; where two scores lie closer than float32 can tell, a difference may begin, and
the demo says so. The logits agree to 1e-5 of the largest. Time: 15 s.
"""

# %% A folder as others publish it
import tempfile

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tinylm import hub
from tinylm.tensor import no_grad
from tinylm.training.generate import generate

TOKENS = 200
torch.manual_seed(0)
config = GPT2Config(vocab_size=997, n_positions=256, n_embd=96, n_layer=3, n_head=4)
theirs = GPT2LMHeadModel(config).eval()
with torch.no_grad():
    for p in theirs.parameters():
        p.add_(0.1 * torch.randn_like(p))  # no weight is 0 or 1 by accident
folder = tempfile.mkdtemp()
theirs.save_pretrained(folder)
model, tokenizer = hub.load(folder)
print(f"{sum(p.size for p in model.parameters()):,} parameters, tokenizer: {tokenizer}")

# %% The same scores
ids = np.random.default_rng(0).integers(997, size=(2, 40))
with torch.no_grad(), no_grad():
    expected = theirs(torch.from_numpy(ids)).logits.numpy()
    found = model.logits(ids).data
error = np.abs(found - expected).max() / np.abs(expected).max()
print(f"logits differ by {error:.1e} of the largest")

# %% The same text
prompt = ids[0, :7]
with torch.no_grad():
    given = torch.from_numpy(prompt[None])
    mask = torch.ones_like(given)
    written = theirs.generate(
        given, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False, pad_token_id=0
    )
written = written[0, len(prompt) :].numpy()
ours = np.array(list(generate(model, prompt, TOKENS, temperature=0)))
equal = int((ours == written[: len(ours)]).cumprod().sum())
print(f"{equal} of {TOKENS} tokens are equal: {ours[:12]} ...")
gap = 0.0
if equal < TOKENS:
    with no_grad():
        scores = model.logits([[*prompt, *ours[:equal]]]).data[0, -1]
    gap = abs(scores[ours[equal]] - scores[written[equal]])
    print(f"the two scores at the first difference lie {gap:.1e} apart")

# %% And back
back = tempfile.mkdtemp()
hub.save(back, model, overwrite=True)
again = GPT2LMHeadModel.from_pretrained(back).state_dict()
same = all(torch.equal(p, again[name]) for name, p in theirs.state_dict().items())
print(f"transformers reads our folder: all weights the same bits: {same}")

# %% Verdict
assert error < 1e-5 and same
assert equal == TOKENS or gap < 1e-4
print(f"VERDICT: pass. {equal} of {TOKENS} tokens are the same, and the weights survive both ways.")
