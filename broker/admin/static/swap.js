// Replaces regions of a page. A region is an element with an id that the server draws alone for the header X-Region.
//   form or link with data-swap="ID"   is sent by fetch, and only the region ID is replaced; data-push: the address follows
//   form with data-auto                is sent when a person changes or types something
//   region with data-poll="SECONDS"    is asked for again and again (data-from: from another address)
// Without script, forms and links load whole pages. No words stand here: pages bring them.

const byId = (id) => document.getElementById(id);
const latest = new Map(); // region: the request whose answer counts

function say(text) {
  const said = byId("said");
  if (text && said.textContent !== text) said.textContent = text;
}

function note(html) {
  const place = byId("note");
  if (!place) return;
  place.replaceChildren(...(html?.childNodes ?? []));
  if (place.childElementCount) place.scrollIntoView({ block: "nearest" });
}

function lost() { // the broker does not answer: nothing of the page is touched
  const text = Object.assign(document.createElement("p"), { className: "note bad", textContent: byId("lost").innerHTML });
  const holder = document.createElement("div");
  holder.append(text);
  note(holder);
}

// Puts `next` in the place of the region with its id. The focus stays on the control with the same id.
function put(next) {
  const region = byId(next.id), held = document.activeElement;
  const inside = region.contains(held) && held.id;
  const kept = inside && { id: held.id, value: held.value, from: held.selectionStart, to: held.selectionEnd };
  region.replaceWith(next);
  const wanted = next.querySelector("[autofocus]") ?? (kept && byId(kept.id));
  if (wanted) {
    wanted.focus({ preventScroll: true });
    if (kept && wanted.id === kept.id && wanted.matches("input:not([type=checkbox], [type=radio])") && wanted.type === held.type) {
      wanted.value = kept.value; // what was typed since the request left
      if (kept.from !== null) wanted.setSelectionRange(kept.from, kept.to);
    }
  } else if (inside) {
    next.tabIndex = -1; // the control is gone: the keyboard goes on in the region, not at the top of the page
    next.focus({ preventScroll: true });
  }
  next.dispatchEvent(new CustomEvent("swapped", { bubbles: true }));
  say(next.dataset.say);
}

async function swap(id, url, { method = "get", body, push = false, polled = false } = {}) {
  const turn = {}, region = byId(id);
  latest.set(id, turn);
  if (!polled) region.setAttribute("aria-busy", "true");
  try {
    const headers = { "X-Region": id, Accept: "text/html" };
    const answer = await fetch(url, { method, body, headers });
    const html = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (latest.get(id) !== turn && method === "get") return; // a newer question was asked meanwhile
    if (polled && paused(byId(id))) return;
    const next = html.getElementById(id);
    if (next) {
      put(next);
      if (!polled || html.querySelector("#note > *")) note(html.getElementById("note"));
      if (push) history.pushState({}, "", answer.url);
    } else if (answer.ok || answer.redirected) location.assign(answer.url);
    else if (!polled) note(html.getElementById("problem"));
  } catch {
    if (!polled) lost();
  } finally {
    byId(id)?.removeAttribute("aria-busy");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target, id = form.dataset.swap;
  if (!id || !byId(id)) return;
  event.preventDefault();
  const data = new FormData(form, event.submitter), push = "push" in form.dataset;
  const action = event.submitter?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.pathname;
  if (form.method === "post") {
    const body = form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
    swap(id, action, { method: "post", body });
  } else {
    const query = new URLSearchParams([...data].filter(([, value]) => value));
    swap(id, query.size === 0 ? action : `${action}?${query}`, { push });
  }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button || !byId(link.dataset.swap)) return;
  event.preventDefault();
  swap(link.dataset.swap, link.href, { push: "push" in link.dataset });
});

addEventListener("popstate", () => location.reload());

let typing;
for (const kind of ["input", "change"]) document.addEventListener(kind, (event) => {
  const form = event.target.form;
  if (!form || !("auto" in form.dataset) || (kind === "input" && form.dataset.auto === "change")) return;
  clearTimeout(typing);
  typing = setTimeout(() => form.isConnected && form.requestSubmit(), kind === "input" ? 250 : 0);
});

// Live regions. They rest while the page is hidden, and while a person is at work in them.
const due = new Map(); // region: when it is asked for next, in ms of performance.now

function paused(region) {
  return document.hidden || !region || region.contains(document.activeElement)
    || region.querySelector("[data-row]:checked, dialog[open], details[open]") !== null;
}

function poll() {
  const now = performance.now();
  for (const region of document.querySelectorAll("[data-poll]")) {
    const every = Number(region.dataset.poll) * 1000;
    if (!due.has(region.id)) due.set(region.id, region.dataset.from ? now : now + every);
    if (now < due.get(region.id) || paused(region)) continue;
    due.set(region.id, now + every);
    swap(region.id, region.dataset.from ?? location.href, { polled: true });
  }
}

setInterval(poll, 1000);
document.addEventListener("visibilitychange", poll);
poll();

// A menu closes by Escape and by a click beside it.
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
