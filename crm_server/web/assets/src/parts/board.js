// Dragging deals between the columns of a pipeline, by mouse and by touch (after a short press).
// The keyboard and everybody else use the menu on each card.
import { find } from "./forms.js";

const PRESS_MS = 250;
const SLACK_PX = 6;

export function board(root) {
  for (const one of find(root, "[data-board]")) equip(one);
}

function equip(board) {
  let drag = null;
  board.addEventListener("pointerdown", (event) => {
    const card = event.target.closest("[data-deal]");
    if (!card || event.button !== 0 || event.target.closest("button, select, form")) return;
    const started = { card, x: event.clientX, y: event.clientY, pointer: event.pointerId, ghost: null, timer: 0 };
    drag = started;
    if (event.pointerType !== "mouse") started.timer = setTimeout(() => drag === started && lift(started), PRESS_MS);
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const far = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > SLACK_PX;
    if (!drag.ghost && far) {
      if (event.pointerType === "mouse") lift(drag);
      else return drop(null); // the finger scrolls
    }
    if (drag?.ghost) follow(drag, event);
  });
  window.addEventListener("pointerup", (event) => drag && event.pointerId === drag.pointer && drop(columnAt(event)));
  window.addEventListener("pointercancel", () => drag && drop(null));
  window.addEventListener("keydown", (event) => event.key === "Escape" && drag?.ghost && drop(null));
  // While a card hangs on the finger, the page must not scroll away.
  board.addEventListener("touchmove", (event) => drag?.ghost && event.preventDefault(), { passive: false });
  // A finger that rests on a card lifts it. On a busy device the browser's own long press, which would open the
  // menu of the link below, can come before the timer.
  board.addEventListener("contextmenu", (event) => {
    if (!drag?.timer) return;
    event.preventDefault();
    if (!drag.ghost) lift(drag);
  });

  function lift(started) {
    const place = started.card.getBoundingClientRect();
    const ghost = started.card.cloneNode(true);
    ghost.classList.add("k-ghost");
    ghost.removeAttribute("data-deal");
    ghost.style.width = `${place.width}px`;
    started.dx = started.x - place.left;
    started.dy = started.y - place.top;
    started.ghost = ghost;
    document.body.append(ghost);
    started.card.classList.add("k-lifted");
    follow(started, { clientX: started.x, clientY: started.y });
  }

  function follow(started, event) {
    started.ghost.style.transform = `translate(${event.clientX - started.dx}px, ${event.clientY - started.dy}px) rotate(1.5deg)`;
    const over = columnAt(event);
    for (const column of board.querySelectorAll("[data-stage]")) column.classList.toggle("k-over", column === over);
    const edge = board.getBoundingClientRect();
    if (event.clientX > edge.right - 48) board.scrollLeft += 12;
    if (event.clientX < edge.left + 48) board.scrollLeft -= 12;
  }

  function columnAt(event) {
    return document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-stage]") ?? null;
  }

  function drop(column) {
    const ended = drag;
    drag = null;
    clearTimeout(ended.timer);
    if (!ended.ghost) return;
    // The card may have been taken by its link: letting go is no click.
    const swallow = (event) => event.preventDefault();
    window.addEventListener("click", swallow, { capture: true, once: true });
    const next = () => window.removeEventListener("click", swallow, { capture: true });
    window.addEventListener("pointerdown", next, { capture: true, once: true });
    ended.ghost.remove();
    ended.card.classList.remove("k-lifted");
    for (const one of board.querySelectorAll(".k-over")) one.classList.remove("k-over");
    const stage = column?.dataset.stage;
    if (!stage || stage === ended.card.closest("[data-stage]").dataset.stage) return;
    column.querySelector(".k-cards").prepend(ended.card);
    // The card's own form moves it; the answer is the page as it now is.
    const form = ended.card.querySelector("form[data-move]");
    form.querySelector("input[name=stage_id]").value = stage;
    form.requestSubmit();
  }
}
