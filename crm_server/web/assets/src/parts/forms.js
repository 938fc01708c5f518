// Forms: warn before typed text is lost, submit once, show and send what changed.

export function forms(root) {
  for (const form of find(root, "form[data-guard]")) guard(form);
  for (const form of find(root, "form[data-once]")) form.addEventListener("submit", () => once(form));
  for (const field of find(root, "[data-submits]")) field.addEventListener("change", () => field.form.requestSubmit());
  for (const form of find(root, "form[data-asks]")) form.addEventListener("submit", (event) => ask(form, event));
  for (const copier of find(root, "[data-copies]"))
    copier.addEventListener("click", () => navigator.clipboard.writeText(copier.dataset.copies));
}

export function find(root, selector) {
  const found = [...root.querySelectorAll(selector)];
  if (root.matches?.(selector)) found.unshift(root);
  return found.filter((one) => !one.dataset.equipped && (one.dataset.equipped = "yes"));
}

// Acts that can't be taken back are asked about once more, in the page's own words and language.
function ask(form, event) {
  const box = document.getElementById("ask");
  if (form.dataset.agreed || !box) return;
  event.preventDefault();
  box.querySelector("#ask-text").textContent = form.dataset.asks;
  const submitter = event.submitter;
  box.querySelector("[data-yes]").onclick = () => {
    form.dataset.agreed = "yes";
    box.close();
    form.requestSubmit(submitter);
  };
  box.showModal();
}

const state = (form) => JSON.stringify([...new FormData(form)].filter(([, value]) => typeof value === "string"));

function guard(form) {
  const before = state(form);
  // A form that came back with errors holds typed text from the start.
  const dirty = form.dataset.guard === "dirty";
  let leaving = false;
  form.addEventListener("submit", () => {
    leaving = true;
    once(form);
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && (dirty || state(form) !== before)) event.preventDefault();
  });
}

function once(form) {
  // After the browser has collected the values, so that the pressed button's own value is still sent.
  setTimeout(() => form.querySelectorAll("button[type=submit]").forEach((one) => (one.disabled = true)));
  window.addEventListener("pageshow", () => form.querySelectorAll("button[type=submit]").forEach((one) => (one.disabled = false)), { once: true });
}
