"""What happens to text before it is cut: BERT's cleaning, SentencePiece's normalisers, tokenizer.json's steps."""
