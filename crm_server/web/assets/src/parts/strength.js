// The strength meter: while a new password is typed, the server says how good it is. Nothing else of the form is sent.
import { find } from "./forms.js";

export function strength(root) {
  for (const field of find(root, "input[data-strength]")) watch(field);
}

function watch(field) {
  const shown = document.getElementById(field.getAttribute("aria-describedby"));
  let timer = 0;
  let asked = 0;
  const ask = async () => {
    const number = ++asked;
    if (!field.value) return shown.replaceChildren();
    const body = new FormData();
    body.set("csrf_token", field.form.elements.csrf_token.value);
    body.set("password", field.value);
    const answer = await fetch(field.dataset.strength, { method: "POST", body, headers: { "HX-Request": "true" } });
    // An answer that was overtaken, or none: the check on saving counts in any case.
    if (number === asked) shown.innerHTML = answer.ok ? await answer.text() : "";
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 300);
  });
}
