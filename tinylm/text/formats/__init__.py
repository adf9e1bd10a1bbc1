"""The files in which others keep encodings: GPT-2's merges, SentencePiece's protocol buffers, tokenizer.json."""
