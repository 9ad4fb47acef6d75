// <type-ahead src="…"><input></type-ahead>: suggestions of the server under an input (ARIA combobox with a list).
// What is typed is sent in a body, never in an address. The answer is JSON: a list of { text, note, path }. An option
// with a path leads there, another one fills the input.
let count = 0;

customElements.define("type-ahead", class extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.input = this.querySelector("input");
    this.list = Object.assign(document.createElement("ul"), { id: `suggestions-${++count}`, hidden: true });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", this.input.labels[0]?.textContent ?? "");
    this.append(this.list);
    const roles = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(roles)) this.input.setAttribute(name, value);
    this.input.addEventListener("input", () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.ask(), 120); });
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.close());
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the focus stays in the input
      const option = event.target.closest("li");
      if (option) this.take(option);
    });
  }
  get open() { return !this.list.hidden; }
  async ask() {
    const asked = this.input.value;
    if (!asked.trim()) return this.close();
    const answer = await fetch(this.getAttribute("src"), { method: "post", body: new URLSearchParams({ q: asked }) }).catch(() => null);
    if (!answer?.ok || asked !== this.input.value || document.activeElement !== this.input) return;
    const found = await answer.json();
    this.list.replaceChildren(...found.map(({ text, note, path }, place) => {
      const option = document.createElement("li"), small = document.createElement("small");
      option.id = `${this.list.id}-${place}`;
      option.setAttribute("role", "option");
      Object.assign(option.dataset, { text, path: path ?? "" });
      small.textContent = note;
      option.append(Object.assign(document.createElement("span"), { textContent: text }), " ", small);
      return option;
    }));
    this.list.hidden = !found.length;
    this.input.setAttribute("aria-expanded", String(this.open));
    this.mark(-1);
  }
  mark(at) {
    this.at = at;
    const options = [...this.list.children];
    options.forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    if (at < 0) return this.input.removeAttribute("aria-activedescendant");
    this.input.setAttribute("aria-activedescendant", options[at].id);
    options[at].scrollIntoView({ block: "nearest" });
  }
  key(event) {
    const n = this.list.children.length, step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!this.open) this.ask();
      else this.mark(this.at < 0 && step < 0 ? n - 1 : (this.at + step + n) % n);
    } else if (event.key === "Enter" && this.open && this.at >= 0) {
      event.preventDefault();
      this.take(this.list.children[this.at]);
    } else if (event.key === "Escape" && this.open) {
      event.preventDefault();
      this.close();
    }
  }
  take({ dataset }) {
    this.close();
    if (dataset.path) return location.assign(dataset.path);
    this.input.value = dataset.text;
    this.input.dispatchEvent(new Event("change", { bubbles: true }));
  }
  close() {
    clearTimeout(this.timer);
    this.list.hidden = true;
    this.at = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
});
