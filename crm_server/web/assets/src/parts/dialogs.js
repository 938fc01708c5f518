// Dialogs, the drawer of phones, messages that go away, and the theme that follows the device.

export function dialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) {
      event.preventDefault();
      open(document.getElementById(opener.dataset.opens));
    }
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog")?.close();
    if (event.target instanceof HTMLDialogElement) event.target.close(); // a click beside the box
    drawer(event);
  });
  for (const box of document.querySelectorAll("dialog[data-open-now]")) open(box);
  for (const toast of document.querySelectorAll(".k-toast[data-vanishes]")) vanish(toast);
  followDevice();
}

export function open(box) {
  if (!box || box.open) return;
  box.showModal();
  box.querySelector("[autofocus], input:not([type=hidden]), select, textarea")?.focus();
}

function drawer(event) {
  const sidebar = document.getElementById("sidebar");
  if (!sidebar) return;
  const toggle = event.target.closest("[data-drawer]");
  if (toggle) {
    event.preventDefault();
    const shown = sidebar.classList.toggle("open");
    for (const one of document.querySelectorAll("[data-drawer]")) one.setAttribute("aria-expanded", String(shown));
    if (shown) sidebar.querySelector("a")?.focus();
  } else if (sidebar.classList.contains("open") && !event.target.closest("#sidebar")) {
    sidebar.classList.remove("open");
    for (const one of document.querySelectorAll("[data-drawer]")) one.setAttribute("aria-expanded", "false");
  }
}

function vanish(toast) {
  // Messages with something to do in them stay long enough to be read and reached (WCAG 2.2.1).
  let timer = setTimeout(() => toast.remove(), 20000);
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("focusin", () => clearTimeout(timer));
  toast.querySelector("[data-dismiss]")?.addEventListener("click", () => toast.remove());
}

function followDevice() {
  const root = document.documentElement;
  if (root.dataset.theme !== "auto") return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light"));
}
