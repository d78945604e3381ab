const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const state = {type: "all", show: "all", sort: "worst", map: "pooled", reading: data.reading, level: ""};
const sections = [...document.querySelectorAll("section[data-reading]")];
// The view can be linked to: report.html#type=scratch&show=miss&sort=high&level=0.3
for (const [key, value] of new URLSearchParams(location.hash.slice(1))) if (key in state) state[key] = value;
if (!sections.some(part => part.dataset.reading === state.reading)) state.reading = data.reading;
if (!(Number(state.level) >= 0 && Number(state.level) <= 1)) state.level = "";

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}
const section = () => sections.find(part => part.dataset.reading === state.reading);

// The threshold: the stored one until another is tried -----------------------------------------------------------------
function stored() {
  const value = data.thresholds[state.reading === "_roi" ? "image_roi" : "image"];
  return value === undefined ? null : value;
}
const level = () => state.level === "" ? stored() : Number(state.level);
// Above this one, up to the level, a person looks again. It is never the higher of the two.
function look() {
  const value = data.thresholds[state.reading === "_roi" && data.thresholds.look_roi !== undefined ? "look_roi" : "look"];
  return value === undefined || level() === null ? level() : Math.min(value, level());
}
const short = value => String(Number(value.toPrecision(4)));
const percent = (k, n) => n ? `${(100 * k / n).toFixed(1)} %` : "–";

// [score, whether it counts as defective] in the chosen reading.
function read(score, scoreRoi, label, labelRoi) {
  return [state.reading === "_roi" ? scoreRoi : score, state.reading ? labelRoi : label];
}
function counts() {
  const limit = level(), lower = look(), found = {good: 0, bad: 0, rejected: 0, missed: 0, goodLook: 0, badLook: 0,
                                                 types: data.types.map(() => [0, 0])};
  for (const [score, scoreRoi, label, labelRoi, type] of data.rows) {
    const [value, bad] = read(score, scoreRoi, label, labelRoi);
    const wrong = limit !== null && (bad ? value <= lower : value > limit);
    found[bad ? "bad" : "good"] += 1;
    if (limit !== null && value > lower && value <= limit) found[bad ? "badLook" : "goodLook"] += 1;
    if (wrong) found[bad ? "missed" : "rejected"] += 1;
    found.types[type][0] += wrong ? 1 : 0;
    found.types[type][1] += 1;
  }
  return found;
}
// What follows the threshold outside the gallery: claims, decisions, lines in the charts, the table of types.
function drawLevel() {
  const part = section(), limit = level(), at = stored(), high = Number(part.dataset.high), found = counts();
  const known = limit !== null, tried = known && limit !== at;
  const say = (name, text) => {  // pictures without labels have fewer places to say it
    for (const spot of part.querySelectorAll(`[data-live="${name}"]`)) spot.textContent = text;
  };
  for (const [name, k, n] of [["rejected", found.rejected, found.good], ["missed", found.missed, found.bad]]) {
    const [low, up] = known && data.intervals[n] ? data.intervals[n].map(ends => (100 * ends[k]).toFixed(1)) : [];
    say(name, known ? String(k) : "–");
    say(`${name}-share`, known ? percent(k, n) : "–");
    say(`${name}-interval`, known && n ? `(95 %: ${low} to ${up} %)` : "");
  }
  const cells = {"good-accepted": found.good - found.rejected - found.goodLook, "good-look": found.goodLook,
                 "good-rejected": found.rejected, "bad-accepted": found.missed, "bad-look": found.badLook,
                 "bad-rejected": found.bad - found.missed - found.badLook, "all-look": found.goodLook + found.badLook};
  for (const [name, count] of Object.entries(cells)) say(name, known ? String(count) : "–");
  const all = found.good + found.bad, wrong = found.rejected + found.missed;
  say("accuracy", known ? percent(all - wrong, all) : "–");
  say("state", at === null ? "none is stored" : tried ? `stored: ${short(at)}` : "this is the stored one");
  say("command", data.command + (known ? limit : "X"));
  part.querySelectorAll("td[data-type]").forEach(cell => {
    const [k, n] = found.types[data.types.indexOf(cell.dataset.type)];
    cell.textContent = known ? `${percent(k, n)} (${k} of ${n})` : "–";
  });
  const slider = part.querySelector(".slider"), box = part.querySelector(".level");
  slider.value = known ? Math.round(1000 * limit / high) : 1000;
  slider.setAttribute("aria-valuetext", known ? `${short(limit)}: ${found.rejected} of ${found.good} good rejected, ` +
                      `${found.missed} of ${found.bad} defective missed` : "no threshold");
  if (document.activeElement !== box) box.value = known ? short(limit) : "";
  part.querySelector(".restore").disabled = state.level === "";
  const caught = cells["bad-rejected"];  // the curves know one threshold, that of rejecting
  place(part, known ? {score: limit / high, tried, fpr: found.rejected / found.good, tpr: caught / found.bad,
                       precision: caught / (caught + found.rejected)} : {});
  const raw = data.thresholds.pixel_roi !== undefined ? data.thresholds.pixel_roi : data.thresholds.pixel;
  colour("pooled", known ? limit : data.middle);
  colour("raw", raw === undefined ? (known ? limit : data.middle) : raw);
}
function place(part, where) {
  const marks = [["ROC", where.fpr, where.tpr], ["Precision", where.tpr, where.precision]];
  for (const mark of part.querySelectorAll(".tried")) mark.style.visibility = where.tried ? "visible" : "hidden";
  part.querySelectorAll("svg[data-plot]").forEach(svg => {
    const [left, top, width, height] = svg.dataset.plot.split(" ").map(Number), dot = svg.querySelector(".at");
    if (svg.querySelector(".tried") && where.score !== undefined)
      svg.querySelector(".tried").setAttribute("transform", `translate(${left + width * where.score} 0)`);
    if (!dot) return;
    const title = svg.parentElement.querySelector("h3").textContent;
    const [, x, y] = marks.find(mark => title.startsWith(mark[0]));
    dot.toggleAttribute("hidden", !(x >= 0 && y >= 0));
    if (x >= 0 && y >= 0) { dot.setAttribute("cx", left + width * x); dot.setAttribute("cy", top + height * (1 - y)); }
  });
}
// The maps are grey = 255 sqrt(value); a filter colours them, pale below the threshold and warm above it.
function colour(name, limit) {
  const threshold = Math.min(Math.max(limit, 1e-6), 1 - 1e-6), [below, above] = data.scale, table = [[], [], [], []];
  for (let grey = 0; grey < 256; grey++) {
    const value = (grey / 255) ** 2, warm = value > threshold, scale = warm ? above : below;
    const way = warm ? (value - threshold) / (1 - threshold) : value / threshold;
    scale[Math.round(way * (scale.length - 1))].forEach((part, i) => table[i].push(i < 3 ? (part / 255).toFixed(3) : part));
  }
  "RGBA".split("").forEach((channel, i) =>
    document.querySelector(`#heat-${name} feFunc${channel}`).setAttribute("tableValues", table[i].join(" ")));
}
function gradient() {
  const bars = document.querySelectorAll(".scale i");
  data.scale.forEach((scale, i) => { bars[i].style.background = "linear-gradient(90deg, " + scale.filter((_, k) => k % 7 === 0)
    .map(([r, g, b, a]) => `rgb(${r} ${g} ${b} / ${a})`).join(", ") + ")"; });
}

// The gallery --------------------------------------------------------------------------------------------------------------
// Of an image in the chosen reading: its score, whether it counts as defective, and how wrong the decision is.
function judged(image) {
  const [score, bad] = read(image.score, image.score_roi, image.label, image.label_roi), limit = level();
  const rejected = limit !== null && score > limit, again = limit !== null && !rejected && score > look();
  const outcome = limit === null ? "undecided" : again ? "look" : bad === null ? rejected ? "reject" : "accept"
    : bad && !rejected ? "miss" : !bad && rejected ? "alarm" : "right";
  return {score, bad, rejected, again, outcome, wrongness: (bad ? -1 : 1) * (score - (limit === null ? data.middle : limit))};
}
const WORDS = {look: "look again", miss: "missed", alarm: "false alarm", undecided: "no threshold", reject: "rejected", accept: "accepted"};
const ORDERS = {worst: (a, b) => judged(b).wrongness - judged(a).wrongness,
                high: (a, b) => judged(b).score - judged(a).score,
                low: (a, b) => judged(a).score - judged(b).score, name: (a, b) => a.name < b.name ? -1 : 1};
let visible = [], open = -1, layer = 0;

function words(image) {
  const found = judged(image);
  return WORDS[found.outcome] || (found.bad ? "found" : "accepted");
}
function picture(source, name) {
  const made = element("img", name);
  made.src = source; made.alt = ""; made.decoding = "async";
  return made;
}
// The picture with everything that may lie over it; style and classes say what of it is seen.
function layers(image) {
  const parts = [picture(image.picture, "")];
  for (const name of ["raw", "pooled"]) if (image[name]) parts.push(picture(image[name], "heat " + name));
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawn.setAttribute("viewBox", image.box);
  drawn.setAttribute("preserveAspectRatio", "none");
  for (const [name, path] of Object.entries(image.outlines)) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    line.setAttribute("class", "outline of-" + name);
    drawn.append(line);
  }
  return [...parts, drawn];
}
function card(image) {
  if (image.card) return image.card;
  const shot = element("button", "shot"), stage = element("span", "stage"), text = element("span", "words");
  stage.style.setProperty("--shape", image.shape);
  stage.append(...layers(image));
  text.append(element("span", "tag"), element("span", "score"), element("br"), image.name);
  shot.append(stage, text);
  shot.addEventListener("click", () => enlarge(visible.indexOf(image)));
  image.card = shot;
  return shot;
}
function decided(image) {
  const found = judged(image);
  return found.outcome + (found.rejected ? " rejected" : "");
}
function wanted(image) {
  const outcome = judged(image).outcome;
  return (state.type === "all" || image.type === state.type) && (state.show === "all" || outcome === state.show
    || (state.show === "wrong" && (outcome === "miss" || outcome === "alarm")));
}
// `sorted` false: while the slider moves, what is shown keeps its order.
function draw(sorted = true) {
  if (sorted) data.images.sort(ORDERS[state.sort] || ORDERS.worst);
  visible = data.images.filter(wanted);
  $("count").textContent = `${visible.length} of ${data.images.length} pictures`;
  for (const image of visible) {
    const shot = card(image);
    shot.className = "shot " + decided(image);
    shot.querySelector(".tag").textContent = words(image);
    shot.querySelector(".score").textContent = ` · ${judged(image).score.toPrecision(3)}`;
  }
  const cards = visible.map(card), gallery = $("gallery");
  if (cards.length !== gallery.children.length || cards.some((shot, i) => shot !== gallery.children[i]))
    gallery.replaceChildren(...cards);
  document.body.dataset.map = state.map;
  for (const part of sections) part.hidden = part.dataset.reading !== state.reading;
  for (const button of document.querySelectorAll("#readings button"))
    button.setAttribute("aria-pressed", button.value === state.reading);
  for (const key of ["type", "show", "sort", "map"]) $(key).value = state[key];
  drawLevel();
}
function choose(key, value, sorted = true) {
  state[key] = value;
  const shown = new URLSearchParams(Object.entries(state).filter(([name, part]) => part || !["reading", "level"].includes(name)));
  history.replaceState(null, "", "#" + shown);
  draw(sorted);
}
function attempt(value, sorted) {  // a threshold of four digits, as the command says it; the stored one is left exact
  const tried = Number(Math.min(Math.max(value, 0), 1).toPrecision(4)), at = stored();
  choose("level", at !== null && tried === Number(at.toPrecision(4)) ? "" : String(tried), sorted);
}

// One picture, large -------------------------------------------------------------------------------------------------------
function enlarge(i) {
  if (i < 0 || i >= visible.length) return;
  open = i;
  const image = visible[i], found = judged(image), n = found.rejected || found.again ? image.n_regions : null;
  const regions = n === null ? "" : ` · ${n} region${n === 1 ? "" : "s"}`;
  $("caption").textContent = `${image.name} · ${words(image)} · score ${found.score.toPrecision(3)}${regions}`;
  const stages = $("large").querySelectorAll(".stage");
  stages.forEach(stage => stage.style.setProperty("--shape", image.shape));
  stages[0].querySelector("img").src = image.picture;
  showLayer();
  if (!$("large").open) $("large").showModal();
}
const LAYERS = [["pooled", "pooled map, as scored"], ["raw", "raw map"], ["reconstruction", "reconstruction"]];
function showLayer() {
  const image = visible[open], [name, title] = LAYERS[layer];
  $("overlay").className = `stage ${name} ${decided(image)}`;
  $("overlay").replaceChildren(...(name === "reconstruction" ? image.reconstruction ? [picture(image.reconstruction, "")] : []
                                                             : layers(image)));
  $("legend").textContent = title;
  $("layer").textContent = LAYERS[(layer + 1) % LAYERS.length][1];
}
function magnify(event) {
  const stage = event.currentTarget, box = stage.getBoundingClientRect(), loupe = $("loupe"), image = visible[open];
  const [width, height] = image.shape.split(" / ").map(Number), zoom = Math.max(4, 3 * box.width / width);
  const x = (event.clientX - box.left) / box.width * width, y = (event.clientY - box.top) / box.height * height;
  loupe.hidden = false;
  const radius = loupe.offsetWidth / 2;
  loupe.style.cssText = `left:${event.clientX - radius}px; top:${event.clientY - radius}px; ` +
    `background-size:${width * zoom}px ${height * zoom}px; background-position:${radius - x * zoom}px ${radius - y * zoom}px`;
  loupe.style.backgroundImage = `url(${image.picture})`;
}

for (const name of ["all", ...data.types]) {
  const option = element("option", "", name);
  option.value = name;
  $("type").append(option);
}
for (const key of ["type", "show", "sort", "map"]) $(key).addEventListener("change", event => choose(key, event.target.value));
for (const button of document.querySelectorAll("#readings button"))
  button.addEventListener("click", () => { state.level = ""; choose("reading", button.value); });
for (const part of sections) {
  const slider = part.querySelector(".slider"), value = () => Number(part.dataset.high) * slider.value / 1000;
  slider.addEventListener("input", () => attempt(value(), false));
  slider.addEventListener("change", () => draw());
  part.querySelector(".level").addEventListener("change", event => {
    if (event.target.value !== "") attempt(Number(event.target.value), true);
  });
  part.querySelector(".restore").addEventListener("click", () => choose("level", ""));
}
$("layer").addEventListener("click", () => { layer = (layer + 1) % LAYERS.length; showLayer(); });
$("previous").addEventListener("click", () => enlarge(open - 1));
$("next").addEventListener("click", () => enlarge(open + 1));
$("close").addEventListener("click", () => $("large").close());
$("large").addEventListener("click", event => { if (event.target === $("large")) $("large").close(); });
for (const stage of $("large").querySelectorAll(".stage")) {
  for (const name of ["pointermove", "pointerdown"]) stage.addEventListener(name, magnify);
  stage.addEventListener("pointerleave", () => { $("loupe").hidden = true; });
}
document.addEventListener("keydown", event => {
  if (!$("large").open) return;
  if (event.key === "ArrowRight") enlarge(open + 1);
  if (event.key === "ArrowLeft") enlarge(open - 1);
});
gradient();
draw();
