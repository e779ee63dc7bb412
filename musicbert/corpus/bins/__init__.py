"""Binarised data for fairseq: token data-bins, rows of notes, performance inputs, upstream's layouts."""
