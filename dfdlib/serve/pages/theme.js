// Dark or light: what was chosen last, else what the system asks for. Set before the page is drawn.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const dark = () => (stored() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => {
    root.dataset.theme = dark() ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) button.textContent = dark() ? "Light mode" : "Dark mode";
  };
  show();
  addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      const next = dark() ? "light" : "dark";
      try { localStorage.setItem("theme", next); } catch { /* it holds for this page alone */ }
      show();
    });
  });
})();
