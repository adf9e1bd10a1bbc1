"""Cleaning text before it is cut: BERT's cleaning, SentencePiece's normaliser, tokenizer.json's."""
