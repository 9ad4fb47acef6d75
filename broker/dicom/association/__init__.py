"""Runs associations, as acceptor and as requestor (PS3.8).

Open `provider` (listens) and `session` (one connection of the acceptor), or `user` (asks a peer); both end in
`association`, which is the same for either side. `acceptance` decides the answer to an A-ASSOCIATE-RQ. `pool` keeps
associations to a destination warm.
"""
