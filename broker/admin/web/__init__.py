"""The pages: drawn by the server, usable without script, in English and French.

Open first: `shell.py` (how a page is drawn), `now.py` (a page), `pages.py` (all of them). `words.py` has languages,
numbers and times, `listing.py` tables, `forms.py` forms, `assets.py` static files, `errors.py` pages of refusals.

How a page is made, in this order:

1. A module NAME here: `LINK` (its place in the navigation), a frozen view dataclass, and `router(context)`, which makes
   a `page_router(Right.…)`. A page of patients or of the audit trail says what it shows (`admin/viewing.py`).
   A GET route reads its query, asks the features below, and returns `shell.render(request, "NAME", view)`.
   A POST route reads `await forms.read(request)`, does one story with `request.state.actor`, and returns
   `shell.go("/NAME", Sentence("…"))`; or it draws the form again with status 422 and its errors by name of the field.
   Texts for people are `Sentence("…")` or `counted("…", "…", n)`: they are translated where they are shown.
   Add the module to `PAGES` in `pages.py`, and what the search finds to its finders.
2. `templates/pages/NAME.html` extends `shell.html`: blocks `title` and `main` (and `actions`, `scripts`). What is
   replaced alone stands in a region `templates/pages/_REGION.html`, whose outermost element has the id `REGION`, and is
   included by `{% include "pages/_REGION.html" %}`. Forms and links with `data-swap="REGION"` replace only it;
   `data-poll="5"` on it asks for it every 5 s. Every control in a region has an id that stays the same, so that the
   focus stays. `parts/basic.html` has pills, moments, empty states, tabs, texts to copy and differences,
   `parts/fields.html` fields and questions, `parts/listing.html` what draws a `Listing` (filters, table, pages,
   picked rows; `holds.py` shows it).
   No `style=`, no inline script, no word in a script.
3. `locale/fr/NAME.po`: French for every `_("…")` and `Sentence("…")` of the page that no other file has. A test tells
   what is missing and what is not used.
"""
