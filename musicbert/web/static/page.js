// The page: a file in, answers, reasons, changes and new versions out.

import { Roll, Sound, clock } from "/static/roll.js";

const $ = id => document.getElementById(id);
const make = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });
const percent = value => `${Math.round(100 * value)} %`;
// answers are shares of the highest rating; people read ratings
const rating = value => value * (music.profile.scale?.[1] ?? 1);
const place = value => { const [low, high] = music.profile.scale ?? [0, 1]; return (rating(value) - low) / (high - low); };
const signed = value => {
  const size = Math.abs(rating(value)).toFixed(1);
  return size === "0.0" ? size : `${value < 0 ? "−" : "+"}${size}`;
};
const FACTORS = {
  tempo: "Tempo", timing: "Rubato and timing", loudness: "Loudness", dynamics: "Louder and softer", voicing: "Voicing of chords",
  articulation: "Short and long touch", pedal: "Pedal",
};
const PITCHES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
let file = null, music = null, explained = null, chosen = null, changed = null, turn = 0, shown = "";

const roll = new Roll($("roll"), seconds => sound.seek(seconds));
const sound = new Sound(
  seconds => { roll.at(seconds); $("clock").textContent = `${clock(seconds)} / ${clock(roll.end)}`; },
  () => { $("play").textContent = "Play"; },
);

function say(text) { $("status").textContent = text; }
function fail(error) {
  $("error").hidden = !error;
  $("error").textContent = error ?? "";
  if (error) say("");
}

async function ask(question, wishes = {}, data = file.data) {
  const words = encodeURIComponent(JSON.stringify({ name: file.name, ...wishes }));
  let response;
  try {
    response = await fetch(`/api/${question}`, { method: "POST", body: data, headers: { "X-Question": words } });
  } catch {
    throw new Error("The program behind this page does not answer. Is it still running?");
  }
  if ((response.headers.get("Content-Type") ?? "").startsWith("audio/"))
    return { blob: await response.blob(), notes: JSON.parse(decodeURIComponent(response.headers.get("X-Notes") ?? "[]")) };
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(sentence(answer)), { status: response.status });
  return answer;
}
const dot = text => (text && !/[.!?]$/.test(text) ? `${text}.` : text ?? "");
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
const sentence = answer => [dot(answer.error), answer.hint ? dot(capital(answer.hint)) : ""].join(" ").trim();

async function busy(button, words, work) {
  const mine = turn;
  fail(null);
  say(words);
  if (button) button.disabled = true;
  try {
    await work();
    if (mine === turn) say("");
  } catch (error) {
    if (mine === turn) fail(error.message);
  } finally {
    if (button) button.disabled = false;
  }
}

async function open(name, data) {
  turn += 1;
  file = { name, data };
  await busy(null, `Listening to ${name} …`, async () => {
    const mine = turn, answer = await ask("analyse");
    if (mine !== turn) return;
    music = answer;
    explained = chosen = changed = null;
    await play(null);
    roll.show(music);
    showAnswers();
    $("answers").hidden = false;
    location.hash = "answers";
  });
}

function showAnswers() {
  const tracks = music.tracks.length;
  $("facts").textContent = `${music.file}: ${music.notes.toLocaleString("en")} notes, ${clock(music.seconds)}, ${music.bars} bars` +
    (tracks > 1 ? `, ${tracks} tracks` : "") +
    (music.seconds > music.heard_seconds ? `. The first ${clock(music.heard_seconds)} can be heard.` : "");
  for (const id of ["profile", "why", "words", "factors", "versions", "compare", "downloads", "alike", "layers", "after-download", "suggest"])
    $(id).replaceChildren();
  for (const id of ["reasons", "other"]) $(id).hidden = true;
  $("lit").textContent = "";
  showLayers();
  showProfile();
  for (const each of music.downloads) $("downloads").append(link(each, { html: "Report", json: "Numbers (JSON)", mid: "MIDI with marks" }));
  $("remix-from").max = $("remix-to").max = music.bars;
  $("remix-from").value = 1;
  $("remix-to").value = Math.min(4, music.bars);
}

function link(each, names = {}) {
  const bytes = Uint8Array.from(atob(each.data), letter => letter.charCodeAt(0));
  const name = names[each.name.split(".").pop()] ?? `Save ${each.name}`;
  return Object.assign(make("a", name, "button"), { download: each.name, href: URL.createObjectURL(new Blob([bytes], { type: each.type })) });
}

function showLayers() {
  const layers = music.layers ?? {};
  roll.layers.clear();
  const there = { melody: music.melody?.length, keys: layers.keys?.length, chords: layers.chords?.length, beats: layers.beats?.seconds?.length };
  for (const [name, count] of Object.entries(there)) {
    if (!count) continue;
    const label = make("label", ""), box = Object.assign(make("input"), { type: "checkbox", checked: name !== "chords" });
    if (box.checked) roll.layers.add(name);
    box.addEventListener("change", () => {
      roll.layers[box.checked ? "add" : "delete"](name);
      roll.draw();
    });
    label.append(box, ` ${name}`);
    $("layers").append(label, " ");
  }
  const keys = [...new Set((layers.keys ?? []).map(each => each.name))];
  $("names").textContent = keys.length ? `Keys: ${keys.slice(0, 8).join(", ")}${keys.length > 8 ? " …" : ""}` : "";
  roll.draw();
}

function scale(from, to, value, className = "") {
  const bar = make("span", "", "scale"), range = make("b", "", className);
  bar.setAttribute("aria-hidden", "true");
  range.style.left = `${100 * Math.max(from, 0)}%`;
  range.style.width = `${100 * (Math.min(to, 1) - Math.max(from, 0))}%`;
  bar.append(make("i"), range);
  if (value !== null) {
    const point = make("u");
    point.style.left = `${100 * Math.min(Math.max(value, 0), 1)}%`;
    bar.append(point);
  }
  return bar;
}

function showProfile() {
  const { profile } = music;
  if (!profile) {
    $("meaning").textContent = "There is no description of the playing for this file:";
    const list = make("ul");
    for (const each of music.no_profile_because) list.append(make("li", each.text));
    $("why").append(list, ...warnings());
    return;
  }
  $("meaning").textContent = `${profile.meaning} Choose a line to see why.`;
  let area = "";
  for (const each of profile.dimensions) {
    const row = Object.assign(make("button", "", "row"), { type: "button" });
    const [from, to] = each.interval ?? [each.value, each.value];
    const number = `${rating(each.value).toFixed(1)} (${rating(from).toFixed(1)}–${rating(to).toFixed(1)})`;
    if (each.area !== area) $("profile").append(make("h3", each.area));
    area = each.area;
    row.setAttribute("aria-pressed", "false");
    row.title = each.percentile === null ? "" : `higher than ${Math.round(each.percentile)} % of the rated performances`;
    row.setAttribute("aria-label", `${each.name}: ${number}, from ${each.low} to ${each.high}, ${row.title}`);
    row.dataset.name = each.name;
    row.append(make("span", each.low, "low"), scale(place(from), place(to), place(each.value)), make("span", each.high, "high"), make("span", number, "number"));
    row.addEventListener("click", () => choose(each.name));
    $("profile").append(row);
  }
  const cover = profile.dimensions.find(each => each.coverage)?.coverage;
  for (const text of [
    profile.scale ? `The dot is the rating to expect from listeners, from ${profile.scale[0]} (left) to ${profile.scale[1]} (right).` : "",
    cover ? `The band is where listeners' mean rating lies for ${percent(cover)} of unknown music.` : "",
    ...(profile.notes ?? []),
  ]) if (text) $("why").append(make("p", text, "soft"));
  $("why").append(...warnings());
  showSliders();
}

const warnings = () => (music.warnings ?? []).map(text => make("p", text, "soft"));

async function choose(name) {
  chosen = name;
  for (const row of document.querySelectorAll("#profile .row")) row.setAttribute("aria-pressed", String(row.dataset.name === name));
  await busy(null, "Looking for reasons: each part of the playing, and each note or bar, is taken away in turn. This can take a minute …", async () => {
    const mine = turn;
    const found = explained ?? await ask("reasons", { dimensions: music.profile.dimensions.map(each => each.name) });
    if (mine !== turn) return;
    explained = found;
    if (chosen === name) showReasons(name);
  });
}

function showReasons(name) {
  const each = music.profile.dimensions.find(one => one.name === name), found = explained.dimensions[name];
  $("reasons").hidden = $("other").hidden = false;
  $("reasons-title").textContent = `Why: ${each.area}, ${each.low} – ${each.high}`;
  $("words").replaceChildren(...found.words.map(text => make("p", text)));
  const effects = Object.entries(explained.factors[name]?.factors ?? {}).map(([factor, one]) => [factor, one.effect]);
  const most = Math.max(...effects.map(([, effect]) => Math.abs(effect)), 0.02);
  $("factors").replaceChildren(...effects.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).map(([factor, effect]) => {
    const row = make("div", "", "effect"), share = effect / most / 2;
    row.append(make("span", FACTORS[factor] ?? factor), scale(0.5 + Math.min(share, 0), 0.5 + Math.max(share, 0), null, effect > 0 ? "for" : "against"),
      make("span", signed(effect), "number"));
    return row;
  }), effects.length ? make("p", `Blue speaks for “${each.high}”, orange for “${each.low}”.`, "soft") : "");
  if (shown === "") light(each, explained.effects[name]);
  const find = make("button", "Find the smallest change");
  find.addEventListener("click", () => suggest(find, name));
  $("suggest").replaceChildren(find);
  compare();
}

// colours the notes by what they, or their bars, add to an answer, and names the most important ones
function light(each, effects) {
  const { lit, group_of: groups, groups: names } = explained;
  roll.weights = lit ? groups.map(group => (group < 0 ? 0 : effects[group] ?? 0)) : null;
  roll.draw();
  const { start, pitch } = music.roll, name = k => names[k] ?? `${PITCHES[pitch[k] % 12]}${Math.floor(pitch[k] / 12) - 1} at ${clock(start[k])}`;
  const order = effects.map((value, k) => [value, k]).sort((a, b) => b[0] - a[0]).map(([, k]) => k);
  const most = sign => (sign > 0 ? order : [...order].reverse()).filter(k => sign * effects[k] > 0).slice(0, 3).map(name).join(", ") || "none";
  $("lit").textContent = explained.lit_words + (lit ? ` Blue speaks for “${each.high}”, most of all ${most(1)}; orange for “${each.low}”, most of all ${most(-1)}.` : "");
}

function suggest(button, name) {
  return busy(button, "Looking for the smallest change that a listener would notice …", async () => {
    const mine = turn, { changes } = await ask("suggest", { dimension: name });
    if (mine !== turn || chosen !== name) return;
    $("suggest").replaceChildren(...changes.map(each => {
      const row = make("div", "", "version");
      row.append(make("span", dot(capital(each.words.replace(/ \((velocity loss|distance)[^)]*\)/, "")))));
      if (each.download) {
        const button = make("button", "Play");
        button.addEventListener("click", () => busy(button, "Making the sound …", () => play(each, true)));
        row.append(button, link(each.download));
      }
      return row;
    }));
  });
}

function showSliders() {
  $("sliders").replaceChildren(...Object.entries(FACTORS).map(([factor, words]) => {
    const label = make("label", words), slider = Object.assign(make("input"), { type: "range", min: 0, max: 2, step: 0.25, value: 1, name: factor });
    label.append(slider);
    return label;
  }));
}

function compare() {
  $("compare").replaceChildren();
  if (!changed?.after) return;
  const table = make("table"), head = make("tr");
  head.append(make("td"), ...["before", "after"].map(text => Object.assign(make("th", text), { scope: "col" })));
  table.append(head);
  const names = Object.keys(changed.after).sort((a, b) => (b === chosen) - (a === chosen) ||
    Math.abs(changed.after[b] - changed.before[b]) - Math.abs(changed.after[a] - changed.before[a])).slice(0, 6);
  for (const name of names) {
    const each = music.profile.dimensions.find(one => one.name === name), row = make("tr");
    row.append(Object.assign(make("th", `${each.area}: ${each.low} – ${each.high}`), { scope: "row" }), make("td", rating(changed.before[name]).toFixed(1), "number"),
      make("td", `${rating(changed.after[name]).toFixed(1)} (${signed(changed.after[name] - changed.before[name])})`, "number"));
    table.append(row);
  }
  $("compare").append(table);
}

// which: null for the file, else {roll, download} of a changed one
async function play(which, start = false) {
  const mine = turn;
  shown = which?.download.name ?? "";
  roll.show(which ? { ...music, roll: which.roll, melody: null, layers: null } : music);
  if (chosen && explained && !which) showReasons(chosen);
  else $("lit").textContent = which ? `Shown: ${which.download.name}` : "";
  sound.set(null, roll.music.roll);
  $("heard").textContent = "";
  sound.wanted = which ? Uint8Array.from(atob(which.download.data), letter => letter.charCodeAt(0)) : file.data;
  if (start && mine === turn) await startSound();
}

async function startSound() {
  if (sound.wanted) {
    const wanted = sound.wanted;
    try {
      const { blob, notes } = await ask("sound", {}, wanted);
      if (wanted === sound.wanted) {
        sound.set(blob, roll.music.roll);
        $("heard").textContent = notes.map(text => dot(capital(text))).join(" ");
      }
    } catch (error) {
      if (error.status !== 501) throw error;
      $("heard").textContent = "Played with plain tones, without pedals: no piano sound is installed.";
    }
    if (wanted !== sound.wanted) return;
    sound.wanted = null;
  }
  $("play").textContent = "Stop";
  await sound.play();
}

$("play").addEventListener("click", () => {
  if (sound.playing) return sound.stop();
  return busy($("play"), "Making the sound …", startSound);
});
$("try").addEventListener("click", () => busy($("try"), "Playing it otherwise …", async () => {
  const mine = turn;
  const strengths = Object.fromEntries([...document.querySelectorAll("#sliders input")].map(each => [each.name, Number(each.value)]));
  const found = await ask("changed", { strengths });
  if (mine !== turn) return;
  changed = found;
  for (const id of ["play-before", "play-after"]) $(id).disabled = false;
  $("after-download").replaceChildren(link(changed.download));
  compare();
  if (!changed.after) $("compare").append(make("p", "Played like this, there is no description: it is unlike all rated performances.", "soft"));
}));
$("play-before").addEventListener("click", () => busy($("play-before"), "Making the sound …", () => play(null, true)));
$("play-after").addEventListener("click", () => busy($("play-after"), "Making the sound …", () => play(changed, true)));
$("remix").addEventListener("click", () => busy($("remix"), "Writing …", async () => {
  const fields = [...document.querySelectorAll("[name=field]:checked")].map(each => each.value);
  const bars = [Number($("remix-from").value), Number($("remix-to").value)];
  if (!fields.length) throw new Error("Choose what is new: pitch, length or loudness.");
  if (!(bars[0] >= 1 && bars[0] <= bars[1])) throw new Error("The first bar is at least 1 and not after the last one.");
  const mine = turn, seed = Math.floor(Math.random() * 1e6);
  const { versions } = await ask("remix", {
    bars, fields, share: Number($("remix-share").value) / 100, temperature: Number($("remix-temperature").value), seed,
  });
  if (mine !== turn) return;
  $("versions").replaceChildren(...versions.map(each => {
    const row = make("div", "", "version"), button = make("button", "Play");
    button.addEventListener("click", () => busy(button, "Making the sound …", () => play(each, true)));
    row.append(make("strong", `Version ${each.number}`), make("span", `${each.changed} ${each.changed === 1 ? "note is" : "notes are"} new`, "soft"), button, link(each.download));
    return row;
  }));
}));
$("find").addEventListener("click", () => busy($("find"), "Looking …", async () => {
  const { answers } = await ask("similar");
  $("alike").replaceChildren(...answers.map(each =>
    make("li", `${each.file} – ${each.likeness.toFixed(2)}${each.same_file ? " (this file)" : ""}`)));
}));
for (const slider of document.querySelectorAll("#remix-share,#remix-temperature"))
  slider.addEventListener("input", () => {
    document.querySelector(`output[for=${slider.id}]`).textContent = slider.id === "remix-share" ? `${slider.value} %` : Number(slider.value).toFixed(1);
  });

async function take(chosenFile) {
  if (!chosenFile) return;
  if (chosenFile.size > take.most) return fail(`The file is larger than ${take.most >> 20} MB. Choose a shorter piece.`);
  await open(chosenFile.name, new Uint8Array(await chosenFile.arrayBuffer()));
}
$("file").addEventListener("change", event => {
  take(event.target.files[0]);
  event.target.value = "";
});
const drop = $("drop");
for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
  document.addEventListener(kind, event => {
    event.preventDefault();
    drop.classList.toggle("over", over);
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });

const about = await (await fetch("/api/about")).json();
take.most = about.most_bytes;
$("similar").hidden = !about.similar;
for (const [name, words] of Object.entries(about.examples)) {
  const button = make("button", words);
  button.addEventListener("click", async () => {
    fail(null);
    const response = await fetch(`/api/example/${name}`);
    if (response.ok) await open(`${words}.mid`, new Uint8Array(await response.arrayBuffer()));
    else fail(sentence(await response.json()));
  });
  $("examples").append(button, " ");
}
document.documentElement.dataset.ready = "yes";
