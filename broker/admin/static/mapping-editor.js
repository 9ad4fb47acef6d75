// <mapping-editor data-src="…" data-marks="3 7" data-label="…">: a field for the text of a mapping profile, with numbers
// beside its lines, marks on those that something is wrong with, and suggestions of the server at the caret. What is
// sent for them is the line up to the caret and the head of its table. A link with data-line leads to a line.
let kept = null; // where a person was, while the region is replaced
let count = 0;

customElements.define("mapping-editor", class extends HTMLElement {
  connectedCallback() {
    if (this.area) return;
    this.area = this.querySelector("textarea");
    this.marks = new Set(this.dataset.marks.split(" ").map(Number));
    const box = this.make("div", "code"), gutter = this.make("div", "gutter");
    gutter.setAttribute("aria-hidden", "true");
    this.numbers = this.make("ol", "");
    this.list = this.make("ul", "");
    Object.assign(this.list, { id: `options-${++count}`, hidden: true });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", this.dataset.label);
    this.area.before(box);
    gutter.append(this.numbers);
    box.append(gutter, this.area, this.list);
    this.gutter = gutter;
    this.area.setAttribute("aria-autocomplete", "list");
    this.area.setAttribute("aria-controls", this.list.id);
    this.numbers.style.font = getComputedStyle(this.area).font;
    this.area.addEventListener("input", () => { this.count(); this.later(); });
    this.area.addEventListener("scroll", () => { this.scrolled(); this.close(); });
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("click", () => this.close());
    this.area.addEventListener("blur", () => this.close());
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the focus stays in the text
      const option = event.target.closest("li");
      if (option) this.take(option);
    });
    this.count();
    if (kept) {
      this.area.setSelectionRange(kept.at, kept.at);
      this.area.scrollTop = kept.top;
      kept = null;
    }
    this.scrolled();
  }
  make(tag, name) { return Object.assign(document.createElement(tag), { className: name }); }
  disconnectedCallback() { kept = { at: this.area.selectionStart, top: this.area.scrollTop }; }
  count() {
    const lines = this.area.value.split("\n").length;
    if (this.numbers.childElementCount === lines) return;
    this.numbers.replaceChildren(...Array.from({ length: lines }, (_, place) => {
      const number = this.make("li", this.marks.has(place + 1) ? "bad" : "");
      number.textContent = place + 1;
      return number;
    }));
    this.gutter.style.width = `${String(lines).length + 2}ch`;
  }
  scrolled() { this.numbers.style.transform = `translateY(${-this.area.scrollTop}px)`; }
  go(line) {
    const at = this.area.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    const end = this.area.value.indexOf("\n", at);
    this.area.focus();
    this.area.setSelectionRange(at, end < 0 ? this.area.value.length : end);
    this.area.scrollTop = (line - 5) * parseFloat(getComputedStyle(this.area).lineHeight);
  }
  get open() { return !this.list.hidden; }
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(1), 120);
  }
  async ask(least) { // `least`: characters that must be typed for suggestions to come by themselves
    const { value, selectionStart: at } = this.area;
    const before = value.slice(0, at).split("\n"), line = before.at(-1);
    const typed = /[\w.\-[:]*$/.exec(line)[0].length;
    if (at !== this.area.selectionEnd || typed < least) return this.close();
    const table = before.slice(0, -1).findLast((each) => each.startsWith("[")) ?? "";
    const answer = await fetch(this.dataset.src, { method: "post", body: new URLSearchParams({ table, line }) }).catch(() => null);
    if (!answer?.ok || value !== this.area.value || at !== this.area.selectionStart || document.activeElement !== this.area) return;
    this.show(await answer.json(), before);
  }
  show(found, before) {
    this.list.replaceChildren(...found.map(({ text, over, note }, place) => {
      const option = this.make("li", ""), small = this.make("small", "");
      option.id = `${this.list.id}-${place}`;
      option.setAttribute("role", "option");
      Object.assign(option.dataset, { text, over });
      small.textContent = note;
      option.append(Object.assign(document.createElement("span"), { textContent: text }), " ", small);
      return option;
    }));
    this.list.hidden = !found.length;
    const style = getComputedStyle(this.area), height = parseFloat(style.lineHeight);
    this.list.style.top = `${(before.length + .4) * height - this.area.scrollTop}px`;
    this.list.style.left = `min(10%, ${before.at(-1).length}ch)`;
    this.mark(-1);
  }
  mark(at) {
    this.at = at;
    const options = [...this.list.children];
    options.forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    if (at < 0) return this.area.removeAttribute("aria-activedescendant");
    this.area.setAttribute("aria-activedescendant", options[at].id);
    options[at].scrollIntoView({ block: "nearest" });
  }
  key(event) {
    const n = this.list.children.length, step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      this.ask(0);
    } else if (!this.open) return;
    else if (step) {
      event.preventDefault();
      this.mark(this.at < 0 && step < 0 ? n - 1 : (this.at + step + n) % n);
    } else if (event.key === "Enter" && this.at >= 0) {
      event.preventDefault();
      this.take(this.list.children[this.at]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else if (event.key.startsWith("Arrow") || event.key === "Enter") this.close();
  }
  take({ dataset }) {
    const at = this.area.selectionStart;
    this.close();
    this.area.setSelectionRange(at - Number(dataset.over), at);
    if (!document.execCommand("insertText", false, dataset.text)) this.area.setRangeText(dataset.text, at - Number(dataset.over), at, "end");
    clearTimeout(this.timer);
  }
  close() {
    clearTimeout(this.timer);
    this.list.hidden = true;
    this.at = -1;
    this.area.removeAttribute("aria-activedescendant");
  }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-line]"), editor = document.querySelector("mapping-editor");
  if (link && editor) { event.preventDefault(); editor.go(Number(link.dataset.line)); }
});
