// Replaces regions of a page. A region is an element with an id that the server draws alone for the header X-Region.
//   form or link with data-swap="ID"   is sent by fetch, and only the region ID is replaced; data-push: the address follows
//   form with data-auto                is sent when a person changes or types something
//   region with data-poll="SECONDS"    is asked for again and again (data-from: from another address)
//   form with data-picks               rows are picked in it: boxes data-row, data-all (of the page), data-every (all that match)
//   link to a <dialog>                 opens it; a link to #ID-open in it closes it
//   button with data-copy="ID"         copies a text
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
  if (held === region && !next.querySelector("[autofocus]")) { // its control is gone
    region.replaceChildren(...next.childNodes);
    ready(region);
    return say(next.dataset.say);
  }
  const inside = region.contains(held) && held.id, dialog = held?.closest("dialog")?.id;
  const kept = inside && { id: held.id, value: held.value, from: held.selectionStart, to: held.selectionEnd };
  region.replaceWith(next);
  ready(next);
  const wanted = next.querySelector("[autofocus]") ?? (kept && byId(kept.id));
  if (wanted && !wanted.closest("dialog:not([open])")) {
    wanted.focus({ preventScroll: true });
    if (kept && wanted.id === kept.id && wanted.matches("input:not([type=checkbox], [type=radio])") && wanted.type === held.type) {
      wanted.value = kept.value; // what was typed since the request left
      if (kept.from !== null) wanted.setSelectionRange(kept.from, kept.to);
    }
  } else if (inside) {
    const opener = dialog && byId(`${dialog}-open`); // the control is gone: go on where the question was asked,
    if (!opener) next.tabIndex = -1; // or in the region, not at the top of the page
    (opener ?? next).focus({ preventScroll: true });
  }
  say(next.dataset.say);
}

async function swap(id, url, { method = "get", body, push = false, polled = false, field = "" } = {}) {
  const turn = {}, region = byId(id);
  latest.set(id, turn);
  if (!polled) region.setAttribute("aria-busy", "true");
  try {
    const headers = { "X-Region": id, Accept: "text/html", ...(polled && { "X-Polled": "1" }) };
    const answer = await fetch(url, { method, body, headers });
    const html = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (latest.get(id) !== turn && (method === "get" || push)) return; // a newer question was asked meanwhile
    if (polled && paused(byId(id))) return;
    const next = html.getElementById(id);
    if (next) {
      put(next);
      if (!polled || html.querySelector("#note > *")) note(html.getElementById("note"));
      if (push) {
        history[field && field === wrote ? "replaceState" : "pushState"]({}, "", answer.url); // of one text one step back
        shown = location.pathname + location.search;
        wrote = field;
      }
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
  const data = new FormData(form, event.submitter), push = "push" in form.dataset, field = auto;
  const action = event.submitter?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.pathname;
  if (form.method === "post") {
    const body = form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
    swap(id, action, { method: "post", body, push, field });
  } else {
    const query = new URLSearchParams([...data].filter(([, value]) => value));
    swap(id, query.size === 0 ? action : `${action}?${query}`, { push, field });
  }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button || !byId(link.dataset.swap)) return;
  event.preventDefault();
  swap(link.dataset.swap, link.href, { push: "push" in link.dataset });
});

let shown = location.pathname + location.search;
addEventListener("popstate", () => { // a link within the page comes here too
  if (shown !== location.pathname + location.search) location.reload();
});

let typing, auto = "", wrote = ""; // the field that is being sent by itself; the one whose text the address shows
document.addEventListener("focusin", ({ target }) => { if (target.id !== wrote) wrote = ""; });
for (const kind of ["input", "change"]) document.addEventListener(kind, (event) => {
  const form = event.target.form;
  if (!form || !("auto" in form.dataset) || (kind === "input" && form.dataset.auto === "change")) return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    auto = kind === "input" ? event.target.id : "";
    if (form.isConnected) form.requestSubmit();
    auto = "";
  }, kind === "input" ? 250 : 0);
});

// Rows that are picked: how many, told by the words of the page.
function tally(form, target) {
  const rows = [...form.querySelectorAll("[name=row]")], all = form.querySelector("[data-all]"), every = form.querySelector("[data-every]");
  if (target === all) for (const row of rows) row.checked = all.checked;
  const n = every?.checked ? Number(every.value) : rows.filter((row) => row.checked).length;
  for (const row of rows) row.disabled = every?.checked ?? false;
  all.checked = n >= rows.length;
  all.indeterminate = n > 0 && n < rows.length;
  const picked = form.querySelector("[data-picked]");
  picked.dataset.none ??= picked.textContent;
  picked.textContent = n ? `${picked.dataset.picked} ${n.toLocaleString(document.documentElement.lang)}` : picked.dataset.none;
  form.classList.toggle("some", n > 0);
}

document.addEventListener("change", ({ target }) => {
  const form = target.closest("form[data-picks]");
  if (form && target.matches("[data-row], [data-all]")) tally(form, target);
});

// Live regions rest while the page is hidden or a person is at work in them.
const due = new Map(); // region: when it is asked for next (ms)

function paused(region) {
  return document.hidden || !region || region !== document.activeElement && region.contains(document.activeElement)
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

// Questions, and texts to copy.
function ready(place) {
  for (const dialog of place.querySelectorAll("dialog[open]:not(:modal)")) { dialog.close(); dialog.showModal(); }
  for (const part of place.querySelectorAll("[data-copy], [data-scripted]")) part.hidden = false;
  for (const form of place.querySelectorAll("form[data-picks]")) if (form.querySelector("[data-picked]")) tally(form);
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest('a[href^="#"]'), copy = event.target.closest("[data-copy]");
  const dialog = link && byId(link.hash.slice(1));
  if (dialog?.matches("dialog")) { event.preventDefault(); dialog.showModal(); }
  else if (link?.closest("dialog") && link.hash.endsWith("-open")) { event.preventDefault(); link.closest("dialog").close(); }
  else if (copy) {
    const text = byId(copy.dataset.copy);
    getSelection().selectAllChildren(text); // what a person copies by hand where the page may not: without https
    await navigator.clipboard?.writeText(text.textContent).then(() => say(copy.querySelector("span").textContent = copy.dataset.done), () => undefined);
  }
});

ready(document);

// A menu closes by Escape and by a click beside it.
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
