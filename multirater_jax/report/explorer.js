// The explorer page: one scan, its masks as outlines, its uncertainty as a colored layer.
// Everything it shows lies in the JSON element "data"; see explorer.py for its fields.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const [height, width] = data.size;
const canvas = byId('view');
const pen = canvas.getContext('2d');
const state = {
  slice: Math.floor(data.planes.length / 2), sample: 0, mix: 0, overlay: 'none', threshold: 0,
  low: data.window[0], high: data.window[1], zoom: 1, x: width / 2, y: height / 2, shown: new Set(),
};

// Pixels of a PNG, decoded once.
const decoded = new Map();
async function pixels(address) {
  if (!decoded.has(address)) {
    const picture = new Image();
    picture.src = address;
    await picture.decode();
    const sheet = new OffscreenCanvas(width, height).getContext('2d');
    sheet.drawImage(picture, 0, 0);
    decoded.set(address, sheet.getImageData(0, 0, width, height).data);
  }
  return decoded.get(address);
}

// Dark blue to yellow by way of gray: tells apart for all kinds of color vision.
const ramp = (share) => [
  Math.round(255 * share), Math.round(32 + 200 * share), Math.round(80 + 60 * (1 - Math.abs(2 * share - 1)) - 30 * share),
];

async function picture() {
  const gray = await pixels(data.planes[state.slice]);
  const map = state.overlay === 'none' ? null : data.maps[state.overlay];
  const levels = map && await pixels(map.planes[state.slice]);
  const out = new ImageData(width, height);
  const scale = 255 / Math.max(state.high - state.low, 1);
  for (let i = 0; i < out.data.length; i += 4) {
    for (let c = 0; c < 3; c++) out.data[i + c] = (gray[i + c] - state.low) * scale;
    out.data[i + 3] = 255;
    const share = levels ? levels[i] / 255 : 0;
    if (levels && share > 0 && share >= state.threshold) {
      const color = ramp(share);
      for (let c = 0; c < 3; c++) out.data[i + c] = 0.4 * out.data[i + c] + 0.6 * color[c];
    }
  }
  const sheet = new OffscreenCanvas(width, height);
  sheet.getContext('2d').putImageData(out, 0, 0);
  return sheet;
}

// A polygon is a flat list x, y, x, y ... of pixel corners.
function outline(polygons, color, dash, wider = 0) {
  const path = new Path2D();
  for (const points of polygons) {
    for (let i = 0; i < points.length; i += 2) path[i ? 'lineTo' : 'moveTo'](points[i], points[i + 1]);
    path.closePath();
  }
  const unit = 1 / scaleX();
  for (const [style, breadth] of [['rgba(0,0,0,.65)', 3.6], [color, 1.9]]) {
    pen.strokeStyle = style;
    pen.lineWidth = (breadth + wider) * unit;
    pen.setLineDash(dash.map((length) => length * unit));
    pen.stroke(path);
  }
}

// Screen pixels of an image pixel; pixels that are not square keep their shape.
const fit = () => Math.min(canvas.width / width, canvas.height / (height * data.aspect));
const scaleX = () => fit() * state.zoom;

let drawing = Promise.resolve();
function draw() {
  drawing = drawing.then(async () => {
    const sheet = await picture();
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = '#111';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.translate(canvas.width / 2, canvas.height / 2);
    pen.scale(scaleX(), scaleX() * data.aspect);
    pen.translate(-state.x, -state.y);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(sheet, 0, 0);
    // A layer below shows beside the one above where their lines coincide.
    const layers = data.layers.filter((_, i) => state.shown.has(i));
    const step = Math.min(0.9, 3 / layers.length);
    layers.forEach((layer, i) => {
      outline(layer.outlines[state.slice], layer.color, layer.dash, step * (layers.length - 1 - i));
    });
    if (state.sample) outline(data.samples[state.sample - 1][state.slice], '#FFE600', [1, 3]);
    if (state.mix) outline(data.mix.steps[state.mix - 1].outlines[state.slice], '#FFFFFF', [8, 3]);
    tell();
  });
  return drawing;
}

function tell() {
  const parts = data.planes.length > 1 ? [`slice ${state.slice + 1} of ${data.planes.length}`] : [];
  if (state.sample) parts.push(`sample ${state.sample} of ${data.samples.length}`);
  if (state.mix) {
    const share = data.mix.steps[state.mix - 1].share;
    parts.push(`${Math.round(100 * (1 - share))} % ${data.mix.from}, ${Math.round(100 * share)} % ${data.mix.to}`);
  }
  if (state.overlay !== 'none') {
    const map = data.maps[state.overlay];
    parts.push(`${state.overlay} of ${(state.threshold * map.top).toPrecision(2)} to ${map.top.toPrecision(2)} ${map.unit}`);
  }
  byId('status').textContent = parts.join(' · ');
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// A slider and the state it sets; returns what moves it by a number of steps.
function slider(id, key, most, factor = 1) {
  const element = byId(id);
  if (!element) return () => {};
  element.max = most;
  element.value = state[key] / factor;
  const set = (value) => {
    element.value = clamp(value, Number(element.min), most);
    state[key] = Number(element.value) * factor;
    draw();
  };
  element.addEventListener('input', () => set(Number(element.value)));
  return (by) => set(Number(element.value) + by);
}

const move = {
  slice: slider('slice', 'slice', data.planes.length - 1),
  sample: slider('sample', 'sample', data.samples.length),
  mix: slider('mix', 'mix', data.mix ? data.mix.steps.length : 0),
  threshold: slider('threshold', 'threshold', 100, 0.01),
};
slider('low', 'low', 255);
slider('high', 'high', 255);

const boxes = data.layers.map((layer, i) => {
  const box = byId(`layer-${i}`);
  const set = () => { state.shown[box.checked ? 'add' : 'delete'](i); draw(); };
  if (box.checked) state.shown.add(i);
  box.addEventListener('change', set);
  return () => { box.checked = !box.checked; set(); };
});

const overlay = byId('overlay');
overlay.addEventListener('change', () => { state.overlay = overlay.value; draw(); });
function nextOverlay() {
  overlay.selectedIndex = (overlay.selectedIndex + 1) % overlay.options.length;
  overlay.dispatchEvent(new Event('change'));
}

function zoom(factor) {
  state.zoom = clamp(state.zoom * factor, 1, 40);
  draw();
}
function whole() {
  Object.assign(state, { zoom: 1, x: width / 2, y: height / 2 });
  draw();
}
canvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2);
}, { passive: false });
canvas.addEventListener('pointerdown', (event) => canvas.setPointerCapture(event.pointerId));
canvas.addEventListener('pointermove', (event) => {
  if (!event.buttons) return;
  const ratio = window.devicePixelRatio || 1;
  state.x = clamp(state.x - event.movementX * ratio / scaleX(), 0, width);
  state.y = clamp(state.y - event.movementY * ratio / (scaleX() * data.aspect), 0, height);
  draw();
});
canvas.addEventListener('dblclick', whole);
window.addEventListener('resize', draw);

const keys = {
  ArrowUp: () => move.slice(1), ArrowDown: () => move.slice(-1),
  ArrowRight: () => move.sample(1), ArrowLeft: () => move.sample(-1),
  '.': () => move.mix(1), ',': () => move.mix(-1),
  u: nextOverlay, '+': () => zoom(1.2), '-': () => zoom(1 / 1.2), 0: whole,
};
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === 'SELECT') return;
  const action = keys[event.key] || (event.key >= '1' && boxes[Number(event.key) - 1]);
  if (!action || event.target.type === 'range' && event.key.startsWith('Arrow')) return;
  event.preventDefault();
  action();
});

draw().then(() => { document.documentElement.dataset.ready = 'yes'; });
