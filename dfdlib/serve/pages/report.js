// A report on one verdict: a page of its own that needs no server and no network.
"use strict";
const REPORT_STYLE = `body { margin: 2rem auto; padding: 0 1rem; max-width: 50rem; font: 16px/1.5 system-ui, sans-serif; color: #1b1d21; background: #fff; }
  .stack { position: relative; display: inline-block; line-height: 0; max-width: 100%; } .stack img { display: block; max-width: 100%; min-width: 16rem; }
  .heat { position: absolute; inset: 0; width: 100%; height: 100%; } .faces span { position: absolute; box-sizing: border-box; border: 2px solid; line-height: 1.3; padding: 0 .25rem; font-weight: 700; }
  .faces .judged { border: 2px dashed #fff; outline: 1px solid #000; } .pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; } figure { margin: 0; }
  table { border-collapse: collapse; } th { white-space: nowrap; } footer { margin-top: 2rem; }
  td, th { padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #d9dbe0; overflow-wrap: anywhere; }
  figcaption, footer { color: #565b66; font-size: .875rem; }`;

function reportOf(entry, models) {
  const page = document.implementation.createHTMLDocument(`Report on ${entry.name}`), { answer } = entry;
  page.documentElement.lang = "en";
  const add = (to, tag, text = "") => { const made = page.createElement(tag); made.textContent = text; to.append(made); return made; };
  const meta = (attributes) => { const made = add(page.head, "meta"); for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value); };
  meta({ charset: "utf-8" });
  meta({ name: "viewport", content: "width=device-width, initial-scale=1" });
  meta({ "http-equiv": "Content-Security-Policy", content: "default-src 'none'; img-src data:; style-src 'unsafe-inline'" });
  const main = add(page.body, "main");
  add(main, "h1", `${headline(answer)}: ${entry.name}`);
  add(main, "p", whyUnsure(answer));
  const pictures = add(main, "div");
  pictures.className = "pictures";
  for (const text of ["The image", answer.heatmap ? "Heatmap: blue does not matter, red matters most" : ""].filter(Boolean)) {
    const figure = add(pictures, "figure"), stack = page.importNode(document.getElementById("stack"), true);
    figure.append(stack);
    const heat = stack.querySelector("#heat");
    if (text === "The image") heat.remove();
    else heat.style.opacity = 0.45;
    for (const part of [stack, ...stack.querySelectorAll("[id]")]) {
      part.classList.add(part.id);
      part.removeAttribute("id");
    }
    add(figure, "figcaption", text);
  }
  add(main, "p", captionOf(answer));
  for (const one of answer.predictions) {
    const model = models.find((known) => known.model_name === one.model_name) || { card: [], sha256: null };
    add(main, "h2", `${one.model_name}: ${one.verdict}`);
    for (const text of [scoreOf(one), realsOf(one), ...model.card].filter(Boolean)) add(main, "p", text);
    add(main, "p", model.sha256 ? `SHA-256 of the detector file: ${model.sha256}` : "The detector has no file.").style.overflowWrap = "anywhere";
  }
  add(main, "h2", "The file");
  const table = add(add(main, "table"), "tbody");
  for (const [name, value] of [["Name", entry.name], ["SHA-256", answer.image_sha256], ["Size", `${answer.image_size.join(" × ")} pixels; shown here with at most ${SHOWN} a side`],
    ["Judged on", `${entry.time} with dfdlib ${entry.version}`]]) {
    const row = add(table, "tr");
    add(row, "th", name).scope = "row";
    add(row, "td", value);
  }
  add(page.body, "footer", "A detector knows the kinds of fakes that it was trained on, and can be wrong on any image. Its answer is a hint, not a proof.");
  return `<!doctype html>\n${page.documentElement.outerHTML.replace("</head>", `<style>${REPORT_STYLE}</style></head>`)}`;
}

function download(entry, models) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([reportOf(entry, models)], { type: "text/html" }));
  link.download = `report-${entry.answer.image_sha256.slice(0, 12)}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
