// Keys: "/" searches, "g c" goes to contacts, "n" makes a new record, "e" edits, "?" explains, Ctrl+K opens the palette.
import { open } from "./dialogs.js";

export function keys() {
  let waiting = 0;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open(document.getElementById("palette"));
      return;
    }
    if (event.key === "Escape") document.getElementById("sidebar")?.classList.remove("open");
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (performance.now() < waiting) {
      waiting = 0;
      follow(`[data-go="${CSS.escape(event.key)}"]`, event);
    } else if (event.key === "g") waiting = performance.now() + 1500;
    else if (event.key === "/") focus(event);
    else if (event.key === "?") open(document.getElementById("keys"));
    else if (event.key === "n") follow("[data-key-new]", event);
    else if (event.key === "e") follow("[data-key-edit]", event);
  });
  palette();
}

function typing(element) {
  return element instanceof HTMLElement && (element.isContentEditable || element.matches("input:not([type=checkbox],[type=radio]), textarea, select"));
}

function follow(selector, event) {
  const found = document.querySelector(selector);
  if (found) {
    event.preventDefault();
    found.click();
  }
}

function focus(event) {
  const field = document.getElementById("search");
  if (field) {
    event.preventDefault();
    field.focus();
    field.select();
  }
}

function palette() {
  const field = document.getElementById("palette-field");
  const list = document.getElementById("palette-list");
  if (!field || !list) return;
  const shown = () => [...list.querySelectorAll("a")].filter((one) => !one.parentElement.hidden);
  const mark = (index) => shown().forEach((one, place) => one.classList.toggle("active", place === index));
  field.addEventListener("input", () => {
    const words = field.value.trim().toLowerCase();
    for (const item of list.querySelectorAll("li[data-text]")) item.hidden = !item.dataset.text.toLowerCase().includes(words);
    mark(0);
  });
  field.addEventListener("keydown", (event) => {
    const links = shown();
    const at = links.findIndex((one) => one.classList.contains("active"));
    if (event.key === "ArrowDown") mark(Math.min(at + 1, links.length - 1));
    else if (event.key === "ArrowUp") mark(Math.max(at - 1, 0));
    else if (event.key === "Enter") links[Math.max(at, 0)]?.click();
    else return;
    event.preventDefault();
    shown().find((one) => one.classList.contains("active"))?.scrollIntoView({ block: "nearest" });
  });
}
