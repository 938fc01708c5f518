// Passkeys: a button asks the server for options, the browser makes or uses a passkey, and the answer goes back.
// Keys and answers are bytes; JSON holds them as base64url. Browsers before 2025 can't convert them by themselves.
import { find } from "./forms.js";

const encode = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const decode = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));

function readable(options) {
  const known = (list) => (list || []).map((one) => ({ ...one, id: decode(one.id) }));
  const made = { ...options, challenge: decode(options.challenge) };
  if (options.user) made.user = { ...options.user, id: decode(options.user.id) };
  if (options.excludeCredentials) made.excludeCredentials = known(options.excludeCredentials);
  if (options.allowCredentials) made.allowCredentials = known(options.allowCredentials);
  return made;
}

function sendable(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = encode(credential.response[name]);
  }
  return {
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

async function get(button) {
  const asked = await fetch(button.dataset.url);
  if (!asked.ok) throw new Error("refused");
  return sendable(await navigator.credentials.get({ publicKey: readable(await asked.json()) }));
}

async function create() {
  const options = JSON.parse(document.getElementById("passkey-options").textContent);
  const answer = sendable(await navigator.credentials.create({ publicKey: readable(options) }));
  return { answer, name: document.getElementById("passkey-name").value };
}

async function press(button) {
  const error = document.getElementById("passkey-error");
  error.hidden = true;
  button.disabled = true;
  try {
    const body = JSON.stringify(await (button.dataset.passkey === "create" ? create() : get(button)));
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": button.dataset.csrf };
    const sent = await fetch(button.dataset.url, { method: "POST", headers, body });
    if (!sent.ok) throw new Error("refused");
    location.assign((await sent.json()).next);
  } catch {
    error.hidden = false;
    button.disabled = false;
  }
}

export function passkeys(root) {
  for (const button of find(root, "[data-passkey]")) button.addEventListener("click", () => press(button));
}
