"use strict";
const $ = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(value > 0.0995 && value < 0.9 ? 0 : 1)}\u00a0%`;
const SHOWN = 960; // longest side of the pictures that this page keeps

let about = { models: [], max_bytes: Infinity, version: "" }; // what the server says of itself
let entries = []; // one for each verdict, the newest first; the image files live as long as this page
let current = null; // the entry that is shown
const queue = [];
let running = false;
let room = 20; // entries that a reload keeps

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text; // never as markup
  if (className) made.className = className;
  return made;
}

async function answerOf(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Error(body.error || (response.status === 413 ? tooLarge() : `The server answered with status ${response.status}.`));
}

function tooLarge() {
  const most = about.max_bytes < Infinity ? `${Math.floor(about.max_bytes / 2 ** 20)} MB, the most that this server takes` : "what this server takes";
  return `The file is larger than ${most}; reduce it first.`;
}

const messageOf = (error) => (error instanceof TypeError ? "The server cannot be reached; is it still running?" : error.message);

// Files are judged one after the other; the first of them is shown, and all are listed.
async function judge(files, truth = "") {
  queue.push(...[...files].map((file) => ({ file, truth })));
  if (running || !queue.length) return;
  running = true;
  const problems = [];
  let done = 0, first = true;
  complain([]);
  for (; queue.length; done++) {
    const { file, truth } = queue.shift(), total = done + queue.length + 1;
    $("status").textContent = total > 1 ? `Looking at ${done + 1} of ${total}…` : "Looking at it…";
    try {
      if (file.size > about.max_bytes) throw new Error(tooLarge());
      const form = new FormData();
      form.append("image", file, "upload");
      const answer = await answerOf(await fetch("/predict", { method: "POST", body: form }));
      const entry = { name: file.name, file, truth, answer, picture: await pictureOf(file, answer),
        time: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC", version: about.version, said: "" };
      delete answer.dynamic_grad_cam; // large, and the page draws it itself
      delete answer.picture;
      entries.unshift(entry);
      if (first) show(entry);
      first = false;
      keep();
    } catch (error) {
      problems.push([file.name, messageOf(error)]);
    }
  }
  running = false;
  $("status").textContent = done > 1 ? `${done - problems.length} of ${done} files judged; each is in the list below.`
    : problems.length ? "" : "Done."; // read out by screen readers
  complain(problems.map(([name, text]) => (done > 1 ? `${name}: ${text}` : text)));
}

function complain(sentences) {
  $("error").replaceChildren(...sentences.map((text) => element("p", text)));
  $("error").hidden = !sentences.length;
}

async function pictureOf(file, answer) { // reduced, as a data URL; the server sends one where browsers show none
  const source = answer.picture || URL.createObjectURL(file), image = new Image();
  image.src = source;
  await image.decode();
  const scale = Math.min(1, SHOWN / Math.max(image.naturalWidth, image.naturalHeight)), canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * image.naturalWidth));
  canvas.height = Math.max(1, Math.round(scale * image.naturalHeight));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  if (!answer.picture) URL.revokeObjectURL(source);
  return canvas.toDataURL(...(canvas.width * canvas.height < 2 ** 16 ? ["image/png"] : ["image/jpeg", 0.9]));
}

function show(entry) {
  current = entry;
  const { answer } = entry, explained = answer.heatmap !== null;
  $("image").src = $("plain").firstChild.src = entry.picture;
  $("heat").hidden = $("heat-row").hidden = !explained;
  if (explained) $("heat").src = answer.heatmap;
  showSquares(answer);
  besideOrNot();
  $("caption").textContent = captionOf(answer);
  $("of").textContent = entry.name;
  showVerdicts(entry);
  showFeedback();
  $("shown").hidden = false;
  $("judges").hidden = true; // said beside the verdict
  showHistory();
  if ($("shown").getBoundingClientRect().top > innerHeight / 2) $("verdict").scrollIntoView();
}

function captionOf(answer) {
  const square = squareOf(answer), [width, height] = answer.image_size, parts = [];
  parts.push(answer.heatmap ? `Heatmap: what ${answer.grad_cam_model_name} bases its verdict on.` : "No heatmap: these detectors cannot be explained.");
  if (facesIn(answer).length) parts.push("Only the faces in the boxes were judged.");
  else if (square && square[2] ** 2 < width * height) {
    parts.push(`Only the square in the dashed outline was judged, ${Math.round(100 * square[2] ** 2 / (width * height))} % of the picture; what lies outside it was not looked at.`);
  }
  return [...parts, ...answer.notes].join(" ");
}

// The detector whose heatmap is shown, or the first.
const shownBy = (answer) => answer.predictions.find((one) => one.model_name === answer.grad_cam_model_name) || answer.predictions[0];
const squareOf = (answer) => shownBy(answer).square;
const facesIn = (answer) => shownBy(answer).faces || [];

function showSquares(answer) { // the faces that were judged, or the square in the middle
  const [width, height] = answer.image_size, square = squareOf(answer);
  const boxes = facesIn(answer).map((face, i) => [face.square, `${i + 1}`, classOf(face.verdict)]);
  if (!boxes.length && square && square[2] ** 2 < width * height) boxes.push([square, "", "judged"]);
  $("faces").replaceChildren(...boxes.map(([[left, top, side], text, className]) => {
    const box = element("span", text, className);
    for (const [name, size, start, whole] of [["left", "width", left, width], ["top", "height", top, height]]) {
      const first = Math.max(start, 0), last = Math.min(start + side, whole); // a square may reach beyond the image
      box.style[name] = `${100 * first / whole}%`;
      box.style[size] = `${100 * (last - first) / whole}%`;
    }
    return box;
  }));
}

function showVerdicts({ answer, truth }) {
  const parts = [element("p", headline(answer), `headline ${classOf(answer.verdict)}`)];
  if (unsure(answer.verdict)) parts.push(element("p", whyUnsure(answer), "small"));
  if (truth) parts.push(element("p", `This drawn image really is ${truth}.`));
  $("result").replaceChildren(...parts, ...answer.predictions.map(bar));
}

const unsure = (verdict) => verdict.startsWith("can't tell");
const classOf = (verdict) => (unsure(verdict) ? "unsure" : verdict);

function whyUnsure({ verdict }) {
  if (verdict === "can't tell") return "The score is too near the threshold for a verdict that can be relied on.";
  return unsure(verdict) ? "This image is unlike anything the detector was trained on, so its score means nothing here." : "";
}

function headline(answer) {
  if (unsure(answer.verdict)) return "Can't tell";
  const word = answer.verdict === "fake" ? "Fake" : "Real";
  return new Set(answer.predictions.map((one) => one.verdict)).size > 1 ? `${word}, but the detectors do not agree` : word;
}

function scoreOf(one) {
  return `Score for fake ${percent(one.p_fake)}; it says fake from ${percent(one.threshold)} on` +
    (one.band ? `, and can't tell from ${percent(one.band[0])} to ${percent(Math.min(1, one.band[1]))}` : "") +
    (one.faces && one.faces.length > 1 ? `; judged by the face that is most probably fake (${facesOf(one)})` : "") +
    (one.faces && !one.faces.length ? "; no face was found, so the whole image was judged" : "") +
    (one.category ? `; shows ${one.category.replaceAll("_", " ")} (${percent(one.category_confidence)})` : "") + ".";
}

const facesOf = (one) => one.faces.map((face, i) => `face ${i + 1} ${face.verdict}, ${percent(face.p_fake)}`).join("; ");

function realsOf(one) {
  if (one.reals_as_high === null) return "";
  if (!one.reals_as_high) return `None of ${one.n_reals} real validation images scored this high.`;
  const n = Math.round(100 * one.reals_as_high);
  return `Of 100 real images, ${n ? `about ${n}` : "fewer than 1"} would score this high, as ${one.n_reals} validation images show; images of another kind can differ.`;
}

const cardOf = (name) => about.models.find((model) => model.model_name === name)?.card || [];

function bar(one) {
  const box = element("div", "", "model"), title = element("p", "", "row");
  title.append(element("strong", one.model_name), element("span", one.verdict, classOf(one.verdict)));
  const track = element("div", "", "track");
  track.setAttribute("role", "img");
  track.setAttribute("aria-label", `Score for fake ${percent(one.p_fake)}, threshold ${percent(one.threshold)}`);
  const fill = element("span", "", `fill ${classOf(one.verdict)}`), mark = element("span", "", "mark");
  fill.style.width = `${100 * one.p_fake}%`;
  mark.style.left = `${100 * one.threshold}%`;
  if (one.band) {
    const band = element("span", "", "band");
    band.style.left = `${100 * one.band[0]}%`;
    band.style.width = `${100 * (Math.min(1, one.band[1]) - one.band[0])}%`;
    track.append(band);
  }
  track.append(fill, mark);
  const card = cardOf(one.model_name).join(" ");
  box.append(title, track, ...[scoreOf(one), realsOf(one), card].filter(Boolean).map((text) => element("p", text, "small")));
  return box;
}

// The list lives in this window alone and ends with it; without the files a reload keeps as much as there is room for.
function keep() {
  for (; room > 0; room--) {
    const kept = entries.slice(0, room).map((entry) => ({ ...entry, file: null }));
    try { sessionStorage.setItem("history", JSON.stringify(kept)); break; } catch { /* full: the oldest has to go */ }
  }
  showHistory();
}

function showHistory() {
  $("history").replaceChildren(...entries.map((entry) => {
    const item = element("li"), button = element("button"), picture = element("img"), text = element("span", "", "name");
    button.type = "button";
    if (entry === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => { show(entry); $("verdict").focus(); $("verdict").scrollIntoView(); });
    picture.src = entry.picture;
    picture.alt = "";
    text.append(entry.name, element("small", entry.answer.predictions.map((one) => `${one.model_name} ${percent(one.p_fake)}`).join(", ")));
    button.append(picture, text, element("strong", headline(entry.answer), classOf(entry.answer.verdict)));
    item.append(button);
    return item;
  }));
  $("none").hidden = entries.length > 0;
  $("clear").hidden = entries.length === 0;
}

function showFeedback() {
  const { said, truth, file, answer } = current;
  $("feedback").hidden = Boolean(truth); // what examples are is known
  $("consent").checked = false;
  $("consent-row").hidden = !file || answer.video;
  $("thanks").textContent = said ? `You said ${said}. You can change it.` : "";
  for (const button of $("feedback").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === said));
}

async function report(label) {
  const entry = current, form = new FormData();
  form.append("image_sha256", entry.answer.image_sha256);
  form.append("label", label);
  if ($("consent").checked) {
    form.append("consent", "yes");
    form.append("image", entry.file, "upload");
  }
  let thanks = "";
  try {
    const answer = await answerOf(await fetch("/feedback", { method: "POST", body: form }));
    for (const one of entries) if (one.answer.image_sha256 === entry.answer.image_sha256) one.said = label;
    keep();
    thanks = `Thank you: ${label}. The image was ${answer.stored_image ? "kept as well" : "not kept"}. You can change your answer.`;
  } catch (error) {
    thanks = messageOf(error);
  }
  if (entry !== current) return;
  showFeedback();
  $("thanks").textContent = thanks;
}

function besideOrNot() {
  const beside = $("beside").checked && !$("heat").hidden;
  $("plain").hidden = !beside;
  $("pair").classList.toggle("beside", beside);
}

function listen() {
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { // anywhere on the page: a near miss must not open the file
    event.preventDefault();
    judge(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => judge(event.clipboardData.files));
  $("file").addEventListener("change", (event) => { judge(event.target.files); event.target.value = ""; });
  const fade = () => {
    const value = $("opacity").value;
    $("heat").style.opacity = value / 100;
    $("opacity").setAttribute("aria-valuetext", `${value} percent`);
  };
  $("opacity").addEventListener("input", fade);
  fade();
  $("beside").addEventListener("change", besideOrNot);
  for (const button of $("feedback").querySelectorAll("button")) button.addEventListener("click", () => report(button.value));
  $("save").addEventListener("click", () => download(current, about.models));
  $("clear").addEventListener("click", () => {
    entries = [];
    current = null;
    $("shown").hidden = true;
    $("judges").hidden = false;
    keep();
    $("file").focus();
  });
  try { entries = JSON.parse(sessionStorage.getItem("history")) || []; } catch { /* none */ }
  showHistory();
  describe();
  offerExamples();
}

async function offerExamples() {
  try {
    const { examples } = await answerOf(await fetch("/examples"));
    $("examples").replaceChildren(...examples.map(({ label, generator }, i) => {
      const item = element("li"), button = element("button"), picture = element("img");
      button.type = "button";
      picture.src = `/examples/${i}.jpg`;
      picture.alt = `Drawn image ${i + 1}`;
      button.addEventListener("click", async () => {
        const truth = generator ? `${label} (${generator.replaceAll("_", " ")})` : label;
        try {
          const data = await (await fetch(picture.src)).blob();
          judge([new File([data], `drawn image ${i + 1}`, { type: data.type })], truth);
        } catch (error) {
          complain([messageOf(error)]);
        }
      });
      button.append(picture);
      item.append(button);
      return item;
    }));
    $("no-examples").hidden = true;
  } catch (error) {
    $("no-examples").textContent = messageOf(error);
  }
}

function describe() { // asks again while the detectors are being prepared
  fetch("/models").then(answerOf).then((answer) => {
    about = answer;
    $("notice").textContent = answer.notice;
    $("notice").hidden = !answer.notice;
    $("cards").replaceChildren(...answer.models.map((model) => {
      const card = element("div", "", "card");
      card.append(element("h3", model.model_name), ...model.card.map((text) => element("p", text)));
      return card;
    }));
    if (!answer.ready) setTimeout(describe, 2000);
  }).catch(() => {});
}

listen();
