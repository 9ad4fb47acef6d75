"""Run by alembic: applies the scripts on the connection that `broker.store.db.migrate` hands over."""

from alembic import context

from broker.store.schema.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=False,  # the caller holds the transaction
)
context.run_migrations()
