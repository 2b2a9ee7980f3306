// A canvas on which classes are painted, a mask is brushed, or boxes are drawn.
// props: mode ("classes" | "mask" | "boxes"), classes ([{name, colour}]), width, height (of the map, in its own
// pixels), background (data URI of a picture below), widest (columns that `widen` may reach).
// props.value is JSON: {width, height, ids (base64, a byte a pixel)} or {width, height, boxes ([class, x, y, w, h])}.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const palette = element.querySelector(".palette");
const size = element.querySelector(".size");
const state = { width: 0, height: 0, ids: null, boxes: [], chosen: 0, tool: "brush", undo: [], start: null, last: null };
let picture = null;

const boxes = () => props.mode === "boxes";
const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

function fresh(width, height) {
  state.width = width;
  state.height = height;
  state.ids = new Uint8Array(width * height);
  state.boxes = [];
}

function remember() {
  state.undo.push({ width: state.width, height: state.height, ids: state.ids.slice(), boxes: [...state.boxes] });
  if (state.undo.length > 40) state.undo.shift();
}

function publish() {
  const known = { width: state.width, height: state.height };
  let text = "";
  for (let i = 0; i < state.ids.length; i += 4096) text += String.fromCharCode(...state.ids.subarray(i, i + 4096));
  const value = boxes() ? { ...known, boxes: state.boxes } : { ...known, ids: btoa(text) };
  props.value = JSON.stringify(value);
  trigger("change");
}

function accept(text) {
  let value;
  try { value = JSON.parse(text); } catch { return; }
  if (!value || !value.width) return;
  if (value.width !== state.width || value.height !== state.height) fresh(value.width, value.height);
  if (value.ids) state.ids = Uint8Array.from(atob(value.ids), (c) => c.charCodeAt(0));
  if (value.boxes) state.boxes = value.boxes;
  draw();
}

function draw() {
  const shown = Math.max(1, Math.min(384 / state.height, 1200 / state.width));
  const sharp = boxes() ? Math.ceil(shown) : 1; // outlines and names are drawn finer than the map's pixels
  canvas.width = state.width * sharp;
  canvas.height = state.height * sharp;
  context.scale(sharp, sharp);
  canvas.style.width = `min(100%, ${state.width * shown}px)`;
  canvas.style.aspectRatio = `${state.width} / ${state.height}`;
  if (picture) context.drawImage(picture, 0, 0, state.width, state.height);
  else { context.fillStyle = "#ffffff"; context.fillRect(0, 0, state.width, state.height); }
  if (boxes()) return state.boxes.forEach(outline);
  const layer = new ImageData(state.width, state.height);
  const colours = props.classes.map((c) => rgb(c.colour));
  const mask = props.mode === "mask";
  for (let i = 0; i < state.ids.length; i++) {
    const id = state.ids[i];
    layer.data.set([...(colours[id] || [255, 0, 255]), mask ? (id ? 150 : 0) : 255], 4 * i);
  }
  const sheet = new OffscreenCanvas(state.width, state.height);
  sheet.getContext("2d").putImageData(layer, 0, 0);
  context.drawImage(sheet, 0, 0);
}

function outline([kind, x, y, w, h]) {
  const one = props.classes[kind] || { name: `class ${kind}`, colour: "#444444" };
  context.strokeStyle = context.fillStyle = one.colour;
  context.lineWidth = state.height / 128;
  context.strokeRect(x * state.width, y * state.height, w * state.width, h * state.height);
  context.font = `${state.height / 20}px sans-serif`;
  context.fillText(one.name, (x + 0.01) * state.width, (y + 0.055) * state.height);
}

function place(event) {
  const frame = canvas.getBoundingClientRect();
  const x = ((event.clientX - frame.left) / frame.width) * state.width;
  const y = ((event.clientY - frame.top) / frame.height) * state.height;
  return [Math.max(0, Math.min(state.width, x)), Math.max(0, Math.min(state.height, y))];
}

function dab(x, y) {
  const radius = Number(size.value) / 2;
  for (let j = Math.floor(y - radius); j <= y + radius; j++)
    for (let i = Math.floor(x - radius); i <= x + radius; i++)
      if (i >= 0 && j >= 0 && i < state.width && j < state.height && (i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2 <= radius ** 2 + 0.3)
        state.ids[j * state.width + i] = state.chosen;
}

function stroke([x0, y0], [x1, y1]) {
  const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0)));
  for (let i = 0; i <= steps; i++) dab(x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps);
}

function fill([x, y]) {
  const first = Math.min(state.height - 1, Math.floor(y)) * state.width + Math.min(state.width - 1, Math.floor(x));
  const old = state.ids[first];
  if (old === state.chosen) return;
  const open = [first];
  while (open.length) {
    const i = open.pop();
    if (state.ids[i] !== old) continue;
    state.ids[i] = state.chosen;
    const column = i % state.width;
    if (column > 0) open.push(i - 1);
    if (column < state.width - 1) open.push(i + 1);
    if (i >= state.width) open.push(i - state.width);
    if (i + state.width < state.ids.length) open.push(i + state.width);
  }
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  remember();
  state.start = state.last = place(event);
  if (boxes()) return;
  if (state.tool === "fill") { fill(state.start); state.start = null; draw(); publish(); return; }
  dab(...state.start);
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!state.start) return;
  const point = place(event);
  if (!boxes()) { stroke(state.last, point); state.last = point; draw(); return; }
  draw();
  outline(box(state.start, point));
});
canvas.addEventListener("pointerup", (event) => {
  if (!state.start) return;
  const drawn = box(state.start, place(event));
  if (boxes() && drawn[3] > 0.02 && drawn[4] > 0.02) state.boxes.push(drawn);
  state.start = null;
  draw();
  publish();
});

function box([x0, y0], [x1, y1]) {
  const [w, h] = [state.width, state.height];
  const round = (v) => Math.round(v * 1000) / 1000;
  return [state.chosen, round(Math.min(x0, x1) / w), round(Math.min(y0, y1) / h), round(Math.abs(x1 - x0) / w), round(Math.abs(y1 - y0) / h)];
}

const actions = {
  brush() { state.tool = "brush"; },
  fill() { state.tool = "fill"; },
  undo() {
    const before = state.undo.pop();
    if (before) { Object.assign(state, before); draw(); publish(); }
  },
  clear() { remember(); fresh(state.width, state.height); draw(); publish(); },
  widen() {
    // The map is continued by its mirror image, so that no edge is torn; what is there can be painted over.
    if (2 * state.width > props.widest) return;
    remember();
    const { width, ids } = state;
    fresh(2 * width, state.height);
    for (let j = 0; j < state.height; j++)
      for (let i = 0; i < 2 * width; i++)
        state.ids[j * 2 * width + i] = ids[j * width + (i < width ? i : 2 * width - 1 - i)];
    draw();
    publish();
  },
};

for (const [name, action] of Object.entries(actions)) {
  const button = element.querySelector(`.${name}`);
  if (button) button.addEventListener("click", () => { action(); marks(); });
}

function marks() {
  for (const name of ["brush", "fill"]) element.querySelector(`.${name}`).classList.toggle("on", state.tool === name);
  [...palette.children].forEach((child, i) => child.classList.toggle("on", i === state.chosen));
}

function setUp() {
  palette.replaceChildren(...props.classes.map((one, i) => {
    const button = document.createElement("button");
    const colour = document.createElement("i");
    colour.style.background = one.colour;
    button.append(colour, one.name);
    button.addEventListener("click", () => { state.chosen = i; marks(); });
    return button;
  }));
  state.chosen = props.mode === "mask" ? 1 : 0;
  element.querySelector(".widen").hidden = props.mode !== "classes" || props.widest < 2 * props.width;
  element.querySelector(".fill").hidden = element.querySelector(".brush").hidden = boxes();
  element.querySelector(".size").parentElement.hidden = boxes();
  fresh(props.width, props.height);
  marks();
  draw();
  accept(props.value);
}

watch("background", () => {
  if (!props.background) { picture = null; return draw(); }
  const image = new Image();
  image.onload = () => { picture = image; draw(); };
  image.src = props.background;
});
watch("value", () => { if (props.value) accept(props.value); });
setUp();
// What the painter would hand over, and whether a picture lies below it, for scripts and tests of the page.
const id = element.closest("[id^=paint-]")?.id || element.id;
window.backgrounds = { ...window.backgrounds, [id]: () => picture !== null };
window.painters = { ...window.painters, [id]: () => props.value };
