"""Made lines in PiRhDy's format, and their step-by-step reading."""

import numpy as np

VELOCITY = [8, 20, 31, 42, 53, 64, 80, 96, 112, 127]


def made_phrase(rng, steps=128, *, level=6):
    """Features [4, 128]: notes and rests one after the other, zeros after ``steps``."""
    phrase = np.zeros((4, 128), int)
    at = 0
    while at < steps:
        length = min(int(rng.integers(1, 9)), steps - at)
        cells = slice(at, at + length)
        if rng.random() < 0.25:
            phrase[:, cells] = np.array([656, 12, 11, 4])[:, None]
        else:
            chord = int(rng.choice([1, 5, 8, 12, 13, 14, 20, 37, 655]))
            phrase[:, cells] = np.array([chord, rng.integers(3, 8), rng.integers(1, 11), 2])[:, None]
            if at or rng.random() < 0.5:  # a phrase may begin in the middle of a note
                phrase[3, at] = 3
            if length > 1 and rng.random() < 0.7:
                phrase[3, at + length - 1] = 1
        at += length
    phrase[2][(phrase[3] > 0) & (phrase[3] < 4)] = level
    return phrase


def line(first, second, label):
    return ",".join(map(str, [*first.reshape(-1), *second.reshape(-1), label])) + "\n"


def made_file(path, queries, *, candidates, seed=0, positives=1):
    """Write a file of pairs: ``queries`` first phrases with ``candidates`` second ones each."""
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for _ in range(queries):
            first = made_phrase(rng)
            for number in range(candidates):
                file.write(line(first, made_phrase(rng), int(number < positives)))
    return path


def slow_rows(features, task, chords):
    """One pair, step by step as the format is described; ``chords`` maps ids to lists or to text."""
    rows = []
    first_length = sum(int(chord != 0) for chord in features[0][0])
    for phrase in range(2):
        chord, octave, velocity, state = features[phrase]
        shift = first_length if (task == "next" and phrase == 1) else 0
        program = 0 if (task == "acc" and phrase == 1) else 80
        for step in range(128):
            begins = state[step] == 3 or (step == 0 and state[step] == 2)
            if not begins or str(chord[step]) not in chords:
                continue
            end = step + 1
            while end < 128 and state[end] in (1, 2):
                end += 1
            length, octaves, code = 2 * (end - step), 0, 0
            while length >= 16 * (2 ** (octaves + 1) - 1):
                octaves += 1
            code = 16 * octaves + (length - 16 * (2**octaves - 1)) // 2**octaves
            classes = chords[str(chord[step])]
            for pitch_class in range(12) if isinstance(classes, str) else classes:
                at = 2 * (step + shift)
                loud = VELOCITY[velocity[step] - 1] // 4
                pitch = pitch_class + 12 * (octave[step] - 1)
                rows.append((at // 64, at % 64, program, pitch, code, loud, 9, 35))
    return sorted(rows), 2 * first_length if task == "next" else 0
