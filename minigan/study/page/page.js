// What the sections share: decoding, drawing on a canvas, players with a slider, keys, the theme.
'use strict';

const sections = {};  // name -> (root, data) => { ... }, which fills the section; each NAME.js adds its own

/* ---- Elements and arrays ---- */

// element('p', {class: 'note'}, 'text', child): attributes that are functions become properties (onclick).
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made[name] = value;
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

// An element with HTML that Python made: code, MathML.
function fromHTML(tag, html, attributes = {}) {
  const made = element(tag, attributes);
  made.innerHTML = html;
  return made;
}

// arrays.packed on the Python side. at(i): the i-th entry along the first axis, a flat Float32Array.
function decode({shape, bits, low, high, bytes}) {
  const raw = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
  const q = bits === 16 ? new Uint16Array(raw.buffer) : raw;
  const values = Float32Array.from(q, (x) => low + (high - low) * x / (2 ** bits - 1));
  const size = values.length / shape[0];
  return {shape, values, at: (i) => values.subarray(i * size, (i + 1) * size)};
}

// Text in which a layer such as Dense(256 -> 1) stays on one line.
const unbroken = (text) => text.split(/(\w+\([^)]*\))/).map((part, i) => i % 2 ? element('span', {class: 'whole'}, part) : part);

// A linear map from [a, b] to [c, d].
const scale = (a, b, c, d) => (x) => c + (x - a) / (b - a) * (d - c);

const fixed = (x, digits) => x.toFixed(digits).replace('-', '−');

/* ---- The theme ---- */

const redraws = new Set();  // functions that draw with the theme's colours
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
const probe = document.body.appendChild(element('span', {hidden: true}));
let chosen = remembered();  // 'light' or 'dark'; null: as the system

// What was chosen when the page was last open; a browser may refuse to keep anything.
function remembered() {
  try { return localStorage.getItem('theme'); } catch { return null; }
}

// A colour of page.css, such as colour('--data'), as a canvas takes it.
function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

// The red, green and blue of a colour of page.css.
const channels = (name) => colour(name).match(/[\d.]+/g).slice(0, 3).map(Number);

const isDark = () => (chosen ?? (systemIsDark.matches ? 'dark' : 'light')) === 'dark';

function applyTheme() {
  document.documentElement.style.colorScheme = chosen ?? '';
  const button = document.getElementById('theme');
  button.textContent = isDark() ? 'Light' : 'Dark';
  button.setAttribute('aria-label', `${button.textContent} theme`);
  redraws.forEach((redraw) => redraw());
}

function toggleTheme() {
  chosen = isDark() ? 'light' : 'dark';
  try { localStorage.setItem('theme', chosen); } catch { /* it lasts until the page is closed */ }
  applyTheme();
}

/* ---- Drawing ---- */

// A canvas in root as wide as its place. draw(context, width, height) works in CSS pixels; call the function that comes
// back to draw again. label: what the picture shows, in words. ratio: height / width, or a function of the width.
function picture(root, {label, ratio, draw}) {
  const canvas = root.appendChild(element('canvas', {role: 'img', 'aria-label': label}));
  const context = canvas.getContext('2d');
  const redraw = () => {
    const width = canvas.clientWidth, sharp = window.devicePixelRatio || 1;
    const height = Math.round(width * (typeof ratio === 'function' ? ratio(width) : ratio));
    if (!width) return;  // not laid out
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * sharp);
    canvas.height = Math.round(height * sharp);
    context.setTransform(sharp, 0, 0, sharp, 0, 0);
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    draw(context, width, height);
  };
  redraws.add(redraw);
  let width = 0;
  new ResizeObserver(() => {
    if (canvas.clientWidth !== width) {
      width = canvas.clientWidth;
      redraw();
    }
  }).observe(canvas);
  return redraw;
}

// A canvas with one pixel for each value, to be drawn at any size. shade(value): [red, green, blue].
function bitmap(values, rows, columns, shade) {
  const canvas = element('canvas', {width: columns, height: rows});
  const context = canvas.getContext('2d'), pixels = context.createImageData(columns, rows);
  values.forEach((value, i) => pixels.data.set([...shade(value), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Shades from one colour of page.css over a middle one to a third, for values from 0 to 1.
function shades(...names) {
  const stops = names.map(channels), last = stops.length - 1;
  return (value) => {
    const place = Math.min(Math.max(value, 0), 1) * last, i = Math.min(Math.floor(place), last - 1);
    return stops[i].map((start, c) => Math.round(start + (place - i) * (stops[i + 1][c] - start)));
  };
}

// Bars from the bottom of a box upwards. top: the count that fills the height.
function drawHistogram(context, counts, {x, y, width, height, top = Math.max(...counts), fill}) {
  context.fillStyle = fill;
  const step = width / counts.length;
  counts.forEach((count, i) => {
    const bar = Math.min(count / top, 1) * height;
    context.fillRect(x + i * step, y + height - bar, step > 6 ? step - 1 : step, bar);
  });
}

// A line through points in CSS pixels.
function drawLine(context, xs, ys, {stroke, width = 1.5, dash = []}) {
  context.beginPath();
  xs.forEach((x, i) => context.lineTo(x, ys[i]));
  Object.assign(context, {strokeStyle: stroke, lineWidth: width, lineJoin: 'round'});
  context.setLineDash(dash);
  context.stroke();
  context.setLineDash([]);
}

/* ---- Players ---- */

const players = [];

// Controls in root that go through moments 0 .. names.length - 1. names: of the moments, such as 'step 100'.
// show(i): show a moment. rate: moments a second, as played at first. Returns {box, go(i), step(by), toggle()}.
function player(root, {label, names, show, rate = 8}) {
  let now = 0, timer = null;
  const play = element('button', {type: 'button', class: 'play', onclick: () => toggle()});
  const slider = element('input', {
    type: 'range', min: 0, max: names.length - 1, value: 0, 'aria-label': `${label}: step`,
    oninput: () => { pause(); go(Number(slider.value)); }});
  const output = element('output', {'aria-live': 'off'});
  const speeds = [['slow', 0.4], ['normal', 1], ['fast', 3]].map(([name, factor]) =>
    element('option', {value: factor, selected: factor === 1}, name));
  const speed = element('select', {
    'aria-label': `${label}: speed`, onchange: () => { if (timer) { pause(); toggle(); } }}, ...speeds);
  const box = root.appendChild(element('div', {class: 'player', role: 'group', 'aria-label': label},
                                       play, slider, output, speed));

  function go(i) {
    now = Math.min(Math.max(i, 0), names.length - 1);
    slider.value = now;
    slider.setAttribute('aria-valuetext', names[now]);
    output.textContent = names[now];
    show(now);
  }
  function said(word) {
    play.textContent = word;
    play.setAttribute('aria-label', `${word}: ${label}`);
  }
  function pause() {
    clearInterval(timer);
    timer = null;
    said('Play');
  }
  function toggle() {
    if (timer) return pause();
    if (now === names.length - 1) go(0);
    said('Pause');
    timer = setInterval(() => {
      go(now + 1);
      if (now === names.length - 1) pause();
    }, 1000 / (rate * Number(speed.value)));
  }
  const made = {box, go, toggle, step: (by) => { pause(); go(now + by); }};
  players.push(made);
  said('Play');
  go(0);
  return made;
}

// The player that keys move: the one whose controls or figure have the focus, or else the one nearest to the middle.
function current() {
  const visible = players.filter(({box}) => box.getClientRects().length), focus = document.activeElement;
  const middle = ({box}) => {
    const {top, bottom} = (box.closest('figure') ?? box).getBoundingClientRect();
    return Math.abs((top + bottom) / 2 - innerHeight / 2);
  };
  return visible.find(({box}) => box.contains(focus) || box.closest('figure')?.contains(focus)) ??
    visible.sort((a, b) => middle(a) - middle(b))[0];
}

/* ---- Keys ---- */

const PRESSED = 'button, summary, a, [type=checkbox]';  // what Space already does something to

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  const {key, target} = event, typed = target.closest('select, textarea, input:not([type=range], [type=checkbox])');
  const arrow = {ArrowLeft: -1, ArrowRight: 1}[key];
  if (key === '?' && !typed) openKeys();
  else if (key === 't' && !typed) toggleTheme();
  else if (arrow && !typed && target.type !== 'range' && !scrolls(target)) current()?.step(arrow);
  else if (key === ' ' && !typed && !target.closest(PRESSED)) current()?.toggle();
  else return;
  event.preventDefault();
}

// Whether an element with the focus, such as code that is too wide, needs the arrow keys itself.
const scrolls = (target) => target !== document.body && target.scrollWidth > target.clientWidth;

const openKeys = () => document.getElementById('keys').showModal();

/* ---- Start ---- */

// Fill the section of this data. One that fails says so, and the others are shown.
function fill(script) {
  const name = script.id.replace('-data', ''), root = document.getElementById(name);
  try {
    sections[name](root, JSON.parse(script.textContent));
  } catch (error) {
    console.error(error);
    root.append(element('p', {class: 'failed', role: 'alert'}, `This section could not be shown: ${error.message}`));
  }
}

function start() {
  document.querySelectorAll('script[type="application/json"]').forEach(fill);
  document.getElementById('theme').onclick = toggleTheme;
  document.getElementById('show-keys').onclick = openKeys;
  document.addEventListener('keydown', onKey);
  systemIsDark.addEventListener('change', applyTheme);
  document.getElementById(location.hash.slice(1))?.scrollIntoView();  // was not there at first
  applyTheme();
}

document.addEventListener('DOMContentLoaded', start);
