"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const layers = data.layers;
const at = { layer: 0, unit: null };

function make(tag, properties = {}, ...children) {
  const { class: name, ...rest } = properties;
  const element = document.createElement(tag);
  if (name) element.className = name;
  for (const [key, value] of Object.entries(rest)) {
    if (key.startsWith("aria") || key === "style") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function picture(source, alt) {
  const image = make("img", { src: source, alt });
  // small pictures are stored without loss and shown with their pixels
  if (source.startsWith("data:image/png")) image.className = "pixels";
  return image;
}

const known = layers.map((layer) => new Map(layer.units.map((unit) => [unit.unit, unit])));
const unitName = (layer, unit) => (layer.names ? layer.names[unit] : `unit ${unit}`);
const short = (value) => value === null ? "–" : Number(value.toPrecision(3)).toString();

function go(layer, unit = null, { focus = false } = {}) {
  at.layer = layer;
  at.unit = unit;
  const hash = "#" + encodeURIComponent(layers[layer].name) + (unit === null ? "" : "/" + unit);
  if (location.hash !== hash) history.replaceState(null, "", hash);
  for (const [number, button] of [...network.children].entries()) {
    button.setAttribute("aria-current", number === layer);
  }
  const current = network.children[layer];
  reveal(current);
  const isUnit = unit !== null;
  document.getElementById("layer").hidden = isUnit;
  document.getElementById("unit").hidden = !isUnit;
  if (isUnit) drawUnit(layer, unit);
  else drawLayer(layer);
  if (focus) current.focus({ preventScroll: true });
}

const network = document.getElementById("network");

// scrolls the list of layers alone; scrollIntoView would move the page with it
function reveal(button) {
  const list = network.getBoundingClientRect();
  const place = button.getBoundingClientRect();
  const bottom = Math.min(list.bottom, window.innerHeight);
  if (place.top < list.top) network.scrollTop -= list.top - place.top;
  if (place.bottom > bottom) network.scrollTop += place.bottom - bottom;
  if (place.left < list.left) network.scrollLeft -= list.left - place.left;
  if (place.right > list.right) network.scrollLeft += place.right - list.right;
}

function drawNetwork() {
  const largest = Math.max(...layers.map((layer) => layer.shape.length === 3 ? layer.shape[0] : 1));
  const most = Math.max(...layers.map((layer) => layer.num_units));
  for (const [number, layer] of layers.entries()) {
    const maps = layer.shape.length === 3;
    const width = 8 + (44 * Math.log2(1 + layer.num_units)) / Math.log2(1 + most);
    const height = maps ? 5 + 17 * Math.sqrt(layer.shape[0] / largest) : 4;
    const block = make("i", { style: `width:${width.toFixed(0)}px;height:${height.toFixed(0)}px` });
    const size = layer.shape.join(" × ");
    network.append(make("button", { type: "button", title: layer.name, onclick: () => go(number) },
      make("span", { class: "block" }, block),
      make("span", {}, make("span", { class: "name" }, layer.name), make("small", {}, size))));
  }
}

function describe(layer) {
  const parts = [layer.kind, layer.shape.join(" × ")];
  if (layer.receptive_field) parts.push(`sees ${layer.receptive_field.join(" × ")} pixels`);
  else if (data.input_shape.length === 3) parts.push("sees the whole image");
  if (layer.num_dead) parts.push(`${layer.num_dead} dead units`);
  return parts.join(", ");
}

function tile(number, unit, { small = false } = {}) {
  const layer = layers[number];
  const found = known[number].get(unit);
  const label = unitName(layer, unit);
  const button = make("button", { type: "button", class: found ? "tile" : "tile grey",
    title: `${layer.name}, ${label}`, onclick: () => go(number, unit) });
  if (found) button.append(picture(found.picture, `what excites ${label} of ${layer.name}`));
  const text = make("span", {}, found || small ? label : String(unit));
  if (found && found.dead) text.append(make("b", { class: "dead" }, " dead"));
  button.append(text);
  return button;
}

function drawLayer(number) {
  const layer = layers[number];
  const absent = [];
  for (let unit = 0; unit < layer.num_units; unit++) if (!known[number].has(unit)) absent.push(unit);
  const section = document.getElementById("layer");
  section.replaceChildren(
    make("h2", {}, layer.name), make("p", {}, describe(layer)),
    make("div", { class: "tiles" }, ...layer.units.map((unit) => tile(number, unit.unit))));
  if (absent.length) {
    section.append(make("h3", {}, `${absent.length} units not computed yet`),
      make("code", {}, command(layer, "all")),
      make("div", { class: "tiles absent" }, ...absent.map((unit) => tile(number, unit))));
  }
}

const quoted = (name) => /^[\w@./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
const command = (layer, unit) => `${data.command} --layer ${quoted(layer.name)} --units ${unit}`;

function row(children) {
  return make("div", { class: "row" }, ...children.map((text) => make("span", { title: text }, text)));
}

function sheet(source, alt, pictures) {
  return make("div", { class: "sheet", style: `--pictures:${pictures}` }, picture(source, alt));
}

function bars(rows) {
  const peak = Math.max(...rows.map(([, value]) => Math.abs(value))) || 1;
  return make("div", { class: "bars" }, ...rows.flatMap(([name, value, shown]) => [
    make("span", { title: name }, name),
    make("div", { class: value < 0 ? "bar negative" : "bar",
      style: `width:${((100 * Math.abs(value)) / peak).toFixed(1)}%` }),
    make("span", { class: "value" }, shown ?? short(value))]));
}

function drawUnit(number, unit) {
  const layer = layers[number];
  const found = known[number].get(unit);
  const section = document.getElementById("unit");
  const back = make("button", { type: "button", class: "back", onclick: () => go(number) },
    `← ${layer.name}`);
  section.replaceChildren(back, make("h2", {}, `${layer.name}, ${unitName(layer, unit)}`),
    make("p", {}, describe(layer)));
  if (!found) {
    section.append(make("h3", {}, "Not computed yet. This adds it to the page:"),
      make("code", {}, command(layer, unit)));
    return;
  }
  const left = make("div", {}, make("h3", {}, "Picture that excites it most"),
    make("div", { class: "frame picture" }, picture(found.picture, "activation maximisation")));
  const numbers = make("dl", {});
  const say = (term, value) => numbers.append(make("dt", {}, term), make("dd", {}, value));
  say("mean over this picture", short(found.activation));
  if (found.values) {
    say("largest in the data", short(found.values[0]));
    say("mean over the data", short(found.mean));
    say("above 0", `${short(100 * found.active)} % of places`);
  }
  if (found.dead) say("state", "dead: no image moves it");
  left.append(numbers);
  if (found.kernel) {
    left.append(make("h3", {}, "Kernel"),
      make("div", { class: "frame kernel" }, picture(found.kernel, "kernel, grey is zero")),
      make("p", { class: "small" }, "Grey is zero; of more than three input channels the mean."));
  }
  const right = make("div", {});
  if (found.exemplars) {
    right.append(make("h3", {}, `What it saw where it was most active in ${data.about.data}`),
      sheet(found.exemplars, "exemplars", found.values.length),
      row(found.values.map((value, n) => (found.labels ? `${found.labels[n]}: ` : "") + short(value))),
      make("p", { class: "small" }, (found.labels ? "Class: activation." : "Activation.")));
  }
  if (found.classes) {
    right.append(make("h3", {}, `Classes of its ${found.classes[0][2]} best images`),
      bars(found.classes.map(([name, count]) => [name, count, String(count)])));
  }
  if (found.maps || found.levels) {
    right.append(make("h3", {}, "Its activation on images of the data"),
      make("div", { class: "row" }, ...data.references.map((uri, n) =>
        picture(uri, data.reference_labels[n]))));
    right.append(found.maps
      ? sheet(found.maps, "activation maps", data.references.length)
      : make("div", { class: "row" }, ...found.levels.map((level) =>
        make("div", { class: "level", style: `opacity:${(0.08 + (0.92 * level) / 255).toFixed(2)}` }))));
    right.append(row(data.reference_labels));
  }
  if (found.inputs && found.inputs.length && layer.input_layer) {
    const before = layers.findIndex((other) => other.name === layer.input_layer);
    right.append(make("h3", {}, `Strongest inputs from ${layer.input_layer}`),
      make("div", { class: "links" }, ...found.inputs.map(([other, drive]) => {
        const link = tile(before, other, { small: true });
        link.append(make("span", { class: drive < 0 ? "dead" : "" },
          drive === null ? short(drive) : `${drive < 0 ? "−" : "+"}${short(Math.abs(drive))}`));
        return link;
      })));
  }
  if (found.effects) {
    right.append(make("h3", {}, "What it adds to each class's logit on its best images"),
      bars(found.effects));
  }
  section.append(make("div", { class: "unit" }, left, right));
}

function step(by) {
  const units = layers[at.layer].units.map((unit) => unit.unit);
  if (!units.length) return;
  const here = units.indexOf(at.unit);
  const next = at.unit === null || here < 0 ? (by > 0 ? 0 : units.length - 1)
    : (here + by + units.length) % units.length;
  go(at.layer, units[next]);
}

const search = document.getElementById("search");
const found = document.getElementById("found");
let chosen = 0;

function matches(text) {
  const words = text.toLowerCase().split(/[\s,:/]+/).filter(Boolean);
  const number = /^\d+$/.test(words.at(-1) ?? "") && words.length > 1 ? Number(words.pop()) : null;
  const hits = [];
  for (const [index, layer] of layers.entries()) {
    const name = layer.name.toLowerCase();
    if (words.every((word) => name.includes(word))) {
      if (number === null) hits.push([layer.name, index, null]);
      else if (number < layer.num_units) hits.push([`${layer.name}, ${unitName(layer, number)}`, index, number]);
    }
    for (const [unit, label] of (layer.names ?? []).entries()) {
      if (text && label.toLowerCase().includes(text.toLowerCase())) {
        hits.push([`${layer.name}, ${label}`, index, unit]);
      }
    }
  }
  if (data.classes) {
    for (const [index, layer] of layers.entries()) {
      for (const unit of layer.units) {
        const best = unit.effects && unit.effects[0];
        if (text && !layer.names && best && best[1] > 0 && best[0].toLowerCase() === text.toLowerCase()) {
          hits.push([`${layer.name}, unit ${unit.unit}: speaks for ${best[0]}`, index, unit.unit]);
        }
      }
    }
  }
  return hits.slice(0, 40);
}

function suggest() {
  const text = search.value.trim();
  const hits = text ? matches(text) : [];
  found.hidden = !text;
  chosen = 0;
  found.replaceChildren(...hits.map(([label, layer, unit], n) => make("li", {},
    make("button", { type: "button", tabIndex: -1, "aria-selected": n === 0,
      onclick: () => { leaveSearch(); go(layer, unit); } }, label))));
  if (text && !hits.length) found.append(make("li", { class: "none" }, "Nothing of that name"));
}

function leaveSearch() {
  search.value = "";
  found.hidden = true;
  search.blur();
}

function select(by) {
  const buttons = [...found.querySelectorAll("button")];
  if (!buttons.length) return;
  chosen = (chosen + by + buttons.length) % buttons.length;
  for (const [n, button] of buttons.entries()) button.setAttribute("aria-selected", n === chosen);
  buttons[chosen].scrollIntoView({ block: "nearest" });
}

search.addEventListener("input", suggest);
search.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Escape") leaveSearch();
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    select(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Enter") found.querySelectorAll("button")[chosen]?.click();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("#finder")) found.hidden = true;
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    ArrowDown: () => go(Math.min(at.layer + 1, layers.length - 1)),
    ArrowUp: () => go(Math.max(at.layer - 1, 0)),
    Escape: () => go(at.layer),
    "/": () => search.focus(),
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

function fromHash() {
  const [name, unit] = location.hash.slice(1).split("/").map(decodeURIComponent);
  // a nested layer's name has slashes of its own, encoded
  const layer = layers.findIndex((other) => other.name === name);
  if (layer < 0) go(0);
  else go(layer, unit === undefined ? null : Number(unit));
}

const { about } = data;
document.getElementById("about").textContent = `${layers.length} layers` +
  (about.data ? `; exemplars from ${about.data}, ${about.split} split` : "") +
  `; ${about.steps} steps of maximisation, seed ${about.seed}`;
drawNetwork();
window.addEventListener("hashchange", fromHash);
fromHash();
