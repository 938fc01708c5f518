// The reference picker: a combobox (WAI-ARIA) whose options come from the server while one types.
import { find } from "./forms.js";

export function pickers(root) {
  for (const box of find(root, "[data-picker]")) picker(box);
}

function picker(box) {
  const text = box.querySelector("input[type=text]");
  const key = box.querySelector("input[type=hidden]");
  const list = box.querySelector("[role=listbox]");
  let timer = 0;
  let asked = 0;
  let chosen = text.value;
  const options = () => [...list.querySelectorAll("[role=option]")];
  const close = () => {
    list.replaceChildren();
    text.setAttribute("aria-expanded", "false");
    text.removeAttribute("aria-activedescendant");
  };
  const mark = (index) => {
    options().forEach((one, place) => one.setAttribute("aria-selected", String(place === index)));
    const now = options()[index];
    if (now) {
      text.setAttribute("aria-activedescendant", now.id);
      now.scrollIntoView({ block: "nearest" });
    }
  };
  const choose = (option) => {
    key.value = option?.dataset.id ?? "";
    chosen = text.value = option?.dataset.name ?? "";
    key.dispatchEvent(new Event("change", { bubbles: true }));
    close();
  };
  const ask = async () => {
    const number = ++asked;
    const address = new URL(box.dataset.picker, location.href);
    address.searchParams.set("q", text.value);
    const answer = await fetch(address, { headers: { "HX-Request": "true" } });
    if (number !== asked || !answer.ok) return;
    // The server's own page part, escaped by its template.
    list.innerHTML = await answer.text();
    options().forEach((one, place) => {
      one.id = `${list.id}-${place}`;
    });
    text.setAttribute("aria-expanded", "true");
    mark(0);
  };
  text.addEventListener("input", () => {
    key.value = "";
    clearTimeout(timer);
    timer = setTimeout(ask, 180);
  });
  text.addEventListener("focus", () => text.value === "" && ask());
  text.addEventListener("keydown", (event) => {
    const at = options().findIndex((one) => one.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown") options().length ? mark(Math.min(at + 1, options().length - 1)) : ask();
    else if (event.key === "ArrowUp") mark(Math.max(at - 1, 0));
    else if (event.key === "Enter" && options().length) choose(options()[Math.max(at, 0)]);
    else if (event.key === "Escape" && options().length) close();
    else return;
    event.preventDefault();
  });
  list.addEventListener("mousedown", (event) => {
    const option = event.target.closest("[role=option]");
    event.preventDefault();
    if (option) choose(option);
  });
  text.addEventListener("blur", () => {
    clearTimeout(timer);
    asked += 1;
    // Text that was not chosen from the list names nothing; emptied text takes the reference away.
    if (text.value.trim() === "") choose(null);
    else if (!key.value && text.value === chosen) key.value = key.defaultValue;
    close();
  });
}
