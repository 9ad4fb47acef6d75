"""Scripts that other languages and interpreters run: peers of the interoperability matrix."""
