"""One module a question of the report, each with a function `section()`."""
