"use strict";
// Looks at cells, one after the other, and tells the station what is true of each.

const SIDE_PX = 1344;
const UNDO_STEPS = 20;
const $ = id => document.getElementById(id);

/** The cells on the left: {title, note, verdict, picture, mask, tell, told}. */
let cells = [];
let current = -1;
/** Grey values of the picture, 0 where nothing is to be seen. */
let grey = null;
/** One byte a pixel, 1 on crack: what is shown in red, what was found, and earlier ones. */
let mask = new Uint8Array(SIDE_PX * SIDE_PX), found = mask, earlier = [];
/** Grows with every cell that is shown: answers about others come too late. */
let shown = 0;
/** Whether the current cell is there to be told about: nobody tells what he has not seen. */
let ready = false;

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
  const recent = (await (await ask("/review")).json()).lanes.flatMap(({ lane, cells }) => cells.map(cell => ({ lane, ...cell })));
  const album = await fetch("/album");
  if (album.ok) {
    const known = new Map(recent.filter(cell => cell.album).map(cell => [cell.album, cell]));
    const waiting = (await album.json()).waiting;
    const names = new Set(waiting.map(({ name }) => name));
    const told = recent.filter(cell => cell.album && cell.truth && !names.has(cell.album));
    return waiting.map(({ name, picture, mask }) => entryOf(name, picture, mask, known.get(name), false))
      .concat(told.map(cell => entryOf(cell.album, cell.picture, `/album/${cell.album}/mask.png`, cell, true)));
  }
  if (album.status !== 404) throw new Error((await album.text()).trim());
  return recent.map(cell => ({
    title: `${cell.lane} · ${cell.number}`, note: "", verdict: cell.verdict, picture: null, mask: cell.mask,
    tell: `/review/${cell.lane}/${cell.number}`, told: cell.truth !== null,
  }));
}

function entryOf(name, picture, mask, cell, told) {
  const [, time, lane, number] = name.match(/^([^_]*)_(.*)_(\d+)$/);
  const when = new Date(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)/, "$1-$2-$3T$4:$5:"));
  return {
    title: `${lane} · ${number}`, note: isNaN(when) ? time : when.toLocaleString(), verdict: cell ? cell.verdict : "", picture, mask,
    tell: `/album/${name}`, told,
  };
}

function list() {
  $("cells").replaceChildren(...cells.map((cell, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${cell.told ? "✓ " : ""}${cell.title} `;
    button.classList.toggle("told", cell.told);
    const verdict = document.createElement("span");
    verdict.textContent = cell.verdict;
    verdict.className = cell.verdict;
    const note = document.createElement("small");
    note.textContent = cell.note;
    button.append(verdict, note);
    if (index === current) button.setAttribute("aria-current", "true");
    button.onclick = () => show(index);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  const told = cells.filter(cell => cell.told).length;
  $("count").textContent = cells.length === 0 ? "No cell waits." : `${cells.length - told} wait, ${told} told`;
  const here = $("cells").querySelector("[aria-current]");
  if (here) here.scrollIntoView({ block: "nearest" });
}

/** The grey values of a picture, 0 to 255. */
async function pixels(url) {
  const bitmap = await createImageBitmap(await (await ask(url)).blob(), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(SIDE_PX, SIDE_PX), context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, SIDE_PX, SIDE_PX);
  return Uint8Array.from({ length: SIDE_PX * SIDE_PX }, (_, i) => data[4 * i]);
}

async function show(index) {
  if (index < 0 || index >= cells.length) return;
  if (ready && earlier.length > 0) cells[current].drawn = mask;
  const turn = ++shown, cell = cells[index];
  ready = false;
  current = index;
  list();
  say("");
  grey = null;
  found = mask = new Uint8Array(SIDE_PX * SIDE_PX);
  earlier = [];
  paintPicture();
  paintMask();
  try {
    const [picture, red] = await Promise.all([cell.picture && pixels(cell.picture), pixels(cell.mask)]);
    if (turn !== shown) return;
    grey = picture;
    found = red.map(value => value > 127 ? 1 : 0);
    mask = cell.drawn ?? found.slice();
    ready = true;
    paintPicture();
    paintMask();
    if (!grey) say("This station keeps no pictures (album.dir): the mask alone is shown.");
  } catch (error) {
    if (turn === shown) say(error.message, true);
  }
}

/** The picture, spread around the grey level of most of it. */
function paintPicture() {
  const context = $("picture").getContext("2d"), image = context.createImageData(SIDE_PX, SIDE_PX);
  const counts = new Uint32Array(256);
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
  for (let y = top, i = 0; y < bottom; y++) {
    for (let x = left; x < right; x++, i++) {
      if (mask[y * SIDE_PX + x]) image.data.set([255, 40, 40, 255], 4 * i);
    }
  }
  context.putImageData(image, left, top);
  $("as-shown").disabled = $("no-defect").disabled = !ready;
  $("undo").disabled = earlier.length === 0;
}

/** A stroke of the pen between two points, or its erasing. */
function stroke(from, to, value) {
  const radius = Number($("pen").value) / 2;
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(radius / 2, 0.5)));
  for (let step = 0; step <= steps; step++) {
    const x0 = from.x + (to.x - from.x) * step / steps, y0 = from.y + (to.y - from.y) * step / steps;
    for (let y = Math.max(0, Math.floor(y0 - radius)); y <= Math.min(SIDE_PX - 1, y0 + radius); y++) {
      for (let x = Math.max(0, Math.floor(x0 - radius)); x <= Math.min(SIDE_PX - 1, x0 + radius); x++) {
        if (Math.hypot(x + 0.5 - x0, y + 0.5 - y0) <= Math.max(radius, 0.71)) mask[y * SIDE_PX + x] = value;
      }
    }
  }
  const reach = radius + 2;
  paintMask(Math.min(from.x, to.x) - reach, Math.min(from.y, to.y) - reach, Math.max(from.x, to.x) + reach, Math.max(from.y, to.y) + reach);
}

function change(next) {
  earlier.push(mask.slice());
  if (earlier.length > UNDO_STEPS) earlier.shift();
  if (next) mask = next;
  paintMask();
}

function restore() {
  if (ready) change(found.slice());
}

function undo() {
  if (earlier.length > 0) mask = earlier.pop();
  paintMask();
}

/** The mask as a grey PNG of one bit a pixel, which is what the station takes. */
async function png() {
  const line = SIDE_PX / 8 + 1, raw = new Uint8Array(line * SIDE_PX);
  for (let y = 0; y < SIDE_PX; y++) {
    for (let x = 0; x < SIDE_PX; x++) raw[y * line + 1 + (x >> 3)] |= mask[y * SIDE_PX + x] << (7 - (x & 7));
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
  if (!ready) return;
  ready = false;
  const cell = cells[current], index = current;
  const body = noDefect ? JSON.stringify({ truth: "no_defect" }) : await png();
  say(`${cell.title}: …`);
  try {
    await ask(cell.tell, { method: "POST", headers: { "Content-Type": noDefect ? "application/json" : "image/png" }, body });
    cell.told = true;
    delete cell.drawn;
    earlier = [];
    const next = [...cells.keys()].find(i => i > index && !cells[i].told) ?? cells.findIndex(cell => !cell.told);
    if (current === index && next >= 0) await show(next);
    else if (current === index) {
      if (noDefect) mask = new Uint8Array(SIDE_PX * SIDE_PX);
      ready = true;
      paintMask();
    }
    list();
    say(`${cell.title}: told${noDefect ? ", no crack" : ""}.`);
  } catch (error) {
    ready ||= current === index;
    say(`${cell.title}: ${error.message}`, true);
  }
}

async function begin() {
  try {
    cells = await load();
    current = -1;
    ready = false;
    list();
    paintMask();
    if (cells.length > 0) await show(Math.max(0, cells.findIndex(cell => !cell.told)));
  } catch (error) {
    say(error.message, true);
  }
}

function size() {
  const times = Number($("size").value);
  const side = times > 0 ? times * SIDE_PX : Math.min($("view").clientWidth, $("view").clientHeight);
  $("cell").style.width = $("cell").style.height = `${side}px`;
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
$("size").onchange = size;
addEventListener("resize", size);

const at = event => {
  const { left, top, width } = $("mask").getBoundingClientRect();
  return { x: (event.clientX - left) * SIDE_PX / width, y: (event.clientY - top) * SIDE_PX / width };
};
let last = null;
$("mask").oncontextmenu = event => event.preventDefault();
$("mask").onpointerdown = event => {
  if (!ready || (event.button !== 0 && event.button !== 2)) return;
  $("mask").setPointerCapture(event.pointerId);
  change();
  last = { ...at(event), value: event.button === 2 || event.shiftKey ? 0 : 1 };
  stroke(last, last, last.value);
};
$("mask").onpointermove = event => {
  if (!last) return;
  const to = at(event);
  stroke(last, to, last.value);
  last = { ...to, value: last.value };
};
$("mask").onpointerup = $("mask").onpointercancel = () => { last = null; };

const keys = {
  n: () => tell(true), Enter: () => tell(false), u: undo, r: restore, ArrowDown: () => show(current + 1), ArrowUp: () => show(current - 1),
  " ": () => $("red").click(),
};
addEventListener("keydown", event => {
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const ownKeys = /^(INPUT|SELECT)$/.test(event.target.tagName) || (event.target.tagName === "BUTTON" && /^(Enter| )$/.test(event.key));
  if (!action || ownKeys || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  action();
});

// What the mouse has clicked shall not take the keys.
addEventListener("click", event => { if (event.detail > 0 && document.activeElement) document.activeElement.blur(); });

size();
begin();
