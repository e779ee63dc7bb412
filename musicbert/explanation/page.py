"""Reasons as one web page that needs nothing else: no script, no other host; light, dark or printed."""

from collections.abc import Sequence
from html import escape

import numpy as np

from musicbert.analysis.page import piano_roll, whole_page
from musicbert.analysis.text import clock
from musicbert.arrays import Floats
from musicbert.explanation.factors import FactorEffects
from musicbert.explanation.occlusion import Occlusion, occlude_passages
from musicbert.explanation.passages import lit
from musicbert.explanation.properties import NOTES, PropertyEffects
from musicbert.explanation.reasons import Explanation
from musicbert.explanation.target import ProfileTarget, Target

#: shares of the largest effect above which notes are lit, with the opacity of each
STRENGTHS = ((0.1, 0.35), (0.3, 0.6), (0.6, 1.0))
#: per cent of the effects below the one that counts as the largest: one wild note does not dim all others
LARGEST = 99.0
#: properties that are drawn, dimensions that are open at first, notes and bars that are named
MOST_PROPERTIES, OPEN, NAMED = 8, 2, 3
STYLE = (
    ".effect{display:grid;grid-template-columns:13rem 1fr 7.5rem;gap:.7rem;align-items:center}"
    ".effect .bar b{height:.7rem}.effect .number{white-space:nowrap}"
    ".effect .bar .less{background:var(--melody)}"
    ".effect .bar .more{background:var(--value)}.effect .bar s{position:absolute;top:0;bottom:0;left:50%;"
    "width:1px;background:var(--soft)}h3{font-size:.95rem;margin:1.1rem 0 .4rem}"
    "summary{cursor:pointer;font-weight:600}summary+*{margin-top:.8rem}"
    "@media(max-width:44rem){.effect{grid-template-columns:8rem 1fr 7rem}}"
)
MEANING = (
    "These are reasons of the model: what it would say if the playing were different. They are no reasons of "
    "listeners, and tell nothing about how good a pianist is."
)


def page_of_reasons(explanation: Explanation, target: Target, name: str = "") -> str:
    """One page of reasons: sentences, factors, properties, and the notes or bars that matter most.

    ``target``: the model that was explained; notes are lit for the profile alone (see `lit`).
    """
    score = explanation.score
    seconds = float(score.seconds(score.offset).max()) if len(score) else 0.0
    hidden, words = None, "Notes are lit for the profile of musicbert analyse alone."
    if isinstance(target, ProfileTarget):
        by, words = lit(len(score))
        hidden = occlude_passages(target, score, by) if by else None
    scale = float(target.model.about["scale"][1]) if isinstance(target, ProfileTarget) else 1.0
    body = [
        f"<h1>{escape(name or 'music')}</h1>",
        f'<p class="soft">{len(score):,} notes, {clock(seconds)}. {escape(MEANING)}</p>',
    ]
    body += [_dimension(explanation, d, scale, hidden, words) for d in range(len(explanation.names))]
    if explanation.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in explanation.warnings)
        body.append(f"<section><h2>Note</h2><ul>{items}</ul></section>")
    return whole_page(name or "music", f"<article>{''.join(body)}</article>", STYLE)


def _dimension(found: Explanation, d: int, scale: float, hidden: Occlusion | None, words: str) -> str:
    low, high = found.poles[d]
    said = "".join(f"<li>{escape(text)}</li>" for text in found.words.get(found.names[d], []))
    parts = [f"<ul>{said}</ul>"]
    for title, effects in (("Factors of the playing", found.factors), ("Properties", found.properties)):
        if effects is not None and (effects.offered is None or effects.offered[d]):
            parts.append(_effects(title, effects, d, scale))
    if hidden is not None:
        parts.append(_lit(found, hidden, found.names[d], scale, words))
    else:
        parts.append(f'<p class="soft">{escape(words)}</p>')
    ends = f" ({escape(low)} to {escape(high)})" if low and high else ""
    shown = " open" if d < OPEN else ""
    head = f"<summary>{escape(found.names[d])}: {scale * float(found.values[d]):.2f}{ends}</summary>"
    return f"<section><details{shown}>{head}{''.join(parts)}</details></section>"


def _effects(title: str, found: FactorEffects | PropertyEffects, d: int, scale: float) -> str:
    """Bars to the left (towards the low pole) and to the right."""
    values = scale * found.effects[:, d]
    names: Sequence[str]
    if isinstance(found, PropertyEffects):
        names = [found.words(k) for k in range(len(values))]
        order = [k for k in np.argsort(-np.abs(values)) if found.properties[k] != NOTES][:MOST_PROPERTIES]
        title = f"{title}, compared with rated performances: the {len(order)} largest effects"
    else:
        names, order = found.factors, np.argsort(-np.abs(values)).tolist()
        title = f"{title}, compared with the neutral performance"
    most = max(float(np.abs(values[order]).max()), 1e-9)
    rows = []
    for k in order:
        wide = 50 * abs(float(values[k])) / most
        side = f"left:50%;width:{wide:.1f}%" if values[k] > 0 else f"right:50%;width:{wide:.1f}%"
        noise = "" if found.noise is None else f" <small>± {scale * found.noise[k, d]:.2f}</small>"
        rows.append(
            f'<div class="effect"><span class="low">{escape(names[k])}</span><span class="bar"><i></i>'
            f'<b class="{"more" if values[k] > 0 else "less"}" style="{side}"></b><s></s></span>'
            f'<span class="number">{values[k]:+.2f}{noise}</span></div>'
        )
    return f"<h3>{escape(title)}</h3>{''.join(rows)}"


def _lit(found: Explanation, hidden: Occlusion, name: str, scale: float, words: str) -> str:
    """The piano roll: notes in blue speak for the high pole, notes in red for the low one."""
    effects = next(iter(hidden.effects.values()))[:, hidden.names.index(name)]
    inside = hidden.group_of >= 0
    of_note: Floats = np.where(inside, effects[hidden.group_of], 0.0)
    share = of_note / max(float(np.percentile(np.abs(of_note), LARGEST)), 1e-12)
    parts = [(np.abs(share) < STRENGTHS[0][0], "var(--note)", 0.6)]
    ends = [least for least, _ in STRENGTHS[1:]] + [np.inf]
    for (least, opacity), end in zip(STRENGTHS, ends, strict=True):
        at = (np.abs(share) >= least) & (np.abs(share) < end)
        parts += [(at & (share > 0), "var(--value)", opacity), (at & (share < 0), "var(--melody)", opacity)]
    drawn, cut = piano_roll(found.score, parts)
    low, high = found.poles[found.names.index(name)]
    texts = [words, f"Blue speaks for {high or 'a high value'}, {_most(found, hidden, effects, scale)};"]
    texts.append(f"red for {low or 'a low value'}, {_most(found, hidden, -effects, scale, -1)}.{cut}")
    return f'<h3>Where in the music</h3>{drawn}<p class="soft">{escape(" ".join(texts))}</p>'


def _most(found: Explanation, hidden: Occlusion, effects: Floats, scale: float, sign: int = 1) -> str:
    """Name the groups with the largest effects, with their time."""
    score, names = found.score, []
    for k in np.argsort(-effects)[:NAMED]:
        members = np.flatnonzero(hidden.group_of == k)
        if effects[k] > 0 and len(members):
            at = clock(float(score.seconds(score.onset[members]).min()))
            names.append(f"{hidden.groups[k]} at {at} ({sign * scale * effects[k]:+.3f})")
    return f"most of all {', '.join(names)}" if names else "nothing clearly"
