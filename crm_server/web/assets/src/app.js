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

// The page at once, for htmx names it a moment after it can be used; then the parts that htmx brings.
const equip = (root) => [pickers, forms, lists, board, passkeys, strength].forEach((part) => part(root));
equip(document.body);
htmx.onLoad(equip);
dialogs();
keys();
