"""The files of other programs: GPT-2's merges, SentencePiece's model, tokenizer.json."""
