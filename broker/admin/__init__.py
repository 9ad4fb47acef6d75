"""The web: health, metrics, the start page and REST, on `[web] port` and on the control socket.

Open `app.py` first (what is served to whom), then `context.py` (the parts that routes work on), then one file of
routes, such as `orders.py`. A file of routes declares bodies and answers (pydantic) and calls the features; `access.py`
lets requests in and `problems.py` answers refusals.
"""
