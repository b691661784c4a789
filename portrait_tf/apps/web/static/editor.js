// Painting on a photo with a plain 2D canvas: a hole, new borders, or labels of the body.
// All arrays have the preview's size; the server brings them to the photo's own.
const LABELS = __LABELS__, PALETTE = __PALETTE__, BONES = __BONES__, JOINTS = __JOINTS__;
const FREE = 255;
const HINTS = {
  hole: "Paint over what is missing or should go.",
  borders: "Drag the frame outward, or use the sliders: percent of the photo.",
  body: "Find the body, then paint where its map is wrong; the hole is filled accordingly.",
  joints: "Find the body, then drag its joints, or move them by arrow keys; map and picture follow.",
};
const SIDES = ["top", "bottom", "left", "right"];
const find = (selector) => element.querySelector(selector);
const editor = find(".editor"), stage = find(".stage"), canvas = find("canvas");
const context = canvas.getContext("2d");
const size = find(".brush-size"), chosen = find(".label");
const sliders = Object.fromEntries(
  SIDES.map((side) => [side, find('[data-side="' + side + '"]')]));

let scene = null, photo = null;
let hole, own, predicted = null, joints = null;
// The joints that the visitor has placed, by number; their pictures are still to come.
let placed = new Set(), following = false;
let history = [];
let view = { x: 0, y: 0, width: 1, height: 1 };
let cursor = null, stroke = null, dragged = null, waiting = false;
const layers = { hole: document.createElement("canvas"), body: document.createElement("canvas") };
const checks = checkered();

LABELS.concat("As predicted").forEach((name, index) => {
  const value = index < LABELS.length ? index : FREE;
  chosen.add(new Option(name.replace(/([a-z])([A-Z])/g, "$1 $2"), value));
});
chosen.value = LABELS.indexOf("UpperClothes");

const mode = () => editor.dataset.mode;
const erases = () => find('[name="tool"][value="eraser"]').checked;
const color = (label) => "rgb(" + (PALETTE[label] || [128, 128, 128]).join(",") + ")";

function checkered() {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 16;
  const paint = tile.getContext("2d");
  paint.fillStyle = "#e2e4e8"; paint.fillRect(0, 0, 16, 16);
  paint.fillStyle = "#c9ccd2"; paint.fillRect(0, 0, 8, 8); paint.fillRect(8, 8, 8, 8);
  return context.createPattern(tile, "repeat");
}

function loadImage(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a picture of the server is broken"));
    image.src = source;
  });
}

async function readGrays(source) {
  const image = await loadImage(source);
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const scratch = document.createElement("canvas");
  scratch.width = width; scratch.height = height;
  const paint = scratch.getContext("2d");
  paint.drawImage(image, 0, 0);
  const pixels = paint.getImageData(0, 0, width, height).data;
  return Uint8Array.from({ length: width * height }, (_, index) => pixels[4 * index]);
}

function writeGrays(values) {
  const scratch = document.createElement("canvas");
  scratch.width = scene.width; scratch.height = scene.height;
  const pixels = new ImageData(scene.width, scene.height);
  values.forEach((value, index) => {
    pixels.data.fill(value, 4 * index, 4 * index + 3);
    pixels.data[4 * index + 3] = 255;
  });
  scratch.getContext("2d").putImageData(pixels, 0, 0);
  return scratch.toDataURL("image/png");
}

async function open(next) {
  photo = await loadImage(next.photo);
  scene = next;
  hole = new Uint8Array(scene.width * scene.height);
  own = new Uint8Array(hole.length).fill(FREE);
  predicted = joints = cursor = null;
  placed = new Set();
  following = false;
  history = [];
  for (const layer of Object.values(layers)) {
    layer.width = scene.width; layer.height = scene.height;
  }
  size.max = Math.round(Math.max(scene.width, scene.height) / 3);
  size.value = Math.round(Math.max(scene.width, scene.height) / 14);
  for (const side of SIDES) setMargin(side, 0);
  editor.dataset.empty = "false";
  find(".shown").hidden = true;
  find(".show-map").checked = find(".show-pose").checked = false;
  setMode(mode() === "borders" ? "borders" : "hole");
  editor.dataset.scene = scene.id;
}

async function showBody(body) {
  if (!scene || body.id !== scene.id) return;
  predicted = await readGrays(body.labels);
  // Who asked for the body wants to see it; after a completion, the photo.
  if (!body.completed) find(".show-map").checked = find(".show-pose").checked = true;
  joints = body.joints || joints;
  find(".shown").hidden = false;
  find(".show-pose").parentElement.hidden = !joints;
  redrawLayer("body", 0, 0, scene.width, scene.height);
  showLegend();
  editor.dataset.body = body.turn;
  if (following && !body.completed) {
    following = false;
    const grows = mode() === "borders" && SIDES.some((side) => margin(side));
    if (grows || (mode() !== "borders" && hole.some(Boolean))) click("#complete");
  }
}

function showLegend() {
  const seen = new Set(predicted || []);
  own.forEach((label) => seen.add(label));
  const legend = find(".legend");
  legend.replaceChildren();
  LABELS.forEach((name, label) => {
    if (!label || !seen.has(label)) return;
    const item = document.createElement("span"), swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = color(label);
    item.append(swatch, name.replace(/([a-z])([A-Z])/g, "$1 $2"));
    legend.append(item);
  });
}

// --- painting

function target() { return mode() === "body" ? own : hole; }

function value() {
  if (mode() === "body") return erases() ? FREE : Number(chosen.value);
  return erases() ? 0 : 255;
}

function remember() {
  history.push([mode(), target().slice()]);
  shorten();
}

function rememberJoints() {
  history.push(["joints", [joints.map((joint) => [...joint]), new Set(placed)]]);
  shorten();
}

function shorten() {
  if (history.length > 20) history.shift();
}

function undo() {
  if (!history.length) return;
  const [which, values] = history.pop();
  if (which === "joints") {
    [joints, placed] = values;
    return follow();
  }
  if (which === "body") own = values; else hole = values;
  redrawLayer(which, 0, 0, scene.width, scene.height);
}

function stamp(x, y) {
  const values = target(), put = value(), radius = size.value / 2;
  const left = Math.max(0, Math.floor(x - radius)), top = Math.max(0, Math.floor(y - radius));
  const right = Math.min(scene.width, Math.ceil(x + radius) + 1);
  const bottom = Math.min(scene.height, Math.ceil(y + radius) + 1);
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const across = column + 0.5 - x, down = row + 0.5 - y;
      if (across * across + down * down <= radius * radius) {
        values[row * scene.width + column] = put;
      }
    }
  }
  if (right > left && bottom > top) {
    redrawLayer(mode(), left, top, right - left, bottom - top);
  }
}

function line(from, to) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const steps = Math.max(1, Math.ceil(length / Math.max(1, size.value / 6)));
  for (let step = 1; step <= steps; step++) {
    const part = step / steps;
    stamp(from.x + (to.x - from.x) * part, from.y + (to.y - from.y) * part);
  }
}

function redrawLayer(which, left, top, width, height) {
  const pixels = new ImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const index = (top + row) * scene.width + left + column;
      const at = 4 * (row * width + column);
      if (which === "hole") {
        if (hole[index]) pixels.data.set([224, 36, 120, 255], at);
        continue;
      }
      const label = own[index] !== FREE ? own[index] : predicted ? predicted[index] : 0;
      if (label || own[index] !== FREE) pixels.data.set([...PALETTE[label], 255], at);
    }
  }
  layers[which].getContext("2d").putImageData(pixels, left, top);
  draw();
}

// --- borders

function margin(side) { return Number(sliders[side].value) / 100; }

function setMargin(side, percent) {
  const slider = sliders[side];
  slider.value = Math.round(Math.min(100, Math.max(0, percent)));
  slider.nextElementSibling.value = slider.value + " %";
  slider.setAttribute("aria-valuetext", slider.value + " percent");
}

function frame() {
  const { width, height } = scene;
  const x = -margin("left") * width, y = -margin("top") * height;
  return {
    x, y,
    width: width * (1 + margin("left") + margin("right")),
    height: height * (1 + margin("top") + margin("bottom")),
  };
}

function grabbed(point) {
  const { x, y, width, height } = frame(), reach = 0.06 * Math.max(view.width, view.height);
  const near = {
    top: Math.abs(point.y - y), bottom: Math.abs(point.y - y - height),
    left: Math.abs(point.x - x), right: Math.abs(point.x - x - width),
  };
  const side = SIDES.reduce((best, one) => (near[one] < near[best] ? one : best));
  return near[side] <= reach ? side : null;
}

function drag(point) {
  const part = {
    top: -point.y / scene.height, bottom: point.y / scene.height - 1,
    left: -point.x / scene.width, right: point.x / scene.width - 1,
  }[dragged];
  setMargin(dragged, 100 * part);
  draw();
}

// --- drawing

function fit() {
  if (!scene) return;
  if (mode() === "borders") {
    // Room to drag into; it stays as it is while somebody drags.
    if (!dragged) {
      const around = frame(), room = 0.22 * Math.max(scene.width, scene.height);
      view = {
        x: around.x - room, y: around.y - room,
        width: around.width + 2 * room, height: around.height + 2 * room,
      };
    }
  } else {
    view = { x: 0, y: 0, width: scene.width, height: scene.height };
  }
  const tallest = Math.min(680, 0.66 * window.innerHeight);
  const scale = Math.min(stage.clientWidth / view.width, tallest / view.height, 4);
  canvas.width = Math.round(view.width);
  canvas.height = Math.round(view.height);
  canvas.style.width = Math.floor(view.width * scale) + "px";
  canvas.style.height = Math.floor(view.height * scale) + "px";
}

function draw() {
  if (waiting || !scene) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    paintAll();
  });
}

function paintAll() {
  fit();
  const { width, height } = scene;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.translate(-view.x, -view.y);
  const thin = view.width / (parseFloat(canvas.style.width) || 1);
  if (mode() === "borders") {
    const around = frame();
    context.fillStyle = checks;
    context.fillRect(around.x, around.y, around.width, around.height);
  }
  context.drawImage(photo, 0, 0, width, height);
  const shown = mode() === "body" ? !predicted || find(".show-map").checked
    : predicted && find(".show-map").checked;
  if (shown && mode() !== "borders") {
    context.globalAlpha = 0.6;
    context.drawImage(layers.body, 0, 0);
  }
  if (mode() !== "borders") {
    context.globalAlpha = mode() === "body" ? 0.35 : 0.6;
    context.drawImage(layers.hole, 0, 0);
  }
  context.globalAlpha = 1;
  if (joints && find(".show-pose").checked) drawPose(thin);
  if (mode() === "borders") drawFrame(thin);
  else if (cursor && mode() !== "joints") drawCursor(thin);
  placeHandles();
}

function drawPose(thin) {
  const clear = joints.map((joint) => joint[2] > 0.1);
  // Joints are at pixels' centers; a canvas counts from the edge of its first pixel.
  const places = joints.map(([x, y]) => [x + 0.5, y + 0.5]);
  context.lineCap = "round";
  for (const [width, style] of [[4.5, "rgba(0,0,0,.65)"], [2.5, "#ffe14d"]]) {
    context.lineWidth = width * thin;
    context.strokeStyle = context.fillStyle = style;
    for (const [start, stop] of BONES) {
      if (!clear[start] || !clear[stop]) continue;
      context.beginPath();
      context.moveTo(...places[start]);
      context.lineTo(...places[stop]);
      context.stroke();
    }
    places.forEach(([x, y], index) => {
      if (!clear[index]) return;
      context.beginPath();
      context.arc(x, y, width * thin, 0, 2 * Math.PI);
      context.fill();
    });
  }
}

function drawFrame(thin) {
  const { x, y, width, height } = frame();
  const accent = getComputedStyle(editor).getPropertyValue("--accent") || "#0d7d74";
  context.lineWidth = 2 * thin;
  context.strokeStyle = accent;
  context.strokeRect(x, y, width, height);
  const long = 26 * thin, wide = 8 * thin;
  context.fillStyle = accent;
  for (const [left, top, across, down] of [
    [x + width / 2, y, long, wide], [x + width / 2, y + height, long, wide],
    [x, y + height / 2, wide, long], [x + width, y + height / 2, wide, long],
  ]) {
    context.beginPath();
    context.roundRect(left - across / 2, top - down / 2, across, down, wide / 2);
    context.fill();
  }
}

function drawCursor(thin) {
  const colors = mode() === "body" && !erases() ? [color(chosen.value), "#fff"] : ["#000", "#fff"];
  colors.forEach((style, index) => {
    context.strokeStyle = style;
    context.lineWidth = 1.5 * thin;
    context.beginPath();
    context.arc(cursor.x, cursor.y, size.value / 2 + index * 1.5 * thin, 0, 2 * Math.PI);
    context.stroke();
  });
}

// --- joints

const handles = find(".handles");
JOINTS.forEach((name, index) => {
  const handle = document.createElement("button");
  handle.type = "button";
  handle.title = name;
  handle.setAttribute("aria-label", name);
  handle.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    rememberJoints();
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) {
      const { x, y } = place(event);
      moveJoint(index, x - 0.5, y - 0.5);
    }
  });
  handle.addEventListener("lostpointercapture", () => { if (placed.has(index)) follow(); });
  handle.addEventListener("keydown", (event) => jointKey(index, event));
  handles.append(handle);
});

function moveJoint(index, x, y) {
  joints[index] = [x, y, 1];
  placed.add(index);
  draw();
}

function jointKey(index, event) {
  const step = Math.max(1, scene.height / 100) * (event.shiftKey ? 5 : 1);
  const moves = {
    ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
  };
  if (event.key in moves) {
    if (!event.repeat) rememberJoints();
    const [across, down] = moves[event.key], [x, y] = joints[index];
    moveJoint(index, x + across, y + down);
    follow(700);
  } else if (event.key === "Delete" || event.key === "Backspace") {
    rememberJoints();
    placed.delete(index);
    follow();
  } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
    undo();
  } else return;
  event.preventDefault();
}

function placeHandles() {
  const shown = joints && (mode() === "joints" || mode() === "borders");
  handles.hidden = !shown;
  if (!shown) return;
  const scale = parseFloat(canvas.style.width) / view.width;
  [...handles.children].forEach((handle, index) => {
    // A joint beyond what is shown waits at its edge.
    const [x, y] = joints[index].map((one) => one + 0.5);
    const across = Math.min(view.width, Math.max(0, x - view.x)) * scale;
    const down = Math.min(view.height, Math.max(0, y - view.y)) * scale;
    handle.style.left = canvas.offsetLeft + across + "px";
    handle.style.top = canvas.offsetTop + down + "px";
    handle.dataset.moved = placed.has(index);
  });
}

// The map follows, then the picture, when nothing has moved for some milliseconds.
let timer = null;
function follow(wait = 0) {
  draw();
  clearTimeout(timer);
  timer = setTimeout(() => { following = true; click("#find-body"); }, wait);
}

function click(button) { document.querySelector(button).click(); }

// --- what people do

function setMode(next) {
  if (next === "body" && predicted) find(".show-map").checked = true;
  if (next === "joints" && joints) find(".show-pose").checked = true;
  editor.dataset.mode = next;
  find('[name="mode"][value="' + next + '"]').checked = true;
  find(".hint").textContent = HINTS[next];
  find(".swatch").style.background = color(chosen.value);
  draw();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: view.x + ((event.clientX - box.left) / box.width) * view.width,
    y: view.y + ((event.clientY - box.top) / box.height) * view.height,
  };
}

canvas.addEventListener("pointerdown", (event) => {
  if (!scene || event.button || mode() === "joints") return;
  const point = place(event);
  if (mode() === "borders") {
    dragged = grabbed(point);
    if (dragged) canvas.setPointerCapture(event.pointerId);
    return;
  }
  canvas.setPointerCapture(event.pointerId);
  remember();
  stroke = cursor = point;
  stamp(point.x, point.y);
});
canvas.addEventListener("pointermove", (event) => {
  if (!scene) return;
  const point = place(event);
  if (mode() === "borders") {
    if (dragged) return drag(point);
    const side = grabbed(point);
    const upright = side === "top" || side === "bottom";
    canvas.style.cursor = side ? (upright ? "ns-resize" : "ew-resize") : "default";
    return;
  }
  canvas.style.cursor = mode() === "joints" ? "default" : "crosshair";
  if (stroke) { line(stroke, point); stroke = point; }
  cursor = point;
  draw();
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    if (stroke && mode() === "body") showLegend();
    stroke = dragged = null;
    draw();
  });
}
canvas.addEventListener("pointerleave", () => { if (!stroke) { cursor = null; draw(); } });
canvas.addEventListener("blur", () => { cursor = null; draw(); });
canvas.addEventListener("keydown", (event) => {
  if (!scene || mode() === "borders" || mode() === "joints") return;
  const step = Math.max(1, size.value / 4);
  const moves = {
    ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
  };
  cursor ||= { x: scene.width / 2, y: scene.height / 2 };
  if (event.key in moves) {
    const [across, down] = moves[event.key];
    const next = {
      x: Math.min(scene.width, Math.max(0, cursor.x + across)),
      y: Math.min(scene.height, Math.max(0, cursor.y + down)),
    };
    if (event.shiftKey) { remember(); line(cursor, next); }
    cursor = next;
  } else if (event.key === " ") {
    remember();
    stamp(cursor.x, cursor.y);
  } else if (event.key === "x" || event.key === "X") {
    find('[name="tool"][value="' + (erases() ? "brush" : "eraser") + '"]').checked = true;
  } else if (event.key === "[" || event.key === "]") {
    size.value = Number(size.value) + (event.key === "[" ? -4 : 4);
  } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
    undo();
  } else return;
  event.preventDefault();
  draw();
});
element.querySelectorAll('[name="mode"]').forEach((input) => {
  input.addEventListener("change", () => setMode(input.value));
});
element.querySelectorAll('.shown input, [name="tool"], .brush-size').forEach((input) => {
  input.addEventListener("input", draw);
});
chosen.addEventListener("change", () => {
  find('[name="tool"][value="brush"]').checked = true;
  setMode(mode());
});
for (const side of SIDES) {
  sliders[side].addEventListener("input", () => { setMargin(side, sliders[side].value); draw(); });
}
find(".undo").addEventListener("click", () => { if (scene) undo(); });
find(".clear").addEventListener("click", () => {
  if (!scene) return;
  if (mode() === "joints") {
    if (!placed.size) return;
    rememberJoints();
    placed.clear();
    return follow();
  }
  remember();
  target().fill(mode() === "body" ? FREE : 0);
  redrawLayer(mode(), 0, 0, scene.width, scene.height);
});
new ResizeObserver(draw).observe(stage);
window.addEventListener("resize", draw);

// Files that are dropped or pasted go the way of the button.
function openFile(files) {
  const input = document.querySelector("#source-row input[type=file]");
  if (!input || !files || !files.length) return false;
  const transfer = new DataTransfer();
  transfer.items.add(files[0]);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  openFile(event.dataTransfer.files);
});
window.addEventListener("paste", (event) => {
  if (openFile(event.clipboardData && event.clipboardData.files)) event.preventDefault();
});

window.portraitPainting = () => JSON.stringify(scene ? {
  id: scene.id,
  mode: mode() === "borders" ? "borders" : "hole",
  hole: writeGrays(hole),
  own: own.some((label) => label !== FREE) ? writeGrays(own) : null,
  margins: Object.fromEntries(SIDES.map((side) => [side, margin(side)])),
  joints: Object.fromEntries([...placed].map((index) => [index, joints[index].slice(0, 2)])),
} : {});

watch("value", () => {
  if (!props.value) return;
  const message = JSON.parse(props.value);
  if (message.photo) open(message); else showBody(message);
});
setMode("hole");
