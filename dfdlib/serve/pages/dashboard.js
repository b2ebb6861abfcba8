"use strict";
const $ = (id) => document.getElementById(id);
const METRICS = [["auc", "AUC"], ["eer", "EER"], ["ap", "average precision"], ["accuracy", "accuracy"],
  ["balanced_accuracy", "balanced accuracy"], ["category_accuracy", "category accuracy"], ["ece", "ECE"]];
const FIGURES = { roc: "ROC curve", confusion_real_fake: "confusion matrix", learning_curves: "learning curves", generators: "AUC by generator" };

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(head, rows) {
  const made = element("table"), top = element("tr");
  for (const name of head) { const cell = element("th", name); cell.scope = "col"; top.append(cell); }
  const thead = element("thead"), tbody = element("tbody");
  thead.append(top);
  for (const [name, ...values] of rows) {
    const row = element("tr"), first = element("th", name);
    first.scope = "row";
    row.append(first, ...values.map((value) => element("td", value)));
    tbody.append(row);
  }
  made.append(thead, tbody);
  const scroll = element("div", "", "scroll");
  scroll.append(made);
  return scroll;
}

const number = (value) => (typeof value === "number" ? value.toFixed(3) : "–");

function withInterval(scores, key) {
  const ends = scores[`${key}_95`];
  return typeof scores[key] !== "number" ? "–"
    : Array.isArray(ends) && typeof ends[0] === "number" ? `${number(scores[key])} [${number(ends[0])}, ${number(ends[1])}]` : number(scores[key]);
}

function showReported(answer) {
  const names = Object.keys(answer.models);
  if (!answer.reports) return [element("p", "No report yet. The page asks after each verdict whether it was right.", "small")];
  const rows = names.map((name) => {
    const one = answer.models[name];
    return [name, one.accuracy === null ? "–" : `${(100 * one.accuracy).toFixed(0)} %`, `${one.right} of ${one.n}`, String(one.cant_tell)];
  });
  return [
    table(["model", "right, as users say", "reports on a verdict", "reports where it could not tell"], rows),
    element("p", `Reports: ${answer.reports}; images kept with consent: ${answer.images}. Users report what surprises them: this is no measurement.`, "small"),
  ];
}

function showModel(model, index) {
  const section = element("section", "", "card");
  section.append(element("h2", model.model_name), ...model.card.map((text) => element("p", text)));
  const band = model.band ? `; can't tell from ${number(model.band[0])} to ${number(Math.min(1, model.band[1]))}` : "";
  section.append(element("p", `${model.architecture}, ${model.image_size} × ${model.image_size} pixels, weights: ${model.origin}; fake from p(fake) ${number(model.threshold)} on${band}.`, "small"));
  const report = model.report;
  if (!report || !report.metrics) {
    return section;
  }
  const splits = Object.keys(report.metrics);
  const rows = METRICS.filter(([key]) => splits.some((split) => typeof report.metrics[split][key] === "number"))
    .map(([key, name]) => [name, ...splits.map((split) => withInterval(report.metrics[split], key))]);
  rows.push(["images", ...splits.map((split) => String(report.metrics[split].n ?? "–"))]);
  section.append(table(["metric", ...splits], rows));
  const figures = element("div", "", "figures");
  for (const name of report.figures) {
    const figure = element("figure"), link = element("a"), image = element("img");
    image.src = link.href = `/models/${index}/${name}.png`;
    image.alt = `${FIGURES[name]} of ${model.model_name}`;
    image.loading = "lazy";
    link.append(image);
    figure.append(link, element("figcaption", FIGURES[name], "small"));
    figures.append(figure);
  }
  section.append(figures);
  return section;
}

async function load() {
  const get = async (path) => { const response = await fetch(path); if (!response.ok) throw new Error(`${path}: status ${response.status}`); return response.json(); };
  try {
    const [about, reported] = await Promise.all([get("/models"), get("/feedback")]);
    $("notice").textContent = about.notice;
    $("notice").hidden = !about.notice;
    $("models").replaceChildren(...about.models.map(showModel));
    $("reported").replaceChildren(...showReported(reported));
  } catch (error) {
    $("reported").replaceChildren(element("p", `The server does not answer (${error.message}).`, "error"));
  }
}

load();
