"""What differs between the families of models on disk: names of tensors, shapes, settings.

`family` is the contract; `musicbert`, `m2bert` and `midibert` fill it in; `known` has the table of them and
what works for all, such as `fit_weights`; `hugging_face` translates names of MusicBERT to those of BERT.
"""
