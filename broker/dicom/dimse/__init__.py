"""Exchanges DIMSE messages over an association (PS3.7).

A feature registers a `Service` and gets a `Request`: open `request`, then `serving`, which runs its handler. Requests
of ours: `operations`, then `invocation`, which waits for the responses. Below both: `message` (assembly and sending),
`command` (command sets), `stream` (a data set on its way in). `status` names the
statuses, `words` puts them into words.
"""
