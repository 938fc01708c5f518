// What the pages do in the browser. Everything works without it, except searching while typing, dragging and keys.
import "@tabler/core/dist/js/tabler.esm.js";
import htmx from "htmx.org/dist/htmx.esm.js";
import { board } from "./parts/board.js";
import { dialogs } from "./parts/dialogs.js";
import { forms } from "./parts/forms.js";
import { keys } from "./parts/keys.js";
import { lists } from "./parts/lists.js";
import { passkeys } from "./parts/passkeys.js";
import { pickers } from "./parts/pickers.js";
import { strength } from "./parts/strength.js";

// Parts that htmx brings get the same behaviour as the page.
htmx.onLoad((root) => {
  for (const equip of [pickers, forms, lists, board, passkeys, strength]) equip(root);
});
dialogs();
keys();
