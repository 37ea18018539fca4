"use strict";
// Looks at cells, one after the other, and tells the station what is true of each.

const SIDE_PX = 1344;
const UNDO_STEPS = 20;
const $ = id => document.getElementById(id);

/**
 * The cells on the left: {title, note, verdict, view, mask, tell, told, button}. Of the current one, once it is there, also grey
 * (the view's values, 0 where nothing is to be seen), found and red (one byte a pixel, 1 on crack: what the network found, what is
 * shown) and earlier (what was shown before each stroke); red and found stay where something was drawn. busy: it is just being told.
 */
let cells = [];
let current = null;
/** Grows with every cell that is shown: answers about others come too late. */
let turn = 0;
const NOTHING = new Uint8Array(SIDE_PX * SIDE_PX);

/** Whether the current cell is there to be told about: nobody tells what he has not seen. */
const ready = () => Boolean(current && current.red && current.earlier && !current.busy);
const isDrawn = cell => Boolean(cell.red) && cell.red.some((value, i) => value !== cell.found[i]);

function say(text, isError = false) {
  $("said").textContent = text;
  $("said").classList.toggle("error", isError);
}

async function ask(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${url}: ${answer.status}`);
  return answer;
}

/** The cells that can be told about: those of the album, else the recent ones. */
async function load() {
  const { run, lanes } = await (await ask("/review")).json();
  const recent = lanes.flatMap(({ lane, cells }) => cells.map(cell => ({ lane, ...cell })));
  const album = await fetch("/album");
  if (album.ok) {
    const known = new Map(recent.filter(cell => cell.album).map(cell => [cell.album, cell]));
    const waiting = (await album.json()).waiting.map(({ name }) => name);
    const told = [...known.values()].filter(cell => cell.truth && !waiting.includes(cell.album)).map(cell => cell.album);
    return waiting.map(name => entryOf(name, known.get(name), false)).concat(told.map(name => entryOf(name, known.get(name), true)));
  }
  if (album.status !== 404) throw new Error((await album.text()).trim());
  return recent.map(cell => ({
    title: `${cell.lane} · ${cell.number}`, note: "", verdict: cell.verdict, view: null, mask: cell.mask,
    // The next run counts its cells from 1 again.
    tell: `/review/${cell.lane}/${cell.number}?run=${encodeURIComponent(run)}`, told: cell.truth !== null,
  }));
}

function entryOf(name, cell, told) {
  const [, time, lane, number] = name.match(/^([^_]*)_(.*)_(\d+)$/);
  const when = new Date(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)/, "$1-$2-$3T$4:$5:"));
  const at = `/album/${name}`;
  return {
    title: `${lane} · ${number}`, note: isNaN(when) ? time : when.toLocaleString(), verdict: cell ? cell.verdict : "",
    view: `${at}/view.png`, mask: `${at}/mask.png`, tell: at, told,
  };
}

/** Makes the list anew. */
function list() {
  $("cells").replaceChildren(...cells.map(cell => {
    cell.button = document.createElement("button");
    cell.button.type = "button";
    cell.button.onclick = () => show(cell);
    const item = document.createElement("li");
    item.append(cell.button);
    return item;
  }));
  cells.forEach(label);
  count();
}

/** Brings a cell's line up to date; the button stays the same, which may have the focus. */
function label(cell) {
  const verdict = document.createElement("span");
  verdict.textContent = cell.verdict;
  verdict.className = cell.verdict;
  const note = document.createElement("small");
  note.textContent = cell.note;
  cell.button.replaceChildren(`${cell.told ? "✓ " : ""}${cell.title} `, verdict, note);
  cell.button.classList.toggle("told", cell.told);
  if (cell === current) cell.button.setAttribute("aria-current", "true");
  else cell.button.removeAttribute("aria-current");
}

function count() {
  const told = cells.filter(cell => cell.told).length;
  $("count").textContent = cells.length === 0 ? "No cell waits." : `${cells.length - told} wait, ${told} told`;
}

/** The grey values of a picture, 0 to 255. */
async function pixels(url) {
  const bitmap = await createImageBitmap(await (await ask(url)).blob(), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(SIDE_PX, SIDE_PX), context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, SIDE_PX, SIDE_PX);
  return Uint8Array.from({ length: SIDE_PX * SIDE_PX }, (_, i) => data[4 * i]);
}

/** Lets go of what takes memory; what was drawn is kept. */
function leave(cell) {
  if (cell.busy) return;
  if (!isDrawn(cell)) cell.red = cell.found = null;
  cell.grey = cell.earlier = null;
}

async function show(cell) {
  if (!cell) return;
  const before = current, mine = ++turn;
  if (before && before !== cell) leave(before);
  current = cell;
  if (before) label(before);
  label(cell);
  cell.button.scrollIntoView({ block: "nearest" });
  say("");
  paint();
  if (ready()) return;
  try {
    const [grey, mask] = await Promise.all([cell.view && pixels(cell.view), cell.red ? null : pixels(cell.mask)]);
    if (mine !== turn) return;
    if (mask) {
      cell.found = mask.map(value => value > 127 ? 1 : 0);
      cell.red = cell.found.slice();
    }
    cell.grey = grey;
    cell.earlier = [];
    paint();
    if (!grey) say("This station keeps no pictures (album.dir): the mask alone is shown.");
  } catch (error) {
    if (mine === turn) say(`${cell.title}: ${error.message}`, true);
  }
}

function paint() {
  paintPicture();
  paintMask();
}

/** The view, spread further around the grey level of most of it. */
function paintPicture() {
  const context = $("picture").getContext("2d"), image = context.createImageData(SIDE_PX, SIDE_PX);
  const counts = new Uint32Array(256), grey = current && current.grey;
  if (grey) for (const value of grey) counts[value]++;
  let middle = 1, below = counts[1];
  const seen = grey ? grey.length - counts[0] : 0;
  while (middle < 255 && below < seen / 2) below += counts[++middle];
  const gain = Number($("contrast").value);
  for (let i = 0; i < SIDE_PX * SIDE_PX; i++) {
    const value = grey && grey[i] > 0 ? 128 + (grey[i] - middle) * gain : 0;
    image.data[4 * i] = image.data[4 * i + 1] = image.data[4 * i + 2] = value;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** The mask in red; whole, or the part that a stroke has touched. */
function paintMask(left = 0, top = 0, right = SIDE_PX, bottom = SIDE_PX) {
  [left, top, right, bottom] = [left, top, right, bottom].map(at => Math.min(Math.max(Math.floor(at), 0), SIDE_PX));
  if (right <= left || bottom <= top) return;
  const context = $("mask").getContext("2d"), image = context.createImageData(right - left, bottom - top);
  const red = current && current.red ? current.red : NOTHING;
  for (let y = top, i = 0; y < bottom; y++) {
    for (let x = left; x < right; x++, i++) {
      if (red[y * SIDE_PX + x]) image.data.set([255, 40, 40, 255], 4 * i);
    }
  }
  context.putImageData(image, left, top);
  // Not `disabled`: that would take the focus from whoever works with the keyboard.
  for (const id of ["as-shown", "no-defect", "restore"]) $(id).setAttribute("aria-disabled", String(!ready()));
  $("undo").setAttribute("aria-disabled", String(!ready() || current.earlier.length === 0));
}

/** A stroke of the pen between two points, or its erasing. */
function stroke(from, to, value) {
  const radius = Number($("pen").value) / 2;
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(radius / 2, 0.5)));
  for (let step = 0; step <= steps; step++) {
    const x0 = from.x + (to.x - from.x) * step / steps, y0 = from.y + (to.y - from.y) * step / steps;
    for (let y = Math.max(0, Math.floor(y0 - radius)); y <= Math.min(SIDE_PX - 1, y0 + radius); y++) {
      for (let x = Math.max(0, Math.floor(x0 - radius)); x <= Math.min(SIDE_PX - 1, x0 + radius); x++) {
        if (Math.hypot(x + 0.5 - x0, y + 0.5 - y0) <= Math.max(radius, 0.71)) current.red[y * SIDE_PX + x] = value;
      }
    }
  }
  const reach = radius + 2;
  paintMask(Math.min(from.x, to.x) - reach, Math.min(from.y, to.y) - reach, Math.max(from.x, to.x) + reach, Math.max(from.y, to.y) + reach);
}

/** Keeps what is shown for `undo`, and shows `next` where it is given. */
function change(next) {
  if (!ready()) return;
  current.earlier.push(current.red.slice());
  if (current.earlier.length > UNDO_STEPS) current.earlier.shift();
  if (next) current.red = next;
  paintMask();
}

function restore() {
  if (ready()) change(current.found.slice());
}

function undo() {
  if (ready() && current.earlier.length > 0) current.red = current.earlier.pop();
  paintMask();
}

/** The mask as a grey PNG of one bit a pixel, which is what the station takes. */
async function png(red) {
  const line = SIDE_PX / 8 + 1, raw = new Uint8Array(line * SIDE_PX);
  for (let y = 0; y < SIDE_PX; y++) {
    for (let x = 0; x < SIDE_PX; x++) raw[y * line + 1 + (x >> 3)] |= red[y * SIDE_PX + x] << (7 - (x & 7));
  }
  const packed = await new Response(new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer();
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, SIDE_PX);
  header.setUint32(4, SIDE_PX);
  header.setUint8(8, 1);
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  return new Blob([signature, chunk("IHDR", new Uint8Array(header.buffer)), chunk("IDAT", new Uint8Array(packed)), chunk("IEND", new Uint8Array())]);
}

function chunk(kind, data) {
  const bytes = new Uint8Array(data.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...kind].map(c => c.charCodeAt(0)), 4);
  bytes.set(data, 8);
  let crc = ~0;
  for (const byte of bytes.subarray(4, data.length + 8)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  view.setUint32(data.length + 8, ~crc);
  return bytes;
}

/** Tells the station, and goes on to the next cell that waits. */
async function tell(noDefect) {
  if (!ready()) return;
  const cell = current;
  cell.busy = true;
  paintMask();
  say(`${cell.title}: …`);
  let answer;
  try {
    const headers = { "Content-Type": noDefect ? "application/json" : "image/png" };
    const body = noDefect ? JSON.stringify({ truth: "no_defect" }) : await png(cell.red);
    answer = await (await ask(cell.tell, { method: "POST", headers, body })).json();
  } catch (error) {
    cell.busy = false;
    if (cell !== current) leave(cell);
    paintMask();
    return say(`${cell.title}: ${error.message}`, true);
  }
  cell.busy = false;
  cell.told = true;
  // What was told is what is there now.
  if (noDefect) cell.red = NOTHING.slice();
  cell.found = cell.red.slice();
  if (cell === current) cell.earlier = [];
  else leave(cell);
  label(cell);
  count();
  const here = cells.indexOf(cell), waits = other => !other.told && !other.busy;
  const next = cells.find((other, index) => index > here && waits(other)) ?? cells.find(waits);
  // A cell of an earlier run is something to learn from, no more.
  const told = `${cell.title}: told${noDefect ? ", no crack" : ""}${answer.counted === false ? "; it does not count for IoU, PA and OII" : ""}.`;
  if (cell === current && next) {
    const shown = show(next);
    say(told);
    return shown;
  }
  paintMask();
  say(told);
}

/** Looks for cells anew; what was drawn is kept. */
async function begin() {
  try {
    const known = new Map(cells.map(cell => [cell.tell, cell]));
    const now = await load();
    cells = now.map(cell => {
      const before = known.get(cell.tell);
      return before ? Object.assign(before, { verdict: cell.verdict, told: cell.told }) : cell;
    });
    // What was drawn on cells that are no longer listed can still be told.
    cells.push(...[...known.values()].filter(cell => !cells.includes(cell) && (cell.busy || isDrawn(cell))));
    list();
    const there = cells.includes(current) ? current : cells.find(cell => !cell.told) ?? cells[0];
    if (there) await show(there);
    else {
      current = null;
      paint();
    }
  } catch (error) {
    say(error.message, true);
  }
}

function size() {
  const times = Number($("size").value);
  const side = times > 0 ? times * SIDE_PX : Math.min($("view").clientWidth, $("view").clientHeight);
  $("cell").style.width = $("cell").style.height = `${side}px`;
  $("cell").classList.toggle("smaller", side < SIDE_PX);
}

for (const canvas of [$("picture"), $("mask")]) canvas.width = canvas.height = SIDE_PX;
$("no-defect").onclick = () => tell(true);
$("as-shown").onclick = () => tell(false);
$("undo").onclick = undo;
$("restore").onclick = restore;
$("again").onclick = begin;
$("red").onchange = () => $("mask").classList.toggle("off", !$("red").checked);
$("pen").oninput = () => { $("pen-px").textContent = `${$("pen").value} px`; };
$("contrast").oninput = paintPicture;
$("size").onchange = () => { size(); $("size").blur(); };
addEventListener("resize", size);

const at = event => {
  const { left, top, width } = $("mask").getBoundingClientRect();
  return { x: (event.clientX - left) * SIDE_PX / width, y: (event.clientY - top) * SIDE_PX / width };
};
let last = null;
$("mask").oncontextmenu = event => event.preventDefault();
$("mask").onpointerdown = event => {
  if (!ready() || (event.button !== 0 && event.button !== 2)) return;
  $("mask").setPointerCapture(event.pointerId);
  change();
  last = { ...at(event), cell: current, value: event.button === 2 || event.shiftKey ? 0 : 1 };
  stroke(last, last, last.value);
};
$("mask").onpointermove = event => {
  // A stroke ends with its cell.
  if (!last || last.cell !== current || !ready()) {
    last = null;
    return;
  }
  const to = at(event);
  stroke(last, to, last.value);
  last = { ...last, ...to };
};
$("mask").onpointerup = $("mask").onpointercancel = () => { last = null; };

const step = by => show(cells[cells.indexOf(current) + by]);
const keys = {
  n: () => tell(true), Enter: () => tell(false), u: undo, r: restore, ArrowDown: () => step(1), ArrowUp: () => step(-1), " ": () => $("red").click(),
};
addEventListener("keydown", event => {
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  // What has the focus has its own keys.
  const isTaken = /^(INPUT|SELECT)$/.test(event.target.tagName) || (event.target !== document.body && /^(Enter| )$/.test(event.key));
  if (!action || isTaken || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  action();
});
// What the mouse has clicked shall not take the keys.
addEventListener("click", event => { if (event.detail > 0 && event.target.tagName !== "SELECT" && document.activeElement) document.activeElement.blur(); });
addEventListener("beforeunload", event => { if (cells.some(cell => cell.busy || isDrawn(cell))) event.preventDefault(); });

size();
begin();
