"""The web: health, metrics, pages and REST, on `[web] port` and on the control socket.

Open `app.py` first (what is served to whom), then `context.py` (the parts that routes work on), then a file of `api/`,
such as `api/orders.py`, or a page of `web/`, such as `web/now.py`.
`access.py` lets requests in, `bodies.py` reads them and `problems.py` answers refusals.
"""
