// The piano roll, and the sound of what it shows.

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const clock = seconds => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export class Roll {
  constructor(canvas, seek) {
    this.canvas = canvas;
    this.music = null;
    this.time = 0;
    this.layers = new Set();
    this.weights = null; // a number a note, or null
    this.first = 0; // seconds at the left edge
    const at = event => this.first + (event.clientX - canvas.getBoundingClientRect().left) / this.scale;
    canvas.addEventListener("click", event => this.music && seek(Math.min(Math.max(at(event), 0), this.end)));
    canvas.addEventListener("keydown", event => {
      const step = { ArrowLeft: -2, ArrowRight: 2, PageUp: 15, PageDown: -15, Home: -1e9, End: 1e9 }[event.key];
      if (!step || !this.music) return;
      event.preventDefault();
      seek(Math.min(Math.max(this.time + step, 0), this.end));
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(music) {
    this.music = music;
    this.end = music.roll.end.reduce((most, end) => Math.max(most, end), 0);
    this.weights = null;
    const pitched = music.roll.pitch.filter((_, k) => !music.roll.drum[k]);
    const pitches = pitched.length ? pitched : music.roll.pitch;
    this.low = pitches.reduce((a, b) => Math.min(a, b), 127) - 2;
    this.high = pitches.reduce((a, b) => Math.max(a, b), 0) + 2;
    this.canvas.setAttribute("aria-valuemax", this.end.toFixed(0));
    this.at(0);
  }

  at(seconds) {
    this.time = seconds;
    this.canvas.setAttribute("aria-valuenow", seconds.toFixed(0));
    this.canvas.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(this.end ?? 0)}`);
    this.draw();
  }

  draw() {
    const { canvas, music } = this;
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    if (!music) return;
    const span = Math.min(this.end, Math.max(width / 40, 12)); // at most 40 pixels a second
    this.scale = width / span;
    this.first = Math.min(Math.max(this.time - span / 3, 0), Math.max(this.end - span, 0));
    const x = seconds => (seconds - this.first) * this.scale;
    const top = 18, step = (height - top) / (this.high - this.low);
    const y = pitch => top + (this.high - pitch) * step;
    const visible = (start, end) => end >= this.first && start <= this.first + span;
    pen.font = "11px system-ui, sans-serif";
    for (const [k, bar] of music.bar_seconds?.entries() ?? []) {
      if (!visible(bar, bar)) continue;
      pen.fillStyle = colour("bar");
      pen.fillRect(x(bar), top, 1, height);
      if ((music.bar_seconds[k + 1] ?? bar + 9) * this.scale - bar * this.scale > 26 || k % 4 == 0) {
        pen.fillStyle = colour("soft");
        pen.fillText(k + 1, x(bar) + 3, top + 10);
      }
    }
    const layers = music.layers ?? {};
    if (this.layers.has("beats"))
      for (const second of layers.beats?.seconds ?? []) {
        if (!visible(second, second)) continue;
        pen.fillStyle = colour("range");
        pen.fillRect(x(second), height - 8, 1.5, 8);
      }
    for (const [name, row] of [["keys", 11], ["chords", height - 10]]) {
      if (!this.layers.has(name)) continue;
      pen.fillStyle = colour("ink");
      for (const each of layers[name] ?? [])
        if (visible(each.start_seconds, each.end_seconds))
          pen.fillText(each.name, Math.max(x(each.start_seconds), 0) + 2, row);
    }
    const melody = new Set(this.layers.has("melody") ? music.melody ?? [] : []);
    const { start, end, pitch, velocity, drum } = music.roll;
    const most = this.weights ? Math.max(...this.weights.map(Math.abs), 1e-9) : 1;
    for (let k = 0; k < start.length; k++) {
      if (drum[k] || !visible(start[k], end[k])) continue;
      let fill = colour(melody.has(k) ? "melody" : "note"), alpha = 0.35 + 0.65 * velocity[k] / 127;
      if (this.weights) {
        const share = this.weights[k] / most;
        if (Math.abs(share) > 0.08) fill = colour(share > 0 ? "for" : "against");
        alpha = 0.4 + 0.6 * Math.abs(share);
      }
      pen.globalAlpha = alpha;
      pen.fillStyle = fill;
      pen.fillRect(x(start[k]), y(pitch[k]) - step / 2, Math.max((end[k] - start[k]) * this.scale, 2), Math.max(step * 0.85, 2));
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colour("head");
    pen.fillRect(x(this.time) - 0.75, top, 1.5, height);
  }
}

// Plays a WAV file that the server makes, or plain tones where it cannot.
export class Sound {
  constructor(moved, ended) {
    this.audio = new Audio();
    this.moved = moved;
    this.ended = ended;
    this.audio.addEventListener("ended", () => this.stop());
    this.tones = null;
  }

  get playing() {
    return this.tones !== null || !this.audio.paused;
  }

  set(blob, roll) {
    this.stop();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = blob && URL.createObjectURL(blob);
    this.roll = roll;
    this.from = 0;
    if (this.url) this.audio.src = this.url;
  }

  async play() {
    if (this.url) await this.audio.play();
    else this.startTones();
    this.tick();
  }

  tick() {
    if (!this.playing) return;
    this.moved(this.time);
    requestAnimationFrame(() => this.tick());
  }

  get time() {
    if (this.url) return this.audio.currentTime;
    return this.tones ? this.from + this.tones.currentTime : this.from;
  }

  seek(seconds) {
    if (this.url) this.audio.currentTime = seconds;
    else {
      const playing = this.tones !== null;
      this.stop();
      this.from = seconds;
      if (playing) this.play();
    }
    this.moved(seconds);
  }

  stop() {
    const time = this.time;
    this.audio.pause();
    if (this.tones) {
      this.tones.close();
      this.tones = null;
      this.from = time;
    }
    this.ended();
  }

  startTones() {
    const context = (this.tones = new AudioContext());
    const { start, end, pitch, velocity, drum } = this.roll;
    const out = context.createGain();
    out.gain.value = 0.2;
    out.connect(context.destination);
    let last = 0;
    start.map((_, k) => k).filter(k => !drum[k] && start[k] >= this.from).slice(0, 4000).forEach(k => {
      const tone = context.createOscillator(), loud = context.createGain(), begin = start[k] - this.from;
      const stop = Math.max(end[k] - this.from, begin + 0.08);
      tone.type = "triangle";
      tone.frequency.value = 440 * 2 ** ((pitch[k] - 69) / 12);
      loud.gain.setValueAtTime((velocity[k] / 127) ** 2, begin);
      loud.gain.exponentialRampToValueAtTime(0.001, stop + 0.15);
      tone.connect(loud).connect(out);
      tone.start(begin);
      tone.stop(stop + 0.2);
      last = Math.max(last, stop);
    });
    setTimeout(() => this.tones === context && this.stop(), last * 1000 + 400);
  }
}
