"use strict";
const $ = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(value > 0.0995 && value < 0.9 ? 0 : 1)} %`;
const KEPT = 12;

let current = null; // {file, answer} of the image that is shown
let asked = 0; // number of the last request: a slow answer must not replace a later one

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text; // never as markup
  if (className) made.className = className;
  return made;
}

function say(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

async function answerOf(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `The server answered with status ${response.status}.`);
  return body;
}

async function judge(file) {
  if (!file) return;
  const number = ++asked;
  say("");
  $("thanks").textContent = "";
  $("result").replaceChildren(element("p", "Looking at it…", "small"));
  $("feedback").hidden = true;
  $("preview").hidden = true;
  const form = new FormData();
  form.append("image", file, "upload");
  try {
    const answer = await answerOf(await fetch("/predict", { method: "POST", body: form }));
    if (number !== asked) return;
    current = { file, answer };
    showImage(URL.createObjectURL(file), answer);
    showVerdicts(answer);
    $("consent").checked = false;
    $("feedback").hidden = false;
    remember(answer);
  } catch (error) {
    if (number !== asked) return;
    current = null;
    $("result").replaceChildren(element("p", "No verdict.", "small"));
    say(error instanceof TypeError ? "The server cannot be reached; is it still running?" : error.message);
  }
}

function showImage(url, answer) {
  const image = $("image"), heat = $("heat");
  image.onerror = () => { // a format that browsers do not show
    image.onerror = null;
    heat.hidden = $("opacity-row").hidden = true;
    if (answer.dynamic_grad_cam) image.src = answer.dynamic_grad_cam;
  };
  image.src = url;
  const explained = answer.heatmap !== null;
  heat.hidden = $("opacity-row").hidden = !explained;
  if (explained) heat.src = answer.heatmap;
  showFaces(answer);
  $("caption").textContent = [
    explained ? `Heatmap: what ${answer.grad_cam_model_name} bases its verdict on.` : "No heatmap: these detectors cannot be explained.",
    ...answer.notes,
  ].join(" ");
  $("preview").hidden = false;
}

function showFaces(answer) { // those that the explained detector judged, or the first that looks at faces
  const known = answer.predictions.filter((one) => one.faces);
  const judged = known.find((one) => one.model_name === answer.grad_cam_model_name) || known[0];
  const [width, height] = answer.image_size;
  $("faces").replaceChildren(...(judged ? judged.faces : []).map((face, i) => {
    const [left, top, side] = face.square;
    const box = element("span", `${i + 1}`, unsure(face.verdict) ? "unsure" : face.verdict);
    for (const [name, size, start, whole] of [["left", "width", left, width], ["top", "height", top, height]]) {
      const first = Math.max(start, 0), last = Math.min(start + side, whole); // a square may reach beyond the image
      box.style[name] = `${100 * first / whole}%`;
      box.style[size] = `${100 * (last - first) / whole}%`;
    }
    return box;
  }));
}

function showVerdicts(answer) {
  const parts = [element("p", headline(answer), `headline ${unsure(answer.verdict) ? "unsure" : answer.verdict}`)];
  if (answer.verdict === "can't tell") {
    parts.push(element("p", "The score is too near the threshold for a verdict that can be relied on.", "small"));
  } else if (unsure(answer.verdict)) {
    parts.push(element("p", "This image is unlike anything the detector was trained on, so its score means nothing here.", "small"));
  }
  for (const one of answer.predictions) parts.push(bar(one));
  $("result").replaceChildren(...parts);
}

const unsure = (verdict) => verdict.startsWith("can't tell");

function headline(answer) {
  if (unsure(answer.verdict)) return "Can't tell";
  const verdicts = new Set(answer.predictions.map((one) => one.verdict));
  const word = answer.verdict === "fake" ? "Fake" : "Real";
  return verdicts.size > 1 ? `${word}, but the detectors do not agree` : word;
}

function bar(one) {
  const box = element("div", "", "model");
  const title = element("p", "", "row");
  title.append(element("strong", one.model_name), element("span", unsure(one.verdict)
    ? (one.verdict === "can't tell" ? `can't tell (leans to ${one.label}, ${percent(one.confidence)})` : one.verdict)
    : `${one.verdict}, ${percent(one.confidence)} confident`, unsure(one.verdict) ? "" : one.verdict));
  const track = element("div", "", "track");
  track.setAttribute("role", "img");
  track.setAttribute("aria-label", `Probability of fake ${percent(one.p_fake)}, threshold ${percent(one.threshold)}`);
  if (one.band) {
    const band = element("span", "", "band");
    band.style.left = `${100 * one.band[0]}%`;
    band.style.width = `${100 * (Math.min(1, one.band[1]) - one.band[0])}%`;
    track.append(band);
  }
  const fill = element("span", "", `fill ${one.label}`);
  fill.style.width = `${100 * one.p_fake}%`;
  const mark = element("span", "", "mark");
  mark.style.left = `${100 * one.threshold}%`;
  track.append(fill, mark);
  box.append(title, track, element("p", `probability of fake ${percent(one.p_fake)}; fake from ${percent(one.threshold)} on` +
    (one.faces && one.faces.length > 1 ? `; judged by the face that is most probably fake (${facesOf(one)})` : "") +
    (one.faces && !one.faces.length ? "; no face was found, so the whole image was judged" : "") +
    (one.category ? `; shows ${one.category.replaceAll("_", " ")} (${percent(one.category_confidence)})` : ""), "small"));
  return box;
}

const facesOf = (one) => one.faces.map((face, i) => `face ${i + 1} ${face.verdict}, ${percent(face.p_fake)}`).join("; ");

// The history lives in this window alone and ends with it.
const kept = () => { try { return JSON.parse(sessionStorage.getItem("history")) || []; } catch { return []; } };

function remember(answer) {
  const small = document.createElement("canvas");
  small.width = small.height = 64;
  const image = $("image");
  const save = () => {
    const side = Math.min(image.naturalWidth, image.naturalHeight);
    small.getContext("2d").drawImage(image, (image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2, side, side, 0, 0, 64, 64);
    const entry = {
      thumbnail: small.toDataURL("image/jpeg", 0.8), verdict: answer.verdict,
      scores: answer.predictions.map((one) => [one.model_name, one.p_fake]),
    };
    try { sessionStorage.setItem("history", JSON.stringify([entry, ...kept()].slice(0, KEPT))); } catch { /* full: not kept */ }
    showHistory();
  };
  if (image.complete && image.naturalWidth) save();
  else image.addEventListener("load", save, { once: true });
}

function showHistory() {
  const entries = kept();
  $("history").replaceChildren(...entries.map((entry) => {
    const item = element("li");
    const picture = element("img");
    picture.src = entry.thumbnail;
    picture.alt = "";
    const text = element("span", entry.verdict, entry.verdict === "can't tell" ? "unsure" : entry.verdict);
    const scores = entry.scores.map(([name, p]) => `${name} ${percent(p)}`).join(", ");
    item.append(picture, text, element("span", `p(fake): ${scores}`, "small"));
    return item;
  }));
  $("none").hidden = entries.length > 0;
  $("clear").hidden = entries.length === 0;
}

async function report(label) {
  if (!current) return;
  const form = new FormData();
  form.append("image_sha256", current.answer.image_sha256);
  form.append("label", label);
  if ($("consent").checked) {
    form.append("consent", "yes");
    form.append("image", current.file, "upload");
  }
  try {
    const answer = await answerOf(await fetch("/feedback", { method: "POST", body: form }));
    $("thanks").textContent = answer.stored_image ? "Thank you. The image was kept as well." : "Thank you. The image was not kept.";
  } catch (error) {
    $("thanks").textContent = error.message;
  }
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
    if (event.dataTransfer.files.length > 1) say("Only the first of these files was taken.");
    judge(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => judge([...event.clipboardData.files][0]));
  $("file").addEventListener("change", (event) => { judge(event.target.files[0]); event.target.value = ""; });
  const fade = () => {
    const value = $("opacity").value;
    $("heat").style.opacity = value / 100;
    $("opacity").setAttribute("aria-valuetext", `${value} percent`);
  };
  $("opacity").addEventListener("input", fade);
  fade();
  for (const button of $("feedback").querySelectorAll("button")) button.addEventListener("click", () => report(button.value));
  $("clear").addEventListener("click", () => { sessionStorage.removeItem("history"); showHistory(); $("file").focus(); });
  showHistory();
  describe();
}

function describe() { // asks again while the detectors are being prepared
  fetch("/models").then(answerOf).then((answer) => {
    $("notice").textContent = answer.notice;
    $("notice").hidden = !answer.notice;
    if (!answer.ready) setTimeout(describe, 2000);
  }).catch(() => {});
}

listen();
