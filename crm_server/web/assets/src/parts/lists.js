// Lists: select rows, act on them, and rows of the filter form.
import { find } from "./forms.js";

export function lists(root) {
  for (const form of find(root, "[data-bulk]")) bulk(form);
  for (const row of find(root, "[data-filter-row]")) row.querySelector("[data-remove]")?.addEventListener("click", () => row.remove());
}

function bulk(form) {
  const bar = form.querySelector(".k-bulk");
  const all = form.querySelector("[data-all]");
  const boxes = () => [...form.querySelectorAll("input[name=id]")];
  const count = bar?.querySelector("[data-count]");
  const show = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    bar.hidden = chosen === 0;
    count.textContent = count.dataset.count.replace("{n}", chosen);
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
  };
  if (!bar || !all) return;
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", (event) => event.target.name === "id" && show());
  bar.querySelector("[data-none]")?.addEventListener("click", () => {
    for (const box of boxes()) box.checked = false;
    show();
  });
  show();
}
