"""Research scripts on the functional API: one a question."""
