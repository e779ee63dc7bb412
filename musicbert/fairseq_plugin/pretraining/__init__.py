"""Pre-training: masked language modelling and the note objectives of M2BERT."""
